//! What is counted by names: every decision once, also where no event tells of it.

mod common;

use std::net::SocketAddr;

use common::{HOST, MANAGED, Setting, Stage, UNMANAGED, upstream};
use weir_link::{Counted, TOOK_WITHIN};

fn count(rows: &[(Counted, u64)], is: impl Fn(&Counted) -> bool) -> u64 {
    let rows = rows.iter().filter(|(row, _)| is(row));
    rows.map(|(_, count)| count).sum()
}

fn decided(rows: &[(Counted, u64)], wanted: [&str; 3]) -> u64 {
    count(rows, |row| match row {
        Counted::Decided {
            service,
            flow,
            client,
            decision,
        } => service == "sts" && [flow, client, decision] == wanted,
        _ => false,
    })
}

fn all_decided(rows: &[(Counted, u64)]) -> u64 {
    count(rows, |row| matches!(row, Counted::Decided { .. }))
}

#[tokio::test]
async fn decisions_rules_times_handshakes_and_servers_are_counted() {
    let nobody: SocketAddr = ([127, 0, 0, 1], 1).into();
    let setting = Setting {
        servers_before: vec![nobody],
        ..Setting::default()
    };
    let mut stage = Stage::with(setting, |_| upstream::text(200, "hello")).await;
    let get = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {HOST}\r\nuser-agent: Mozilla/5.0\r\nconnection: close\r\n\r\n"
        )
    };
    for _ in 0..3 {
        stage
            .raw(MANAGED, get("/adfs/ls/?wa=wsignin1.0").as_bytes())
            .await;
    }
    stage
        .raw(UNMANAGED, get("/adfs/ls/?wa=wsignin1.0").as_bytes())
        .await;
    stage.raw(MANAGED, get("/no/such/path").as_bytes()).await;
    let rows = stage.control.tally(|rows| all_decided(rows) >= 5).await;
    assert_eq!(all_decided(&rows), 5, "{rows:?}");
    assert_eq!(
        decided(&rows, ["passive", "browser", "pass"]),
        3,
        "{rows:?}"
    );
    let hits = count(&rows, |row| matches!(row, Counted::Rule { .. }));
    assert_eq!(hits, 5, "each has a rule: {rows:?}");
    let answered = count(&rows, |row| matches!(row, Counted::Took { .. }));
    assert_eq!(answered, 5);
    let in_bounds =
        |row: &Counted| matches!(row, Counted::Took { within, .. } if *within <= TOOK_WITHIN.len());
    assert_eq!(count(&rows, in_bounds), 5);
    let handshakes = count(
        &rows,
        |row| matches!(row, Counted::Handshake { version, .. } if version == "1.3"),
    );
    assert_eq!(handshakes, 5, "{rows:?}");
    let opened = count(&rows, |row| matches!(row, Counted::Connected { .. }));
    assert!((1..=3).contains(&opened), "{rows:?}");
    let failed = count(
        &rows,
        |row| matches!(row, Counted::NotConnected { server, .. } if *server == nobody),
    );
    assert!(failed >= 1, "{rows:?}");
}

#[tokio::test]
async fn what_no_event_tells_of_is_counted_all_the_same() {
    const MANY: u64 = 300;
    let mut stage = Stage::new().await;
    let mut client = stage.http2(UNMANAGED).await;
    for _ in 0..MANY {
        let request = client.request("GET", "/no/such/path", "");
        client.send(request).await.unwrap();
    }
    let rows = stage.control.tally(|rows| all_decided(rows) >= MANY).await;
    assert_eq!(all_decided(&rows), MANY);
    let counts = stage.control.counts(|counts| counts.requests == MANY).await;
    assert!(
        counts.events_skipped > 0,
        "the log tells of some: {counts:?}"
    );
}

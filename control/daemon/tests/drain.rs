//! Drain windows: how long the flows of sources whose class has changed keep the verdicts that they began
//! with, and the lists that end them at once.

use std::net::{IpAddr, SocketAddr};

use http::{Method, StatusCode};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weir_abi::{Class, ClassSet, Standing};
use weir_control::testing::{Appliance, CONFIG, LIST, Settings};

const NEW: &str = "198.51.100.7";
const OTHER: &str = "198.51.100.8";

/// What becomes of a file.
type Damage = fn(&str) -> String;

#[tokio::test]
async fn a_source_is_in_transition_until_its_window_ends() {
    let appliance = with_window("1s").await;
    assert_eq!(transition(&appliance).await, json!([1000, 0, 0, false]));

    add(&appliance, NEW).await;

    let moved = Standing::new(Class::Managed, ClassSet::EMPTY.with(Class::Unmanaged));
    appliance.kernel.until_standing(ip(NEW), moved).await;
    let stable = Standing::stable(Class::Managed);
    appliance.kernel.until_standing(ip(NEW), stable).await;
    // Who asks may come before the brain knows.
    while transition(&appliance).await != json!([1000, 0, 0, false]) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn changes_add_up_and_are_told() {
    let appliance = with_window("1h").await;
    add(&appliance, NEW).await;
    add(&appliance, OTHER).await;
    remove(&appliance, NEW).await;

    let both = ClassSet::EMPTY.with(Class::Unmanaged).with(Class::Managed);
    let standing = |source| appliance.kernel.standing(ip(source));
    assert_eq!(standing(NEW), Standing::new(Class::Unmanaged, both));
    assert_eq!(standing(OTHER), Standing::new(Class::Managed, both));
    assert_eq!(transition(&appliance).await, json!([3_600_000, 2, 2, true]));

    // A shorter window holds at once.
    let config = appliance.read("weir.toml").replace("\"1h\"", "\"0s\"");
    appliance.write("weir.toml", &config);
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(standing(NEW), Standing::stable(Class::Unmanaged));
    assert_eq!(transition(&appliance).await, json!([0, 0, 0, false]));
    add(&appliance, NEW).await;
    assert_eq!(standing(NEW), Standing::stable(Class::Managed));
}

#[tokio::test]
async fn a_restart_ends_no_window_and_sees_what_changed_meanwhile() {
    let mut appliance = with_window("1h").await;
    add(&appliance, NEW).await;
    let list = appliance.path("hq.list");

    appliance
        .restart(async || {
            let text = format!("{LIST}{NEW}\n{OTHER}\n");
            std::fs::write(list, text).expect("the directory can be written");
        })
        .await;

    let moved = Standing::new(Class::Managed, ClassSet::EMPTY.with(Class::Unmanaged));
    for source in [NEW, OTHER] {
        assert_eq!(appliance.kernel.standing(ip(source)), moved, "{source}");
    }
    let stays = appliance.kernel.standing(ip("203.0.113.9"));
    assert_eq!(stays, Standing::stable(Class::Managed));
}

#[tokio::test]
async fn a_window_ends_when_it_would_have_ended_without_the_restart() {
    let mut appliance = with_window("1h").await;
    add(&appliance, NEW).await;
    let before = until(&appliance).await;
    // A window that began at the restart would end an hour later.
    let config = appliance.read("weir.toml").replace("\"1h\"", "\"2h\"");
    appliance.write("weir.toml", &config);
    for _ in 0..2 {
        appliance.restart(async || {}).await;
        let after = until(&appliance).await;
        let apart = (after - before).abs();
        assert!(apart < time::Duration::seconds(60), "{before} {after}");
        assert_eq!(transition(&appliance).await[1], 1);
    }

    // One that would have ended meanwhile has ended, whatever the kernel has.
    let moved = Standing::new(Class::Managed, ClassSet::EMPTY.with(Class::Unmanaged));
    assert_eq!(appliance.kernel.standing(ip(NEW)), moved);
    let index = appliance.read("state/windows/index");
    let (head, _) = index.trim_end().rsplit_once(' ').expect("one window");
    let over = format!("{head} 1\n");
    let path = appliance.path("state/windows/index");
    appliance
        .restart(async || std::fs::write(path, over).expect("it is there"))
        .await;
    assert_eq!(
        appliance.kernel.standing(ip(NEW)),
        Standing::stable(Class::Managed)
    );
    assert_eq!(
        transition(&appliance).await,
        json!([7_200_000, 0, 0, false])
    );
    let left = std::fs::read_dir(appliance.path("state/windows")).expect("a directory");
    assert_eq!(left.count(), 1, "the index alone");
}

#[tokio::test]
async fn windows_of_another_boot_count_for_nothing_and_damaged_ones_for_one_more() {
    let moved = Standing::new(Class::Managed, ClassSet::EMPTY.with(Class::Unmanaged));
    let stable = Standing::stable(Class::Managed);
    let cases: [(Damage, Standing); 3] = [
        (|index| index.replacen('-', "0", 1), stable),
        (|index| index.replace(" 1\n", " 2\n"), moved),
        (|index| index.trim_end().to_owned() + "x\n", moved),
    ];
    for (damage, standing) in cases {
        let mut appliance = with_window("1h").await;
        add(&appliance, NEW).await;
        assert_eq!(appliance.kernel.standing(ip(NEW)), moved);
        let index = damage(&appliance.read("state/windows/index"));
        let path = appliance.path("state/windows/index");
        appliance
            .restart(async || std::fs::write(path, &index).expect("it is there"))
            .await;
        assert_eq!(appliance.kernel.standing(ip(NEW)), standing, "{index}");
    }
}

#[tokio::test]
async fn a_list_that_cuts_ends_flows_at_once() {
    let appliance = with_window("1h").await;
    let service: SocketAddr = "192.0.2.10:443".parse().expect("an address");
    let blocked = |cut: &str| {
        let prefixes = format!("[\"198.51.100.66/32\", \"{NEW}\"]{cut}");
        let directory = CONFIG.replace("PROXY_USER", &nix::unistd::Uid::effective().to_string());
        directory.replace("[\"198.51.100.66/32\"]", &prefixes)
    };
    let connections = [NEW, OTHER].map(|from| (service, ip(from)));
    appliance
        .kernel
        .change(|state| state.connections = connections.to_vec());
    for (cut, standing, left) in [
        (
            "",
            Standing::new(Class::Blocked, ClassSet::EMPTY.with(Class::Unmanaged)),
            &connections[..],
        ),
        (
            "\ncut = true",
            Standing::stable(Class::Blocked),
            &connections[1..],
        ),
    ] {
        reload(&appliance, &blocked(cut)).await;
        assert_eq!(appliance.kernel.standing(ip(NEW)), standing);
        appliance
            .kernel
            .change(|state| assert_eq!(state.connections, left));
    }
}

#[tokio::test]
async fn what_was_cut_does_not_come_back_when_its_source_does() {
    let appliance = with_window("1h").await;
    let open = appliance.read("weir.toml");
    let prefixes = format!("[\"198.51.100.66/32\", \"{NEW}\"]\ncut = true");
    let cut = open.replace("[\"198.51.100.66/32\"]", &prefixes);
    add(&appliance, NEW).await;
    reload(&appliance, &cut).await;
    assert_eq!(
        appliance.kernel.standing(ip(NEW)),
        Standing::stable(Class::Blocked)
    );
    remove(&appliance, NEW).await;
    reload(&appliance, &open).await;
    let held = ClassSet::EMPTY.with(Class::Blocked);
    assert_eq!(
        appliance.kernel.standing(ip(NEW)),
        Standing::new(Class::Unmanaged, held),
        "the flows that it had as a managed source were cut"
    );
}

async fn reload(appliance: &Appliance, config: &str) {
    appliance.write("weir.toml", config);
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn with_window(window: &str) -> Appliance {
    let settings = Settings {
        edits: vec![(
            "table = 5745",
            format!("table = 5745\ndrain_window = \"{window}\""),
        )],
        ..Settings::default()
    };
    Appliance::start_with(settings).await
}

async fn add(appliance: &Appliance, prefix: &str) {
    let entry = json!({ "prefix": prefix });
    let path = "/v1/lists/hq-egress/entries";
    let (status, answer) = appliance.ask(Method::POST, path, Some(entry)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn remove(appliance: &Appliance, prefix: &str) {
    let path = format!("/v1/lists/hq-egress/entries?prefix={prefix}");
    let (status, answer) = appliance.ask(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// Window in milliseconds, ranges, IPv4 addresses, and whether an end is told.
async fn transition(appliance: &Appliance) -> serde_json::Value {
    let status = appliance.get("/v1/status").await;
    let told = &status["kernel"]["transition"];
    json!([
        told["window_ms"],
        told["ranges"],
        told["v4_addresses"],
        told["until"].is_string()
    ])
}

/// When the last window ends.
async fn until(appliance: &Appliance) -> OffsetDateTime {
    let status = appliance.get("/v1/status").await;
    let until = status["kernel"]["transition"]["until"].as_str();
    OffsetDateTime::parse(until.expect("a window"), &Rfc3339).expect("a time")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

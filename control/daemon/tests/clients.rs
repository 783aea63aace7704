//! Clients of the control sockets that do something wrong: what they hear, what is counted, and that
//! others do not notice.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use weir_control::api::{Limits, Sockets};
use weir_control::sockets;
use weir_control::testing::{Appliance, LIST, Settings};

#[tokio::test]
async fn what_is_no_http_is_answered_and_counted() {
    let appliance = Appliance::start().await;
    let long = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(300 << 10));
    let fields = "A: b\r\n".repeat(200);
    let many = format!("GET / HTTP/1.1\r\n{fields}\r\n");
    for (text, status) in [
        ("\0\u{1}\u{2} nonsense\r\n\r\n", 400),
        ("GET / HTTP/3.7\r\n\r\n", 400),
        ("GET /\u{7f} HTTP/1.1\r\n\r\n", 400),
        (
            "POST /v1/reload HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            400,
        ),
        (
            "POST /v1/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nzz\r\n",
            400,
        ),
        (&long, 431),
        (&many, 431),
    ] {
        let reply = appliance.raw(&appliance.control_socket(), text).await;
        assert_eq!(
            reply.status.as_u16(),
            status,
            "{}",
            text.escape_debug().take(60).collect::<String>()
        );
    }
    let control = &appliance.get("/v1/status").await["control"];
    assert!(control["malformed"].as_u64() >= Some(6), "{control}");
}

#[tokio::test]
async fn what_cannot_be_understood_says_what_to_write() {
    let appliance = Appliance::start().await;
    let get = |path: &'static str| appliance.ask(Method::GET, path, None);
    for (path, error, help) in [
        (
            "/v1/events?usr=ann",
            "`usr` is no key",
            "did you mean `user`?",
        ),
        (
            "/v1/events?after=1&after=2",
            "`after` stands twice",
            "write it once",
        ),
        (
            "/v1/events?limit=many",
            "`many` cannot be the value of `limit`",
            "a whole number",
        ),
        (
            "/v1/events?follow=yes",
            "`yes` cannot be",
            "`true` or `false`",
        ),
        (
            "/v1/events?since=yesterday",
            "`yesterday` cannot be",
            "2026-01-01T08:00:00Z",
        ),
        (
            "/v1/events?user=%zz",
            "has a `%` without",
            "two hexadecimal digits",
        ),
        (
            "/v1/events?user=%",
            "has a `%` without",
            "two hexadecimal digits",
        ),
        ("/v1/events?user=%ff", "is not UTF-8", "of UTF-8"),
        ("/v1/lists/%00", "holds a control character", "`%`"),
        ("/v1/lists/test", "`source` is missing", "?source="),
        (
            "/v1/lists/test?source=203.0.113.0/24",
            "cannot be the value",
            "one address, such as 203.0.113.0",
        ),
    ] {
        let (status, answer) = get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        holds(&answer["error"], error);
        holds(&answer["help"], help);
    }
    let since = "/v1/events?follow=true&until=2026-01-01T00:00:00Z";
    holds(&get(since).await.1["error"], "`follow` and `until`");
    let (status, answer) = get("/v1/statsu").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    holds(&answer["help"], "did you mean `/v1/status`?");
    let (_, answer) = get("/v1/lists/hq-egres").await;
    holds(&answer["help"], "did you mean `hq-egress`?");
    let (_, answer) = get("/v1/lists/test?source=203.0.113.999").await;
    assert!(answer["help"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_no_object_of_these_keys_changes_nothing() {
    let appliance = Appliance::start().await;
    let nested = "[".repeat(100_000);
    for (path, body, help) in [
        (
            "/v1/reload",
            r#"{"dryrun":true}"#,
            "did you mean `dry_run`?",
        ),
        ("/v1/reload", r#"{"colour":1}"#, "the keys `dry_run`"),
        ("/v1/reload", r#"{"dry_run":"yes"}"#, "the keys `dry_run`"),
        (
            "/v1/reload",
            r#"{"dry_run":true,"dry_run":false}"#,
            "the keys",
        ),
        ("/v1/reload", "\u{feff}{}", "the keys"),
        ("/v1/reload", "null", "the keys"),
        ("/v1/reload", nested.as_str(), "the keys"),
        (
            "/v1/explain",
            r#"{"source":"203.0.113.9","ulr":"/"}"#,
            "did you mean `url`?",
        ),
        (
            "/v1/explain",
            r#"{"source":"203.0.113.9","port":70000}"#,
            "the keys",
        ),
        (
            "/v1/lists/hq-egress/entries",
            r#"{"prefix":7}"#,
            "`prefix`, `comment`",
        ),
    ] {
        let socket = appliance.control_socket();
        let reply = appliance
            .reply(&socket, Method::POST, path, body.as_bytes())
            .await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}");
        let answer: Value = serde_json::from_str(&reply.body).expect("JSON");
        holds(&answer["help"], help);
        assert!(reply.body.len() < 2_000, "{}", reply.body);
    }
    let status = appliance.get("/v1/status").await;
    assert_eq!(status["generation"], 1);
    assert_eq!(status["control"]["refused"], 10);
    assert_eq!(appliance.read("hq.list"), LIST);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_heard_out_and_refused() {
    let appliance = Appliance::start().await;
    let body = vec![b' '; 6 << 20];
    let socket = appliance.control_socket();
    let reply = appliance
        .reply(&socket, Method::POST, "/v1/reload", &body)
        .await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    holds(
        &serde_json::from_str::<Value>(&reply.body).expect("JSON")["help"],
        "send less",
    );
}

#[tokio::test]
async fn who_is_slow_is_cut_off_and_counted() {
    let limits = Limits {
        head_within: Duration::from_millis(30),
        read_within: Duration::from_millis(30),
        ..Limits::default()
    };
    let appliance = start(limits).await;
    let mut slow = UnixStream::connect(appliance.control_socket())
        .await
        .expect("it listens");
    slow.write_all(b"GET /v1/status HT").await.expect("written");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest)
        .await
        .expect("the other side closes");

    let entries: Vec<_> = (0..60_000_u32)
        .map(|number| std::net::Ipv4Addr::from(0x0a00_0000 + number * 2).to_string())
        .collect();
    let entries = entries.join("\n");
    let mut log = appliance.lines("/v1/events?follow=true&after=1").await;
    appliance.write("hq.list", &entries);
    assert_eq!(log.next().await.expect("a line")["action"], "list file");
    let mut silent = UnixStream::connect(appliance.control_socket())
        .await
        .expect("it listens");
    let request = b"GET /v1/lists/hq-egress HTTP/1.1\r\nHost: weir\r\n\r\n";
    silent.write_all(request).await.expect("written");
    let mut first = [0; 8];
    silent
        .read_exact(&mut first)
        .await
        .expect("an answer begins");
    while !silent
        .ready(Interest::READABLE)
        .await
        .expect("its state")
        .is_read_closed()
    {
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    silent
        .read_to_end(&mut rest)
        .await
        .expect("the other side closes");
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it was cut off");
    let control = &appliance.get("/v1/status").await["control"];
    assert!(control["slow"].as_u64() >= Some(2), "{control}");
}

#[tokio::test]
async fn too_many_connections_are_turned_away_and_there_is_room_again() {
    let appliance = start(Limits {
        connections: 3,
        for_root: 0,
        ..Limits::default()
    })
    .await;
    let followers = [
        appliance.lines("/v1/events?follow=true&limit=1").await,
        appliance.lines("/v1/events?follow=true&limit=1").await,
        appliance.lines("/v1/events?follow=true&limit=1").await,
    ];
    let (status, answer) = appliance.ask(Method::GET, "/v1/status", None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    holds(&answer["help"], "weir events --follow");
    let read = appliance.read_socket();
    let other = appliance.reply(&read, Method::GET, "/v1/status", b"").await;
    assert_eq!(
        other.status,
        StatusCode::OK,
        "the other socket has room of its own"
    );
    drop(followers);
    loop {
        let (status, answer) = appliance.ask(Method::GET, "/v1/status", None).await;
        if status == StatusCode::OK {
            assert!(
                answer["control"]["turned_away"].as_u64() >= Some(1),
                "{answer}"
            );
            break;
        }
    }
}

#[tokio::test]
async fn the_socket_that_reads_answers_questions_and_changes_nothing() {
    let appliance = Appliance::start().await;
    let ask = async |method, path: &str, body: &str| {
        let reply = appliance
            .reply(&appliance.read_socket(), method, path, body.as_bytes())
            .await;
        let value: Value = serde_json::from_str(&reply.body).expect("JSON");
        (reply.status, value)
    };
    for path in [
        "/v1/status",
        "/v1/counters",
        "/v1/lists",
        "/v1/lists/hq-egress",
    ] {
        assert_eq!(ask(Method::GET, path, "").await.0, StatusCode::OK, "{path}");
    }
    let explained = ask(Method::POST, "/v1/explain", r#"{"source":"203.0.113.9"}"#).await;
    assert_eq!(explained.0, StatusCode::OK);

    let entries = "/v1/lists/hq-egress/entries";
    for (method, path, body) in [
        (Method::POST, entries, r#"{"prefix":"198.51.100.7"}"#),
        (
            Method::DELETE,
            "/v1/lists/hq-egress/entries?prefix=203.0.113.0/24",
            "",
        ),
        (Method::POST, "/v1/reload", ""),
    ] {
        let (status, answer) = ask(method, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        holds(&answer["help"], "control.sock");
        assert_eq!(answer["generation"], 1);
    }
    assert_eq!(appliance.read("hq.list"), LIST);
    assert_eq!(appliance.get("/v1/status").await["control"]["denied"], 3);
    let denied = appliance.lines("/v1/events?kind=change").await.all().await;
    let denied: Vec<_> = denied
        .iter()
        .filter(|line| line["action"] == "denied")
        .collect();
    assert_eq!(denied.len(), 1, "not a line for each: {denied:?}");
    assert_eq!(denied[0]["done"], false);
    holds(&denied[0]["detail"], "POST /v1/lists/hq-egress/entries");
    let uid = nix::unistd::Uid::effective();
    assert_eq!(denied[0]["who"]["user"]["uid"], uid.as_raw());
    let name = nix::unistd::User::from_uid(uid)
        .ok()
        .flatten()
        .map(|user| user.name);
    assert_eq!(denied[0]["who"]["user"]["name"], json!(name));
}

#[tokio::test]
async fn sockets_and_directories_have_their_modes_whatever_the_umask() {
    let appliance = Appliance::start().await;
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&appliance.control_socket()), 0o660);
    assert_eq!(mode(&appliance.read_socket()), 0o660);
    assert_eq!(mode(&appliance.path("run")), 0o755);
    assert_eq!(mode(&appliance.path("state")), 0o750);

    let open = appliance.path("open");
    std::fs::create_dir(&open).expect("made");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("opened");
    let refused = sockets::directory(&open, 0o755).expect_err("everybody may write into it");
    assert!(
        refused
            .help()
            .is_some_and(|help| help.contains("chmod o-w")),
        "{refused}"
    );
    let nobody = sockets::group("no-such-group", "read_group").expect_err("no such group");
    assert!(
        nobody
            .help()
            .is_some_and(|help| help.contains("`read_group`")),
        "{nobody}"
    );
    Sockets::listen(&appliance.path("nowhere"), None, None, None).expect_err("no such directory");
}

#[tokio::test]
async fn lines_that_memory_holds_no_more_are_answered_from_the_files() {
    let appliance = Appliance::start_with(Settings {
        audit: weir_control::audit::Limits {
            lines: 3,
            file_bytes: 4_000,
            ..weir_control::audit::Limits::default()
        },
        ..Settings::default()
    })
    .await;
    let audit = appliance.brain.audit();
    for number in 0..100 {
        audit.append(weir_api::RecordBody::Change(weir_api::Change {
            time: format!("2026-01-01T00:00:{:02}.000Z", number / 2),
            kind: weir_api::record::ChangeKind::Change,
            generation: 1,
            who: weir_api::Actor::Weir,
            action: if number % 10 == 0 { "rare" } else { "often" }.to_owned(),
            done: true,
            detail: "x".repeat(100),
        }));
    }
    let numbers = async |query: &str| {
        let lines = appliance.lines(&format!("/v1/events?{query}")).await;
        let lines = lines.all().await;
        let numbers = lines
            .iter()
            .map(|line| line["seq"].as_u64().expect("a number"));
        numbers.collect::<Vec<_>>()
    };
    let newest = audit.newest();
    let all = numbers("after=0").await;
    let oldest = all[0];
    assert_eq!(all, (oldest..=newest).collect::<Vec<_>>());
    assert!(all.len() > 50, "{}", all.len());
    assert_eq!(
        numbers("limit=30").await,
        (newest - 29..=newest).collect::<Vec<_>>()
    );
    let middle = oldest + 7;
    let next = numbers(&format!("after={middle}&limit=2")).await;
    assert_eq!(next, [middle + 1, middle + 2]);
    assert_eq!(
        numbers("since=2026-01-01T00:00:45Z&until=2026-01-02T00:00:00Z")
            .await
            .len(),
        10
    );
    assert_eq!(
        numbers("until=2026-01-01T00:00:45Z&limit=1").await,
        [newest - 10]
    );
    assert_eq!(numbers(&format!("after={}", u64::MAX)).await, [0_u64; 0]);

    std::fs::remove_file(appliance.path("state/audit.jsonl.1")).expect("removed");
    let left = numbers("after=0").await;
    assert!(
        left.len() < all.len() && left.last() == Some(&newest),
        "{left:?}"
    );
}

async fn start(clients: Limits) -> Appliance {
    Appliance::start_with(Settings {
        clients,
        ..Settings::default()
    })
    .await
}

#[track_caller]
fn holds(text: &Value, part: &str) {
    let text = text.as_str().unwrap_or_default();
    assert!(text.contains(part), "{text:?} does not say {part:?}");
}

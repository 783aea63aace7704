//! An operator's day: who may do what, screens that fit, logs that are followed over a restart, and
//! errors that say what to do next.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use common::{command, text, told, weir};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::Command;
use weir_control::testing::{Appliance, LIST, Settings, event};
use weir_link::Event;

#[tokio::test]
async fn who_may_only_ask_asks_on_the_other_socket_and_hears_why_a_change_is_refused() {
    let appliance = Appliance::start().await;
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    };
    mode(&appliance.control_socket(), 0o000);
    mode(&appliance.read_socket(), 0o666);

    let asked = unprivileged(&appliance, &["lists", "test", "203.0.113.9"]).await;
    assert_eq!(asked.status.code(), Some(0), "{}", told(&asked));
    let refused = unprivileged(&appliance, &["lists", "add", "hq-egress", "198.51.100.7"]).await;
    assert_eq!(refused.status.code(), Some(1));
    let words = told(&refused);
    assert!(words.contains("you may ask, but change nothing"), "{words}");
    assert!(words.contains("control.sock is not open to you"), "{words}");
    assert!(words.contains("help: "), "{words}");
    assert_eq!(appliance.read("hq.list"), LIST);

    mode(&appliance.read_socket(), 0o000);
    let nothing = unprivileged(&appliance, &["lists"]).await;
    assert_eq!(nothing.status.code(), Some(3));
    let words = told(&nothing);
    assert!(words.contains("you may not use"), "{words}");
    assert!(
        words.contains("`control_group`") && words.contains("`read_group`"),
        "{words}"
    );
}

#[tokio::test]
async fn a_log_is_followed_over_a_restart_without_a_gap() {
    let mut appliance = Appliance::start().await;
    weir(&appliance, &["lists", "add", "hq-egress", "198.51.100.1"]).await;
    let mut following = command(
        &appliance.control_socket(),
        &[
            "events", "--follow", "--kind", "change", "-n", "1", "--json",
        ],
    )
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .kill_on_drop(true)
    .spawn()
    .expect("it starts");
    let mut lines = BufReader::new(following.stdout.take().expect("piped")).lines();
    let mut words = BufReader::new(following.stderr.take().expect("piped")).lines();
    let first = seq(&next(&mut lines).await);

    appliance
        .restart(async || {
            let said = next(&mut words).await;
            assert!(
                said.contains("is away; waiting for it, behind line"),
                "{said}"
            );
        })
        .await;
    let said = next(&mut words).await;
    assert!(said.contains("is back; going on behind line"), "{said}");
    weir(&appliance, &["lists", "add", "hq-egress", "198.51.100.2"]).await;

    let mut numbers = vec![first];
    loop {
        let line = next(&mut lines).await;
        numbers.push(seq(&line));
        if line.contains("198.51.100.2") {
            break;
        }
    }
    let wanted: Vec<u64> = (first..).take(numbers.len()).collect();
    assert_eq!(numbers, wanted, "no line is lost and none comes twice");
}

#[tokio::test]
async fn events_are_found_by_what_one_knows_of_them() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let mut log = appliance.lines("/v1/events?follow=true&limit=0").await;
    for (id, rule, decision) in [
        (
            "00000000000000a1",
            "office365-strict/native-unmanaged",
            "block",
        ),
        ("00000000000000a2", "rule/vip", "pass"),
    ] {
        proxy.event(Event {
            rule: rule.to_owned(),
            decision: decision.to_owned(),
            ..event(id)
        });
        log.next().await.expect("it came");
    }
    let found = async |arguments: &[&str]| {
        let out = weir(&appliance, &[&["events"], arguments].concat()).await;
        assert_eq!(out.status.code(), Some(0), "{}", told(&out));
        text(&out).matches("00000000000000a").count()
    };
    assert_eq!(found(&["--id", "00000000000000a1"]).await, 1);
    assert_eq!(found(&["--rule", "*/native-*"]).await, 1);
    assert_eq!(found(&["--rule", "rule/"]).await, 1);
    assert_eq!(found(&["--decision", "pass"]).await, 1);
    assert_eq!(found(&["--service", "sts"]).await, 2);
    assert_eq!(found(&["--service", "adfs"]).await, 0);
    assert_eq!(
        found(&["--since", "1h"]).await,
        0,
        "they tell of another time"
    );
    assert_eq!(found(&["--since", "2026-01-01T00:00:00Z"]).await, 2);
    assert_eq!(found(&["--until", "2026-01-01T00:00:00Z"]).await, 0);
    assert_eq!(found(&["--source", "198.51.100.0/24", "-n", "1"]).await, 1);
}

#[tokio::test]
async fn a_list_is_shown_in_part() {
    let appliance = Appliance::start().await;
    let shown = async |arguments: &[&str]| {
        text(
            &weir(
                &appliance,
                &[&["lists", "show", "hq-egress"], arguments].concat(),
            )
            .await,
        )
    };
    let one = shown(&["--limit", "1"]).await;
    assert!(one.contains("  203.0.113.0/24\n  and 1 more"), "{one}");
    let inside = shown(&["--prefix", "203.0.113.9"]).await;
    assert!(
        inside.ends_with("  203.0.113.0/24\n"),
        "what covers it: {inside}"
    );
    let none = shown(&["--prefix", "192.0.2.0/24"]).await;
    assert!(!none.contains("203.0.113.0/24"), "{none}");
    let json = shown(&["--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["matching"], 2);
}

#[tokio::test]
async fn status_fits_a_screen_in_every_state_and_shouts_first() {
    let second = r#"
[[service]]
name = "adfs"
hosts = ["adfs.corp.example"]
addresses = ["192.0.2.20", "2001:db8:10::20"]
profile = "adfs"
rules = "office365-strict"
managed = "proxy"
certificate = "chain.pem"
key = "key.pem"
reverse_proxy = "https://adfs-corp-example.proxy.example{query}"
[service.upstream]
kind = "wap"
servers = ["192.0.2.20:443"]
server_name = "sts.corp.example"
[[list]]
name = "hq-egress"
"#;
    let settings = Settings {
        edits: vec![("\n[[list]]\nname = \"hq-egress\"\n", second.to_owned())],
        ..Settings::default()
    };
    let appliance = Appliance::start_with(settings).await;
    let screen = async || {
        let out = weir(&appliance, &["status"]).await;
        let text = text(&out);
        println!("{text}");
        assert!(text.lines().count() <= 23, "{text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{text}");
        (out.status.code(), text)
    };
    let (code, text) = screen().await;
    assert_eq!(code, Some(1));
    assert!(text.starts_with("! no proxy is alive"), "{text}");

    let proxy = appliance.proxy().await;
    let (_, text) = screen().await;
    assert!(text.contains("adfs     proxy"), "{text}");
    assert!(text.contains("2001:db8:10::20"), "{text}");

    appliance.kernel.change(|kernel| {
        kernel.warnings = (0..9)
            .map(|number| {
                format!(
                    "warning {number} of the kernel plane: {}",
                    "do something ".repeat(9)
                )
            })
            .collect();
    });
    appliance.write("hq.list", "203.0.113.0/244\n");
    let mut log = appliance
        .lines("/v1/events?follow=true&kind=change&limit=0")
        .await;
    log.next().await.expect("the list file is refused");
    let (code, text) = screen().await;
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with("! the list files on disk are not in force: "),
        "{text}"
    );
    assert!(text.contains("weir status --all"), "{text}");
    assert!(text.contains("adfs     proxy"), "{text}");
    let all = weir(&appliance, &["status", "--all"]).await;
    let all = text_of_words(&all);
    assert!(all.contains("warning 8"), "{all}");
    assert!(all.contains("pass packets on before tcx"), "{all}");
    drop(proxy);
}

#[tokio::test]
async fn status_tells_which_servers_do_not_answer() {
    let listener = std::net::TcpListener::bind("127.0.0.2:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let service = format!(
        "addresses = [\"192.0.2.10\"]\nports = [{port}]\ntopology = \"dsr\"\n\
         servers = [\"127.0.0.2\", \"127.0.0.3\"]"
    );
    let appliance = Appliance::start_with(Settings {
        edits: vec![(
            "addresses = [\"192.0.2.10\", \"2001:db8:10::10\"]\nports = [443]",
            service,
        )],
        ..Settings::default()
    })
    .await;
    let out = text(&weir(&appliance, &["status", "--all"]).await);
    assert!(out.contains("dsr: all of 2 servers answer"), "{out}");

    appliance.kernel.until_up(&[[127, 0, 0, 2].into()]).await;

    let out = weir(&appliance, &["status", "--all"]).await;
    let out = text_of_words(&out);
    assert!(
        out.contains("dsr: 1 of 2 servers do not answer: 127.0.0.3"),
        "{out}"
    );
    assert!(out.starts_with("! no proxy is alive"), "{out}");
    assert!(out.contains("! servers do not answer"), "{out}");
}

/// Its standard output, wherever its lines are broken.
fn text_of_words(out: &Output) -> String {
    let words: Vec<_> = text(out).split_whitespace().map(str::to_owned).collect();
    words.join(" ")
}

#[tokio::test]
async fn a_slip_of_the_pen_is_in_the_log_and_needs_no_attention() {
    let appliance = Appliance::start().await;
    let _proxy = appliance.proxy().await;
    for slip in [
        &["lists", "add", "hq-egres", "203.0.113.9"][..],
        &["lists", "add", "hq-egress", "203.0.113.999"],
        &["lists", "add", "bad-people", "203.0.113.9"],
        &["lists", "remove", "hq-egress", "192.0.2.1"],
    ] {
        assert_eq!(weir(&appliance, slip).await.status.code(), Some(1));
    }

    let out = weir(&appliance, &["status"]).await;

    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let log = weir(&appliance, &["events", "--kind", "change"]).await;
    assert_eq!(text(&log).matches(" refused ").count(), 4, "{}", text(&log));
}

#[tokio::test]
async fn what_is_not_for_a_service_is_said_to_be_left_alone() {
    let appliance = Appliance::start().await;
    let out = weir(&appliance, &["explain", "198.51.100.7", "--port", "81"]).await;
    let words = text(&out);
    assert!(
        words.contains("not for a service's address and port"),
        "{words}"
    );
    assert!(words.contains("leaves the packet alone"), "{words}");
}

#[tokio::test]
async fn every_error_says_what_to_do_next() {
    let appliance = Appliance::start().await;
    for (arguments, code, words) in [
        (
            &["lists", "show", "hq-egres"][..],
            1,
            "did you mean `hq-egress`?",
        ),
        (&["lists", "add", "hq-egress", "203.0.113.999"], 1, "help: "),
        (
            &["lists", "add", "bad-people", "203.0.113.9"],
            1,
            "edit `prefixes`",
        ),
        (
            &["lists", "remove", "hq-egress", "203.0.113.9"],
            1,
            "203.0.113.0/24 covers it",
        ),
        (
            &["lists", "test", "203.0.113.0/24"],
            2,
            "such as 203.0.113.0",
        ),
        (&["lists", "test", "203.0.113.9:443"], 2, "; "),
        (&["lists", "shwo"], 2, "'show'"),
        (
            &["explain", "203.0.113.9", "--service", "stss"],
            1,
            "did you mean `sts`?",
        ),
        (
            &["explain", "203.0.113.9", "--body-file", "/nowhere"],
            2,
            "help: ",
        ),
        (
            &["explain", "203.0.113.9", "--url", "adfs/ls"],
            1,
            "write a path that begins with",
        ),
        (&["events", "--source", "nowhere"], 1, "help: "),
        (&["events", "--since", "yesterday"], 2, "15m, 2h, 3d"),
        (&["events", "--decision", "blok"], 2, "'block'"),
        (&["man", "lists", "ad"], 2, "weir-lists-add"),
    ] {
        let out = weir(&appliance, arguments).await;
        let told = told(&out);
        assert_eq!(out.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
    let json = weir(&appliance, &["--json", "lists", "show", "hq-egres"]).await;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert!(json["help"].is_string(), "{json}");
}

/// As somebody whom file modes bind: root gives up what it can do beside them.
async fn unprivileged(appliance: &Appliance, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    if nix::unistd::Uid::effective().is_root() {
        command = Command::new("setpriv");
        command
            .args(["--bounding-set=-dac_override", "--inh-caps=-dac_override"])
            .arg(env!("CARGO_BIN_EXE_weir"));
    }
    command
        .env("WEIR_SOCKET", appliance.control_socket())
        .args(arguments)
        .stdin(Stdio::null());
    command.output().await.expect("it runs")
}

async fn next<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> String {
    lines.next_line().await.expect("read").expect("a line")
}

fn seq(line: &str) -> u64 {
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    line["seq"].as_u64().expect("a number")
}

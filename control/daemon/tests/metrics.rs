//! The state of the appliance as numbers: the text is sound, everything that the alerts and the dashboard ask for
//! is told, nothing falls when a proxy comes or goes, and the management addresses are bounded.

#![expect(
    clippy::float_cmp,
    reason = "what is counted is told as a whole number"
)]

#[path = "metrics/exposition.rs"]
mod exposition;
#[allow(dead_code, reason = "each test file uses a part of it")]
mod tenant;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_control::testing::{Appliance, FakeProxy, Settings};
use weir_link::{Counted, TOOK_WITHIN};

use exposition::Exposition;
use tenant::Tenant;

const LOOK: Duration = Duration::from_millis(20);

#[tokio::test]
async fn everything_that_the_alerts_and_the_dashboard_ask_for_is_told() {
    let tenant = Tenant::start().await;
    let proxy = tenant.appliance.proxy().await;
    busy(&tenant.appliance, &proxy);
    let told = until(&tenant.appliance, |told| {
        told.names()
            .contains("weir_request_duration_seconds_bucket")
            && told
                .names()
                .contains("weir_entra_part_last_success_timestamp_seconds")
            && told.names().contains("weir_last_good_generation")
    })
    .await;
    let names = told.names();
    // Of lists that are fetched, and of the collector itself.
    let elsewhere: BTreeSet<_> = [
        "weir_list_last_success_timestamp_seconds",
        "weir_list_failing",
        "weir_list_held",
    ]
    .into();
    for file in ["alerts.yml", "grafana-dashboard.json"] {
        let asked = asked_for(&monitoring(file));
        assert!(asked.len() > 10, "{file}: {asked:?}");
        for name in asked {
            assert!(
                names.contains(&*name) || elsewhere.contains(&*name),
                "{file} asks for {name}, which nobody tells"
            );
        }
    }
}

#[tokio::test]
async fn a_list_that_is_fetched_tells_how_that_goes() {
    let list = "[[list]]\nname = \"casb\"";
    let remote =
        "[[list]]\nname = \"far\"\nclass = \"blocked\"\nurl = \"https://127.0.0.1:9/far.txt\"\n\n";
    let appliance = Appliance::start_with(Settings {
        edits: vec![(list, format!("{remote}{list}"))],
        ..Settings::default()
    })
    .await;
    let told = until(&appliance, |told| {
        told.value("weir_list_failing", &[("list", "far")]) == Some(1.0)
    })
    .await;
    assert_eq!(told.value("weir_list_held", &[("list", "far")]), Some(0.0));
    assert_eq!(
        told.value(
            "weir_list_entries",
            &[("list", "hq-egress"), ("class", "managed")]
        ),
        Some(2.0)
    );
}

#[tokio::test]
async fn the_numbers_are_those_of_status() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    busy(&appliance, &proxy);
    let told = until(&appliance, |told| {
        told.value(
            "weir_rule_hits_total",
            &[("service", "sts"), ("rule", "a/b")],
        ) == Some(3.0)
    })
    .await;
    let status = appliance.get("/v1/status").await;
    let value = |name, labels: &[(&str, &str)]| {
        let value = told.value(name, labels);
        value.unwrap_or_else(|| panic!("{name} {labels:?}"))
    };
    assert_eq!(
        Some(value("weir_generation", &[])),
        status["generation"].as_f64()
    );
    assert_eq!(value("weir_proxy_serving", &[]), 1.0);
    assert_eq!(value("weir_proxy_fail_mode", &[]), 0.0);
    let sha = status["config"]["digest"].as_str().expect("text");
    assert_eq!(value("weir_config_info", &[("sha256", sha)]), 1.0);
    let dropped = [
        ("hook", "xdp"),
        ("service", "sts"),
        ("class", "blocked"),
        ("verdict", "drop"),
        ("reason", "class"),
        ("observed", "false"),
    ];
    assert_eq!(value("weir_kernel_packets_total", &dropped), 7.0);
    assert_eq!(value("weir_kernel_bytes_total", &dropped), 700.0);
    assert_eq!(value("weir_table_capacity", &[("table", "services")]), 64.0);
    assert_eq!(value("weir_table_entries", &[("table", "services")]), 1.0);
    let decided = [
        ("service", "sts"),
        ("flow", "active"),
        ("client", "native"),
        ("decision", "block"),
    ];
    assert_eq!(value("weir_requests_total", &decided), 5.0);
    let buckets = |le| [("service", "sts"), ("le", le)];
    assert_eq!(
        value("weir_request_duration_seconds_bucket", &buckets("0.0005")),
        2.0
    );
    assert_eq!(
        value("weir_request_duration_seconds_bucket", &buckets("10")),
        3.0
    );
    assert_eq!(
        value("weir_request_duration_seconds_bucket", &buckets("+Inf")),
        4.0
    );
    assert_eq!(
        value("weir_request_duration_seconds_count", &[("service", "sts")]),
        4.0
    );
    assert_eq!(
        value("weir_request_duration_seconds_sum", &[("service", "sts")]),
        20.5
    );
    let upstream = [
        ("service", "sts"),
        ("server", "192.0.2.10:443"),
        ("plane", "proxy"),
    ];
    assert_eq!(value("weir_upstream_up", &upstream), 0.0);
    let upstreams = &status["services"][0]["upstreams"];
    assert_eq!(upstreams[0]["reached"], false, "{upstreams}");
    let ends = told.samples("weir_tls_certificate_not_after_timestamp_seconds");
    assert_eq!(ends.len(), 1);
    assert!(
        value(
            "weir_process_resident_memory_bytes",
            &[("process", "weir-control")]
        ) > 1e6
    );
    assert_eq!(value("weir_config_last_reload_successful", &[]), 1.0);
}

#[tokio::test]
async fn no_counter_falls_when_a_proxy_is_replaced() {
    let appliance = Appliance::start().await;
    let first = appliance.proxy().await;
    first.count(|counts| counts.requests = 40);
    first.tally(vec![rule(40)]);
    until(&appliance, |told| {
        told.value("weir_proxy_requests_total", &[]) == Some(40.0)
    })
    .await;
    drop(first);
    // The same process is back and counts anew: its number has fallen.
    let second = appliance.proxy().await;
    second.count(|counts| counts.requests = 3);
    second.tally(vec![rule(3)]);
    let told = until(&appliance, |told| {
        told.value("weir_proxy_requests_total", &[])
            .expect("it is told")
            > 40.0
    })
    .await;
    assert_eq!(told.value("weir_proxy_requests_total", &[]), Some(43.0));
    let hits = [("service", "sts"), ("rule", "a/b")];
    let told = until(&appliance, |told| {
        told.value("weir_rule_hits_total", &hits) != Some(40.0)
    })
    .await;
    assert_eq!(told.value("weir_rule_hits_total", &hits), Some(43.0));
}

#[tokio::test]
async fn names_from_a_proxy_cannot_break_the_text() {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let nasty = "a\"} 1\nweir_generation 99\n\\";
    let row = Counted::Rule {
        service: "sts".to_owned(),
        rule: nasty.to_owned(),
    };
    proxy.tally(vec![(row, 1)]);
    let labels = [("service", "sts"), ("rule", nasty)];
    until(&appliance, |told| {
        told.value("weir_rule_hits_total", &labels) == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() {
    const TEST: &str = "promtool_finds_nothing_wrong";
    let Some(promtool) = promtool() else {
        eprintln!("skipped: {TEST}: there is no promtool; `cargo xtask setup` unpacks it");
        return;
    };
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    busy(&appliance, &proxy);
    until(&appliance, |told| {
        told.names().contains("weir_requests_total")
    })
    .await;
    let text = metrics(&appliance).await;
    let mut check = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = check.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let out = check.wait_with_output().expect("it ends");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    for (verb, file) in [("check", "alerts.yml"), ("test", "alerts_test.yml")] {
        let out = Command::new(&promtool)
            .args([verb, "rules", file])
            .current_dir(folder())
            .output()
            .expect("promtool runs");
        let said = String::from_utf8_lossy(&out.stdout).into_owned()
            + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
    }
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let text = monitoring("alerts.yml");
    let tests = monitoring("alerts_test.yml");
    let alerts: Vec<_> = text.split("      - alert: ").skip(1).collect();
    assert!(alerts.len() > 15);
    for alert in alerts {
        let name = alert.lines().next().expect("a name");
        assert!(
            alert.contains("severity: page") || alert.contains("severity: ticket"),
            "{name}"
        );
        let description = alert.split_once("description: >-").expect(name).1;
        let command = description.contains("`weir ") || description.contains("`journalctl -u weir");
        assert!(command, "{name} names no command");
        assert!(tests.contains(name), "{name} has no test");
    }
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard: Value =
        serde_json::from_str(&monitoring("grafana-dashboard.json")).expect("JSON");
    let variables = dashboard["templating"]["list"]
        .as_array()
        .expect("variables");
    assert_eq!(variables[0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut ids = BTreeSet::new();
    let mut rows = 0;
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "{panel}");
        if panel["type"] == "row" {
            rows += 1;
            continue;
        }
        assert!(
            panel["description"]
                .as_str()
                .is_some_and(|text| text.len() > 20),
            "{panel}"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        for target in panel["targets"].as_array().expect("targets") {
            let expr = target["expr"].as_str().expect("a query");
            assert!(expr.contains("instance=~\"$instance\""), "{expr}");
        }
    }
    assert!(rows >= 6);
}

#[tokio::test]
async fn the_management_addresses_tell_and_change_nothing() {
    let (appliance, address) = listening().await;
    let answer = ask(address, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\nweir_build_info{version="), "{answer}");
    let live = ask(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(live.starts_with("HTTP/1.1 200 "), "{live}");
    let ready = "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
    let not = ask(address, ready).await;
    assert!(
        not.starts_with("HTTP/1.1 503 ") && not.ends_with("no weir-proxy is connected\n"),
        "{not}"
    );
    let proxy = appliance.proxy().await;
    let is = ask(address, ready).await;
    assert!(
        is.starts_with("HTTP/1.1 200 ") && is.ends_with("ready\n"),
        "{is}"
    );
    drop(proxy);
    let head = ask(address, "HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && !head.contains("weir_"),
        "{head}"
    );
    let nothing = ask(address, "GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(nothing.starts_with("HTTP/1.1 404 "), "{nothing}");
    let post = ask(
        address,
        "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert!(
        post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD"),
        "{post}"
    );
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    let long = ask(address, &long).await;
    assert!(!long.contains(" 200 "), "{long}");
    let junk = ask(address, "\x16\x03\x01 hello\r\n\r\n").await;
    assert!(!junk.contains(" 200 "), "{junk}");
}

#[tokio::test]
async fn who_holds_connections_open_keeps_nobody_out_for_long() {
    let (appliance, address) = listening().await;
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(TcpStream::connect(address).await.expect("it listens"));
    }
    let told = until(&appliance, |told| {
        let turned_away = told.value("weir_metrics_connections_turned_away_total", &[]);
        turned_away.is_some_and(|count| count >= 24.0)
    })
    .await;
    assert!(
        told.value("weir_generation", &[]).is_some(),
        "the brain goes on"
    );
    drop(held);
    loop {
        let answer = ask(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_of_and_tried_again() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = taken.local_addr().expect("bound");
    let appliance = Appliance::start_with(on(address)).await;
    let warns = async |wanted: bool| loop {
        let status = appliance.get("/v1/status").await;
        let warnings = status["warnings"].to_string();
        if warnings.contains(&format!("metrics are not served at {address}")) == wanted {
            break;
        }
        tokio::time::sleep(LOOK).await;
    };
    warns(true).await;
    drop(taken);
    warns(false).await;
    let answer = ask(address, "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // A reload takes the address away.
    let config = appliance.read("weir.toml");
    let listen = format!("[metrics]\nlisten = [\"{address}\"]\n");
    appliance.write("weir.toml", &config.replace(&listen, ""));
    let (status, told) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert!(status.is_success(), "{told}");
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(LOOK).await;
    }
}

fn rule(count: u64) -> (Counted, u64) {
    let row = Counted::Rule {
        service: "sts".to_owned(),
        rule: "a/b".to_owned(),
    };
    (row, count)
}

/// Both planes have counted something of each kind.
fn busy(appliance: &Appliance, proxy: &FakeProxy) {
    appliance.kernel.change(|kernel| {
        kernel.counters = vec![weir_dataplane::Counter {
            service: 0,
            class: Class::Blocked,
            verdict: Verdict::Drop,
            reason: Reason::Class,
            hook: Hook::Xdp,
            observed: false,
            packets: 7,
            bytes: 700,
        }];
    });
    proxy.count(|counts| counts.handshakes_failed = 2);
    let service = || "sts".to_owned();
    let server: SocketAddr = ([192, 0, 2, 10], 443).into();
    let took = |within, count| {
        let service = service();
        (Counted::Took { service, within }, count)
    };
    proxy.tally(vec![
        rule(3),
        (
            Counted::Decided {
                service: service(),
                flow: "active".to_owned(),
                client: "native".to_owned(),
                decision: "block".to_owned(),
            },
            5,
        ),
        (Counted::Unanswered { service: service() }, 1),
        took(0, 2),
        took(TOOK_WITHIN.len() - 1, 1),
        took(TOOK_WITHIN.len(), 1),
        (Counted::TookMicroseconds { service: service() }, 20_500_000),
        (
            Counted::Handshake {
                version: "1.3".to_owned(),
                resumed: true,
            },
            9,
        ),
        (
            Counted::Connected {
                service: service(),
                server,
            },
            0,
        ),
        (
            Counted::NotConnected {
                service: service(),
                server,
            },
            4,
        ),
    ]);
}

async fn metrics(appliance: &Appliance) -> String {
    let socket = appliance.read_socket();
    let reply = appliance
        .reply(&socket, Method::GET, "/v1/metrics", b"")
        .await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.body);
    reply.body
}

/// Each text that is read on the way is sound.
async fn until(appliance: &Appliance, holds: impl Fn(&Exposition) -> bool) -> Exposition {
    loop {
        let told = Exposition::parse(&metrics(appliance).await);
        if holds(&told) {
            return told;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn on(address: SocketAddr) -> Settings {
    let kernel = "[kernel]\n";
    Settings {
        edits: vec![(
            kernel,
            format!("[metrics]\nlisten = [\"{address}\"]\n{kernel}"),
        )],
        ..Settings::default()
    }
}

async fn listening() -> (Appliance, SocketAddr) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = free.local_addr().expect("bound");
    drop(free);
    let appliance = Appliance::start_with(on(address)).await;
    while TcpStream::connect(address).await.is_err() {
        tokio::time::sleep(LOOK).await;
    }
    (appliance, address)
}

async fn ask(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // Who is turned away may not be read from any more.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/monitoring")
}

fn monitoring(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("it is there")
}

/// Where `cargo xtask setup` puts it, or wherever it is installed.
fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::env::current_exe()
        .ok()
        .and_then(|me| Some(me.parent()?.parent()?.parent()?.join("tools")));
    std::env::split_paths(&path)
        .chain(tools)
        .map(|folder| folder.join("promtool"))
        .find(|file| file.is_file())
}

/// Every name of a metric in a text.
fn asked_for(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c))
        .filter(|word| word.starts_with("weir_"))
        .map(str::to_owned)
        .collect()
}

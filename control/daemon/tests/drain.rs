//! Drain windows: how long the flows of sources whose class has changed keep the verdicts that they began
//! with, and the lists that end them at once.

use std::net::{IpAddr, SocketAddr};

use http::{Method, StatusCode};
use serde_json::json;
use weir_abi::{Class, ClassSet, Standing};
use weir_control::testing::{Appliance, CONFIG, LIST, Settings};

const NEW: &str = "198.51.100.7";
const OTHER: &str = "198.51.100.8";

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
        appliance.write("weir.toml", &blocked(cut));
        let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(appliance.kernel.standing(ip(NEW)), standing);
        appliance
            .kernel
            .change(|state| assert_eq!(state.connections, left));
    }
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

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

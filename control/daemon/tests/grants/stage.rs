//! An appliance with a proxy that tells of sign-ins, and what becomes of them.

use std::net::{IpAddr, SocketAddr};

use http::{Method, StatusCode};
use weir_control::descriptor_store::Inherited;
use weir_control::testing::{Appliance, CONFIG, FakeProxy, Lines, Settings, Stopped};

/// Inside the declared prefixes, and outside of them.
pub const POOL: &str = "10.20.0.7";
pub const NAT: &str = "198.51.100.7";
const SERVICE: &str = "192.0.2.10:443";

/// An appliance with a proxy and a pool of addresses, and its changes as they come.
pub async fn start(window: &str) -> (Appliance, FakeProxy, Lines) {
    let kernel = "table = 5745";
    assert!(CONFIG.contains(kernel));
    let appliance = Appliance::start_with(Settings {
        edits: [(kernel, format!("{kernel}\ndrain_window = \"{window}\""))]
            .into_iter()
            .chain(weir_control::testing::grants())
            .collect(),
        ..Settings::default()
    })
    .await;
    let proxy = appliance.proxy().await;
    let log = changes(&appliance).await;
    (appliance, proxy, log)
}

/// Starts it again, with another proxy.
pub async fn restarted(stopped: Stopped) -> (Appliance, FakeProxy, Lines) {
    let started = stopped.start(Inherited::default()).await;
    let appliance = started.expect("as before");
    let proxy = appliance.proxy().await;
    let log = changes(&appliance).await;
    (appliance, proxy, log)
}

/// Declares another pool in the place of the one of now.
pub async fn declare_another(appliance: &Appliance) {
    let config = appliance
        .read("weir.toml")
        .replace("10.20.0.0/16", "10.30.0.0/16");
    appliance.write("weir.toml", &config);
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

async fn changes(appliance: &Appliance) -> Lines {
    appliance
        .lines("/v1/events?follow=true&limit=0&kind=change")
        .await
}

/// The next change that is not about keys: nobody publishes any here.
pub async fn next(log: &mut Lines) -> String {
    loop {
        let record = log.next().await.expect("a change");
        if record["action"] != "keys" {
            return record["detail"].as_str().expect("words").to_owned();
        }
    }
}

/// A connection to the proxy.
pub fn connect(appliance: &Appliance, source: &str) {
    let service: SocketAddr = SERVICE.parse().expect("an address");
    let source = ip(source);
    appliance
        .kernel
        .change(|kernel| kernel.connections.push((service, source)));
}

pub fn connections(appliance: &Appliance) -> usize {
    let mut count = 0;
    appliance
        .kernel
        .change(|kernel| count = kernel.connections.len());
    count
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

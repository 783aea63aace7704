//! Services that come, go and change places in the file: what was counted of one stays its own.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_control::testing::{Appliance, CONFIG, Settings};
use weir_dataplane::Counter;

#[tokio::test]
async fn a_service_keeps_its_counters_wherever_it_stands_in_the_file() {
    let mut appliance = with(&["sts"]).await;
    count(&appliance, "sts", 7);
    reload(&appliance, &["adfs", "sts"]).await;
    assert_eq!(packets(&appliance).await, told(&[("adfs", 0), ("sts", 7)]));

    count(&appliance, "adfs", 3);
    let text = config(&["owa", "sts", "adfs"]);
    let file = appliance.path("weir.toml");
    appliance
        .restart(async || std::fs::write(file, text).expect("the directory can be written"))
        .await;
    let all = told(&[("owa", 0), ("sts", 7), ("adfs", 3)]);
    assert_eq!(packets(&appliance).await, all);

    let counters = appliance.get("/v1/counters").await;
    let named = counters.as_array().expect("counters").iter();
    let named = named.map(|one| (one["service"].as_str(), one["packets"].as_u64()));
    let named: Vec<_> = named.collect();
    assert_eq!(named, [(Some("sts"), Some(7)), (Some("adfs"), Some(3))]);

    // What goes and comes back finds what it left, and nobody else does.
    reload(&appliance, &["new", "owa", "adfs"]).await;
    let without = told(&[("new", 0), ("owa", 0), ("adfs", 3)]);
    assert_eq!(packets(&appliance).await, without);
    reload(&appliance, &["adfs", "sts", "owa"]).await;
    assert_eq!(packets(&appliance).await, all);
}

#[tokio::test]
async fn a_place_that_is_used_again_counts_from_zero() {
    let names: Vec<String> = (0..64).map(|number| format!("sts{number}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    let appliance = with(&names).await;
    count(&appliance, "sts5", 7);
    count(&appliance, "sts6", 9);

    names.remove(5);
    names.insert(0, "new");
    reload(&appliance, &names).await;
    let counted = packets(&appliance).await;
    assert_eq!(counted.len(), 64);
    assert_eq!((counted["new"], counted["sts6"]), (0, 9));
}

/// An appliance with these services.
async fn with(names: &[&str]) -> Appliance {
    let (block, all) = (block(), blocks(names));
    Appliance::start_with(Settings {
        edits: vec![(block, all)],
        ..Settings::default()
    })
    .await
}

/// The configuration file with these services instead.
fn config(names: &[&str]) -> String {
    let uid = nix::unistd::Uid::effective().to_string();
    CONFIG
        .replace("PROXY_USER", &uid)
        .replace(block(), &blocks(names))
}

async fn reload(appliance: &Appliance, names: &[&str]) {
    appliance.write("weir.toml", &config(names));
    let (status, answer) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

/// The one service of [`CONFIG`].
fn block() -> &'static str {
    let start = CONFIG.find("[[service]]").expect("it has one");
    let end = CONFIG.find("[[list]]").expect("lists follow");
    &CONFIG[start..end]
}

/// The same under these names, each at addresses of its own.
fn blocks(names: &[&str]) -> String {
    let one = |(number, name): (usize, &&str)| {
        let host = format!("\"{name}.more.corp.example\"");
        block()
            .replace("name = \"sts\"", &format!("name = \"{name}\""))
            .replace("\"sts.corp.example\"", &host)
            .replace("192.0.2.10\"", &format!("192.0.2.{}\"", 10 + number))
            .replace("::10\"", &format!("::{}\"", 10 + number))
    };
    names.iter().enumerate().map(one).collect()
}

/// The kernel has forwarded so many packets to a service.
fn count(appliance: &Appliance, name: &str, packets: u64) {
    appliance.kernel.change(|kernel| {
        let service = kernel.services.iter().find(|service| service.name == name);
        kernel.counters.push(Counter {
            service: service.expect("it is in force").id,
            class: Class::Managed,
            verdict: Verdict::Forward,
            reason: Reason::Class,
            hook: Hook::Tcx,
            observed: false,
            packets,
            bytes: 60 * packets,
        });
    });
}

/// The packets of each service.
async fn packets(appliance: &Appliance) -> BTreeMap<String, u64> {
    let status = appliance.get("/v1/status").await;
    let services = status["services"].as_array().expect("services");
    let one = |service: &serde_json::Value| {
        let counted = service["packets"][0]["packets"].as_u64().unwrap_or(0);
        (
            service["name"].as_str().expect("a name").to_owned(),
            counted,
        )
    };
    services.iter().map(one).collect()
}

fn told(packets: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = packets
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count));
    owned.collect()
}

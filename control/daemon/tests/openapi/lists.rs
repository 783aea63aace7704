//! Lists that are fetched, as the document describes them.

use http::Method;
use serde_json::json;
use weir_control::testing::{Appliance, Publisher, Settings, prefixes};

use super::Seen;

const REFRESH: &str = "/v1/lists/{name}/refresh";
const APPROVE: &str = "/v1/lists/{name}/approve";

/// Fetched, held, approved, and everything that can be wrong with that.
pub async fn fetched(seen: &mut Seen) {
    let publisher = Publisher::start(&[]).await;
    publisher.answer("/casb", 200, &prefixes(20));
    let source = publisher.list("/casb");
    let edits = vec![("prefixes = [\"198.51.100.128/25\"]", source)];
    let appliance = Appliance::start_with(Settings {
        edits,
        ..Settings::default()
    })
    .await;
    let mut ask = async |path: &str, name: &str, body: &str, status: u16| {
        let target = path.replace("{name}", name);
        let asked = seen.ask(&appliance, Method::POST, path, &target, body);
        assert_eq!(asked.await, status, "{target} {body}");
    };
    let digest = json!({ "digest": "0123456789" }).to_string();
    for (name, status) in [("hq-egres", 404), ("hq-egress", 409)] {
        ask(REFRESH, name, "", status).await;
        ask(APPROVE, name, &digest, status).await;
    }
    ask(REFRESH, "casb", "", 200).await;
    ask(APPROVE, "casb", &digest, 404).await;
    publisher.answer("/casb", 200, &prefixes(2));
    ask(REFRESH, "casb", "", 200).await;
    ask(APPROVE, "casb", &digest, 422).await;
    let lists = appliance.get("/v1/lists").await;
    let held = &lists[2]["remote"]["held"]["digest"];
    let right = json!({ "digest": held }).to_string();
    let directory = appliance.path("state/lists");
    std::fs::rename(&directory, appliance.path("state/elsewhere")).expect("renamed");
    std::fs::write(&directory, "no directory").expect("written");
    ask(APPROVE, "casb", &right, 500).await;
    ask(REFRESH, "casb", "", 500).await;
    std::fs::remove_file(&directory).expect("removed");
    ask(APPROVE, "casb", &right, 200).await;
    publisher.stop();
    ask(REFRESH, "casb", "", 502).await;
}

//! Reloads that are to be confirmed, as the document describes them.

use http::Method;
use weir_control::testing::Appliance;

use super::Seen;

const RELOAD: &str = "/v1/reload";
const CONFIRM: &str = "/v1/confirm";
const UNDO: &str = "/v1/undo";
const STATUS: &str = "/v1/status";
const ENTRIES: &str = "/v1/lists/{name}/entries";

/// Tried, confirmed, taken back, and everything that can be wrong with that.
pub async fn reload(seen: &mut Seen) {
    let appliance = Appliance::start().await;
    let proxy = appliance.proxy().await;
    let mut ask = async |path: &str, body: &str, status: u16| {
        let method = if path == STATUS {
            Method::GET
        } else {
            Method::POST
        };
        let target = path.replace("{name}", "hq-egress");
        let asked = seen.ask(&appliance, method, path, &target, body);
        assert_eq!(asked.await, status, "{target} {body}");
    };
    let within = r#"{"confirm_within":3600}"#;
    ask(UNDO, "", 409).await;
    ask(CONFIRM, "", 409).await;
    ask(RELOAD, r#"{"confirm_within":0}"#, 400).await;
    ask(RELOAD, r#"{"confirm_within":60,"dry_run":true}"#, 400).await;

    let config = appliance.read("weir.toml");
    let new = config
        .replace("198.51.100.128/25", "198.51.100.129/32")
        .replace("ports = [443]", "ports = [443, 8443]")
        .replace("managed = \"forward\"", "managed = \"proxy\"");
    appliance.write("weir.toml", &new);
    appliance.write("hq.list", "203.0.113.0/24\n");
    ask(RELOAD, r#"{"dry_run":true}"#, 200).await;
    ask(RELOAD, within, 200).await;
    ask(STATUS, "", 200).await;
    ask(RELOAD, "", 409).await;
    proxy.refuse_next("it does not like it");
    ask(UNDO, "", 502).await;
    ask(UNDO, "", 200).await;
    ask(STATUS, "", 200).await;
    ask(UNDO, "", 409).await;

    ask(RELOAD, within, 200).await;
    ask(CONFIRM, "", 200).await;
    ask(RELOAD, within, 200).await;
    let journal = appliance.path("state/reload.json");
    std::fs::remove_file(&journal).expect("it is there");
    std::fs::create_dir(&journal).expect("made");
    ask(CONFIRM, "", 500).await;
    ask(UNDO, "", 500).await;
    std::fs::remove_dir(&journal).expect("it is there");
    ask(CONFIRM, "", 200).await;
    ask(ENTRIES, r#"{"prefix":"198.51.100.7"}"#, 200).await;
}

//! An appliance, and a tenant that it keeps in step with.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::testing::{Appliance, Settings};
use weir_directory::Snapshot;
use weir_lab_entra::Entra;

/// Before what the tenant is written in the configuration.
pub const BEFORE: &str = "[[service]]\nname = \"sts\"\n";
/// How often something is looked at that comes by itself, and how often at most.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: u32 = 3_000;
/// Pictures of tests are read whatever their age.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// An appliance of a tenant, whose configuration says `more` of it.
pub async fn appliance(lab: &Entra, more: &str) -> Appliance {
    // Two domains sign in at a service that this appliance does not front.
    let elsewhere = r#"elsewhere = ["mex-adfs.corp.example", "nomex-adfs.corp.example"]"#;
    with(&lab.configuration(&format!("{elsewhere}\n{more}"))).await
}

/// An appliance with this in its configuration.
pub async fn with(entra: &str) -> Appliance {
    Appliance::start_with(Settings {
        edits: vec![(BEFORE, format!("{entra}{BEFORE}"))],
        ..Settings::default()
    })
    .await
}

/// Replaces a piece of the configuration, and has it loaded.
pub async fn reload(appliance: &Appliance, old: &str, new: &str) {
    let config = appliance.read("weir.toml");
    assert!(config.contains(old), "{old}: {config}");
    appliance.write("weir.toml", &config.replace(old, new));
    let (status, said) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

/// Has something done.
pub async fn post(appliance: &Appliance, path: &str, body: Value) -> (StatusCode, Value) {
    let path = format!("/v1/entra/{path}");
    appliance.ask(Method::POST, &path, Some(body)).await
}

/// Reads a part, and gives how that went.
pub async fn sync(appliance: &Appliance, part: &str, full: bool) -> Value {
    let (status, said) = post(appliance, "sync", json!({ "part": part, "full": full })).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    said[0].clone()
}

/// Reads all parts.
pub async fn sync_all(appliance: &Appliance) {
    let (status, said) = post(appliance, "sync", json!({})).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    for part in said.as_array().expect("parts") {
        assert!(
            ["committed", "unchanged"].contains(&part["outcome"].as_str().expect("a word")),
            "{part}"
        );
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so().await {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("it never came: {what}");
}

/// How many users there are in the picture that is in force.
pub fn users(appliance: &Appliance) -> Option<usize> {
    Some(appliance.brain.directory()?.snapshot.users().count())
}

/// Whether bytes are a picture with this user.
pub fn knows(bytes: &[u8], upn: &str) -> bool {
    let snapshot = Snapshot::parse(bytes).expect("a picture");
    let now = snapshot.head().taken_at;
    snapshot.at(now, YEAR).knows(upn) == Some(true)
}

/// The findings of the whole and of the parts, by their reasons.
pub fn reasons(shown: &Value) -> Vec<String> {
    let of = |value: &Value| value["findings"].as_array().cloned().unwrap_or_default();
    let mut all = of(shown);
    for part in shown["parts"].as_array().into_iter().flatten() {
        all.extend(of(part));
    }
    let reasons = all
        .iter()
        .map(|one| one["reason"].as_str().expect("a word").to_owned());
    reasons.collect()
}

/// What the audit log has of an action, the newest last.
pub fn audited(appliance: &Appliance, action: &str) -> Vec<Value> {
    let log = appliance.read("state/audit.jsonl");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["action"] == action).collect()
}

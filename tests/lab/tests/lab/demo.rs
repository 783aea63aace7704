//! The demonstration says the truth by its exit status and its JSON.

use std::path::Path;

use serde_json::Value;

use crate::common::{Ground, text};

const ROW: &str = "curl/ws-fed/sts/unmanaged/4";

#[test]
fn rows_as_expected_name_who_decided() {
    let Some(ground) = Ground::find("rows_as_expected_name_who_decided") else {
        return;
    };
    let json = ground.out("good.json");
    let output = ground
        .raise("demo", "good")
        .args(["--only", "curl/ws-fed/*/4", "--json"])
        .arg(&json)
        .output()
        .expect("weir-lab can be run");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report = read(&json);
    assert_eq!(report["as_expected"], report["total"]);
    let row = |name: &str| {
        let rows = report["rows"].as_array().expect("rows").iter();
        rows.into_iter()
            .find(|row| row["name"] == name)
            .cloned()
            .expect("the row was done")
    };
    let forwarded = row("curl/ws-fed/sts/managed/4");
    assert_eq!(
        forwarded["got"]["by"],
        serde_json::json!([{ "kernel": { "verdict": "forward", "reason": "class" } }])
    );
    assert!(forwarded["packets"]["forward"].as_u64() > Some(5));
    assert_eq!(
        forwarded["evidence"]["events"],
        serde_json::json!([]),
        "the proxy saw nothing"
    );
    assert_eq!(
        forwarded["evidence"]["direct"].as_array().map(Vec::len),
        Some(1),
        "the service saw the client itself"
    );
    let redirected = row(ROW);
    let event = &redirected["evidence"]["events"][0];
    assert_eq!(event["rule"], redirected["got"]["by"][0]["proxy"]["rule"]);
    assert_eq!(
        redirected["packets"].as_object().map(serde_json::Map::len),
        Some(1)
    );
    let dropped = row("curl/ws-fed/sts/blocked/4");
    assert_eq!(
        dropped["got"]["by"],
        serde_json::json!([{ "kernel": { "verdict": "drop", "reason": "class" } }])
    );
    for refused in [&redirected, &dropped] {
        assert_eq!(refused["evidence"]["requests"], 0, "it arrived nowhere");
    }
}

#[test]
fn a_rule_that_is_switched_off_turns_its_rows_red() {
    let Some(ground) = Ground::find("a_rule_that_is_switched_off_turns_its_rows_red") else {
        return;
    };
    let json = ground.out("red.json");
    let output = ground
        .raise("demo", "red")
        .args(["--only", ROW, "--only", "curl/sign-out/sts/unmanaged/4"])
        .args([
            "--switch-off",
            "office365-strict/browser-unmanaged",
            "--json",
        ])
        .arg(&json)
        .output()
        .expect("weir-lab can be run");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report = read(&json);
    for row in report["rows"].as_array().expect("rows") {
        assert_eq!(row["ok"], row["name"] != ROW, "{row}");
    }
    assert_eq!(report["total"], 2);
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).expect("the report is written");
    serde_json::from_slice(&text).expect("it is JSON")
}

//! The demonstration says the truth by its exit status and its JSON.

use serde_json::Value;

use crate::common::{Ground, lab, text};

const ROW: &str = "strict/curl/ws-fed/sts/unmanaged/4";

#[test]
fn rows_as_expected_name_who_decided() {
    let Some(ground) = Ground::find("rows_as_expected_name_who_decided") else {
        return;
    };
    let runs = shown(&ground, "good", &["--only", "strict/curl/ws-fed/*/4"], 0);
    let hooks: Vec<&Value> = runs.iter().map(|run| &run["hook"]).collect();
    assert_eq!(hooks, ["tcx", "xdp"]);
    let report = &runs[0];
    assert_eq!(report["as_expected"], report["total"]);
    let row = |name: &str| {
        let rows = report["rows"].as_array().expect("rows").iter();
        rows.into_iter()
            .find(|row| row["name"] == name)
            .cloned()
            .expect("the row was done")
    };
    let forwarded = row("strict/curl/ws-fed/sts/managed/4");
    assert_eq!(
        forwarded["got"]["by"],
        serde_json::json!([{ "kernel": { "verdict": "forward", "reason": "class", "hook": "tcx" } }])
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
    let dropped = row("strict/curl/ws-fed/sts/blocked/4");
    assert_eq!(
        dropped["got"]["by"],
        serde_json::json!([{ "kernel": { "verdict": "drop", "reason": "class", "hook": "tcx" } }])
    );
    for refused in [&redirected, &dropped] {
        assert_eq!(refused["evidence"]["requests"], 0, "it arrived nowhere");
    }
}

#[test]
fn the_drivers_hook_decides_where_it_is_told_to() {
    let Some(ground) = Ground::find("the_drivers_hook_decides_where_it_is_told_to") else {
        return;
    };
    let runs = shown(
        &ground,
        "xdp",
        &["--hook", "xdp", "--only", "strict/curl/ws-fed/*/6"],
        0,
    );
    let report = &runs[0];
    assert_eq!(report["hook"], "xdp");
    let rows = report["rows"].as_array().expect("rows");
    let redirected = rows.iter().any(|row| {
        let counters = row["evidence"]["counters"].as_array().expect("counters");
        counters.iter().any(|counter| {
            counter["hook"] == "xdp"
                && counter["verdict"] == "forward"
                && counter["packets"].as_u64() > Some(5)
        })
    });
    assert!(redirected, "{report}");
}

#[test]
fn a_rule_that_is_switched_off_turns_its_rows_red() {
    let Some(ground) = Ground::find("a_rule_that_is_switched_off_turns_its_rows_red") else {
        return;
    };
    let runs = shown(
        &ground,
        "red",
        &[
            "--hook",
            "tcx",
            "--only",
            ROW,
            "--only",
            "strict/curl/sign-out/adfs/unmanaged/4",
            "--switch-off",
            "office365-strict/browser-unmanaged",
        ],
        1,
    );
    let report = &runs[0];
    for row in report["rows"].as_array().expect("rows") {
        assert_eq!(row["ok"], row["name"] != ROW, "{row}");
    }
    assert_eq!(report["total"], 2);
}

#[test]
fn a_house_is_a_configuration() {
    let Some(ground) = Ground::find("a_house_is_a_configuration") else {
        return;
    };
    let runs = shown(
        &ground,
        "houses",
        &["--hook", "tcx", "--only", "curl/outlook/adfs/unmanaged/6"],
        0,
    );
    let report = &runs[0];
    let rows = report["rows"].as_array().expect("rows");
    let decided: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| {
            let decision = &row["got"]["by"][0]["proxy"]["decision"];
            (
                row["house"].as_str().expect("a word"),
                decision.as_str().expect("a word"),
            )
        })
        .collect();
    assert_eq!(
        decided,
        [
            ("strict", "block"),
            ("office365", "pass"),
            ("strict-pass", "pass"),
            ("strict-block", "block"),
            ("office365-relay", "block"),
            ("office365-block", "block"),
        ]
    );
}

#[test]
fn the_kernel_plane_holds_what_it_promises_at_both_hooks() {
    let Some(ground) = Ground::find("the_kernel_plane_holds_what_it_promises_at_both_hooks") else {
        return;
    };
    let runs = shown(
        &ground,
        "kernel",
        &["--only", "kernel/*/4", "--only", "kernel/change/6"],
        0,
    );
    let hooks: Vec<&Value> = runs.iter().map(|run| &run["hook"]).collect();
    assert_eq!(hooks, ["tcx", "xdp"]);
    for report in &runs {
        let told = report["life"].as_array().expect("rows that are told");
        let of = |name: &str| told.iter().find(|row| row["name"] == name);
        for name in ["observe", "capture", "change", "cut", "dsr", "nat"] {
            let row = of(&format!("kernel/{name}/4")).expect("the row was done");
            assert_eq!(row["house"], "kernel");
            assert!(row["said"].as_array().map(Vec::len) > Some(3), "{row}");
        }
    }
}

#[test]
fn reloads_under_load_fail_nobody() {
    let Some(ground) = Ground::find("reloads_under_load_fail_nobody") else {
        return;
    };
    let wanted = ["--hook", "tcx", "--only", "life/reloads/6"];
    let runs = shown(&ground, "reloads", &wanted, 0);
    let row = &runs[0]["life"][0];
    assert_eq!(row["name"], "life/reloads/6");
    let said = row["said"].to_string();
    assert!(
        said.contains("100 reloads") && said.contains("none failed"),
        "{row}"
    );
}

#[test]
fn the_rows_are_listed_without_anything_that_they_need() {
    let output = lab(&["demo", "--list", "--only", "life/*"])
        .env_clear()
        .output()
        .expect("weir-lab can be run");
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", text(&output));
    assert!(listed.lines().count() > 5, "{listed}");
    assert!(listed.lines().all(|line| line.starts_with("life/")));
}

/// What a demo says of each of its hooks.
/// Shows a part of the demonstration, which ends with this status. Gives what it writes of each run.
fn shown(ground: &Ground, instance: &str, wanted: &[&str], status: i32) -> Vec<Value> {
    let json = ground.out(&format!("{instance}.json"));
    let mut command = ground.raise("demo", instance);
    command.args(wanted).arg("--json").arg(&json);
    let output = command.output().expect("weir-lab can be run");
    assert_eq!(output.status.code(), Some(status), "{}", text(&output));
    let text = std::fs::read(&json).expect("the report is written");
    let report: Value = serde_json::from_slice(&text).expect("it is JSON");
    report["runs"].as_array().expect("runs").clone()
}

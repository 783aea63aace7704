//! All benches say the same of where and on what they ran.

use serde_json::{Value, json};
use weir_benches::report::{Limit, Report, Spread};

#[test]
fn a_report_states_machine_versions_rows_and_targets() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("report.json");
    let mut report = Report::new("test", 3);
    report.version("peer", "1.2");
    report.ask_version("nobody", "no-such-program", &[]);
    report.ask_version("refused", "ls", &["/no/such/file"]);
    report.row(json!({ "what": "a", "ns": Spread::of(vec![3.0, 1.0, 2.0]) }));
    report.target("a", "ns", Some(2.0), Limit::Most(1.0));
    report.target("b", "ns", None, Limit::Least(1.0));
    report.note("A note.");
    assert!(report.headline().ends_with("medians of 3"));
    report.finish(Some(&file)).expect("it can be written");
    let text = std::fs::read(&file).expect("it was written");
    let said: Value = serde_json::from_slice(&text).expect("it is JSON");
    let machine = &said["machine"];
    for fact in ["bench", "date", "kernel", "cpu", "load_before"] {
        assert!(machine[fact].as_str().is_some(), "{fact}: {machine}");
    }
    assert_eq!(machine["runs"], 3);
    assert!(machine["cpus"].as_u64() > Some(0) && machine["memory_mb"].as_u64() > Some(0));
    assert_eq!(said["versions"]["peer"], "1.2");
    assert_eq!(said["versions"]["nobody"], "not there");
    assert_eq!(said["versions"]["refused"], "not there");
    assert!(said["versions"]["rustc"].as_str().is_some());
    assert_eq!(
        said["rows"][0],
        json!({ "what": "a", "ns": { "median": 2.0, "min": 1.0, "max": 3.0 } })
    );
    let verdicts = said["targets"].as_array().expect("two targets");
    let verdicts: Vec<&Value> = verdicts.iter().map(|it| &it["verdict"]).collect();
    assert_eq!(verdicts, ["not met", "not measured"]);
    assert_eq!(said["notes"], json!(["A note."]));
}

#[test]
fn what_fails_a_bench_does_not_take_its_numbers() {
    let directory = tempfile::tempdir().expect("there is room");
    let file = directory.path().join("report.json");
    let mut report = Report::new("test", 1);
    report.row(json!({ "what": "a" }));
    report.fail("two differ");
    let error = report.finish(Some(&file)).expect_err("it failed");
    assert_eq!(error.to_string(), "two differ");
    let text = std::fs::read(&file).expect("it was written nevertheless");
    let said: Value = serde_json::from_slice(&text).expect("it is JSON");
    assert_eq!(
        (&said["rows"][0]["what"], &said["fault"]),
        (&json!("a"), &json!("two differ"))
    );
}

#[test]
fn a_spread_keeps_its_order() {
    let spread = Spread::of(vec![30.0, 10.0, 20.0, 40.0]);
    assert_eq!((spread.min, spread.median, spread.max), (10.0, 30.0, 40.0));
    let less = spread.above(Spread::once(5.0)).map(|ns| ns / 5.0);
    assert_eq!((less.min, less.median, less.max), (1.0, 5.0, 7.0));
}

//! The page says what the JSON says, and nothing that comes from outside becomes markup.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Value, json};
use weir_benches::live::{Counts, Row, Witness};
use weir_benches::page::render;
use weir_benches::report::Spread;

#[test]
fn the_page_is_well_formed_and_loads_nothing() {
    let page = render(&report("edge.pcap")).expect("a report of a replay");
    let elements = elements(&page);
    assert!(elements.iter().any(|name| name == "svg"));
    assert!(elements.iter().any(|name| name == "table"));
    assert!(
        !elements
            .iter()
            .any(|name| name == "script" || name == "link")
    );
    for loads in [
        "http://",
        "https://",
        "src=",
        "url(",
        "@import",
        "javascript:",
    ] {
        assert!(!page.contains(loads), "the page has {loads}");
    }
}

#[test]
fn names_stay_words() {
    let name = "<script>alert(\"1\")</script> & 'list'\u{1}";
    let mut report = report(name);
    for row in report["rows"].as_array_mut().expect("rows") {
        if row.get("source").is_some() {
            row["source"] = json!(name);
        }
        if row.get("live").is_some() {
            row["invalid"] = json!(name);
            row["mix"] = json!(name);
        }
    }
    report["notes"] = json!([name]);
    report["versions"] = json!({ name: name });
    let page = render(&report).expect("a report of a replay");
    assert!(!elements(&page).iter().any(|element| element == "script"));
    assert!(page.contains(
        "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;list&#39;\u{fffd}"
    ));
}

#[test]
fn the_numbers_are_those_of_the_json() {
    let report = report("edge.pcap");
    let words = words(&render(&report).expect("a report of a replay"));
    let rows = report["rows"].as_array().expect("rows");
    let mut looked = 0;
    for row in rows {
        for number in numbers(row) {
            assert!(
                words.contains(&number),
                "{number} is not in the page: {row}"
            );
            looked += 1;
        }
    }
    assert!(looked > 20, "only {looked} numbers were looked at");
}

#[test]
fn a_plot_says_in_words_what_it_shows() {
    let page = render(&report("edge.pcap")).expect("a report of a replay");
    let plots: Vec<&str> = page.split("<svg").skip(1).collect();
    assert!(plots.len() >= 4, "only {} plots", plots.len());
    for plot in plots {
        let plot = plot.split("</svg>").next().expect("a plot ends");
        assert!(plot.contains("role=\"img\""));
        for element in ["title", "desc"] {
            let said = plot
                .split_once(&format!("<{element}>"))
                .map(|(_, rest)| rest);
            let said = said.and_then(|rest| rest.split('<').next());
            assert!(
                said.is_some_and(|said| said.len() > 8),
                "no {element}: {plot}"
            );
        }
    }
}

#[test]
fn what_was_not_measured_is_left_out() {
    let mut report = report("edge.pcap");
    let rows = report["rows"].as_array_mut().expect("rows");
    rows.retain(|row| {
        ["live", "witness", "decision", "course"]
            .iter()
            .all(|key| row.get(key).is_none())
    });
    let page = render(&report).expect("a report of a replay");
    elements(&page);
    for heading in [
        "At what speed",
        "What the proxy would have decided",
        "In the course of time",
    ] {
        assert!(!page.contains(heading), "the page has {heading}");
    }
}

#[test]
fn frames_that_are_judged_otherwise_are_not_hidden() {
    let mut report = report("edge.pcap");
    report["rows"][0]["differences"] = json!(17);
    let page = words(&render(&report).expect("a report of a replay"));
    assert!(page.contains("17 of 61,234 frames are judged otherwise"));
}

#[test]
fn other_json_is_refused_in_words() {
    for other in [
        json!({}),
        json!([]),
        json!({ "machine": {}, "rows": [] }),
        Value::Null,
    ] {
        let error = render(&other).expect_err("no report of a replay");
        assert!(error.to_string().contains("--json FILE"), "{error}");
    }
}

/// Every number of a row, as the page writes it.
fn numbers(row: &Value) -> Vec<String> {
    let count = |value: &Value| thousands(value.as_u64().expect("a count"));
    if row.get("would_have_been").is_some() || row.get("reason").is_some() {
        let amount = &row["amount"];
        let numbers = ["packets", "flows", "sources"].map(|name| count(&amount[name]));
        return numbers.to_vec();
    }
    if row.get("source").is_some() {
        return vec![count(&row["packets"]), count(&row["flows"])];
    }
    if row.get("live").is_some() {
        let ns = row["router_ns"]["median"].as_f64().expect("a number");
        let rate = row["handled_pps"]["median"].as_f64().expect("a number");
        return vec![
            format!("{ns:.0} ns"),
            format!("{:.2} M/s", rate / 1e6),
            count(&row["counted"]["forwarded"]),
            count(&row["counted"]["dropped"]),
        ];
    }
    if row.get("witness").is_some() {
        return vec![count(&row["sent"]), count(&row["overrun"])];
    }
    row.get("requests").map(count).into_iter().collect()
}

fn thousands(number: u64) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", thousands(number / 1000), number % 1000)
}

/// The names of all elements, in a page that any reader of XML takes.
fn elements(page: &str) -> Vec<String> {
    let mut reader = Reader::from_str(page);
    let mut names = Vec::new();
    let mut open = 0;
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(start) => {
                open += 1;
                names.push(start.name().as_ref().to_owned());
                let attributes = start.attributes().collect::<Result<Vec<_>, _>>();
                attributes.expect("attributes are well-formed, and each is there once");
            }
            Event::Empty(start) => {
                names.push(start.name().as_ref().to_owned());
            }
            Event::End(_) => open -= 1,
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(open, 0, "what is opened is closed");
    names
}

/// What a reader sees.
fn words(page: &str) -> String {
    let mut reader = Reader::from_str(page);
    let mut words = String::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Text(text) => words.push_str(&text),
            Event::Eof => return words,
            _ => {}
        }
    }
}

/// A report as the bench writes it.
fn report(name: &str) -> Value {
    let amount = |packets: u64| json!({ "packets": packets, "bytes": packets * 311, "flows": packets / 9, "sources": packets / 30 });
    let mut rows = vec![json!({
        "traffic": name, "files": [name], "mapping": null, "seconds": 12.5, "lists": 3, "prefixes": 4000,
        "services": [{ "name": "sts", "addresses": ["192.0.2.10"], "ports": [443] }],
        "all": amount(61_240), "compared": 61_234, "finished_at_xdp": 40_000, "not_run": 6, "differences": 0,
        "notes": ["3 frames were cut."],
    })];
    for (fate, packets) in [
        ("forwarded", 23_451),
        ("steered to the proxy", 20_017),
        ("dropped", 7_713),
        ("not a service's", 59),
        ("answers of services", 10_000),
    ] {
        rows.push(json!({ "would_have_been": fate, "amount": amount(packets) }));
    }
    for (side, class, verdict, packets) in [
        ("outside", "managed", "forward", 23_451),
        ("outside", "unmanaged", "proxy", 20_017),
        ("outside", "blocked", "drop", 7_713),
        ("outside", "-", "untouched", 59),
        ("inside", "managed", "forward", 10_000),
    ] {
        rows.push(json!({ "side": side, "class": class, "verdict": verdict, "reason": "policy", "amount": amount(packets) }));
    }
    rows.push(json!({ "class": "unmanaged", "client": "browser", "flow": "passive", "decision": "redirect", "requests": 1_203 }));
    rows.push(json!({ "class": "unmanaged", "client": "native", "flow": "active", "decision": "block", "requests": 409 }));
    rows.push(json!({ "source": "198.51.100.7", "class": "blocked", "verdict": "drop", "packets": 5_021, "bytes": 300_000, "flows": 4_999 }));
    rows.push(json!({ "course": 0.5, "frames": { "forward": [10, 20, 30], "drop": [1, 0, 500] } }));
    for (at, way) in (0..).zip(["plain forwarding", "nftables", "Weir at tcx", "Weir at XDP"]) {
        rows.push(row(at, way).json());
    }
    rows.push(witness().json());
    json!({
        "machine": {
            "bench": "replay", "date": "2026-01-02T03:04:05.6Z", "kernel": "6.18.0", "cpu": "A processor",
            "cpus": 2, "load_before": "0.10", "memory_mb": 7_900, "runs": 5,
        },
        "versions": { "nftables": "nftables v1.0.6" },
        "rows": rows, "targets": [], "notes": ["A note."],
    })
}

fn row(at: u32, way: &'static str) -> Row {
    let near = |middle: f64| Spread {
        median: middle,
        min: middle * 0.9,
        max: middle * 1.2,
    };
    let counts = Counts {
        forwarded: 3_333,
        proxied: 2_222,
        dropped: 1_111,
    };
    Row {
        way,
        judges: at > 0,
        mix: "as captured",
        prefixes: 4000,
        frames: 6_666,
        sources: 512,
        bytes: 311.0,
        offered: near(2_400_000.0),
        handled: near(1_000_000.0 + 310_000.0 * f64::from(at)),
        router_ns: near(900.0 - 211.0 * f64::from(at)),
        router_busy: near(0.8),
        sender_ns: near(200.0),
        overrun: near(0.25),
        counts,
        expected: counts,
        invalid: None,
    }
}

fn witness() -> Witness {
    let counts = Counts {
        forwarded: 33_330,
        proxied: 22_220,
        dropped: 11_110,
    };
    Witness {
        way: "Weir at tcx",
        mix: "as captured",
        sent: 66_660,
        rate: 512_345.0,
        overrun: 0,
        counts,
        expected: counts,
        router_ns: 640.0,
        differs: None,
    }
}

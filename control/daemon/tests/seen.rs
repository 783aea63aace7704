//! Flows that are shown, captures, and services that are only observed, as an operator meets them.

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_api::{Actor, CaptureRequest};
use weir_control::testing::{Appliance, observed, packet};
use weir_dataplane::{Counter, SeenPacket};

const FOLLOW: &str = "/v1/flows?follow=true&limit=0";

#[tokio::test]
async fn flows_are_followed_and_found_again() {
    let appliance = Appliance::start().await;
    let mut follower = appliance.lines(FOLLOW).await;
    let mut dropped = appliance.lines(&format!("{FOLLOW}&verdict=drop")).await;
    tell(&appliance, vec![packet("203.0.113.9", Verdict::Forward)]);
    tell_after(
        &appliance,
        &mut follower,
        vec![packet("2001:db8::7", Verdict::Drop)],
    )
    .await;
    let second = follower.next().await.expect("the second");
    assert_eq!(dropped.next().await.expect("the one"), second);
    assert_eq!(second["source"], "2001:db8::7");

    let all = appliance.lines("/v1/flows").await.all().await;
    assert_eq!(all.len(), 2);
    assert_eq!(
        without_time(&all[0]),
        json!({
            "seq": 1, "source": "203.0.113.9", "source_port": 50123, "destination": "192.0.2.10",
            "port": 443, "protocol": 6, "interface": "outside0", "side": "outside", "service": "sts",
            "class": "managed", "verdict": "forward", "reason": "class", "hook": "xdp",
            "observed": false, "length": 66,
        })
    );
    for (query, found) in [
        ("limit=1", vec![2]),
        ("source=203.0.113.0/24", vec![1]),
        ("service=sts&hook=xdp", vec![1, 2]),
        ("service=adfs", vec![]),
        ("class=managed&reason=class", vec![1, 2]),
        ("hook=tcx", vec![]),
    ] {
        let lines = appliance
            .lines(&format!("/v1/flows?{query}"))
            .await
            .all()
            .await;
        let numbers: Vec<_> = lines.iter().map(|line| line["seq"].clone()).collect();
        assert_eq!(json!(numbers), json!(found), "{query}");
    }
    let (status, answer) = appliance
        .ask(Method::GET, "/v1/flows?class=boss", None)
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        answer["help"]
            .as_str()
            .is_some_and(|help| help.contains("`managed`")),
        "{answer}"
    );
}

#[tokio::test]
async fn whoever_reads_too_slowly_is_told_how_much_it_missed() {
    let appliance = Appliance::start().await;
    for query in ["", "&verdict=drop"] {
        let mut follower = appliance.lines(&format!("{FOLLOW}{query}")).await;
        let mut flows = vec![packet("203.0.113.9", Verdict::Forward); 5000];
        flows.push(packet("203.0.113.9", Verdict::Drop));
        tell(&appliance, flows);
        let first = follower.next().await.expect("a line");
        assert_eq!(first, json!({"missed": 5001 - 4096}), "{query}");
        let second = follower.next().await.expect("a line");
        assert!(second["seq"].is_u64(), "{second}");
    }
}

#[tokio::test]
async fn one_source_that_has_nearly_everything_is_pointed_out() {
    let appliance = Appliance::start().await;
    let mut follower = appliance.lines(FOLLOW).await;
    let most = vec![packet("192.0.2.200", Verdict::Proxy); 500];
    tell(&appliance, most);
    follower.next().await.expect("the first");
    let words = warnings(&appliance).await;
    assert!(
        words.contains("100 % of all new connections come from 192.0.2.200"),
        "{words}"
    );
    assert!(words.contains("proxy_protocol_from"), "{words}");
    tell(
        &appliance,
        vec![packet("198.51.100.7", Verdict::Proxy); 400],
    );
    for _ in 0..500 {
        follower.next().await.expect("the rest");
    }
    assert!(!warnings(&appliance).await.contains("192.0.2.200"));
    // A flood that is dropped comes from its sender, not from who hides others.
    tell(
        &appliance,
        vec![packet("198.51.100.66", Verdict::Drop); 4096],
    );
    for _ in 0..4096 {
        follower.next().await.expect("the flood");
    }
    assert!(!warnings(&appliance).await.contains("198.51.100.66"));
}

#[tokio::test]
async fn a_capture_is_a_file_with_verdicts_and_ends_by_itself() {
    let appliance = Appliance::start().await;
    let body = br#"{"source":"203.0.113.0/24","service":"sts","verdicts":["drop"],"packets":2}"#;
    let socket = appliance.control_socket();
    let capture = appliance.reply(&socket, Method::POST, "/v1/capture", body);
    let frames = async {
        let filter = appliance.kernel.until_capture(true).await.expect("running");
        assert_eq!(filter.source, Some((address("203.0.113.0"), 24)));
        assert_eq!(
            (filter.service, filter.verdicts),
            (Some(0), vec![Verdict::Drop])
        );
        assert_eq!(filter.within, Duration::from_mins(1));
        let mut frame = packet("203.0.113.9", Verdict::Drop);
        frame.frame = (0..66).collect();
        appliance.kernel.change(|kernel| {
            kernel.frames = vec![frame; 3];
            kernel.lost.frames += 7;
        });
    };
    let (reply, ()) = tokio::join!(capture, frames);
    assert_eq!(reply.status, StatusCode::OK);
    let blocks = blocks(&reply.bytes);
    let kinds: Vec<u32> = blocks.iter().map(|(kind, _)| *kind).collect();
    // Section, interface, as many packets as were asked for, statistics.
    assert_eq!(kinds, [0x0a0d_0d0a, 1, 6, 6, 5]);
    let block = String::from_utf8_lossy(blocks[2].1);
    let comment = "weir verdict=drop reason=class class=managed hook=xdp side=outside service=sts";
    assert!(block.contains(comment), "{block}");
    let bytes: Vec<u8> = (0..66).collect();
    assert_eq!(blocks[2].1[20..20 + 66], bytes);

    appliance.kernel.until_capture(false).await;
    let log = "/v1/events?kind=change&follow=true";
    let mut log = appliance.lines(log).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let line = log.next().await.expect("the log goes on");
        if line["action"] == "capture" {
            told.push(line["detail"].as_str().expect("text").to_owned());
            assert!(line["who"]["user"].is_object(), "{line}");
        }
    }
    assert!(told[0].contains("203.0.113.0/24"), "{told:?}");
    assert_eq!(told[1], "ended after 2 packets; 7 more found no room");
}

#[tokio::test]
async fn a_capture_ends_when_nobody_takes_it_any_more() {
    let appliance = Appliance::start().await;
    let running = appliance.stream(Method::POST, "/v1/capture", "{}").await;
    appliance.kernel.until_capture(true).await;
    drop(running);
    appliance.kernel.until_capture(false).await;
    // The place is free again.
    let again = appliance.stream(Method::POST, "/v1/capture", r#"{"seconds":1}"#);
    drop(again.await);
    for (body, why) in [
        (r#"{"seconds":3601}"#, "seconds"),
        (r#"{"packets":0}"#, "packets"),
    ] {
        let body = serde_json::from_str(body).expect("JSON");
        let (status, answer) = appliance.ask(Method::POST, "/v1/capture", Some(body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(
            answer["error"]
                .as_str()
                .is_some_and(|text| text.contains(why)),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn the_end_of_a_capture_does_not_end_the_next_one() {
    let appliance = Appliance::start().await;
    let wanted = CaptureRequest::default();
    let brain = &appliance.brain;
    let first = brain.capture(Actor::Weir, &wanted).await.expect("a place");
    drop(first);
    let second = brain.capture(Actor::Weir, &wanted).await.expect("a place");
    // Whatever the first one still asked of the kernel plane is done before this.
    brain.status().await.expect("the kernel plane answers");
    let mut running = None;
    appliance
        .kernel
        .change(|kernel| running = kernel.capture.clone());
    assert!(running.is_some(), "the second one goes on");
    let refused = brain.capture(Actor::Weir, &wanted).await;
    let refused = refused.expect_err("there is one place");
    assert!(refused.to_string().contains("capture"), "{refused}");
    drop(second);
    appliance.kernel.until_capture(false).await;
}

#[tokio::test]
async fn an_observed_service_is_shouted_about_and_explained() {
    let (appliance, _proxy) = observed().await;
    let status = appliance.get("/v1/status").await;
    let first = status["warnings"][0].as_str().expect("text");
    assert!(
        first.starts_with("OBSERVE ONLY:") && first.contains("sts"),
        "{first}"
    );
    let service = &status["services"][0];
    assert_eq!(service["observe"], true);
    let counted = json!([{"verdict": "drop", "observed": true, "packets": 3, "bytes": 180}]);
    assert_eq!(service["packets"], counted);
    assert_eq!(appliance.get("/v1/counters").await[0]["observed"], true);
    let body = json!({"source": "198.51.100.66"});
    let (_, explained) = appliance.ask(Method::POST, "/v1/explain", Some(body)).await;
    assert_eq!(explained["kernel"]["observed"], true);
    assert_eq!(explained["kernel"]["verdict"], "drop");

    let config = appliance.read("weir.toml").replace("observe = true", "");
    appliance.write("weir.toml", &config);
    let (_, changed) = appliance.ask(Method::POST, "/v1/reload", None).await;
    assert!(
        !changed["warnings"].to_string().contains("restart"),
        "{changed}"
    );
    assert!(!warnings(&appliance).await.contains("OBSERVE"));
}

#[tokio::test]
async fn flows_that_go_one_way_only_are_pointed_out() {
    let appliance = Appliance::start().await;
    let count = |reason, packets| Counter {
        service: 0,
        class: Class::Managed,
        verdict: Verdict::Forward,
        reason,
        hook: Hook::Xdp,
        observed: false,
        packets,
        bytes: 60 * packets,
    };
    for (there, back, word) in [
        (99, 0, None),
        (100, 0, Some("make Weir their gateway")),
        (100, 1, None),
        (0, 100, Some("lead the service's addresses to Weir alone")),
    ] {
        let counters = vec![count(Reason::Class, there), count(Reason::Answer, back)];
        appliance.kernel.change(|kernel| kernel.counters = counters);
        let words = warnings(&appliance).await;
        match word {
            Some(word) => assert!(words.contains(word), "{words}"),
            None => assert!(!words.contains("service sts"), "{words}"),
        }
    }
}

/// Has the programs tell of packets.
fn tell(appliance: &Appliance, flows: Vec<SeenPacket>) {
    appliance.kernel.change(|kernel| kernel.flows.extend(flows));
}

/// The same when the line before has come.
async fn tell_after(
    appliance: &Appliance,
    follower: &mut weir_control::testing::Lines,
    flows: Vec<SeenPacket>,
) {
    follower.next().await.expect("the line before");
    tell(appliance, flows);
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

fn without_time(line: &Value) -> Value {
    let mut line = line.clone();
    line.as_object_mut()
        .expect("an object")
        .remove("time")
        .expect("each has one");
    line
}

async fn warnings(appliance: &Appliance) -> String {
    appliance.get("/v1/status").await["warnings"].to_string()
}

/// The blocks of a pcapng file: type, and what is between the lengths.
fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
    let mut blocks = Vec::new();
    while let Some((head, _)) = file.split_first_chunk::<8>() {
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four"));
        let length = word(4) as usize;
        blocks.push((word(0), &file[8..length - 4]));
        assert_eq!(
            file[length - 4..length],
            head[4..8],
            "the length stands at both ends"
        );
        file = &file[length..];
    }
    blocks
}

//! The queue of audit events, when nobody drains it.

use std::sync::Arc;

use weir_link::EventKind;
use weir_proxy::counts::Counters;
use weir_proxy::events::{Events, event, reference_id};

#[tokio::test]
async fn a_full_queue_loses_the_newest_counts_them_and_never_waits() {
    let counters = Arc::new(Counters::default());
    let (events, mut waiting) = Events::new(Arc::clone(&counters), 3);
    let mut ids = Vec::new();
    for _ in 0..5 {
        let id = reference_id();
        ids.push(id.clone());
        events.send(event(
            id,
            EventKind::Request,
            1,
            "192.0.2.1:4711".parse().unwrap(),
        ));
    }
    assert_eq!(counters.read().events_lost, 2);
    for id in &ids[..3] {
        assert_eq!(&waiting.recv().await.unwrap().id, id);
    }
    events.send(event(
        reference_id(),
        EventKind::Request,
        1,
        "192.0.2.1:4711".parse().unwrap(),
    ));
    assert!(waiting.recv().await.is_some());
    assert_eq!(counters.read().events_lost, 2);
}

#[tokio::test]
async fn a_flood_of_what_has_not_passed_hides_nobody_who_has() {
    let counters = Arc::new(Counters::default());
    let (events, mut waiting) = Events::new(Arc::clone(&counters), 8);
    let decided = |decision: &str| {
        let peer = "192.0.2.1:4711".parse().unwrap();
        let mut event = event(reference_id(), EventKind::Request, 1, peer);
        event.decision = decision.into();
        event
    };
    for decision in ["block", "redirect"].repeat(5) {
        events.send(decided(decision));
    }
    assert_eq!(counters.read().events_lost, 4);
    events.send(decided("pass"));
    events.send(decided("pass"));
    assert_eq!(counters.read().events_lost, 4);
    let mut passed = 0;
    while let Ok(event) = waiting.try_recv() {
        passed += usize::from(event.decision == "pass");
    }
    assert_eq!(passed, 2);
}

#[tokio::test]
async fn a_flood_of_what_everybody_may_ask_for_hides_nobody_who_signs_in() {
    let counters = Arc::new(Counters::default());
    let (events, mut waiting) = Events::new(Arc::clone(&counters), 8);
    let passed = |flow: &str| {
        let peer = "192.0.2.1:4711".parse().unwrap();
        let mut event = event(reference_id(), EventKind::Request, 1, peer);
        event.decision = "pass".into();
        event.flow = Some(flow.into());
        event
    };
    for flow in ["metadata", "asset", "sign-out"].repeat(4) {
        events.send(passed(flow));
    }
    assert_eq!(counters.read().events_lost, 6);
    for flow in ["passive", "oauth-token"] {
        events.send(passed(flow));
    }
    assert_eq!(counters.read().events_lost, 6);
    let mut signed_in = 0;
    while let Ok(event) = waiting.try_recv() {
        let flow = event.flow.unwrap();
        signed_in += usize::from(["passive", "oauth-token"].contains(&flow.as_str()));
    }
    assert_eq!(signed_in, 2);
}

#[tokio::test]
async fn every_refusal_is_counted() {
    let counters = Arc::new(Counters::default());
    let (events, _waiting) = Events::new(Arc::clone(&counters), 1);
    let peer = "192.0.2.1:4711".parse().unwrap();
    for kind in [EventKind::Refused, EventKind::Request, EventKind::Refused] {
        events.send(event(reference_id(), kind, 1, peer));
    }
    assert_eq!(counters.read().refused, 2);
}

#[test]
fn times_are_utc_with_milliseconds() {
    let event = event(
        reference_id(),
        EventKind::Request,
        1,
        "[2001:db8::1]:1".parse().unwrap(),
    );
    let (date, time) = event.time.split_once('T').unwrap();
    assert_eq!(
        (date.len(), time.len()),
        ("2026-11-21".len(), "08:00:00.000Z".len())
    );
    assert!(time.ends_with('Z'));
}

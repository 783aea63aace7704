//! The queue of audit events, when nobody drains it.

use std::sync::Arc;

use weir_link::{Channel, Event, EventKind, FromProxy};
use weir_proxy::counts::Counters;
use weir_proxy::events::{Events, TOGETHER, Waiting, event, reference_id};

/// All that waits, as weir-control hears it.
async fn told(waiting: &mut Waiting) -> Vec<Event> {
    let (proxy, control) = Channel::pair().unwrap();
    let (mut sender, _) = proxy.split();
    let (_, mut receiver) = control.split();
    let mut told = Vec::new();
    while let Some(events) = waiting.try_next() {
        sender.send_all(&events).await.unwrap();
        for _ in 0..events.len() {
            match receiver.receive().await.unwrap() {
                Some((FromProxy::Event(event), _)) => told.push(*event),
                other => panic!("{other:?}"),
            }
        }
        waiting.reuse(events);
    }
    told
}

#[tokio::test]
async fn events_are_told_in_their_order_and_so_many_at_a_time() {
    let (events, mut waiting) = Events::new(Arc::default(), 4 * TOGETHER);
    let peer = "192.0.2.1:4711".parse().unwrap();
    // The second time in memory that was used before.
    for _ in 0..2 {
        let ids: Vec<String> = (0..=2 * TOGETHER).map(|id| id.to_string()).collect();
        for id in &ids {
            events.send(event(id.clone(), EventKind::Request, 1, peer));
        }
        let first = waiting.next().await;
        assert_eq!(first.len(), TOGETHER);
        let rest = told(&mut waiting).await;
        assert!(rest.iter().map(|event| &event.id).eq(&ids[TOGETHER..]));
        assert!(waiting.try_next().is_none());
    }
}

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
    let kept = told(&mut waiting).await;
    assert!(kept.iter().map(|event| &event.id).eq(&ids[..3]));
    events.send(event(
        reference_id(),
        EventKind::Request,
        1,
        "192.0.2.1:4711".parse().unwrap(),
    ));
    assert_eq!(waiting.next().await.len(), 1);
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
    let told = told(&mut waiting).await;
    let passed = told.iter().filter(|event| event.decision == "pass");
    assert_eq!(passed.count(), 2);
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
    let told = told(&mut waiting).await;
    let signed_in = told.iter().filter(|event| {
        let flow = event.flow.as_deref();
        flow == Some("passive") || flow == Some("oauth-token")
    });
    assert_eq!(signed_in.count(), 2);
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

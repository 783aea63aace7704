//! Clients that say too little, or too slowly: what each is told, and that it is told in time. The
//! limits are short ones, so that a test waits for what happens and not for the clock.

mod common;

use std::time::Duration;

use common::{HOST, MANAGED, Setting, Stage, UNMANAGED, patiently, upstream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_link::EventKind;
use weir_proxy::limits::Limits;

const SHORT: Duration = Duration::from_millis(80);

async fn stage(limits: Limits) -> Stage {
    let setting = Setting {
        limits,
        ..Setting::default()
    };
    Stage::with(setting, |_| upstream::text(200, "hello")).await
}

#[tokio::test]
async fn a_head_that_never_becomes_whole_is_answered_408() {
    let mut stage = stage(Limits {
        request_head: SHORT,
        ..Limits::default()
    })
    .await;
    let head = format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\ncookie: MSISAuth=secr");
    let answer = stage.raw(UNMANAGED, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let event = stage.event().await;
    assert_eq!(
        (event.kind, event.rule.as_str(), event.status),
        (EventKind::Refused, "proxy/head-slow", Some(408))
    );
    assert!(answer.contains(&event.id), "{answer}");
    assert_eq!(stage.control.counts(|c| c.refused == 1).await.refused, 1);
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed_without_a_word() {
    let mut stage = stage(Limits {
        request_head: SHORT,
        idle: SHORT,
        ..Limits::default()
    })
    .await;
    assert_eq!(stage.raw(MANAGED, b"").await, "");
    let request = format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let answer = stage.raw(MANAGED, request.as_bytes()).await;
    assert!(answer.ends_with("hello"), "one answer alone: {answer}");
    assert_eq!(stage.event().await.decision, "pass");

    let stream = stage.tls(MANAGED, HOST, &["h2"]).await.unwrap();
    let (_sender, connection) = h2::client::handshake(stream).await.unwrap();
    patiently(connection).await.expect("it ends by GOAWAY");
    let counts = stage
        .control
        .counts(|counts| counts.accepted == 3 && counts.open == 0)
        .await;
    assert_eq!(counts.refused, 0);
    stage.control.no_more_events();
}

#[tokio::test]
async fn a_body_that_stops_is_answered_408() {
    let mut stage = stage(Limits {
        request_body: SHORT,
        ..Limits::default()
    })
    .await;
    let part = format!(
        "POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nUserName=a"
    );
    let answer = stage.raw(MANAGED, part.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let event = stage.event().await;
    assert_eq!(
        (event.rule.as_str(), event.status),
        ("proxy/body-slow", Some(408))
    );
    assert!(answer.contains(&event.id), "{answer}");
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn a_silent_handshake_is_closed_and_counted() {
    let mut stage = stage(Limits {
        handshake: SHORT,
        ..Limits::default()
    })
    .await;
    // Nothing at all; the first bytes of a ClientHello.
    for bytes in [&b""[..], &[22, 3, 1, 2, 0, 1, 0]] {
        let mut stream = stage.tcp(UNMANAGED).await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        patiently(stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.is_empty(), "{answer:?}");
    }
    let counts = stage
        .control
        .counts(|counts| counts.handshakes_failed == 2)
        .await;
    assert_eq!(counts.refused, 0);
    stage.control.no_more_events();
}

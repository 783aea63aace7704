//! Answers that are looked at are held in memory, and given back.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use weir_proxy::limits::{Limits, Room};

use crate::common::upstream::text;
use crate::common::{HOST, MANAGED, Stage, UNMANAGED, patiently};
use crate::stage::{ACTIVE, BROWSER, PAGE, browse, group, limited, rule, stage};

/// For limits that a test waits for.
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    // No rule waits for its token.
    let stage = stage(Vec::new(), |_| {
        let frames = [
            Ok(http_body::Frame::data(Bytes::from_static(b"<html>half"))),
            Err(std::io::ErrorKind::ConnectionReset.into()),
        ];
        // What was sent first has left before the connection breaks.
        let frames = futures_util::stream::iter(frames).then(|frame| async {
            if frame.is_err() {
                tokio::time::sleep(SHORT).await;
            }
            frame
        });
        Response::new(BodyExt::boxed(http_body_util::StreamBody::new(frames)))
    })
    .await;
    assert_eq!(browse(&stage, MANAGED, PAGE).await.status, 502);
}

/// A stage where each client has memory for one page that is looked at, and a client that takes nothing.
async fn with_little_memory(limits: Limits) -> (Stage, SendRequest<Bytes>) {
    let page = "x".repeat(200 << 10);
    let memory = limits.answer_memory;
    let limits = Limits {
        answer_memory: Room {
            per_client: 300 << 10,
            ..memory
        },
        ..limits
    };
    let waits = rule("staff", group("Staff"), "pass");
    let stage = limited(limits, vec![waits], move |seen| match seen.method {
        Method::POST => text(200, "taken"),
        _ => text(200, &page),
    })
    .await;
    let client = stage.windowless(UNMANAGED).await;
    (stage, client)
}

/// Asks for the page; gives its head.
async fn begin(client: &mut SendRequest<Bytes>) -> Response<RecvStream> {
    let request = Request::get(format!("https://{HOST}{PAGE}")).header("user-agent", BROWSER);
    let request = request.body(()).expect("a request");
    let (answer, _) = client.send_request(request, true).expect("it is open");
    patiently(answer).await.expect("an answer")
}

#[tokio::test]
async fn an_answer_that_was_looked_at_counts_as_memory_until_it_is_taken() {
    let (_stage, mut client) = with_little_memory(Limits {
        wait: SHORT,
        ..Limits::default()
    })
    .await;
    let [first, second] = [begin(&mut client).await, begin(&mut client).await];
    assert_eq!(
        (first.status(), second.status().as_u16()),
        (StatusCode::OK, 503)
    );
}

#[tokio::test]
async fn an_answer_that_was_looked_at_and_is_not_taken_is_given_up() {
    let (_stage, mut client) = with_little_memory(Limits {
        stalled: 4 * SHORT,
        wait: SHORT,
        ..Limits::default()
    })
    .await;
    assert_eq!(begin(&mut client).await.status(), StatusCode::OK);
    let has_room = async { while begin(&mut client).await.status() != StatusCode::OK {} };
    patiently(has_room).await;
}

#[tokio::test]
async fn answers_that_nobody_takes_keep_no_request_waiting() {
    let (stage, _) = with_little_memory(Limits {
        wait: SHORT,
        ..Limits::default()
    })
    .await;
    let mut client = stage.windowless(MANAGED).await;
    let [first, second] = [begin(&mut client).await, begin(&mut client).await];
    assert_eq!(
        (first.status().as_u16(), second.status().as_u16()),
        (200, 503)
    );
    let (answer, mut body) = post(&mut client);
    body.send_data(Bytes::from(vec![b'x'; 200 << 10]), true)
        .expect("it is open");
    assert_eq!(patiently(answer).await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn requests_that_come_slowly_keep_no_answer_waiting() {
    let memory = Limits::default().request_memory;
    let limits = Limits {
        request_memory: Room {
            per_client: 30_000,
            ..memory
        },
        wait: SHORT,
        ..Limits::default()
    };
    let waits = rule("staff", group("Staff"), "pass");
    let large = "x".repeat(200 << 10);
    let stage = limited(limits, vec![waits], move |_| text(200, &large)).await;
    let mut client = stage.windowless(MANAGED).await;
    let (_first, mut slow) = post(&mut client);
    slow.send_data(Bytes::from(vec![b'x'; 20_000]), false)
        .expect("it is open");
    // Answered by the time that the first has its memory.
    let (second, mut refused) = post(&mut client);
    refused
        .send_data(Bytes::from(vec![b'x'; 20_000]), true)
        .expect("it is open");
    assert_eq!(patiently(second).await.expect("an answer").status(), 503);
    assert_eq!(begin(&mut client).await.status(), StatusCode::OK);
}

fn post(client: &mut SendRequest<Bytes>) -> (ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("https://{HOST}{ACTIVE}"))
        .header("content-type", "application/soap+xml")
        .body(())
        .expect("a request");
    client.send_request(request, false).expect("it is open")
}

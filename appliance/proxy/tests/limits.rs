//! What clients may hold of the proxy, and how it gets it back.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::upstream::{Seen, held, stream, text};
use common::{HOST, MANAGED, Setting, Stage, patiently};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::{Notify, mpsc};
use weir_link::EventKind;
use weir_proxy::limits::Limits;

const PAGE: &str = "/adfs/ls/?a=b";
const ACTIVE: &str = "/adfs/services/trust/2005/usernamemixed";
const SOAP: &str = "application/soap+xml";
/// For limits that a test waits for.
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_exchange() {
    let (feed, body) = mpsc::unbounded_channel();
    feed.send("first").unwrap();
    feed.send("second").unwrap();
    feed.send("third").unwrap();
    let body = Mutex::new(Some(body));
    let answer = move |_: &Seen| match body.lock().unwrap().take() {
        Some(body) => stream(body),
        None => text(200, "hello"),
    };
    let stage = Stage::with(
        limited(Limits {
            stalled: SHORT,
            exchanges_per_client: 1,
            ..Limits::default()
        }),
        answer,
    )
    .await;
    let mut client = stage.windowless(MANAGED).await;
    let stalled = begin(&mut client).await;
    // The sign-in server loses the connection, and the client has its place back.
    patiently(feed.closed()).await;
    let (status, _body) = begin(&mut client).await;
    assert_eq!((stalled.0, status), (StatusCode::OK, StatusCode::OK));
    assert_eq!(stage.upstream.connections(), 2);
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_taken_never_looks_whole() {
    let (feed, body) = mpsc::unbounded_channel();
    // More than the sockets in between hold.
    let chunk: &'static str = String::leak("x".repeat(1 << 20));
    for _ in 0..64 {
        feed.send(chunk).unwrap();
    }
    let body = Mutex::new(Some(body));
    let answer = move |_: &Seen| stream(body.lock().unwrap().take().unwrap());
    let stage = Stage::with(
        limited(Limits {
            stalled: SHORT,
            ..Limits::default()
        }),
        answer,
    )
    .await;
    let mut client = stage.http1(MANAGED).await;
    let request = client.request("GET", PAGE, "");
    let answer = client.begin(request).await.unwrap();
    patiently(feed.closed()).await;
    assert!(patiently(answer.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn a_small_answer_frees_its_upstream_at_once() {
    let stage = Stage::new().await;
    let mut stalled = stage.windowless(MANAGED).await;
    let _answers = [begin(&mut stalled).await, begin(&mut stalled).await];
    let mut other = stage.http1(MANAGED).await;
    assert_eq!(other.get(PAGE).await.text(), "hello");
    assert_eq!(stage.upstream.connections(), 1);
}

#[tokio::test]
async fn one_connection_has_so_many_exchanges_at_once() {
    let feeds = Arc::new(Mutex::new(Vec::new()));
    let answer = {
        let feeds = Arc::clone(&feeds);
        move |_: &Seen| {
            let (feed, body) = mpsc::unbounded_channel();
            feeds.lock().unwrap().push(feed);
            stream(body)
        }
    };
    let mut stage = Stage::with(
        limited(Limits {
            exchanges_per_client: 2,
            wait: SHORT,
            ..Limits::default()
        }),
        answer,
    )
    .await;
    let mut client = stage.http2(MANAGED).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let request = client.request("GET", PAGE, "");
        open.push(client.begin(request).await.unwrap());
        assert_eq!(stage.event().await.status, Some(200));
    }
    let refused = client.get(PAGE).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    let event = stage.event().await;
    assert_eq!((event.kind, event.status), (EventKind::Upstream, Some(503)));
    // Others are not concerned.
    let mut other = stage.http2(MANAGED).await;
    let request = other.request("GET", PAGE, "");
    assert_eq!(other.begin(request).await.unwrap().status(), 200);
    // What has ended makes room.
    feeds.lock().unwrap().clear();
    for answer in open {
        patiently(answer.into_body().collect()).await.unwrap();
    }
    let request = client.request("GET", PAGE, "");
    assert_eq!(client.begin(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_bodies_of_all_requests_share_one_memory() {
    let release = Arc::new(Notify::new());
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let answer = {
        let release = Arc::clone(&release);
        move |seen: &Seen| {
            arrived.send(seen.body.len()).unwrap();
            held(text(200, "hello"), &release)
        }
    };
    let mut stage = Stage::with(
        limited(Limits {
            request_memory: 10_000,
            wait: SHORT,
            ..Limits::default()
        }),
        answer,
    )
    .await;
    let large = "x".repeat(8_000);
    let mut first = stage.http2(MANAGED).await;
    let first = tokio::spawn({
        let large = large.clone();
        async move { first.post(ACTIVE, SOAP, &large).await.status }
    });
    assert_eq!(patiently(arrivals.recv()).await, Some(8_000));

    for mut client in [stage.http1(MANAGED).await, stage.http2(MANAGED).await] {
        let refused = client.post(ACTIVE, SOAP, &large).await;
        assert_eq!(refused.status, 503);
        assert!(refused.header("retry-after").is_some());
        assert!(refused.text().contains("s:Receiver"), "{}", refused.text());
        let event = stage.event().await;
        assert_eq!(
            (event.kind, event.rule.as_str(), event.status),
            (EventKind::Refused, "proxy/memory", Some(503))
        );
        assert!(refused.text().contains(&event.id));
    }

    release.notify_one();
    assert_eq!(patiently(first).await.unwrap(), 200);
    release.notify_one();
    let mut third = stage.http1(MANAGED).await;
    assert_eq!(third.post(ACTIVE, SOAP, &large).await.status, 200);
}

fn limited(limits: Limits) -> Setting {
    Setting {
        limits,
        ..Setting::default()
    }
}

/// Asks for the page; gives the status and the body, of which nothing can come.
async fn begin(client: &mut h2::client::SendRequest<Bytes>) -> (StatusCode, h2::RecvStream) {
    let request = Request::get(format!("https://{HOST}{PAGE}"))
        .body(())
        .unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let (parts, body) = patiently(answer).await.unwrap().into_parts();
    (parts.status, body)
}

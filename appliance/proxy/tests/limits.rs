//! What clients may hold of the proxy, and how it gets it back.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::client::Source;
use common::upstream::{Seen, held, stream, text};
use common::{BYPASS, HOST, MANAGED, Setting, Stage, TUNNEL, UNMANAGED, patiently};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use weir_link::EventKind;
use weir_proxy::limits::{Limits, Room};

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
            request_memory: Room {
                all: 32_000,
                per_source: 32_000,
                per_client: 32_000,
            },
            wait: SHORT,
            ..Limits::default()
        }),
        answer,
    )
    .await;
    let sources: [Source; 5] = std::array::from_fn(|last| {
        let last = u8::try_from(last).unwrap();
        Source(Ipv4Addr::new(127, 0, 0, 100 + last))
    });
    let prefixes = &mut stage.control.plan.lists[0].prefixes;
    prefixes.extend(sources.map(|Source(address)| IpNet::from(IpAddr::V4(address))));
    stage.control.publish(2).await.unwrap();
    let large = "x".repeat(8_000);
    let mut holding = Vec::new();
    let [.., fifth] = sources;
    for source in &sources[..4] {
        let mut client = stage.http2(*source).await;
        let large = large.clone();
        holding.push(tokio::spawn(async move {
            client.post(ACTIVE, SOAP, &large).await.status
        }));
        assert_eq!(patiently(arrivals.recv()).await, Some(8_000));
        // It has its quarter, and the next one is served.
        let mut more = stage.http2(*source).await;
        assert_eq!(more.post(ACTIVE, SOAP, "small").await.status, 503);
        assert_eq!(stage.event().await.rule, "proxy/memory");
    }

    for mut client in [stage.http1(fifth).await, stage.http2(fifth).await] {
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
    let is_one_over = async {
        while !holding.iter().any(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    };
    patiently(is_one_over).await;
    let mut next = stage.http1(fifth).await;
    let _next = tokio::spawn(async move { next.post(ACTIVE, SOAP, &large).await });
    assert_eq!(patiently(arrivals.recv()).await, Some(8_000));
}

#[tokio::test]
async fn a_source_has_so_many_connections_at_once() {
    let mut stage = Stage::with(
        limited(Limits {
            connections_per_source: 2,
            ..Limits::default()
        }),
        |_| text(200, "hello"),
    )
    .await;
    // One that has said nothing yet counts like one that is served.
    let silent = stage.tcp(MANAGED).await;
    let mut served = stage.http1(MANAGED).await;
    assert_eq!(served.get(PAGE).await.status, 200);
    assert_eq!(stage.event().await.decision, "pass");
    assert!(stage.tls(MANAGED, HOST, &["h2"]).await.is_err());
    let event = stage.event().await;
    assert_eq!(
        (event.kind, event.rule.as_str()),
        (EventKind::Refused, "proxy/source-full")
    );
    let why = event.reason.unwrap();
    assert!(why.contains("2 connections") && why.contains("`proxy_protocol_from`"));
    let counts = stage.control.counts(|counts| counts.refused == 1).await;
    assert_eq!(counts.open, 2);
    // Others are not concerned.
    stage.http2(UNMANAGED).await;
    // Who goes makes room.
    drop(silent);
    stage.control.counts(|counts| counts.open == 1).await;
    assert_eq!(stage.http1(MANAGED).await.get(PAGE).await.status, 200);
}

#[tokio::test]
async fn a_tunnel_counts_among_the_connections_of_its_source() {
    let limits = Limits {
        connections_per_source: 1,
        ..Limits::default()
    };
    let mut stage = Stage::with(limited(limits), |_| text(200, "hello")).await;
    let _tunnel = stage.tls(MANAGED, TUNNEL, &[]).await.unwrap();
    assert_eq!(stage.event().await.decision, "pass");
    assert!(stage.tls(MANAGED, HOST, &["h2"]).await.is_err());
    assert_eq!(stage.event().await.rule, "proxy/source-full");
}

#[tokio::test]
async fn many_connections_of_one_source_share_its_memory_and_its_exchanges() {
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let answer = move |seen: &Seen| {
        arrived.send(seen.body.len()).unwrap();
        held(text(200, "hello"), &Arc::default())
    };
    let mut stage = Stage::with(
        limited(Limits {
            request_memory: Room {
                per_source: 10_000,
                ..Limits::default().request_memory
            },
            exchanges_per_source: 1,
            wait: SHORT,
            ..Limits::default()
        }),
        answer,
    )
    .await;
    let large = "x".repeat(8_000);
    let mut first = stage.http1(MANAGED).await;
    let _first = tokio::spawn({
        let large = large.clone();
        async move { first.post(ACTIVE, SOAP, &large).await }
    });
    assert_eq!(patiently(arrivals.recv()).await, Some(8_000));

    let mut second = stage.http1(MANAGED).await;
    assert_eq!(second.post(ACTIVE, SOAP, &large).await.status, 503);
    assert_eq!(stage.event().await.rule, "proxy/memory");
    assert_eq!(second.post(ACTIVE, SOAP, "small").await.status, 503);
    let event = stage.event().await;
    assert_eq!(event.kind, EventKind::Upstream);
    assert!(event.reason.unwrap().starts_with("the source has 1 "));

    let mut other = stage.http1(BYPASS).await;
    let _other = tokio::spawn(async move { other.post(ACTIVE, SOAP, &large).await });
    assert_eq!(patiently(arrivals.recv()).await, Some(8_000));
}

#[tokio::test]
async fn an_http2_client_may_send_only_so_much_that_nobody_has_read_yet() {
    let stage = Stage::new().await;
    let mut stream = stage.tls(MANAGED, HOST, &["h2"]).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(preface).await.unwrap();
    stream.write_all(&settings).await.unwrap();
    // RFC 9113: what both windows are when nobody says anything.
    let (mut of_stream, mut of_all) = (65_535, 65_535);
    loop {
        let mut head = [0; 9];
        patiently(stream.read_exact(&mut head)).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        patiently(stream.read_exact(&mut payload)).await.unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match (head[3], head[4]) {
            // Our settings are acknowledged: what the proxy had to say at the beginning it has said.
            (4, 1) => break,
            (4, _) => {
                let window = payload.chunks(6).find(|one| one[..2] == [0, 4]);
                of_stream = window.map_or(of_stream, |one| number(&one[2..]));
            }
            (8, _) => of_all += number(&payload),
            _ => {}
        }
    }
    assert!((65_535..=256 << 10).contains(&of_stream), "{of_stream}");
    assert!((65_535..=256 << 10).contains(&of_all), "{of_all}");
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

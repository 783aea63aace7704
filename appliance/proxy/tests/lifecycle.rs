//! Generations, restarts of weir-control, draining, and hops that speak PROXY protocol.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::client::{over_http1, tcp};
use common::upstream::text;
use common::{HOST, MANAGED, Setting, Stage, UNMANAGED, list, patiently};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use weir_abi::Class;
use weir_link::notify::Notify;
use weir_tables::Scope;

const SIGN_IN: &str = "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generations_change_under_load_without_a_failed_request() {
    let mut stage = Stage::new().await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..8 {
        let mut client = if number % 2 == 0 {
            stage.http1(MANAGED).await
        } else {
            stage.http2(MANAGED).await
        };
        let (address, tls) = (stage.address, stage.pki.client(&["http/1.1"]));
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.get(SIGN_IN).await.status, 200);
                // And a new connection beside the old one.
                let name = HOST.try_into().unwrap();
                let stream = tcp(MANAGED, address).await;
                let stream = TlsConnector::from(Arc::clone(&tls))
                    .connect(name, stream)
                    .await;
                let mut fresh = over_http1(stream.unwrap()).await;
                assert_eq!(fresh.get(SIGN_IN).await.status, 200);
                done.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for number in 2..40 {
        // Each generation has another certificate and longer lists.
        stage.control.plan.certificate = stage.pki.issue(&[HOST]);
        stage
            .control
            .plan
            .lists
            .push(list("more", Class::Bypass, Scope::All, UNMANAGED));
        assert_eq!(stage.control.publish(number).await, Ok(number));
        let before = done.load(Ordering::Relaxed);
        patiently(async {
            while done.load(Ordering::Relaxed) < before + 4 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        patiently(client).await.expect("no request failed");
    }
}

#[tokio::test]
async fn a_new_generation_judges_the_next_request_of_an_open_connection() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(UNMANAGED).await;
    assert_eq!(client.get(SIGN_IN).await.status, 302);
    stage
        .control
        .plan
        .lists
        .push(list("new", Class::Managed, Scope::All, UNMANAGED));
    stage.control.publish(2).await.unwrap();
    assert_eq!(client.get(SIGN_IN).await.status, 200);
    assert_eq!(stage.event().await.generation, 1);
    let event = stage.event().await;
    assert_eq!((event.generation, event.list.as_deref()), (2, Some("new")));
}

#[tokio::test]
async fn a_generation_that_cannot_be_used_leaves_the_one_before_in_force() {
    let mut stage = Stage::new().await;
    let good = stage.control.plan.hosts.clone();
    stage
        .control
        .plan
        .hosts
        .push("uncertified.corp.example".into());
    let why = stage.control.publish(2).await.unwrap_err();
    assert!(
        why.contains("uncertified.corp.example") && why.contains("`sts`"),
        "{why}"
    );
    stage.control.plan.hosts = good;

    stage.control.plan.upstream.ca = Some("no PEM".into());
    let why = stage.control.publish(3).await.unwrap_err();
    assert!(why.contains("authorities"), "{why}");
    stage.control.plan.upstream.ca = Some(stage.pki.ca_pem());

    stage.control.plan.policy.profile = "no such profile".into();
    let why = stage.control.publish(4).await.unwrap_err();
    assert!(why.contains("rules of service `sts`"), "{why}");

    stage.control.plan.policy.profile = "adfs".into();

    // Without `X-MS-Proxy`, AD FS would take every request for an internal one.
    for name in ["", " ", "weir\n1"] {
        stage.control.plan.appliance = name.into();
        let why = stage.control.publish(5).await.unwrap_err();
        assert!(why.contains("appliance"), "{why}");
    }

    assert_eq!(stage.http1(MANAGED).await.get(SIGN_IN).await.status, 200);
    assert_eq!(stage.event().await.generation, 1);
}

#[tokio::test]
async fn the_proxy_serves_on_while_control_is_away_and_finds_it_again() {
    let mut stage = Stage::new().await;
    let mut open = stage.http1(MANAGED).await;
    assert_eq!(open.get(SIGN_IN).await.status, 200);
    stage.event().await;

    stage.control.die();
    // This one's own copy of the listening socket is gone too: the proxy's is the last.
    let address = stage.address;
    stage.control.listeners.clear();
    assert_eq!(open.get(SIGN_IN).await.status, 200);
    assert_eq!(stage.http1(MANAGED).await.get(SIGN_IN).await.status, 200);

    stage.control.come_back().await;
    // What happened in between was kept.
    for _ in 0..2 {
        let event = stage.event().await;
        assert_eq!((event.decision.as_str(), event.generation), ("pass", 1));
    }
    stage.control.counts(|counts| counts.events_lost == 0).await;
    assert_eq!(stage.http1(MANAGED).await.get(SIGN_IN).await.status, 200);
    assert_eq!(stage.address, address);
}

#[tokio::test]
async fn a_listener_that_is_held_already_is_kept() {
    let mut stage = Stage::new().await;
    // A client that waits in the queue of the very socket: it has not been accepted when the new
    // generation arrives with another copy of that socket.
    for number in 2..20 {
        let waiting = stage.tcp(MANAGED).await;
        stage.control.publish(number).await.unwrap();
        let tls = TlsConnector::from(stage.pki.client(&["http/1.1"]));
        let stream = patiently(tls.connect(HOST.try_into().unwrap(), waiting))
            .await
            .unwrap();
        assert_eq!(over_http1(stream).await.get(SIGN_IN).await.status, 200);
    }
    // A listener that the next generation does not have is let go of.
    let second = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let extra = second.local_addr().unwrap();
    stage.control.listeners.push(second);
    stage.control.publish(20).await.unwrap();
    let mut stream = tcp(MANAGED, extra).await;
    stream.write_all(b"not TLS at all").await.unwrap();
    let mut answer = Vec::new();
    patiently(stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer.first(), Some(&21));
    stage.control.listeners.pop();
    stage.control.publish(21).await.unwrap();
    patiently(async {
        let closed = || std::net::TcpStream::connect(extra).is_err();
        while !closed() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn draining_finishes_what_is_open_and_then_ends() {
    let (feed, body) = tokio::sync::mpsc::unbounded_channel();
    let body = std::sync::Mutex::new(Some(body));
    let answer = move |seen: &common::upstream::Seen| {
        if seen.target.contains("slow") {
            common::upstream::stream(body.lock().unwrap().take().unwrap())
        } else {
            text(200, "hello")
        }
    };
    let mut stage = Stage::with(Setting::default(), answer).await;
    let mut idle = [stage.http1(MANAGED).await, stage.http2(MANAGED).await];
    for client in &mut idle {
        assert_eq!(client.get(SIGN_IN).await.status, 200);
    }
    let mut busy = stage.http1(MANAGED).await;
    feed.send("first, ").unwrap();
    let request = busy.request("GET", "/adfs/ls/?slow=1", "");
    let answer = busy.begin(request).await.unwrap();
    stage.control.drain(common::PATIENCE).await;
    stage.control.drains().await;
    // The idle ones are closed, no new ones are accepted, the busy one goes on to its end.
    stage.control.counts(|counts| counts.open == 1).await;
    for client in &mut idle {
        let request = client.request("GET", SIGN_IN, "");
        assert!(client.send(request).await.is_err());
    }
    feed.send("last").unwrap();
    drop(feed);
    assert_eq!(
        common::client::whole(answer).await.unwrap().text(),
        "first, last"
    );
    stage.ended().await;
}

#[tokio::test]
async fn a_signal_ends_it_too_and_cuts_what_outlives_the_grace() {
    let stage = Stage::new().await;
    let mut tunnel = stage.tls(MANAGED, common::TUNNEL, &[]).await.unwrap();
    stage.stop(Duration::from_millis(100)).await;
    let mut rest = Vec::new();
    // Cut, not closed in order.
    let _ = patiently(tunnel.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

#[tokio::test]
async fn the_last_heartbeat_tells_what_the_end_breaks() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(MANAGED).await;
    assert_eq!(client.get(SIGN_IN).await.status, 200);
    stage.control.counts(|counts| counts.open == 1).await;
    // Nothing that is open has to be finished: it is closed in order.
    stage.control.drain(common::PATIENCE).await;
    assert_eq!(stage.control.last_counts().await.open, 0);

    let mut stage = Stage::new().await;
    let tunnel = stage.tls(MANAGED, common::TUNNEL, &[]).await.unwrap();
    stage.control.drain(Duration::ZERO).await;
    assert_eq!(stage.control.last_counts().await.open, 1);
    drop(tunnel);
}

#[tokio::test]
async fn the_service_manager_hears_that_it_works_and_lives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
    let setting = Setting {
        notify: Notify::to(Some(path.into()), Some(Duration::from_millis(30))),
        ..Setting::default()
    };
    let stage = Stage::with(setting, |_| text(200, "hello")).await;
    let until = async |begins: &str| {
        let mut buffer = [0; 256];
        loop {
            let length = patiently(manager.recv(&mut buffer)).await.unwrap();
            if buffer[..length].starts_with(begins.as_bytes()) {
                return;
            }
        }
    };
    until("READY=1").await;
    until("WATCHDOG=1").await;
    until("WATCHDOG=1").await;
    stage.stop(Duration::ZERO).await;
    until("STOPPING=1").await;
}

#[tokio::test]
async fn only_configured_hops_introduce_their_clients() {
    let setting = Setting {
        proxy_protocol_from: vec!["127.0.0.60/32".parse().unwrap()],
        ..Setting::default()
    };
    let mut stage = Stage::with(setting, |_| text(200, "hello")).await;
    let hop = common::client::Source([127, 0, 0, 60].into());
    let header = proxy_header([203, 0, 113, 9], 4711);

    let mut stream = stage.tcp(hop).await;
    stream.write_all(&header).await.unwrap();
    let tls = TlsConnector::from(stage.pki.client(&["http/1.1"]));
    let stream = patiently(tls.connect(HOST.try_into().unwrap(), stream))
        .await
        .unwrap();
    assert_eq!(over_http1(stream).await.get(SIGN_IN).await.status, 302);
    assert_eq!(stage.event().await.peer.to_string(), "203.0.113.9:4711");

    // The hop without a header, and a client with one, are both refused.
    assert!(stage.tls(hop, HOST, &[]).await.is_err());
    assert_eq!(stage.event().await.rule, "proxy/proxy-protocol");
    let mut stream = stage.tcp(MANAGED).await;
    stream.write_all(&header).await.unwrap();
    let mut answer = Vec::new();
    patiently(stream.read_to_end(&mut answer)).await.unwrap();
    let event = stage.event().await;
    assert_eq!(
        (event.rule.as_str(), event.peer.ip()),
        ("proxy/not-tls", MANAGED.0.into())
    );
}

#[tokio::test]
async fn a_service_with_windows_authentication_offers_http1_only() {
    let setting = Setting {
        http1_only: true,
        ..Setting::default()
    };
    let stage = Stage::with(setting, |_| text(200, "hello")).await;
    let stream = stage.tls(MANAGED, HOST, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

/// A PROXY protocol v2 header for TCP over IPv4.
fn proxy_header(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend_from_slice(&source);
    header.extend_from_slice(&[192, 0, 2, 10]);
    header.extend_from_slice(&port.to_be_bytes());
    header.extend_from_slice(&443u16.to_be_bytes());
    header
}

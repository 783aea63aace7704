//! Whose request it is, and what is refused before any rule is asked.

mod common;

use common::{HOST, MANAGED, Stage, UNMANAGED};
use http::Request;
use http_body_util::Full;
use weir_link::EventKind;

#[tokio::test]
async fn a_host_outside_the_service_is_misdirected() {
    let mut stage = Stage::new().await;
    for host in [
        "other.corp.example",
        "certauth.sts.corp.example",
        "sts.corp.example:8443",
    ] {
        let request =
            format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = stage.raw(MANAGED, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
        let event = stage.event().await;
        assert_eq!(
            (event.kind, event.rule.as_str()),
            (EventKind::Refused, "proxy/host")
        );
        assert_eq!(event.status, Some(421));
        assert!(answer.contains(&event.id), "{answer}");
    }
    let mut http2 = stage.http2(MANAGED).await;
    let request = Request::get("https://other.corp.example/adfs/ls/")
        .body(Full::default())
        .unwrap();
    assert_eq!(http2.send(request).await.unwrap().status, 421);
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn the_services_host_is_known_in_every_spelling() {
    let stage = Stage::new().await;
    let port = stage.address.port();
    for host in [
        "STS.corp.EXAMPLE",
        "sts.corp.example.",
        "sts.corp.example:443",
    ] {
        let request =
            format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = stage.raw(MANAGED, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
        // What travels on is what the client wrote.
        assert_eq!(
            stage.upstream.seen().last().unwrap().header("host"),
            Some(host)
        );
    }
    let request = format!(
        "GET https://{HOST}:{port}/adfs/ls/?a=b HTTP/1.1\r\nhost: {HOST}:{port}\r\nconnection: close\r\n\r\n"
    );
    let answer = stage.raw(MANAGED, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // Absolute in, origin form out.
    assert_eq!(
        stage.upstream.seen().last().unwrap().target,
        "/adfs/ls/?a=b"
    );
}

#[tokio::test]
async fn a_request_that_names_its_host_ambiguously_is_refused() {
    let mut stage = Stage::new().await;
    let heads = [
        "GET /adfs/ls/ HTTP/1.1\r\n".to_owned(),
        format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nhost: {HOST}\r\n"),
        format!("GET https://other.corp.example/adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\n"),
        format!("GET https://{HOST}/adfs/ls/ HTTP/1.1\r\nhost: other.corp.example\r\n"),
        format!("GET http://{HOST}/adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\n"),
        format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}, {HOST}\r\n"),
    ];
    for head in heads {
        let answer = stage
            .raw(
                MANAGED,
                format!("{head}connection: close\r\n\r\n").as_bytes(),
            )
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head}: {answer}");
        let event = stage.event().await;
        assert_eq!(event.rule, "proxy/host-ambiguous", "{head}");
        assert!(answer.contains(&event.id), "{answer}");
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn http_1_0_is_answered_without_chunks_and_closed() {
    let stage = Stage::new().await;
    let answer = stage.raw(MANAGED, b"GET /adfs/ls/ HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    assert_eq!(stage.upstream.only().header("host"), Some(HOST));
}

#[tokio::test]
async fn internal_paths_never_reach_the_upstream() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(MANAGED).await;
    let paths = [
        "/adfs/proxy/EstablishTrust",
        "/ADFS/Proxy/GetConfiguration?api-version=1",
        "/adfs/ls/../proxy/EstablishTrust",
        "/adfs/ls/%2e%2e/proxy/EstablishTrust",
        "/adfs/backendproxytls",
        "/adfs/services/trust/proxymex",
        "/adfs/services/trust/2005/windowstransport",
        "/adfs/services/policystoretransfer",
        "/",
        "/unknown",
        "/adfs/ls/..%2fproxy/EstablishTrust",
    ];
    for path in paths {
        let answer = client.get(path).await;
        let status = answer.status.as_u16();
        assert!(status == 404 || status == 400, "{path}: {status}");
        assert!(!answer.body.is_empty(), "{path}");
        let event = stage.event().await;
        assert_eq!(event.status, Some(status), "{path}");
        assert_ne!(event.decision, "pass", "{path}");
        assert!(
            answer.text().contains(&event.id),
            "{path}: {}",
            answer.text()
        );
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn internal_paths_are_not_found_with_a_body_either() {
    let mut stage = Stage::new().await;
    for mut client in [stage.http1(UNMANAGED).await, stage.http2(UNMANAGED).await] {
        for (path, rule) in [
            (
                "/adfs/proxy/EstablishTrust",
                "office365-strict/internal-path",
            ),
            ("/unknown", "office365-strict/unknown-path"),
        ] {
            let answer = client.post(path, "application/json", "{\"a\":1}").await;
            assert_eq!(answer.status, 404, "{path}");
            let event = stage.event().await;
            assert_eq!((event.rule.as_str(), event.status), (rule, Some(404)));
        }
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn a_get_with_a_body_is_refused() {
    let mut stage = Stage::new().await;
    // HTTP/2 need not announce a body. This one would turn a sign-out, which everyone may do, into a
    // sign-in for a server that reads it.
    let stream = stage.tls(UNMANAGED, HOST, &["h2"]).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://{HOST}/adfs/ls/?wa=wsignout1.0"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(())
        .unwrap();
    let mut sender = sender.ready().await.unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data("wa=wsignin1.0&UserName=u&Password=p".into(), true)
        .unwrap();
    assert_eq!(common::patiently(answer).await.unwrap().status(), 400);
    let event = stage.event().await;
    assert_eq!(
        (event.kind, event.rule.as_str(), event.status),
        (EventKind::Refused, "proxy/body-unexpected", Some(400))
    );

    let request = format!(
        "GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ncontent-length: 3\r\n\r\na=b"
    );
    let answer = stage.raw(MANAGED, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn no_request_swells_the_audit_log() {
    let mut stage = Stage::new().await;
    let long = "a".repeat(40 << 10);
    let request =
        format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {long}.example\r\nconnection: close\r\n\r\n");
    let answer = stage.raw(UNMANAGED, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let event = stage.event().await;
    assert_eq!(
        (event.rule.as_str(), event.host),
        ("proxy/host-ambiguous", None)
    );

    let request = format!("{long} /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    let answer = stage.raw(UNMANAGED, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let method = stage.event().await.method.unwrap();
    assert!(
        long.starts_with(&method) && method.len() < 64,
        "{}",
        method.len()
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_announced_or_not() {
    let mut stage = Stage::new().await;
    let large = "x".repeat(2 << 20);
    let path = "/adfs/services/trust/2005/usernamemixed";
    let mut client = stage.http1(MANAGED).await;
    let answer = client.post(path, "application/soap+xml", &large).await;
    assert_eq!(answer.status, 413);
    let event = stage.event().await;
    assert_eq!(
        (event.rule.as_str(), event.status),
        ("proxy/body-too-large", Some(413))
    );
    assert!(answer.text().contains(&event.id), "{}", answer.text());

    let mut client = stage.http2(MANAGED).await;
    assert_eq!(
        client
            .post(path, "application/soap+xml", &large)
            .await
            .status,
        413
    );
    stage.event().await;

    let mut chunked =
        format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..32 {
        chunked.push_str("8000\r\n");
        chunked.push_str(&large[..0x8000]);
        chunked.push_str("\r\n");
    }
    chunked.push_str("0\r\n\r\n");
    // One more request, so that the connection ends by itself.
    let last = format!("GET /unknown HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
    chunked.push_str(&last);
    let answer = stage.raw(MANAGED, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(stage.event().await.rule, "proxy/body-too-large");
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn heads_over_the_limit_and_broken_ones_are_refused() {
    let mut stage = Stage::new().await;
    let cookie = "c".repeat(40 << 10);
    let head = format!(
        "GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ncookie: MSISAuth={cookie}\r\n\r\n"
    );
    let answer = stage.raw(MANAGED, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(stage.event().await.decision, "pass");

    let cookie = "c".repeat(80 << 10);
    let head =
        format!("GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\ncookie: MSISAuth={cookie}\r\n\r\n");
    let answer = stage.raw(MANAGED, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(stage.event().await.rule, "proxy/head-too-large");

    for head in [
        format!("GET /adfs/ls/ HTTP/1.1\r\nhost : {HOST}\r\n\r\n"),
        format!("POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: +5\r\n\r\nhello"),
        format!(
            "POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"
        ),
        format!("POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: xchunked\r\n\r\n"),
        "\u{0}\u{1}\r\n\r\n".to_owned(),
    ] {
        let answer = stage.raw(MANAGED, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?}: {answer}");
        assert_eq!(stage.event().await.rule, "proxy/malformed", "{head:?}");
    }
    assert_eq!(stage.upstream.seen().len(), 1);
}

#[tokio::test]
async fn connections_are_not_upgraded() {
    let mut stage = Stage::new().await;
    let request = format!(
        "GET /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    );
    let answer = stage.raw(MANAGED, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(stage.event().await.rule, "proxy/upgrade");
    let answer = stage.raw(UNMANAGED, b"CONNECT sts.corp.example:443 HTTP/1.1\r\nhost: sts.corp.example:443\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::new().await;
    let mut stream = stage.tls(MANAGED, HOST, &["http/1.1"]).await.unwrap();
    let head = format!(
        "POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut interim = [0; 25];
    common::patiently(stream.read_exact(&mut interim))
        .await
        .unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"a=b").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = stage.upstream.only();
    assert_eq!(&seen.body[..], b"a=b");
    assert_eq!(seen.header("expect"), None);
}

#[tokio::test]
async fn each_of_many_requests_is_told_once_and_in_order() {
    // More than are told together.
    const MANY: usize = 600;
    let mut stage = Stage::new().await;
    let id = |number: usize| format!("7f5c3c7e-4f5b-4f3a-9f2c-{number:012}");
    let mut client = stage.http1(MANAGED).await;
    for number in 0..MANY {
        let target = format!("/adfs/ls/?wa=wsignin1.0&client-request-id={}", id(number));
        assert_eq!(client.get(&target).await.status, 200);
    }
    for number in 0..MANY {
        assert_eq!(stage.event().await.client_request_id, Some(id(number)));
    }
    stage.control.counts(|_| true).await;
    stage.control.no_more_events();
}

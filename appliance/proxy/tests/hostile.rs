//! Bytes that no honest client sends, at every layer: TLS, the PROXY header, HTTP/1.1 and HTTP/2. Each
//! is refused with a rule of its own, and nothing of it reaches the sign-in server as something else.

mod common;

use common::{BYPASS, HOST, MANAGED, Setting, Stage, UNMANAGED, patiently, upstream};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_link::EventKind;
use weir_proxy::hello::{Error, read_hello, read_proxy_header};
use weir_proxy::limits::{Limits, Room};

/// The first 12 bytes of a PROXY protocol v2 header.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a client would smuggle in.
const SMUGGLED: &str = "GET /adfs/proxy/GetConfiguration HTTP/1.1\r\nhost: x\r\n\r\n";
/// How an HTTP/2 client begins, with its settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Where applications sign in.
const ACTIVE: &str = "/adfs/services/trust/2005/usernamemixed";
/// So many refusals.
const FLOOD: u64 = 200;

fn proxy_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
}

/// 203.0.113.9:4711 to 192.0.2.10:443.
const NAMED: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 9);
const V4: &[u8] = &[203, 0, 113, 9, 192, 0, 2, 10, 0x12, 0x67, 1, 0xbb];

#[tokio::test]
async fn proxy_headers_are_read_to_the_byte_or_refused() {
    let tlvs = [V4, &[0x04, 0, 3, 1, 2, 3, 0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
    let v6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 28], &[0, 80, 1, 0xbb]].concat();
    for (header, expected) in [
        (proxy_header(1, 0x11, V4), Some("203.0.113.9:4711")),
        (proxy_header(1, 0x11, &tlvs), Some("203.0.113.9:4711")),
        (proxy_header(1, 0x21, &v6), Some("[2001:db8::]:80")),
        // The hop speaks for itself, whatever it says of addresses.
        (proxy_header(0, 0x00, &[]), None),
        (proxy_header(0, 0x11, V4), None),
    ] {
        let mut bytes = [&header[..], b"next"].concat();
        let mut rest = bytes.as_mut_slice() as &[u8];
        let found = read_proxy_header(&mut rest).await.unwrap();
        assert_eq!(found.map(|source| source.to_string()).as_deref(), expected);
        assert_eq!(rest, b"next", "not a byte of what follows");
    }
    for (wrong, header) in [
        (
            "version 1",
            b"PROXY TCP4 203.0.113.9 192.0.2.10 4711 443\r\n".to_vec(),
        ),
        ("no signature", vec![b'x'; 40]),
        ("no address", proxy_header(1, 0x00, &[])),
        ("a unix socket", proxy_header(1, 0x31, &[b'a'; 216])),
        ("a datagram", proxy_header(1, 0x12, V4)),
        ("an unknown family", proxy_header(1, 0x41, V4)),
        ("an unknown command", proxy_header(5, 0x11, V4)),
        ("another version", {
            let mut header = proxy_header(1, 0x11, V4);
            header[12] = 0x11;
            header
        }),
        (
            "too short for its addresses",
            proxy_header(1, 0x11, &V4[..8]),
        ),
        ("too long", proxy_header(1, 0x11, &[0; 3000])),
    ] {
        let found = read_proxy_header(&mut &header[..]).await;
        assert!(matches!(found, Err(Error::Proxy(_))), "{wrong}: {found:?}");
    }
    let cut = proxy_header(1, 0x11, V4);
    for length in 0..cut.len() {
        let found = read_proxy_header(&mut &cut[..length]).await;
        assert!(matches!(found, Err(Error::Io(_))), "{length}: {found:?}");
    }
}

#[tokio::test]
async fn a_hop_without_a_header_and_a_header_without_a_hop_are_refused() {
    let setting = Setting {
        proxy_protocol_from: vec![format!("{}/32", BYPASS.0).parse().unwrap()],
        ..Setting::default()
    };
    let mut stage = Stage::with(setting, |_| upstream::text(200, "hello")).await;
    for (source, bytes, rule) in [
        (BYPASS, proxy_header(1, 0x00, &[]), "proxy/proxy-protocol"),
        (
            BYPASS,
            b"PROXY UNKNOWN\r\n\r\n\r\n".to_vec(),
            "proxy/proxy-protocol",
        ),
        (UNMANAGED, proxy_header(1, 0x11, V4), "proxy/not-tls"),
        // A good header: what comes after it is the doing of whom it names.
        (
            BYPASS,
            [proxy_header(1, 0x11, V4), b"no TLS".to_vec()].concat(),
            "proxy/not-tls",
        ),
    ] {
        let mut stream = stage.tcp(source).await;
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end too: bytes may be left that nobody reads.
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        let event = stage.event().await;
        assert_eq!(
            (event.kind, event.rule.as_str()),
            (EventKind::Refused, rule)
        );
        let named = source == BYPASS && rule == "proxy/not-tls";
        let peer = if named { NAMED } else { source.0 };
        assert_eq!(event.peer.ip(), peer);
    }
    assert_eq!(stage.control.counts(|c| c.refused == 4).await.refused, 4);
}

#[tokio::test]
async fn client_hellos_that_are_none_get_an_alert_and_a_rule() {
    let mut stage = Stage::new().await;
    // Records of a handshake message that says it has a megabyte.
    let mut endless = Vec::new();
    for record in 0..12 {
        endless.extend([22, 3, 1, 0x08, 0]);
        let mut body = vec![b'a'; 0x800];
        if record == 0 {
            body[..4].copy_from_slice(&[1, 0x0f, 0xff, 0xff]);
        }
        endless.extend(body);
    }
    for (bytes, rules) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], &["proxy/not-tls"][..]),
        (&[22, 3, 1, 0, 4, 1, 0, 0, 0], &["proxy/not-tls"]),
        (&[22, 3, 1, 0xff, 0xff, 1], &["proxy/not-tls"]),
        (&[128, 46, 1, 3, 1, 0, 21], &["proxy/not-tls"]),
        (&endless, &["proxy/hello-too-large", "proxy/not-tls"]),
    ] {
        let mut stream = stage.tcp(UNMANAGED).await;
        // The proxy may have ended the connection before it has taken everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        let event = stage.event().await;
        assert!(rules.contains(&event.rule.as_str()), "{}", event.rule);
        assert!(event.reason.is_some_and(|reason| !reason.is_empty()));
        if bytes.len() < 100 {
            assert_eq!(answer.first(), Some(&21), "a TLS alert: {answer:?}");
        }
    }
    for length in [0, 1, 5, 6, 40] {
        let hello = [22, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3].map(|byte: u8| byte);
        let cut = [&hello[..], &[0; 100]].concat();
        let found = read_hello(&mut &cut[..length]).await;
        assert!(matches!(found, Err(Error::Io(_))), "{length}");
    }
}

#[tokio::test]
async fn a_handshake_that_cannot_be_agreed_on_is_told_of() {
    let mut stage = Stage::new().await;
    let mut config = stage
        .pki
        .client_config(&["http/1.1"], &[&rustls::version::TLS12]);
    // Curves alone that the proxy does not have.
    config.alpn_protocols = vec![b"imap".to_vec()];
    let error = stage.tls_with(UNMANAGED, HOST, config.into()).await;
    assert!(error.is_err());
    let event = stage.event().await;
    assert_eq!(
        (event.kind, event.rule.as_str()),
        (EventKind::Refused, "proxy/handshake")
    );
    assert_eq!(event.host.as_deref(), Some(HOST));
    assert_eq!(
        stage
            .control
            .counts(|c| c.handshakes_failed == 1)
            .await
            .refused,
        1
    );
}

/// What stands behind a request that is framed in two ways must never be another request to the
/// sign-in server than to Weir.
#[tokio::test]
async fn requests_that_are_framed_twice_reach_nobody_as_two() {
    let stage = Stage::new().await;
    for (framing, body) in [
        (
            "content-length: 4\r\ntransfer-encoding: chunked\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        (
            "content-length: 0\r\ntransfer-encoding: chunked\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        ("content-length: 1\r\ncontent-length: 1\r\n", "a"),
        ("content-length: 1, 1\r\n", "a"),
        (
            "transfer-encoding: chunked, identity\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        (
            "transfer-encoding: identity, chunked\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        ("transfer-encoding:\tchunked\r\n", "1\r\na\r\n0\r\n\r\n"),
        ("transfer-encoding: chunked\r\n", "1;x=\"\r\na\r\n0\r\n\r\n"),
        (
            "transfer-encoding: chunked\r\n",
            "01\r\na\r\n0\r\nHost: x\r\n\r\n",
        ),
        ("content-length: 1\n", "a"),
    ] {
        let before = stage.upstream.seen().len();
        let bytes = format!(
            "POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\n\
             content-type: application/x-www-form-urlencoded\r\n{framing}\r\n{body}{SMUGGLED}\
             GET /unknown HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n"
        );
        let answer = stage.raw(MANAGED, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{framing:?}: {answer}");
        for seen in &stage.upstream.seen()[before..] {
            assert_eq!(seen.target, "/adfs/ls/", "{framing:?}");
            assert_eq!(&seen.body[..], b"a", "{framing:?}");
            assert_eq!(seen.header("content-length"), Some("1"), "{framing:?}");
            assert_eq!(seen.header("transfer-encoding"), None, "{framing:?}");
        }
    }
}

#[tokio::test]
async fn framing_that_cannot_be_read_is_refused() {
    let mut stage = Stage::new().await;
    let head = format!(
        "POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\n"
    );
    for framing in [
        "content-length: -1\r\n\r\n",
        "content-length: 0x5\r\n\r\nhello",
        "content-length: 99999999999999999999\r\n\r\nhello",
        "content-length: 5 \t5\r\n\r\nhello",
        "transfer-encoding: gzip\r\n\r\nhello",
        "transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        " transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "x: a\r\n b\r\n\r\n",
        "x: a\0b\r\n\r\n",
        "x\u{7f}: a\r\n\r\n",
        ": a\r\n\r\n",
        "x: a\rb\r\n\r\n",
    ] {
        let answer = stage
            .raw(MANAGED, (head.clone() + framing).as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{framing:?}: {answer}");
        assert_eq!(stage.event().await.rule, "proxy/malformed", "{framing:?}");
    }
    for chunks in [
        "zz\r\na\r\n0\r\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\na\r\n0\r\n\r\n",
        "1\r\naXX0\r\n\r\n",
    ] {
        let bytes = format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}");
        let answer = stage.raw(MANAGED, bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        let event = stage.event().await;
        assert_eq!(event.rule, "proxy/body-broken", "{chunks:?}");
        assert!(answer.contains(&event.id), "{chunks:?}: {answer}");
    }
    let many = (0..300)
        .map(|n| format!("x-{n}: a\r\n"))
        .collect::<Vec<_>>();
    for (bytes, status, rule) in [
        (
            head.clone() + &many.concat() + "\r\n",
            431,
            "proxy/head-too-large",
        ),
        (
            format!(
                "GET /{} HTTP/1.1\r\nhost: {HOST}\r\n\r\n",
                "a".repeat(70_000)
            ),
            431,
            "proxy/head-too-large",
        ),
        (
            "GET /adfs/ls/ HTTP/3.0\r\n\r\n".into(),
            400,
            "proxy/malformed",
        ),
        (
            "GET  /adfs/ls/ HTTP/1.1\r\n\r\n".into(),
            400,
            "proxy/malformed",
        ),
        (
            "POST /adfs/ls/ HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            400,
            "proxy/malformed",
        ),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            0,
            "proxy/malformed",
        ),
    ] {
        let answer = stage.raw(MANAGED, bytes.as_bytes()).await;
        let shown: String = bytes.chars().take(60).collect();
        // HTTP/2 where HTTP/1.1 was agreed on gets no answer.
        let is = answer.split(' ').nth(1).unwrap_or("0");
        assert_eq!(
            (is, shown.as_str()),
            (status.to_string().as_str(), shown.as_str()),
            "{answer}"
        );
        assert_eq!(stage.event().await.rule, rule, "{shown}");
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn an_http2_connection_that_breaks_the_protocol_ends_with_one_event() {
    let mut stage = Stage::new().await;
    for (wrong, frame) in [
        ("data on no stream", &b"\0\0\x01\0\0\0\0\0\x01a"[..]),
        (
            "a window beyond 2^31",
            b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\xff\xff",
        ),
        ("an even stream", b"\0\0\x01\x01\x05\0\0\0\x02\x82"),
        (
            "a header block of nonsense",
            b"\0\0\x04\x01\x05\0\0\0\x01\xff\xff\xff\xff",
        ),
        ("a frame of 16 MB", b"\xff\xff\xff\0\0\0\0\0\x01"),
    ] {
        let mut stream = stage.tls(UNMANAGED, HOST, &["h2"]).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        // It ends, by whatever way.
        let _ = patiently(stream.read_to_end(&mut answer)).await;
        let event = stage.event().await;
        assert_eq!(
            (event.kind, event.rule.as_str(), event.peer.ip()),
            (EventKind::Refused, "proxy/http2", UNMANAGED.0.into()),
            "{wrong}"
        );
    }
    let ended = |counts: &weir_link::Counts| counts.accepted == 5 && counts.open == 0;
    assert_eq!(stage.control.counts(ended).await.refused, 5);
    stage.control.no_more_events();
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn a_client_that_takes_back_what_it_asks_for_is_cut_off() {
    let never = |_: &upstream::Seen| {
        upstream::held(upstream::text(200, "hello"), &std::sync::Arc::default())
    };
    let setting = Setting {
        limits: Limits {
            taken_back: 20,
            ..Limits::default()
        },
        ..Setting::default()
    };
    let mut stage = Stage::with(setting, never).await;
    let stream = stage.tls(MANAGED, HOST, &["h2"]).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut asked = 0;
    // One after the other has begun, so that h2's own limits are not reached.
    while let Ok(ready) = sender.clone().ready().await {
        sender = ready;
        let request = Request::get(format!("https://{HOST}/adfs/ls/?a={asked}"));
        let Ok((answer, _)) = sender.send_request(request.body(()).unwrap(), true) else {
            break;
        };
        asked += 1;
        assert!(asked < 200, "the proxy goes on");
        while stage.upstream.seen().len() < asked && !connection.is_finished() {
            tokio::task::yield_now().await;
        }
        drop(answer);
    }
    let ended = patiently(connection).await.unwrap();
    assert!(ended.is_err() || asked > 20, "{ended:?}");
    loop {
        let event = stage.event().await;
        if event.rule == "proxy/taken-back" {
            break;
        }
        assert_eq!(
            event.reason.as_deref(),
            Some("the client went away before it was answered")
        );
    }
    // Others are served.
    stage.http1(MANAGED).await;
}

#[tokio::test]
async fn one_connection_has_only_its_share_of_the_memory_for_bodies() {
    let (arrived, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let answer = move |seen: &upstream::Seen| {
        arrived.send(seen.body.len()).unwrap();
        upstream::held(upstream::text(200, "hello"), &std::sync::Arc::default())
    };
    let setting = Setting {
        limits: Limits {
            request_memory: Room {
                all: 100_000,
                per_source: 25_000,
                per_client: 10_000,
            },
            wait: std::time::Duration::from_millis(50),
            ..Limits::default()
        },
        ..Setting::default()
    };
    let mut stage = Stage::with(setting, answer).await;
    let large = "x".repeat(8_000);
    let mut greedy = stage.http2(MANAGED).await;
    let request = greedy.request("POST", ACTIVE, &large);
    let common::client::Http::Two(sender) = &mut greedy else {
        panic!("HTTP/2 was asked for");
    };
    let _held = tokio::spawn(sender.send_request(request));
    assert_eq!(patiently(arrivals.recv()).await, Some(8_000));
    let refused = greedy.post(ACTIVE, "application/soap+xml", &large).await;
    assert_eq!(refused.status, 503);
    assert_eq!(stage.event().await.rule, "proxy/memory");
    // There is as much left for others as before.
    let mut other = stage.http1(MANAGED).await;
    let _other =
        tokio::spawn(async move { other.post(ACTIVE, "application/soap+xml", &large).await });
    assert_eq!(patiently(arrivals.recv()).await, Some(8_000));
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_whole_and_told_of_in_part() {
    let mut stage = Stage::new().await;
    for _ in 0..FLOOD {
        let mut stream = stage.tcp(UNMANAGED).await;
        stream.write_all(b"nothing like TLS\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = patiently(stream.read_to_end(&mut answer)).await;
    }
    let counts = stage.control.counts(|counts| counts.refused == FLOOD).await;
    assert_eq!(counts.events_lost, 0);
    assert!(counts.events_skipped > FLOOD / 3, "{counts:?}");
    for _ in 0..FLOOD - counts.events_skipped {
        assert_eq!(stage.event().await.rule, "proxy/not-tls");
    }
}

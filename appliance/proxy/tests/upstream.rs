//! What reaches the sign-in server, and on which connection.

mod common;

use std::net::SocketAddr;

use common::upstream::{Seen, text};
use common::{APPLIANCE, HOST, MANAGED, Setting, Stage, UNMANAGED, patiently};
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use weir_link::{EventKind, UpstreamKind};

#[tokio::test]
async fn path_and_query_travel_byte_for_byte() {
    let stage = Stage::new().await;
    let mut client = stage.http1(MANAGED).await;
    let targets = [
        "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3AMicrosoftOnline&wctx=a%2Bb+c%20d",
        "/adfs/ls?SAMLRequest=fZJ%2fT%2bMw&RelayState=%7B%22a%22%3a1%7D&&x",
        "/ADFS/LS/?client-request-id=1#",
        "/adfs/ls/?",
        "/adfs/ls/?a=?b=/../c&d=[]{}|^'",
    ];
    for target in targets {
        let written = target.trim_end_matches('#');
        let head = format!("GET {target} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        let answer = stage.raw(MANAGED, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target}: {answer}");
        assert_eq!(stage.upstream.seen().last().unwrap().target, written);
    }
    client.get("/adfs/ls/?x=%e2%82%ac").await;
    assert_eq!(
        stage.upstream.seen().last().unwrap().target,
        "/adfs/ls/?x=%e2%82%ac"
    );
}

#[tokio::test]
async fn bodies_arrive_as_they_were_sent() {
    let stage = Stage::new().await;
    let form = "UserName=a%40corp.example&Password=p%26w&AuthMethod=FormsAuthentication";
    let kind = "application/x-www-form-urlencoded";
    for mut client in [stage.http1(MANAGED).await, stage.http2(MANAGED).await] {
        assert_eq!(client.post("/adfs/ls/?a=b", kind, form).await.status, 200);
        let seen = stage.upstream.seen().pop().unwrap();
        assert_eq!(&seen.body[..], form.as_bytes());
        assert_eq!(
            seen.header("content-length"),
            Some(form.len().to_string().as_str())
        );
        assert_eq!(seen.header("content-type"), Some(kind));
    }
    let chunked = format!(
        "POST /adfs/ls/ HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         content-type: {kind}\r\n\r\n3\r\na=b\r\n4;x=y\r\n&c=d\r\n0\r\ntrailer: x\r\n\r\n"
    );
    let answer = stage.raw(MANAGED, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = stage.upstream.seen().pop().unwrap();
    assert_eq!(&seen.body[..], b"a=b&c=d");
    assert_eq!(seen.header("content-length"), Some("7"));
    assert_eq!(seen.header("transfer-encoding"), None);
    assert_eq!(seen.header("trailer"), None);
}

#[tokio::test]
async fn nothing_that_only_a_proxy_may_say_comes_from_a_client() {
    let setting = Setting {
        kind: UpstreamKind::Adfs,
        ..Setting::default()
    };
    let stage = Stage::with(setting, |_| text(200, "hello")).await;
    let head = format!(
        "GET /adfs/ls/?a=b HTTP/1.1\r\nhost: {HOST}\r\n\
         X-MS-Proxy: forged\r\nx-ms-forwarded-client-ip: 10.0.0.1\r\nX_MS_Proxy: forged\r\n\
         x-ms-endpoint-absolute-path: /adfs/proxy\r\nx-ms-adfs-proxy-client-ip: 10.0.0.1\r\n\
         x-forwarded-for: 10.0.0.1\r\nforwarded: for=10.0.0.1\r\ntrue-client-ip: 10.0.0.1\r\n\
         x-arr-clientcert: MIIB\r\nproxy: http://evil\r\nx-dropped: 1\r\nte: trailers\r\n\
         cookie: a=1; b=2\r\nuser-agent: Mozilla/5.0\r\n\
         connection: close, x-dropped, x-ms-proxy, cookie2\r\nkeep-alive: timeout=5\r\n\r\n"
    );
    let answer = stage.raw(MANAGED, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let seen = stage.upstream.only();
    let all = |name: &str| -> Vec<String> {
        seen.headers
            .get_all(name)
            .iter()
            .map(|v| v.to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(all("x-ms-proxy"), [APPLIANCE]);
    assert_eq!(all("x-ms-forwarded-client-ip"), [MANAGED.0.to_string()]);
    assert_eq!(all("x-ms-endpoint-absolute-path"), ["/adfs/ls/"]);
    assert_eq!(all("cookie"), ["a=1; b=2"]);
    assert_eq!(all("user-agent"), ["Mozilla/5.0"]);
    let gone = [
        "x_ms_proxy",
        "x-forwarded-for",
        "forwarded",
        "true-client-ip",
        "x-arr-clientcert",
        "proxy",
        "x-dropped",
        "te",
        "connection",
        "keep-alive",
    ];
    for name in gone {
        assert!(all(name).is_empty(), "{name}: {:?}", all(name));
    }
    for value in seen.headers.values() {
        let value = String::from_utf8_lossy(value.as_bytes());
        assert!(
            !value.contains("forged") && !value.contains("10.0.0.1"),
            "{value}"
        );
    }
}

#[tokio::test]
async fn http2_cookies_are_joined_for_http1() {
    let stage = Stage::new().await;
    let mut client = stage.http2(MANAGED).await;
    let mut request = client.request("GET", "/adfs/ls/?a=b", "");
    request
        .headers_mut()
        .append("cookie", "MSISAuth=1".parse().unwrap());
    request
        .headers_mut()
        .append("cookie", "MSISAuth1=2".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().status, 200);
    let seen = stage.upstream.only();
    assert_eq!(seen.header("cookie"), Some("MSISAuth=1; MSISAuth1=2"));
    assert_eq!(seen.headers.get_all("cookie").iter().count(), 1);
    assert_eq!(seen.header("host"), Some(HOST));
}

#[tokio::test]
async fn mex_is_mapped_for_adfs_and_left_alone_for_wap() {
    for (kind, target) in [
        (UpstreamKind::Adfs, "/adfs/services/trust/proxymex"),
        (UpstreamKind::Wap, "/adfs/services/trust/mex"),
    ] {
        let setting = Setting {
            kind,
            ..Setting::default()
        };
        let stage = Stage::with(setting, |_| text(200, "<definitions/>")).await;
        let answer = stage
            .http1(MANAGED)
            .await
            .get("/adfs/services/trust/mex")
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(stage.upstream.only().target, target);
    }
}

#[tokio::test]
async fn answers_come_back_whole_and_without_what_belongs_to_the_hop() {
    let stage = Stage::with(Setting::default(), |_| {
        let body = Full::new(bytes::Bytes::from(vec![b'x'; 300_000]));
        Response::builder()
            .status(200)
            .header("set-cookie", "MSISAuth=1; path=/adfs; HttpOnly")
            .header("set-cookie", "MSISAuth1=2; path=/adfs")
            .header("alt-svc", "h3=\":443\"")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .body(body.map_err(|never| match never {}).boxed())
            .unwrap()
    })
    .await;
    for mut client in [stage.http1(MANAGED).await, stage.http2(MANAGED).await] {
        let answer = client.get("/adfs/ls/?a=b").await;
        assert_eq!(answer.body.len(), 300_000);
        assert_eq!(answer.header("content-length"), Some("300000"));
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(
            cookies,
            [
                "MSISAuth=1; path=/adfs; HttpOnly",
                "MSISAuth1=2; path=/adfs"
            ]
        );
        for name in ["alt-svc", "x-hop", "keep-alive", "connection"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
    }
}

#[tokio::test]
async fn head_requests_keep_the_length_and_have_no_body() {
    let stage = Stage::new().await;
    for mut client in [stage.http1(MANAGED).await, stage.http2(MANAGED).await] {
        let request = client.request("HEAD", "/adfs/ls/?a=b", "");
        let answer = client.send(request).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-length")),
            (200, Some("5"))
        );
        assert!(answer.body.is_empty());
        assert_eq!(client.get("/adfs/ls/?a=b").await.text(), "hello");
    }
    // A server that sent a body after all would have it taken for the answer to the next request.
    let seen = stage.upstream.seen();
    let mut used = seen.iter().map(|seen| (&seen.method, seen.connection));
    while let Some((method, connection)) = used.next() {
        let again = used.clone().any(|(_, later)| later == connection);
        assert!(*method != Method::HEAD || !again, "{seen:#?}");
    }
    assert_eq!(stage.upstream.connections(), 3);
}

#[tokio::test]
async fn connections_are_reused_across_clients() {
    let stage = Stage::new().await;
    for _ in 0..5 {
        let mut client = stage.http1(MANAGED).await;
        // A client that closes its connection does not close the upstream's.
        let mut request = client.request("GET", "/adfs/ls/?a=b", "");
        request
            .headers_mut()
            .insert("connection", "close".parse().unwrap());
        assert_eq!(client.send(request).await.unwrap().status, 200);
    }
    let mut client = stage.http2(MANAGED).await;
    assert_eq!(client.get("/adfs/ls/?a=b").await.status, 200);
    assert_eq!(stage.upstream.seen().len(), 6);
    assert_eq!(stage.upstream.connections(), 1);
}

#[tokio::test]
async fn a_dead_idle_connection_costs_no_request() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(MANAGED).await;
    for round in 0..20 {
        assert_eq!(
            client.get("/adfs/ls/?a=b").await.status,
            200,
            "round {round}"
        );
        assert_eq!(stage.event().await.kind, EventKind::Request);
        stage.upstream.cut_connections();
    }
    assert_eq!(stage.upstream.seen().len(), 20);
}

#[tokio::test]
async fn a_request_is_repeated_only_when_that_is_safe() {
    // The first request is answered, so that its connection is reused; after that every first use
    // of a connection goes well, and every second one is cut when the request has been read.
    let uses = std::sync::Mutex::new(std::collections::HashMap::new());
    let answer = move |seen: &Seen| {
        let mut uses = uses.lock().unwrap();
        let count = uses.entry(seen.connection).or_insert(0);
        *count += 1;
        if *count == 2 {
            common::upstream::cut()
        } else {
            text(200, "hello")
        }
    };
    let mut stage = Stage::with(Setting::default(), answer).await;
    let mut client = stage.http1(MANAGED).await;
    assert_eq!(client.get("/adfs/ls/?first").await.status, 200);
    assert_eq!(client.get("/adfs/ls/?repeated").await.status, 200);
    let targets: Vec<_> = stage
        .upstream
        .seen()
        .into_iter()
        .map(|seen| seen.target)
        .collect();
    assert_eq!(
        targets,
        [
            "/adfs/ls/?first",
            "/adfs/ls/?repeated",
            "/adfs/ls/?repeated"
        ]
    );

    // A POST may have been acted on: its client is told, and it is not sent twice.
    let kind = "application/x-www-form-urlencoded";
    assert_eq!(client.post("/adfs/ls/?once", kind, "a=b").await.status, 502);
    let posts = stage
        .upstream
        .seen()
        .into_iter()
        .filter(|seen| seen.target.contains("once"));
    assert_eq!(posts.count(), 1);
    for expected in [EventKind::Request, EventKind::Request, EventKind::Upstream] {
        assert_eq!(stage.event().await.kind, expected);
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_passed_over() {
    let (_held, down) = bound_but_silent();
    let setting = Setting {
        servers_before: vec![down],
        ..Setting::default()
    };
    let stage = Stage::with(setting, |_| text(200, "hello")).await;
    assert_eq!(
        stage.http1(MANAGED).await.get("/adfs/ls/?a=b").await.status,
        200
    );
}

#[tokio::test]
async fn an_upstream_that_is_down_gets_an_answer_fit_for_the_asker() {
    let mut stage = Stage::new().await;
    let (_held, down) = bound_but_silent();
    stage.control.plan.upstream.servers = vec![down];
    stage.control.publish(2).await.unwrap();
    let mut client = stage.http1(MANAGED).await;

    let answer = client
        .get("/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline")
        .await;
    assert_eq!(answer.status, 502);
    let event = stage.event().await;
    assert_eq!((event.kind, event.status), (EventKind::Upstream, Some(502)));
    assert!(answer.text().contains(&event.id), "{}", answer.text());
    assert!(!answer.text().contains("127.0.0.1"), "{}", answer.text());
    let title = "<title>The sign-in service does not answer</title>";
    assert!(answer.text().contains(title), "{}", answer.text());
    assert!(!answer.text().contains("blocked"), "{}", answer.text());
    assert!(event.reason.unwrap().contains(&down.to_string()));

    let path = "/adfs/services/trust/2005/usernamemixed";
    let answer = client.post(path, "application/soap+xml", "<x/>").await;
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("s:Receiver"), "{}", answer.text());
    let event = stage.event().await;
    assert!(answer.text().contains(&event.id), "{}", answer.text());

    let form = "application/x-www-form-urlencoded";
    let answer = client
        .post("/adfs/oauth2/token", form, "grant_type=password")
        .await;
    assert_eq!(answer.status, 502);
    let error = "{\"error\":\"temporarily_unavailable\"";
    assert!(answer.text().starts_with(error), "{}", answer.text());
    assert!(answer.text().contains(&stage.event().await.id));
}

#[tokio::test]
async fn an_upstream_with_a_certificate_of_somebody_else_gets_nothing() {
    let mut stage = Stage::new().await;
    stage.control.plan.upstream.ca = Some(common::pki::Pki::new().ca_pem());
    stage.control.publish(2).await.unwrap();
    assert_eq!(
        stage.http1(MANAGED).await.get("/adfs/ls/?a=b").await.status,
        502
    );
    let event = stage.event().await;
    assert_eq!(event.kind, EventKind::Upstream);
    assert!(
        event.reason.as_deref().unwrap().contains("`ca`"),
        "{event:?}"
    );

    stage.control.plan.upstream.ca = Some(stage.pki.ca_pem());
    stage.control.plan.upstream.server_name = "other.corp.example".into();
    stage.control.publish(3).await.unwrap();
    assert_eq!(
        stage.http1(MANAGED).await.get("/adfs/ls/?a=b").await.status,
        502
    );
    assert!(stage.upstream.seen().is_empty());
}

#[tokio::test]
async fn a_soap_fault_with_500_is_an_answer() {
    let stage = Stage::with(Setting::default(), |_| text(500, "<s:Fault/>")).await;
    let mut stage = stage;
    let path = "/adfs/services/trust/2005/usernamemixed";
    let answer = stage
        .http1(MANAGED)
        .await
        .post(path, "application/soap+xml", "<x/>")
        .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (500, "<s:Fault/>"));
    let event = stage.event().await;
    assert_eq!((event.kind, event.status), (EventKind::Request, Some(500)));
}

#[tokio::test]
async fn ntlm_gives_each_client_a_connection_of_its_own() {
    let mut stage = Stage::with(Setting::default(), ntlm).await;
    let mut alice = stage.http1(MANAGED).await;
    let mut bob = stage.http1(MANAGED).await;
    let path = "/adfs/ls/?wia=1";
    for client in [&mut alice, &mut bob] {
        let challenge = client.get(path).await;
        assert_eq!(challenge.status, 401);
        assert_eq!(challenge.header("www-authenticate"), Some("NTLM"));
        for message in ["NTLM TlRMTVNTUAAB", "NTLM TlRMTVNTUAAD"] {
            let mut request = client.request("GET", path, "");
            request
                .headers_mut()
                .insert("authorization", message.parse().unwrap());
            client.send(request).await.unwrap();
        }
        // From here on the connection is the proof, and no header is sent.
        client.get(path).await;
    }
    let seen = stage.upstream.seen();
    let of = |range: std::ops::Range<usize>| -> Vec<usize> {
        seen[range].iter().map(|seen| seen.connection).collect()
    };
    let (first, second) = (of(0..4), of(4..8));
    assert!(
        first.iter().all(|connection| *connection == first[0]),
        "{first:?}"
    );
    assert!(
        second.iter().all(|connection| *connection == second[0]),
        "{second:?}"
    );
    assert_ne!(first[0], second[0]);

    // Neither is ever given to a third client, even when its owner has gone.
    drop((alice, bob));
    stage.control.counts(|counts| counts.open == 0).await;
    let mut carol = stage.http1(MANAGED).await;
    assert_eq!(carol.get(path).await.status, 401);
    let third = stage.upstream.seen().pop().unwrap().connection;
    assert!(third != first[0] && third != second[0]);
}

#[tokio::test]
async fn a_challenge_on_http2_asks_for_http1() {
    let mut stage = Stage::with(Setting::default(), ntlm).await;
    let mut client = stage.http2(MANAGED).await;
    let request = client.request("GET", "/adfs/ls/?wia=1", "");
    let error = client.send(request).await.unwrap_err();
    assert_eq!(reset_reason(&error), Some(h2::Reason::HTTP_1_1_REQUIRED));
    assert_eq!(stage.event().await.status, None);
    // The other streams of the connection are not touched.
    let request = client.request("GET", "/adfs/ls/?a=b", "");
    assert_eq!(client.send(request).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_answer_is_passed_on_while_it_comes() {
    let (feed, body) = tokio::sync::mpsc::unbounded_channel();
    let body = std::sync::Mutex::new(Some(body));
    let answer = move |_: &Seen| common::upstream::stream(body.lock().unwrap().take().unwrap());
    let stage = Stage::with(Setting::default(), answer).await;
    let mut client = stage.http1(MANAGED).await;
    let request = client.request("GET", "/adfs/ls/?a=b", "");
    feed.send("first").unwrap();
    let mut answer = client.begin(request).await.unwrap();
    let frame = patiently(answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    feed.send("second").unwrap();
    let frame = patiently(answer.body_mut().frame()).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "second");
    drop(feed);
    assert!(patiently(answer.body_mut().frame()).await.is_none());
}

#[tokio::test]
async fn what_is_not_passed_never_opens_a_connection() {
    let mut stage = Stage::new().await;
    let mut client = stage.http1(UNMANAGED).await;
    client
        .get("/adfs/ls/?wa=wsignin1.0&wtrealm=urn:federation:MicrosoftOnline")
        .await;
    client
        .post(
            "/adfs/services/trust/2005/usernamemixed",
            "application/soap+xml",
            "<x/>",
        )
        .await;
    client.get("/adfs/services/trust/mex").await;
    for _ in 0..3 {
        assert_ne!(stage.event().await.decision, "pass");
    }
    assert_eq!(stage.upstream.connections(), 0);
}

/// A server with Windows authentication, as far as a proxy can tell.
fn ntlm(seen: &Seen) -> Response<common::upstream::Body> {
    let offered = match seen.header("authorization") {
        _ if !seen.target.contains("wia") => return text(200, "hello"),
        None => "NTLM",
        Some("NTLM TlRMTVNTUAAB") => "NTLM TlRMTVNTUAAC",
        Some(_) => return text(200, "signed in"),
    };
    let mut answer = text(401, "");
    answer
        .headers_mut()
        .insert("www-authenticate", offered.parse().unwrap());
    answer
}

/// An address where nobody listens, and nobody else can while the socket is held.
fn bound_but_silent() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

fn reset_reason(error: &hyper::Error) -> Option<h2::Reason> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.reason();
        }
        source = error.source();
    }
    None
}

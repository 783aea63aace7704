//! Which connections are decrypted, which are passed on as they are, and which are refused.

mod common;

use std::sync::Arc;

use common::client::{certificate, over_http1};
use common::{BYPASS, BYPASS_WEB, HOST, MANAGED, RELAY, Stage, TUNNEL, UNMANAGED};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_abi::Class;
use weir_link::EventKind;

#[tokio::test]
async fn a_request_passes_over_http1_and_http2() {
    let mut stage = Stage::new().await;
    let answer = stage
        .http1(MANAGED)
        .await
        .get("/adfs/ls/?wa=wsignin1.0")
        .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    let event = stage.event().await;
    assert_eq!((event.decision.as_str(), event.status), ("pass", Some(200)));

    let answer = stage
        .http2(MANAGED)
        .await
        .get("/adfs/ls/?wa=wsignin1.0")
        .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    assert_eq!(stage.event().await.decision, "pass");
}

#[tokio::test]
async fn a_tunnel_name_reaches_the_upstreams_own_certificate() {
    let mut stage = Stage::new().await;
    for source in [MANAGED, BYPASS] {
        let mut tunnel = stage.tls(source, TUNNEL, &["http/1.1"]).await.unwrap();
        let request =
            format!("GET /adfs/anything HTTP/1.1\r\nhost: {TUNNEL}\r\nconnection: close\r\n\r\n");
        tunnel.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tunnel.read_to_string(&mut answer).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"),
            "{answer}"
        );
        let event = stage.event().await;
        assert_eq!(event.kind, EventKind::Tunnel);
        assert_eq!(event.decision, "pass");
        assert_eq!(event.host.as_deref(), Some(TUNNEL));

        let terminated = stage.tls(source, HOST, &["http/1.1"]).await.unwrap();
        assert_ne!(certificate(&tunnel), certificate(&terminated));
    }
    let counts = stage.control.counts(|counts| counts.tunnelled == 2).await;
    assert_eq!(counts.handshakes_failed, 0);
}

#[tokio::test]
async fn a_tunnel_name_is_refused_to_everyone_else() {
    let mut stage = Stage::new().await;
    for source in [UNMANAGED, RELAY, BYPASS_WEB] {
        assert!(stage.tls(source, TUNNEL, &["http/1.1"]).await.is_err());
        let event = stage.event().await;
        assert_eq!(event.kind, EventKind::Tunnel);
        assert_eq!(event.decision, "block");
        assert_eq!(event.peer.ip(), source.0);
        // The class that was judged: a list that exempts browsers exempts no tunnel.
        let class = if source == RELAY {
            Class::Relay
        } else {
            Class::Unmanaged
        };
        assert_eq!(event.class, class);
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn an_unknown_or_missing_name_gets_an_alert_and_an_event() {
    let mut stage = Stage::new().await;
    let error = stage
        .tls(MANAGED, "other.corp.example", &[])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    let event = stage.event().await;
    assert_eq!(
        (event.kind, event.rule.as_str()),
        (EventKind::Refused, "proxy/sni-unknown")
    );
    assert_eq!(event.host.as_deref(), Some("other.corp.example"));

    // An IP address cannot stand in the SNI: the ClientHello names nobody.
    let error = stage.tls(MANAGED, "127.0.0.1", &[]).await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    let event = stage.event().await;
    assert_eq!(
        (event.kind, event.rule.as_str()),
        (EventKind::Refused, "proxy/sni-missing")
    );
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn handshakes_are_modern_and_resume_across_generations() {
    let mut stage = Stage::new().await;
    let tls12 = stage
        .pki
        .client_config(&["http/1.1"], &[&rustls::version::TLS12]);
    let stream = stage.tls_with(MANAGED, HOST, tls12.into()).await.unwrap();
    assert_eq!(
        stream
            .get_ref()
            .1
            .negotiated_cipher_suite()
            .unwrap()
            .suite(),
        rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    );

    let config = stage.pki.client(&["http/1.1"]);
    let stream = stage
        .tls_with(MANAGED, HOST, Arc::clone(&config))
        .await
        .unwrap();
    let session = stream.get_ref().1;
    assert_eq!(
        session.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
    // The client prefers AES-256; the proxy's order counts.
    assert_eq!(
        session.negotiated_cipher_suite().unwrap().suite(),
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
    );
    assert_eq!(
        session.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::X25519MLKEM768
    );
    assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
    // The ticket comes after the handshake, with the first answer at the latest.
    assert_eq!(
        over_http1(stream).await.get("/adfs/ls/?a=b").await.status,
        200
    );

    stage.control.publish(2).await.unwrap();
    let stream = stage.tls_with(MANAGED, HOST, config).await.unwrap();
    assert_eq!(
        stream.get_ref().1.handshake_kind(),
        Some(rustls::HandshakeKind::Resumed)
    );
    assert_eq!(
        over_http1(stream).await.get("/adfs/ls/?a=b").await.status,
        200
    );
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    let mut stage = Stage::new().await;
    let mut stream = stage.tcp(UNMANAGED).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: sts.corp.example\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.first(), Some(&21), "a TLS alert: {answer:?}");
    assert_eq!(stage.event().await.rule, "proxy/not-tls");
}

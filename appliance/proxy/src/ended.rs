//! What is said, and to whom, when a client's connection ends badly.
//!
//! hyper answers what it cannot parse by itself; that is counted and told of here. What nobody has
//! answered yet, a head that never becomes whole, is answered here too.

use std::error::Error as _;

use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use weir_link::EventKind;
use weir_policy::{Classify, Refusal, answer};

use crate::events::{event, reference_id};
use crate::serve::Client;

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// HTTP could not go on.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The client took back one request after another before it was answered.
    #[error("the client takes back more requests than it waits for")]
    TakenBack,
}

/// A rule, what is wrong, and the status that the client got.
struct Refused {
    rule: &'static str,
    why: String,
    status: Option<u16>,
}

/// Counts and records what the client did, when it did something.
pub fn tell(client: &Client, ended: &Ended) {
    if let Some(refused) = Refused::of(ended) {
        record(client, reference_id(), refused);
    }
    tracing::debug!(peer = %client.peer, error = %ended, "a connection ended badly");
}

/// Answers a head of which a part has come, but never the rest (RFC 9110, section 15.5.9).
pub async fn answer_slow_head(client: &Client, stream: TokioIo<Box<TlsStream<TcpStream>>>) {
    const WHY: &str = "the head of the request did not arrive in time";
    let id = reference_id();
    let refusal = Refusal {
        status: 408,
        why: WHY.into(),
    };
    let answer = answer::refuse(&refusal, &id);
    let refused = Refused {
        rule: "proxy/head-slow",
        why: WHY.to_owned(),
        status: Some(refusal.status),
    };
    record(client, id, refused);
    let mut bytes = String::from("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n");
    for (name, value) in &answer.headers {
        bytes.extend([name, ": ", value, "\r\n"]);
    }
    let length = answer.body.len().to_string();
    bytes.extend(["content-length: ", &length, "\r\n\r\n"]);
    bytes.push_str(&answer.body);
    let mut stream = stream.into_inner();
    let said = async {
        stream.write_all(bytes.as_bytes()).await?;
        stream.shutdown().await
    };
    // Whether the client still reads or not: the connection ends here.
    let _ = tokio::time::timeout(client.shared.limits.wait, said).await;
}

impl Refused {
    /// `None` when nothing was wrong but the network, or the client just went away.
    fn of(ended: &Ended) -> Option<Self> {
        let error = match ended {
            Ended::TakenBack => {
                return Some(Self {
                    rule: "proxy/taken-back",
                    why: ended.to_string(),
                    status: None,
                });
            }
            Ended::Http(error) => error,
        };
        if error.is_parse_too_large() {
            return Some(Self {
                rule: "proxy/head-too-large",
                why: error.to_string(),
                status: Some(431),
            });
        }
        if error.is_parse() {
            return Some(Self {
                rule: "proxy/malformed",
                why: error.to_string(),
                status: (!error.is_parse_version_h2()).then_some(400),
            });
        }
        let http2 = error.source()?.downcast_ref::<h2::Error>()?;
        // The library found the fault and said GOAWAY; what came from the client, or from the network,
        // is none of ours.
        (http2.is_library() && http2.is_go_away()).then(|| Self {
            rule: "proxy/http2",
            why: http2.to_string(),
            status: None,
        })
    }
}

fn record(client: &Client, id: String, refused: Refused) {
    let shared = &client.shared;
    let live = shared.live.load();
    let found = live.sources.classify(client.peer.ip());
    let mut event = event(id, EventKind::Refused, live.number, client.peer);
    event.service = Some(client.service.clone());
    event.class = found.class;
    event.list = found.list;
    event.host = Some(client.sni.clone());
    event.decision = "refuse".into();
    event.rule = refused.rule.into();
    event.reason = Some(refused.why);
    event.status = refused.status;
    shared.events.send(event);
}

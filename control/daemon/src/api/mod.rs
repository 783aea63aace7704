//! The control socket: HTTP/1.1 and JSON over a unix socket. `control/daemon/API.md` documents it.
//!
//! Who may use it is decided by the socket's mode and group. The peer's user id goes into the audit
//! log with every change that it makes.

mod events;
mod routes;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use weir_api::{Actor, Failure};

use crate::Error;
use crate::brain::Brain;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How long a client may take to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// Answers on `socket` until the runtime ends.
pub async fn serve(brain: Arc<Brain>, socket: UnixListener) {
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(Arc::clone(&brain), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(brain: Arc<Brain>, stream: UnixStream) {
    let who = match stream.peer_cred() {
        Ok(peer) => Actor::User {
            uid: peer.uid(),
            pid: peer.pid(),
        },
        Err(error) => {
            tracing::warn!(%error, "a peer on the control socket has no credentials");
            return;
        }
    };
    let service = service_fn(|request| {
        let (brain, who) = (Arc::clone(&brain), who.clone());
        async move { Ok::<_, Infallible>(routes::answer(brain, who, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection on the control socket ended early");
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text =
        serde_json::to_vec(value).expect("answers have string keys and no failing parts");
    text.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

fn failure(error: &Error, generation: u64) -> Response<Body> {
    let status = match error {
        Error::Config(_)
        | Error::Prefix(_)
        | Error::Comment
        | Error::Emptied { .. }
        | Error::NoAccount { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::NoList { .. } | Error::NoService { .. } | Error::NoEntry { .. } => {
            StatusCode::NOT_FOUND
        }
        Error::InlineList { .. } => StatusCode::CONFLICT,
        Error::NoAddress { .. } | Error::Request(_) => StatusCode::BAD_REQUEST,
        Error::ProxyRefused { .. } | Error::ProxyLate { .. } => StatusCode::BAD_GATEWAY,
        Error::Kernel(_)
        | Error::Plane(_)
        | Error::Ended(_)
        | Error::Listen(_)
        | Error::Audit(_)
        | Error::Sealed(_)
        | Error::File { .. }
        | Error::Running { .. }
        | Error::Unprivileged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    json(
        status,
        &Failure {
            error: error.to_string(),
            help: error.help(),
            generation: Some(generation),
        },
    )
}

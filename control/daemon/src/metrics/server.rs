//! The management addresses: `/metrics`, `/livez` and `/readyz` over HTTP, for whoever can connect.
//!
//! They are served on a thread of their own, so that nobody who asks there keeps the brain waiting, and each client
//! is bounded: how many there are, how much they send, and how long they take. Nothing can be changed here. The
//! addresses follow the configuration in force; one that cannot be listened on is tried again each second.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::TEXT;
use crate::Error;
use crate::brain::Brain;

/// Connections at a time; Prometheus needs one.
const CONNECTIONS: usize = 16;
/// Longest head of a request, in bytes; the least that hyper takes.
const HEAD: usize = 8 << 10;
/// How long a connection may be open: each is for one request.
const WITHIN: Duration = Duration::from_secs(10);
/// Time between two looks at which addresses are wanted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const PLAIN: &str = "text/plain; charset=utf-8";

/// Serves the management addresses until the brain is gone.
pub fn start(brain: &Arc<Brain>) -> Result<(), Error> {
    let brain = Arc::downgrade(brain);
    let failed = |error| Error::Request(format!("no thread for metrics can be made: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || runtime.block_on(serve(&brain)))
        .map_err(failed)?;
    Ok(())
}

/// The addresses that are listened on.
type Listening = BTreeMap<SocketAddr, JoinHandle<()>>;

async fn serve(brain: &Weak<Brain>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut listening = Listening::new();
    let mut tick = interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        let Some(me) = brain.upgrade() else { return };
        let running = me.running();
        let wanted = &running.candidate.config().metrics;
        listening.retain(|address, accepting| {
            let stays = wanted.contains(address);
            if !stays {
                accepting.abort();
            }
            stays
        });
        let mut trouble = BTreeMap::new();
        for address in wanted {
            if listening.contains_key(address) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    tracing::info!(%address, "metrics are served");
                    let accepting = accept(brain.clone(), listener, Arc::clone(&room));
                    listening.insert(*address, tokio::spawn(accepting));
                }
                Err(error) => {
                    trouble.insert(*address, error.to_string());
                }
            }
        }
        me.metrics.note(trouble);
    }
}

async fn accept(brain: Weak<Brain>, listener: TcpListener, room: Arc<Semaphore>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a management address cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(me) = brain.upgrade() else { return };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            me.metrics.turn_away();
            close(stream);
            continue;
        };
        let brain = brain.clone();
        tokio::spawn(async move {
            // Whether it was slow or broke off: it is closed, and nothing was changed.
            let _ = timeout(WITHIN, connection(&brain, stream)).await;
            drop(place);
        });
    }
}

/// Closes a connection at once, and leaves nothing behind.
fn close(stream: TcpStream) {
    if let Ok(stream) = stream.into_std() {
        // It goes in any case.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

async fn connection(brain: &Weak<Brain>, stream: TcpStream) -> Result<(), hyper::Error> {
    let service = service_fn(|request| async move {
        let answer = match brain.upgrade() {
            Some(brain) => answer(&brain, &request).await,
            None => text(StatusCode::SERVICE_UNAVAILABLE, "weir-control ends\n"),
        };
        Ok::<_, Infallible>(answer)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(WITHIN)
        .keep_alive(false)
        .max_buf_size(HEAD)
        .max_headers(50)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(brain: &Brain, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    const KNOWN: [&str; 3] = ["/metrics", "/livez", "/readyz"];
    let path = request.uri().path();
    if !KNOWN.contains(&path) {
        return text(
            StatusCode::NOT_FOUND,
            "here are /metrics, /livez and /readyz\n",
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "nothing can be changed here\n",
        );
        let allow = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(header::ALLOW, allow);
        return refused;
    }
    match path {
        "/metrics" => match brain.metrics().await {
            Ok(metrics) => of_type(StatusCode::OK, TEXT, metrics.as_bytes().to_vec()),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        },
        "/livez" => told(brain.is_live().await, "alive\n"),
        _ => told(brain.is_ready().await, "ready\n"),
    }
}

fn told(is: Result<(), String>, well: &str) -> Response<Full<Bytes>> {
    match is {
        Ok(()) => text(StatusCode::OK, well),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
    }
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    of_type(status, PLAIN, body.to_owned().into())
}

fn of_type(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

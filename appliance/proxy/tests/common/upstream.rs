//! The sign-in server behind the proxy: real TLS and HTTP, answers from the test, and a record of
//! everything that reached it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

use super::pki::Pki;
use super::{HOST, TUNNEL};

pub type Body = BoxBody<Bytes, std::io::Error>;

/// A request that reached the sign-in server.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Number of the connection it came on, from 0.
    pub connection: usize,
    pub method: Method,
    /// Request target, byte for byte.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub trait Answers: Fn(&Seen) -> Response<Body> + Send + Sync + 'static {}
impl<F: Fn(&Seen) -> Response<Body> + Send + Sync + 'static> Answers for F {}

pub struct SignIn {
    pub address: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    connections: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    open: Mutex<Vec<AbortHandle>>,
}

impl SignIn {
    pub async fn start(pki: &Pki, answer: impl Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Names that the proxy's own certificate does not have, so that a tunnel is told apart.
        let tls = TlsAcceptor::from(pki.server(&[HOST, TUNNEL]));
        let state = Arc::new(State::default());
        let answer = Arc::new(answer);
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&state), answer)).abort_handle();
        Self {
            address,
            state,
            task,
        }
    }

    /// Everything that reached it so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// The one request that reached it.
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.into_iter().next().unwrap()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Cuts every connection that is open; new ones are served.
    pub fn cut_connections(&self) {
        for open in self.state.open.lock().unwrap().drain(..) {
            open.abort();
        }
    }
}

impl Drop for SignIn {
    fn drop(&mut self) {
        self.task.abort();
        self.cut_connections();
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    state: Arc<State>,
    answer: Arc<impl Answers>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = state.connections.fetch_add(1, Ordering::SeqCst);
        let (tls, recorder, answer) = (tls.clone(), Arc::clone(&state), Arc::clone(&answer));
        let open = tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request: Request<Incoming>| {
                let (recorder, answer) = (Arc::clone(&recorder), Arc::clone(&answer));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(Collected::to_bytes);
                    let seen = Seen {
                        connection,
                        method: parts.method,
                        target: parts.uri.to_string(),
                        headers: parts.headers,
                        body: body.unwrap_or_default(),
                    };
                    recorder.seen.lock().unwrap().push(seen.clone());
                    let answer = answer(&seen);
                    if let Some(Held(release)) = answer.extensions().get::<Held>() {
                        release.notified().await;
                    }
                    match answer.extensions().get::<Cut>() {
                        Some(Cut) => Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe)),
                        None => Ok(answer),
                    }
                }
            });
            // A connection that breaks is what some tests want.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        state.open.lock().unwrap().push(open.abort_handle());
    }
}

/// A plain answer.
pub fn text(status: u16, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    Response::builder()
        .status(status)
        .header("content-type", "text/plain")
        .body(body.map_err(|never| match never {}).boxed())
        .unwrap()
}

/// No answer at all: the connection is cut when the request has been read.
pub fn cut() -> Response<Body> {
    let mut answer = text(200, "never sent");
    answer.extensions_mut().insert(Cut);
    answer
}

#[derive(Clone, Copy)]
struct Cut;

/// The same answer, but it begins only when `release` says so.
pub fn held(mut answer: Response<Body>, release: &Arc<Notify>) -> Response<Body> {
    answer.extensions_mut().insert(Held(Arc::clone(release)));
    answer
}

#[derive(Clone)]
struct Held(Arc<Notify>);

/// An answer whose body comes as it is fed, and ends when the feed is dropped.
pub fn stream(mut feed: mpsc::UnboundedReceiver<&'static str>) -> Response<Body> {
    let chunks = futures_util::stream::poll_fn(move |context| {
        feed.poll_recv(context)
            .map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk.into()))))
    });
    Response::new(BodyExt::boxed(StreamBody::new(chunks)))
}

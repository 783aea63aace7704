//! One decrypted client connection: HTTP/1.1 or HTTP/2 by what was agreed in the handshake.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::server::TlsStream;
use weir_link::EventKind;
use weir_policy::Classify;

use crate::Shared;
use crate::events::{event, reference_id};
use crate::request::handle;
use crate::upstream::pin::PinSlot;

/// A head must be whole after this long; on HTTP/1.1 also the longest pause between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head, in bytes: AD FS sets many and large cookies.
const MAX_HEAD: usize = 64 << 10;
/// Most header lines.
const MAX_HEADERS: usize = 256;
/// Most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// An HTTP/2 connection without a request for so long is closed.
const IDLE: Duration = Duration::from_mins(2);

/// What a request needs to know of the connection it came on.
pub struct Client {
    /// What all connections share.
    pub shared: Arc<Shared>,
    /// Name of the service that the handshake was for.
    pub service: String,
    /// TCP peer, or what a configured hop said.
    pub peer: SocketAddr,
    /// Address of the listening socket.
    pub listener: SocketAddr,
    /// Name in the ClientHello, lower case.
    pub sni: String,
    /// The place for an upstream connection of this client's own; `None` on HTTP/2.
    pub pin: Option<Arc<PinSlot>>,
    /// One for each exchange that this client may have with an upstream.
    pub exchanges: Arc<Semaphore>,
    /// Requests begun, and those finished.
    begun: AtomicU64,
    finished: AtomicU64,
}

impl Client {
    /// The client at the other end of `stream`.
    pub fn new(
        shared: Arc<Shared>,
        service: String,
        peer: SocketAddr,
        listener: SocketAddr,
        sni: String,
        stream: &TlsStream<TcpStream>,
    ) -> Self {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let exchanges = Semaphore::new(shared.limits.exchanges_per_client);
        Self {
            shared,
            service,
            peer,
            listener,
            sni,
            pin: (!is_h2).then(Arc::default),
            exchanges: Arc::new(exchanges),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }
}

/// A request that is being handled; finished when dropped, also when the client takes it back.
struct Begun<'a>(&'a Client);

impl<'a> Begun<'a> {
    fn new(client: &'a Client) -> Self {
        client.begun.fetch_add(1, Ordering::Relaxed);
        Self(client)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves requests until the connection ends, the proxy drains, or nothing more comes.
pub async fn serve(client: Client, stream: TlsStream<TcpStream>) {
    let client = Arc::new(client);
    let service = {
        let client = Arc::clone(&client);
        service_fn(move |request: hyper::Request<Incoming>| {
            let client = Arc::clone(&client);
            async move {
                let _begun = Begun::new(&client);
                handle(&client, request).await
            }
        })
    };
    let stream = TokioIo::new(stream);
    let ended = if client.pin.is_some() {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_header_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(stream, service);
        drive(&client, connection, http1::Connection::graceful_shutdown).await
    } else {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).expect("64 KB"))
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .serve_connection(stream, service);
        drive(&client, connection, http2::Connection::graceful_shutdown).await
    };
    if let Err(error) = ended {
        if error.is_parse() {
            refuse_malformed(&client, &error);
        }
        tracing::debug!(peer = %client.peer, %error, "a connection ended badly");
    }
}

async fn drive<C>(
    client: &Client,
    connection: C,
    finish: fn(Pin<&mut C>),
) -> Result<(), hyper::Error>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut connection = std::pin::pin!(connection);
    let mut phase = client.shared.phase.clone();
    let mut end = phase.clone();
    let mut finishing = false;
    let mut seen = 0;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = crate::draining(&mut phase), if !finishing => {
                finish(connection.as_mut());
                finishing = true;
            }
            () = crate::cut(&mut end), if finishing => return Ok(()),
            () = tokio::time::sleep(IDLE), if !finishing => {
                let begun = client.begun.load(Ordering::Relaxed);
                if begun == seen && begun == client.finished.load(Ordering::Relaxed) {
                    finish(connection.as_mut());
                    finishing = true;
                }
                seen = begun;
            }
        }
    }
}

/// Records a request that hyper could not parse and has answered itself with 400, 414 or 431.
fn refuse_malformed(client: &Client, error: &hyper::Error) {
    let shared = &client.shared;
    let live = shared.live.load();
    shared.counters.refused.add();
    let found = live.sources.classify(client.peer.ip());
    let mut event = event(reference_id(), EventKind::Refused, live.number, client.peer);
    event.service = Some(client.service.clone());
    event.class = found.class;
    event.list = found.list;
    event.host = Some(client.sni.clone());
    event.decision = "refuse".into();
    let too_large = error.is_parse_too_large();
    event.rule = if too_large {
        "proxy/head-too-large"
    } else {
        "proxy/malformed"
    }
    .into();
    event.reason = Some(error.to_string());
    event.status = Some(if too_large { 431 } else { 400 });
    shared.events.send(event);
}

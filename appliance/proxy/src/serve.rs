//! One decrypted client connection: HTTP/1.1 or HTTP/2 by what was agreed in the handshake.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::server::TlsStream;

use crate::Shared;
use crate::body::Answer;
use crate::ended::{self, Ended};
use crate::memory::Memory;
use crate::request::handle;
use crate::shares::Place;
use crate::upstream::pin::PinSlot;

/// Largest head, in bytes: AD FS sets many and large cookies.
const MAX_HEAD: usize = 64 << 10;
/// Most header lines.
const MAX_HEADERS: usize = 256;
/// Most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// Most bytes that an HTTP/2 client may send on one connection before they are read: as much as the
/// body of any sign-in that policy reads.
const WINDOW: u32 = 256 << 10;
/// Most bytes of one answer that wait for a client which does not read from its connection.
const UNSENT: usize = 64 << 10;

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
    /// Memory for this client's bodies.
    pub memory: Memory,
    /// The place among the connections of its source, and what that source may hold.
    pub place: Place,
    /// Requests begun, those of them that are over, and those of these that were taken back.
    begun: AtomicU64,
    over: AtomicU64,
    taken_back: AtomicU64,
    /// Notified when too many were taken back.
    enough: Notify,
}

impl Client {
    /// The client at the other end of `stream`.
    pub fn new(
        shared: Arc<Shared>,
        service: String,
        peer: SocketAddr,
        listener: SocketAddr,
        sni: String,
        place: Place,
        stream: &TlsStream<TcpStream>,
    ) -> Self {
        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let exchanges = Semaphore::new(shared.limits.exchanges_per_client);
        let memory = Memory::of_client(&shared.limits);
        Self {
            shared,
            service,
            peer,
            listener,
            sni,
            pin: (!is_h2).then(Arc::default),
            exchanges: Arc::new(exchanges),
            memory,
            place,
            begun: AtomicU64::new(0),
            over: AtomicU64::new(0),
            taken_back: AtomicU64::new(0),
            enough: Notify::new(),
        }
    }
}

/// A request that is being handled; over when dropped, also when the client takes it back.
struct Begun<'a> {
    client: &'a Client,
    answered: bool,
}

impl<'a> Begun<'a> {
    fn new(client: &'a Client) -> Self {
        client.begun.fetch_add(1, Ordering::Relaxed);
        Self {
            client,
            answered: false,
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let client = self.client;
        let over = client.over.fetch_add(1, Ordering::Relaxed) + 1;
        if self.answered {
            return;
        }
        let taken_back = client.taken_back.fetch_add(1, Ordering::Relaxed) + 1;
        let answered = over.saturating_sub(taken_back);
        if taken_back > answered + client.shared.limits.taken_back {
            client.enough.notify_one();
        }
    }
}

/// Serves requests until the connection ends, the proxy drains, or nothing more comes.
pub async fn serve(client: Arc<Client>, stream: Box<TlsStream<TcpStream>>) {
    let service = {
        let client = Arc::clone(&client);
        service_fn(move |request: hyper::Request<Incoming>| {
            let client = Arc::clone(&client);
            async move {
                let mut begun = Begun::new(&client);
                let is_head = request.method() == Method::HEAD;
                // Boxed: room for this is kept for as long as the connection is, and most of them are idle.
                let answer = Box::pin(handle(&client, request)).await;
                begun.answered = true;
                answer.map(|answer| {
                    if is_head {
                        answer.map(Answer::to_head)
                    } else {
                        answer
                    }
                })
            }
        })
    };
    let stream = TokioIo::new(stream);
    let limits = &client.shared.limits;
    let ended = if client.pin.is_some() {
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request_head)
            .max_buf_size(MAX_HEAD)
            .max_header_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(stream, service);
        let finish = http1::Connection::graceful_shutdown;
        let ended = drive(&client, Pin::new(&mut connection), finish).await;
        if matches!(&ended, Err(Ended::Http(error)) if error.is_timeout()) {
            let parts = connection.into_parts();
            if !parts.read_buf.is_empty() {
                ended::answer_slow_head(&client, parts.io).await;
            }
        }
        ended
    } else {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).expect("64 KB"))
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(UNSENT)
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20))
            .serve_connection(stream, service);
        let mut connection = Box::pin(connection);
        let finish = http2::Connection::graceful_shutdown;
        drive(&client, connection.as_mut(), finish).await
    };
    if let Err(ended) = ended {
        ended::tell(&client, &ended);
    }
}

async fn drive<C>(
    client: &Client,
    mut connection: Pin<&mut C>,
    finish: fn(Pin<&mut C>),
) -> Result<(), Ended>
where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let mut phase = client.shared.phase.clone();
    let mut end = phase.clone();
    let mut finishing = false;
    let mut seen = 0;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = client.enough.notified() => return Err(Ended::TakenBack),
            () = crate::draining(&mut phase), if !finishing => {
                finish(connection.as_mut());
                finishing = true;
            }
            () = crate::cut(&mut end), if finishing => return Ok(()),
            () = tokio::time::sleep(client.shared.limits.idle), if !finishing => {
                let begun = client.begun.load(Ordering::Relaxed);
                if begun == seen && begun == client.over.load(Ordering::Relaxed) {
                    finish(connection.as_mut());
                    finishing = true;
                }
                seen = begun;
            }
        }
    }
}

//! Connections, from the listening socket to the decision what to do with their bytes.
//!
//! The name in the ClientHello decides: a tunnel is passed on undecrypted, a host of the service is
//! terminated, anything else is refused with a TLS alert and an event.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use weir_link::EventKind;
use weir_policy::{Classify, DecisionKind};

use crate::events::{event, reference_id};
use crate::generation::{Live, Service};
use crate::hello::{self, read_hello, read_proxy_header};
use crate::serve::{Client, serve};
use crate::shares::Place;
use crate::{Shared, splice};

/// Data that a client does not acknowledge for so long ends the connection.
const UNACKNOWLEDGED: Duration = Duration::from_mins(1);
/// Pause after `accept` has failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// Fatal alert `unrecognized_name` in a TLS record (RFC 8446, section 6; RFC 6066, section 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// Fatal alert `decode_error`.
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];
/// Fatal alert `access_denied`.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// The listening sockets that are held.
#[derive(Default)]
pub struct Listeners {
    held: HashMap<SocketAddr, JoinHandle<()>>,
}

/// Listening sockets that are ready to be held.
pub struct Fresh(HashMap<SocketAddr, TcpListener>);

impl Listeners {
    /// Makes those of `listeners` ready that are not held yet. A socket that is held already for an
    /// address is kept, with every connection in its queue, and the new copy closed.
    pub fn prepare(
        &self,
        listeners: Vec<(SocketAddr, std::net::TcpListener)>,
    ) -> io::Result<Fresh> {
        let mut fresh = HashMap::new();
        for (address, listener) in listeners {
            if !self.held.contains_key(&address) {
                listener.set_nonblocking(true)?;
                fresh.insert(address, TcpListener::from_std(listener)?);
            }
        }
        Ok(Fresh(fresh))
    }

    /// Holds these too, and lets go of those that the generation in force does not have.
    pub fn hold(&mut self, shared: &Arc<Shared>, fresh: Fresh) {
        let live = shared.live.load();
        self.held.retain(|address, task| {
            let keep = live.service_at(*address).is_some();
            if !keep {
                task.abort();
            }
            keep
        });
        for (address, listener) in fresh.0 {
            let task = tokio::spawn(accept(Arc::clone(shared), listener, address));
            self.held.insert(address, task);
        }
    }

    /// Accepts no more. Connections that wait in a queue stay there for the next proxy, as long as
    /// weir-control holds the socket.
    pub fn close(&mut self) {
        for (_, task) in self.held.drain() {
            task.abort();
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener, address: SocketAddr) {
    loop {
        // Held for as long as the connection is: connections over the limit wait in the kernel.
        let permit = Arc::clone(&shared.permits).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => {
                shared.counters.accepted.add();
                let shared = Arc::clone(&shared);
                tokio::spawn(connection(
                    Open {
                        shared,
                        _permit: permit,
                    },
                    stream,
                    peer,
                    address,
                ));
            }
            Err(error) => {
                tracing::warn!(%address, %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// An open connection; counted as closed when dropped.
struct Open {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.counters.closed.add();
    }
}

/// What a connection is after its first bytes.
enum Opened {
    /// It is terminated, and its handshake is over.
    Http(Arc<Client>, Box<TlsStream<TcpStream>>),
    /// It is passed on, beginning with the bytes that were read.
    Tunnel {
        peer: SocketAddr,
        client: TcpStream,
        upstream: TcpStream,
        first: Vec<u8>,
        /// Held until it ends.
        place: Place,
    },
}

async fn connection(open: Open, stream: TcpStream, hop: SocketAddr, listener: SocketAddr) {
    let shared = &open.shared;
    // In a place of its own, which goes with it: a handshake needs more room than an idle connection.
    match Box::pin(opened(shared, stream, hop, listener)).await {
        Some(Opened::Http(client, stream)) => serve(client, stream).await,
        Some(Opened::Tunnel {
            peer,
            client,
            upstream,
            first,
            place: _place,
        }) => Box::pin(pass_on(shared, peer, client, upstream, &first)).await,
        None => {}
    }
}

/// Reads and answers up to the end of the handshake. `None` when nothing more is to be done.
async fn opened(
    shared: &Arc<Shared>,
    mut stream: TcpStream,
    hop: SocketAddr,
    listener: SocketAddr,
) -> Option<Opened> {
    prepare(&stream);
    let live = shared.live.load_full();
    let service = live.service_at(listener)?;
    let hop = SocketAddr::new(hop.ip().to_canonical(), hop.port());
    let patience = shared.limits.handshake;
    let deadline = Instant::now() + patience;
    let peer = match within(deadline, introduced(&mut stream, hop, &live)).await {
        Ok(peer) => peer,
        Err(error) => {
            refuse_bytes(shared, &live, service, hop, &mut stream, error).await;
            return None;
        }
    };
    // Before it says anything: who holds all that one source may gets no second of a handshake.
    let Some(place) = shared.shares.enter(peer.ip()) else {
        let (rule, why) = ("proxy/source-full", shared.shares.full().to_string());
        refuse(shared, &live, service, peer, None, rule, &why);
        return None;
    };
    let hello = match within(deadline, read_hello(&mut stream)).await {
        Ok(hello) => hello,
        Err(error) => {
            refuse_bytes(shared, &live, service, peer, &mut stream, error).await;
            return None;
        }
    };
    let name = hello
        .accepted
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    match name {
        Some(name) if service.tunnel.contains(&name) => {
            // A tunnel may live for days, and must not keep the lists of its first hour in memory.
            let upstream = tunnel(shared, &live, service, peer, name, &mut stream).await?;
            Some(Opened::Tunnel {
                peer,
                client: stream,
                upstream,
                first: hello.raw,
                place,
            })
        }
        Some(name) if service.hosts.contains(&name) => {
            let start = StartHandshake::from_parts(hello.accepted, stream);
            let tls = Arc::clone(&service.tls);
            let stream = match timeout(patience, start.into_stream(tls)).await {
                Ok(Ok(stream)) => stream,
                failed => {
                    shared.counters.handshakes_failed.add();
                    // Who was only slow, or went away, has heard nothing from rustls.
                    if let Ok(Err(error)) = failed
                        && error.kind() == io::ErrorKind::InvalidData
                    {
                        let (rule, why) = ("proxy/handshake", error.to_string());
                        refuse(shared, &live, service, peer, Some(name), rule, &why);
                    }
                    return None;
                }
            };
            shared.counters.tally.handshake(stream.get_ref().1);
            // From here on every request asks for the generation in force itself.
            let service = service.name.clone();
            let shared = Arc::clone(shared);
            let client = Client::new(shared, service, peer, listener, name, place, &stream);
            Some(Opened::Http(Arc::new(client), Box::new(stream)))
        }
        other => {
            let (rule, reason) = match other {
                None => ("proxy/sni-missing", "the ClientHello names no host"),
                Some(_) => ("proxy/sni-unknown", "the service has no host of this name"),
            };
            refuse(shared, &live, service, peer, other, rule, reason);
            shared.counters.handshakes_failed.add();
            // Whether the client still reads or not: the connection ends here.
            let _ = stream.write_all(&UNRECOGNIZED_NAME).await;
            let _ = stream.shutdown().await;
            None
        }
    }
}

/// Options that ask for no privilege.
fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_keepalive(true))
        .and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED)));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot set options of a connection");
    }
}

/// Who the client is: the peer, or what a hop says of it.
async fn introduced(
    stream: &mut TcpStream,
    hop: SocketAddr,
    live: &Live,
) -> Result<SocketAddr, hello::Error> {
    if live.is_proxy_hop(hop.ip())
        && let Some(source) = read_proxy_header(stream).await?
    {
        return Ok(SocketAddr::new(source.ip().to_canonical(), source.port()));
    }
    Ok(hop)
}

/// `None` stands for one that was too slow.
async fn within<T>(
    deadline: Instant,
    reading: impl Future<Output = Result<T, hello::Error>>,
) -> Result<T, Option<hello::Error>> {
    match timeout_at(deadline, reading).await {
        Ok(read) => read.map_err(Some),
        Err(_) => Err(None),
    }
}

async fn refuse_bytes(
    shared: &Shared,
    live: &Live,
    service: &Service,
    peer: SocketAddr,
    stream: &mut TcpStream,
    error: Option<hello::Error>,
) {
    shared.counters.handshakes_failed.add();
    let Some(error) = error else { return };
    let reason = error.to_string();
    match error {
        // Port scans and health checks: counted, not worth a line in the audit log.
        hello::Error::Io(_) => {}
        hello::Error::Tls(_, mut alert) => {
            refuse(shared, live, service, peer, None, "proxy/not-tls", &reason);
            let mut bytes = Vec::new();
            if alert.write_all(&mut bytes).is_ok() {
                // As above: the connection ends here in any case.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        }
        hello::Error::TooLarge => {
            let rule = "proxy/hello-too-large";
            refuse(shared, live, service, peer, None, rule, &reason);
            // As above.
            let _ = stream.write_all(&DECODE_ERROR).await;
            let _ = stream.shutdown().await;
        }
        hello::Error::Proxy(_) => {
            refuse(
                shared,
                live,
                service,
                peer,
                None,
                "proxy/proxy-protocol",
                &reason,
            );
        }
    }
}

/// Records a connection that was refused before any policy.
fn refuse(
    shared: &Shared,
    live: &Live,
    service: &Service,
    peer: SocketAddr,
    host: Option<String>,
    rule: &str,
    reason: &str,
) {
    let found = live.sources.classify(peer.ip());
    let mut event = event(reference_id(), EventKind::Refused, live.number, peer);
    event.service = Some(service.name.clone());
    event.class = found.class;
    event.list = found.list;
    event.host = host;
    event.decision = "refuse".into();
    event.rule = rule.into();
    event.reason = Some(reason.into());
    shared.events.send(event);
}

/// The upstream's end of a tunnel; `None` when there is none for this client.
async fn tunnel(
    shared: &Shared,
    live: &Live,
    service: &Service,
    peer: SocketAddr,
    name: String,
    client: &mut TcpStream,
) -> Option<TcpStream> {
    let (source, decision) = service.policy.tunnel(peer.ip(), &live.sources);
    let mut event = event(reference_id(), EventKind::Tunnel, live.number, peer);
    event.service = Some(service.name.clone());
    event.effective_source = source.effective.filter(|effective| *effective != peer.ip());
    // The class that was judged, as for requests: who speaks in a tunnel is not known.
    event.class = source.class_for(false);
    event.list = source.list;
    event.host = Some(name);
    event.decision = decision.kind.name().into();
    event.rule = decision.rule.to_string();
    event.reason = Some(decision.reason.to_string());
    if decision.kind != DecisionKind::Pass {
        shared.events.send(event);
        // Whether the client still reads or not: the connection ends here.
        let _ = client.write_all(&ACCESS_DENIED).await;
        let _ = client.shutdown().await;
        return None;
    }
    match service.upstream.tunnel().await {
        Ok(upstream) => {
            shared.counters.tunnelled.add();
            shared.events.send(event);
            Some(upstream)
        }
        Err(error) => {
            event.kind = EventKind::Upstream;
            event.reason = Some(error.to_string());
            shared.events.send(event);
            None
        }
    }
}

/// Passes a tunnel's bytes on, beginning with `first`, until it ends or is cut.
async fn pass_on(
    shared: &Shared,
    peer: SocketAddr,
    client: TcpStream,
    upstream: TcpStream,
    first: &[u8],
) {
    let mut phase = shared.phase.clone();
    tokio::select! {
        ended = splice::splice(client, upstream, first) => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "a tunnel broke");
            }
        }
        () = crate::cut(&mut phase) => {}
    }
}

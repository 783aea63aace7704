//! New connections to an upstream: its servers in their order, with a short back-off for those that
//! failed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::Connection;
use crate::counts::Counter;
use crate::tls;

/// Longest wait for one server to accept.
const TCP_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for its TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that failed is tried last for this long.
const BACK_OFF: Duration = Duration::from_secs(2);
/// Most header lines in an answer.
const MAX_HEADERS: usize = 256;
/// Largest head of an answer, in bytes: AD FS sets many and large cookies.
const MAX_HEAD: usize = 128 << 10;

/// Why no server of an upstream could be reached: what the last one said.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// It refused, or cannot be reached.
    #[error("cannot connect to the upstream at {server}: {error}")]
    Tcp {
        /// The server.
        server: SocketAddr,
        /// What the kernel said.
        error: std::io::Error,
    },
    /// It took too long to accept or to shake hands.
    #[error("the upstream at {server} does not answer")]
    Timeout {
        /// The server.
        server: SocketAddr,
    },
    /// The TLS handshake failed.
    #[error(
        "the TLS handshake with the upstream at {server} failed: {error}; check `server_name` and `ca`"
    )]
    Tls {
        /// The server.
        server: SocketAddr,
        /// What is wrong, such as an untrusted certificate.
        error: std::io::Error,
    },
    /// The generation names none.
    #[error("the service has no upstream servers")]
    NoServers,
}

/// Opens connections to the servers of one upstream.
pub struct Connector {
    servers: Vec<Server>,
    tls: TlsConnector,
    name: ServerName<'static>,
    started: Instant,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector")
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    /// Tried last until so many milliseconds after `Connector::started`.
    avoid_until: AtomicU64,
    connected: Counter,
    failed: Counter,
}

impl Connector {
    /// Prepares TLS; connects to nothing yet.
    pub fn new(service: &str, spec: &weir_link::Upstream) -> Result<Self, tls::Error> {
        let server = |address: &SocketAddr| Server {
            address: *address,
            avoid_until: 0.into(),
            connected: Counter::default(),
            failed: Counter::default(),
        };
        Ok(Self {
            servers: spec.servers.iter().map(server).collect(),
            tls: TlsConnector::from(tls::client(service, spec)?),
            name: tls::server_name(&spec.server_name)?,
            started: Instant::now(),
        })
    }

    /// A connection for HTTP over TLS.
    pub async fn http(&self) -> Result<Connection, ConnectError> {
        let mut last = ConnectError::NoServers;
        for server in self.in_order() {
            match self.http_to(server.address).await {
                Ok(connection) => {
                    server.connected.add();
                    return Ok(connection);
                }
                Err(error) => {
                    self.avoid(server);
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// A plain TCP connection, and the server at its other end.
    pub async fn tcp(&self) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let mut last = ConnectError::NoServers;
        for server in self.in_order() {
            match tcp_to(server.address).await {
                Ok(stream) => {
                    server.connected.add();
                    return Ok((stream, server.address));
                }
                Err(error) => {
                    self.avoid(server);
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// How many connections were opened to each server, and could not be.
    pub fn counts(&self) -> impl Iterator<Item = (SocketAddr, u64, u64)> {
        self.servers
            .iter()
            .map(|one| (one.address, one.connected.read(), one.failed.read()))
    }

    async fn http_to(&self, server: SocketAddr) -> Result<Connection, ConnectError> {
        let stream = tcp_to(server).await?;
        let stream = timeout(TLS_TIMEOUT, self.tls.connect(self.name.clone(), stream))
            .await
            .map_err(|_| ConnectError::Timeout { server })?
            .map_err(|error| ConnectError::Tls { server, error })?;
        let (connection, driver) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ConnectError::Tcp {
                server,
                error: std::io::Error::other(error),
            })?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it is told by hyper; there is nobody else to tell.
            let _ = driver.await;
        });
        Ok(connection)
    }

    /// Every server: first those that have not just failed.
    fn in_order(&self) -> impl Iterator<Item = &Server> {
        let now = self.now();
        let avoided = move |server: &&Server| server.avoid_until.load(Ordering::Relaxed) > now;
        let good = self.servers.iter().filter(move |server| !avoided(server));
        good.chain(self.servers.iter().filter(avoided))
    }

    fn avoid(&self, server: &Server) {
        server.failed.add();
        let until = self.now() + u64::try_from(BACK_OFF.as_millis()).expect("seconds");
        server.avoid_until.store(until, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn tcp_to(server: SocketAddr) -> Result<TcpStream, ConnectError> {
    let stream = timeout(TCP_TIMEOUT, TcpStream::connect(server))
        .await
        .map_err(|_| ConnectError::Timeout { server })?
        .map_err(|error| ConnectError::Tcp { server, error })?;
    stream
        .set_nodelay(true)
        .map_err(|error| ConnectError::Tcp { server, error })?;
    Ok(stream)
}

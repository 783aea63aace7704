//! The servers behind a service.
//!
//! A request goes out on an idle connection when there is one, else on a new one. Connections that
//! carry NTLM or Negotiate belong to one client connection ([`pin`]) and never come back into the
//! pool. A request is sent a second time only when a reused connection turns out to be dead and the
//! request is safe to repeat, or was never written.

mod body;
pub mod connect;
pub mod pin;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use body::Home;
pub use body::UpstreamBody;
use connect::{ConnectError, Connector};
use pin::PinSlot;
use pool::Pool;

/// The upstream may take this long until its answer begins. AD FS can need half a minute when its
/// database is slow; a WAP in front of it gives up earlier.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);

/// Most exchanges with one upstream at a time. One HTTP/2 client may ask for many at once, and each
/// needs a connection of its own.
const MOST_EXCHANGES: usize = 4096;

/// A request on its way to an upstream: its body is whole, so that it can be framed anew.
pub type Outgoing = Request<Full<Bytes>>;
/// One connection to an upstream.
type Connection = SendRequest<Full<Bytes>>;

/// What stands behind a service: where to connect, and the idle connections.
#[derive(Debug)]
pub struct Upstream {
    spec: weir_link::Upstream,
    connector: Connector,
    pool: Arc<Pool>,
    exchanges: Arc<Semaphore>,
}

/// Why there is no answer from the upstream.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No server could be reached.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The connection failed before an answer had begun.
    #[error("the upstream closed the connection before it answered: {0}")]
    Broken(#[source] hyper::Error),
    /// The upstream switched protocols, which nobody had asked for.
    #[error("the upstream answered with 101 Switching Protocols, which was not asked for")]
    Switched,
    /// There are too many exchanges with it already.
    #[error("{MOST_EXCHANGES} requests wait for the upstream already")]
    Busy,
    /// Nothing came for a minute.
    #[error("the upstream did not answer within {} seconds", HEAD_TIMEOUT.as_secs())]
    Timeout,
    /// The answer asks for NTLM or Negotiate, and the client speaks HTTP/2, where a connection
    /// cannot be authenticated: it must come again with HTTP/1.1 (RFC 9113, section 7).
    #[error("the upstream asks for NTLM or Negotiate, which cannot ride on HTTP/2")]
    NeedsHttp1,
}

impl Failure {
    /// Status for the client: 504 when the upstream is slow, 503 when it has too much to do, else 502
    /// (RFC 9110, section 15.6).
    pub fn status(&self) -> u16 {
        match self {
            Self::Timeout | Self::Connect(ConnectError::Timeout { .. }) => 504,
            Self::Busy => 503,
            _ => 502,
        }
    }
}

impl Upstream {
    /// Prepares the upstream of a service; connects to nothing yet.
    pub fn new(service: &str, spec: &weir_link::Upstream) -> Result<Self, crate::tls::Error> {
        Ok(Self {
            connector: Connector::new(service, spec)?,
            pool: Arc::new(Pool::default()),
            exchanges: Arc::new(Semaphore::new(MOST_EXCHANGES)),
            spec: spec.clone(),
        })
    }

    /// What the generation said of it: equal specifications share connections.
    pub fn spec(&self) -> &weir_link::Upstream {
        &self.spec
    }

    /// A plain TCP connection to the first server that can be reached, for tunnels.
    pub async fn tunnel(&self) -> Result<TcpStream, ConnectError> {
        self.connector.tcp().await.map(|(stream, _)| stream)
    }

    /// Closes what has been idle too long.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Sends a request and waits for the head of its answer. `client` is the place for a connection
    /// of the client's own; `None` when the client speaks HTTP/2.
    pub async fn send(
        &self,
        request: Outgoing,
        client: Option<&Arc<PinSlot>>,
    ) -> Result<Response<UpstreamBody>, Failure> {
        if pin::carries_connection_auth(request.headers()) {
            client.ok_or(Failure::NeedsHttp1)?.bind();
        }
        let permit = Arc::clone(&self.exchanges)
            .try_acquire_owned()
            .map_err(|_| Failure::Busy)?;
        let owned = client.and_then(|slot| slot.take());
        let reused = match owned {
            Some(connection) => Some(connection),
            None => self.pool.take(),
        };
        let mut request = request;
        if let Some(mut connection) = reused {
            let copy = is_idempotent(request.method()).then(|| request.clone());
            match exchange(&mut connection, request).await {
                Ok(response) => return self.lease(response, connection, client, permit),
                Err(Exchange::Failed(failure)) => return Err(failure),
                Err(Exchange::Broken { error, unsent }) => {
                    match unsent.map(|request| *request).or(copy) {
                        Some(again) => request = again,
                        None => return Err(Failure::Broken(error)),
                    }
                }
            }
        }
        let mut connection = self.connector.http().await?;
        match exchange(&mut connection, request).await {
            Ok(response) => self.lease(response, connection, client, permit),
            Err(Exchange::Failed(failure)) => Err(failure),
            Err(Exchange::Broken { error, .. }) => Err(Failure::Broken(error)),
        }
    }

    /// Ties the connection to the body of its answer, and says where it goes after that.
    fn lease(
        &self,
        response: Response<Incoming>,
        connection: Connection,
        client: Option<&Arc<PinSlot>>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<UpstreamBody>, Failure> {
        if pin::asks_connection_auth(&response) {
            client.ok_or(Failure::NeedsHttp1)?.bind();
        }
        let home = match client {
            Some(slot) if slot.is_bound() => Home::Pin(Arc::clone(slot)),
            _ => Home::Pool(Arc::clone(&self.pool)),
        };
        Ok(response.map(|inner| UpstreamBody::new(inner, connection, home, permit)))
    }
}

/// Why one exchange on one connection gave no answer.
enum Exchange {
    /// The connection broke; `unsent` is the request when no byte of it had been written.
    Broken {
        error: hyper::Error,
        unsent: Option<Box<Outgoing>>,
    },
    Failed(Failure),
}

async fn exchange(
    connection: &mut Connection,
    request: Outgoing,
) -> Result<Response<Incoming>, Exchange> {
    if let Err(error) = connection.ready().await {
        return Err(Exchange::Broken {
            error,
            unsent: Some(Box::new(request)),
        });
    }
    match tokio::time::timeout(HEAD_TIMEOUT, connection.try_send_request(request)).await {
        Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Exchange::Failed(Failure::Switched))
        }
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => {
            let unsent = error.take_message().map(Box::new);
            Err(Exchange::Broken {
                error: error.into_error(),
                unsent,
            })
        }
        Err(_) => Err(Exchange::Failed(Failure::Timeout)),
    }
}

/// Methods that may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

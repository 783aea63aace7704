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
use tokio::time::timeout;
use weir_link::Counted;

use crate::serve::Client;
use body::{Home, Lease};
pub use body::{PART, UpstreamBody, Watched};
use connect::{ConnectError, Connector};
use pool::Pool;

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
    /// The client has too many exchanges open already.
    #[error("the client has {most} requests open on its connection already")]
    ClientBusy {
        /// As many as it may have.
        most: usize,
    },
    /// The source has too many exchanges open already.
    #[error("the source has {most} requests open on all its connections already")]
    SourceBusy {
        /// As many as it may have.
        most: usize,
    },
    /// No answer began for so long.
    #[error("the upstream did not answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
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
            Self::Timeout(_) | Self::Connect(ConnectError::Timeout { .. }) => 504,
            Self::Busy | Self::ClientBusy { .. } | Self::SourceBusy { .. } => 503,
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

    /// How many connections were opened to each server of this service, and could not be.
    pub fn connections(&self, service: &str) -> Vec<(Counted, u64)> {
        let mut rows = Vec::new();
        for (server, connected, failed) in self.connector.counts() {
            let service = || service.to_owned();
            let opened = Counted::Connected {
                service: service(),
                server,
            };
            let refused = Counted::NotConnected {
                service: service(),
                server,
            };
            rows.extend([(opened, connected), (refused, failed)]);
        }
        rows
    }

    /// A plain TCP connection to the first server that can be reached, for tunnels.
    pub async fn tunnel(&self) -> Result<TcpStream, ConnectError> {
        self.connector.tcp().await.map(|(stream, _)| stream)
    }

    /// Closes what has been idle too long.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Sends a request and waits for the head of its answer. `outgoing` makes the request, the same each time:
    /// once, and again where it has to be sent again.
    pub async fn send(
        &self,
        outgoing: impl Fn() -> Outgoing,
        client: &Client,
    ) -> Result<Response<UpstreamBody>, Failure> {
        let request = outgoing();
        let limits = &client.shared.limits;
        let pin = client.pin.as_ref();
        if pin::carries_connection_auth(request.headers()) {
            pin.ok_or(Failure::NeedsHttp1)?.bind();
        }
        let place = one_of(&client.exchanges, limits.wait).await;
        let place = place.ok_or(Failure::ClientBusy {
            most: limits.exchanges_per_client,
        })?;
        let of_source = one_of(&client.place.share.exchanges, limits.wait).await;
        let of_source = of_source.ok_or(Failure::SourceBusy {
            most: limits.exchanges_per_source,
        })?;
        let of_all = Arc::clone(&self.exchanges).try_acquire_owned();
        let permits = [of_source, of_all.map_err(|_| Failure::Busy)?];
        let owned = pin.and_then(|slot| slot.take());
        let reused = match owned {
            Some(connection) => Some(connection),
            None => self.pool.take(),
        };
        let is_head = *request.method() == Method::HEAD;
        let lease =
            |response: Response<Incoming>, connection| {
                if pin::asks_connection_auth(&response) {
                    pin.ok_or(Failure::NeedsHttp1)?.bind();
                }
                let home = match pin {
                    Some(slot) if slot.is_bound() => Home::Pin(Arc::clone(slot)),
                    // A body that comes after all would be taken for the next client's answer.
                    _ if is_head => Home::Nowhere,
                    _ => Home::Pool(Arc::clone(&self.pool)),
                };
                let lease = Lease {
                    connection,
                    home,
                    permits,
                };
                let stalled = limits.stalled;
                Ok(response
                    .map(|inner| UpstreamBody::new(inner, lease, place, stalled, pin.is_some())))
            };
        let mut request = request;
        if let Some(mut connection) = reused {
            let may_repeat = is_idempotent(request.method());
            match exchange(&mut connection, request, limits.head).await {
                Ok(response) => return lease(response, connection),
                Err(Exchange::Failed(failure)) => return Err(failure),
                Err(Exchange::Broken { error, unsent }) => {
                    request = match unsent {
                        Some(unsent) => *unsent,
                        None if may_repeat => outgoing(),
                        None => return Err(Failure::Broken(error)),
                    };
                }
            }
        }
        let mut connection = self.connector.http().await?;
        match exchange(&mut connection, request, limits.head).await {
            Ok(response) => lease(response, connection),
            Err(Exchange::Failed(failure)) => Err(failure),
            Err(Exchange::Broken { error, .. }) => Err(Failure::Broken(error)),
        }
    }
}

/// `None` when none becomes free in time.
async fn one_of(exchanges: &Arc<Semaphore>, wait: Duration) -> Option<OwnedSemaphorePermit> {
    // Nobody who waits is passed by: what becomes free is theirs at once.
    if let Ok(taken) = Arc::clone(exchanges).try_acquire_owned() {
        return Some(taken);
    }
    let taken = timeout(wait, Arc::clone(exchanges).acquire_owned()).await;
    Some(taken.ok()?.expect("the semaphore is never closed"))
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
    limit: Duration,
) -> Result<Response<Incoming>, Exchange> {
    let answer = async {
        if let Err(error) = connection.ready().await {
            return Err(Exchange::Broken {
                error,
                unsent: Some(Box::new(request)),
            });
        }
        match connection.try_send_request(request).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err(Exchange::Failed(Failure::Switched))
            }
            Ok(response) => Ok(response),
            Err(mut error) => {
                let unsent = error.take_message().map(Box::new);
                Err(Exchange::Broken {
                    error: error.into_error(),
                    unsent,
                })
            }
        }
    };
    let answer = timeout(limit, answer).await;
    answer.unwrap_or(Err(Exchange::Failed(Failure::Timeout(limit))))
}

/// Methods that may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_never_gets_ready_is_an_upstream_that_does_not_answer() {
        let (stream, _upstream) = tokio::io::duplex(64);
        // Nothing is ever written or read, as long as nobody drives it.
        let (mut connection, _driver) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                .await
                .expect("nothing is exchanged yet");
        let request = Request::new(Full::default());
        let answer = exchange(&mut connection, request, Duration::from_millis(1));
        let answer = timeout(Duration::from_secs(20), answer).await;
        let failure = answer.expect("within its limit");
        assert!(matches!(
            failure,
            Err(Exchange::Failed(Failure::Timeout(_)))
        ));
    }
}

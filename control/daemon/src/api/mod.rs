//! The control sockets: HTTP/1.1 and JSON over two unix sockets. `control/daemon/API.md` and
//! `openapi.json` document them.
//!
//! Who may do what is decided by which socket they may open: `control.sock` answers questions and makes
//! changes, `read.sock` answers questions only. Who changes something stands in the audit log, and so
//! does who tried to where it is not possible. Clients are bounded in number, size and time, and what
//! they do wrong is counted.

mod answer;
mod counts;
mod denied;
mod events;
mod evidence;
mod flows;
mod lists;
mod operations;
mod patience;
mod refusal;
pub mod request;
mod tenant;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::{Gid, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use weir_api::Failure;

use crate::brain::Brain;
use crate::{Error, sockets};
use counts::Counts;
use denied::Denied;
pub use evidence::EXPORT;
pub use operations::{OPERATIONS, Operation};
use patience::Patience;
pub use refusal::Refusal;
pub use tenant::Tenant;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The document that describes the sockets (OpenAPI 3.1).
pub const DESCRIPTION: &str = include_str!("../../openapi.json");

/// The socket that answers questions and makes changes.
pub const CONTROL: &str = "control.sock";
/// The socket that only answers questions.
pub const READ: &str = "read.sock";

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time, on each socket.
    pub connections: usize,
    /// Of them, those that are kept for root.
    pub for_root: usize,
    /// Longest head of a request, in bytes; at least 8192.
    pub head: usize,
    /// Largest body of a request, in bytes.
    pub body: usize,
    /// How long a client may take to send a head, and how long a connection may be idle.
    pub head_within: Duration,
    /// How long it may take to send a body.
    pub body_within: Duration,
    /// How long it may read nothing of an answer that is ready.
    pub read_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            for_root: 8,
            head: 64 << 10,
            body: 4 << 20,
            head_within: Duration::from_secs(10),
            body_within: Duration::from_secs(10),
            read_within: Duration::from_secs(30),
        }
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Questions and changes.
    Change,
    /// Questions.
    Read,
}

/// The two sockets.
#[derive(Debug)]
pub struct Sockets {
    control: UnixListener,
    read: UnixListener,
}

impl Sockets {
    /// Listens in the run directory; each group may use its socket, beside `owner`.
    pub fn listen(
        run: &Path,
        owner: Option<Uid>,
        control_group: Option<Gid>,
        read_group: Option<Gid>,
    ) -> Result<Self, Error> {
        Ok(Self {
            control: sockets::listen(&run.join(CONTROL), 0o660, owner, control_group)?,
            read: sockets::listen(&run.join(READ), 0o660, owner, read_group)?,
        })
    }
}

/// Answers on both sockets until the runtime ends or the answer is aborted.
pub fn serve(brain: &Arc<Brain>, sockets: Sockets, limits: Limits) -> [JoinHandle<()>; 2] {
    let server = Arc::new(Server {
        brain: Arc::clone(brain),
        limits,
        counts: Counts::default(),
        denied: Denied::default(),
        readers: Arc::new(Semaphore::new(2)),
        reviewers: Arc::new(Semaphore::new(1)),
    });
    let Sockets { control, read } = sockets;
    [
        tokio::spawn(Arc::clone(&server).accept(control, Role::Change)),
        tokio::spawn(server.accept(read, Role::Read)),
    ]
}

#[derive(Debug)]
struct Server {
    brain: Arc<Brain>,
    limits: Limits,
    counts: Counts,
    denied: Denied,
    /// How many may read the files of the audit log at a time.
    readers: Arc<Semaphore>,
    /// How many may read the whole tenant at a time.
    reviewers: Arc<Semaphore>,
}

/// The process on the other end of a connection.
#[derive(Clone, Copy, Debug)]
struct Peer {
    uid: u32,
    pid: Option<i32>,
}

impl Server {
    async fn accept(self: Arc<Self>, socket: UnixListener, role: Role) {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let leaving = Arc::new(Semaphore::new(LEAVING));
        // Those of a server that ends end with it, so that its clients notice.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let (stream, peer) = match socket.accept().await.and_then(|(stream, _)| {
                let peer = stream.peer_cred()?;
                Ok((stream, peer))
            }) {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a control socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let kept = if peer.uid() == 0 {
                0
            } else {
                self.limits.for_root
            };
            let place = if room.available_permits() > kept {
                Arc::clone(&room).try_acquire_owned().ok()
            } else {
                None
            };
            let Some(place) = place else {
                Counts::add(&self.counts.turned_away);
                if let Ok(place) = Arc::clone(&leaving).try_acquire_owned() {
                    connections.spawn(async move {
                        turn_away(stream).await;
                        drop(place);
                    });
                }
                continue;
            };
            let peer = Peer {
                uid: peer.uid(),
                pid: peer.pid(),
            };
            let server = Arc::clone(&self);
            connections.spawn(async move {
                server.connection(stream, role, peer).await;
                drop(place);
            });
        }
    }

    async fn connection(&self, stream: UnixStream, role: Role, peer: Peer) {
        let _open = self.counts.open();
        let limits = &self.limits;
        let service = service_fn(|request| async move {
            Ok::<_, Infallible>(self.answer(role, peer, request).await)
        });
        let stream = Patience::new(stream, limits.read_within);
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_within)
            .max_buf_size(limits.head)
            .max_headers(100)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        let Err(error) = served else { return };
        if error.is_parse() || error.is_incomplete_message() {
            Counts::add(&self.counts.malformed);
        } else if error.is_timeout() || patience::has_ended(&error) {
            Counts::add(&self.counts.slow);
        }
        tracing::debug!(%error, ?peer, "a connection on a control socket ended early");
    }
}

/// Connections at a time that are told why they are turned away; others are only closed.
const LEAVING: usize = 16;
/// How long one may take to hear it.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The answer when there is no room. What the client still writes is read, so that it does not fail
/// before it reads why.
async fn turn_away(mut stream: UnixStream) {
    let failure = Failure {
        error: "too many connections to weir-control are open".to_owned(),
        help: Some(
            "end some (`weir events --follow` holds one each), or ask again later".to_owned(),
        ),
        generation: None,
    };
    let mut body = serde_json::to_string(&failure).expect("a failure has string keys");
    body.push('\n');
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\nretry-after: 1\r\n\r\n{body}"
    );
    let told = tokio::time::timeout(LEAVE_WITHIN, async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    });
    if !matches!(told.await, Ok(Ok(()))) {
        tracing::debug!("a client that was turned away did not listen");
    }
}

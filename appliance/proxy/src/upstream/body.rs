//! The body of an answer, and the connection on which it comes.
//!
//! The body is read by a task of its own, one frame ahead of the client: HTTP/2 does not ask for more
//! while the client gives no window, so that nothing that waits to be asked could end the exchange.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::time::timeout;

use super::Connection;
use super::pin::PinSlot;
use super::pool::Pool;
use crate::body::Whole;

/// The longest pause inside an answer.
const PAUSE: Duration = Duration::from_mins(1);

/// So much of an answer in memory is one frame, in bytes.
pub const PART: usize = 16 << 10;

/// Where a connection goes when its answer has been read to the end.
#[derive(Debug)]
pub(super) enum Home {
    Pool(Arc<Pool>),
    Pin(Arc<PinSlot>),
    /// It closes.
    Nowhere,
}

/// A connection for the time of one exchange.
#[derive(Debug)]
pub(super) struct Lease {
    pub connection: Connection,
    pub home: Home,
    /// One of its source's exchanges, and one of the upstream's.
    pub permits: [OwnedSemaphorePermit; 2],
}

impl Lease {
    /// Ends the exchange: the answer has been read to its end.
    fn give_back(self) {
        match self.home {
            Home::Pool(pool) => pool.put(self.connection),
            Home::Pin(slot) => slot.put(self.connection),
            Home::Nowhere => {}
        }
        drop(self.permits);
    }
}

/// The body of an answer. When it has been read to its end, the connection goes back to where it
/// may be used again; when it is dropped before, or the client takes nothing of it for too long, the
/// connection closes.
#[derive(Debug)]
pub struct UpstreamBody {
    /// `None` when there is no body.
    frames: Option<Arc<Mutex<Frames>>>,
    /// Bytes that are still to come, when that is known.
    left: Option<u64>,
    ended: bool,
}

/// Where an answer is.
enum Source {
    /// On its way. The last is one of the client's exchanges.
    Upstream(Incoming, Lease, OwnedSemaphorePermit),
    Memory(Whole),
}

/// `Ok(None)` is the end of an answer whose length was not known before.
type Item = io::Result<Option<Frame<Bytes>>>;
type Frames = Receiver<Item>;

impl UpstreamBody {
    /// `place` is one of the client's exchanges; it is held until the client has taken everything.
    /// `stalled` is the longest time in which it takes nothing.
    pub(super) fn new(
        inner: Incoming,
        lease: Lease,
        place: OwnedSemaphorePermit,
        stalled: Duration,
    ) -> Self {
        let left = inner.size_hint().exact();
        if inner.is_end_stream() {
            lease.give_back();
            return Self {
                frames: None,
                left,
                ended: true,
            };
        }
        Self::begun(Source::Upstream(inner, lease, place), left, stalled)
    }

    /// An answer that was read whole, which is held until the client has taken everything.
    pub fn whole(whole: Whole, stalled: Duration) -> Self {
        let left = Some(whole.bytes.len() as u64);
        Self::begun(Source::Memory(whole), left, stalled)
    }

    fn begun(source: Source, left: Option<u64>, stalled: Duration) -> Self {
        let (sender, frames) = mpsc::channel(1);
        let frames = Arc::new(Mutex::new(frames));
        let waiting = Arc::downgrade(&frames);
        tokio::spawn(async move {
            let (taken, _place) = match source {
                Source::Upstream(inner, lease, place) => {
                    let taken = pass_on(inner, lease, &sender, stalled).await;
                    (taken, Some(place))
                }
                Source::Memory(whole) => (hand_out(&whole, &sender, stalled).await, None),
            };
            if taken == Taken::Stalled
                && let Some(frames) = waiting.upgrade()
            {
                tracing::debug!(
                    ?stalled,
                    "a client took nothing of an answer; it is given up"
                );
                give_up(&sender, &frames);
            }
        });
        Self {
            frames: Some(frames),
            left,
            ended: false,
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(frames) = self.frames.as_ref().filter(|_| !self.ended) else {
            return Poll::Ready(None);
        };
        let item = ready!(lock(frames).poll_recv(context));
        // Only a task that was ended from outside leaves no last word.
        match item.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into())) {
            Ok(Some(frame)) => {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.left = self.left.map(|left| left.saturating_sub(length));
                self.ended = self.left == Some(0);
                Poll::Ready(Some(Ok(frame)))
            }
            Ok(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Err(error) => {
                self.ended = true;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// How an answer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// The client took it to its end, or has gone.
    Over,
    /// The client took nothing for too long.
    Stalled,
}

/// Hands the frames of an answer on. The exchange with the upstream is over when this returns, and as
/// soon as the last frame has been read.
async fn pass_on(
    mut inner: Incoming,
    lease: Lease,
    sender: &Sender<Item>,
    stalled: Duration,
) -> Taken {
    let mut lease = Some(lease);
    while lease.is_some() {
        let item = tokio::select! {
            item = next(&mut inner) => item,
            () = sender.closed() => return Taken::Over,
        };
        match &item {
            Ok(Some(_)) if !inner.is_end_stream() => {}
            // Before the client sees the end: its next request may need this very connection.
            Ok(_) => lease.take().into_iter().for_each(Lease::give_back),
            Err(_) => lease = None,
        }
        match room(sender, stalled).await {
            Ok(room) => room.send(item),
            Err(taken) => return taken,
        }
    }
    // There is room again when the last one has been taken.
    room(sender, stalled).await.err().unwrap_or(Taken::Over)
}

/// Hands on, part by part, what was read whole. Each part is a copy: one that waits on a connection keeps
/// nothing else in memory.
async fn hand_out(whole: &Whole, sender: &Sender<Item>, stalled: Duration) -> Taken {
    for part in whole.bytes.chunks(PART) {
        match room(sender, stalled).await {
            Ok(room) => room.send(Ok(Some(Frame::data(Bytes::copy_from_slice(part))))),
            Err(taken) => return taken,
        }
    }
    room(sender, stalled).await.err().unwrap_or(Taken::Over)
}

/// Room for one more frame, which is there when the client has taken the one before.
async fn room(sender: &Sender<Item>, stalled: Duration) -> Result<Permit<'_, Item>, Taken> {
    match timeout(stalled, sender.reserve()).await {
        Ok(room) => room.map_err(|_| Taken::Over),
        Err(_) => Err(Taken::Stalled),
    }
}

async fn next(inner: &mut Incoming) -> Item {
    match timeout(PAUSE, inner.frame()).await {
        Ok(frame) => frame.transpose().map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Frees what still waits for the client, and leaves it an error: the answer must not look whole.
fn give_up(sender: &Sender<Item>, frames: &Mutex<Frames>) {
    let mut frames = lock(frames);
    // Empty when the client has come back this very moment.
    let _ = frames.try_recv();
    // There is room, unless the client has gone.
    let _ = sender.try_send(Err(io::ErrorKind::TimedOut.into()));
}

fn lock(frames: &Mutex<Frames>) -> MutexGuard<'_, Frames> {
    frames.lock().unwrap_or_else(PoisonError::into_inner)
}

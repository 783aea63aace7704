//! The body of an answer, and the connection on which it comes.
//!
//! The body is read by a task of its own, one frame ahead of the client: HTTP/2 does not ask for more
//! while the client gives no window, so that nothing that waits to be asked could end the exchange.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::time::timeout;
use weir_claims::carrier::Watch;

use super::Connection;
use super::pin::PinSlot;
use super::pool::Pool;
use crate::body::Whole;
use crate::counts::Counters;

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
    /// `None` when there is no body, or it is here already.
    frames: Option<Arc<Waiting>>,
    /// A body that came whole with its head and is small, with the client's exchange until it is taken.
    here: Option<(Bytes, OwnedSemaphorePermit)>,
    /// Bytes that are still to come, when that is known.
    left: Option<u64>,
    ended: bool,
}

/// Where an answer is.
enum Source {
    /// On its way, with the connection unless it has come whole. The last is one of the client's exchanges.
    Upstream(Incoming, Option<Lease>, OwnedSemaphorePermit),
    Memory(Whole),
    /// Begun in memory, and the rest on its way, as long as nothing is seen in it.
    Begun(Whole, UpstreamBody, Option<Watched>),
}

/// What waits for the client.
#[derive(Debug)]
struct Waiting {
    frames: Mutex<Frames>,
    /// Somebody else sees to it that the client takes its answer.
    seen_to: AtomicBool,
}

/// `Ok(None)` is the end of an answer whose length was not known before.
type Item = io::Result<Option<Frame<Bytes>>>;
type Frames = Receiver<Item>;

impl UpstreamBody {
    /// `place` is one of the client's exchanges; it is held until the client has taken everything.
    /// `stalled` is the longest time in which it takes nothing. Where answers go out in turn (`in_turn`), no
    /// others wait beside a small one, and it needs nobody to look after it.
    pub(super) fn new(
        mut inner: Incoming,
        lease: Lease,
        place: OwnedSemaphorePermit,
        stalled: Duration,
        in_turn: bool,
    ) -> Self {
        let left = inner.size_hint().exact();
        if inner.is_end_stream() {
            lease.give_back();
            return Self {
                frames: None,
                here: None,
                left,
                ended: true,
            };
        }
        let mut lease = Some(lease);
        // What came with the head goes on with it, in one record and one packet.
        let mut first = ready_now(&mut inner);
        if let Some(item) = &first {
            settle(&mut lease, item, &inner);
        }
        if in_turn
            && lease.is_none()
            && let Some(Ok(Some(frame))) = &mut first
            && let Some(data) = frame.data_mut()
            && data.len() <= PART
            && left == Some(data.len() as u64)
        {
            return Self {
                frames: None,
                here: Some((std::mem::take(data), place)),
                left,
                ended: false,
            };
        }
        Self::begun(Source::Upstream(inner, lease, place), first, left, stalled)
    }

    /// An answer that was read whole, which is held until the client has taken everything.
    pub fn whole(whole: Whole, stalled: Duration) -> Self {
        let left = Some(whole.bytes.len() as u64);
        Self::begun(Source::Memory(whole), None, left, stalled)
    }

    /// An answer of which some was read: that, and then the rest of it. Nothing more comes when `watch` sees
    /// something in it.
    pub fn resumed(first: Whole, rest: Self, watch: Option<Watched>, stalled: Duration) -> Self {
        if let Some(waiting) = &rest.frames {
            waiting.seen_to.store(true, Ordering::Relaxed);
        }
        let left = rest.left.map(|left| left + first.bytes.len() as u64);
        Self::begun(Source::Begun(first, rest, watch), None, left, stalled)
    }

    /// `ready` is the first frame, when it is there already.
    fn begun(source: Source, ready: Option<Item>, left: Option<u64>, stalled: Duration) -> Self {
        let (sender, frames) = mpsc::channel(1);
        if let Some(ready) = ready {
            let sent = sender.try_send(ready);
            sent.expect("there is room for one, and nothing was sent");
        }
        let waiting = Arc::new(Waiting {
            frames: Mutex::new(frames),
            seen_to: AtomicBool::new(false),
        });
        let client = Client {
            sender,
            waiting: Arc::downgrade(&waiting),
            stalled,
        };
        tokio::spawn(async move {
            let (taken, _place) = match source {
                Source::Upstream(inner, lease, place) => {
                    (pass_on(inner, lease, &client).await, Some(place))
                }
                Source::Memory(whole) => (hand_out(&whole, &client).await, None),
                Source::Begun(first, rest, watch) => {
                    (go_on(first, rest, watch, &client).await, None)
                }
            };
            if taken == Taken::Stalled {
                client.give_up();
            }
        });
        Self {
            frames: Some(waiting),
            here: None,
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
        if let Some((data, _place)) = self.here.take() {
            self.left = Some(0);
            self.ended = true;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(frames) = self.frames.as_ref().filter(|_| !self.ended) else {
            return Poll::Ready(None);
        };
        let item = ready!(frames.lock().poll_recv(context));
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
async fn pass_on(mut inner: Incoming, mut lease: Option<Lease>, client: &Client) -> Taken {
    while lease.is_some() {
        let item = tokio::select! {
            item = next(&mut inner) => item,
            () = client.sender.closed() => return Taken::Over,
        };
        settle(&mut lease, &item, &inner);
        match client.room().await {
            Ok(room) => room.send(item),
            Err(taken) => return taken,
        }
    }
    // There is room again when the last one has been taken.
    client.room().await.err().unwrap_or(Taken::Over)
}

/// Hands on, part by part, what was read whole. Each part is a copy: one that waits on a connection keeps
/// nothing else in memory.
async fn hand_out(whole: &Whole, client: &Client) -> Taken {
    for part in whole.bytes.chunks(PART) {
        match client.room().await {
            Ok(room) => room.send(Ok(Some(Frame::data(Bytes::copy_from_slice(part))))),
            Err(taken) => return taken,
        }
    }
    client.room().await.err().unwrap_or(Taken::Over)
}

/// Hands on what was read, and then the rest as it comes, up to where something is seen in it.
async fn go_on(
    first: Whole,
    mut rest: UpstreamBody,
    mut watch: Option<Watched>,
    client: &Client,
) -> Taken {
    let taken = hand_out(&first, client).await;
    drop(first);
    if taken == Taken::Stalled {
        return taken;
    }
    loop {
        let frame = tokio::select! {
            frame = rest.frame() => frame.transpose(),
            () = client.sender.closed() => return Taken::Over,
        };
        let data = frame.as_ref().ok().and_then(Option::as_ref);
        let data = data.and_then(Frame::data_ref);
        let frame = match (&mut watch, data) {
            (Some(watched), Some(data)) => watched.pass(data).and(frame),
            _ => frame,
        };
        let is_last = !matches!(frame, Ok(Some(_)));
        match client.room().await {
            Ok(room) => room.send(frame),
            Err(taken) => return taken,
        }
        if is_last {
            return client.room().await.err().unwrap_or(Taken::Over);
        }
    }
}

/// Ends the exchange where this is the last of its answer.
fn settle(lease: &mut Option<Lease>, item: &Item, inner: &Incoming) {
    match item {
        Ok(Some(_)) if !inner.is_end_stream() => {}
        // Before the client sees the end: its next request may need this very connection.
        Ok(_) => lease.take().into_iter().for_each(Lease::give_back),
        Err(_) => *lease = None,
    }
}

/// What need not be waited for. Whoever waits for the rest asks again.
fn ready_now(inner: &mut Incoming) -> Option<Item> {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(inner).poll_frame(&mut context) {
        Poll::Ready(frame) => Some(frame.transpose().map_err(io::Error::other)),
        Poll::Pending => None,
    }
}

async fn next(inner: &mut Incoming) -> Item {
    match timeout(PAUSE, inner.frame()).await {
        Ok(frame) => frame.transpose().map_err(io::Error::other),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What looks for tokens in an answer that is too large to be read whole.
#[derive(Debug)]
pub struct Watched {
    /// What was seen so far.
    pub watch: Watch,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Watched {
    fn pass(&mut self, data: &[u8]) -> io::Result<()> {
        if self.watch.goes_on(data) {
            return Ok(());
        }
        tracing::warn!("a large answer ends early: something in it looks like a token");
        self.counters.answers_cut.add();
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Who takes an answer.
struct Client {
    sender: Sender<Item>,
    waiting: Weak<Waiting>,
    stalled: Duration,
}

impl Client {
    /// Room for one more frame, which is there when the client has taken the one before.
    async fn room(&self) -> Result<Permit<'_, Item>, Taken> {
        loop {
            match timeout(self.stalled, self.sender.reserve()).await {
                Ok(room) => return room.map_err(|_| Taken::Over),
                Err(_) if self.is_seen_to() => {}
                Err(_) => return Err(Taken::Stalled),
            }
        }
    }

    fn is_seen_to(&self) -> bool {
        let waiting = self.waiting.upgrade();
        waiting.is_some_and(|waiting| waiting.seen_to.load(Ordering::Relaxed))
    }

    /// Frees what still waits for the client, and leaves it an error: the answer must not look whole.
    fn give_up(&self) {
        let Some(waiting) = self.waiting.upgrade() else {
            return;
        };
        tracing::debug!(
            stalled = ?self.stalled,
            "a client took nothing of an answer; it is given up"
        );
        let mut frames = waiting.lock();
        // Empty when the client has come back this very moment.
        let _ = frames.try_recv();
        // There is room, unless the client has gone.
        let _ = self.sender.try_send(Err(io::ErrorKind::TimedOut.into()));
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Frames> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

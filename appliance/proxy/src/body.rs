//! Bodies: of requests, read whole within a limit; of answers, Weir's own or streamed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::Client;
use crate::upstream::{PART, UpstreamBody};

/// So much of a body that is too large is read and thrown away, so that the client reads the answer
/// instead of a reset connection.
const DISCARD: u64 = 8 << 20;
/// And for so long.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Body of an answer to a client.
#[derive(Debug)]
pub enum Answer {
    /// Weir's own.
    Own(Full<Bytes>),
    /// The upstream's, as it comes.
    Upstream(UpstreamBody),
    /// The upstream's, of which some was read already.
    Begun(Bytes, UpstreamBody),
}

/// A body, whole. Its bytes count as memory in use until this is dropped.
#[derive(Debug, Default)]
pub struct Whole {
    /// The bytes.
    pub bytes: Bytes,
    _memory: Option<Memory>,
}

/// Bytes in memory: of this client, of its source, and of all together.
#[derive(Debug)]
struct Memory([OwnedSemaphorePermit; 3]);

/// Why a request's body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is over the limit.
    TooLarge,
    /// It took too long.
    Slow,
    /// The bodies of other requests fill the memory that there is for them, for this client's, or for
    /// those of its source.
    NoMemory,
    /// The client stopped sending, or its framing is broken.
    Broken,
}

/// Reads a body of at most `limit` bytes. With `lenient`, some of one that finds no room is read and
/// thrown away before this returns.
pub async fn read(
    mut body: Incoming,
    limit: u64,
    lenient: bool,
    client: &Client,
) -> Result<Whole, Unread> {
    let most = client.shared.limits.request_body;
    let read = tokio::time::timeout(most, collect(&mut body, limit, client)).await;
    let read = read.unwrap_or(Err(Unread::Slow));
    if matches!(read, Err(Unread::TooLarge | Unread::NoMemory)) && lenient {
        // Whether it could all be thrown away or not: the answer is the same.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, collect_nothing(&mut body)).await;
    }
    read
}

/// Reads the answer of an upstream, as far as it is at most `limit` bytes. What was read of a longer one, and
/// the rest of it, in the error.
pub async fn read_answer(
    mut body: UpstreamBody,
    limit: u64,
    client: &Client,
) -> Result<Whole, (Unread, Answer)> {
    let mut read = BytesMut::new();
    match collect_into(&mut body, &mut read, limit, client).await {
        Ok(memory) => Ok(Whole {
            bytes: read.freeze(),
            _memory: memory,
        }),
        Err(why) => Err((why, Answer::Begun(read.freeze(), body))),
    }
}

async fn collect_into(
    body: &mut UpstreamBody,
    read: &mut BytesMut,
    limit: u64,
    client: &Client,
) -> Result<Option<Memory>, Unread> {
    let mut memory: Option<Memory> = None;
    if body.size_hint().lower() > limit {
        return Err(Unread::TooLarge);
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        read.extend_from_slice(&data);
        if read.len() as u64 > limit {
            return Err(Unread::TooLarge);
        }
        let more = Memory::take(data.len(), client).await?;
        match &mut memory {
            Some(memory) => memory.merge(more),
            None => memory = Some(more),
        }
    }
    Ok(memory)
}

async fn collect(body: &mut Incoming, limit: u64, client: &Client) -> Result<Whole, Unread> {
    if body.size_hint().lower() > limit {
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut memory: Option<Memory> = None;
    while let Some(frame) = body.frame().await {
        // Trailers are dropped: nothing behind Weir expects any.
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        if (first.len() + rest.len() + data.len()) as u64 > limit {
            return Err(Unread::TooLarge);
        }
        // For what has arrived, not for what was announced: announcing costs a client nothing.
        let more = Memory::take(data.len(), client).await?;
        match &mut memory {
            Some(memory) => memory.merge(more),
            None => memory = Some(more),
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        whole.freeze()
    };
    Ok(Whole {
        bytes,
        _memory: memory,
    })
}

impl Memory {
    /// The client's own share first: who has used it up waits without holding what others need.
    async fn take(bytes: usize, client: &Client) -> Result<Self, Unread> {
        let bytes = u32::try_from(bytes).map_err(|_| Unread::TooLarge)?;
        let take = async {
            Self([
                of(&client.request_memory, bytes).await,
                of(&client.place.share.request_memory, bytes).await,
                of(&client.shared.request_memory, bytes).await,
            ])
        };
        let taken = tokio::time::timeout(client.shared.limits.wait, take).await;
        taken.map_err(|_| Unread::NoMemory)
    }

    fn merge(&mut self, other: Self) {
        for (mine, more) in self.0.iter_mut().zip(other.0) {
            mine.merge(more);
        }
    }
}

async fn of(share: &Arc<Semaphore>, bytes: u32) -> OwnedSemaphorePermit {
    let taken = Arc::clone(share).acquire_many_owned(bytes).await;
    taken.expect("the semaphore is never closed")
}

async fn collect_nothing(body: &mut Incoming) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, |data| data.len() as u64);
        if seen > DISCARD {
            return;
        }
    }
}

impl Whole {
    /// Other bytes in the place of these.
    #[must_use]
    pub fn with(self, bytes: Bytes) -> Self {
        Self { bytes, ..self }
    }
}

impl Answer {
    /// A body that was read whole. It counts as memory in use until the client has taken it, for which it has
    /// as long as for one that comes as it is read.
    pub fn whole(whole: Whole, client: &Client) -> Self {
        if whole.bytes.len() <= PART {
            return Self::own(whole.bytes);
        }
        Self::Upstream(UpstreamBody::whole(whole, client.shared.limits.stalled))
    }

    /// As the answer to a HEAD, which has no body (RFC 9110, section 9.3.2). An upstream has sent none.
    #[must_use]
    pub fn to_head(self) -> Self {
        match self {
            Self::Own(_) => Self::own(Bytes::new()),
            upstream => upstream,
        }
    }

    /// A body of Weir's own.
    pub fn own(text: impl Into<Bytes>) -> Self {
        Self::Own(Full::new(text.into()))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body)
                .poll_frame(context)
                .map_err(|infallible| match infallible {}),
            Self::Begun(first, _) if !first.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(first)))))
            }
            Self::Upstream(body) | Self::Begun(_, body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Begun(first, body) => first.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
            Self::Begun(first, body) => match body.size_hint().exact() {
                Some(rest) => SizeHint::with_exact(first.len() as u64 + rest),
                None => SizeHint::default(),
            },
        }
    }
}

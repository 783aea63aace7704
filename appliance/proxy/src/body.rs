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
use weir_claims::carrier::Watch;

use crate::memory::{Held, Of};
use crate::serve::Client;
use crate::upstream::{PART, UpstreamBody, Watched};

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
}

/// A body, whole. Its bytes count as memory in use until this is dropped.
#[derive(Debug, Default)]
pub struct Whole {
    /// The bytes.
    pub bytes: Bytes,
    _memory: Option<Held>,
}

/// An answer that could not be read whole.
#[derive(Debug)]
pub struct Begun {
    /// What was read of it.
    pub first: Whole,
    rest: UpstreamBody,
}

/// Why a request's body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is over the limit.
    TooLarge,
    /// It took too long.
    Slow,
    /// Others fill the memory that there is for all, for those of its source, or for this client's.
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
    if body.is_end_stream() {
        return Ok(Whole::default());
    }
    let most = client.shared.limits.request_body;
    let read = tokio::time::timeout(most, collect(&mut body, limit, client)).await;
    let read = read.unwrap_or(Err(Unread::Slow));
    if matches!(read, Err(Unread::TooLarge | Unread::NoMemory)) && lenient {
        // Whether it could all be thrown away or not: the answer is the same.
        let _ = tokio::time::timeout(DISCARD_TIMEOUT, collect_nothing(&mut body)).await;
    }
    read
}

/// Reads the answer of an upstream, as far as it is at most `limit` bytes.
pub async fn read_answer(
    mut body: UpstreamBody,
    limit: u64,
    client: &Client,
) -> Result<Whole, (Unread, Begun)> {
    let mut read = BytesMut::new();
    let mut memory = None;
    let whole = collect_into(&mut body, &mut read, &mut memory, limit, client).await;
    let first = Whole {
        bytes: read.freeze(),
        _memory: memory,
    };
    match whole {
        Ok(()) => Ok(first),
        Err(why) => Err((why, Begun { first, rest: body })),
    }
}

async fn collect_into(
    body: &mut UpstreamBody,
    read: &mut BytesMut,
    memory: &mut Option<Held>,
    limit: u64,
    client: &Client,
) -> Result<(), Unread> {
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
        hold(memory, Of::Answers, data.len(), client).await?;
    }
    Ok(())
}

async fn collect(body: &mut Incoming, limit: u64, client: &Client) -> Result<Whole, Unread> {
    if body.size_hint().lower() > limit {
        return Err(Unread::TooLarge);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut memory = None;
    while let Some(frame) = body.frame().await {
        // Trailers are dropped: nothing behind Weir expects any.
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        if (first.len() + rest.len() + data.len()) as u64 > limit {
            return Err(Unread::TooLarge);
        }
        // For what has arrived, not for what was announced: announcing costs a client nothing.
        hold(&mut memory, Of::Requests, data.len(), client).await?;
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

async fn hold(
    memory: &mut Option<Held>,
    of: Of,
    bytes: usize,
    client: &Client,
) -> Result<(), Unread> {
    let more = Held::take(of, bytes, client).await;
    let more = more.ok_or(Unread::NoMemory)?;
    match memory {
        Some(memory) => memory.merge(more),
        None => *memory = Some(more),
    }
    Ok(())
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

impl Begun {
    /// The answer as it would have come: what was read, and then the rest, as long as `watch` sees nothing in it.
    pub fn resume(self, watch: Option<Watch>, client: &Client) -> Answer {
        let shared = &client.shared;
        let watched = watch.map(|watch| Watched {
            watch,
            counters: Arc::clone(&shared.counters),
        });
        let stalled = shared.limits.stalled;
        let body = UpstreamBody::resumed(self.first, self.rest, watched, stalled);
        Answer::Upstream(body)
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
            Self::Upstream(body) => Self::Upstream(body),
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
            Self::Upstream(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

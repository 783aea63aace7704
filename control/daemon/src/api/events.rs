//! `GET /v1/events`: lines of the audit log, one JSON object a line, and on `follow=true` those that
//! come, until the client hangs up. What memory holds no more is read from the files, a part at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::{Semaphore, watch};

use super::Body;
use super::answer::answer_of;
use super::request::WantedEvents;
use crate::Error;
use crate::audit::{Audit, Filter, History, Last, Part};

/// The number behind which the lines of an answer begin: a client that is cut off goes on there, or
/// behind the last line that it got.
pub const AFTER: &str = "weir-after";

/// Lines that are answered when the client says neither how many nor from where.
const DEFAULT_LIMIT: usize = 100;
/// Lines that are written at a time.
const BATCH: usize = 256;

pub(super) async fn answer(
    audit: &Arc<Audit>,
    readers: &Arc<Semaphore>,
    wanted: WantedEvents,
) -> Result<Response<Body>, Error> {
    let newest = audit.newest();
    let read = |error| Error::file("read the audit log", audit.path())(error);
    let mut reader = Reader {
        audit: Arc::clone(audit),
        readers: Arc::clone(readers),
        filter: wanted.filter,
        history: None,
    };
    let (after, left) = match (wanted.after, wanted.limit) {
        (Some(after), limit) => (after.min(newest), limit),
        (None, None) if reader.filter.since.is_some() => {
            (reader.since().await.map_err(read)?, None)
        }
        (None, limit) => {
            let last = reader.last(limit.unwrap_or(DEFAULT_LIMIT)).await;
            (last.map_err(read)?, limit)
        }
    };
    let lines = Lines {
        reader,
        seen: after,
        // Those that come are not counted.
        left: left.filter(|_| !wanted.follow).unwrap_or(usize::MAX),
        until: newest,
        coming: wanted.follow.then(|| audit.follow()),
    };
    let body = StreamBody::new(stream::unfold(lines, Lines::next)).boxed_unsync();
    let mut response = answer_of(StatusCode::OK, "application/x-ndjson", body);
    response
        .headers_mut()
        .insert(AFTER, HeaderValue::from(after));
    Ok(response)
}

/// The lines of an answer.
struct Lines {
    reader: Reader,
    /// Number up to which was looked.
    seen: u64,
    left: usize,
    /// Where an answer ends that follows nothing.
    until: u64,
    coming: Option<watch::Receiver<u64>>,
}

impl Lines {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        loop {
            match &mut self.coming {
                None if self.left == 0 || self.seen >= self.until => return None,
                None => {}
                Some(newest) => {
                    let seen = self.seen;
                    newest.wait_for(|newest| *newest > seen).await.ok()?;
                }
            }
            let part = match self.reader.after(self.seen, self.left.min(BATCH)).await {
                Ok(part) => part,
                Err(error) => return Some((Err(error), self)),
            };
            self.seen = part.seen;
            self.left -= part.lines;
            if part.lines > 0 {
                return Some((Ok(Frame::data(part.text.into())), self));
            }
        }
    }
}

/// Reads lines from memory, or from the files where memory does not reach.
struct Reader {
    audit: Arc<Audit>,
    readers: Arc<Semaphore>,
    filter: Filter,
    history: Option<History>,
}

impl Reader {
    /// Lines behind a number; always gets on.
    async fn after(&mut self, after: u64, limit: usize) -> io::Result<Part> {
        if let Some(part) = self.audit.after(after, limit, &self.filter) {
            self.history = None;
            return Ok(part);
        }
        let read =
            move |history: &mut History, filter: &Filter| history.after(after, limit, filter);
        if let Some(part) = self.in_files(read).await? {
            return Ok(part);
        }
        // What memory holds no more and the files do not hold is lost: the numbers show it.
        let oldest = self.audit.oldest();
        let oldest = oldest.map_or_else(|| self.audit.newest() + 1, |(oldest, _)| oldest);
        Ok(Part {
            seen: after.max(oldest - 1),
            ..Part::default()
        })
    }

    /// The number in front of the newest lines that match.
    async fn last(&mut self, limit: usize) -> io::Result<u64> {
        let (mut missing, before) = match self.audit.last(limit, &self.filter) {
            Last::After(after) => return Ok(after),
            Last::Further { missing, before } => (missing, before),
        };
        loop {
            let read = move |history: &mut History, filter: &Filter| {
                let mut missing = missing;
                let found = history.last(&mut missing, before, filter)?;
                Ok((found, missing))
            };
            let (found, left) = self.in_files(read).await?;
            if let Some(after) = found {
                self.history = None;
                return Ok(after);
            }
            missing = left;
        }
    }

    /// The number in front of what happened since a time.
    async fn since(&mut self) -> io::Result<u64> {
        if let (Some((seq, time)), Some(early)) = (self.audit.oldest(), self.filter.early())
            && time < early
        {
            return Ok(seq - 1);
        }
        self.in_files(|history, filter| history.since(filter)).await
    }

    /// Runs a part of the reading where it may block.
    async fn in_files<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&mut History, &Filter) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let place = Arc::clone(&self.readers).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let mut history = self.history.take().unwrap_or_else(|| self.audit.history());
        let filter = self.filter.clone();
        let (history, done) = tokio::task::spawn_blocking(move || {
            let done = read(&mut history, &filter);
            drop(place);
            (history, done)
        })
        .await
        .map_err(io::Error::other)?;
        self.history = Some(history);
        done
    }
}

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
use crate::audit::{Audit, Reader};

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
    let mut reader = Reader::new(audit, readers, wanted.filter);
    let (after, left) = match (wanted.after, wanted.limit) {
        (Some(after), limit) => (after.min(newest), limit),
        (None, None) if reader.is_since() => (reader.since().await.map_err(read)?, None),
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

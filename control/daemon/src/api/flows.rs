//! `GET /v1/flows`: beginnings of flows that memory holds, one JSON object a line, and on `follow=true`
//! those that come. `POST /v1/capture`: a pcapng file, written as it comes to be.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use weir_api::Flow;

use super::Body;
use super::answer::answer_of;
use super::request::WantedFlows;
use crate::brain::{Brain, Capture};

/// Lines that are answered when the client does not say how many.
const DEFAULT_LIMIT: usize = 100;

pub(super) fn answer(brain: &Arc<Brain>, wanted: WantedFlows) -> Response<Body> {
    let (mut lines, seen) = brain.flows().after(0, &wanted.filter);
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT);
    lines.drain(..lines.len().saturating_sub(limit));
    let coming = Coming {
        brain: Arc::clone(brain),
        wanted,
        seen,
        newest: brain.flows().newest(),
        first: Some(lines),
    };
    let body = StreamBody::new(stream::unfold(coming, Coming::next)).boxed_unsync();
    answer_of(StatusCode::OK, "application/x-ndjson", body)
}

/// The lines of an answer.
struct Coming {
    brain: Arc<Brain>,
    wanted: WantedFlows,
    seen: u64,
    newest: watch::Receiver<u64>,
    first: Option<Vec<Flow>>,
}

impl Coming {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        loop {
            let lines = if let Some(lines) = self.first.take() {
                lines
            } else if self.wanted.follow {
                let seen = self.seen;
                self.newest.wait_for(|newest| *newest > seen).await.ok()?;
                let (lines, seen) = self.brain.flows().after(seen, &self.wanted.filter);
                self.seen = seen;
                lines
            } else {
                return None;
            };
            if !lines.is_empty() {
                let mut text = Vec::new();
                for line in &lines {
                    serde_json::to_writer(&mut text, line).expect("memory takes everything");
                    text.push(b'\n');
                }
                return Some((Ok(Frame::data(text.into())), self));
            }
        }
    }
}

pub(super) fn file(capture: Capture) -> Response<Body> {
    let parts = stream::unfold(capture, |mut capture| async {
        let part = capture.next().await?;
        Some((part.map(|bytes| Frame::data(bytes.into())), capture))
    });
    let body = StreamBody::new(parts).boxed_unsync();
    answer_of(StatusCode::OK, "application/x-pcapng", body)
}

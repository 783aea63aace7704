//! `GET /v1/flows`: beginnings of flows that memory holds, one JSON object a line, and on `follow=true`
//! those that come; whoever reads too slowly is told how many it missed. `POST /v1/capture`: a pcapng file, written as it comes to be.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::watch;
use weir_api::MissedFlows;

use super::Body;
use super::answer::answer_of;
use super::request::WantedFlows;
use crate::brain::{Brain, Capture};
use crate::flows::Found;

/// Lines that are answered when the client does not say how many.
const DEFAULT_LIMIT: usize = 100;

pub(super) fn answer(brain: &Arc<Brain>, wanted: WantedFlows) -> Response<Body> {
    let mut first = brain.flows().after(0, &wanted.filter);
    let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT);
    first.lines.drain(..first.lines.len().saturating_sub(limit));
    // What was before is nothing that whoever asks now would have seen.
    first.missed = 0;
    let coming = Coming {
        brain: Arc::clone(brain),
        wanted,
        seen: first.seen,
        newest: brain.flows().newest(),
        first: Some(first),
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
    first: Option<Found>,
}

impl Coming {
    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        loop {
            let found = if let Some(first) = self.first.take() {
                first
            } else if self.wanted.follow {
                let seen = self.seen;
                self.newest.wait_for(|newest| *newest > seen).await.ok()?;
                self.brain.flows().after(seen, &self.wanted.filter)
            } else {
                return None;
            };
            self.seen = found.seen;
            let mut text = Vec::new();
            if found.missed > 0 {
                let missed = found.missed;
                put(&mut text, &MissedFlows { missed });
            }
            for line in &found.lines {
                put(&mut text, line);
            }
            if !text.is_empty() {
                return Some((Ok(Frame::data(text.into())), self));
            }
        }
    }
}

fn put(text: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *text, line).expect("memory takes everything");
    text.push(b'\n');
}

pub(super) fn file(capture: Capture) -> Response<Body> {
    let parts = stream::unfold(capture, |mut capture| async {
        let part = capture.next().await?;
        Some((part.map(|bytes| Frame::data(bytes.into())), capture))
    });
    let body = StreamBody::new(parts).boxed_unsync();
    answer_of(StatusCode::OK, "application/x-pcapng", body)
}

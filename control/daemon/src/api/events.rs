//! `GET /v1/events`: lines of the audit log, one JSON object a line, and on `follow=true` those that
//! come, until the client hangs up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use ipnet::IpNet;
use tokio::sync::watch;

use super::Body;
use super::routes::Query;
use crate::Error;
use crate::audit::{Audit, Filter, Line};
use crate::brain::Brain;

/// What the query may say.
pub(super) const KEYS: &[&str] = &["after", "limit", "follow", "source", "user", "rule", "id"];

/// Lines that are answered when the client does not say how many.
const DEFAULT_LIMIT: usize = 100;
/// Lines that a follower gets at a time.
const BATCH: usize = 256;

pub(super) fn answer(brain: &Brain, query: &Query) -> Result<Response<Body>, Error> {
    let filter = Filter {
        source: query
            .get::<String>("source")?
            .map(|text| source(&text))
            .transpose()?,
        user: query.get("user")?,
        rule: query.get("rule")?,
        id: query.get("id")?,
    };
    let follow = query.get("follow")?.unwrap_or(false);
    let after: Option<u64> = query.get("after")?;
    let limit: Option<usize> = query.get("limit")?;
    let audit = brain.audit();
    // Subscribed before the lines are read, so that none is missed in between.
    let newest = audit.follow();
    let (lines, seen) = match (after, limit) {
        (Some(after), limit) => audit.after(after, limit.unwrap_or(usize::MAX), &filter),
        (None, limit) => audit.last(limit.unwrap_or(DEFAULT_LIMIT), &filter),
    };
    let body = if follow {
        let follower = Follower {
            audit: Arc::clone(audit),
            filter,
            newest,
            seen,
            waiting: lines.into(),
        };
        StreamBody::new(stream::unfold(follower, Follower::next)).boxed_unsync()
    } else {
        Full::new(text(lines)).boxed_unsync()
    };
    let mut response = Response::new(body);
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, ndjson);
    Ok(response)
}

struct Follower {
    audit: Arc<Audit>,
    filter: Filter,
    newest: watch::Receiver<u64>,
    seen: u64,
    waiting: VecDeque<Arc<Line>>,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Frame<Bytes>, Infallible>, Self)> {
        while self.waiting.is_empty() {
            let seen = self.seen;
            self.newest.wait_for(|newest| *newest > seen).await.ok()?;
            let (lines, seen) = self.audit.after(seen, BATCH, &self.filter);
            self.seen = seen;
            self.waiting = lines.into();
        }
        let lines = std::mem::take(&mut self.waiting);
        Some((Ok(Frame::data(text(lines))), self))
    }
}

fn text(lines: impl IntoIterator<Item = Arc<Line>>) -> Bytes {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.json);
        text.push('\n');
    }
    text.into()
}

fn source(text: &str) -> Result<IpNet, Error> {
    Ok(weir_tables::parse_prefix(text)?.prefix)
}

//! `GET /v1/lists/{name}`: one entry a line, written as they are read by the client, so that a long
//! list takes no memory beside the one that is in force.

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use ipnet::IpNet;
use weir_api::ListDetail;

use super::Body;
use super::answer::answer_of;
use crate::Error;
use crate::brain::Brain;
use crate::generation::Generation;

/// Entries that are written at a time.
const BATCH: usize = 4096;

pub(super) fn answer(
    brain: &Brain,
    name: &str,
    prefix: Option<IpNet>,
    limit: usize,
) -> Result<Response<Body>, Error> {
    let (running, list, summary) = brain.list(name)?;
    let entries = || running.candidate.lists[list].prefixes.iter();
    let matching = entries().filter(|entry| touches(prefix, entry)).count();
    let detail = ListDetail {
        summary,
        matching,
        prefixes: Vec::new(),
    };
    let whole = serde_json::to_string(&detail).expect("a list has string keys");
    let head = whole
        .strip_suffix("]}")
        .expect("its entries are the last field, and there are none yet");
    let rest = Rest {
        head: Some(head.to_owned()),
        running: Arc::clone(&running),
        list,
        prefix,
        next: 0,
        left: limit.min(matching),
        separator: "\n",
        ended: false,
    };
    let body = StreamBody::new(stream::unfold(rest, |rest| async { rest.write() }));
    Ok(answer_of(
        StatusCode::OK,
        "application/json",
        body.boxed_unsync(),
    ))
}

/// One lies in the other.
fn touches(wanted: Option<IpNet>, entry: &IpNet) -> bool {
    wanted.is_none_or(|wanted| wanted.contains(entry) || entry.contains(&wanted))
}

/// What is still to be written of a list.
struct Rest {
    head: Option<String>,
    running: Arc<Generation>,
    list: usize,
    prefix: Option<IpNet>,
    /// The entry to look at next.
    next: usize,
    /// Entries still to be written.
    left: usize,
    separator: &'static str,
    ended: bool,
}

impl Rest {
    fn write(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if self.ended {
            return None;
        }
        let mut text = self.head.take().unwrap_or_default();
        let entries = &self.running.candidate.lists[self.list].prefixes;
        let mut written = 0;
        while self.left > 0 && written < BATCH {
            let Some(entry) = entries.get(self.next) else {
                break;
            };
            self.next += 1;
            if touches(self.prefix, entry) {
                write!(text, "{}\"{entry}\"", self.separator).expect("a String takes everything");
                self.separator = ",\n";
                self.left -= 1;
                written += 1;
            }
        }
        if written < BATCH {
            text.push_str("]}\n");
            self.ended = true;
        }
        Some((Ok(Frame::data(text.into())), self))
    }
}

//! Sign-ins and audits: what came since, with overlap, each once, and no more of it than is to be kept.
//!
//! Graph tells of an event up to an hour late. So each round asks again for the hour before the last event that it
//! knows; an event has the same name each time, and takes its own place. Names begin with the time in seconds, so that
//! the oldest come first.

use std::collections::BTreeMap;

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::broken::Broken;
use super::documents::document;
use super::read::{Ended, Reader};
use crate::decode::Malformed;
use crate::decode::audits::{self, Audit};
use crate::decode::sign_ins::{self, SignIn};
use crate::graph::Ask;
use crate::model::{Page, Part};
use crate::round::Kind;

/// How far back the first round goes.
const FIRST: Duration = Duration::DAY;
/// How late an event may be told.
const LATE: Duration = Duration::HOUR;

/// How a log is asked for.
struct Log<T> {
    part: Part,
    ask: fn(OffsetDateTime) -> Ask,
    decode: fn(&[u8]) -> Result<Page<T>, Malformed>,
    /// When an event was, and its id.
    of: fn(&T) -> (OffsetDateTime, &str),
}

impl Reader {
    pub(super) async fn sign_ins(&self) -> Result<Ended, Broken> {
        self.log(Log::<SignIn> {
            part: Part::SignIns,
            ask: Ask::SignIns,
            decode: sign_ins::decode,
            of: |sign_in| (sign_in.created_date_time, &sign_in.id),
        })
        .await
    }

    pub(super) async fn audits(&self) -> Result<Ended, Broken> {
        self.log(Log::<Audit> {
            part: Part::Audits,
            ask: Ask::Audits,
            decode: audits::decode,
            of: |audit| (audit.activity_date_time, &audit.id),
        })
        .await
    }

    async fn log<T: Serialize>(&self, log: Log<T>) -> Result<Ended, Broken> {
        let part = log.part;
        let link = self.store.link(part)?;
        let last = link
            .as_deref()
            .and_then(|link| OffsetDateTime::parse(link, &Rfc3339).ok());
        // By Microsoft's clock, since theirs are the times in the log.
        let now = self.clock.now() + self.graph.tokens().skew().unwrap_or_default();
        let from = last.map_or(now - FIRST, |last| last - LATE);
        let (mut round, names) = if let Some(link) = link {
            let round = self.store.begin(part, Kind::Delta { link })?;
            (round, self.store.read()?.names(part)?)
        } else {
            let mut round = self.store.begin(part, Kind::Full)?;
            let kept = self.store.read()?.documents(part)?;
            let names = kept.keys().cloned().collect();
            round.documents(kept.into_iter().collect())?;
            (round, names)
        };
        let mut latest = last.unwrap_or(from + LATE);
        let mut read = BTreeMap::new();
        let ask = (log.ask)(from);
        let mut pages = self.pages(&ask, None, log.decode);
        // The newest come first.
        while read.len() < self.keep.entries
            && let Some(page) = pages.next().await?
        {
            for event in page {
                let (at, id) = (log.of)(&event);
                latest = latest.max(at);
                let name = format!("{:012} {id}", at.unix_timestamp());
                let (name, bytes) = document(name, &event)?;
                read.insert(name, bytes);
            }
        }
        let kept = Duration::try_from(self.keep.logs).unwrap_or(Duration::MAX);
        let oldest = now
            .checked_sub(kept)
            .map_or(0, OffsetDateTime::unix_timestamp);
        let oldest = format!("{oldest:012}");
        let new = read
            .keys()
            .filter(|name| names.binary_search(name).is_err());
        let surplus = (names.len() + new.count()).saturating_sub(self.keep.entries);
        let is_over = |(at, name): &(usize, String)| *at < surplus || *name < oldest;
        let over = names.into_iter().enumerate().filter(is_over);
        let over: Vec<String> = over.map(|(_, name)| name).collect();
        read.retain(|name, _| *name >= oldest);
        round.documents(read.into_iter().collect())?;
        round.remove_documents(over)?;
        let link = latest.format(&Rfc3339).map_err(|_| Broken::Unwritten)?;
        Ok(Ended {
            outcome: self.finish(round, Some(link)).await?,
            is_full: false,
            without: Vec::new(),
        })
    }
}

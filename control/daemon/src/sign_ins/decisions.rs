//! Decisions of the audit log that may be of sign-ins.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;
use weir_api::sign_ins::Decided;
use weir_api::{Looked, Record, RecordBody};
use weir_entra::decode::sign_ins::SignIn;
use weir_link::{Event, EventKind};
use weir_policy::Told;

use super::source;
use crate::audit::{Audit, Filter, Reader};
use crate::clock;

/// A decision may be so much earlier than the sign-in that it was part of: somebody looks for a password.
const EARLIER: Duration = Duration::minutes(10);
/// And so much later, as clocks differ.
const LATER: Duration = Duration::minutes(5);
/// Lines that are read at a time.
const BATCH: usize = 1000;
/// So many bytes of the audit log are read at most.
const MOST_BYTES: usize = 128 << 20;
/// So many decisions are kept at most.
const MOST_KEPT: usize = 50_000;
/// Flows that are, or may be, sign-ins.
const FLOWS: [&str; 4] = ["passive", "active", "oauth-browser", "oauth-token"];

/// Decisions that may be of one of some sign-ins, by source.
#[derive(Default)]
pub(super) struct Decisions {
    by_source: HashMap<IpAddr, Vec<Found>>,
    /// How much was read.
    pub(super) looked: Looked,
    /// Up to when it was read, where not all of it was.
    cut_at: Option<OffsetDateTime>,
}

struct Found {
    at: OffsetDateTime,
    /// The user's names, in lower case; none where none is told.
    users: Vec<String>,
    decided: Decided,
}

impl Decisions {
    pub(super) async fn read(
        audit: &Arc<Audit>,
        readers: &Arc<Semaphore>,
        sign_ins: &[SignIn],
    ) -> io::Result<Self> {
        let mut decisions = Self::default();
        let times = || sign_ins.iter().map(|sign_in| sign_in.created_date_time);
        let (Some(first), Some(last)) = (times().min(), times().max()) else {
            return Ok(decisions);
        };
        let since = clock::text(first.saturating_sub(EARLIER));
        let filter = Filter {
            since: Some(since.clone()),
            until: Some(clock::text(last.saturating_add(LATER))),
            ..Filter::default()
        };
        let sources: HashSet<IpAddr> = sign_ins.iter().filter_map(source).collect();
        let newest = audit.newest();
        let mut reader = Reader::new(audit, readers, filter);
        let mut seen = reader.since().await?;
        decisions.looked.oldest = seen + 1;
        decisions.looked.since = Some(since);
        let (mut bytes, mut kept) = (0, 0);
        while seen < newest {
            let part = reader.after(seen, BATCH).await?;
            seen = part.seen;
            bytes += part.text.len();
            let records = part.text.lines();
            let records = records.filter_map(|line| serde_json::from_str::<Record>(line).ok());
            for record in records {
                let RecordBody::Event(event) = record.body else {
                    continue;
                };
                let Some(found) = Found::of(&event) else {
                    continue;
                };
                decisions.cut_at = Some(found.at);
                let peer = event.peer.ip().to_canonical();
                let judged = event.effective_source.map(|it| it.to_canonical());
                let judged = judged.filter(|judged| sources.contains(judged));
                let Some(of) = judged.or_else(|| sources.contains(&peer).then_some(peer)) else {
                    continue;
                };
                kept += 1;
                decisions.by_source.entry(of).or_default().push(found);
            }
            if bytes > MOST_BYTES || kept > MOST_KEPT {
                decisions.looked.cut = true;
                return Ok(decisions);
            }
        }
        decisions.cut_at = None;
        Ok(decisions)
    }

    /// The decision that is most likely of a sign-in.
    pub(super) fn of(&self, sign_in: &SignIn, source: Option<IpAddr>) -> Option<Decided> {
        let at = sign_in.created_date_time;
        let upn = sign_in.user_principal_name.as_deref().unwrap_or_default();
        let names = [upn.to_lowercase(), sign_in.user_id.to_lowercase()];
        let found = self.by_source.get(&source?)?.iter();
        let near = found.filter(|found| (-EARLIER..=LATER).contains(&(found.at - at)));
        let rated = near.filter_map(|found| {
            let names_user = found.users.iter().any(|user| names.contains(user));
            // What is of somebody else is not of this one.
            let may_be = names_user || found.users.is_empty();
            may_be.then_some((!names_user, (found.at - at).abs(), found))
        });
        let (unnamed, _, found) = rated.min_by_key(|(unnamed, apart, _)| (*unnamed, *apart))?;
        Some(Decided {
            names_user: !unnamed,
            ..found.decided.clone()
        })
    }

    /// Whether all of the audit log that may tell of a sign-in was read.
    pub(super) fn reach(&self, sign_in: &SignIn) -> bool {
        self.cut_at
            .is_none_or(|cut| sign_in.created_date_time.saturating_add(LATER) <= cut)
    }
}

impl Found {
    /// What may be a sign-in.
    fn of(event: &Event) -> Option<Self> {
        let flow = event.flow.as_deref().unwrap_or_default();
        let is_one = match event.kind {
            EventKind::Request => FLOWS.contains(&flow),
            EventKind::Tunnel => true,
            EventKind::Refused | EventKind::Upstream => false,
        };
        let at = OffsetDateTime::parse(&event.time, &Rfc3339).ok()?;
        let mut users: Vec<String> = event.stated_user.iter().cloned().collect();
        if let Some(Told::Verified(told)) = event.facts.as_ref().map(|facts| &facts.token) {
            let names = ["upn", "object_id"].iter();
            let values = names.filter_map(|name| told.values.get(*name));
            users.extend(values.flatten().cloned());
        }
        for user in &mut users {
            *user = user.to_lowercase();
        }
        is_one.then(|| Self {
            at,
            users,
            decided: Decided {
                id: event.id.clone(),
                time: event.time.clone(),
                decision: event.decision.clone(),
                rule: event.rule.clone(),
                service: event.service.clone(),
                names_user: false,
            },
        })
    }
}

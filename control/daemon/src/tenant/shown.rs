//! The tenant as people read it: `GET /v1/entra`, and what status says of it.

use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use weir_api::entra as shown;
use weir_entra::health::{self, Finding};
use weir_entra::model::Part;
use weir_entra::store::{Counts, Example, Held, Loses};
use weir_entra::sync::{Came, PartStatus, Synced};
use weir_entra::trust::Remark;

use crate::clock;

/// How something stands.
pub(crate) fn state(state: health::State) -> shown::State {
    match state {
        health::State::Healthy => shown::State::Healthy,
        health::State::Degraded => shown::State::Degraded,
        health::State::Stale => shown::State::Stale,
        health::State::Held => shown::State::Held,
        health::State::NeedsAttention => shown::State::NeedsAttention,
        health::State::Disconnected => shown::State::Disconnected,
    }
}

/// What is to be known.
pub(crate) fn finding(finding: &Finding) -> shown::Finding {
    shown::Finding {
        state: state(finding.state),
        reason: word(&finding.reason),
        title: finding.reason.to_string(),
        part: finding.part.map(|part| part.name().to_owned()),
        code: finding.code.clone(),
        words: finding.words.clone(),
        step: finding.step.clone(),
        request_id: finding.request_id.clone(),
    }
}

pub(crate) fn findings<'a>(all: impl IntoIterator<Item = &'a Finding>) -> Vec<shown::Finding> {
    all.into_iter().map(finding).collect()
}

/// What weir-control itself has to say of the tenant.
pub(crate) fn own(
    state: shown::State,
    reason: &str,
    title: &str,
    words: String,
    step: &str,
) -> shown::Finding {
    shown::Finding {
        state,
        reason: reason.to_owned(),
        title: title.to_owned(),
        part: None,
        code: None,
        words,
        step: step.to_owned(),
        request_id: None,
    }
}

/// How domains of the tenant go with the services here.
pub(crate) fn remark(remark: &Remark) -> shown::Finding {
    let words = match remark.domains.as_slice() {
        [] => remark.words.clone(),
        [one] => format!("{one}: {}", remark.words),
        [one, others @ ..] => format!("{one} and {} more: {}", others.len(), remark.words),
    };
    shown::Finding {
        part: Some(Part::Domains.name().to_owned()),
        ..own(
            state(remark.state),
            &word(&remark.about),
            &remark.about.to_string(),
            words,
            remark.step,
        )
    }
}

/// A part.
pub(crate) fn part(part: Part, status: &PartStatus, now: OffsetDateTime) -> shown::Part {
    let age = status.last_success.map(|at| (now - at).whole_seconds());
    shown::Part {
        part: part.name().to_owned(),
        state: state(status.state),
        current: status.last_success.map(clock::text),
        age_seconds: age.map(|age| u64::try_from(age).unwrap_or(0)),
        tried: status.last_attempt.map(clock::text),
        is_running: status.is_running,
        next_seconds: seconds(status.next_in),
        failures: status.failures,
        findings: findings(&status.findings),
        held: status.held.as_ref().map(held),
    }
}

/// How a part was read.
pub(crate) fn synced(synced: &Synced) -> shown::Synced {
    let (outcome, digest, why) = match &synced.outcome {
        Ok(Came::Committed) => (shown::Outcome::Committed, None, None),
        Ok(Came::Unchanged) => (shown::Outcome::Unchanged, None, None),
        Ok(Came::Held(digest)) => (shown::Outcome::Held, Some(digest.to_string()), None),
        Err(why) => (shown::Outcome::Failed, None, Some(finding(why))),
    };
    shown::Synced {
        part: synced.part.name().to_owned(),
        outcome,
        digest,
        finding: why,
    }
}

fn held(held: &Held) -> shown::Held {
    shown::Held {
        digest: held.digest.to_string(),
        since: clock::text(held.since),
        told: clock::text(held.at),
        whys: held.reasons.iter().map(ToString::to_string).collect(),
        counts: counts(&held.counts),
        examples: held.examples.iter().map(example).collect(),
    }
}

fn counts(counts: &Counts) -> Vec<(String, u64)> {
    [
        ("users that would come, change or be removed", counts.users),
        ("users that would be gone for good", counts.users_purged),
        (
            "groups that would come, change or be removed",
            counts.groups,
        ),
        ("groups that would be gone for good", counts.groups_purged),
        ("memberships that would come or change", counts.edges),
        ("memberships that would end", counts.edges_ended),
        ("documents that would come or change", counts.documents),
        ("documents that would be gone", counts.documents_gone),
    ]
    .into_iter()
    .filter(|(_, number)| *number > 0)
    .map(|(what, number)| (what.to_owned(), number))
    .collect()
}

fn example(example: &Example) -> shown::Example {
    let loses = match &example.loses {
        Loses::User => "is removed".to_owned(),
        Loses::Account => "is disabled".to_owned(),
        Loses::Group => "is removed, as a group".to_owned(),
        Loses::Membership { group, name } if name.is_empty() => {
            format!("is no member of {group} any more")
        }
        Loses::Membership { name, .. } => format!("is no member of `{name}` any more"),
        _ => "loses something".to_owned(),
    };
    shown::Example {
        id: example.id.to_string(),
        name: example.name.clone(),
        loses,
    }
}

/// The word that it is written with.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
}

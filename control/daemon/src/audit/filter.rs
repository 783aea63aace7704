//! Which lines of the audit log are wanted.

use std::net::IpAddr;

use ipnet::IpNet;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use weir_api::RecordBody;
use weir_link::{Event, EventKind};
use weir_policy::Told;

use crate::clock;

/// A line may be written so long after the time that it tells: events wait for the proxy's socket.
const LATE: Duration = Duration::minutes(1);

/// Which lines are wanted; each condition that is set must hold. Administrative acts have a kind and a
/// time only, and match when nothing else is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The peer or the effective source lies in it.
    pub source: Option<IpNet>,
    /// The stated user, ignoring case; `@domain` for all of a domain.
    pub user: Option<String>,
    /// The rule that decided: `SET/NAME`, `SET/` for all of a set, `*` for any text.
    pub rule: Option<String>,
    /// The reference id.
    pub id: Option<String>,
    /// `pass`, `redirect`, `block`, `step-up` or `refuse`.
    pub decision: Option<String>,
    /// Name of the service.
    pub service: Option<String>,
    /// `request`, `tunnel`, `refused`, `upstream`, or `change` for administrative acts.
    pub kind: Option<String>,
    /// At this time or later; RFC 3339, UTC, milliseconds.
    pub since: Option<String>,
    /// Before this time.
    pub until: Option<String>,
    /// A verified token told of this user: by user principal name, mail address, name id, or
    /// `TENANT/OBJECT`, ignoring case.
    pub told_of: Option<String>,
}

impl Filter {
    /// Whether a line is wanted.
    pub fn matches(&self, body: &RecordBody) -> bool {
        match body {
            RecordBody::Event(event) => self.takes_event(event),
            RecordBody::Change(change) => {
                let of_events = self.source.is_some()
                    || self.told_of.is_some()
                    || [
                        &self.user,
                        &self.rule,
                        &self.id,
                        &self.decision,
                        &self.service,
                    ]
                    .into_iter()
                    .any(Option::is_some);
                !of_events && self.takes_kind("change") && self.takes_time(&change.time)
            }
        }
    }

    /// What was written before this time is of before `since`, also when it was written late.
    pub fn early(&self) -> Option<String> {
        let since = OffsetDateTime::parse(self.since.as_ref()?, &Rfc3339).ok()?;
        Some(clock::text(since.checked_sub(LATE)?))
    }

    /// Whether a line may be wanted, by its text alone: reading every line of long files costs more.
    pub(super) fn may_match(&self, json: &str) -> bool {
        let holds = |key: &str, value: &Option<String>| {
            value.as_ref().is_none_or(|value| {
                let value = serde_json::Value::from(value.as_str());
                json.contains(&format!("\"{key}\":{value}"))
            })
        };
        holds("id", &self.id)
            && holds("service", &self.service)
            && holds("decision", &self.decision)
            && holds("kind", &self.kind)
            && (self.told_of.is_none() || json.contains("\"told\":\"verified\""))
    }

    fn takes_event(&self, event: &Event) -> bool {
        let from = |net: &IpNet| {
            let holds = |address: IpAddr| net.contains(&address.to_canonical());
            holds(event.peer.ip()) || event.effective_source.is_some_and(holds)
        };
        let user = event.stated_user.as_deref().unwrap_or_default();
        self.source.as_ref().is_none_or(from)
            && self
                .user
                .as_ref()
                .is_none_or(|wanted| is_user(user, wanted))
            && self
                .rule
                .as_ref()
                .is_none_or(|wanted| is_rule(&event.rule, wanted))
            && self
                .told_of
                .as_ref()
                .is_none_or(|wanted| tells_of(event, wanted))
            && self.id.as_ref().is_none_or(|wanted| event.id == *wanted)
            && self
                .decision
                .as_ref()
                .is_none_or(|wanted| event.decision == *wanted)
            && (self.service.is_none() || self.service == event.service)
            && self.takes_kind(kind(event.kind))
            && self.takes_time(&event.time)
    }

    fn takes_kind(&self, kind: &str) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }

    /// Times of one form are in the order of their text.
    fn takes_time(&self, time: &str) -> bool {
        self.since
            .as_ref()
            .is_none_or(|since| time >= since.as_str())
            && self
                .until
                .as_ref()
                .is_none_or(|until| time < until.as_str())
    }
}

fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Request => "request",
        EventKind::Tunnel => "tunnel",
        EventKind::Refused => "refused",
        EventKind::Upstream => "upstream",
    }
}

fn is_user(user: &str, wanted: &str) -> bool {
    let (user, wanted) = (user.to_lowercase(), wanted.to_lowercase());
    if wanted.starts_with('@') {
        user.ends_with(&wanted)
    } else {
        user == wanted
    }
}

/// Whether a verified token told of this user.
fn tells_of(event: &Event, wanted: &str) -> bool {
    let Some(Told::Verified(told)) = event.facts.as_ref().map(|facts| &facts.token) else {
        return false;
    };
    let wanted = wanted.to_lowercase();
    let is_named = |name: &str, value: &str| {
        let values = told.values.get(name);
        values.is_some_and(|values| values.iter().any(|it| it.to_lowercase() == value))
    };
    let by_name = ["upn", "email", "name_id"];
    by_name.iter().any(|name| is_named(name, &wanted))
        || wanted.split_once('/').is_some_and(|(tenant, object)| {
            is_named("tenant_id", tenant) && is_named("object_id", object)
        })
}

fn is_rule(rule: &str, wanted: &str) -> bool {
    if wanted.ends_with('/') {
        rule.starts_with(wanted)
    } else {
        fits(rule.as_bytes(), wanted.as_bytes())
    }
}

/// Whether a text fits a pattern in which `*` stands for any text. Takes at most the product of their
/// lengths in steps.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    // Behind the last `*`, and where its text ends so far.
    let mut star = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                in_pattern += 1;
                star = Some((in_pattern, at));
            }
            Some(byte) if *byte == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((behind, end)) = star else {
                    return false;
                };
                star = Some((behind, end + 1));
                (at, in_pattern) = (end + 1, behind);
            }
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let fits = |text: &str, pattern: &str| fits(text.as_bytes(), pattern.as_bytes());
        assert!(fits("office365-strict/native-relay", "*/native-*"));
        assert!(fits("office365/native", "office365/native"));
        assert!(fits("rule/vip", "*"));
        assert!(fits("", "**"));
        assert!(fits("aab", "*ab"));
        assert!(!fits("office365/native", "office365/nat"));
        assert!(!fits("office365/native", "*x*"));
        assert!(!fits("", "a*"));
    }
}

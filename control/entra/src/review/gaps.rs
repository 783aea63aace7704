//! The head of an export: what it is of, where it is from, and what is missing from it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::row::written;
use super::{Moment, ReviewError, What};
use crate::decode::organisation::{Licence, Organisation};
use crate::model::{Id, Part, Text};
use crate::store::{Chain, Gap, PartState, Store};

/// What an export is of. Times are RFC 3339, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// As of when, or the end of the period.
    pub as_of: String,
    /// The beginning of the period, of joiners and leavers.
    pub from: Option<String>,
    /// Times for which it is not known when what changed.
    pub gaps: Vec<Missing>,
    /// Hash of the journal's last entry, when the export was made; none when the journal is broken.
    pub journal: Option<String>,
    /// So many entries has the journal.
    pub journal_entries: u64,
    /// Where it is from.
    pub sources: Vec<Source>,
    /// When the export was made.
    pub taken: String,
    /// Of which tenant.
    pub tenant: Id,
    /// The version of Weir that made it.
    pub tool: String,
    /// What is not known, and why. Unknown is not none.
    pub unknown: Vec<Unread>,
    /// Of what.
    pub what: What,
}

/// A part of the directory, and how current it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Why it is not read now, if it is not.
    pub failure: Option<String>,
    /// Changes wait for a person.
    pub held: bool,
    /// When it was last known to be current, at the time when the export was made.
    pub last_success: Option<String>,
    /// Which.
    pub part: Part,
    /// Since when there is evidence.
    pub since: Option<String>,
}

/// A time for which it is not known when what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// When the part was last current before; none where it never was.
    pub from: Option<String>,
    /// Of which part.
    pub part: Part,
    /// Why: the code of a failure, or `held`.
    pub reason: String,
    /// When it was current again; none where it is not yet.
    pub until: Option<String>,
}

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unread {
    /// Of which part.
    pub part: Part,
    /// Why.
    pub why: String,
}

/// The head of what is shown of a moment; `now` is when.
pub fn head(
    store: &Store,
    moment: &Moment,
    tenant: Id,
    what: What,
    now: OffsetDateTime,
) -> Result<Head, ReviewError> {
    let gaps = store.gaps(moment.at(), moment.at())?;
    compose(store, moment, (tenant, what), None, gaps, now)
}

/// The head of joiners or leavers from one time to another.
pub fn head_between(
    store: &Store,
    [from, until]: [OffsetDateTime; 2],
    tenant: Id,
    what: What,
    now: OffsetDateTime,
) -> Result<Head, ReviewError> {
    if until < from {
        return Err(ReviewError::Backwards);
    }
    let moment = Moment::as_of(store, until)?;
    let gaps = store.gaps(from, until)?;
    compose(store, &moment, (tenant, what), Some(from), gaps, now)
}

fn compose(
    store: &Store,
    moment: &Moment,
    (tenant, what): (Id, What),
    from: Option<OffsetDateTime>,
    gaps: Vec<Gap>,
    now: OffsetDateTime,
) -> Result<Head, ReviewError> {
    let parts = parts(what);
    let state = |part: Part| moment.parts().get(&part).cloned().unwrap_or_default();
    let (journal, journal_entries) = match store.verify()? {
        Chain::Whole { entries, head } => (Some(head.to_string()), entries),
        Chain::Broken { number } => (None, number.saturating_sub(1)),
    };
    let mut unknown = Vec::new();
    for part in parts {
        unknown.extend(unread(store, moment, *part, from, &state(*part))?);
    }
    if parts.contains(&Part::Groups) {
        unknown.extend(hidden(moment)?);
    }
    let gaps = gaps.into_iter().filter(|gap| parts.contains(&gap.part));
    Ok(Head {
        as_of: written(moment.at()),
        from: from.map(written),
        gaps: gaps.map(Missing::of).collect(),
        journal,
        journal_entries,
        sources: parts
            .iter()
            .map(|part| Source::of(*part, state(*part)))
            .collect(),
        taken: written(now),
        tenant,
        tool: format!("weir {}", env!("CARGO_PKG_VERSION")),
        unknown,
        what,
    })
}

/// The parts that an export is made of.
const fn parts(what: What) -> &'static [Part] {
    match what {
        What::Access => &[
            Part::Users,
            Part::Groups,
            Part::Roles,
            Part::ConditionalAccess,
            Part::Registrations,
            Part::SignIns,
        ],
        What::Joiners | What::Leavers => &[Part::Users, Part::Groups, Part::Roles, Part::Audits],
        What::Posture => &[
            Part::Users,
            Part::Groups,
            Part::Roles,
            Part::ConditionalAccess,
            Part::Locations,
            Part::Methods,
            Part::SecurityDefaults,
            Part::Domains,
            Part::Registrations,
            Part::SignIns,
        ],
    }
}

impl Source {
    fn of(part: Part, state: PartState) -> Self {
        Self {
            failure: state.failure.map(|failure| failure.code),
            held: state.held.is_some(),
            last_success: state.last_success.map(written),
            part,
            since: state.since.map(written),
        }
    }
}

impl Missing {
    fn of(gap: Gap) -> Self {
        Self {
            from: gap.from.map(written),
            part: gap.part,
            reason: gap.code,
            until: gap.until.map(written),
        }
    }
}

/// Why nothing is known of a part, or not of all of the period.
fn unread(
    store: &Store,
    moment: &Moment,
    part: Part,
    from: Option<OffsetDateTime>,
    state: &PartState,
) -> Result<Option<Unread>, ReviewError> {
    let why = match (state.since, &state.failure) {
        (None, Some(failure)) => {
            let licence = match (part, licence(moment)?) {
                (
                    Part::ConditionalAccess | Part::Registrations | Part::SignIns | Part::Roles,
                    Some(Licence::Free),
                ) => "; the tenant has neither P1 nor P2, which this may need",
                _ => "",
            };
            format!("never read: {}{licence}", failure.code)
        }
        (None, None) => "never read".to_owned(),
        (Some(since), _) if !moment.is_known(part) => {
            format!(
                "no evidence at that time; it was first read at {}, or the journal before was removed",
                written(since)
            )
        }
        (Some(since), _) => {
            let Some(from) = from.filter(|_| part != Part::Audits) else {
                return Ok(None);
            };
            if Moment::as_of(store, from)?.is_known(part) {
                return Ok(None);
            }
            format!(
                "no evidence at the beginning of the period; it was first read at {}, or the journal before was removed",
                written(since)
            )
        }
    };
    Ok(Some(Unread { part, why }))
}

/// What the tenant has licences for, where that is known.
fn licence(moment: &Moment) -> Result<Option<Licence>, ReviewError> {
    let all: Option<Vec<(_, Organisation)>> = super::documents::all(moment, Part::Organisation)?;
    let organisation = all.into_iter().flatten().next();
    Ok(organisation.map(|(_, organisation)| organisation.licence()))
}

/// Groups whose members may be hidden.
fn hidden(moment: &Moment) -> Result<Option<Unread>, ReviewError> {
    if !moment.is_known(Part::Groups) {
        return Ok(None);
    }
    let mut hidden = 0_u64;
    for group in moment.view().groups()? {
        let (_, group) = group?;
        let visibility = group.texts.get(&Text::Visibility);
        let hides = visibility.is_some_and(|text| text.eq_ignore_ascii_case("HiddenMembership"));
        hidden += u64::from(hides && group.gone.is_none());
    }
    Ok((hidden > 0).then(|| Unread {
        part: Part::Groups,
        why: format!(
            "groups that hide their members: {hidden}; members that the tenant does not tell are missing"
        ),
    }))
}

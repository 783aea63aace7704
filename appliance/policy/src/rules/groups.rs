//! Groups: by id of Entra, by security identifier, or by name.

use crate::TokenFacts;

/// The claim that names groups.
pub(crate) const CLAIM: &str = "groups";

/// A group that a rule names.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(super) kind: Kind,
    /// As the rule has it.
    pub(super) written: String,
    /// As it is compared.
    pub(super) folded: String,
    any_case: bool,
}

/// How a group is named. A token that names groups one way says nothing of one that is named another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Id,
    Sid,
    Name,
}

impl Group {
    pub(crate) fn new(written: &str, any_case: bool) -> Self {
        Self {
            kind: kind(written),
            written: written.to_owned(),
            folded: folded(written, any_case),
            any_case,
        }
    }
}

/// Whether the token names the group; and whether, if it does not, the user is not in it for certain.
pub(super) fn of(told: &TokenFacts, wanted: &Group) -> (bool, bool) {
    let Some(groups) = told.values.get(CLAIM) else {
        return (false, false);
    };
    let named = groups
        .iter()
        .any(|group| is(group, &wanted.folded, wanted.any_case));
    (named, is_complete(told, wanted.kind))
}

/// Whether the token names every group that is named in this way.
pub(super) fn is_complete(told: &TokenFacts, wanted: Kind) -> bool {
    let Some(groups) = told.values.get(CLAIM) else {
        return false;
    };
    !told.missing.contains(CLAIM)
        && (groups.is_empty() || groups.iter().any(|group| kind(group) == wanted))
}

/// Ids and security identifiers are the same whatever their case; names only where the policy says so.
fn folded(group: &str, any_case: bool) -> String {
    if any_case || kind(group) != Kind::Name {
        group.to_lowercase()
    } else {
        group.to_owned()
    }
}

fn is(group: &str, wanted: &str, any_case: bool) -> bool {
    group == wanted
        || group.len() == wanted.len() && folded(group, any_case) == wanted
        || any_case && group.to_lowercase() == wanted
}

fn kind(group: &str) -> Kind {
    let bytes = group.as_bytes();
    let is_id = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| {
            if matches!(at, 8 | 13 | 18 | 23) {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            }
        });
    if is_id {
        Kind::Id
    } else if bytes.len() > 4 && bytes[..4].eq_ignore_ascii_case(b"S-1-") {
        Kind::Sid
    } else {
        Kind::Name
    }
}

//! Groups: by id of Entra, by security identifier, or by name.

use std::cell::OnceCell;

use super::hash::end;
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
    /// Number of its end.
    end: u64,
    /// Its number for the directory.
    pub(super) number: u32,
}

/// The groups that a token names, made ready to be asked for.
#[derive(Clone, Debug)]
pub(super) struct Named<'a> {
    groups: &'a [String],
    /// Numbers of their ends.
    ends: Vec<u64>,
    /// Whether the token names groups, and none was left out.
    all: bool,
    /// Whether there is one of each kind, once somebody asked.
    kinds: [OnceCell<bool>; 3],
}

/// How a group is named. A token that names groups one way says nothing of one that is named another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Id,
    Sid,
    Name,
}

impl Group {
    pub(crate) fn new(written: &str, any_case: bool, number: u32) -> Self {
        let folded = folded(written, any_case);
        Self {
            kind: kind(written),
            written: written.to_owned(),
            end: end(&folded),
            folded,
            any_case,
            number,
        }
    }
}

impl<'a> Named<'a> {
    pub(super) fn new(told: &'a TokenFacts) -> Self {
        let groups = told.values.get(CLAIM);
        let all = groups.is_some() && !told.missing.contains(CLAIM);
        let groups = groups.map_or(&[][..], Vec::as_slice);
        Self {
            groups,
            ends: groups.iter().map(|group| end(group)).collect(),
            all,
            kinds: Default::default(),
        }
    }

    /// Whether the token names the group.
    pub(super) fn has(&self, wanted: &Group) -> bool {
        let mut alike = self.ends.iter().zip(self.groups);
        alike.any(|(end, group)| *end == wanted.end && is(group, &wanted.folded, wanted.any_case))
    }

    /// Whether the token names every group that is named in this way.
    pub(super) fn has_all(&self, wanted: Kind) -> bool {
        let is_there = || self.groups.iter().any(|group| kind(group) == wanted);
        self.all && (self.groups.is_empty() || *self.kinds[wanted as usize].get_or_init(is_there))
    }

    /// Tells each group, after the number of its end.
    pub(super) fn each(&self, mut tell: impl FnMut(u64, &str)) {
        for (end, group) in self.ends.iter().zip(self.groups) {
            tell(*end, group);
        }
    }
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
    /// Where an id has a hyphen.
    const HYPHENS: [bool; 36] = {
        let mut all = [false; 36];
        (all[8], all[13], all[18], all[23]) = (true, true, true, true);
        all
    };
    let bytes = group.as_bytes();
    // Without a branch, so that many bytes are looked at in one step.
    let is_id = <&[u8; 36]>::try_from(bytes).is_ok_and(|bytes| {
        let pairs = bytes.iter().zip(&HYPHENS);
        pairs.fold(true, |so_far, (byte, is_hyphen)| {
            let fits = if *is_hyphen {
                *byte == b'-'
            } else {
                byte.is_ascii_hexdigit()
            };
            so_far & fits
        })
    });
    if is_id {
        Kind::Id
    } else if bytes.len() > 4 && bytes[..4].eq_ignore_ascii_case(b"S-1-") {
        Kind::Sid
    } else {
        Kind::Name
    }
}

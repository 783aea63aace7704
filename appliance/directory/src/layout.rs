//! Where everything lies. All numbers are little-endian.
//!
//! A header of [`HEADER`] bytes, and behind it the sections in the order of [`Section::ALL`], without gaps. Their
//! lengths follow from the counts of the header, so there is no offset that could be wrong. A text is named by its
//! number from 1; 0 is none.

use std::ops::Range;

use uuid::Uuid;

use crate::attribute::Attribute;
use crate::fold::Index;

/// Version of the layout; bytes of another version are refused.
pub const VERSION: u32 = 1;

pub(crate) const MAGIC: &[u8; 8] = b"weir-dir";
/// Length of the header, in bytes.
pub(crate) const HEADER: usize = 128;
/// For a time that is not there.
pub(crate) const NEVER: i64 = i64::MIN;

/// A part of the tenant that is synced for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Users and what is written of them.
    Users,
    /// Groups and their members.
    Groups,
    /// Who holds which role.
    Roles,
}

/// What a snapshot is of. Times are seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The tenant.
    pub tenant: Uuid,
    /// Grows with every snapshot that is written of a tenant.
    pub epoch: u64,
    /// When it was written.
    pub taken_at: i64,
    /// When each [`Part`] was last seen to be as it is here, in their order; `None` if it never was.
    pub checked: [Option<i64>; 3],
}

impl Head {
    /// When a part was last seen to be as it is here.
    pub fn checked(&self, part: Part) -> Option<i64> {
        self.checked[part as usize]
    }
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) users: u32,
    pub(crate) groups: u32,
    pub(crate) roles: u32,
    pub(crate) sets: u32,
    /// Groups in all sets together.
    pub(crate) memberships: u32,
    /// Roles that users hold.
    pub(crate) held: u32,
    pub(crate) texts: u32,
    /// Names in each [`Index`].
    pub(crate) names: [u32; 4],
    /// Bytes of all texts together.
    pub(crate) text_bytes: u32,
}

/// A run of records of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Object ids of users, in order.
    UserIds,
    /// Whether each user may sign in: [`ENABLED`].
    UserFlags,
    /// The set of groups that each user is in.
    UserSets,
    /// Attributes: for each of [`Attribute::ALL`] a text of each user.
    Columns,
    /// Where each set begins in [`Section::Sets`], and where the last one ends.
    SetStarts,
    /// Numbers of groups, in order within a set.
    Sets,
    /// Object ids of groups, in order.
    GroupIds,
    /// What is known of each group: [`COMPLETE`].
    GroupFlags,
    /// The name of each group.
    GroupNames,
    /// Ids of roles, in order.
    RoleIds,
    /// The name of each role.
    RoleNames,
    /// Who holds which role from when until when, in order.
    Held,
    /// The number of a name and who bears it, in order; one section for each [`Index`].
    Names(Index),
    /// Where each text begins in [`Section::Texts`], and where the last one ends.
    TextStarts,
    /// All texts, one behind the other.
    Texts,
}

/// How many sections there are.
pub(crate) const SECTIONS: usize = 18;

/// Lengths of records.
pub(crate) const ID: usize = 16;
pub(crate) const NUMBER: usize = 4;
pub(crate) const HELD: usize = 24;
pub(crate) const NAMED: usize = 12;

/// Bits of a user's flags that say whether it may sign in: unknown, no, yes.
pub(crate) const ENABLED: u8 = 0b11;
/// Bit of a group's flags: all of its members are known.
pub(crate) const COMPLETE: u8 = 0b1;

impl Section {
    pub(crate) const ALL: [Self; SECTIONS] = [
        Self::UserIds,
        Self::UserFlags,
        Self::UserSets,
        Self::Columns,
        Self::SetStarts,
        Self::Sets,
        Self::GroupIds,
        Self::GroupFlags,
        Self::GroupNames,
        Self::RoleIds,
        Self::RoleNames,
        Self::Held,
        Self::Names(Index::Upn),
        Self::Names(Index::ImmutableId),
        Self::Names(Index::Sid),
        Self::Names(Index::GroupName),
        Self::TextStarts,
        Self::Texts,
    ];

    const fn at(self) -> usize {
        match self {
            Self::UserIds => 0,
            Self::UserFlags => 1,
            Self::UserSets => 2,
            Self::Columns => 3,
            Self::SetStarts => 4,
            Self::Sets => 5,
            Self::GroupIds => 6,
            Self::GroupFlags => 7,
            Self::GroupNames => 8,
            Self::RoleIds => 9,
            Self::RoleNames => 10,
            Self::Held => 11,
            Self::Names(index) => 12 + index as usize,
            Self::TextStarts => 16,
            Self::Texts => 17,
        }
    }

    /// Its length in bytes; no count overflows it.
    fn length(self, counts: &Counts) -> u64 {
        let (count, record) = match self {
            Self::UserIds => (counts.users, ID),
            Self::UserFlags => (counts.users, 1),
            Self::UserSets => (counts.users, NUMBER),
            Self::Columns => (counts.users, NUMBER * Attribute::ALL.len()),
            Self::SetStarts => return (u64::from(counts.sets) + 1) * NUMBER as u64,
            Self::Sets => (counts.memberships, NUMBER),
            Self::GroupIds => (counts.groups, ID),
            Self::GroupFlags => (counts.groups, 1),
            Self::GroupNames => (counts.groups, NUMBER),
            Self::RoleIds => (counts.roles, ID),
            Self::RoleNames => (counts.roles, NUMBER),
            Self::Held => (counts.held, HELD),
            Self::Names(index) => (counts.names[index as usize], NAMED),
            Self::TextStarts => return (u64::from(counts.texts) + 1) * NUMBER as u64,
            Self::Texts => (counts.text_bytes, 1),
        };
        u64::from(count) * record as u64
    }
}

/// Where each section begins, and where the last one ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) counts: Counts,
    starts: [usize; SECTIONS + 1],
}

impl Layout {
    /// `None` when so much fits into no memory.
    pub(crate) fn of(counts: Counts) -> Option<Self> {
        let mut starts = [HEADER; SECTIONS + 1];
        for section in Section::ALL {
            let at = section.at();
            let length = usize::try_from(section.length(&counts)).ok()?;
            starts[at + 1] = starts[at].checked_add(length)?;
        }
        Some(Self { counts, starts })
    }

    pub(crate) fn range(&self, section: Section) -> Range<usize> {
        self.starts[section.at()]..self.starts[section.at() + 1]
    }

    /// Length of everything, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.starts[SECTIONS]
    }
}

/// The header.
pub(crate) fn header(head: &Head, layout: &Layout) -> Vec<u8> {
    let counts = &layout.counts;
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    bytes.extend_from_slice(&(layout.length() as u64).to_le_bytes());
    bytes.extend_from_slice(head.tenant.as_bytes());
    bytes.extend_from_slice(&head.epoch.to_le_bytes());
    bytes.extend_from_slice(&head.taken_at.to_le_bytes());
    for checked in head.checked {
        bytes.extend_from_slice(&checked.unwrap_or(NEVER).to_le_bytes());
    }
    let [upns, immutable_ids, sids, groups] = counts.names;
    for count in [
        counts.users,
        counts.groups,
        counts.roles,
        counts.sets,
        counts.memberships,
        counts.held,
        counts.texts,
        upns,
        immutable_ids,
        sids,
        groups,
        counts.text_bytes,
    ] {
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    bytes
}

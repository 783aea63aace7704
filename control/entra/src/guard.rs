//! Judges what a round takes away: what is few is a day's work, what is many may be a fault. Pure.
//!
//! In: what the round would take ([`Loss`]), and how much is too much ([`Limits`]). Out: the reasons for which
//! a person is to look first ([`Reason`]); none, and the round is committed.
//!
//! A round is held when it
//! 1. removes more users than [`Limits::users`] lets pass: soft-deleted, deleted for good, or no longer there
//!    in a full round;
//! 2. disables more accounts than [`Limits::disabled`] lets pass;
//! 3. removes more groups than [`Limits::groups`] lets pass;
//! 4. removes more members from groups, over all groups, than [`Limits::edges`] lets pass;
//! 5. takes more than [`Limits::watched_percent`] of the members of a watched group, or the last of them, or
//!    the group; unless all that the round takes out of watched groups is the same
//!    [`Limits::watched_people`] people, who are people and not groups;
//! 6. leaves a polled part empty that was not.
//!
//! The first complete sync of a part is not judged, because there is nothing yet to lose, nor is what a person
//! approved.
//!
//! **Revocations of few people never wait.** Of a round that is held, this is applied at once, and the rest is
//! held:
//! - that an account is disabled, unless reason 2 is among the reasons;
//! - that a user is deleted, if the tenant said so (not being there in a full round is no statement), unless
//!   reason 1 is among the reasons, or they are a member of a group for which reason 5 holds the round;
//! - that sessions from before a moment are void, for no more users than rule 2 lets pass;
//! - that somebody (not a group) is a member no more, if a delta said so of a group that stays, unless reason 4
//!   is among the reasons, or reason 5 for that group, or the group is a denying one;
//! - that somebody is now a member of a denying group ([`Watched::denying`]), for no more members than rule 2
//!   lets pass of users.
//!
//! Whatever gives rights, and all other changes of the round, wait with what tripped: an answer that is in
//! doubt is in doubt as a whole.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Id;

/// How many of how many are still few: as many as `floor`, or as `percent` of those before, whichever is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// So many are few, however small the tenant is.
    pub floor: u64,
    /// So many in a hundred are few.
    pub percent: u64,
}

impl Share {
    /// Whether `count` of `before` is more than few.
    pub const fn is_exceeded(self, count: u64, before: u64) -> bool {
        count > self.floor && count as u128 * 100 > before as u128 * self.percent as u128
    }
}

/// How much a round may take without being held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Users removed, of those that are live.
    pub users: Share,
    /// Accounts disabled, of the users that are live.
    pub disabled: Share,
    /// Groups removed, of those that are live.
    pub groups: Share,
    /// Members removed from groups, of all memberships.
    pub edges: Share,
    /// A watched group may lose so many of a hundred members.
    pub watched_percent: u64,
    /// So many people may leave watched groups, whatever share of these they are.
    pub watched_people: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let few = Share {
            floor: 10,
            percent: 5,
        };
        Self {
            users: few,
            disabled: few,
            groups: few,
            edges: Share {
                floor: 100,
                percent: 10,
            },
            watched_percent: 30,
            watched_people: 1,
        }
    }
}

impl Limits {
    /// Limits that nothing exceeds: what becomes empty is held still.
    pub const fn none() -> Self {
        let all = Share {
            floor: u64::MAX,
            percent: 100,
        };
        Self {
            users: all,
            disabled: all,
            groups: all,
            edges: all,
            watched_percent: u64::MAX,
            watched_people: u64::MAX,
        }
    }
}

/// The groups on which much depends. Direct members are counted: name also the groups that are nested in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Groups that rules name, whatever for.
    pub groups: BTreeSet<Id>,
    /// Of these, those whose members are denied something: to become a member is a revocation, to be one no
    /// more is a right.
    pub denying: BTreeSet<Id>,
}

/// What a round is judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    /// How much is too much.
    pub limits: Limits,
    /// Where to look closely.
    pub watched: Watched,
}

/// What a round takes away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Users that are live before it.
    pub users: u64,
    /// Users that are live before it, and not after.
    pub users_removed: u64,
    /// Users that are live before and after it, and disabled only after.
    pub users_disabled: u64,
    /// Groups that are live before it.
    pub groups: u64,
    /// Groups that are live before it, and not after.
    pub groups_removed: u64,
    /// Memberships before it.
    pub edges: u64,
    /// Memberships before it that are none after.
    pub edges_removed: u64,
    /// Watched groups that lose members.
    pub watched: Vec<WatchedLoss>,
    /// Documents before it, where it replaces them.
    pub documents: u64,
    /// Documents after it, where it replaces them.
    pub documents_after: u64,
}

/// What a round takes from a watched group. Members count when they are live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedLoss {
    /// The group.
    pub group: Id,
    /// Its name, if it has one.
    pub name: String,
    /// Members before.
    pub before: u64,
    /// Members after.
    pub after: u64,
    /// People who are members before, and not after.
    pub people: BTreeSet<Id>,
    /// Whether it loses what is no person: a group in it, or itself.
    pub more_than_people: bool,
    /// Members before that are none after.
    pub lost: u64,
}

/// Why a round is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Reason {
    /// Too many users are removed.
    UsersRemoved {
        /// How many.
        removed: u64,
        /// Of how many.
        of: u64,
    },
    /// Too many accounts are disabled.
    UsersDisabled {
        /// How many.
        disabled: u64,
        /// Of how many.
        of: u64,
    },
    /// Too many groups are removed.
    GroupsRemoved {
        /// How many.
        removed: u64,
        /// Of how many.
        of: u64,
    },
    /// Too many memberships end.
    EdgesRemoved {
        /// How many.
        removed: u64,
        /// Of how many.
        of: u64,
    },
    /// A watched group loses too many members.
    Watched {
        /// The group.
        group: Id,
        /// Its name, if it has one.
        name: String,
        /// Members before that are none after.
        lost: u64,
        /// Members before.
        before: u64,
        /// Members after.
        after: u64,
    },
    /// A polled part is empty, and was not.
    Emptied {
        /// How many documents it had.
        before: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsersRemoved { removed, of } => write!(f, "{removed} of {of} users are removed"),
            Self::UsersDisabled { disabled, of } => {
                write!(f, "{disabled} of {of} accounts are disabled")
            }
            Self::GroupsRemoved { removed, of } => {
                write!(f, "{removed} of {of} groups are removed")
            }
            Self::EdgesRemoved { removed, of } => {
                write!(f, "{removed} of {of} memberships end")
            }
            Self::Watched {
                group,
                name,
                lost,
                before,
                after,
            } => write!(
                f,
                "group {name:?} ({group}) loses {lost} of {before} members, and has {after}"
            ),
            Self::Emptied { before } => write!(f, "nothing is left of {before} documents"),
        }
    }
}

/// Why a round that takes this is to be held; empty when it is not.
pub fn judge(limits: &Limits, loss: &Loss) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if limits.users.is_exceeded(loss.users_removed, loss.users) {
        reasons.push(Reason::UsersRemoved {
            removed: loss.users_removed,
            of: loss.users,
        });
    }
    if limits.disabled.is_exceeded(loss.users_disabled, loss.users) {
        reasons.push(Reason::UsersDisabled {
            disabled: loss.users_disabled,
            of: loss.users,
        });
    }
    if limits.groups.is_exceeded(loss.groups_removed, loss.groups) {
        reasons.push(Reason::GroupsRemoved {
            removed: loss.groups_removed,
            of: loss.groups,
        });
    }
    if limits.edges.is_exceeded(loss.edges_removed, loss.edges) {
        reasons.push(Reason::EdgesRemoved {
            removed: loss.edges_removed,
            of: loss.edges,
        });
    }
    if !is_few_people(limits, &loss.watched) {
        reasons.extend(loss.watched.iter().filter_map(|loss| watched(limits, loss)));
    }
    if loss.documents > 0 && loss.documents_after == 0 {
        reasons.push(Reason::Emptied {
            before: loss.documents,
        });
    }
    reasons
}

fn is_few_people(limits: &Limits, losses: &[WatchedLoss]) -> bool {
    let people: BTreeSet<Id> = losses
        .iter()
        .flat_map(|loss| &loss.people)
        .copied()
        .collect();
    people.len() as u64 <= limits.watched_people && !losses.iter().any(|loss| loss.more_than_people)
}

fn watched(limits: &Limits, loss: &WatchedLoss) -> Option<Reason> {
    let share = Share {
        floor: 0,
        percent: limits.watched_percent,
    };
    let share = share.is_exceeded(loss.lost, loss.before);
    (loss.lost > 0 && (share || loss.after == 0)).then(|| Reason::Watched {
        group: loss.group,
        name: loss.name.clone(),
        lost: loss.lost,
        before: loss.before,
        after: loss.after,
    })
}

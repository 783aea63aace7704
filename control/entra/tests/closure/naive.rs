//! A directory as a person would keep it: three tables, and everything found by looking at all of them again.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;
use weir_entra::closure::Closure;
use weir_entra::model::{Changes, Group, Id, MemberKind, Text, User};

/// What is kept.
#[derive(Clone, Debug, Default)]
pub struct Naive {
    pub users: BTreeMap<Id, User>,
    pub groups: BTreeMap<Id, Group>,
    pub edges: BTreeMap<(Id, Id), MemberKind>,
}

pub fn user_id(number: u32) -> Id {
    Id::from_u128(0x1000_0000_0000 + u128::from(number))
}

pub fn group_id(number: u32) -> Id {
    Id::from_u128(0x2000_0000_0000 + u128::from(number))
}

pub fn user(enabled: Option<bool>) -> User {
    User {
        enabled,
        ..User::default()
    }
}

pub fn gone_user() -> User {
    User {
        gone: Some(OffsetDateTime::UNIX_EPOCH),
        ..user(Some(true))
    }
}

pub fn gone_group() -> Group {
    Group {
        gone: Some(OffsetDateTime::UNIX_EPOCH),
        ..Group::default()
    }
}

/// A group whose members may not be read by everybody.
pub fn hidden_group() -> Group {
    Group {
        texts: BTreeMap::from([(Text::Visibility, "HiddenMembership".to_owned())]),
        ..Group::default()
    }
}

impl Naive {
    pub fn apply(&mut self, changes: &Changes) {
        for (id, user) in &changes.users {
            match user {
                Some(user) => self.users.insert(*id, user.clone()),
                None => self.users.remove(id),
            };
        }
        for (id, group) in &changes.groups {
            match group {
                Some(group) => self.groups.insert(*id, group.clone()),
                None => self.groups.remove(id),
            };
        }
        for (edge, kind) in &changes.edges {
            match kind {
                Some(kind) => self.edges.insert(*edge, *kind),
                None => self.edges.remove(edge),
            };
        }
    }

    pub fn closure(&self) -> Closure {
        // Not in the order in which they came.
        Closure::of(
            self.users.iter().rev().map(|(id, user)| (*id, user)),
            self.groups.iter().map(|(id, group)| (*id, group)),
            self.edges
                .iter()
                .rev()
                .map(|((group, member), kind)| (*group, *member, *kind)),
        )
    }

    pub fn is_live_user(&self, user: Id) -> bool {
        self.users
            .get(&user)
            .is_some_and(|user| user.gone.is_none())
    }

    pub fn is_live_group(&self, group: Id) -> bool {
        self.groups
            .get(&group)
            .is_some_and(|group| group.gone.is_none())
    }

    /// How many steps each group is away from somebody; at least one.
    pub fn steps_to(&self, member: Id, kind: MemberKind) -> BTreeMap<Id, usize> {
        let mut steps = BTreeMap::new();
        if kind == MemberKind::User && !self.is_live_user(member) {
            return steps;
        }
        let mut from = BTreeSet::from([(member, kind)]);
        for step in 1.. {
            let mut reached = BTreeSet::new();
            for ((group, inner), kind) in &self.edges {
                let new = !steps.contains_key(group) && self.is_live_group(*group);
                if new && from.contains(&(*inner, *kind)) {
                    reached.insert((*group, MemberKind::Group));
                }
            }
            if reached.is_empty() {
                break;
            }
            steps.extend(reached.iter().map(|(group, _)| (*group, step)));
            from = reached;
        }
        steps
    }

    pub fn groups_of(&self, user: Id) -> Option<Vec<Id>> {
        let steps = self.steps_to(user, MemberKind::User);
        self.is_live_user(user).then(|| steps.into_keys().collect())
    }

    /// Everybody in a group, and whether directly.
    pub fn members(&self, group: Id) -> Option<Vec<(Id, MemberKind, bool)>> {
        let everybody: BTreeSet<(Id, MemberKind)> = self
            .edges
            .iter()
            .map(|((_, member), kind)| (*member, *kind))
            .filter(|(_, kind)| *kind != MemberKind::Group)
            .collect();
        let of = everybody.into_iter().filter_map(|(member, kind)| {
            let step = *self.steps_to(member, kind).get(&group)?;
            Some((member, kind, step == 1))
        });
        self.is_live_group(group).then(|| of.collect())
    }
}

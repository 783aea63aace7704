//! Random rounds, with cycles, removals, restores, purges, replays and other orders.

use std::collections::BTreeSet;

use proptest::prelude::*;
use weir_entra::closure::{Applied, Closure, Move, Moves, Watch, Watched};
use weir_entra::model::{Changes, Group, Id, MemberKind};

use crate::naive::{Naive, gone_group, gone_user, group_id, user, user_id};

const USERS: u32 = 5;
const GROUPS: u32 = 6;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    #[test]
    fn every_round_leaves_what_a_person_would_find(
        rounds in prop::collection::vec(round(), 1..8),
        watched in prop::collection::btree_set(group(), 0..4),
        whole in any::<bool>(),
    ) {
        let mut naive = Naive::default();
        let mut closure = Closure::default();
        let groups = if whole { Watched::All } else { Watched::Only(&watched) };
        let watch = Watch { groups, most: usize::MAX };
        for round in &rounds {
            let before = naive.clone();
            naive.apply(round);
            let mut applied = closure.apply(round, &watch);
            let touched = std::mem::take(&mut applied.touched);
            for user in everybody() {
                let moved = naive.groups_of(user) != before.groups_of(user);
                prop_assert!(!moved || touched.contains(&user));
            }
            prop_assert!(touched.is_sorted_by(|a, b| a < b));
            let seen = |group: &Id| whole || watched.contains(group);
            prop_assert_eq!(applied, expected(&before, &naive, seen));
            same(&closure, &naive)?;
        }
        // Again, and loaded anew, it is the same.
        let last = rounds.last().expect("there is one");
        prop_assert_eq!(closure.apply(last, &watch), Applied::default());
        same(&closure, &naive)?;
        same(&naive.closure(), &naive)?;
    }
}

fn everybody() -> impl Iterator<Item = Id> {
    (0..USERS).map(user_id)
}

/// Every answer is the model's.
fn same(closure: &Closure, naive: &Naive) -> Result<(), TestCaseError> {
    for user in everybody() {
        prop_assert_eq!(closure.groups_of(user), naive.groups_of(user));
        ways_are_why(closure, user)?;
        let steps = naive.steps_to(user, MemberKind::User);
        for group in (0..GROUPS).map(group_id) {
            let way = closure.why(user, group);
            prop_assert_eq!(way.as_ref().map(Vec::len), steps.get(&group).copied());
            let Some(way) = way else { continue };
            prop_assert_eq!(way.last(), Some(&group));
            let mut member = (user, MemberKind::User);
            for group in way {
                prop_assert_eq!(naive.edges.get(&(group, member.0)), Some(&member.1));
                member = (group, MemberKind::Group);
            }
        }
    }
    for group in (0..GROUPS).map(group_id) {
        let members = closure.members(group).map(|members| {
            let plain = members
                .iter()
                .map(|member| (member.id, member.kind, member.direct));
            plain.collect::<Vec<_>>()
        });
        prop_assert_eq!(members, naive.members(group));
    }
    prop_assert_eq!(closure.cycles(), cycles(naive));
    Ok(())
}

/// All ways at once are those that are asked for one by one, also where they are cut.
fn ways_are_why(closure: &Closure, user: Id) -> Result<(), TestCaseError> {
    for longest in [1, 2, usize::MAX] {
        let expected = closure.groups_of(user).map(|groups| {
            let ways = groups
                .into_iter()
                .filter_map(|group| closure.why(user, group));
            let ways = ways.map(|way| {
                let left_out = way.len().saturating_sub(longest);
                (way[left_out..].to_vec(), left_out > 0)
            });
            ways.collect::<Vec<_>>()
        });
        let found = closure.ways(user, longest).map(|ways| {
            let ways = ways.into_iter().map(|way| (way.groups, way.is_cut));
            ways.collect::<Vec<_>>()
        });
        prop_assert_eq!(found, expected);
    }
    Ok(())
}

/// Groups that are each above the other.
fn cycles(naive: &Naive) -> Vec<Vec<Id>> {
    let above = |group: Id| naive.steps_to(group, MemberKind::Group);
    let live = |group: &Id| naive.is_live_group(*group);
    let groups: Vec<Id> = (0..GROUPS).map(group_id).filter(live).collect();
    let rounds: BTreeSet<Vec<Id>> = groups
        .iter()
        .map(|group| {
            let both = |other: &&Id| {
                *other == group
                    || above(*group).contains_key(other) && above(**other).contains_key(group)
            };
            groups.iter().filter(both).copied().collect()
        })
        .collect();
    rounds.into_iter().filter(|round| round.len() > 1).collect()
}

/// What is to be told of a change.
fn expected(before: &Naive, after: &Naive, seen: impl Fn(&Id) -> bool) -> Applied {
    let mut applied = Applied::default();
    let mut moves = Vec::new();
    for user in everybody() {
        let groups = |naive: &Naive| -> BTreeSet<Id> {
            let groups = naive.groups_of(user).unwrap_or_default().into_iter();
            groups.filter(&seen).collect()
        };
        let (old, new) = (groups(before), groups(after));
        if old != new {
            moves.push(Move {
                user,
                added: new.difference(&old).copied().collect(),
                removed: old.difference(&new).copied().collect(),
            });
        }
        let enabled = |naive: &Naive| naive.users.get(&user).and_then(|user| user.enabled);
        let off = |naive: &Naive| enabled(naive) == Some(false);
        match (before.is_live_user(user), after.is_live_user(user)) {
            (true, false) => applied.gone.push(user),
            (false, true) => applied.back.push(user),
            (true, true) if !off(before) && off(after) => applied.disabled.push(user),
            (true, true) if off(before) && !off(after) => applied.back.push(user),
            _ => {}
        }
    }
    applied.moves = Moves::Each(moves);
    applied
}

pub fn round() -> impl Strategy<Value = Changes> {
    let users = prop::collection::btree_map(
        (0..USERS).prop_map(user_id),
        prop_oneof![
            5 => any::<Option<bool>>().prop_map(|enabled| Some(user(enabled))),
            2 => Just(Some(gone_user())),
            1 => Just(None),
        ],
        0..4,
    );
    let groups = prop::collection::btree_map(
        group(),
        prop_oneof![
            6 => Just(Some(Group::default())),
            2 => Just(Some(gone_group())),
            1 => Just(None),
        ],
        0..5,
    );
    let member = prop_oneof![
        4 => (0..USERS).prop_map(|number| (user_id(number), MemberKind::User)),
        4 => group().prop_map(|group| (group, MemberKind::Group)),
        // Also ids that are somebody else's.
        1 => (0..USERS).prop_map(|number| (user_id(number), MemberKind::Device)),
        1 => group().prop_map(|group| (group, MemberKind::Other)),
    ];
    let edge = (group(), member, prop::bool::weighted(0.75));
    let edges = prop::collection::vec(edge, 0..10);
    (users, groups, edges).prop_map(|(users, groups, edges)| Changes {
        users,
        groups,
        edges: edges
            .into_iter()
            .map(|(group, (member, kind), is_member)| ((group, member), is_member.then_some(kind)))
            .collect(),
        ..Changes::default()
    })
}

fn group() -> impl Strategy<Value = Id> {
    (0..GROUPS).prop_map(group_id)
}

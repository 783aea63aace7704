//! What a round changed, and for whom.

use std::collections::BTreeSet;

use super::Closure;
use super::graph::{Graph, MemberNumber};
use super::walk::Marks;
use crate::model::{Changes, Id, MemberKind};

/// What is to be told of a change.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The groups that matter.
    pub groups: Watched<'a>,
    /// So many groups that people came into and went out of, together, are told one by one.
    pub most: usize,
}

/// Groups that matter.
#[derive(Clone, Copy, Debug)]
pub enum Watched<'a> {
    /// Every group.
    All,
    /// These, whether they are there or not.
    Only(&'a BTreeSet<Id>),
}

/// What came of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Who came into which watched group, and who went out of which.
    pub moves: Moves,
    /// Users whose groups may have changed, watched ones or others, in the order of their ids: nobody else's have.
    pub touched: Vec<Id>,
    /// Users who were there and may not sign in any more, in the order of their ids.
    pub disabled: Vec<Id>,
    /// Users who are not there any more, in the order of their ids.
    pub gone: Vec<Id>,
    /// Users who are there again or for the first time, and those who may sign in again, in the order of their ids.
    pub back: Vec<Id>,
}

/// Who came into watched groups and went out of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moves {
    /// Each of them, in the order of their ids.
    Each(Vec<Move>),
    /// Too many to tell one by one: whoever goes by groups must look at everybody again.
    Many,
}

/// What changed for one user; a user who is gone went out of every group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who.
    pub user: Id,
    /// Watched groups that they are in now, in the order of their ids.
    pub added: Vec<Id>,
    /// Watched groups that they are in no more, in the order of their ids.
    pub removed: Vec<Id>,
}

/// What walks mark, kept for the next change.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    walk: Marks,
    ways: Marks,
    ends: Marks,
}

/// Edges that are walked along before and after a change to tell it one by one; about a second's work.
const MOST_STEPS: usize = 40_000_000;

impl Default for Moves {
    fn default() -> Self {
        Self::Each(Vec::new())
    }
}

impl Closure {
    /// Takes up what a round changed; again, it changes nothing. What is purged is not there any more; its edges are
    /// told for themselves.
    ///
    /// Only those are looked at whom a change can reach: whoever came, went, or is in a group directly that changed,
    /// or below one that did.
    pub fn apply(&mut self, changes: &Changes, watch: &Watch<'_>) -> Applied {
        self.number(changes);
        let mut scratch = std::mem::take(&mut self.scratch);
        let touched = self.touched(changes, &mut scratch.walk);
        let mut steps = MOST_STEPS;
        let before = self.memberships(&touched, watch, &mut scratch, &mut steps);
        let mut applied = self.put(changes);
        let after = before
            .as_ref()
            .and_then(|_| self.memberships(&touched, watch, &mut scratch, &mut steps));
        applied.moves = match (before, after) {
            (Some(before), Some(after)) => self.moves(&touched, &before, &after, watch.most),
            _ => Moves::Many,
        };
        let touched = touched.into_iter();
        applied.touched = touched.map(|user| self.graph.leaf(user).id).collect();
        self.scratch = scratch;
        applied
    }

    /// Numbers what is new. By itself that changes nothing: it is neither live nor in anything.
    fn number(&mut self, changes: &Changes) {
        for (id, _) in changes.users.iter().filter(|(_, user)| user.is_some()) {
            self.graph.user_number(*id);
        }
        for (id, _) in changes.groups.iter().filter(|(_, group)| group.is_some()) {
            self.graph.group_number(*id);
        }
        for ((group, member), kind) in &changes.edges {
            if let Some(kind) = kind {
                self.graph.group_number(*group);
                self.graph.member_number(*member, *kind);
            }
        }
    }

    /// Users for whom something may change, in order: nobody else can be concerned.
    fn touched(&self, changes: &Changes, marks: &mut Marks) -> Vec<u32> {
        let graph = &self.graph;
        let mut users = Vec::new();
        let mut groups = Vec::new();
        for (id, user) in &changes.users {
            let live = user.as_ref().is_some_and(|user| user.gone.is_none());
            users.extend(
                graph
                    .find_user(*id)
                    .filter(|user| graph.leaf(*user).live != live),
            );
        }
        for (id, group) in &changes.groups {
            let live = group.as_ref().is_some_and(|group| group.gone.is_none());
            groups.extend(
                graph
                    .find_group(*id)
                    .filter(|group| graph.node(*group).live != live),
            );
        }
        for ((group, member), kind) in &changes.edges {
            let Some(group) = graph.find_group(*group) else {
                continue;
            };
            let before = graph.edge_between(group, *member);
            let now = kind.and_then(|kind| graph.find_member(*member, kind));
            if before == now {
                continue;
            }
            for member in before.into_iter().chain(now) {
                match member {
                    MemberNumber::Leaf(leaf) => users.push(leaf),
                    MemberNumber::Group(child) => groups.push(child),
                }
            }
        }
        for group in graph.with_all_below(&groups, marks) {
            users.extend_from_slice(&graph.node(group).leaves);
        }
        users.retain(|user| graph.leaf(*user).kind == MemberKind::User);
        users.sort_unstable_by_key(|user| graph.leaf(*user).id);
        users.dedup();
        users
    }

    /// The watched groups of each of these users, by number and in order; `None` when that takes too many steps.
    fn memberships(
        &self,
        users: &[u32],
        watch: &Watch<'_>,
        scratch: &mut Scratch,
        steps: &mut usize,
    ) -> Option<Vec<Box<[u32]>>> {
        let graph = &self.graph;
        let Scratch { walk, ways, ends } = scratch;
        let all = scope(graph, watch.groups, ways, ends);
        let mut found = Vec::new();
        let mut memberships = Vec::with_capacity(users.len());
        for user in users {
            graph.groups_of(*user, walk, &mut found, |group| all || ways.seen(group));
            let walked: usize = found
                .iter()
                .map(|group| 1 + graph.node(*group).parents.len())
                .sum();
            *steps = steps.checked_sub(1 + graph.leaf(*user).groups.len() + walked)?;
            found.retain(|group| all || ends.seen(*group));
            found.sort_unstable();
            memberships.push(found.as_slice().into());
        }
        Some(memberships)
    }

    /// Puts everything in place, and says who came and went.
    fn put(&mut self, changes: &Changes) -> Applied {
        let mut applied = Applied::default();
        for (id, user) in &changes.users {
            let state = |graph: &Graph| {
                let leaf = graph.leaf(graph.find_user(*id)?);
                leaf.live.then_some(leaf.enabled)
            };
            let before = state(&self.graph);
            self.graph.put_user(*id, user.as_ref());
            let off = Some(false);
            match (before, state(&self.graph)) {
                (Some(_), None) => applied.gone.push(*id),
                (None, Some(_)) => applied.back.push(*id),
                (Some(before), Some(after)) if before != off && after == off => {
                    applied.disabled.push(*id);
                }
                (Some(before), Some(after)) if before == off && after != off => {
                    applied.back.push(*id);
                }
                _ => {}
            }
        }
        for (id, group) in &changes.groups {
            self.graph.put_group(*id, group.as_ref());
        }
        for ((group, member), kind) in &changes.edges {
            self.graph.put_edge(*group, *member, *kind);
        }
        applied
    }

    fn moves(
        &self,
        users: &[u32],
        before: &[Box<[u32]>],
        after: &[Box<[u32]>],
        most: usize,
    ) -> Moves {
        let mut moves = Vec::new();
        let mut told = 0;
        for (user, (before, after)) in users.iter().zip(before.iter().zip(after)) {
            let without = |these: &[u32], others: &[u32]| -> Vec<u32> {
                let is_new = |group: &&u32| others.binary_search(group).is_err();
                these.iter().filter(is_new).copied().collect()
            };
            let (added, removed) = (without(after, before), without(before, after));
            told += added.len() + removed.len();
            if told > most {
                return Moves::Many;
            }
            if !added.is_empty() || !removed.is_empty() {
                moves.push(Move {
                    user: self.graph.leaf(*user).id,
                    added: self.ids(added),
                    removed: self.ids(removed),
                });
            }
        }
        Moves::Each(moves)
    }
}

/// Marks the watched groups (`ends`), and those by way of which they are reached. Whether all groups are watched.
fn scope(graph: &Graph, watched: Watched<'_>, ways: &mut Marks, ends: &mut Marks) -> bool {
    let Watched::Only(watched) = watched else {
        return true;
    };
    ends.begin(graph.nodes().len());
    let groups = watched.iter().filter_map(|id| graph.find_group(*id));
    let groups: Vec<u32> = groups.filter(|group| ends.first(*group)).collect();
    graph.with_live_below(&groups, ways);
    false
}

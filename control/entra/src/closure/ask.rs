//! What a person asks: who is in what, and why.

use std::collections::HashSet;

use super::Closure;
use super::condense::Condensed;
use super::graph::Node;
use super::walk::Marks;
use crate::model::{Id, MemberKind};

/// A member of a group, directly or through others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Who.
    pub id: Id,
    /// Of what kind; never a group.
    pub kind: MemberKind,
    /// Whether it may sign in; `None` when nobody knows.
    pub enabled: Option<bool>,
    /// Whether it is in the group itself, and not only in one that is.
    pub direct: bool,
}

/// A way into a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Groups from the one that the user is directly in to the group itself.
    pub groups: Vec<Id>,
    /// Whether it begins with groups that are left out here.
    pub is_cut: bool,
}

/// How many there are of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users that are not gone.
    pub users: usize,
    /// Of these, those who may not sign in.
    pub disabled: usize,
    /// Groups that are not gone.
    pub groups: usize,
    /// Direct members of all groups that are not gone, themselves gone or not.
    pub edges: usize,
}

impl Closure {
    /// Every group that a user is in, directly or through others, in the order of their ids; `None` when there is no
    /// such user, or it is gone.
    pub fn groups_of(&self, user: Id) -> Option<Vec<Id>> {
        let leaf = self.live_user(user)?;
        let (mut marks, mut found) = (Marks::default(), Vec::new());
        self.graph.groups_of(leaf, &mut marks, &mut found, |_| true);
        Some(self.ids(found))
    }

    /// A shortest way into a group: the group that the user is directly in, those between, and the group itself.
    /// Always the same way if there are several. `None` when the user is not in the group.
    pub fn why(&self, user: Id, group: Id) -> Option<Vec<Id>> {
        let leaf = self.live_user(user)?;
        let wanted = self.graph.find_group(group)?;
        let reached = self.reach(leaf, Some(wanted));
        let last = reached.len().checked_sub(1)?;
        let mut way: Vec<Id> = self.back(&reached, last).collect();
        way.reverse();
        (reached[last].0 == wanted).then_some(way)
    }

    /// The ways that [`Closure::why`] tells, to every group that a user is in, in the order of the groups' ids; of a way
    /// that is longer, the last `longest` groups. `None` when there is no such user, or it is gone.
    pub fn ways(&self, user: Id, longest: usize) -> Option<Vec<Way>> {
        let reached = self.reach(self.live_user(user)?, None);
        let ways = (0..reached.len()).map(|at| {
            let mut groups: Vec<Id> = self
                .back(&reached, at)
                .take(longest.saturating_add(1))
                .collect();
            let is_cut = groups.len() > longest;
            groups.truncate(longest);
            groups.reverse();
            Way { groups, is_cut }
        });
        let mut ways: Vec<Way> = ways.collect();
        ways.sort_unstable_by_key(|way| way.groups.last().copied());
        Some(ways)
    }

    /// Groups that are reached from a member, nearest first, and from where in this list; up to the one that is
    /// wanted.
    fn reach(&self, leaf: u32, wanted: Option<u32>) -> Vec<(u32, Option<usize>)> {
        let nodes = self.graph.nodes();
        let mut met = HashSet::new();
        let mut reached: Vec<(u32, Option<usize>)> = Vec::new();
        let direct = self.graph.leaf(leaf).groups.iter();
        let mut step: Vec<_> = direct.map(|group| (*group, None)).collect();
        while !step.is_empty() {
            step.sort_by_key(|(group, from)| (nodes[*group as usize].id, *from));
            let begin = reached.len();
            for (group, from) in step.drain(..) {
                if !nodes[group as usize].live || !met.insert(group) {
                    continue;
                }
                reached.push((group, from));
                if Some(group) == wanted {
                    return reached;
                }
            }
            for (at, (group, _)) in reached.iter().enumerate().skip(begin) {
                let parents = nodes[*group as usize].parents.iter();
                step.extend(parents.map(|parent| (*parent, Some(at))));
            }
        }
        reached
    }

    /// Everybody who is in a group, directly or through others, in the order of their ids, without those who are
    /// gone; `None` when there is no such group, or it is gone.
    pub fn members(&self, group: Id) -> Option<Vec<Member>> {
        let group = self.live_group(group)?;
        let (mut groups, mut marks) = (Marks::default(), Marks::default());
        marks.begin(self.graph.leaves().len());
        let mut members = Vec::new();
        // The group itself comes first, so who is in it directly is met there first.
        for through in self.graph.with_live_below(&[group], &mut groups) {
            for leaf in &self.graph.node(through).leaves {
                let member = self.graph.leaf(*leaf);
                if member.live && marks.first(*leaf) {
                    members.push(Member {
                        id: member.id,
                        kind: member.kind,
                        enabled: member.enabled,
                        direct: through == group,
                    });
                }
            }
        }
        members.sort_unstable();
        Some(members)
    }

    /// Whether all members of a group are known: neither it nor a group below it hides them. `None` when there is no
    /// such group, or it is gone.
    pub fn is_complete(&self, group: Id) -> Option<bool> {
        let group = self.live_group(group)?;
        let hides = |group: &u32| self.hides(self.graph.node(*group));
        let below = self.graph.with_live_below(&[group], &mut Marks::default());
        Some(!below.iter().any(hides))
    }

    /// Groups that contain each other, which are as good as one: each such round in the order of ids.
    pub fn cycles(&self) -> Vec<Vec<Id>> {
        let condensed = Condensed::of(&self.graph);
        let rounds = condensed.components().filter(|groups| groups.len() > 1);
        let mut cycles: Vec<Vec<Id>> = rounds.map(|groups| self.ids(groups.to_vec())).collect();
        cycles.sort_unstable();
        cycles
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        let users = || {
            let leaves = self.graph.leaves().iter();
            leaves.filter(|leaf| leaf.live && leaf.kind == MemberKind::User)
        };
        let groups = || self.graph.nodes().iter().filter(|node| node.live);
        Counts {
            users: users().count(),
            disabled: users().filter(|user| user.enabled == Some(false)).count(),
            groups: groups().count(),
            edges: groups()
                .map(|node| node.leaves.len() + node.children.len())
                .sum(),
        }
    }

    /// Whether some members of a group may not be read.
    pub(super) fn hides(&self, node: &Node) -> bool {
        node.live && node.hidden && !self.hidden_is_told
    }

    fn live_user(&self, user: Id) -> Option<u32> {
        let leaf = self.graph.find_user(user)?;
        self.graph.leaf(leaf).live.then_some(leaf)
    }

    fn live_group(&self, group: Id) -> Option<u32> {
        let group = self.graph.find_group(group)?;
        self.graph.node(group).live.then_some(group)
    }

    /// The way to a group that was reached, from its end.
    fn back(&self, reached: &[(u32, Option<usize>)], at: usize) -> impl Iterator<Item = Id> {
        let steps = std::iter::successors(Some(at), |at| reached[*at].1);
        steps.map(|at| self.graph.node(reached[at].0).id)
    }

    /// The ids of groups, in order.
    pub(super) fn ids(&self, groups: Vec<u32>) -> Vec<Id> {
        let mut ids: Vec<Id> = groups
            .into_iter()
            .map(|group| self.graph.node(group).id)
            .collect();
        ids.sort_unstable();
        ids
    }
}

//! Direct edges, between numbers in place of ids.

use std::collections::HashMap;

use crate::model::{Group, Id, MemberKind, Text, User};

/// Groups and what is in them. A number that was given stays with its id.
#[derive(Clone, Debug, Default)]
pub(super) struct Graph {
    leaf_numbers: HashMap<(Id, MemberKind), u32>,
    leaves: Vec<Leaf>,
    group_numbers: HashMap<Id, u32>,
    nodes: Vec<Node>,
}

/// A member that is no group.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) id: Id,
    pub(super) kind: MemberKind,
    /// Known, and not gone. Of what is no user nothing else is known than its edges.
    pub(super) live: bool,
    pub(super) enabled: Option<bool>,
    /// Groups that it is directly in, in order.
    pub(super) groups: Vec<u32>,
}

/// A group.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: Id,
    /// Known, and not gone.
    pub(super) live: bool,
    /// Its members may be read only with a permission of their own.
    pub(super) hidden: bool,
    /// Who is directly in it, in order.
    pub(super) leaves: Vec<u32>,
    /// Groups that are directly in it, in order.
    pub(super) children: Vec<u32>,
    /// Groups that it is directly in, in order.
    pub(super) parents: Vec<u32>,
}

/// A member of a group, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberNumber {
    Leaf(u32),
    Group(u32),
}

/// Every kind of member.
const KINDS: [MemberKind; 5] = [
    MemberKind::User,
    MemberKind::Group,
    MemberKind::Device,
    MemberKind::ServicePrincipal,
    MemberKind::Other,
];

impl Graph {
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    pub(super) fn leaf(&self, leaf: u32) -> &Leaf {
        &self.leaves[leaf as usize]
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn node(&self, group: u32) -> &Node {
        &self.nodes[group as usize]
    }

    pub(super) fn find_user(&self, id: Id) -> Option<u32> {
        self.leaf_numbers.get(&(id, MemberKind::User)).copied()
    }

    pub(super) fn find_group(&self, id: Id) -> Option<u32> {
        self.group_numbers.get(&id).copied()
    }

    /// The number of a user, given to it now if it has none.
    pub(super) fn user_number(&mut self, id: Id) -> u32 {
        self.leaf_number(id, MemberKind::User)
    }

    /// The number of a group, given to it now if it has none.
    pub(super) fn group_number(&mut self, id: Id) -> u32 {
        let next = number(self.nodes.len());
        *self.group_numbers.entry(id).or_insert_with(|| {
            self.nodes.push(Node {
                id,
                live: false,
                hidden: false,
                leaves: Vec::new(),
                children: Vec::new(),
                parents: Vec::new(),
            });
            next
        })
    }

    /// The number of a member, given to it now if it has none.
    pub(super) fn member_number(&mut self, id: Id, kind: MemberKind) -> MemberNumber {
        if kind == MemberKind::Group {
            MemberNumber::Group(self.group_number(id))
        } else {
            MemberNumber::Leaf(self.leaf_number(id, kind))
        }
    }

    /// The number of a member, if it has one.
    pub(super) fn find_member(&self, id: Id, kind: MemberKind) -> Option<MemberNumber> {
        if kind == MemberKind::Group {
            self.find_group(id).map(MemberNumber::Group)
        } else {
            let leaf = self.leaf_numbers.get(&(id, kind));
            leaf.copied().map(MemberNumber::Leaf)
        }
    }

    /// Whether a member is in a group itself.
    pub(super) fn is_directly_in(&self, member: MemberNumber, group: u32) -> bool {
        let groups = match member {
            MemberNumber::Leaf(leaf) => &self.leaf(leaf).groups,
            MemberNumber::Group(child) => &self.node(child).parents,
        };
        groups.binary_search(&group).is_ok()
    }

    /// What an id is as a member of a group itself: nothing, or of one kind.
    pub(super) fn edge_between(&self, group: u32, member: Id) -> Option<MemberNumber> {
        KINDS
            .into_iter()
            .filter_map(|kind| self.find_member(member, kind))
            .find(|member| self.is_directly_in(*member, group))
    }

    /// Takes up a user; `None` is gone for good. Its edges are told for themselves.
    pub(super) fn put_user(&mut self, id: Id, user: Option<&User>) {
        let number = match user {
            Some(_) => Some(self.user_number(id)),
            None => self.find_user(id),
        };
        if let Some(number) = number {
            let leaf = &mut self.leaves[number as usize];
            leaf.live = user.is_some_and(|user| user.gone.is_none());
            leaf.enabled = user.and_then(|user| user.enabled);
        }
    }

    /// Takes up a group; `None` is gone for good. Its edges are told for themselves.
    pub(super) fn put_group(&mut self, id: Id, group: Option<&Group>) {
        let number = match group {
            Some(_) => Some(self.group_number(id)),
            None => self.find_group(id),
        };
        if let Some(number) = number {
            let node = &mut self.nodes[number as usize];
            node.live = group.is_some_and(|group| group.gone.is_none());
            node.hidden = group.is_some_and(is_hidden);
        }
    }

    /// Takes up an edge while everything is loaded; [`Graph::settle`] puts them in order.
    pub(super) fn load_edge(&mut self, group: Id, member: Id, kind: MemberKind) {
        let group = self.group_number(group);
        let member = self.member_number(member, kind);
        self.change_edge(group, member, Vec::push);
    }

    /// Puts the edges in order that were loaded.
    pub(super) fn settle(&mut self) {
        let of_nodes = self
            .nodes
            .iter_mut()
            .flat_map(|node| [&mut node.leaves, &mut node.children, &mut node.parents]);
        let of_leaves = self.leaves.iter_mut().map(|leaf| &mut leaf.groups);
        for list in of_nodes.chain(of_leaves) {
            list.sort_unstable();
            list.dedup();
            list.shrink_to_fit();
        }
    }

    /// Puts an edge, of the kind that is told last, or takes it away.
    pub(super) fn put_edge(&mut self, group: Id, member: Id, kind: Option<MemberKind>) {
        let (Some(group), now) = (match kind {
            Some(kind) => (
                Some(self.group_number(group)),
                Some(self.member_number(member, kind)),
            ),
            None => (self.find_group(group), None),
        }) else {
            return;
        };
        let before = self.edge_between(group, member);
        if before != now {
            if let Some(before) = before {
                self.change_edge(group, before, remove);
            }
            if let Some(now) = now {
                self.change_edge(group, now, insert);
            }
        }
    }

    /// Does the same at both ends of an edge.
    fn change_edge(&mut self, group: u32, member: MemberNumber, change: fn(&mut Vec<u32>, u32)) {
        let node = &mut self.nodes[group as usize];
        match member {
            MemberNumber::Leaf(leaf) => {
                change(&mut node.leaves, leaf);
                change(&mut self.leaves[leaf as usize].groups, group);
            }
            MemberNumber::Group(child) => {
                change(&mut node.children, child);
                change(&mut self.nodes[child as usize].parents, group);
            }
        }
    }

    fn leaf_number(&mut self, id: Id, kind: MemberKind) -> u32 {
        let next = number(self.leaves.len());
        *self.leaf_numbers.entry((id, kind)).or_insert_with(|| {
            self.leaves.push(Leaf {
                id,
                kind,
                live: kind != MemberKind::User,
                enabled: None,
                groups: Vec::new(),
            });
            next
        })
    }
}

fn is_hidden(group: &Group) -> bool {
    let visibility = group.texts.get(&Text::Visibility);
    visibility.is_some_and(|visibility| visibility.eq_ignore_ascii_case("HiddenMembership"))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).expect("four billion objects take more memory than there is")
}

fn insert(list: &mut Vec<u32>, number: u32) {
    if let Err(at) = list.binary_search(&number) {
        list.insert(at, number);
    }
}

fn remove(list: &mut Vec<u32>, number: u32) {
    if let Ok(at) = list.binary_search(&number) {
        list.remove(at);
    }
}

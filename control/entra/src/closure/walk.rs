//! Walks along the edges, each group once: neither a cycle nor a long chain does harm.

use super::graph::Graph;

/// Which numbers were seen on the last walk; used again for the next one without being cleared.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    seen: Vec<u32>,
    walk: u32,
}

impl Marks {
    /// Begins another walk, over so many numbers.
    pub(super) fn begin(&mut self, count: usize) {
        if self.seen.len() < count {
            self.seen.resize(count, 0);
        }
        self.walk = self.walk.wrapping_add(1);
        if self.walk == 0 {
            self.seen.fill(0);
            self.walk = 1;
        }
    }

    /// Whether a number is met for the first time on this walk.
    pub(super) fn first(&mut self, number: u32) -> bool {
        let first = !self.seen(number);
        self.seen[number as usize] = self.walk;
        first
    }

    /// Whether a number was met on this walk.
    pub(super) fn seen(&self, number: u32) -> bool {
        self.seen[number as usize] == self.walk
    }
}

impl Graph {
    /// Every group that somebody is in, into `found`, by way of those groups alone that `may` have to do with what is
    /// asked. Nobody who is gone is in any.
    pub(super) fn groups_of(
        &self,
        leaf: u32,
        marks: &mut Marks,
        found: &mut Vec<u32>,
        may: impl Fn(u32) -> bool,
    ) {
        found.clear();
        let leaf = self.leaf(leaf);
        if leaf.live {
            marks.begin(self.nodes().len());
            let way = |graph: &Self, group: u32| graph.node(group).live && may(group);
            self.spread(&leaf.groups, marks, found, way, |graph, group| {
                &graph.node(group).parents
            });
        }
    }

    /// These groups and all that are below them, gone or not.
    pub(super) fn with_all_below(&self, groups: &[u32], marks: &mut Marks) -> Vec<u32> {
        self.below(groups, marks, |_, _| true)
    }

    /// These groups and those below them that pass members on: none that are gone.
    pub(super) fn with_live_below(&self, groups: &[u32], marks: &mut Marks) -> Vec<u32> {
        self.below(groups, marks, |graph, group| graph.node(group).live)
    }

    /// These groups and those above them that get their members: none that are gone.
    pub(super) fn with_live_above(&self, groups: &[u32]) -> Vec<u32> {
        let (mut marks, mut found) = (Marks::default(), Vec::new());
        marks.begin(self.nodes().len());
        let live = |graph: &Self, group: u32| graph.node(group).live;
        self.spread(groups, &mut marks, &mut found, live, |graph, group| {
            &graph.node(group).parents
        });
        found
    }

    fn below(
        &self,
        groups: &[u32],
        marks: &mut Marks,
        way: impl Fn(&Self, u32) -> bool,
    ) -> Vec<u32> {
        let mut found = Vec::new();
        marks.begin(self.nodes().len());
        self.spread(groups, marks, &mut found, way, |graph, group| {
            &graph.node(group).children
        });
        found
    }

    fn spread(
        &self,
        from: &[u32],
        marks: &mut Marks,
        found: &mut Vec<u32>,
        way: impl Fn(&Self, u32) -> bool,
        on: impl for<'a> Fn(&'a Self, u32) -> &'a [u32],
    ) {
        let mut take = |found: &mut Vec<u32>, groups: &[u32]| {
            for group in groups {
                if way(self, *group) && marks.first(*group) {
                    found.push(*group);
                }
            }
        };
        take(found, from);
        let mut next = 0;
        while let Some(group) = found.get(next) {
            let on = on(self, *group);
            take(found, on);
            next += 1;
        }
    }
}

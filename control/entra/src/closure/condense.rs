//! Groups that contain each other, taken together.

use super::graph::Graph;
use super::walk::Marks;

/// A number that is none.
pub(super) const NONE: u32 = u32::MAX;

/// The groups that are not gone, in components: two are in one if each contains the other. Members of one are members
/// of all of them. What remains between components has no cycle.
#[derive(Clone, Debug)]
pub(super) struct Condensed {
    /// The component of each group; [`NONE`] of one that is gone.
    of: Vec<u32>,
    members: Lists,
    /// Components that contain a component.
    parents: Lists,
}

/// Lists of numbers, one behind the other.
#[derive(Clone, Debug)]
struct Lists {
    starts: Vec<u32>,
    all: Vec<u32>,
}

/// A walk over components from the groups that somebody is directly in.
pub(super) struct Climb<'a> {
    condensed: &'a Condensed,
    marks: Marks,
    found: Vec<u32>,
}

impl Condensed {
    /// Tarjan's algorithm with a stack of its own: a long chain of groups must not end the process.
    pub(super) fn of(graph: &Graph) -> Self {
        let nodes = graph.nodes();
        let live = |group: u32| nodes[group as usize].live;
        let mut of = vec![NONE; nodes.len()];
        let mut members = Lists::new();
        // When each group was entered, from 1, and the earliest that it leads back to.
        let mut entered = vec![0_u32; nodes.len()];
        let mut earliest = vec![0_u32; nodes.len()];
        let mut clock = 0;
        let mut open: Vec<u32> = Vec::new();
        let mut way: Vec<(u32, usize)> = Vec::new();
        for root in (0..).take(nodes.len()) {
            if live(root) && entered[root as usize] == 0 {
                way.push((root, 0));
            }
            while let Some((group, next)) = way.last_mut() {
                let (group, at) = (*group, *next);
                let here = group as usize;
                if at == 0 {
                    clock += 1;
                    (entered[here], earliest[here]) = (clock, clock);
                    open.push(group);
                }
                if let Some(parent) = nodes[here].parents.get(at) {
                    *next += 1;
                    let there = *parent as usize;
                    if !live(*parent) || of[there] != NONE {
                        continue;
                    }
                    if entered[there] == 0 {
                        way.push((*parent, 0));
                    } else {
                        earliest[here] = earliest[here].min(entered[there]);
                    }
                    continue;
                }
                way.pop();
                if let Some((below, _)) = way.last() {
                    let below = *below as usize;
                    earliest[below] = earliest[below].min(earliest[here]);
                }
                if earliest[here] == entered[here] {
                    close(group, &mut open, &mut of, &mut members);
                }
            }
        }
        let parents = parents(graph, &of, &members);
        Self {
            of,
            members,
            parents,
        }
    }

    /// The groups of each component.
    pub(super) fn components(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.members.count()).map(|component| self.members.list(component))
    }

    pub(super) fn climb(&self) -> Climb<'_> {
        Climb {
            condensed: self,
            marks: Marks::default(),
            found: Vec::new(),
        }
    }

    /// The components of some groups, in order: whoever is directly in the same ones is in the same groups.
    pub(super) fn of_groups(&self, groups: &[u32], components: &mut Vec<u32>) {
        components.clear();
        let of = groups.iter().map(|group| self.of[*group as usize]);
        components.extend(of.filter(|component| *component != NONE));
        components.sort_unstable();
        components.dedup();
    }
}

impl Climb<'_> {
    /// Every group of these components and of those above them, into `groups`.
    pub(super) fn groups(&mut self, components: &[u32], groups: &mut Vec<u32>) {
        groups.clear();
        self.found.clear();
        self.marks.begin(self.condensed.members.count() as usize);
        self.take(components);
        let mut next = 0;
        while let Some(component) = self.found.get(next).copied() {
            groups.extend_from_slice(self.condensed.members.list(component));
            self.take(self.condensed.parents.list(component));
            next += 1;
        }
    }

    fn take(&mut self, components: &[u32]) {
        for component in components {
            if self.marks.first(*component) {
                self.found.push(*component);
            }
        }
    }
}

impl Lists {
    fn new() -> Self {
        Self {
            starts: vec![0],
            all: Vec::new(),
        }
    }

    fn end(&mut self) {
        let end = u32::try_from(self.all.len());
        let end = end.expect("an edge takes more than a byte of a memory below four gigabytes");
        self.starts.push(end);
    }

    fn count(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).expect("there are no more lists than groups")
    }

    fn list(&self, list: u32) -> &[u32] {
        let list = list as usize;
        &self.all[self.starts[list] as usize..self.starts[list + 1] as usize]
    }
}

/// All that was opened since `group`, it included, is one component.
fn close(group: u32, open: &mut Vec<u32>, of: &mut [u32], members: &mut Lists) {
    let component = members.count();
    while let Some(last) = open.pop() {
        of[last as usize] = component;
        members.all.push(last);
        if last == group {
            break;
        }
    }
    members.end();
}

fn parents(graph: &Graph, of: &[u32], members: &Lists) -> Lists {
    let mut lists = Lists::new();
    let mut own = Vec::new();
    for component in 0..members.count() {
        own.clear();
        for group in members.list(component) {
            let parents = graph.node(*group).parents.iter();
            own.extend(parents.map(|parent| of[*parent as usize]));
        }
        own.sort_unstable();
        own.dedup();
        own.retain(|parent| *parent != component && *parent != NONE);
        lists.all.extend_from_slice(&own);
        lists.end();
    }
    lists
}

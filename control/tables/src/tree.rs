//! Trees of ranges below a root, in the layout of the kernel's nodes.

use weir_abi::{FAN_OUT, V4Node, V6Node};

/// A node of a tree.
pub(crate) trait Node: Copy + Default {
    /// The part of an address that tells the ranges below a root apart.
    type Key: Copy;

    /// After this many ranges a node is full.
    const FULL: usize = FAN_OUT;

    /// Up to eight ranges by their last keys; either standings or a first child.
    fn new(last: impl Iterator<Item = Self::Key>, standings: [u8; FAN_OUT], child: u32) -> Self;
}

impl Node for V4Node {
    type Key = u16;

    fn new(last: impl Iterator<Item = u16>, standings: [u8; FAN_OUT], child: u32) -> Self {
        Self::new(first_seven(last, u16::MAX), standings, child)
    }
}

impl Node for V6Node {
    type Key = [u64; 2];

    fn new(last: impl Iterator<Item = [u64; 2]>, standings: [u8; FAN_OUT], child: u32) -> Self {
        Self::new(first_seven(last, [u64::MAX; 2]), standings, child)
    }
}

/// The trees of one family.
#[derive(Debug)]
pub(crate) struct Trees<N: Node> {
    nodes: Vec<N>,
    /// Last keys of the nodes of one level, and of the one above; kept for their memory.
    level: Vec<N::Key>,
    above: Vec<N::Key>,
}

impl<N: Node> Trees<N> {
    /// No tree, and node 0, which is never used.
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![N::default()],
            level: Vec::new(),
            above: Vec::new(),
        }
    }

    /// Adds the tree of these ranges, by their last keys, ascending up to the last of all keys. Gives its
    /// top node.
    pub(crate) fn plant(&mut self, ranges: &[(N::Key, u8)]) -> u32 {
        let mut first = self.nodes.len();
        self.level.clear();
        for leaf in ranges.chunks(N::FULL) {
            // What no range needs repeats the last one: nothing is beyond it.
            let end = leaf[leaf.len() - 1];
            let mut standings = [end.1; FAN_OUT];
            for (slot, (_, standing)) in standings.iter_mut().zip(leaf) {
                *slot = *standing;
            }
            let last = leaf.iter().map(|(last, _)| *last);
            self.nodes.push(N::new(last, standings, 0));
            self.level.push(end.0);
        }
        while self.level.len() > 1 {
            let children = first;
            first = self.nodes.len();
            self.above.clear();
            for (group, last) in self.level.chunks(N::FULL).enumerate() {
                let child = index(children + group * N::FULL);
                let keys = last.iter().copied();
                self.nodes.push(N::new(keys, [0; FAN_OUT], child));
                self.above.push(last[last.len() - 1]);
            }
            std::mem::swap(&mut self.level, &mut self.above);
        }
        index(first)
    }

    /// All nodes.
    pub(crate) fn into_nodes(self) -> Vec<N> {
        self.nodes
    }
}

/// The kernel's index of a node.
fn index(node: usize) -> u32 {
    u32::try_from(node).expect("memory ends long before 2^32 nodes")
}

fn first_seven<K: Copy>(keys: impl Iterator<Item = K>, beyond: K) -> [K; FAN_OUT - 1] {
    let mut all = [beyond; FAN_OUT - 1];
    for (slot, key) in all.iter_mut().zip(keys) {
        *slot = key;
    }
    all
}

//! The compiled lists in the layout of the kernel's maps, as `weir_abi` describes it.
//!
//! Precedence is decided already: what comes in is a class for every address, and what each held
//! lately. Here both become one byte for each range, ranges that came out equal become one, and what is
//! left is cut along the kernel's blocks and roots.

use std::net::IpAddr;

use weir_abi::{
    Class, ClassSet, EXACT, Root, Standing, Step, V4_LEVELS, V4_ROOT_BLOCKS, V4Node, V6_LEVELS,
    V6_ROOT_BLOCKS, V6_SLOTS, V6Node, v6_slot, v6_slot_first, v6_slot_last,
};
use weir_classify::{Sources, standing_v4, standing_v6};

use crate::compile::Lists;
use crate::history::History;
use crate::spans::{overlay, ranges};
use crate::tree::Trees;

/// What is published: precedence is decided, the kernel only looks up.
///
/// 20 MiB, and 32 bytes for each IPv4 node and 128 for each IPv6 node. Lists of
/// [`MAX_PREFIXES`](crate::MAX_PREFIXES) never need more nodes than the kernel's maps take
/// ([`weir_abi::MAX_NODES`]); only with a history in which as many others stood elsewhere they may, and
/// are refused when they are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTables {
    v4_blocks: Vec<u8>,
    v4_roots: Vec<Root>,
    v4_nodes: Vec<V4Node>,
    v6_roots: Vec<Root>,
    v6_nodes: Vec<V6Node>,
    transition: Transition,
}

/// How much of the address space is in transition: has another class than it had within the drain window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transition {
    /// Ranges of addresses, of both families.
    pub ranges: u64,
    /// Addresses of IPv4 in them.
    pub v4_addresses: u64,
}

/// The tables as they lie in the maps, each as long as [`weir_abi`] says.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// See [`KernelTables::v4_blocks`].
    pub v4_blocks: Vec<u8>,
    /// See [`KernelTables::v4_roots`].
    pub v4_roots: Vec<Root>,
    /// See [`KernelTables::v4_nodes`].
    pub v4_nodes: Vec<V4Node>,
    /// See [`KernelTables::v6_roots`].
    pub v6_roots: Vec<Root>,
    /// See [`KernelTables::v6_nodes`].
    pub v6_nodes: Vec<V6Node>,
}

impl KernelTables {
    /// The tables for these lists, in which sources are in transition that held another class than theirs.
    /// O(ranges of the lists and of the history).
    pub fn compile(lists: &Lists, history: &History) -> Self {
        let mut transition = Transition::default();
        let (v4_blocks, v4_roots, v4_nodes) = v4(ranges(overlay(
            lists.v4.classes(&lists.heads),
            history.v4.spans(),
            standing,
        ))
        .inspect(|(first, last, byte)| {
            if !Standing::from_u8(*byte).is_stable() {
                transition.ranges += 1;
                transition.v4_addresses += u64::from(last - first) + 1;
            }
        }));
        let (v6_roots, v6_nodes) = v6(ranges(overlay(
            lists.v6.classes(&lists.heads),
            history.v6.spans(),
            standing,
        ))
        .inspect(|(_, _, byte)| {
            transition.ranges += u64::from(!Standing::from_u8(*byte).is_stable());
        }));
        Self {
            v4_blocks,
            v4_roots,
            v4_nodes,
            v6_roots,
            v6_nodes,
            transition,
        }
    }

    /// Tables that were read back from the maps.
    ///
    /// # Panics
    ///
    /// If blocks or roots are not as long as the maps are.
    pub fn of(parts: Parts) -> Self {
        assert_eq!(parts.v4_blocks.len(), 1 << 24, "one for each /24");
        assert_eq!(parts.v4_roots.len(), 1 << 16, "one for each /16");
        assert_eq!(parts.v6_roots.len(), V6_ROOT_BLOCKS as usize * 256);
        Self {
            v4_blocks: parts.v4_blocks,
            v4_roots: parts.v4_roots,
            v4_nodes: parts.v4_nodes,
            v6_roots: parts.v6_roots,
            v6_nodes: parts.v6_nodes,
            transition: Transition::default(),
        }
    }

    /// How many sources are in transition; not known of tables that were read back.
    pub fn transition(&self) -> Transition {
        self.transition
    }

    /// Where the standings of IPv4 begin, ascending from the first address; neighbours may be equal.
    pub(crate) fn v4_standings(&self) -> impl Iterator<Item = (u32, Standing)> + '_ {
        let mut next = Some(0_u32);
        std::iter::from_fn(move || {
            let start = next?;
            let (standing, last) = self.v4_range(start);
            next = last.checked_add(1);
            Some((start, standing))
        })
    }

    /// The same of IPv6.
    pub(crate) fn v6_standings(&self) -> impl Iterator<Item = (u128, Standing)> + '_ {
        let mut next = Some(0_u128);
        std::iter::from_fn(move || {
            let start = next?;
            let (standing, last) = self.v6_range(start);
            next = last.checked_add(1);
            Some((start, standing))
        })
    }

    /// The standing of an address, and how far it reaches at least.
    fn v4_range(&self, address: u32) -> (Standing, u32) {
        let standing = standing_v4(self, address);
        if self.v4_block(address) & EXACT == 0 {
            let block = stretch(&self.v4_blocks, address >> 8);
            return (standing, block << 8 | 0xff);
        }
        let mut last = address | 0xff;
        let (upper, low) = (address & 0xffff_0000, (address & 0xffff) as u16);
        let mut index = self.v4_root(address).node();
        for _ in 0..V4_LEVELS {
            let Some(node) = index.and_then(|index| self.v4_node(index)) else {
                break;
            };
            last = last.min(upper | u32::from(node.last(low)));
            index = child(node.step(low));
        }
        (standing, last)
    }

    fn v6_range(&self, address: u128) -> (Standing, u128) {
        let standing = standing_v6(self, &address.to_be_bytes());
        let slot = slot(address);
        let mut index = self.v6_root(slot).node();
        if index.is_none() {
            // The last block is filled up behind the last slot.
            let slot = stretch(&self.v6_roots, slot).min(V6_SLOTS - 1);
            return (standing, v6_slot_last(slot));
        }
        let mut last = v6_slot_last(slot);
        for _ in 0..V6_LEVELS {
            let Some(node) = index.and_then(|index| self.v6_node(index)) else {
                break;
            };
            let [upper, lower] = node.last(halves(address));
            last = last.min(u128::from(upper) << 64 | u128::from(lower));
            index = child(node.step(halves(address)));
        }
        (standing, last)
    }

    /// What the kernel will find for this source, by the code that runs there. An IPv4-mapped IPv6 address
    /// is looked up as IPv4, as in [`Lists::find`].
    pub fn standing(&self, source: IpAddr) -> Standing {
        match source.to_canonical() {
            IpAddr::V4(address) => standing_v4(self, address.to_bits()),
            IpAddr::V6(address) => standing_v6(self, &address.octets()),
        }
    }

    /// A byte for each /24.
    pub fn v4_blocks(&self) -> &[u8] {
        &self.v4_blocks
    }

    /// A root for each /16.
    pub fn v4_roots(&self) -> &[Root] {
        &self.v4_roots
    }

    /// The nodes below them; the first is not used.
    pub fn v4_nodes(&self) -> &[V4Node] {
        &self.v4_nodes
    }

    /// A root for each slot, see [`v6_slot`], and some that fill the last block.
    pub fn v6_roots(&self) -> &[Root] {
        &self.v6_roots
    }

    /// The nodes below them; the first is not used.
    pub fn v6_nodes(&self) -> &[V6Node] {
        &self.v6_nodes
    }
}

/// Entries that are compared at once.
const STRETCH: usize = 4096;

/// How far an entry goes on at least. Most of the address space is long stretches of the same, so several
/// are looked at at once.
fn stretch<T: Copy + PartialEq>(entries: &[T], first: u32) -> u32 {
    let first = first as usize;
    let same = [entries[first]; STRETCH];
    let more = entries[first + 1..].chunks_exact(STRETCH);
    let alike = more.take_while(|chunk| **chunk == same).count();
    u32::try_from(first + alike * STRETCH).expect("below the number of entries")
}

impl Sources for KernelTables {
    fn v4_block(&self, address: u32) -> u8 {
        self.v4_blocks[(address >> 8) as usize]
    }

    fn v4_root(&self, address: u32) -> Root {
        self.v4_roots[(address >> 16) as usize]
    }

    fn v4_node(&self, index: u32) -> Option<&V4Node> {
        self.v4_nodes.get(index as usize)
    }

    fn v6_root(&self, slot: u32) -> Root {
        self.v6_roots[slot as usize]
    }

    fn v6_node(&self, index: u32) -> Option<&V6Node> {
        self.v6_nodes.get(index as usize)
    }
}

/// The node that a lookup goes on with.
fn child(step: Step) -> Option<u32> {
    match step {
        Step::Child(child) => Some(child),
        Step::Found(_) => None,
    }
}

/// The byte of a source that has this class and held these.
fn standing(class: u8, held: u8) -> u8 {
    Standing::new(Class::from_u8(class), ClassSet::from_bits(held)).to_u8()
}

fn v4(ranges: impl Iterator<Item = (u32, u32, u8)>) -> (Vec<u8>, Vec<Root>, Vec<V4Node>) {
    let mut parts = V4Parts {
        blocks: vec![0; 1 << 24],
        roots: vec![Root::default(); V4_ROOT_BLOCKS as usize * 256],
        trees: Trees::new(),
        slot: 0,
        inside: Vec::new(),
    };
    for (first, last, standing) in ranges {
        let (head, tail) = (first >> 8, last >> 8);
        let begins_inside = first & 0xff != 0;
        let ends_inside = last & 0xff != 0xff;
        if begins_inside || (ends_inside && head == tail) {
            parts.add(first, last.min(first | 0xff), standing);
        }
        let whole = head + u32::from(begins_inside)..tail + u32::from(!ends_inside);
        // Zero they are from the beginning.
        if !whole.is_empty() && standing != 0 {
            parts.blocks[whole.start as usize..whole.end as usize].fill(standing);
        }
        if ends_inside && head != tail {
            parts.add(tail << 8, last, standing);
        }
    }
    parts.finish();
    (parts.blocks, parts.roots, parts.trees.into_nodes())
}

/// The ranges that begin or end inside a /24, and what they become. Those around them inside the same
/// /16 are never asked for, so a range reaches as far as the one before the next.
struct V4Parts {
    blocks: Vec<u8>,
    roots: Vec<Root>,
    trees: Trees<V4Node>,
    slot: u32,
    inside: Vec<(u16, u8)>,
}

impl V4Parts {
    /// A range inside one /24.
    fn add(&mut self, first: u32, last: u32, standing: u8) {
        if first >> 16 != self.slot {
            self.finish();
            self.slot = first >> 16;
        }
        self.blocks[(first >> 8) as usize] = EXACT;
        append(&mut self.inside, (last & 0xffff) as u16, standing);
    }

    fn finish(&mut self) {
        if let Some((last, _)) = self.inside.last_mut() {
            *last = u16::MAX;
            self.roots[self.slot as usize] = Root::ranges(self.trees.plant(&self.inside));
            self.inside.clear();
        }
    }
}

fn v6(ranges: impl Iterator<Item = (u128, u128, u8)>) -> (Vec<Root>, Vec<V6Node>) {
    let mut parts = V6Parts {
        roots: vec![Root::default(); V6_ROOT_BLOCKS as usize * 256],
        trees: Trees::new(),
        slot: 0,
        inside: Vec::new(),
    };
    for (first, last, standing) in ranges {
        let (head, tail) = (slot(first), slot(last));
        let begins_inside = first != v6_slot_first(head);
        let ends_inside = last != v6_slot_last(tail);
        if begins_inside || (ends_inside && head == tail) {
            parts.add(head, last.min(v6_slot_last(head)), standing);
        }
        let whole = head + u32::from(begins_inside)..tail + u32::from(!ends_inside);
        if !whole.is_empty() && standing != 0 {
            let root = Root::uniform(Standing::from_u8(standing));
            parts.roots[whole.start as usize..whole.end as usize].fill(root);
        }
        if ends_inside && head != tail {
            parts.add(tail, last, standing);
        }
    }
    parts.finish();
    (parts.roots, parts.trees.into_nodes())
}

/// The ranges that begin or end inside a slot, and what they become.
struct V6Parts {
    roots: Vec<Root>,
    trees: Trees<V6Node>,
    slot: u32,
    inside: Vec<([u64; 2], u8)>,
}

impl V6Parts {
    /// A range inside one slot.
    fn add(&mut self, slot: u32, last: u128, standing: u8) {
        if slot != self.slot {
            self.finish();
            self.slot = slot;
        }
        append(&mut self.inside, halves(last), standing);
    }

    fn finish(&mut self) {
        if !self.inside.is_empty() {
            self.roots[self.slot as usize] = Root::ranges(self.trees.plant(&self.inside));
            self.inside.clear();
        }
    }
}

/// A range behind the others; with the same standing it makes the last one longer.
fn append<K>(ranges: &mut Vec<(K, u8)>, last: K, standing: u8) {
    match ranges.last_mut() {
        Some(before) if before.1 == standing => before.0 = last,
        _ => ranges.push((last, standing)),
    }
}

fn slot(address: u128) -> u32 {
    v6_slot(halves(address)[0])
}

/// The upper and lower 64 bits.
fn halves(address: u128) -> [u64; 2] {
    let low = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).expect("masked");
    [low(address >> 64), low(address)]
}

//! How the class of every source lies in the maps: ranges of addresses, below an index of the upper
//! bits.
//!
//! The compiler of the lists has decided every overlap, so that the address space of a family is cut
//! into ranges that follow each other, each with one [`Standing`](crate::Standing). A lookup finds the
//! range that holds the address:
//!
//! ```text
//! IPv4   V4_BLOCKS   one byte for each /24: the standing of all of it, or EXACT
//!        V4_ROOTS    for a /24 that is EXACT, one Root for each /16: where its ranges begin
//!        V4_NODES    trees of V4Node: the ranges inside a /16, by their last 16 bits
//! IPv6   V6_ROOTS    one Root for each /23 of 2000::/3, one for all below, one for all above:
//!                    the standing of all of it, or where its ranges begin
//!        V6_NODES    trees of V6Node: the ranges inside it
//! ```
//!
//! A node cuts what it is about into up to eight ranges: it has the last addresses of seven, the eighth
//! ends where the node does. A leaf has a standing for each range; any other node has a child for each,
//! and they lie side by side from [`child`](V4Node::child) on. So a lookup takes one node for each factor of
//! eight in the number of ranges below a root, at most [`V4_LEVELS`] and [`V6_LEVELS`], whatever the
//! lengths of the prefixes are; hosts, holes and prefixes of every length are ranges alike.
//!
//! Memory of one generation: 16 MiB of blocks, 256 KiB and 4 MiB of roots, 32 bytes for an IPv4 node and
//! 128 for an IPv6 node. A prefix makes at most two ranges more. Prefixes that share a root need 9 bytes
//! (IPv4) or 37 bytes (IPv6) each; a prefix that is alone below its root takes a node. [`MAX_NODES`] bounds
//! both.
//!
//! Roots and blocks of both generations lie in one array each; the nodes of a generation are a map of its
//! own, made in the size that is needed, in an array of maps. Node 0 is never used, so that a child is
//! never 0.

#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use core::mem::size_of;

use crate::Standing;

/// Blocks of 256 bytes, one for each /16, in one IPv4 generation.
pub const V4_BLOCKS: u32 = 1 << 16;
/// Byte of an IPv4 block: the /24 has several ranges, look below the root of its /16.
pub const EXACT: u8 = 0x80;
/// Blocks of 256 roots, one for each /8, in one IPv4 generation.
pub const V4_ROOT_BLOCKS: u32 = 1 << 8;
/// Roots of one IPv6 generation: below 2000::, each /23 of 2000::/3, above.
pub const V6_SLOTS: u32 = V6_INSIDE + 2;
/// Blocks of 256 roots in one IPv6 generation.
pub const V6_ROOT_BLOCKS: u32 = V6_SLOTS.div_ceil(256);
/// Ranges of one node.
pub const FAN_OUT: usize = 8;
/// Nodes at most on the way to an IPv4 address: 65,536 ranges lie below a root.
pub const V4_LEVELS: usize = 6;
/// Nodes at most on the way to an IPv6 address, as [`MAX_NODES`] bounds the ranges.
pub const V6_LEVELS: usize = 8;
/// Nodes at most of one family in one generation.
pub const MAX_NODES: u32 = 1 << 22;

/// Roots for 2000::/3.
const V6_INSIDE: u32 = 1 << 20;
/// Bits of an IPv6 address that do not choose its root.
const V6_REST: u32 = 128 - 23;

/// What holds for a part of the address space: a standing, or the node that tells more.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Root(u32);

impl Root {
    const NODE: u32 = 1 << 31;

    /// One standing for all of it.
    pub const fn uniform(standing: Standing) -> Self {
        Self(standing.to_u8() as u32)
    }

    /// The ranges at this node.
    pub const fn ranges(node: u32) -> Self {
        Self(Self::NODE | node)
    }

    /// The node, when there are ranges.
    #[inline(always)]
    pub const fn node(self) -> Option<u32> {
        if self.0 & Self::NODE == 0 {
            None
        } else {
            Some(self.0 & !Self::NODE)
        }
    }

    /// The standing, when there are none.
    #[inline(always)]
    pub const fn standing(self) -> Standing {
        Standing::from_u8((self.0 & 0xff) as u8)
    }
}

/// Where a node sends a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The address is in this range.
    Found(Standing),
    /// To another node.
    Child(u32),
}

/// Up to eight ranges below a /16.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4Node {
    /// Standing of each range, the first one lowest; zero when they are children.
    standings: u64,
    /// Index of the first child; 0 when these are leaves.
    pub child: u32,
    spare: u32,
    /// Last addresses of the first seven ranges, their lower 16 bits.
    last: [u16; FAN_OUT - 1],
    spare_too: u16,
}

/// Up to eight ranges of IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V6Node {
    /// Standing of each range, the first one lowest; zero when they are children.
    standings: u64,
    /// Index of the first child; 0 when these are leaves.
    pub child: u32,
    spare: u32,
    /// Last addresses of the first seven ranges, their upper and lower 64 bits.
    last: [[u64; 2]; FAN_OUT - 1],
}

const _: () = {
    assert!(size_of::<Root>() == 4);
    assert!(size_of::<V4Node>() == 32 && size_of::<V6Node>() == 128);
};

impl V4Node {
    /// A node with these ranges. Those that are not needed end with the last address, and are never
    /// reached.
    pub const fn new(last: [u16; FAN_OUT - 1], standings: [u8; FAN_OUT], child: u32) -> Self {
        Self {
            standings: u64::from_le_bytes(standings),
            child,
            spare: 0,
            last,
            spare_too: 0,
        }
    }

    /// Where an address goes, by its lower 16 bits.
    #[inline(always)]
    pub fn step(&self, low: u16) -> Step {
        let mut range = 0;
        for last in self.last {
            if low <= last {
                break;
            }
            range += 1;
        }
        step(self.standings, self.child, range)
    }

    /// The last address of the range that holds this one; the last of all where the node tells no end.
    pub fn last(&self, low: u16) -> u16 {
        let ends = self.last.into_iter().find(|last| low <= *last);
        ends.unwrap_or(u16::MAX)
    }
}

impl V6Node {
    /// A node with these ranges. Those that are not needed end with the last address, and are never
    /// reached.
    pub const fn new(last: [[u64; 2]; FAN_OUT - 1], standings: [u8; FAN_OUT], child: u32) -> Self {
        Self {
            standings: u64::from_le_bytes(standings),
            child,
            spare: 0,
            last,
        }
    }

    /// Where an address goes, by its upper and lower 64 bits.
    #[inline(always)]
    pub fn step(&self, address: [u64; 2]) -> Step {
        let mut range = 0;
        for [upper, lower] in &self.last {
            if address[0] < *upper || (address[0] == *upper && address[1] <= *lower) {
                break;
            }
            range += 1;
        }
        step(self.standings, self.child, range)
    }

    /// The last address of the range that holds this one; the last of all where the node tells no end.
    pub fn last(&self, address: [u64; 2]) -> [u64; 2] {
        let ends = self.last.into_iter().find(|last| address <= *last);
        ends.unwrap_or([u64::MAX; 2])
    }
}

/// Shifting needs no bounds, which the verifier would ask for when an array is indexed.
#[inline(always)]
const fn step(standings: u64, child: u32, range: u32) -> Step {
    if child == 0 {
        Step::Found(Standing::from_u8((standings >> (8 * range) & 0xff) as u8))
    } else {
        Step::Child(child + range)
    }
}

/// The root of an IPv6 address, by the upper 64 bits.
#[inline(always)]
pub const fn v6_slot(upper: u64) -> u32 {
    let bits = (upper >> (V6_REST - 64)) as u32;
    if bits < V6_INSIDE {
        0
    } else if bits < 2 * V6_INSIDE {
        bits - V6_INSIDE + 1
    } else {
        V6_INSIDE + 1
    }
}

/// The first address below a root.
pub const fn v6_slot_first(slot: u32) -> u128 {
    if slot == 0 {
        0
    } else {
        ((slot + V6_INSIDE - 1) as u128) << V6_REST
    }
}

/// The last address below a root.
pub const fn v6_slot_last(slot: u32) -> u128 {
    if slot > V6_INSIDE {
        u128::MAX
    } else {
        v6_slot_first(slot + 1) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Class;

    #[test]
    fn every_address_has_one_root() {
        assert_eq!(v6_slot_first(0), 0);
        for slot in 0..V6_SLOTS {
            let (first, last) = (v6_slot_first(slot), v6_slot_last(slot));
            assert_eq!(v6_slot((first >> 64) as u64), slot);
            assert_eq!(v6_slot((last >> 64) as u64), slot);
            assert!(last == u128::MAX || v6_slot_first(slot + 1) == last + 1);
        }
        assert_eq!(v6_slot_last(V6_SLOTS - 1), u128::MAX);
        assert_eq!(v6_slot_last(0) + 1, 0x2000 << 112);
        assert_eq!(v6_slot_first(V6_SLOTS - 1), 0x4000 << 112);
    }

    #[test]
    fn a_node_finds_the_range_that_ends_last() {
        let standings = [0, 1, 2, 3, 4, 0, 1, 2];
        let four = V4Node::new([10, 20, 30, 40, 50, 60, 70], standings, 0);
        let found = |class| Step::Found(Standing::stable(class));
        for (low, class) in [
            (0, Class::Unmanaged),
            (10, Class::Unmanaged),
            (11, Class::Managed),
            (70, Class::Managed),
            (71, Class::Bypass),
            (u16::MAX, Class::Bypass),
        ] {
            assert_eq!(four.step(low), found(class), "{low}");
        }
        let inner = V4Node::new([10, 20, 30, 40, 50, 60, 70], [0; 8], 9);
        assert_eq!(inner.step(70), Step::Child(15));
        assert_eq!(inner.step(71), Step::Child(16));

        let [a, b] = [[1, u64::MAX], [2, 5]];
        let rest = [u64::MAX; 2];
        let six = V6Node::new([a, b, rest, rest, rest, rest, rest], standings, 0);
        for (address, class) in [
            ([0, 0], Class::Unmanaged),
            ([1, u64::MAX], Class::Unmanaged),
            ([2, 0], Class::Managed),
            ([2, 5], Class::Managed),
            ([2, 6], Class::Bypass),
            ([u64::MAX; 2], Class::Bypass),
        ] {
            assert_eq!(six.step(address), found(class), "{address:?}");
        }
    }

    #[test]
    fn a_root_is_a_standing_or_a_node() {
        let standing = Standing::stable(Class::Relay);
        assert_eq!(Root::uniform(standing).node(), None);
        assert_eq!(Root::uniform(standing).standing(), standing);
        assert_eq!(Root::ranges(7).node(), Some(7));
        assert_eq!(Root::default().standing(), Standing::default());
    }
}

//! Which of several overlapping lists decides a source. Nothing else in Weir decides this.
//!
//! The rule (in words of the default policy): a local `blocked` list beats everything; then the
//! longest prefix; between equal prefixes `blocked`, `managed`, `bypass`, `relay` in this order. What
//! is still equal is settled so that the answer never depends on chance: a local list before a remote
//! one, a list for every client before one for browsers, then the order in which the lists stand.
//!
//! All prefixes of a family are sorted by their first address, outer before inner, and walked once
//! with a stack of the prefixes that are open at that point. The result is flat: ranges of addresses
//! that follow each other, each with the prefix that decides it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_abi::Class;

use crate::list::{List, Origin, Scope};

/// Compiled lists: what user space looks sources up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    pub(crate) heads: Vec<Head>,
    pub(crate) v4: Ranges<u32>,
    pub(crate) v6: Ranges<u128>,
}

impl Lists {
    /// Compiles lists. O(n log n); needs about twice the memory of the result while it works.
    ///
    /// IPv4-mapped IPv6 prefixes count as IPv4, and host bits are ignored.
    pub fn compile(lists: &[List]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for (number, list) in (0u32..).zip(lists) {
            let weight = Weight::of(list);
            for prefix in &list.prefixes {
                match crate::prefix::fold(*prefix) {
                    IpNet::V4(net) => v4.push(Candidate {
                        first: net.network().to_bits(),
                        length: net.prefix_len(),
                        weight,
                        list: number,
                    }),
                    IpNet::V6(net) => v6.push(Candidate {
                        first: net.network().to_bits(),
                        length: net.prefix_len(),
                        weight,
                        list: number,
                    }),
                }
            }
        }
        let heads = lists.iter().map(Head::of).collect();
        Self {
            heads,
            v4: sweep(v4),
            v6: sweep(v6),
        }
    }

    /// Bytes of memory that the tables hold.
    pub fn memory(&self) -> usize {
        let heads: usize = self
            .heads
            .iter()
            .map(|head| size_of::<Head>() + head.name.capacity())
            .sum();
        heads + self.v4.memory() + self.v6.memory()
    }

    /// Number of prefixes that decide at least one address.
    pub fn len(&self) -> usize {
        self.v4.deciders.len() + self.v6.deciders.len()
    }

    /// Whether every source is unmanaged.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Default for Lists {
    /// No lists: every source is unmanaged.
    fn default() -> Self {
        Self::compile(&[])
    }
}

/// A list without its prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) class: Class,
    pub(crate) scope: Scope,
}

impl Head {
    fn of(list: &List) -> Self {
        Self {
            name: list.name.clone(),
            class: list.class,
            scope: list.scope,
        }
    }
}

/// Ranges of addresses of one family. `starts` ascends; a range ends where the next begins, the last
/// one with the address space; addresses before the first range are nobody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranges<A> {
    pub(crate) starts: Vec<A>,
    /// For each range its index in `deciders`, or [`NOBODY`].
    pub(crate) owners: Vec<u32>,
    /// Prefixes that decide at least one address, by first address, outer before inner.
    pub(crate) deciders: Vec<Decider<A>>,
}

/// Owner of ranges that are on no list.
pub(crate) const NOBODY: u32 = u32::MAX;

impl<A> Ranges<A> {
    fn memory(&self) -> usize {
        self.starts.capacity() * size_of::<A>()
            + self.owners.capacity() * size_of::<u32>()
            + self.deciders.capacity() * size_of::<Decider<A>>()
    }
}

/// A prefix that decides, and the list it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decider<A> {
    pub(crate) first: A,
    pub(crate) length: u8,
    pub(crate) list: u32,
}

impl Decider<u32> {
    pub(crate) fn prefix_v4(&self) -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::from_bits(self.first), self.length)
    }
}

impl Decider<u128> {
    pub(crate) fn prefix_v6(&self) -> Ipv6Net {
        Ipv6Net::new_assert(Ipv6Addr::from_bits(self.first), self.length)
    }
}

/// An address as a number.
pub(crate) trait Address: Copy + Ord {
    const BITS: u8;
    /// The first of all addresses.
    const FIRST: Self;
    /// The last of all addresses.
    const LAST: Self;

    /// First address of the prefix of this length that holds `self`.
    fn first(self, length: u8) -> Self;
    /// Last address of the prefix of this length that holds `self`.
    fn last(self, length: u8) -> Self;
    /// The address after this one, if there is one.
    fn next(self) -> Option<Self>;
    /// The address before this one, which is not the first.
    fn before(self) -> Self;
}

macro_rules! address {
    ($number:ty, $bits:literal) => {
        impl Address for $number {
            const BITS: u8 = $bits;
            const FIRST: Self = Self::MIN;
            const LAST: Self = Self::MAX;

            fn first(self, length: u8) -> Self {
                self & !Self::MAX.checked_shr(length.into()).unwrap_or(0)
            }

            fn last(self, length: u8) -> Self {
                self | Self::MAX.checked_shr(length.into()).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            fn before(self) -> Self {
                self - 1
            }
        }
    };
}

address!(u32, 32);
address!(u128, 128);

/// What a list's word counts against another list's word on the same prefix: the lesser wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    /// `false` for local blocked lists, which nothing overrules.
    overrulable: bool,
    class: u8,
    origin: Origin,
    scope: Scope,
}

impl Weight {
    fn of(list: &List) -> Self {
        let class = match list.class {
            Class::Blocked => 0,
            Class::Managed => 1,
            Class::Bypass => 2,
            Class::Relay => 3,
            Class::Unmanaged => 4,
        };
        Self {
            overrulable: list.class != Class::Blocked || list.origin != Origin::Local,
            class,
            origin: list.origin,
            scope: list.scope,
        }
    }
}

/// A prefix of one list, before it is known whether it decides anything. The order of the fields is
/// the order of the walk: outer before inner, and of equal prefixes the winner first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate<A> {
    first: A,
    length: u8,
    weight: Weight,
    list: u32,
}

/// A prefix that is open at the current point of the walk.
struct Open<A> {
    last: A,
    overrulable: bool,
    owner: u32,
}

fn sweep<A: Address>(mut candidates: Vec<Candidate<A>>) -> Ranges<A> {
    candidates.sort_unstable();
    candidates.dedup_by_key(|candidate| (candidate.first, candidate.length));
    candidates.shrink_to_fit();
    let mut ranges = Ranges {
        starts: Vec::with_capacity(candidates.len()),
        owners: Vec::with_capacity(candidates.len()),
        deciders: Vec::new(),
    };
    let mut open: Vec<Open<A>> = Vec::with_capacity(usize::from(A::BITS) + 1);
    for (owner, candidate) in (0u32..).zip(&candidates) {
        while let Some(inner) = open.pop_if(|top| top.last < candidate.first) {
            ranges.close(inner.last, open.last());
        }
        // Inside a local block nothing but another local block decides.
        let overrulable = candidate.weight.overrulable;
        if overrulable && open.last().is_some_and(|outer| !outer.overrulable) {
            continue;
        }
        ranges.begin(candidate.first, owner);
        open.push(Open {
            last: candidate.first.last(candidate.length),
            overrulable,
            owner,
        });
    }
    while let Some(inner) = open.pop() {
        ranges.close(inner.last, open.last());
    }
    ranges.keep_deciders(candidates);
    ranges
}

impl<A: Address> Ranges<A> {
    /// From `start` on, `owner` decides.
    fn begin(&mut self, start: A, owner: u32) {
        if self.starts.last() == Some(&start) {
            // What began here is covered by something longer, or ended where this begins.
            self.starts.pop();
            self.owners.pop();
        }
        self.starts.push(start);
        self.owners.push(owner);
    }

    /// A prefix ended at `last`; what is open around it decides again.
    fn close(&mut self, last: A, outer: Option<&Open<A>>) {
        if let Some(next) = last.next() {
            self.begin(next, outer.map_or(NOBODY, |outer| outer.owner));
        }
    }

    /// Keeps the candidates that own a range, and numbers them anew.
    fn keep_deciders(&mut self, candidates: Vec<Candidate<A>>) {
        const UNUSED: u32 = NOBODY;
        const USED: u32 = 0;
        let mut numbers = vec![UNUSED; candidates.len()];
        for owner in self.owners.iter().filter(|owner| **owner != NOBODY) {
            numbers[*owner as usize] = USED;
        }
        let kept = numbers.iter().filter(|number| **number == USED).count();
        self.deciders = Vec::with_capacity(kept);
        for (number, candidate) in numbers.iter_mut().zip(candidates) {
            if *number == USED {
                // Fewer than u32::MAX: `sweep` numbered the candidates with a u32.
                *number = u32::try_from(self.deciders.len()).unwrap_or(NOBODY);
                self.deciders.push(Decider {
                    first: candidate.first,
                    length: candidate.length,
                    list: candidate.list,
                });
            }
        }
        for owner in self.owners.iter_mut().filter(|owner| **owner != NOBODY) {
            *owner = numbers[*owner as usize];
        }
        self.starts.shrink_to_fit();
        self.owners.shrink_to_fit();
    }
}

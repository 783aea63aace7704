//! The classes that sources held within a window of time, compact: what it takes to tell the kernel
//! which sources are in transition.

use weir_abi::{Class, ClassSet, Standing};

use crate::compile::{Address, Lists};
use crate::kernel::KernelTables;
use crate::spans::overlay;

/// For every source the classes that it held. Nobody held any in the default one.
///
/// It takes 5 bytes for each change of the class along the IPv4 addresses and 17 along those of IPv6:
/// at most twice that for each prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub(crate) v4: Held<u32>,
    pub(crate) v6: Held<u128>,
}

/// Spans of one family, see [`crate::spans`]; none at all is one span of nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held<A> {
    starts: Vec<A>,
    sets: Vec<u8>,
}

impl History {
    /// What sources hold while these lists are in force.
    pub fn of(lists: &Lists) -> Self {
        let set = |class, _| ClassSet::EMPTY.with(Class::from_u8(class)).bits();
        Self {
            v4: Held::collect(overlay(
                lists.v4.classes(&lists.heads),
                std::iter::empty(),
                set,
            )),
            v6: Held::collect(overlay(
                lists.v6.classes(&lists.heads),
                std::iter::empty(),
                set,
            )),
        }
    }

    /// What they held in this one or the other.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self {
            v4: self.v4.and(&other.v4),
            v6: self.v6.and(&other.v6),
        }
    }

    /// What is left of it where no list decides that `ends` names: nobody held anything there.
    #[must_use]
    pub fn without(&self, lists: &Lists, ends: impl Fn(&str) -> bool) -> Self {
        let marks: Vec<bool> = lists.heads.iter().map(|head| ends(&head.name)).collect();
        Self {
            v4: self.v4.without(lists.v4.marked(&marks)),
            v6: self.v6.without(lists.v6.marked(&marks)),
        }
    }

    /// What these tables say that sources hold and held.
    pub fn read(tables: &KernelTables) -> Self {
        Self {
            v4: Held::collect(joined(tables.v4_standings())),
            v6: Held::collect(joined(tables.v6_standings())),
        }
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory()
    }
}

/// The classes of standings, neighbours that are equal joined.
fn joined<A: Address>(
    standings: impl Iterator<Item = (A, Standing)>,
) -> impl Iterator<Item = (A, u8)> {
    let held = standings.map(|(start, standing)| (start, standing.held().bits()));
    overlay(held, std::iter::empty(), |set, _| set)
}

impl<A: Address> Held<A> {
    /// The bits of the [`ClassSet`]s, as spans.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (A, u8)> + '_ {
        self.starts.iter().copied().zip(self.sets.iter().copied())
    }

    fn collect(spans: impl Iterator<Item = (A, u8)>) -> Self {
        let (mut starts, mut sets): (Vec<A>, Vec<u8>) = spans.unzip();
        starts.shrink_to_fit();
        sets.shrink_to_fit();
        Self { starts, sets }
    }

    fn and(&self, other: &Self) -> Self {
        Self::collect(overlay(self.spans(), other.spans(), |one, other| {
            let set = ClassSet::from_bits(one).union(ClassSet::from_bits(other));
            set.bits()
        }))
    }

    fn without(&self, marked: impl Iterator<Item = (A, u8)>) -> Self {
        Self::collect(overlay(self.spans(), marked, |set, marked| {
            if marked == 0 { set } else { 0 }
        }))
    }

    fn memory(&self) -> usize {
        self.starts.capacity() * size_of::<A>() + self.sets.capacity()
    }
}

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

    /// What these tables say that sources hold.
    pub fn in_force(tables: &KernelTables) -> Self {
        let v4 = tables.v4_standings().map(|(start, now)| (start, only(now)));
        let v6 = tables.v6_standings().map(|(start, now)| (start, only(now)));
        Self {
            v4: Held::collect(joined(v4)),
            v6: Held::collect(joined(v6)),
        }
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory()
    }

    /// It as bytes, from which [`History::from_bytes`] makes it again.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.memory() + 16);
        self.v4.put(&mut bytes, u32::to_le_bytes);
        self.v6.put(&mut bytes, u128::to_le_bytes);
        bytes
    }

    /// What [`History::to_bytes`] made bytes of. Nothing when they are not such.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (v4, bytes) = Held::take(bytes, u32::from_le_bytes)?;
        let (v6, bytes) = Held::take(bytes, u128::from_le_bytes)?;
        bytes.is_empty().then_some(Self { v4, v6 })
    }
}

/// The class of a standing, without those before.
fn only(standing: Standing) -> Standing {
    Standing::stable(standing.class())
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

    /// How many spans there are, their starts, their sets.
    fn put<const N: usize>(&self, bytes: &mut Vec<u8>, word: impl Fn(A) -> [u8; N]) {
        bytes.extend((self.starts.len() as u64).to_le_bytes());
        bytes.extend(self.starts.iter().flat_map(|start| word(*start)));
        bytes.extend(&self.sets);
    }

    /// The same back, and the bytes behind it.
    fn take<const N: usize>(bytes: &[u8], word: impl Fn([u8; N]) -> A) -> Option<(Self, &[u8])> {
        let (count, bytes) = bytes.split_first_chunk()?;
        let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
        let (starts, bytes) = bytes.split_at_checked(count.checked_mul(N)?)?;
        let (sets, bytes) = bytes.split_at_checked(count)?;
        let (starts, _) = starts.as_chunks();
        let starts: Vec<A> = starts.iter().map(|start| word(*start)).collect();
        let whole = starts.first().is_none_or(|first| *first == A::FIRST)
            && starts.is_sorted_by(|one, next| one < next)
            && sets
                .iter()
                .all(|set| ClassSet::from_bits(*set).bits() == *set);
        let sets = sets.to_vec();
        whole.then_some((Self { starts, sets }, bytes))
    }

    fn memory(&self) -> usize {
        self.starts.capacity() * size_of::<A>() + self.sets.capacity()
    }
}

//! Grants: classes that single addresses have for a time, and the principals that earned them.
//!
//! ```text
//! PRINCIPALS   65,536 words of eight bytes                                0.5 MiB
//! GRANTS       65,536 entries: key 16, value 24 bytes, and the hash's own   about 6.5 MiB
//! ```
//!
//! A grant opens up to what its principal may have, so one store to a principal's word changes the
//! verdict for all of its addresses at once. What the numbers mean together is told in `weir-classify`,
//! module `grants`.

#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use core::mem::size_of;

use crate::{Class, ClassSet};

/// Principals at most.
pub const MAX_PRINCIPALS: u32 = 1 << 16;
/// Addresses with a grant at most, those included whose grant has ended and whose flows go on.
pub const MAX_GRANTS: u32 = 1 << 16;

/// The bits of the class in the word of a grant.
const CLASS: u32 = 0x07;
/// The lowest bit of the classes of late.
const HELD: u32 = 8;
/// Whether flows were cut.
const CUT: u32 = 1 << 16;

/// How far the grants of a principal open.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// Classes that its grants may give, one bit for each as in [`ClassSet`]; zero closes all of them.
    may: u32,
    /// Always zero.
    spare: u32,
}

impl Principal {
    /// Its grants give this class at most: a managed one may have the class of an exempt one too, and any
    /// other class opens nothing.
    #[inline(always)]
    pub const fn up_to(class: Class) -> Self {
        let may = match class {
            Class::Managed => ClassSet::EMPTY.with(Class::Managed).with(Class::Bypass),
            Class::Bypass => ClassSet::EMPTY.with(Class::Bypass),
            Class::Unmanaged | Class::Blocked | Class::Relay => ClassSet::EMPTY,
        };
        Self {
            may: may.bits() as u32,
            spare: 0,
        }
    }

    /// The classes that its grants may give.
    #[inline(always)]
    pub const fn may(self) -> ClassSet {
        ClassSet::from_bits((self.may & 0xff) as u8)
    }
}

/// What one address was granted. Times are of the clock that goes on from boot, also while the machine
/// sleeps (`CLOCK_BOOTTIME`), in nanoseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// From then on it gives no class any more.
    pub expires: u64,
    /// From then on no flow is kept for it.
    pub rests: u64,
    /// Index of the principal that earned it.
    pub principal: u32,
    /// Class, classes of late, and whether flows were cut.
    word: u32,
}

impl Grant {
    /// A grant of this class to an address that was granted `held` before, within the drain window.
    pub const fn new(class: Class, held: ClassSet, principal: u32) -> Self {
        Self {
            expires: 0,
            rests: 0,
            principal,
            word: class as u32 | (held.bits() as u32) << HELD,
        }
    }

    /// The same grant, with its end, and the end of its rest.
    #[must_use]
    pub const fn until(self, expires: u64, rests: u64) -> Self {
        Self {
            expires,
            rests,
            ..self
        }
    }

    /// The same grant of an address whose forwarded flows were cut: what the servers still send is
    /// dropped.
    #[must_use]
    pub const fn cut(self) -> Self {
        Self {
            word: self.word | CUT,
            ..self
        }
    }

    /// The class that it gives while it lives.
    #[inline(always)]
    pub const fn class(&self) -> Class {
        Class::from_u8((self.word & CLASS) as u8)
    }

    /// The classes that the address was granted within the drain window, this one not included.
    #[inline(always)]
    pub const fn held(&self) -> ClassSet {
        ClassSet::from_bits((self.word >> HELD & 0xff) as u8)
    }

    /// Whether forwarded flows of the address were cut.
    #[inline(always)]
    pub const fn is_cut(&self) -> bool {
        self.word & CUT != 0
    }
}

const _: () = assert!(size_of::<Principal>() == 8 && size_of::<Grant>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_keeps_what_it_is_made_of() {
        for class in Class::ALL {
            for bits in 0..1 << Class::COUNT {
                let held = ClassSet::from_bits(bits);
                let grant = Grant::new(class, held, 7).until(1, 2);
                assert_eq!((grant.class(), grant.held()), (class, held));
                assert_eq!((grant.expires, grant.rests, grant.principal), (1, 2, 7));
                assert!(grant.cut().is_cut() && !grant.is_cut());
                assert_eq!((grant.cut().class(), grant.cut().held()), (class, held));
            }
        }
    }

    #[test]
    fn a_principal_may_have_what_opens_less() {
        let may = |class| Class::ALL.map(|one| Principal::up_to(class).may().contains(one));
        assert_eq!(may(Class::Managed), [false, true, true, false, false]);
        assert_eq!(may(Class::Bypass), [false, false, true, false, false]);
        for class in [Class::Unmanaged, Class::Blocked, Class::Relay] {
            assert!(Principal::up_to(class).may().is_empty());
        }
        assert!(
            Principal::default().may().is_empty(),
            "nobody opens anything"
        );
    }
}

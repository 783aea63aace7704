//! The byte that the kernel finds for a source: its class, and which classes it held lately.
//!
//! ```text
//! bit   7      EXACT, in the bytes of IPv4 blocks only; no part of the standing
//! bits  6..3   which of the other four classes it held within the drain window,
//!              in the order of their numbers, the current one left out
//! bits  2..0   number of the current class
//! ```

#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use crate::Class;

const CLASS: u8 = 0x07;
const OTHERS: u8 = 0x0f;
const SHIFT: u8 = 3;

/// What the tables say of a source: its class, and the classes that it held within the drain window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Standing(u8);

impl Standing {
    /// A source of this class that held `held` lately; whether that names the class itself is the same.
    #[inline(always)]
    pub const fn new(class: Class, held: ClassSet) -> Self {
        let number = class as u8;
        let below = held.0 & ((1 << number) - 1);
        let above = held.0 >> (number + 1) << number;
        Self(number | (below | above) << SHIFT)
    }

    /// A source that held no other class lately.
    #[inline(always)]
    pub const fn stable(class: Class) -> Self {
        Self(class as u8)
    }

    /// The byte of a table; [`EXACT`](crate::EXACT) is ignored.
    #[inline(always)]
    pub const fn from_u8(byte: u8) -> Self {
        Self(byte & (OTHERS << SHIFT | CLASS))
    }

    /// The byte for a table.
    #[inline(always)]
    pub const fn to_u8(self) -> u8 {
        self.0
    }

    /// The current class.
    #[inline(always)]
    pub const fn class(self) -> Class {
        Class::from_u8(self.0 & CLASS)
    }

    /// Whether it held no other class within the drain window.
    #[inline(always)]
    pub const fn is_stable(self) -> bool {
        self.0 >> SHIFT == 0
    }

    /// The classes that it held within the drain window, the current one included.
    #[inline(always)]
    pub const fn held(self) -> ClassSet {
        let number = self.class() as u8;
        let others = self.0 >> SHIFT & OTHERS;
        let below = others & ((1 << number) - 1);
        let above = others >> number << (number + 1);
        ClassSet(below | above | 1 << number)
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClassSet(u8);

impl ClassSet {
    /// No class.
    pub const EMPTY: Self = Self(0);

    /// This set and one more class.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u8)
    }

    /// What is in one or the other.
    #[inline(always)]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the class is in it.
    #[inline(always)]
    pub const fn contains(self, class: Class) -> bool {
        self.0 >> class as u8 & 1 != 0
    }

    /// Whether no class is in it.
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One bit for each class, the first class lowest.
    #[inline(always)]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits; those that stand for no class are ignored.
    #[inline(always)]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & ((1 << Class::COUNT) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EXACT;

    #[test]
    fn every_class_with_every_set_comes_back() {
        for class in Class::ALL {
            for bits in 0..1 << Class::COUNT {
                let held = ClassSet::from_bits(bits);
                let standing = Standing::new(class, held);
                assert_eq!(standing.to_u8() & EXACT, 0, "the bit is not the standing's");
                for byte in [standing.to_u8(), standing.to_u8() | EXACT] {
                    let back = Standing::from_u8(byte);
                    assert_eq!(back, standing);
                    assert_eq!(back.class(), class);
                    assert_eq!(back.held(), held.with(class));
                    assert_eq!(
                        back.is_stable(),
                        held.with(class) == ClassSet::EMPTY.with(class)
                    );
                }
            }
            assert_eq!(Standing::stable(class).to_u8(), class as u8);
            assert!(Standing::stable(class).is_stable());
        }
    }

    #[test]
    fn the_other_classes_stand_in_order_without_the_current_one() {
        let held = ClassSet::EMPTY.with(Class::Unmanaged).with(Class::Relay);
        assert_eq!(
            Standing::new(Class::Bypass, held).to_u8(),
            (0b1001 << 3) | 2
        );
        assert_eq!(Standing::new(Class::Unmanaged, held).to_u8(), 0b1000 << 3);
        assert_eq!(Standing::new(Class::Relay, held).to_u8(), (0b0001 << 3) | 4);
    }

    #[test]
    fn a_byte_without_a_class_is_unmanaged() {
        for byte in [5, 6, 7] {
            assert_eq!(Standing::from_u8(byte).class(), Class::Unmanaged);
        }
        assert_eq!(ClassSet::from_bits(0xff).bits(), 0x1f);
        assert!(ClassSet::default().is_empty() && !ClassSet::EMPTY.contains(Class::Unmanaged));
    }
}

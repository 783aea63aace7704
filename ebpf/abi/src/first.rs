//! The first service addresses of a generation once more, where they are found without hashing.
//!
//! ```text
//! FIRST   two generations of eight places: key 16, value 88 bytes      under 2 KiB, one page
//! ```
//!
//! Most have a service or two, at an address of each family, and every packet asks for one of them. All
//! addresses are in the hash as well: what is not found here is looked for there, and what is found here is
//! found there, with the same value. Both are written beside the generation in force, and are in force with
//! the same store.

#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]
#![expect(
    clippy::many_single_char_names,
    reason = "the bytes of an address, one by one: with loops over them the verifier walks more"
)]

use core::mem::size_of;

use crate::{Address, mapped};

/// Addresses of one family that are found without hashing.
pub const FIRST: usize = 4;

/// What stands in front of an IPv4 address, see [`mapped`], in words as in [`words`].
const MAPPED: [u32; 4] = words(mapped(0));

/// The first addresses of one generation.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct First {
    /// Of IPv4.
    v4: [Place; FIRST],
    /// Of IPv6.
    v6: [Place; FIRST],
}

/// An address, and what is served there. A place that is left over repeats the first one of its family, or
/// serves nothing, where there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    key: [u32; 4],
    address: Address,
}

const _: () = assert!(size_of::<Place>() == 104 && size_of::<First>() == 832);

impl First {
    /// The first of these addresses of each family; those behind them have no place here.
    pub fn of<'a>(addresses: impl IntoIterator<Item = (&'a [u8; 16], &'a Address)>) -> Self {
        let mut first = Self::default();
        let (mut four, mut six) = (0, 0);
        for (key, address) in addresses {
            let key = words(*key);
            let (places, taken) = if is_v4(key) {
                (&mut first.v4, &mut four)
            } else {
                (&mut first.v6, &mut six)
            };
            let place = Place {
                key,
                address: *address,
            };
            if *taken == 0 {
                *places = [place; FIRST];
            } else if let Some(free) = places.get_mut(*taken) {
                *free = place;
            }
            *taken += 1;
        }
        first
    }

    /// What is served at an address, if it is one of the first.
    #[inline(always)]
    pub fn find(&self, key: [u32; 4]) -> Option<&Address> {
        if is_v4(key) {
            for i in 0..FIRST {
                if self.v4[i].key[3] == key[3] {
                    return Some(&self.v4[i].address);
                }
            }
        } else {
            for i in 0..FIRST {
                // Word by word: comparing arrays would become a call that the kernel does not have.
                let [a, b, c, d] = self.v6[i].key;
                if d == key[3] && c == key[2] && b == key[1] && a == key[0] {
                    return Some(&self.v6[i].address);
                }
            }
        }
        None
    }
}

/// An address (IPv4 as IPv4-mapped IPv6) in words, as they lie in memory.
#[inline(always)]
pub const fn words(address: [u8; 16]) -> [u32; 4] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
        u32::from_ne_bytes([i, j, k, l]),
        u32::from_ne_bytes([m, n, o, p]),
    ]
}

/// The address whose words these are.
#[inline(always)]
pub const fn octets(words: [u32; 4]) -> [u8; 16] {
    let [[a, b, c, d], [e, f, g, h]] = [words[0].to_ne_bytes(), words[1].to_ne_bytes()];
    let [[i, j, k, l], [m, n, o, p]] = [words[2].to_ne_bytes(), words[3].to_ne_bytes()];
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[inline(always)]
const fn is_v4(key: [u32; 4]) -> bool {
    key[0] == MAPPED[0] && key[1] == MAPPED[1] && key[2] == MAPPED[2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Port, Verdict};

    fn served(port: u16) -> Address {
        let mut address = Address::default();
        address.ports[0] = Port::new(port, 0, [Verdict::Drop; Class::COUNT]);
        address
    }

    /// Addresses of one family, the lowest first.
    fn some(six: bool, count: u16) -> impl Iterator<Item = ([u8; 16], Address)> {
        (1..=count).map(move |number| {
            let key = if six {
                (0x2001_0db8_u128 << 96 | u128::from(number)).to_be_bytes()
            } else {
                mapped(0xc000_0200 + u32::from(number))
            };
            (key, served(number))
        })
    }

    #[test]
    fn the_first_of_each_family_are_found_and_no_others() {
        for counts in [[0, 0], [1, 0], [0, 1], [2, 3], [4, 5], [9, 4]] {
            let all: [_; 18] = core::array::from_fn(|at| {
                let (six, number) = (at >= 9, at % 9);
                some(six, 9).nth(number).expect("nine of each")
            });
            let given = |at: usize| at % 9 < counts[at / 9];
            let taken = all.iter().enumerate().filter(|(at, _)| given(*at));
            let first = First::of(taken.map(|(_, (key, address))| (key, address)));
            for (at, (key, address)) in all.iter().enumerate() {
                let expected = (given(at) && at % 9 < FIRST).then_some(address);
                assert_eq!(first.find(words(*key)), expected, "{counts:?}, {at}");
            }
        }
    }

    #[test]
    fn a_place_that_is_left_over_serves_nothing() {
        let nothing = [mapped(0), [0; 16]];
        for key in nothing {
            let found = First::default().find(words(key)).copied();
            assert_eq!(found.unwrap_or_default(), Address::default());
        }
        // It is an address of each family all the same: nobody else's place may be taken for its own.
        let address = served(1);
        for key in nothing {
            let others = [(mapped(1), served(2)), ([1; 16], served(3)), (key, address)];
            let first = First::of(others.iter().map(|(key, address)| (key, address)));
            assert_eq!(first.find(words(key)), Some(&address));
        }
    }

    #[test]
    fn every_word_of_an_address_counts() {
        let (key, address) = some(true, 1).next().expect("one");
        let first = First::of([(&key, &address)]);
        assert_eq!(octets(words(key)), key);
        for byte in 0..16 {
            let mut other = key;
            other[byte] ^= 0x10;
            assert_eq!(octets(words(other)), other);
            assert_eq!(first.find(words(other)), None, "{byte}");
        }
        // One whose last word is that of an address of IPv4.
        let (four, address) = some(false, 1).next().expect("one");
        let mut six = [0x20; 16];
        six[12..].copy_from_slice(&four[12..]);
        assert_eq!(First::of([(&four, &address)]).find(words(six)), None);
    }
}

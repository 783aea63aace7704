//! The wheel of a service: which server a new connection falls on, by consistent hashing.
//!
//! Maglev (Eisenbud et al., NSDI 2016, §3.4): each server prefers the places of the wheel in an order that
//! follows from its address alone, and in turns each takes the next of its places that is still free. So
//! all get the same share, and when one goes or comes little else moves.

use weir_abi::{NO_SERVER, PLACES, Wheel};

/// A server as the wheel knows it: the slot that stands for it, and its address.
pub(crate) type Member = (u8, [u8; 16]);

/// The wheel of these servers, in whatever order they are given.
pub(crate) fn wheel(members: &[Member]) -> Wheel {
    let mut wheel: Wheel = [NO_SERVER; size_of::<Wheel>()];
    let mut members = members.to_vec();
    members.sort_unstable_by_key(|(_, address)| *address);
    let mut preferences: Vec<_> = members
        .iter()
        .map(|(slot, address)| (*slot, Preference::new(address)))
        .collect();
    let mut free = PLACES;
    while free > 0 && !preferences.is_empty() {
        for (slot, preference) in &mut preferences {
            if free == 0 {
                break;
            }
            let place = preference
                .find(|place| wheel[*place] == NO_SERVER)
                .expect("it comes by every place, and one is free");
            wheel[place] = *slot;
            free -= 1;
        }
    }
    wheel
}

/// Every place of the wheel, again and again, in the order in which a server prefers them.
struct Preference {
    next: u32,
    skip: u32,
}

impl Preference {
    fn new(address: &[u8; 16]) -> Self {
        Self {
            next: hash(address, 0x9ae1_6a3b) % PLACES,
            // The number of places is prime: every step leads by all of them.
            skip: hash(address, 0xc949_d7c7) % (PLACES - 1) + 1,
        }
    }
}

impl Iterator for Preference {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.next;
        self.next = (place + self.skip) % PLACES;
        Some(place as usize)
    }
}

/// FNV-1a with a finish that mixes all bits (MurmurHash3's).
fn hash(address: &[u8; 16], seed: u32) -> u32 {
    let mut hash = address.iter().fold(0x811c_9dc5 ^ seed, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use weir_abi::mapped;

    use super::*;

    /// So many servers, different ones for each of many cases.
    fn servers(case: u32, count: u32) -> Vec<Member> {
        let address = |number: u32| mapped(0x0a00_0000 + case * 977 + number * (case % 7 + 1));
        (0_u8..)
            .zip(0..count)
            .map(|(slot, number)| (slot, address(number)))
            .collect()
    }

    fn places(wheel: &Wheel) -> &[u8] {
        &wheel[..PLACES as usize]
    }

    #[test]
    fn every_server_has_the_same_share() {
        for case in 0..40 {
            for count in [1, 2, 3, 5, 8, 31, 32] {
                let wheel = wheel(&servers(case, count));
                for slot in 0..count {
                    let share = places(&wheel)
                        .iter()
                        .filter(|one| u32::from(**one) == slot)
                        .count();
                    let fair = PLACES / count;
                    assert!(
                        share.abs_diff(fair as usize) <= 1,
                        "{share} of {count}, case {case}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_loss_moves_little_that_was_not_its_own() {
        for case in 0..40 {
            for count in [2_u32, 3, 5, 8, 16] {
                let all = servers(case, count);
                let before = wheel(&all);
                for gone in &all {
                    let rest: Vec<_> = all.iter().filter(|one| *one != gone).copied().collect();
                    let after = wheel(&rest);
                    let moved = places(&before)
                        .iter()
                        .zip(places(&after))
                        .filter(|(before, after)| **before != gone.0 && before != after)
                        .count();
                    // Measured by the authors for wheels a hundred times the servers: a few in a hundred.
                    assert!(
                        moved < PLACES as usize / 10,
                        "{moved} moved, case {case} of {count}"
                    );
                    assert!(!places(&after).contains(&gone.0));
                    assert_eq!(wheel(&all), before, "what comes back gets its places back");
                }
            }
        }
    }

    #[test]
    fn the_order_does_not_matter() {
        for case in 0..40 {
            let mut all = servers(case, 7);
            let before = wheel(&all);
            all.reverse();
            assert_eq!(wheel(&all), before);
            all.rotate_left(3);
            assert_eq!(wheel(&all), before);
        }
    }

    #[test]
    fn without_servers_every_place_is_empty() {
        assert!(wheel(&[]).iter().all(|slot| *slot == NO_SERVER));
    }
}

//! Which refusals are told of when there are too many: so that a flood of them neither fills the audit
//! log nor pushes out of it what an operator looks for.
//!
//! Every refusal is counted. Of each source some are told of, then one every other second; of all
//! sources together no more than the log can keep. Whoever is told of next says how many were not.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::shares::source_of;

/// Sources that hash to one place share it, so that spoofing cannot take memory.
const PLACES: usize = 4096;
/// Of one source: so many at once, and then one in this time.
const SOURCE: (u64, Duration) = (60, Duration::from_secs(2));
/// Of all sources.
const ALL: (u64, Duration) = (2000, Duration::from_millis(20));

/// Chooses what is told of.
#[derive(Debug)]
pub struct Sample {
    began: Instant,
    hasher: RandomState,
    places: Box<[Place]>,
    all: Place,
}

/// Of one source, or of all.
#[derive(Debug, Default)]
struct Place {
    /// When what was told of is paid off, in microseconds since the beginning.
    paid: AtomicU64,
    /// Not told of since the last that was.
    skipped: AtomicU64,
}

impl Default for Sample {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            places: (0..PLACES).map(|_| Place::default()).collect(),
            all: Place::default(),
        }
    }
}

impl Sample {
    /// Whether a refusal of this source is told of; then how many before it were not.
    pub fn admit(&self, source: IpAddr) -> Option<u64> {
        self.admit_at(self.began.elapsed(), source)
    }

    fn admit_at(&self, now: Duration, source: IpAddr) -> Option<u64> {
        let place = &self.places[self.place(source)];
        if place.takes(now, SOURCE) && self.all.takes(now, ALL) {
            Some(place.skipped.swap(0, Ordering::Relaxed))
        } else {
            place.skipped.fetch_add(1, Ordering::Relaxed);
            None
        }
    }

    fn place(&self, source: IpAddr) -> usize {
        let hash = self.hasher.hash_one(source_of(source));
        usize::try_from(hash % PLACES as u64).expect("below PLACES")
    }
}

impl Place {
    /// The generic cell rate algorithm (ITU-T I.371).
    fn takes(&self, now: Duration, (most, each): (u64, Duration)) -> bool {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4);
        let (now, each) = (micros(now), micros(each));
        let took = self
            .paid
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| {
                let next = paid.max(now) + each;
                (next <= now + each * most).then_some(next)
            });
        took.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_told_of_so_often_and_then_now_and_then() {
        let sample = Sample::default();
        let [flood, other] = ["198.51.100.7", "2001:db8::1"].map(|ip| ip.parse().expect("an ip"));
        let start = Duration::from_secs(1000);
        let told = (0..10_000).filter(|_| sample.admit_at(start, flood).is_some());
        assert_eq!(told.count(), 60);
        if sample.place(flood) != sample.place(other) {
            assert_eq!(sample.admit_at(start, other), Some(0));
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(sample.admit_at(later, flood), Some(9_940));
        assert_eq!(sample.admit_at(later, flood), None);
    }

    #[test]
    fn all_sources_together_are_told_of_so_often() {
        let sample = Sample::default();
        let start = Duration::from_secs(1000);
        let told = (0..100_000u32)
            .filter(|n| sample.admit_at(start, IpAddr::V4((*n).into())).is_some())
            .count();
        assert_eq!(told, 2000);
    }
}

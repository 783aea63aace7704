//! How often users sign in where a rule lets them through within a rate.
//!
//! One instant is kept for each user of a service, for each source, and for each service: when the last
//! of the sign-ins admitted so far is paid off (the generic cell rate algorithm, ITU-T I.371). What is
//! paid off is forgotten. Kept from generation to generation, so that a reload resets nothing.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_policy::{Rate, SignIn};

use crate::shares::source_of;

/// Of what a service admits, one source has at most a quarter: nobody uses it up for all others.
const SOURCES: u32 = 4;

/// Most instants that are kept. The users are known ones, and sources are kept only as far as the rate of
/// their service admits them, so this is beyond what an organisation needs; when it is reached nobody
/// more is admitted until some are paid off.
const MOST: usize = 1 << 20;

/// The counts.
#[derive(Debug)]
pub struct Rates {
    began: Instant,
    /// Names are not kept, only what they hash to, by keys of this process.
    hasher: RandomState,
    /// In microseconds since `began`, when it is paid off.
    paid: Mutex<HashMap<u64, u64>>,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            hasher: RandomState::new(),
            paid: Mutex::default(),
        }
    }
}

impl Rates {
    /// Admits a sign-in when it is within the rates of its user, of its source and of its service; it
    /// counts against all of them, or against none.
    pub fn admit(&self, sign_in: &SignIn<'_>) -> bool {
        self.admit_at(self.began.elapsed(), sign_in)
    }

    /// Whether [`Self::admit`] would; counts nothing.
    pub fn would_admit(&self, sign_in: &SignIn<'_>) -> bool {
        let now = micros(self.began.elapsed());
        self.next(&self.lock(), now, sign_in).is_some()
    }

    fn admit_at(&self, since: Duration, sign_in: &SignIn<'_>) -> bool {
        let now = micros(since);
        let mut paid = self.lock();
        let Some(next) = self.next(&paid, now, sign_in) else {
            return false;
        };
        if paid.len() + next.len() > MOST {
            paid.retain(|_, paid| *paid > now);
            if paid.len() + next.len() > MOST {
                return false;
            }
        }
        paid.extend(next);
        true
    }

    /// What is to be kept when the sign-in is admitted.
    fn next(
        &self,
        paid: &HashMap<u64, u64>,
        now: u64,
        sign_in: &SignIn<'_>,
    ) -> Option<Vec<(u64, u64)>> {
        let Rate {
            user_per_hour,
            service_per_minute,
        } = sign_in.rate;
        let service = (sign_in.service, sign_in.user.is_some());
        let all = (
            self.hasher.hash_one((0, service)),
            service_per_minute,
            Duration::from_mins(1),
        );
        let one = sign_in.user.map(|user| {
            (
                self.hasher.hash_one((1, service, user)),
                user_per_hour,
                Duration::from_hours(1),
            )
        });
        let from = sign_in.source.map(|source| {
            (
                self.hasher.hash_one((2, service, source_of(source))),
                service_per_minute.div_ceil(SOURCES),
                Duration::from_mins(1),
            )
        });
        one.into_iter()
            .chain(from)
            .chain([all])
            .map(|(key, most, window)| {
                let window = micros(window);
                let each = window / u64::from(most.max(1));
                let from = paid.get(&key).copied().unwrap_or(0).max(now);
                let fits = most > 0 && from + each <= now + window;
                fits.then_some((key, from + each))
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        // Nothing in here can be left half done.
        self.paid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        user_per_hour: 4,
        service_per_minute: 6,
    };

    fn sign_in(user: &str) -> SignIn<'_> {
        SignIn {
            service: "sts",
            user: Some(user),
            source: None,
            rate: RATE,
        }
    }

    #[test]
    fn a_user_signs_in_so_often_and_then_as_time_allows() {
        let rates = Rates::default();
        let at = |minutes: u64| Duration::from_mins(minutes);
        for _ in 0..4 {
            assert!(rates.admit_at(at(60), &sign_in("alice")));
        }
        assert!(!rates.admit_at(at(60), &sign_in("alice")));
        assert!(!rates.admit_at(at(74), &sign_in("alice")));
        assert!(rates.admit_at(at(75), &sign_in("alice")));
        assert!(!rates.admit_at(at(75), &sign_in("alice")));
        assert!(rates.admit_at(at(75), &sign_in("bob")));
        for _ in 0..4 {
            assert!(rates.admit_at(at(1000), &sign_in("alice")));
        }
        assert!(!rates.admit_at(at(1000), &sign_in("alice")));
    }

    #[test]
    fn all_users_of_a_service_together_sign_in_so_often() {
        let rates = Rates::default();
        let users = ["a", "b", "c", "d", "e", "f"];
        for user in users {
            assert!(rates.admit_at(Duration::ZERO, &sign_in(user)));
        }
        assert!(!rates.admit_at(Duration::ZERO, &sign_in("g")));
        let document = SignIn {
            user: None,
            ..sign_in("")
        };
        assert!(rates.admit_at(Duration::ZERO, &document), "counted apart");
        let elsewhere = SignIn {
            service: "adfs",
            ..sign_in("g")
        };
        assert!(rates.admit_at(Duration::ZERO, &elsewhere));
        assert!(rates.admit_at(Duration::from_secs(10), &sign_in("g")));
        assert!(
            rates.admit_at(Duration::from_secs(20), &sign_in("g")),
            "who was refused has not been counted"
        );
    }

    #[test]
    fn a_source_has_a_quarter_of_what_its_service_admits() {
        let rates = Rates::default();
        let from = |user, source: &str| SignIn {
            source: Some(source.parse().expect("an ip")),
            ..sign_in(user)
        };
        for address in ["2001:db8::1", "2001:db8::2"] {
            assert!(rates.admit_at(Duration::ZERO, &from("a", address)));
        }
        assert!(!rates.admit_at(Duration::ZERO, &from("b", "2001:db8::3")));
        assert!(rates.admit_at(Duration::ZERO, &from("b", "2001:db8:0:1::1")));
        assert!(rates.admit_at(Duration::from_secs(30), &from("b", "2001:db8::3")));
    }

    #[test]
    fn asking_takes_nothing() {
        let rates = Rates::default();
        for _ in 0..100 {
            assert!(rates.would_admit(&sign_in("alice")));
        }
        for _ in 0..4 {
            assert!(rates.admit(&sign_in("alice")));
        }
        assert!(!rates.would_admit(&sign_in("alice")));
    }
}

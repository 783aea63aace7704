//! Tokens that were seen, until they expire: each earns a grant once.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use time::UtcDateTime;

/// Most tokens that are remembered. While there are more, none is new.
const MOST: usize = 1 << 20;

/// What was seen. Ids are not kept, only what they hash to, by keys of this process.
#[derive(Debug, Default)]
pub struct Replays {
    keys: [RandomState; 2],
    seen: Mutex<HashMap<u128, UtcDateTime>>,
}

impl Replays {
    /// Whether a token is seen for the first time. From now on it was seen.
    pub fn is_new(
        &self,
        service: &str,
        id: &str,
        not_after: UtcDateTime,
        now: UtcDateTime,
    ) -> bool {
        let [high, low] = [&self.keys[0], &self.keys[1]].map(|key| key.hash_one((service, id)));
        let key = u128::from(high) << 64 | u128::from(low);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.retain(|_, until| *until > now - super::SKEW);
            if seen.len() >= MOST {
                return false;
            }
        }
        seen.insert(key, not_after).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_new_once_at_each_service() {
        let replays = Replays::default();
        let now = UtcDateTime::now();
        let until = now + Duration::from_hours(1);
        let is_new = |service, id| replays.is_new(service, id, until, now);
        assert!(is_new("sts", "_a"));
        assert!(!is_new("sts", "_a"));
        assert!(is_new("sts", "_b"));
        assert!(is_new("adfs", "_a"));
    }

    #[test]
    fn what_has_expired_makes_room_and_nothing_else_does() {
        let replays = Replays::default();
        let now = UtcDateTime::now();
        let over = now - Duration::from_hours(1);
        for number in 0..MOST {
            assert!(replays.is_new("sts", &number.to_string(), over, now));
        }
        let later = now + Duration::from_hours(1);
        assert!(replays.is_new("sts", "_a", later, now));
        for number in 1..MOST {
            assert!(replays.is_new("sts", &number.to_string(), later, now));
        }
        assert!(!replays.is_new("sts", "_b", later, now));
    }
}

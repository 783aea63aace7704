//! Tokens that were seen, until they expire: each is new once.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use time::UtcDateTime;

use crate::counts::Counter;

/// Most tokens that are remembered.
const MOST: usize = 1 << 20;
/// Tokens are forgotten together that expire within so many seconds of each other.
const TOGETHER: i64 = 60;
/// Most tokens that are forgotten while one is asked for: more than come, so that none is left over.
const AT_ONCE: usize = 4;

/// What was seen. Ids are not kept, only what they hash to, by keys of this process.
#[derive(Debug)]
pub struct Replays {
    keys: [RandomState; 2],
    most: usize,
    seen: Mutex<Seen>,
    /// Tokens that were not remembered, because there were too many.
    pub full: Counter,
}

/// A token is not known to be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNew {
    /// It was there before.
    #[error("the token was seen before")]
    Before,
    /// It expired so long ago that it may be forgotten.
    #[error("the token has expired")]
    Over,
    /// No more can be remembered.
    #[error(
        "more tokens are valid at once than can be remembered, so that nobody can say whether this one was seen \
         before; let the sign-in server give tokens that expire sooner"
    )]
    Full,
}

#[derive(Debug, Default)]
struct Seen {
    /// When each is over.
    tokens: HashMap<u128, i64>,
    /// The same by when they are over. One of which a later end became known stands here twice.
    ends: BTreeMap<i64, Vec<u128>>,
    /// Entries of `ends`.
    waiting: usize,
    /// What was over by then may be forgotten.
    forgotten: i64,
}

impl Default for Replays {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Replays {
    /// Remembers so many tokens. While all of them are valid, none is new.
    pub fn with_room(most: usize) -> Self {
        Self {
            keys: <[RandomState; 2]>::default(),
            most,
            seen: Mutex::default(),
            full: Counter::default(),
        }
    }

    /// Whether a token is seen for the first time. From now on it was seen.
    ///
    /// # Errors
    /// When it was seen before, or may have been.
    pub fn first(
        &self,
        service: &str,
        id: &str,
        not_after: UtcDateTime,
        now: UtcDateTime,
    ) -> Result<(), NotNew> {
        let [high, low] = [&self.keys[0], &self.keys[1]].map(|key| key.hash_one((service, id)));
        let key = u128::from(high) << 64 | u128::from(low);
        let end = not_after.unix_timestamp().div_euclid(TOGETHER);
        let is_over = (now - super::SKEW).unix_timestamp().div_euclid(TOGETHER);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(is_over);
        // Also when the clock was put back.
        if end < seen.forgotten {
            return Err(NotNew::Over);
        }
        let known = seen.tokens.get(&key).copied();
        if known.is_none_or(|known| known < end) {
            if seen.waiting >= self.most {
                self.full.add();
                return Err(known.map_or(NotNew::Full, |_| NotNew::Before));
            }
            seen.remember(key, end);
        }
        known.map_or(Ok(()), |_| Err(NotNew::Before))
    }
}

impl Seen {
    fn remember(&mut self, key: u128, end: i64) {
        self.tokens.insert(key, end);
        self.ends.entry(end).or_default().push(key);
        self.waiting += 1;
    }

    /// Forgets some of what is over before this.
    fn forget(&mut self, is_over: i64) {
        self.forgotten = self.forgotten.max(is_over);
        for _ in 0..AT_ONCE {
            let Some(mut first) = self.ends.first_entry() else {
                return;
            };
            let end = *first.key();
            if end >= self.forgotten {
                return;
            }
            let key = first.get_mut().pop();
            if first.get().is_empty() {
                first.remove();
            }
            if let Some(key) = key {
                self.waiting -= 1;
                if self.tokens.get(&key) == Some(&end) {
                    self.tokens.remove(&key);
                }
            }
        }
    }
}

//! Who asked for a change on the socket that only reads: a line of the audit log, but not one for
//! each time, so that nobody can push other lines out of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two lines about the same user.
const EVERY: Duration = Duration::from_secs(10);
/// Users that are told apart.
const USERS: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Denied(Mutex<BTreeMap<u32, (Instant, u64)>>);

impl Denied {
    /// Whether a line is due for this user, and how many attempts had none since the line before.
    pub(super) fn due(&self, uid: u32, now: Instant) -> Option<u64> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((told, untold)) = users.get_mut(&uid) {
            if now.duration_since(*told) < EVERY {
                *untold += 1;
                return None;
            }
            *told = now;
            return Some(std::mem::take(untold));
        }
        if users.len() >= USERS {
            users.retain(|_, (told, _)| now.duration_since(*told) < EVERY);
        }
        (users.len() < USERS).then(|| {
            users.insert(uid, (now, 0));
            0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_a_user_in_ten_seconds() {
        let denied = Denied::default();
        let start = Instant::now();
        assert_eq!(denied.due(1000, start), Some(0));
        assert_eq!(denied.due(1000, start + EVERY / 2), None);
        assert_eq!(denied.due(1001, start), Some(0), "another user");
        assert_eq!(denied.due(1000, start + EVERY), Some(1));
    }

    #[test]
    fn users_are_bounded() {
        let denied = Denied::default();
        let start = Instant::now();
        let told = (0..1_000).filter(|uid| denied.due(*uid, start).is_some());
        assert_eq!(told.count(), USERS);
        assert_eq!(denied.due(5_000, start + EVERY), Some(0));
    }
}

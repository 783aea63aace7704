//! How long the proxy's classes wait for a proxy.

use std::time::Duration;

use tokio::time::Instant;

/// Longer between two looks, weir-control itself stood still: what the proxy said meanwhile is still to
/// be read.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Whether the proxy's classes may be handed to the proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    /// The last sign that a proxy serves.
    worked: Instant,
    looked: Instant,
    /// The answer of the last look.
    pub(super) allowed: bool,
}

impl Grace {
    /// The grace begins.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            worked: now,
            looked: now,
            allowed: true,
        }
    }

    /// Whether they may at the time `now`; `serving` is the last sign of life of a proxy that serves.
    pub(super) fn look(&mut self, now: Instant, serving: Option<Instant>, grace: Duration) -> bool {
        if self.allowed && now.duration_since(self.looked) > STOOD_STILL {
            self.worked = now;
        }
        self.looked = now;
        if let Some(heard) = serving {
            self.worked = self.worked.max(heard);
        }
        self.allowed = serving.is_some() || now.duration_since(self.worked) < grace;
        self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    /// Looks four times a second from `from` until `to`, and gives when the answer was last `true`.
    fn looks(grace: &mut Grace, start: Instant, (from, to): (u64, u64), heard: Option<u64>) -> u64 {
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut last = 0;
        for now in (from..=to).step_by(250) {
            if grace.look(at(now), heard.map(at), GRACE) {
                last = now;
            }
        }
        last
    }

    #[test]
    fn it_ends_behind_the_last_sign_of_life() {
        let start = Instant::now();
        let mut grace = Grace::new(start);
        assert_eq!(looks(&mut grace, start, (0, 3000), Some(2000)), 3000);
        assert_eq!(looks(&mut grace, start, (3250, 20_000), None), 6750);
        assert!(!grace.allowed);
    }

    #[test]
    fn who_stood_still_gives_it_anew_but_does_not_end_the_fail_mode() {
        let start = Instant::now();
        let mut grace = Grace::new(start);
        looks(&mut grace, start, (0, 1000), Some(1000));
        // Stopped for a minute, then a second in which the socket is read.
        assert_eq!(looks(&mut grace, start, (60_000, 61_000), None), 61_000);
        assert_eq!(looks(&mut grace, start, (61_250, 70_000), None), 64_750);
        // Stopped again, with no proxy from the start.
        assert_eq!(looks(&mut grace, start, (100_000, 101_000), None), 0);
    }
}

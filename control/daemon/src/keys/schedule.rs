//! When the keys of a service are read: at the start, each hour, and when the proxy meets a token whose key it
//! does not know, but then not more often than each five minutes.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

/// Time between two readings, a tenth more or less: not all appliances ask at once.
const EVERY: Duration = Duration::from_hours(1);
/// The shortest time between two readings that a token asks for, and until one that failed is tried again.
const WANTED_EVERY: Duration = Duration::from_mins(5);
/// The same while there are no keys at all.
const WITHOUT_KEYS: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    next: Instant,
    begun: Option<Instant>,
}

impl Schedule {
    /// The first reading is due.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            begun: None,
        }
    }

    /// Whether a reading is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// One begins. Should it never end, another is due some time.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
        self.next = now + WANTED_EVERY;
    }

    /// One has ended.
    pub(super) fn end(&mut self, done: bool, known: bool, now: Instant) {
        let wait = match (done, known) {
            (true, _) => about(EVERY),
            (false, true) => WANTED_EVERY,
            (false, false) => WITHOUT_KEYS,
        };
        self.next = now + wait;
    }

    /// A token was met whose key is not known.
    pub(crate) fn want(&mut self, now: Instant) {
        let soonest = self.begun.map_or(now, |begun| begun + WANTED_EVERY);
        self.next = self.next.min(soonest.max(now));
    }
}

/// This time, a tenth more or less: not all appliances ask at once.
pub(crate) fn about(time: Duration) -> Duration {
    time.mul_f64(0.9 + 0.2 * share())
}

/// Any number from 0 to 1.
fn share() -> f64 {
    let any = RandomState::new().build_hasher().finish();
    f64::from(u16::try_from(any & 0xffff).expect("sixteen bits")) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_cannot_ask_more_often_than_each_five_minutes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(start);
        assert!(schedule.is_due(start), "at the start");
        schedule.begin(start);
        assert!(!schedule.is_due(at(1)), "one is under way");
        schedule.end(true, true, at(1));
        schedule.want(at(10));
        assert!(!schedule.is_due(at(299)));
        assert!(schedule.is_due(at(300)), "it is not forgotten");
        schedule.begin(at(300));
        schedule.end(true, true, at(301));
        schedule.want(at(1000));
        assert!(schedule.is_due(at(1000)), "the last one is long over");
    }

    #[test]
    fn it_is_read_each_hour_and_sooner_when_that_failed() {
        let start = Instant::now();
        let at = |minutes| start + Duration::from_mins(minutes);
        let mut schedule = Schedule::new(start);
        schedule.end(true, true, start);
        assert!(!schedule.is_due(at(53)) && schedule.is_due(at(67)));
        schedule.end(false, true, start);
        assert!(!schedule.is_due(at(4)) && schedule.is_due(at(5)));
        schedule.end(false, false, start);
        assert!(schedule.is_due(at(1)), "nobody is believed until then");
        schedule.begin(start);
        assert!(
            schedule.is_due(at(5)),
            "one that never ends is not the last"
        );
    }
}

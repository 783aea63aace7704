//! When a part is read next. Pure: the time is told.

use std::time::Duration;

use crate::health::Finding;
use crate::model::Part;

/// When a full round that is held is tried again: until then its changes are told by delta rounds.
const FULL_AGAIN: Duration = Duration::from_hours(6);
/// When a full round is tried of which nobody knows when the last one was.
const FULL_SOON: Duration = Duration::from_mins(30);

/// How a part's rounds go. Times are those of a clock that never goes back.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) cadence: Duration,
    /// When the next round begins.
    pub(super) next: Duration,
    /// When the next round is a full one; never, of a part that is always read in full.
    pub(super) full_at: Option<Duration>,
    /// Rounds that were begun.
    pub(super) runs: u64,
    pub(super) is_running: bool,
    /// Somebody asked for another one while it ran.
    again: bool,
    /// How many failed in a row.
    pub(super) failures: u32,
    /// Why the last one did.
    pub(super) finding: Option<Finding>,
    /// What the last one that succeeded is without, and why.
    pub(super) without: Vec<Finding>,
}

impl Task {
    /// Of a part whose last full round was so long ago, if anybody knows.
    pub(super) fn new(
        part: Part,
        cadence: Duration,
        now: Duration,
        full_every: Duration,
        since_full: Option<Duration>,
    ) -> Self {
        let has_links = matches!(part, Part::Users | Part::Groups);
        let full_at = match since_full {
            Some(ago) => now + full_every.saturating_sub(ago),
            None => now + FULL_SOON.min(full_every),
        };
        Self {
            cadence,
            next: now,
            full_at: has_links.then_some(full_at),
            runs: 0,
            is_running: false,
            again: false,
            failures: 0,
            finding: None,
            without: Vec::new(),
        }
    }

    /// Whether a round is to begin.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        !self.is_running && self.next <= now
    }

    /// Has a round begin as soon as may be; gives its number.
    pub(super) fn wake(&mut self, now: Duration, full: bool) -> u64 {
        self.next = now;
        self.again = self.is_running;
        if full && self.full_at.is_some() {
            self.full_at = Some(now);
        }
        self.runs + 1
    }

    /// A round begins; whether it is a full one.
    pub(super) fn begin(&mut self, now: Duration) -> bool {
        self.runs += 1;
        self.is_running = true;
        self.again = false;
        self.full_at.is_some_and(|at| at <= now)
    }

    /// A round came to something.
    pub(super) fn succeeded(
        &mut self,
        now: Duration,
        chance: f64,
        full: Option<Duration>,
        is_held: bool,
    ) {
        self.failures = 0;
        self.finding = None;
        if let Some(every) = full.filter(|_| self.full_at.is_some()) {
            let wait = if is_held { FULL_AGAIN } else { every };
            self.full_at = Some(now + wait.mul_f64(0.9 + 0.1 * chance));
        }
        self.ended(now, self.cadence.mul_f64(0.9 + 0.2 * chance));
    }

    /// A round failed, and the next is worth it after that time.
    pub(super) fn failed(&mut self, now: Duration, wait: Duration, finding: Finding) {
        self.finding = Some(finding);
        self.ended(now, wait);
    }

    fn ended(&mut self, now: Duration, wait: Duration) {
        self.is_running = false;
        self.next = if self.again { now } else { now + wait };
    }
}

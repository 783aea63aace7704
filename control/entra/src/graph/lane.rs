//! How fast to ask: Graph counts requests by kind, and so do we.
//!
//! A lane stops as a whole when Graph says so to any request in it. Beforehand it goes no faster than Graph lets that
//! kind go, and slows down when Graph says that little is left.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName};

use super::ask::Lane;
use crate::retry::text;

const UNITS: HeaderName = HeaderName::from_static("x-ms-resource-unit");
const USED: HeaderName = HeaderName::from_static("x-ms-throttle-limit-percentage");

/// Resource units that a small tenant has for an application in ten seconds.
const BUDGET: u32 = 3500;
/// In which they are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Most that one answer is believed to have cost.
const DEAREST: u32 = 1000;

/// How a lane stands. Times are those of a clock that never goes back.
#[derive(Debug, Default)]
pub(crate) struct State {
    stopped: Duration,
    /// When the next request would be due at an even pace.
    due: Duration,
    /// The same, by resource units.
    paid: Duration,
}

impl State {
    /// Lets some requests go, or says how long to wait before asking again.
    pub(crate) fn enter(&mut self, lane: Lane, count: u32, now: Duration) -> Result<(), Duration> {
        let (interval, burst) = pace(lane);
        let ahead = interval * (burst - 1);
        let free = [
            self.stopped,
            self.due.saturating_sub(ahead),
            self.paid.saturating_sub(WINDOW),
        ];
        let free = free.into_iter().max().unwrap_or_default();
        if let Some(wait) = free.checked_sub(now).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        self.due = self.due.max(now) + interval * count;
        Ok(())
    }

    /// Stops the lane for a while.
    pub(crate) fn stop(&mut self, now: Duration, wait: Duration) {
        self.stopped = self.stopped.max(now + wait);
    }

    /// Takes in what an answer says of the cost, and of what is left.
    pub(crate) fn told(&mut self, headers: &HeaderMap, now: Duration) {
        let units = text(headers, &UNITS).and_then(|value| value.trim().parse::<u32>().ok());
        let units = units.unwrap_or(1).min(DEAREST);
        self.paid = self.paid.max(now) + WINDOW / BUDGET * units;
        let used = text(headers, &USED).and_then(|value| value.trim().parse::<f64>().ok());
        if let Some(used) = used.filter(|used| (0.8..f64::INFINITY).contains(used)) {
            // Half a second when it begins to be close, a whole window when it is far over.
            let wait = WINDOW.mul_f64((0.05 + (used - 0.8)).min(1.0));
            self.stop(now, wait);
        }
    }
}

/// How long from one request to the next in the long run, and how many may go at once.
fn pace(lane: Lane) -> (Duration, u32) {
    match lane {
        Lane::ConditionalAccess => (Duration::from_secs(1), 1),
        Lane::Audit => (Duration::from_secs(2), 5),
        Lane::Identity | Lane::Other => (Duration::ZERO, 1),
    }
}

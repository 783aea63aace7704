//! Time and chance, as the Entra side is given them: what waits, renews or backs off asks here, and tests bring
//! a clock of their own.

use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

/// What [`Clock::sleep`] gives.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A source of time and chance.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time of day, which somebody may have set wrong.
    fn now(&self) -> OffsetDateTime;
    /// Time since some moment in the past; never goes back.
    fn elapsed(&self) -> Duration;
    /// From 0 up to, and without, 1.
    fn chance(&self) -> f64;
    /// Ends after that time.
    fn sleep(&self, time: Duration) -> Sleep<'_>;
}

/// The clock of this machine.
#[derive(Debug)]
pub struct System {
    start: Instant,
}

impl Default for System {
    fn default() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for System {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn chance(&self) -> f64 {
        rand::random()
    }

    fn sleep(&self, time: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(time))
    }
}

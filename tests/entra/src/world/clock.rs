//! The time in the lab's cloud, which tests move.

use http::HeaderValue;
use time::format_description::well_known::{Rfc2822, Rfc3339};
use time::{Duration, OffsetDateTime};

/// A clock that goes with the real one until it is stopped or put forward.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    stopped: Option<OffsetDateTime>,
    ahead: Duration,
}

impl Clock {
    /// The present.
    pub fn now(&self) -> OffsetDateTime {
        self.stopped.unwrap_or_else(OffsetDateTime::now_utc) + self.ahead
    }

    /// Puts it forward, or back by a negative duration.
    pub fn advance(&mut self, by: Duration) {
        self.ahead += by;
    }

    /// Stops it at a moment; from then on it goes only by [`Clock::advance`].
    pub fn stop_at(&mut self, moment: OffsetDateTime) {
        *self = Self {
            stopped: Some(moment),
            ahead: Duration::ZERO,
        };
    }
}

/// A moment as Graph writes it, in whole seconds.
pub fn written(moment: OffsetDateTime) -> String {
    moment
        .replace_nanosecond(0)
        .expect("nought is a nanosecond")
        .to_offset(time::UtcOffset::UTC)
        .format(&Rfc3339)
        .expect("the year has four digits")
}

/// A moment as a header field has it.
pub fn http_date(moment: OffsetDateTime) -> HeaderValue {
    let date = moment
        .to_offset(time::UtcOffset::UTC)
        .format(&Rfc2822)
        .expect("the year is later than 1900")
        .replace("+0000", "GMT");
    HeaderValue::try_from(date).expect("a date is ASCII")
}

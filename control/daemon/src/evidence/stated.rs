//! Times as people state them about evidence.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, time};
use time::{Date, OffsetDateTime, UtcOffset};

use super::EvidenceError;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// A moment, or a whole day in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// A moment.
    Moment(OffsetDateTime),
    /// All of a day.
    Day(Date),
}

impl Stated {
    /// What to write.
    pub const FORM: &'static str = "write a day, 2026-03-31, which is all of it in UTC, or a time as RFC 3339 says: \
                                    2026-03-31T17:00:00Z";

    /// Reads RFC 3339 or `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(day) = Date::parse(text, DAY) {
            return Some(Self::Day(day));
        }
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self::Moment(moment.checked_to_offset(UtcOffset::UTC)?))
    }

    /// The moment, or that with which the day begins.
    pub const fn begin(self) -> OffsetDateTime {
        match self {
            Self::Moment(moment) => moment,
            Self::Day(day) => day.midnight().assume_utc(),
        }
    }

    /// The moment, or that with which the day ends, if that is over.
    pub fn end(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Moment(moment) => moment,
            Self::Day(day) => day.with_time(time!(23:59:59.999)).assume_utc().min(now),
        }
    }

    /// Nobody knows what will be.
    pub(super) fn is_over(self, now: OffsetDateTime) -> Result<(), EvidenceError> {
        if self.begin() > now {
            Err(EvidenceError::Ahead { at: self.begin() })
        } else {
            Ok(())
        }
    }
}

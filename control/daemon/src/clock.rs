//! Times as they stand in the audit log and on the control socket.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const RFC3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// RFC 3339, UTC, milliseconds.
pub fn text(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(RFC3339_MILLIS)
        .expect("the format names only what every date has")
}

/// Now, as [`text`].
pub fn now() -> String {
    text(OffsetDateTime::now_utc())
}

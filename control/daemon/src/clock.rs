//! Times as they stand in the audit log and on the control socket.

use std::fs;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::Error;

const RFC3339_MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// RFC 3339, UTC, milliseconds.
pub fn text(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(RFC3339_MILLIS)
        .expect("the format names only what every date has")
}

/// What tells one boot of this machine from another (random(4)).
pub fn boot_id() -> Result<String, Error> {
    const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(BOOT_ID).map_err(Error::file("read", BOOT_ID))?;
    Ok(text.trim().to_owned())
}

/// Now, as [`text`].
pub fn now() -> String {
    text(OffsetDateTime::now_utc())
}

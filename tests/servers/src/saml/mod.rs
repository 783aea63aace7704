//! Tokens: how the federation services write and sign them, and how the cloud checks them.
//!
//! The two halves share only the moment's spelling: [`assertion`] and [`response`] write, [`sign`] signs with an
//! XML-DSig library, [`verify`] checks with another one (the `xmlsec1` program), so that a mistake of one is seen by
//! the other.

pub mod assertion;
pub mod response;
pub mod sign;
pub mod verify;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const MOMENT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A moment as tokens spell it: UTC, milliseconds, `Z`.
pub fn moment(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(&MOMENT)
        .expect("a moment within four-digit years")
}

//! `[grants]`: where an address stands for one person.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::values;
use crate::config::Grants;
use crate::reader::{Context, Table};

/// A grant lasts an hour at most, and who holds one was seen at its beginning.
const LOOK_BACK: RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(24 * 7);
/// Half a day: whoever had the address at work has left it for the night.
const LOOK_BACK_UNLESS_SET: Duration = Duration::from_hours(12);

/// A prefix with fewer bits than this is hardly a pool of one organisation.
const NARROW: [u8; 2] = [16, 32];

/// Reads the table, or what holds without one.
pub(super) fn read(context: &Context<'_>, table: Option<&Table<'_>>) -> Grants {
    let Some(table) = table else {
        return Grants {
            single_user: Vec::new(),
            look_back: LOOK_BACK_UNLESS_SET,
        };
    };
    let items = table.strings("single_user").unwrap_or_default();
    let mut single_user = Vec::new();
    for item in &items {
        // Said better below than as for a list.
        let everyone = weir_tables::parse_prefix(item.value.trim())
            .is_ok_and(|entry| entry.prefix.prefix_len() == 0);
        if everyone {
            context.error(
                &item.span,
                "not every address on the Internet belongs to one person",
                "behind a shared address a grant opens the kernel's path to strangers: name the pools in \
                 which each person has an address of their own",
            );
            continue;
        }
        let Some(prefix) = values::prefix(context, item) else {
            continue;
        };
        let narrow = NARROW[usize::from(prefix.addr().is_ipv6())];
        if prefix.prefix_len() < narrow {
            context.warning(
                &item.span,
                format!("`{prefix}` is a wide range for addresses of one person each"),
                format!(
                    "behind a shared address a grant opens the kernel's path to strangers: name your \
                     own pools (/{narrow} or longer)"
                ),
            );
        }
        single_user.push(prefix);
    }
    Grants {
        single_user,
        look_back: table
            .string("look_back")
            .and_then(|written| values::duration(context, &written, LOOK_BACK))
            .unwrap_or(LOOK_BACK_UNLESS_SET),
    }
}

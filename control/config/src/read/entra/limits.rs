//! `[entra.limits]` and `[entra.keep]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use weir_entra::guard::{Limits, Share};
use weir_entra::sync::Keep;

use crate::read::values;
use crate::reader::{Context, Table};
use crate::schema;

/// What may be few, in numbers.
const NUMBER: RangeInclusive<i64> = 0..=10_000_000;
/// What may be few, of a hundred. A hundred of a hundred would be no limit.
const PERCENT: RangeInclusive<i64> = 0..=99;
/// Sign-ins and audits are kept so many at most: more do not fit into a review.
const ENTRIES: RangeInclusive<i64> = 0..=10_000_000;
/// They are kept so long.
const LOGS: RangeInclusive<Duration> = Duration::from_hours(24)..=Duration::from_hours(400 * 24);
/// So is what changed.
const JOURNAL: RangeInclusive<Duration> =
    Duration::from_hours(24)..=Duration::from_hours(3660 * 24);

/// How much a round may take away by itself.
pub(super) fn limits(context: &Context<'_>, table: &Table<'_>) -> Limits {
    let usual = Limits::default();
    let Some(table) = table.table("limits", &schema::ENTRA_LIMITS) else {
        return usual;
    };
    let share = |key, usual| share(context, &table, key, usual);
    Limits {
        users: share("users", usual.users),
        disabled: share("disabled", usual.disabled),
        groups: share("groups", usual.groups),
        edges: share("edges", usual.edges),
        watched_percent: number(&table, "watched_percent", PERCENT, usual.watched_percent),
        watched_people: number(&table, "watched_people", NUMBER, usual.watched_people),
    }
}

/// For how long things are kept.
pub(super) fn keep(context: &Context<'_>, table: &Table<'_>) -> Keep {
    let usual = Keep::default();
    let Some(table) = table.table("keep", &schema::ENTRA_KEEP) else {
        return usual;
    };
    let duration = |key, range, usual| {
        let written = table.string(key);
        let read = written.and_then(|written| values::duration(context, &written, range));
        read.unwrap_or(usual)
    };
    let entries = table.integer("entries", ENTRIES);
    Keep {
        logs: duration("logs", LOGS, usual.logs),
        entries: entries
            .and_then(|entries| usize::try_from(entries.value).ok())
            .unwrap_or(usual.entries),
        journal: duration("journal", JOURNAL, usual.journal),
    }
}

/// Both numbers of a share, or the usual for what is not written.
fn share(context: &Context<'_>, table: &Table<'_>, key: &str, usual: Share) -> Share {
    let Some(share) = table.table(key, &schema::ENTRA_SHARE) else {
        return usual;
    };
    if !share.has("floor") && !share.has("percent") {
        context.error(
            &share.span,
            format!("`{key}` says nothing"),
            format!(
                "write `{key} = {{ floor = 10, percent = 5 }}`: whichever is more is still few"
            ),
        );
    }
    Share {
        floor: number(&share, "floor", NUMBER, usual.floor),
        percent: number(&share, "percent", PERCENT, usual.percent),
    }
}

fn number(table: &Table<'_>, key: &str, range: RangeInclusive<i64>, usual: u64) -> u64 {
    let written = table.integer(key, range);
    written
        .and_then(|written| u64::try_from(written.value).ok())
        .unwrap_or(usual)
}

//! Everything in a snapshot that reading relies on.

use crate::fold::{Index, spread};
use crate::layout::{COMPLETE, ENABLED, HELD, ID, NAMED, NUMBER, Section};
use crate::snapshot::{Fields, ParseError, Raw, named};

/// Looks at every number, order and bound.
pub(crate) fn everything(raw: Raw<'_>) -> Result<(), ParseError> {
    let counts = &raw.layout.counts;
    texts(raw)?;
    ids(raw, Section::UserIds, "users are out of order")?;
    ids(raw, Section::GroupIds, "groups are out of order")?;
    ids(raw, Section::RoleIds, "roles are out of order")?;
    // Of the four values that the bits have room for, three mean something.
    below(raw.section(Section::UserFlags), ENABLED)?;
    below(raw.section(Section::GroupFlags), COMPLETE + 1)?;
    let what = "a user has an unknown set of groups";
    ask(
        numbers(raw, Section::UserSets).all(|set| set < counts.sets),
        what,
    )?;
    for section in [Section::Columns, Section::GroupNames, Section::RoleNames] {
        let what = "a text is unknown";
        ask(numbers(raw, section).all(|text| text <= counts.texts), what)?;
    }
    starts(raw, Section::SetStarts, counts.memberships)?;
    sets(raw)?;
    held(raw)?;
    Index::ALL
        .into_iter()
        .try_for_each(|index| names(raw, index))
}

fn texts(raw: Raw<'_>) -> Result<(), ParseError> {
    starts(raw, Section::TextStarts, raw.layout.counts.text_bytes)?;
    let Ok(all) = std::str::from_utf8(raw.section(Section::Texts)) else {
        return ask(false, "a text is not UTF-8");
    };
    let mut ends = numbers(raw, Section::TextStarts);
    // What is empty is not written: it would not be none.
    let empty = raw
        .records::<NUMBER>(Section::TextStarts)
        .windows(2)
        .any(|ends| ends[0] == ends[1]);
    ask(!empty, "a text is empty")?;
    let what = "a text ends within a character";
    ask(ends.all(|end| all.is_char_boundary(end as usize)), what)
}

/// Where the records of something begin, and at last the end of them all.
fn starts(raw: Raw<'_>, section: Section, end: u32) -> Result<(), ParseError> {
    let bounds = (numbers(raw, section).next(), numbers(raw, section).last());
    let what = "something begins or ends elsewhere than it should";
    ask(bounds == (Some(0), Some(end)), what)?;
    ask(numbers(raw, section).is_sorted(), what)
}

fn ids(raw: Raw<'_>, section: Section, what: &'static str) -> Result<(), ParseError> {
    let ids = raw.records::<ID>(section);
    ask(ids.is_sorted_by(|a, b| a < b), what)
}

fn below(flags: &[u8], limit: u8) -> Result<(), ParseError> {
    ask(
        flags.iter().all(|flags| *flags < limit),
        "a flag is unknown",
    )
}

fn sets(raw: Raw<'_>) -> Result<(), ParseError> {
    let groups = raw.layout.counts.groups;
    for set in 0..raw.layout.counts.sets {
        let members = raw.set(set);
        let number = |bytes: &[u8; NUMBER]| u32::from_le_bytes(*bytes);
        let sorted = members.is_sorted_by(|a, b| number(a) < number(b));
        ask(sorted, "a set of groups is out of order")?;
        let known = members.last().is_none_or(|last| number(last) < groups);
        ask(known, "a set has an unknown group")?;
    }
    Ok(())
}

fn held(raw: Raw<'_>) -> Result<(), ParseError> {
    let counts = &raw.layout.counts;
    let mut before = None;
    for record in raw.records::<HELD>(Section::Held) {
        let mut fields = Fields(record);
        let held = (
            fields.number(),
            fields.number(),
            fields.time(),
            fields.time(),
        );
        ask(before < Some(held), "who holds which role is out of order")?;
        let known = held.0 < counts.users && held.1 < counts.roles;
        ask(known, "a role or its holder is unknown")?;
        before = Some(held);
    }
    Ok(())
}

/// Every name stands in its index once, under its own number: both sides are summed up in the order in which they lie in
/// memory, which is many times faster than to look each up.
fn names(raw: Raw<'_>, index: Index) -> Result<(), ParseError> {
    let counts = &raw.layout.counts;
    let bearers = match index {
        Index::Upn | Index::ImmutableId | Index::Sid => counts.users,
        Index::GroupName => counts.groups,
    };
    let entries = raw.records::<NAMED>(Section::Names(index));
    let sorted = entries.is_sorted_by(|a, b| named(a) < named(b));
    ask(sorted, "an index of names is out of order")?;
    let known = entries.iter().all(|entry| named(entry).1 < bearers);
    ask(known, "an index names an unknown bearer")?;
    let sum = |sum: u64, (number, bearer): (u64, u32)| {
        sum.wrapping_add(spread(number.wrapping_add(spread(1 + u64::from(bearer)))))
    };
    let written = entries.iter().map(named).fold(0, sum);
    let borne = (0..bearers).filter_map(|bearer| {
        let name = raw.full_name(index, bearer)?;
        Some((index.number(name), bearer))
    });
    ask(
        borne.fold(0, sum) == written,
        "an index does not fit its names",
    )
}

fn numbers(raw: Raw<'_>, section: Section) -> impl Iterator<Item = u32> {
    let records = raw.records::<NUMBER>(section);
    records.iter().map(|bytes| u32::from_le_bytes(*bytes))
}

fn ask(holds: bool, what: &'static str) -> Result<(), ParseError> {
    if holds {
        Ok(())
    } else {
        Err(ParseError::Damaged { what })
    }
}

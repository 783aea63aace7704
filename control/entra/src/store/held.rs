//! Rounds that wait for a person.

use redb::ReadableTable;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::change::{Change, Counts, Plan};
use super::journal::What;
use super::tables::{HELD, HELD_CHANGES, decode, encode, get};
use super::writer::Writer;
use super::{Digest, StoreError};
use crate::guard::Reason;
use crate::model::{Id, Part};

/// So many changes stand in one row.
const CHUNK: usize = 512;

/// A round that is held, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it is approved or discarded by.
    pub digest: Digest,
    /// Of which part it is.
    pub part: Part,
    /// Whether the part was read in full.
    pub full: bool,
    /// Since when these changes are held.
    pub since: OffsetDateTime,
    /// When they were last told.
    pub at: OffsetDateTime,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How much waits.
    pub counts: Counts,
    /// Some of those who would lose something.
    pub examples: Vec<Example>,
}

/// Somebody, or something, that would lose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Who.
    pub id: Id,
    /// By which name they are known, if any.
    pub name: String,
    /// What they would lose.
    pub loses: Loses,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Loses {
    /// A user is removed.
    User,
    /// An account is disabled.
    Account,
    /// A group is removed.
    Group,
    /// Somebody is no member any more.
    Membership {
        /// Of this group.
        group: Id,
        /// By which name it is known, if any.
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Row {
    held: Held,
    link: Option<String>,
}

impl Writer {
    /// Keeps a round that is held, in the place of an older one of the part.
    pub(crate) fn hold(
        &mut self,
        mut held: Held,
        link: Option<String>,
        plan: &Plan,
    ) -> Result<Held, StoreError> {
        let part = held.part;
        match self.held(part)? {
            Some((older, _)) if older.digest == held.digest => held.since = older.since,
            older => {
                self.drop_held(older.map(|(held, _)| held), None)?;
                self.note(
                    Some(part),
                    What::Held {
                        digest: held.digest,
                        counts: held.counts,
                        reasons: held.reasons.clone(),
                    },
                )?;
            }
        }
        self.forget_held(part)?;
        let mut changes = self.transaction.open_table(HELD_CHANGES)?;
        let mut each = plan.each().peekable();
        let mut place = 0;
        while each.peek().is_some() {
            let chunk: Vec<Change<'_>> = each.by_ref().take(CHUNK).collect();
            changes.insert((part as u8, place), encode(&chunk).as_slice())?;
            place += 1;
        }
        let row = Row { held, link };
        let mut rows = self.transaction.open_table(HELD)?;
        rows.insert(part as u8, encode(&row).as_slice())?;
        Ok(row.held)
    }

    /// What is held of a part, and the link behind it.
    pub(crate) fn held(&self, part: Part) -> Result<Option<(Held, Option<String>)>, StoreError> {
        let row: Option<Row> = get(
            &self.transaction.open_table(HELD)?,
            "a held round",
            part as u8,
        )?;
        Ok(row.map(|row| (row.held, row.link)))
    }

    /// What the held round of a part would change.
    pub(crate) fn held_plan(&self, part: Part) -> Result<Plan, StoreError> {
        plan(&self.transaction.open_table(HELD_CHANGES)?, part)
    }

    /// Drops what is held of a part, if anything is, and says so in the journal.
    pub(crate) fn drop_held(
        &mut self,
        held: Option<Held>,
        by: Option<&str>,
    ) -> Result<(), StoreError> {
        let Some(held) = held else { return Ok(()) };
        self.forget_held(held.part)?;
        self.note(
            Some(held.part),
            What::Dropped {
                digest: held.digest,
                by: by.map(str::to_owned),
            },
        )
    }

    /// Takes away what is held of a part, without a word.
    pub(crate) fn forget_held(&self, part: Part) -> Result<(), StoreError> {
        self.transaction.open_table(HELD)?.remove(part as u8)?;
        let mut changes = self.transaction.open_table(HELD_CHANGES)?;
        changes.retain_in((part as u8, 0)..=(part as u8, u32::MAX), |_, _| false)?;
        Ok(())
    }
}

/// All that is held.
pub(crate) fn all(table: &impl ReadableTable<u8, &'static [u8]>) -> Result<Vec<Held>, StoreError> {
    let rows = table.iter()?;
    rows.map(|row| Ok(decode::<Row>("a held round", row?.1.value())?.held))
        .collect()
}

/// What the held round of a part would change.
pub(crate) fn plan(
    table: &impl ReadableTable<(u8, u32), &'static [u8]>,
    part: Part,
) -> Result<Plan, StoreError> {
    let mut plan = Plan::default();
    for row in table.range((part as u8, 0)..=(part as u8, u32::MAX))? {
        let chunk: Vec<Change<'static>> = decode("a held round", row?.1.value())?;
        for change in chunk {
            plan.put(change);
        }
    }
    Ok(plan)
}

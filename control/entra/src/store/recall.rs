//! What the end of the journal tells of how collection went.

use redb::ReadableTable;
use time::OffsetDateTime;

use super::tables::JOURNAL;
use super::{Entry, Store, StoreError, What, journal};
use crate::model::Part;

impl Store {
    /// Whether collection was ended, and nothing was collected since.
    pub fn is_disconnected(&self) -> Result<bool, StoreError> {
        if self.parts()?.values().any(|part| part.has_link) {
            return Ok(false);
        }
        let last = self.last(|entry| match entry.what {
            What::Disconnected { .. } => Some(true),
            What::Former(_) | What::Dropped { .. } | What::Pruned { .. } => None,
            _ => Some(false),
        })?;
        Ok(last.unwrap_or(false))
    }

    /// When a part was last read in full with something new in it, if that was after `since`.
    pub fn last_full(
        &self,
        part: Part,
        since: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, StoreError> {
        let last = self.last(|entry| match entry.what {
            _ if entry.at < since => Some(None),
            What::Baseline { .. } | What::Committed { full: true, .. }
                if entry.part == Some(part) =>
            {
                Some(Some(entry.at))
            }
            // From then on nothing was known any more.
            What::Disconnected { .. } => Some(None),
            _ => None,
        })?;
        Ok(last.flatten())
    }

    /// Asks entry after entry, the last one first, until there is an answer.
    fn last<T>(&self, ask: impl Fn(Entry) -> Option<T>) -> Result<Option<T>, StoreError> {
        let table = self.begin_read()?.open_table(JOURNAL)?;
        for row in table.iter()?.rev() {
            let (number, row) = row?;
            if let Some(answer) = ask(journal::read(number.value(), row.value())?) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}

//! What is forgotten, by age or because somebody asked for it.

use redb::{ReadableTable, ReadableTableMetadata};
use time::OffsetDateTime;

use super::StoreError;
use super::journal;
use super::tables::{
    DOCUMENTS, EDGES, GROUPS, JOURNAL, META, META_ANCHOR, META_LIVE, Place, USERS, encode,
};
use super::writer::Writer;

impl Writer {
    /// Takes entries up to a time off the journal.
    pub(crate) fn cut_journal(&self, until: OffsetDateTime) -> Result<u64, StoreError> {
        let mut journal = self.transaction.open_table(JOURNAL)?;
        let mut last = None;
        for row in journal.iter()?.rev() {
            let (number, row) = row?;
            if journal::time_of(row.value())? <= until {
                last = Some(journal::read(number.value(), row.value())?);
                break;
            }
        }
        let Some(last) = last else { return Ok(0) };
        let before = journal.len()?;
        journal.retain_in(..=last.number, |_, _| false)?;
        let (number, hash, at) = (last.number, last.hash, last.at);
        let mut meta = self.transaction.open_table(META)?;
        meta.insert(META_ANCHOR, encode(&Place { number, hash, at }).as_slice())?;
        Ok(before - journal.len()?)
    }

    /// Destroys what is known, and was.
    pub(crate) fn purge(&self) -> Result<(), StoreError> {
        self.transaction.open_table(USERS)?.retain(|_, _| false)?;
        self.transaction.open_table(GROUPS)?.retain(|_, _| false)?;
        self.transaction.open_table(EDGES)?.retain(|_, _| false)?;
        self.transaction
            .open_table(DOCUMENTS)?
            .retain(|_, _| false)?;
        self.transaction.open_table(JOURNAL)?.retain(|_, _| false)?;
        let mut meta = self.transaction.open_table(META)?;
        meta.remove(META_LIVE)?;
        meta.insert(META_ANCHOR, encode(&self.journal.head()).as_slice())?;
        Ok(())
    }
}

//! One transaction: data, links, what is held, and the journal of it, together or not at all.

use std::borrow::Cow;

use redb::{ReadableTable, Table, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::change::{Change, Plan};
use super::journal::{What, Writing};
use super::tables::{
    DOCUMENTS, EDGES, GROUPS, Live, META, META_LIVE, PARTS, PartRow, USERS, decode, encode, get,
    member_kind,
};
use super::{Store, StoreError};
use crate::model::{Group, Id, Part, User};

/// So many former states stand in one entry of the journal.
const CHUNK: usize = 512;

/// A transaction that is not committed yet; dropped, it changes nothing.
pub(crate) struct Writer {
    pub(crate) transaction: WriteTransaction,
    pub(crate) journal: Writing,
}

impl Writer {
    pub(crate) fn begin(store: &Store, now: OffsetDateTime) -> Result<Self, StoreError> {
        let mut transaction = store.begin_write()?;
        // What is written comes from outside.
        transaction.set_two_phase_commit(true);
        let journal = Writing::begin(&transaction, now)?;
        Ok(Self {
            transaction,
            journal,
        })
    }

    pub(crate) fn commit(self) -> Result<(), StoreError> {
        self.journal.finish(&self.transaction)?;
        Ok(self.transaction.commit()?)
    }

    pub(crate) fn note(&mut self, part: Option<Part>, what: What) -> Result<(), StoreError> {
        self.journal.append(&self.transaction, part, what)
    }

    pub(crate) fn part(&self, part: Part) -> Result<PartRow, StoreError> {
        let row = get(&self.transaction.open_table(PARTS)?, "a part", part as u8)?;
        Ok(row.unwrap_or_default())
    }

    pub(crate) fn put_part(&self, part: Part, row: &PartRow) -> Result<(), StoreError> {
        let mut parts = self.transaction.open_table(PARTS)?;
        parts.insert(part as u8, encode(row).as_slice())?;
        Ok(())
    }

    /// Ends a part's failure, or what `code` says went before: a time in which it was not current.
    pub(crate) fn recovered(
        &mut self,
        part: Part,
        row: &mut PartRow,
        code: &str,
    ) -> Result<(), StoreError> {
        let code = row
            .failure
            .take()
            .map_or_else(|| code.to_owned(), |failure| failure.code);
        let from = row.last_success;
        self.note(Some(part), What::Recovered { from, code })
    }

    pub(crate) fn live(&self) -> Result<Live, StoreError> {
        let row = get(&self.transaction.open_table(META)?, "the counts", META_LIVE)?;
        Ok(row.unwrap_or_default())
    }

    /// Puts the plan in force, and what was before into the journal if there is a before.
    pub(crate) fn apply(
        &mut self,
        part: Part,
        plan: &Plan,
        has_before: bool,
    ) -> Result<(), StoreError> {
        let mut live = self.live()?;
        let mut former = Former {
            part,
            is_kept: has_before,
            changes: Vec::new(),
        };
        let (transaction, journal) = (&self.transaction, &mut self.journal);
        {
            let mut users = transaction.open_table(USERS)?;
            for (id, user) in &plan.users {
                let before: Option<User> = put(&mut users, *id, user.as_ref())?;
                let is_live = |user: &User| user.gone.is_none();
                live.users += u64::from(user.as_ref().is_some_and(is_live));
                live.users -= u64::from(before.as_ref().is_some_and(is_live));
                let before = Change::User(*id, before.map(Cow::Owned));
                former.add(before, transaction, journal)?;
            }
        }
        {
            let mut groups = transaction.open_table(GROUPS)?;
            for (id, group) in &plan.groups {
                let before: Option<Group> = put(&mut groups, *id, group.as_ref())?;
                let is_live = |group: &Group| group.gone.is_none();
                live.groups += u64::from(group.as_ref().is_some_and(is_live));
                live.groups -= u64::from(before.as_ref().is_some_and(is_live));
                let before = Change::Group(*id, before.map(Cow::Owned));
                former.add(before, transaction, journal)?;
            }
        }
        {
            let mut edges = transaction.open_table(EDGES)?;
            for ((group, member), kind) in &plan.edges {
                let key = (group.as_u128(), member.as_u128());
                let before = match kind {
                    Some(kind) => edges.insert(key, *kind as u8)?,
                    None => edges.remove(key)?,
                };
                let before = before.map(|kind| member_kind(kind.value())).transpose()?;
                former.add(Change::Edge(*group, *member, before), transaction, journal)?;
            }
        }
        {
            let mut documents = transaction.open_table(DOCUMENTS)?;
            for (id, document) in &plan.documents {
                let key = (part as u8, id.as_str());
                let before = match document {
                    Some(document) => documents.insert(key, document.as_slice())?,
                    None => documents.remove(key)?,
                };
                let before = before.map(|bytes| Cow::Owned(bytes.value().to_vec()));
                let before = Change::Document(Cow::Owned(id.clone()), before);
                former.add(before, transaction, journal)?;
            }
        }
        former.write(transaction, journal)?;
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_LIVE, encode(&live).as_slice())?;
        Ok(())
    }
}

/// What was before, on its way to the journal.
struct Former {
    part: Part,
    is_kept: bool,
    changes: Vec<Change<'static>>,
}

impl Former {
    fn add(
        &mut self,
        before: Change<'static>,
        transaction: &WriteTransaction,
        journal: &mut Writing,
    ) -> Result<(), StoreError> {
        if self.is_kept {
            self.changes.push(before);
        }
        if self.changes.len() < CHUNK {
            return Ok(());
        }
        self.write(transaction, journal)
    }

    fn write(
        &mut self,
        transaction: &WriteTransaction,
        journal: &mut Writing,
    ) -> Result<(), StoreError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.changes);
        journal.append(transaction, Some(self.part), What::Former(changes))
    }
}

fn put<T: Serialize + DeserializeOwned>(
    table: &mut Table<'_, u128, &'static [u8]>,
    id: Id,
    value: Option<&T>,
) -> Result<Option<T>, StoreError> {
    let before = match value {
        Some(value) => table.insert(id.as_u128(), encode(value).as_slice())?,
        None => table.remove(id.as_u128())?,
    };
    before
        .map(|row| decode("a user or group", row.value()))
        .transpose()
}

/// The object at `id`, if there is one.
pub(crate) fn object<T: DeserializeOwned>(
    table: &impl ReadableTable<u128, &'static [u8]>,
    id: Id,
) -> Result<Option<T>, StoreError> {
    get(table, "a user or group", id.as_u128())
}

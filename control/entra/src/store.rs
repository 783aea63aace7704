//! The file in which the directory is kept: users, groups, memberships, documents of the polled parts, the links
//! from which Graph tells what changed, what is held, and the journal of it all.
//!
//! In flow rounds ([`crate::round`]), failures and what people decide. Out come views of the directory now
//! ([`Store::read`]) and at any time since the first complete sync ([`Store::as_of`]), how each part stands, and
//! evidence that is chained by hashes.
//!
//! Data and link are one transaction: after a crash at any moment the file holds both of before, or both of
//! after. It belongs to one tenant and to one process, and nobody but its owner may read it. A damaged file is
//! moved aside, never deleted, and a failure never takes anything out of it. Credentials do not come here.
//!
//! Everything here blocks; a [`Store`] is shared by cloning it.

mod change;
mod digest;
mod error;
mod forget;
mod held;
mod journal;
mod migrate;
mod open;
mod recall;
mod tables;
mod view;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, WriteTransaction,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

pub use change::{Change, Counts};
pub use digest::{Digest, NoDigest};
pub use error::StoreError;
pub use held::{Example, Held, Loses};
pub use journal::{Chain, Entry, What};
pub use migrate::VERSION;
pub use open::MovedAside;
pub use view::View;

pub(crate) use change::Plan;
pub(crate) use digest::Hashing;
pub(crate) use tables::{DOCUMENTS, EDGES, GROUPS, PartRow, USERS, decode, encode, member_kind};
pub(crate) use view::documents_of;
pub(crate) use writer::{Writer, object};

use crate::model::{Changes, Id, Part};
use tables::{HELD, HELD_CHANGES, JOURNAL, META, META_ANCHOR, META_HEAD, PARTS, get, part};

/// The store of one tenant.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    /// None where it could not be opened again after the disk failed.
    database: RwLock<Option<Database>>,
    path: PathBuf,
}

/// A store that was opened.
pub struct Opened {
    /// It.
    pub store: Store,
    /// What was wrong with the file that lay there before, if it was damaged.
    pub moved_aside: Option<MovedAside>,
}

/// How a part stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartState {
    /// When its first complete sync ended: since then there is evidence.
    pub since: Option<OffsetDateTime>,
    /// When it was last known to be current.
    pub last_success: Option<OffsetDateTime>,
    /// When a round last ended, whichever way.
    pub last_attempt: Option<OffsetDateTime>,
    /// Why rounds fail, if they do.
    pub failure: Option<Failure>,
    /// Whether there is a link from which a delta round can go on.
    pub has_link: bool,
    /// What waits for a person, if anything does.
    pub held: Option<Held>,
}

/// Rounds that fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Why the last one did.
    pub code: String,
    /// Since when they do.
    pub since: OffsetDateTime,
}

/// A time of which it is not known when what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of which part.
    pub part: Part,
    /// When the part was last current; none where it never was.
    pub from: Option<OffsetDateTime>,
    /// When it was current again; none where it is not yet.
    pub until: Option<OffsetDateTime>,
    /// Why: the code of the failure, or `held`.
    pub code: String,
}

/// Code of a [`Gap`] in which changes waited for a person.
pub const CODE_HELD: &str = "held";

/// What was approved is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// Of which part.
    pub part: Part,
    /// What changed.
    pub changes: Changes,
}

impl Store {
    /// Opens the store of a tenant, or makes it.
    pub fn open(path: &Path, tenant: Id) -> Result<Opened, StoreError> {
        let (database, moved_aside) = open::open(path, tenant)?;
        let store = Self(Arc::new(Inner {
            database: RwLock::new(Some(database)),
            path: path.to_owned(),
        }));
        Ok(Opened { store, moved_aside })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The directory as it is now.
    pub fn read(&self) -> Result<View, StoreError> {
        Ok(View::now(self.begin_read()?))
    }

    /// The directory as it was at that time, as far as was known then.
    pub fn as_of(&self, at: OffsetDateTime) -> Result<View, StoreError> {
        View::as_of(self.begin_read()?, at)
    }

    /// How the parts stand that were ever tried.
    pub fn parts(&self) -> Result<BTreeMap<Part, PartState>, StoreError> {
        let transaction = self.begin_read()?;
        let held = held::all(&transaction.open_table(HELD)?)?;
        let mut held: BTreeMap<Part, Held> =
            held.into_iter().map(|held| (held.part, held)).collect();
        let mut states = BTreeMap::new();
        for row in transaction.open_table(PARTS)?.iter()? {
            let (number, row) = row?;
            let part = part(number.value())?;
            let row: PartRow = decode("a part", row.value())?;
            let state = PartState {
                since: row.since,
                last_success: row.last_success,
                last_attempt: row.last_attempt,
                failure: row.failure,
                has_link: row.link.is_some(),
                held: held.remove(&part),
            };
            states.insert(part, state);
        }
        Ok(states)
    }

    /// The link from which a delta round of the part goes on; without one, the part is to be read in full.
    pub fn link(&self, part: Part) -> Result<Option<String>, StoreError> {
        Ok(self.part_row(part)?.link)
    }

    /// A round of a part failed. Nothing is changed but what is known about the part's health; `code` is short
    /// and without secrets, such as `AADSTS7000222`, `syncStateNotFound` or `stopped`.
    pub fn failed(&self, part: Part, code: &str, now: OffsetDateTime) -> Result<(), StoreError> {
        let code = short(code);
        let mut writer = Writer::begin(self, now)?;
        let mut row = writer.part(part)?;
        let now = writer.journal.at();
        row.last_attempt = Some(now);
        if row
            .failure
            .as_ref()
            .is_none_or(|failure| failure.code != code)
        {
            writer.note(Some(part), What::Failing { code: code.clone() })?;
        }
        let since = row.failure.map_or(now, |failure| failure.since);
        row.failure = Some(Failure { code, since });
        writer.put_part(part, &row)?;
        writer.commit()
    }

    /// What a held round would change: what [`Store::approve`] puts in force.
    pub fn held_changes(&self, digest: Digest) -> Result<Changes, StoreError> {
        let transaction = self.begin_read()?;
        let held = held::all(&transaction.open_table(HELD)?)?;
        let held = find(held, digest)?;
        let plan = held::plan(&transaction.open_table(HELD_CHANGES)?, held.part)?;
        Ok(plan.into_changes(held.part))
    }

    /// Puts in force what is held under this digest, exactly; `by` is who decided.
    pub fn approve(
        &self,
        digest: Digest,
        by: &str,
        now: OffsetDateTime,
    ) -> Result<Approved, StoreError> {
        let mut writer = Writer::begin(self, now)?;
        let held = find(held::all(&writer.transaction.open_table(HELD)?)?, digest)?;
        let part = held.part;
        let plan = writer.held_plan(part)?;
        let (_, link) = writer.held(part)?.ok_or(StoreError::NotHeld { digest })?;
        writer.forget_held(part)?;
        writer.apply(part, &plan, true)?;
        writer.note(
            Some(part),
            What::Committed {
                digest,
                counts: held.counts,
                full: held.full,
                approved_by: Some(by.to_owned()),
            },
        )?;
        let mut row = writer.part(part)?;
        row.turn += 1;
        row.link = link;
        writer.recovered(part, &mut row, CODE_HELD)?;
        row.last_success = Some(held.at);
        writer.put_part(part, &row)?;
        writer.commit()?;
        let changes = plan.into_changes(part);
        Ok(Approved { part, changes })
    }

    /// Drops what is held under this digest, and the link with it: the part is read in full next, and what still
    /// stands in the tenant is held again. Gives the part.
    pub fn discard(
        &self,
        digest: Digest,
        by: &str,
        now: OffsetDateTime,
    ) -> Result<Part, StoreError> {
        let mut writer = Writer::begin(self, now)?;
        let held = find(held::all(&writer.transaction.open_table(HELD)?)?, digest)?;
        let part = held.part;
        writer.drop_held(Some(held), Some(by))?;
        let mut row = writer.part(part)?;
        row.turn += 1;
        row.link = None;
        writer.put_part(part, &row)?;
        writer.commit()?;
        Ok(part)
    }

    /// The journal's entries from one time to another, oldest first.
    pub fn journal(
        &self,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<impl Iterator<Item = Result<Entry, StoreError>> + use<>, StoreError> {
        let table = self.begin_read()?.open_table(JOURNAL)?;
        Ok(table.range_owned::<u64>(..)?.filter_map(move |row| {
            let read = || {
                let (number, row) = row?;
                let at = journal::time_of(row.value())?;
                let entry =
                    (from <= at && at <= until).then(|| journal::read(number.value(), row.value()));
                entry.transpose()
            };
            read().transpose()
        }))
    }

    /// The gaps of all parts that touch this time, in the order of their ends.
    pub fn gaps(
        &self,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Vec<Gap>, StoreError> {
        let mut gaps = Vec::new();
        for entry in self.journal(
            from,
            OffsetDateTime::new_utc(time::Date::MAX, time::Time::MAX),
        )? {
            let entry = entry?;
            if let (Some(part), What::Recovered { from, code }) = (entry.part, entry.what) {
                let until = Some(entry.at);
                gaps.push(Gap {
                    part,
                    from,
                    until,
                    code,
                });
            }
        }
        for (part, state) in self.parts()? {
            let held = state.held.map(|_| CODE_HELD.to_owned());
            if let Some(code) = state.failure.map(|failure| failure.code).or(held) {
                let from = state.last_success;
                gaps.push(Gap {
                    part,
                    from,
                    until: None,
                    code,
                });
            }
        }
        gaps.retain(|gap| {
            gap.from.is_none_or(|begin| begin <= until) && gap.until.is_none_or(|end| end >= from)
        });
        Ok(gaps)
    }

    /// Follows the journal's hashes from its beginning to its end.
    pub fn verify(&self) -> Result<Chain, StoreError> {
        let transaction = self.begin_read()?;
        let meta = transaction.open_table(META)?;
        let anchor = get(&meta, "the anchor", META_ANCHOR)?.unwrap_or_default();
        let head = get(&meta, "the head", META_HEAD)?.unwrap_or_default();
        journal::verify(&transaction.open_table(JOURNAL)?, anchor, head)
    }

    /// Takes the journal's entries up to a time away, and says how many they were: what was before then is not
    /// known any more. The chain goes on from the last of them.
    pub fn prune(&self, until: OffsetDateTime, now: OffsetDateTime) -> Result<u64, StoreError> {
        let mut writer = Writer::begin(self, now)?;
        let entries = writer.cut_journal(until)?;
        if entries == 0 {
            return Ok(0);
        }
        writer.note(None, What::Pruned { until, entries })?;
        writer.commit()?;
        Ok(entries)
    }

    /// Ends collection: links and held rounds are destroyed, so that every part is read in full should there be a
    /// next time. What is known stays, or is destroyed too (`purge`), with what the journal knows of before; that
    /// it was, and who asked for it, stands in the journal.
    pub fn disconnect(&self, purge: bool, by: &str, now: OffsetDateTime) -> Result<(), StoreError> {
        let mut writer = Writer::begin(self, now)?;
        let mut rows = Vec::new();
        for row in writer.transaction.open_table(PARTS)?.iter()? {
            let (number, row) = row?;
            rows.push((
                part(number.value())?,
                decode::<PartRow>("a part", row.value())?,
            ));
        }
        for (part, mut row) in rows {
            writer.drop_held(writer.held(part)?.map(|(held, _)| held), Some(by))?;
            row.link = None;
            if purge {
                row = PartRow {
                    turn: row.turn,
                    ..PartRow::default()
                };
            }
            row.turn += 1;
            writer.put_part(part, &row)?;
        }
        if purge {
            writer.purge()?;
        }
        let (by, purged) = (by.to_owned(), purge);
        writer.note(None, What::Disconnected { by, purged })?;
        writer.commit()?;
        if purge {
            self.compact();
        }
        Ok(())
    }

    /// Begins to write. Where the disk failed before, the file is opened again first: the disk may have room now.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        let begun = self.with(Database::begin_write);
        if !begun.as_ref().is_err_and(StoreError::is_of_the_past) {
            return begun;
        }
        self.open_again()?;
        self.with(Database::begin_write)
    }

    pub(crate) fn part_row(&self, part: Part) -> Result<PartRow, StoreError> {
        let row = get(&self.begin_read()?.open_table(PARTS)?, "a part", part as u8)?;
        Ok(row.unwrap_or_default())
    }

    fn begin_read(&self) -> Result<ReadTransaction, StoreError> {
        self.with(Database::begin_read)
    }

    fn with<T, E>(&self, begin: impl Fn(&Database) -> Result<T, E>) -> Result<T, StoreError>
    where
        StoreError: From<E>,
    {
        let database = self.0.database.read();
        match &*database.unwrap_or_else(PoisonError::into_inner) {
            Some(database) => Ok(begin(database)?),
            None => Err(StorageError::DatabaseClosed.into()),
        }
    }

    fn open_again(&self) -> Result<(), StoreError> {
        let mut database = self.database_alone();
        let is_fine = |database: &Database| {
            let begun = database.try_begin_write().map_err(StoreError::from);
            !begun.is_err_and(|error| error.is_of_the_past())
        };
        // Somebody else may have been faster.
        if !database.as_ref().is_some_and(is_fine) {
            // Its lock on the file ends first.
            *database = None;
            *database = Some(open::again(&self.0.path)?);
        }
        Ok(())
    }

    fn database_alone(&self) -> RwLockWriteGuard<'_, Option<Database>> {
        self.0
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the room of what was destroyed back to the disk. Not while somebody reads; then the room is used
    /// again by what comes next.
    fn compact(&self) {
        let _ = self.database_alone().as_mut().map(Database::compact);
    }
}

fn find(held: Vec<Held>, digest: Digest) -> Result<Held, StoreError> {
    held.into_iter()
        .find(|held| held.digest == digest)
        .ok_or(StoreError::NotHeld { digest })
}

/// A code as it may be shown anywhere, whatever it was made of.
fn short(code: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || "_-.".contains(*letter);
    code.chars().filter(plain).take(64).collect()
}

//! The tables of the file, and how a row is written. A change here is a new format: see [`super::migrate`].

use redb::{ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Digest, StoreError};
use crate::model::{MemberKind, Part};

/// Rows that there are one of, by name.
pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// Users by id.
pub(crate) const USERS: TableDefinition<u128, &[u8]> = TableDefinition::new("users");
/// Groups by id.
pub(crate) const GROUPS: TableDefinition<u128, &[u8]> = TableDefinition::new("groups");
/// What a member is, by group and member.
pub(crate) const EDGES: TableDefinition<(u128, u128), u8> = TableDefinition::new("edges");
/// Documents by part and id.
pub(crate) const DOCUMENTS: TableDefinition<(u8, &str), &[u8]> = TableDefinition::new("documents");
/// [`PartRow`]s by part.
pub(crate) const PARTS: TableDefinition<u8, &[u8]> = TableDefinition::new("parts");
/// Entries of the journal, each behind its hash, by number.
pub(crate) const JOURNAL: TableDefinition<u64, &[u8]> = TableDefinition::new("journal");
/// Held rounds by part.
pub(crate) const HELD: TableDefinition<u8, &[u8]> = TableDefinition::new("held");
/// What held rounds change, by part and place.
pub(crate) const HELD_CHANGES: TableDefinition<(u8, u32), &[u8]> =
    TableDefinition::new("held-changes");

/// Name in [`META`]: the format.
pub(crate) const META_VERSION: &str = "version";
/// Name in [`META`]: whose store it is.
pub(crate) const META_TENANT: &str = "tenant";
/// Name in [`META`]: the journal's last entry.
pub(crate) const META_HEAD: &str = "head";
/// Name in [`META`]: the last entry that was taken off the journal's beginning.
pub(crate) const META_ANCHOR: &str = "anchor";
/// Name in [`META`]: how much is live.
pub(crate) const META_LIVE: &str = "live";

/// A place in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Number of the entry; none has 0.
    pub(crate) number: u64,
    /// Hash up to it.
    pub(crate) hash: Digest,
    /// When it was written.
    pub(crate) at: OffsetDateTime,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            number: 0,
            hash: Digest::default(),
            at: OffsetDateTime::UNIX_EPOCH,
        }
    }
}

/// How much is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) users: u64,
    pub(crate) groups: u64,
}

/// How a part stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    /// Grows with everything that makes a running round out of date.
    pub(crate) turn: u64,
    pub(crate) link: Option<String>,
    /// When its first complete sync ended.
    pub(crate) since: Option<OffsetDateTime>,
    pub(crate) last_success: Option<OffsetDateTime>,
    pub(crate) last_attempt: Option<OffsetDateTime>,
    pub(crate) failure: Option<super::Failure>,
}

/// The bytes of a row.
pub(crate) fn encode<T: Serialize + ?Sized>(row: &T) -> Vec<u8> {
    postcard::to_stdvec(row).expect("rows have only what postcard can write, and memory has room")
}

/// The row of these bytes; `what` names it.
pub(crate) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::Damaged { what })
}

/// The row at `key`, if there is one.
pub(crate) fn get<K, T>(
    table: &impl ReadableTable<K, &'static [u8]>,
    what: &'static str,
    key: K::SelfType<'_>,
) -> Result<Option<T>, StoreError>
where
    K: redb::Key + 'static,
    T: DeserializeOwned,
{
    table
        .get(key)?
        .map(|row| decode(what, row.value()))
        .transpose()
}

/// The part with this number.
pub(crate) fn part(number: u8) -> Result<Part, StoreError> {
    decode("a part", &[number])
}

/// The kind with this number.
pub(crate) fn member_kind(number: u8) -> Result<MemberKind, StoreError> {
    decode("a membership", &[number])
}

//! Brings a file of an older format up to this one: one function for each step, in one transaction with the
//! new number.

use redb::WriteTransaction;

use super::StoreError;
use super::tables::{META, META_VERSION, encode};

/// The format that this version reads and writes.
pub const VERSION: u32 = 1;

/// Makes the next format out of one.
pub(crate) type Step = fn(&WriteTransaction) -> Result<(), StoreError>;

/// In order; the last one makes [`VERSION`]. The first one reads the oldest format that is still taken.
pub(crate) const STEPS: &[Step] = &[];

/// Which way a file's format is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Off {
    Older,
    Newer,
}

/// Takes the file from format `found` to `wanted` by the last of `steps`.
pub(crate) fn migrate(
    transaction: &WriteTransaction,
    found: u32,
    wanted: u32,
    steps: &[Step],
) -> Result<Result<(), Off>, StoreError> {
    let Some(missing) = wanted.checked_sub(found) else {
        return Ok(Err(Off::Newer));
    };
    let Some(first) = steps.len().checked_sub(missing as usize) else {
        return Ok(Err(Off::Older));
    };
    for step in &steps[first..] {
        step(transaction)?;
    }
    put_version(transaction, wanted)?;
    Ok(Ok(()))
}

pub(crate) fn put_version(transaction: &WriteTransaction, version: u32) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(META_VERSION, encode(&version).as_slice())?;
    Ok(())
}

//! What is kept of a part that is read as documents, while it is young enough to be gone by.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;
use weir_entra::model::Part;
use weir_entra::store::{Store, StoreError};

/// Why nobody can go by what is kept of a part.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// Nothing is.
    #[error("the tenant's {} were not read yet; `weir entra status` says why", .0.name())]
    Unread(Part),
    /// It may be wrong by now.
    #[error("the tenant's {} were last read at {}; `weir entra status` says why", .0.name(), crate::clock::text(*.1))]
    Stale(Part, OffsetDateTime),
    /// It cannot be asked.
    #[error("what is kept of the tenant cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// The documents of a part by name, if it was read within `max_age`. Blocks.
pub fn documents(
    store: &Store,
    part: Part,
    max_age: Duration,
    now: OffsetDateTime,
) -> Result<BTreeMap<String, Vec<u8>>, NotKept> {
    let state = store.parts()?.remove(&part);
    let read = state.and_then(|state| state.last_success);
    let read = read.ok_or(NotKept::Unread(part))?;
    if now - read > max_age {
        return Err(NotKept::Stale(part, read));
    }
    Ok(store.read()?.documents(part)?)
}

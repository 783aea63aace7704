//! The directory at one time, with what is known of it then.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::ReviewError;
use crate::model::Part;
use crate::store::{PartState, Store, View};

/// The directory as it is, or was, and since when there is evidence of what.
pub struct Moment {
    view: View,
    parts: BTreeMap<Part, PartState>,
    at: OffsetDateTime,
    is_past: bool,
}

impl Moment {
    /// As it is; `now` is written as the time.
    pub fn now(store: &Store, now: OffsetDateTime) -> Result<Self, ReviewError> {
        // How the parts stand comes first: what is read meanwhile is then known too late, never too early.
        let parts = store.parts()?;
        let view = store.read()?;
        Ok(Self {
            view,
            parts,
            at: now,
            is_past: false,
        })
    }

    /// As it was at that time, as far as was known then.
    pub fn as_of(store: &Store, at: OffsetDateTime) -> Result<Self, ReviewError> {
        let parts = store.parts()?;
        let view = store.as_of(at)?;
        Ok(Self {
            view,
            parts,
            at,
            is_past: true,
        })
    }

    /// When it is.
    pub const fn at(&self) -> OffsetDateTime {
        self.at
    }

    /// Whether there is evidence of a part: it was read in full, not later than this.
    pub fn is_known(&self, part: Part) -> bool {
        let since = self.parts.get(&part).and_then(|state| state.since);
        since.is_some() && (!self.is_past || self.view.is_evident(part).unwrap_or(false))
    }

    /// The directory.
    pub(super) const fn view(&self) -> &View {
        &self.view
    }

    /// How the parts stand now.
    pub(super) const fn parts(&self) -> &BTreeMap<Part, PartState> {
        &self.parts
    }
}

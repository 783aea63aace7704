//! Since when the sign-ins of a principal count, where its sessions were revoked: one from before may be told
//! late.
//!
//! Nothing is granted for a sign-in that is older than the longest grant, so it is remembered for so long. When
//! there is no room for more, what is true of the next one holds for everybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_link::PrincipalId;

use super::{LONGEST, Moment, millis};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Void {
    /// Sign-ins of these from before count for nothing.
    of: BTreeMap<PrincipalId, Moment>,
    /// Those of everybody from before count for nothing.
    all: Option<Moment>,
    /// Nothing of it matters any more from then on.
    over: Moment,
}

impl Void {
    /// Sign-ins of a principal from before that moment count for nothing any more.
    pub(super) fn put(&mut self, who: PrincipalId, since: Moment, room: usize) {
        self.over = self.over.max(since + millis(LONGEST));
        if let Some(known) = self.of.get_mut(&who) {
            *known = since.max(*known);
        } else if self.of.len() < room {
            self.of.insert(who, since);
        } else {
            self.all = self.all.max(Some(since));
        }
    }

    /// Whether a sign-in at that moment counts for nothing.
    pub(super) fn is_void(&self, who: PrincipalId, at: Moment) -> bool {
        let since = self.of.get(&who).copied().max(self.all);
        since.is_some_and(|since| at < since)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty() && self.all.is_none()
    }

    /// Forgets what is over.
    pub(super) fn look(&mut self, now: Moment) {
        if self.over <= now && !self.is_empty() {
            *self = Self::default();
        }
    }

    /// Every moment that it knows.
    pub(super) fn moments(&self) -> impl Iterator<Item = Moment> {
        let own = self.all.into_iter().chain([self.over]);
        self.of.values().copied().chain(own)
    }

    /// Everything was so much earlier or later.
    pub(super) fn shift(&mut self, by: Moment) {
        for since in self.of.values_mut().chain(&mut self.all) {
            *since += by;
        }
        self.over += by;
    }
}

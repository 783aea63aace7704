//! Services of which a proxy met a token whose key it does not know, until somebody asks for the keys.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use weir_abi::MAX_SERVICES;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Mutex<BTreeSet<String>>);

impl Wanted {
    /// One more; what is no name of a service needs no room.
    pub(super) fn tell(&self, service: String) {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if service.len() <= 63 && wanted.len() < MAX_SERVICES {
            wanted.insert(service);
        }
    }

    /// All of them, once.
    pub(crate) fn take(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

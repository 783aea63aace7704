//! The keys of a service on the disk: `keys/SERVICE.json` in the state directory.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use weir_claims::{Keys, Trust};

use super::KeysError;
use crate::{sockets, store};

/// What is known of the keys of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// By which tokens are verified.
    pub(super) in_force: Keys,
    /// What waits for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<Held>,
    /// When they were read the last time; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fetched: Option<String>,
}

/// Keys that wait for an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub(super) keys: Keys,
    /// Since when; RFC 3339.
    pub(super) since: String,
}

impl Saved {
    /// Reads them; nothing is known when there is no file. Blocks.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error.to_string()),
        };
        let saved: Self = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if !saved.in_force.is_empty() {
            Trust::new(&saved.in_force).map_err(|error| error.to_string())?;
        }
        Ok(saved)
    }

    /// Writes them. Blocks.
    pub(crate) fn write(&self, file: &Path) -> Result<(), KeysError> {
        let failed = |source| KeysError::NotWritten {
            file: file.to_owned(),
            source,
        };
        let directory = file.parent().expect("a file in the directory of keys");
        sockets::directory(directory, 0o750).map_err(|error| failed(io::Error::other(error)))?;
        let text = serde_json::to_vec_pretty(self).expect("plain data with strings for keys");
        store::replace(file, &text).map_err(failed)
    }
}

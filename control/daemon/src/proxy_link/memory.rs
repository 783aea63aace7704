//! What outlives weir-control of what it knows about proxies: which processes had connections open, and
//! how many broke so far. One small file in the run directory, which goes when the machine does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Peer;
use crate::process::Identity;
use crate::{Error, store};

/// Longer than a file with any number of proxies that is meant.
const LONGEST: u64 = 64 << 10;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    /// Connections that broke so far.
    pub(super) connections_broken: u64,
    /// Processes with connections open.
    pub(super) open: Vec<(Identity, Left)>,
}

/// What a process had open when it was last heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// Connections.
    pub(super) open: u64,
    /// The generation that it worked with.
    pub(super) generation: Option<u64>,
}

impl Left {
    pub(super) fn of(peer: &Peer) -> Self {
        Self {
            open: peer.counts.open,
            generation: peer.acknowledged,
        }
    }
}

impl Memory {
    /// Reads the file at `path`; one that is not there, or cannot be used, is nothing. Blocks.
    pub(super) fn read(path: &Path) -> Self {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        match read.and_then(|_| Ok(serde_json::from_str(&text)?)) {
            Ok(memory) => memory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::default(),
            Err(error) => {
                let path = path.display();
                tracing::warn!(%error, %path, "what broke so far is not known: counting begins anew");
                Self::default()
            }
        }
    }

    /// Replaces the file at `path`. Blocks.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        text.and_then(|text| store::replace(path, &text))
            .map_err(Error::file("write", path))
    }
}

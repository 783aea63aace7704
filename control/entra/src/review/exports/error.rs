//! What can go wrong with exports, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// An export cannot be signed or added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportsError {
    /// A file cannot be used.
    #[error("cannot {doing} {}: {source}; its directory must be one that weir-control may write, with room on the disk", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others may read the key.
    #[error("the key {} may be read by others, who could sign in its name: see who did, move it away and its chain with it, and a new key is made; or, if nobody could, `chmod 600` it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key.
    #[error("{} is no Ed25519 key in PKCS#8: put the key back from a backup, or move it and its chain away, and a new key is made", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// No key could be made.
    #[error("no key could be made: the system has no randomness to give; try again")]
    NoRandomness,
    /// The chain's last line is not one of this key.
    #[error("export {number} in {} is not as it was signed, or was signed with another key: keep the file for those who look into it, move it away, and a new chain begins", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// Its number.
        number: u64,
    },
}

impl ExportsError {
    pub(super) fn file(
        doing: &'static str,
        path: &Path,
    ) -> impl Fn(io::Error) -> Self + Clone + use<> {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path: path.clone(),
            source,
        }
    }
}

/// Why an export is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forged {
    /// It is no line of a chain.
    #[error("this is no signed manifest: hand over the line as it was given out")]
    Form,
    /// Somebody else signed it, or it was changed since.
    #[error(
        "the signature is not the appliance's: the manifest was changed, or another key signed it"
    )]
    Signature,
    /// It does not follow the one before.
    #[error("it does not follow the export before it: one was taken out, put in or moved")]
    Chain,
    /// The content is another.
    #[error("the content is not the one that was signed")]
    Content,
    /// An export that was handed out is not there.
    #[error(
        "an export that was handed out is not in the chain: its end was cut off, or all of it was replaced"
    )]
    Missing,
    /// The content cannot be read.
    #[error("the content cannot be read: look whether the file is there and may be read")]
    Unread,
}

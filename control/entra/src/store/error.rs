//! What can go wrong with the store, and what to do about it.

use std::io;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::{Digest, VERSION};
use crate::model::{Id, Part};

/// The store cannot do what was asked. What it kept is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be used.
    #[error("cannot {doing} the directory store {}: {source}; its directory must be one that weir-control may write, with room on the disk", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has the file open.
    #[error("the directory store {} is in use by another process; stop the other weir-control first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is another tenant's.
    #[error("the directory store {} belongs to tenant {theirs}, and the configuration names {ours}: put `tenant` right, or move the file away, and tenant {ours} is read in full", path.display())]
    OtherTenant {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        theirs: Id,
        /// Whose it should be.
        ours: Id,
    },
    /// The file was written by a version that is newer than this one.
    #[error("the directory store {} has format {found}, and this version of Weir knows none above {VERSION}: start the newer version again, or move the file away, and the tenant is read in full", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file was written by a version from which nothing leads here.
    #[error("the directory store {} has format {found}, which this version of Weir cannot bring up to {VERSION}: start a version between them once, or move the file away, and the tenant is read in full", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file is something else.
    #[error("{} is no directory store of Weir: name another file, or move this one away", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database failed.
    #[error(
        "the directory store failed, and keeps what it had: {0}; look for room on the disk and for errors of it, then restart weir-control"
    )]
    Database(#[source] Box<redb::Error>),
    /// A row does not hold what it should.
    #[error(
        "the directory store is damaged ({what}): stop weir-control, move the store away, and start again; the tenant is then read in full"
    )]
    Damaged {
        /// Which row.
        what: &'static str,
    },
    /// There is no link from which changes could be told.
    #[error("{part:?} has no delta link to go on from: begin a full round")]
    NeedsFull {
        /// The part.
        part: Part,
    },
    /// The round began from a state that is no more.
    #[error("{part:?} was changed while this round ran: begin another round")]
    Overtaken {
        /// The part.
        part: Part,
    },
    /// A page was handed to a round of another part.
    #[error("a round of {part:?} does not take such pages")]
    Misplaced {
        /// The round's part.
        part: Part,
    },
    /// A round tells more than fits.
    #[error(
        "a round of {part:?} told more than {most} {of}, and is not believed: look at the tenant, and at what stands between it and Weir"
    )]
    TooMuch {
        /// The round's part.
        part: Part,
        /// So many are taken.
        most: u64,
        /// What is counted.
        of: &'static str,
    },
    /// Nothing is held under this digest.
    #[error(
        "no round is held under {digest}: it was replaced by a newer round, approved or discarded; look at what is held now"
    )]
    NotHeld {
        /// What was asked for.
        digest: Digest,
    },
    /// Nobody knows what was at that time.
    #[error("there is no evidence of {part:?} at that time, {}", match since { Some(since) => format!("only since {since}"), None => "nor at any other yet".to_owned() })]
    NoEvidence {
        /// The part.
        part: Part,
        /// From when on there is.
        since: Option<OffsetDateTime>,
    },
}

impl StoreError {
    /// Whether the database only says that it failed earlier.
    pub(crate) fn is_of_the_past(&self) -> bool {
        match self {
            Self::Database(error) => {
                matches!(
                    **error,
                    redb::Error::PreviousIo | redb::Error::DatabaseClosed
                )
            }
            _ => false,
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(StorageError, TableError, TransactionError, CommitError);

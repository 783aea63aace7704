//! The tenant of `[entra]`, as all of weir-control knows it: how its synchronisation is spoken to, what is kept of
//! it, and the picture of it that is in force.
//!
//! [`crate::brain`] makes both and takes them away; everybody else only reads them. What a picture says of a person
//! goes by [`InForce::view`], which knows what is too old to be said.

pub(crate) mod credentials;
mod error;
pub mod kept;
pub(crate) mod named;
pub(crate) mod setup;
pub(crate) mod shown;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use weir_config::Entra;
use weir_directory::{BuildError, Builder, Head, ParseError, Snapshot, View};
use weir_entra::store::Store;
use weir_entra::sync::{Handle, Published};

pub use self::error::TenantError;
use crate::proxy_link::DirectoryHandover;

/// The tenant whose directory is kept in step.
#[derive(Clone)]
pub struct Tenant {
    /// Speaks to the synchronisation.
    pub handle: Handle,
    /// What is kept, for whoever reviews it.
    pub store: Store,
    /// What the configuration says of it.
    pub config: Entra,
}

/// The picture of the tenant that both planes judge by.
pub struct InForce {
    /// Its number: it grows with each one of the tenant.
    pub epoch: u64,
    /// It.
    pub snapshot: Snapshot<Arc<[u8]>>,
    /// What was not seen to be so for this long is unknown.
    pub max_age: Duration,
    memory: Arc<OwnedFd>,
    length: u64,
}

/// Why a picture that was drawn cannot be put in force; the one before stays.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It cannot be written.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It cannot be handed over.
    #[error(transparent)]
    Seal(#[from] weir_link::sealed::Error),
}

impl InForce {
    /// Looks through a picture, and seals a copy of it for the proxies. Blocks.
    pub fn new(published: &Published, max_age: Duration) -> Result<Self, Unusable> {
        let snapshot = Snapshot::parse(Arc::clone(&published.bytes))?;
        let memory = weir_link::sealed::create("weir-directory", &published.bytes)?;
        Ok(Self {
            epoch: published.epoch,
            snapshot,
            max_age,
            memory: Arc::new(memory),
            length: published.bytes.len() as u64,
        })
    }

    /// A picture of the same tenant that says nothing. Blocks.
    pub(crate) fn nothing(&self) -> Result<Self, Unusable> {
        let head = Head {
            checked: [None; 3],
            ..*self.snapshot.head()
        };
        let bytes = Builder::new(head).finish()?;
        let published = Published {
            epoch: self.epoch,
            bytes: bytes.into(),
        };
        Self::new(&published, self.max_age)
    }

    /// Whether nothing was ever read of the tenant, or all of it was destroyed.
    pub(crate) fn says_nothing(&self) -> bool {
        self.snapshot.head().checked == [None; 3]
    }

    /// What it may say now.
    pub fn view(&self) -> View<'_> {
        self.at(OffsetDateTime::now_utc())
    }

    /// What it may say at that time.
    pub fn at(&self, now: OffsetDateTime) -> View<'_> {
        self.snapshot.at(now.unix_timestamp(), self.max_age)
    }

    /// What the proxies get of it.
    pub(crate) fn handover(&self) -> DirectoryHandover {
        DirectoryHandover {
            epoch: self.epoch,
            length: self.length,
            max_age: self.max_age,
            memory: Arc::clone(&self.memory),
        }
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenant")
            .field("id", &self.config.tenant)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InForce")
            .field("epoch", &self.epoch)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

//! The directory on its way to the proxies: a sealed copy of the snapshot in force, beside the generations.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use weir_link::{Error, Sender, ToProxy};

/// A directory, ready to be sent any number of times.
#[derive(Clone, Debug)]
pub struct DirectoryHandover {
    /// Number of the snapshot.
    pub epoch: u64,
    /// Its length in bytes.
    pub length: u64,
    /// What was not seen to be so for this long is unknown.
    pub max_age: Duration,
    /// Sealed memory with its bytes (`weir_link::sealed::create`).
    pub memory: Arc<OwnedFd>,
}

/// What the proxies are to be told of the directory.
#[derive(Clone, Debug, Default)]
pub(super) enum Offered {
    /// Nothing yet: a proxy keeps the one that an earlier weir-control gave it.
    #[default]
    Nothing,
    /// There is none.
    None,
    /// This one.
    Directory(Arc<DirectoryHandover>),
}

impl Offered {
    pub(super) async fn send(&self, sender: &mut Sender) -> Result<(), Error> {
        match self {
            Self::Nothing => Ok(()),
            Self::None => sender.send(&ToProxy::NoDirectory, &[]).await,
            Self::Directory(handover) => {
                let message = ToProxy::Directory {
                    epoch: handover.epoch,
                    length: handover.length,
                    max_age: handover.max_age,
                };
                sender.send(&message, &[handover.memory.as_fd()]).await
            }
        }
    }
}

//! How others speak to the engine.

use tokio::sync::{mpsc, oneshot};

use super::status::Status;
use crate::credential::Credential;
use crate::guard::Guard;
use crate::health::Finding;
use crate::model::Part;
use crate::store::{Digest, StoreError};

/// Speaks to an engine; may be cloned. The engine ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Handle(pub(super) mpsc::Sender<Command>);

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was tried, and did not go; all is as it was.
    #[error("{0}")]
    Refused(Box<Finding>),
    /// Nothing is collected.
    #[error("the tenant is disconnected; connect it first")]
    Disconnected,
    /// The part is not read.
    #[error("{0:?} is not among the parts that are read; name it in the configuration first")]
    NotRead(Part),
    /// The engine has ended.
    #[error("the synchronisation has ended; restart weir-control")]
    Ended,
}

/// How a round of a part ended that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Which.
    pub part: Part,
    /// What came of it.
    pub outcome: Result<Came, Box<Finding>>,
}

/// What came of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// What changed is in force.
    Committed,
    /// Nothing had changed.
    Unchanged,
    /// It waits for a person.
    Held(Digest),
}

/// Where the answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, CommandError>>;

pub(super) enum Command {
    Sync {
        part: Option<Part>,
        full: bool,
        reply: Reply<Vec<Synced>>,
    },
    Decide {
        digest: Digest,
        approve: bool,
        by: String,
        reply: Reply<Part>,
    },
    Disconnect {
        purge: bool,
        by: String,
        reply: Reply<()>,
    },
    Connect {
        reply: Reply<()>,
    },
    Credential {
        credential: Credential,
        reply: Reply<()>,
    },
    Guard {
        guard: Guard,
        reply: Reply<()>,
    },
    Status {
        reply: Reply<Status>,
    },
}

impl Handle {
    /// Reads a part, or all of them, now, and waits until what came of it is published. With `full`, users and groups
    /// are read as a whole.
    pub async fn sync(&self, part: Option<Part>, full: bool) -> Result<Vec<Synced>, CommandError> {
        self.ask(|reply| Command::Sync { part, full, reply }).await
    }

    /// Puts in force what is held under this digest, and waits until it is published. Gives the part.
    pub async fn approve(&self, digest: Digest, by: &str) -> Result<Part, CommandError> {
        let by = by.to_owned();
        self.ask(|reply| Command::Decide {
            digest,
            approve: true,
            by,
            reply,
        })
        .await
    }

    /// Drops what is held under this digest. Gives the part, which is read in full next.
    pub async fn discard(&self, digest: Digest, by: &str) -> Result<Part, CommandError> {
        let by = by.to_owned();
        self.ask(|reply| Command::Decide {
            digest,
            approve: false,
            by,
            reply,
        })
        .await
    }

    /// Ends collection, also beyond a restart; with `purge`, what is known is destroyed.
    pub async fn disconnect(&self, purge: bool, by: &str) -> Result<(), CommandError> {
        let by = by.to_owned();
        self.ask(|reply| Command::Disconnect { purge, by, reply })
            .await
    }

    /// Begins to collect again after that.
    pub async fn connect(&self) -> Result<(), CommandError> {
        self.ask(|reply| Command::Connect { reply }).await
    }

    /// Proves another credential of the application, and goes over to it if it holds. The present one is gone back to
    /// should the other one be refused within a day.
    pub async fn credential(&self, credential: Credential) -> Result<(), CommandError> {
        self.ask(|reply| Command::Credential { credential, reply })
            .await
    }

    /// Changes what rounds are judged by, and which groups are watched.
    pub async fn guard(&self, guard: Guard) -> Result<(), CommandError> {
        self.ask(|reply| Command::Guard { guard, reply }).await
    }

    /// How everything stands.
    pub async fn status(&self) -> Result<Status, CommandError> {
        self.ask(|reply| Command::Status { reply }).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, CommandError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(command(reply)).await;
        sent.map_err(|_| CommandError::Ended)?;
        answer.await.map_err(|_| CommandError::Ended)?
    }
}

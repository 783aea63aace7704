//! One line of the audit log.

use serde::{Deserialize, Serialize};
use weir_link::Event;

/// A line of the audit log, as it stands in the file and as `GET /v1/events` answers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Grows by one with every line, across restarts and rotated files.
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub body: RecordBody,
}

impl Record {
    /// When it happened; RFC 3339, UTC, milliseconds.
    pub fn time(&self) -> &str {
        match &self.body {
            RecordBody::Event(event) => &event.time,
            RecordBody::Change(change) => &change.time,
        }
    }
}

/// What a line tells of; `kind` tells the two apart (`change` is a change).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RecordBody {
    /// A decision of the proxy plane.
    Event(Box<Event>),
    /// An act of an administrator, or of weir-control itself.
    Change(Change),
}

/// An act that changed, or was to change, what is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When; RFC 3339, UTC, milliseconds.
    pub time: String,
    /// Always `change`.
    pub kind: ChangeKind,
    /// Generation in force after it.
    pub generation: u64,
    /// Who asked for it.
    pub who: Actor,
    /// Such as `start`, `reload`, `list add`, `list remove`, `list file`, `fail mode`, or `denied`: who
    /// asked on the socket that only reads.
    pub action: String,
    /// Whether it was done.
    pub done: bool,
    /// What exactly, or why not.
    pub detail: String,
}

/// The constant `change`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// An administrative act.
    #[default]
    #[serde(rename = "change")]
    Change,
}

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// A process on the control socket, by its credentials (`SO_PEERCRED`, unix(7)).
    User {
        /// User id of the peer.
        uid: u32,
        /// Process id of the peer, where the kernel tells it.
        pid: Option<i32>,
        /// Name of the user, where this machine knows one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A signal to the daemon.
    Signal(String),
    /// weir-control itself, such as when a watched file changed.
    Weir,
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User {
                uid,
                name: Some(name),
                ..
            } => write!(f, "{name} (uid {uid})"),
            Self::User { uid, .. } => write!(f, "uid {uid}"),
            Self::Signal(name) => write!(f, "{name}"),
            Self::Weir => f.write_str("weir-control"),
        }
    }
}

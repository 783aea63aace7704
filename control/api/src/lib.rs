//! The shapes that cross the control socket: what weir-control answers and what the command line
//! reads. Plain data with serde; no I/O, no behaviour beyond what both sides need to agree on.
//!
//! Readers ignore keys they do not know, so that either side may be the newer one. Times are
//! RFC 3339 in UTC. Secrets never appear here.

pub mod claims;
pub mod entra;
pub mod explain;
pub mod grants;
pub mod keys;
pub mod lists;
pub mod person;
pub mod record;
pub mod rehearsal;
pub mod reload;
pub mod seen;
pub mod sign_ins;
pub mod status;

pub use claims::{Looked, RuleSaw, ShownClaim, ShownClaims};
pub use explain::{AtToken, Explain, ExplainRequest, KernelPart, ProxyPart, Recorded, Tried};
pub use lists::{AddEntry, ApproveList, HeldList, ListDetail, ListSummary, ListTest, RemoteList};
pub use record::{Actor, Change, Record, RecordBody};
pub use rehearsal::{Diff, DiffGroup, DiffRequest, DiffSide};
pub use reload::{
    Altered, ConfigChanges, ListChange, PendingReload, ReloadRequest, Reloads, RolledBack,
    ServiceChange,
};
pub use seen::{CaptureRequest, Flow, MissedFlows};
pub use status::{
    ConfigStatus, ControlStatus, Decided, Hook, KernelStatus, ListenersStatus, Outcome, Packets,
    ProxyState, ProxyStatus, ReloadStatus, ServerStatus, ServiceStatus, Status, TransitionStatus,
    UpstreamStatus,
};

use serde::{Deserialize, Serialize};

/// Answer to every request that failed (HTTP status 4xx or 5xx).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong, in one sentence or as a list of diagnostics, one per line.
    pub error: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The generation that stays in force, where the request wanted another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// Answer to a change: both planes work with this generation now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Number of the generation in force.
    pub generation: u64,
    /// What a person should know although the change was made, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Nothing was to be changed: `generation` is the one that was in force before.
    #[serde(default)]
    pub unchanged: bool,
    /// The change was only tried: nothing was published.
    #[serde(default)]
    pub dry_run: bool,
    /// What the configuration would change, where it was only tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Box<ConfigChanges>>,
    /// It is in force until then only, unless it is confirmed (`POST /v1/confirm`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingReload>,
}

/// One counter of the kernel plane; only those that are not zero are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Name of the service; empty for packets that belong to none.
    pub service: String,
    /// Class of the source.
    pub class: weir_abi::Class,
    /// What was done.
    pub verdict: weir_abi::Verdict,
    /// Why.
    pub reason: String,
    /// Which program did it; a packet is counted at one hook only.
    pub hook: weir_abi::Hook,
    /// It was not done, but only would have been: the service was observed.
    #[serde(default)]
    pub observed: bool,
    /// Packets since the maps were made.
    pub packets: u64,
    /// Bytes since the maps were made.
    pub bytes: u64,
}

//! The tenant over the control socket: `GET /v1/entra`, and what is done about it.

use serde::{Deserialize, Serialize};

/// How something stands; the later, the worse.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All is well.
    #[default]
    Healthy,
    /// Something is missing that the tenant does not have, or that passes by itself.
    Degraded,
    /// What is known is older than it should be.
    Stale,
    /// A change waits for approval.
    Held,
    /// A person has to do something.
    NeedsAttention,
    /// Nothing is collected any more, by somebody's decision.
    Disconnected,
}

/// The tenant, and how the synchronisation with it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entra {
    /// Id of the tenant.
    pub tenant: String,
    /// Its name, once it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id of the application that Weir is there.
    pub application: String,
    /// Where the tenant lives: `global`, `usgov`, `usgov-dod`, `china` or `custom`.
    pub cloud: String,
    /// The worst of all that follows.
    pub state: State,
    /// Number of the picture that both planes judge by; absent while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// When that was drawn; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<String>,
    /// Users in it.
    #[serde(default)]
    pub users: u64,
    /// Groups in it.
    #[serde(default)]
    pub groups: u64,
    /// Number of the picture that the current proxy judges by; 0 when it was told that there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_epoch: Option<u64>,
    /// What Weir signs in with.
    pub credential: Credential,
    /// Permissions that are missing for what is read; of each, any one suffices.
    #[serde(default)]
    pub missing: Vec<Vec<String>>,
    /// Permissions to change something, which Weir never needs.
    #[serde(default)]
    pub too_much: Vec<String>,
    /// Seconds that the clock here is behind Microsoft's, once there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_seconds: Option<i64>,
    /// What is to be known of the connection as a whole.
    pub findings: Vec<Finding>,
    /// What is read, part by part.
    pub parts: Vec<Part>,
    /// The groups that the configuration names, and what the tenant knows of them.
    #[serde(default)]
    pub named: Vec<NamedGroup>,
}

/// What Weir signs in with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// `certificate`, `secret`, `managed identity`, or `credential` when none can be used.
    pub kind: String,
    /// Which of the configuration's is in use: `credential` or `next_credential`.
    pub slot: String,
    /// Whether there is another one in the configuration.
    pub has_other: bool,
    /// Until when it is good, where anybody knows; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// Seconds until then; negative when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_seconds: Option<i64>,
    /// The one from before is kept yet, and is gone back to should this one be refused.
    #[serde(default)]
    pub keeps_former: bool,
    /// Why the other one, or the newer state of its files, is not in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Something to know, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// Why, in one word, such as `consent-missing`.
    pub reason: String,
    /// The same for people.
    pub title: String,
    /// The part that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// `AADSTS...`, or Graph's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// Microsoft's name for the request, for support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A part of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which, such as `users`.
    pub part: String,
    /// The worst of its findings.
    pub state: State,
    /// When it was last known to be current; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Seconds since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// When a round last ended, whichever way; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<String>,
    /// A round runs now.
    #[serde(default)]
    pub is_running: bool,
    /// Seconds until the next one begins.
    pub next_seconds: u64,
    /// How many failed in a row.
    #[serde(default)]
    pub failures: u32,
    /// What is to be known of it, the worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// A round that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it is approved or discarded by.
    pub digest: String,
    /// Since when it waits; RFC 3339, UTC.
    pub since: String,
    /// When it was last told; RFC 3339, UTC.
    pub told: String,
    /// Why, one sentence each.
    pub whys: Vec<String>,
    /// How much would change: what it is, and how many.
    pub counts: Vec<(String, u64)>,
    /// Some of those who would lose something, and what.
    pub examples: Vec<Example>,
}

/// Somebody, or something, that would lose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Id of the object.
    pub id: String,
    /// By which name it is known, if any.
    pub name: String,
    /// What would be lost, in words.
    pub loses: String,
}

/// A group that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedGroup {
    /// As it is written.
    pub group: String,
    /// Its object id, where the tenant knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What is wrong with the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// Answer to `POST /v1/entra/check`: each credential tried, each part read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The worst of it.
    pub state: State,
    /// The credentials of the configuration, each proved by itself.
    pub credentials: Vec<Proved>,
    /// Each part as it was read now.
    pub parts: Vec<Synced>,
    /// What else is to be known.
    pub findings: Vec<Finding>,
}

/// A credential that was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proved {
    /// `credential` or `next_credential`.
    pub slot: String,
    /// Of which kind it is.
    pub kind: String,
    /// It was signed in with.
    pub has_token: bool,
    /// The tenant's name, by its own word: the token is good for the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What is wrong with it, or with what it may do.
    pub findings: Vec<Finding>,
}

/// How a part was read that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Which.
    pub part: String,
    /// How it went.
    pub outcome: Outcome,
    /// What waits for a person, where it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// How a round went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// What changed is in force.
    Committed,
    /// Nothing had changed.
    Unchanged,
    /// It waits for a person.
    Held,
    /// It failed, and changed nothing.
    Failed,
    /// It goes on, for longer than anybody waits.
    Running,
}

/// Body of `POST /v1/entra/connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectRequest {
    /// The address that the administrator's browser was sent back to, with its query.
    pub callback: Option<String>,
}

/// Answer to `POST /v1/entra/connect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// It is collected from now on; it was disconnected before.
    pub begun: bool,
    /// Where an administrator of the tenant consents; good for ten minutes, and once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// An administrator has consented, by what the browser brought back.
    pub consented: bool,
    /// What to know, one sentence each.
    pub warnings: Vec<String>,
}

/// Body of `POST /v1/entra/sync`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SyncRequest {
    /// Which part; all when absent.
    pub part: Option<String>,
    /// Users and groups are read as a whole.
    pub full: bool,
}

/// Body of `POST /v1/entra/approve` and `POST /v1/entra/discard`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// The digest of what is held; its first eight characters will do.
    pub digest: String,
}

/// Answer to `POST /v1/entra/approve` and `POST /v1/entra/discard`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The part that it was of.
    pub part: String,
    /// Its whole digest.
    pub digest: String,
}

/// Body of `POST /v1/entra/disconnect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DisconnectRequest {
    /// What is known of the tenant is destroyed too.
    pub purge: bool,
}

/// Answer to `POST /v1/entra/disconnect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnected {
    /// What was known is destroyed.
    pub purged: bool,
    /// Files with credentials that are destroyed.
    pub destroyed: Vec<String>,
    /// Those that could not be, and why.
    pub left: Vec<(String, String)>,
    /// What is still to be done, one sentence each.
    pub next: Vec<String>,
}

/// The tenant in a few words, in `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntraStatus {
    /// Its name, or its id.
    pub tenant: String,
    /// How it stands.
    pub state: State,
    /// Users in the picture that both planes judge by.
    pub users: u64,
    /// Groups in it.
    pub groups: u64,
    /// Seconds since users and groups were last known to be current; the older of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Number of the picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

impl State {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Stale => "stale",
            Self::Held => "held",
            Self::NeedsAttention => "needs attention",
            Self::Disconnected => "disconnected",
        }
    }
}

impl Outcome {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Committed => "changed",
            Self::Unchanged => "unchanged",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Running => "still running",
        }
    }
}

//! `POST /v1/reload`, `POST /v1/confirm`, `POST /v1/undo`, and what status tells of them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/reload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReloadRequest {
    /// Load and check everything, publish nothing, and say what would change.
    pub dry_run: bool,
    /// Unless it is confirmed within so many seconds (1 to 86,400), what was in force before is put back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_within: Option<u64>,
}

/// How the configuration file came into force: attempts at the start and by reloads, in contrast to changes
/// of lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reloads {
    /// The newest attempt to put the configuration file in force succeeded, and was not taken back since.
    /// `false` also after a start with the last good copy, and after a rollback.
    pub last_successful: bool,
    /// When the configuration file was put in force the last time; RFC 3339. None since weir-control
    /// started, when it started with a copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// When that was refused the last time since weir-control started, or was taken back; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<String>,
    /// Reloads since weir-control started that put the configuration file in force.
    pub successes: u64,
    /// Reloads since weir-control started that were refused.
    pub failures: u64,
    /// How often since weir-control started the generation before was put back, because nobody confirmed
    /// or because somebody asked for it.
    pub rollbacks: u64,
    /// A reload that waits to be confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingReload>,
    /// What was rolled back, as long as the configuration file is not in force because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// The generation that `weir undo` goes back to; none when there is nothing to go back to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo_to: Option<u64>,
}

/// A reload that is in force and waits to be confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingReload {
    /// The generation that the reload put in force.
    pub generation: u64,
    /// The generation that is put back unless it is confirmed.
    pub back_to: u64,
    /// When that will be; RFC 3339.
    pub until: String,
    /// Whole seconds until then.
    pub seconds_left: u64,
    /// Who asked for the reload, in words.
    pub who: String,
}

/// A rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolledBack {
    /// When; RFC 3339.
    pub time: String,
    /// Who did it, in words.
    pub who: String,
    /// Why, in words.
    pub why: String,
    /// The generation whose content is in force again.
    pub back_to: u64,
    /// The configuration file on disk still holds what was rolled back, or something newer: `weir reload`
    /// would put it in force.
    pub file_differs: bool,
}

/// What one configuration changes in comparison with the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigChanges {
    /// The text of the file differs. Without it everything else comes from the files that it names.
    pub file: bool,
    /// Services that are new, gone, or different.
    pub services: Vec<ServiceChange>,
    /// Listeners that are opened.
    pub listeners_added: Vec<SocketAddr>,
    /// Listeners that are closed.
    pub listeners_removed: Vec<SocketAddr>,
    /// Lists that are new, gone, or different; the users of the directory are one.
    pub lists: Vec<ListChange>,
    /// Rules that are new, by name.
    pub rules_added: Vec<String>,
    /// Rules that are gone.
    pub rules_removed: Vec<String>,
    /// Rules that say something else.
    pub rules_changed: Vec<String>,
    /// The rules that stay stand in another order, where first match wins.
    pub rules_reordered: bool,
    /// Other sections that differ, as they are called in the file.
    pub sections: Vec<String>,
}

/// A service that a configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub what: Altered,
    /// The keys that differ, as they are called in the file.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Certificates that are shown no more, in words.
    #[serde(default)]
    pub certificates_removed: Vec<String>,
    /// Certificates that are shown from then on, in words.
    #[serde(default)]
    pub certificates_added: Vec<String>,
}

/// A list that a configuration changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListChange {
    /// Its name.
    pub name: String,
    /// What becomes of it.
    pub what: Altered,
    /// Entries that it has and did not have.
    pub added: usize,
    /// Entries that it had and has not.
    pub removed: usize,
    /// What else differs, as it is called in the file.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Altered {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is different.
    #[default]
    Changed,
}

//! Which authentication methods the tenant allows.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::or_default;
use super::open::open;
use super::{Malformed, envelope};

open! {
    /// Whether a method may be used.
    State {
        /// It may.
        Enabled = "enabled",
        /// It may not.
        Disabled = "disabled",
    }
}

open! {
    /// Whether older settings, which Graph does not show, count too.
    Migration {
        /// They do.
        Before = "preMigration",
        /// They do.
        Running = "migrationInProgress",
        /// They do not.
        Complete = "migrationComplete",
    }
}

/// The policy of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// When it was last changed.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub last_modified_date_time: Option<OffsetDateTime>,
    /// Whether this is all that counts; new tenants say nothing.
    #[serde(default)]
    pub policy_migration_state: Option<Migration>,
    /// The methods.
    #[serde(rename = "authenticationMethodConfigurations")]
    pub methods: Vec<Method>,
}

/// A method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// Its name: `Fido2`, `Sms`, `TemporaryAccessPass` …
    pub id: String,
    /// Whether it may be used.
    pub state: State,
    /// By whom.
    #[serde(default, deserialize_with = "or_default")]
    pub include_targets: Vec<Target>,
    /// But not by these.
    #[serde(default, deserialize_with = "or_default")]
    pub exclude_targets: Vec<Target>,
}

/// Some users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// An id, or `all_users`.
    pub id: String,
    /// `group` or `user`.
    #[serde(default)]
    pub target_type: Option<String>,
}

impl Policy {
    /// Whether older settings, which Graph does not show, count too.
    pub fn is_partial(&self) -> bool {
        let state = self.policy_migration_state.as_ref();
        state.is_some_and(|state| *state != Migration::Complete)
    }
}

/// The policy.
pub fn decode(body: &[u8]) -> Result<Policy, Malformed> {
    envelope::read(body)
}

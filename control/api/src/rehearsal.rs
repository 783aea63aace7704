//! `POST /v1/rules/diff`: which recorded decisions other rules would change.

use serde::{Deserialize, Serialize};
use weir_policy::PolicySpec;

use crate::claims::Looked;

/// The rules to rehearse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// Policies of services, as the configuration that is rehearsed has them.
    pub policies: Vec<PolicySpec>,
    /// Only decisions at this time or later; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// Generation whose rules the new ones are compared with.
    pub generation: u64,
    /// Decisions that were judged by both.
    pub judged: u64,
    /// Of them, those that would change.
    pub changed: u64,
    /// Decisions without facts, which nobody can judge again.
    pub without_facts: u64,
    /// Decisions for services that one of the two configurations does not have.
    pub without_service: u64,
    /// Decisions that the rules in force make otherwise than it was recorded: rules, users or rates were
    /// others then.
    pub outdated: u64,
    /// What changes, most decisions first.
    pub groups: Vec<DiffGroup>,
    /// Changed decisions that are in none of `groups`, because there are too many of those.
    pub ungrouped: u64,
    /// When the newest one was made that was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How far back was looked; `cut` when newer decisions than `until` were left out.
    pub looked: Looked,
}

/// Decisions that change in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffGroup {
    /// The service.
    pub service: String,
    /// By the rules in force.
    pub before: DiffSide,
    /// By the new ones.
    pub after: DiffSide,
    /// How many.
    pub decisions: u64,
    /// Of how many users; of none, when nobody is named.
    pub users: u64,
    /// Of how many addresses.
    pub sources: u64,
    /// Whether there are more users or addresses than are counted.
    pub more: bool,
    /// Some of the users.
    pub some_users: Vec<String>,
    /// Some of the addresses.
    pub some_sources: Vec<String>,
    /// Client kinds.
    pub clients: Vec<String>,
    /// When the newest was made.
    pub last_seen: String,
    /// Reference id of the newest, for `weir explain --id`.
    pub example: String,
}

/// What rules make of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiffSide {
    /// pass, redirect, block or step-up.
    pub decision: String,
    /// Full name of the rule.
    pub rule: String,
    /// What is done if the token cannot be believed, where it has the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// What the source is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// Where a redirect goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

//! `GET /v1/explain/user`: all that is known of a user of the tenant, and what follows from it.

use serde::{Deserialize, Serialize};
use weir_abi::Class;

use crate::grants::{Granted, RevokedPrincipal};

/// A user of the tenant. What is `null` is not known; an empty list is known to be empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedUser {
    /// Generation whose rules are shown.
    pub generation: u64,
    /// `TENANT/OBJECT`, by the ids of Entra: how grants and revocations name the user.
    pub principal: String,
    /// Name to sign in with.
    pub upn: String,
    /// Name to show.
    pub name: String,
    /// Whether it may sign in.
    pub enabled: Option<bool>,
    /// `Member`, `Guest`, or what the tenant says; empty for some old accounts.
    pub kind: String,
    /// Every group, in the order of their names.
    pub groups: Option<Vec<UserGroup>>,
    /// Roles in force, each with its scope, the group that it comes through, and its end.
    pub roles: Option<Vec<String>>,
    /// Roles that may be taken.
    pub eligible: Option<Vec<String>>,
    /// Whether a second factor is registered.
    pub mfa_registered: Option<bool>,
    /// Whether one is registered that the tenant allows.
    pub mfa_capable: Option<bool>,
    /// Conditional Access policies that leave the user out, and by what. They are read, not evaluated.
    pub policies_excluding: Option<Vec<String>>,
    /// Whether the sign-in log is known at all.
    pub sign_ins_known: bool,
    /// The last sign-in that succeeded and that the log still has.
    pub last_sign_in: Option<String>,
    /// What `[[entra.group]]` says of the user's groups.
    pub classes: Option<Vec<GroupBound>>,
    /// Rules that name a group or a role of the user.
    pub rules: Vec<NamingRule>,
    /// What addresses are granted by the user's sign-ins.
    pub grants: Vec<Granted>,
    /// That the user is granted nothing.
    pub revoked: Option<RevokedPrincipal>,
    /// Where this is from, and how old it is.
    pub parts: Vec<PartAge>,
    /// Beyond this many seconds policy takes a part as unknown.
    pub max_age: u64,
}

/// A group of a user, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserGroup {
    /// Object id.
    pub id: String,
    /// Its name, or else its id.
    pub name: String,
    /// Whether the user is in the group itself, and not only in one that is.
    pub direct: bool,
    /// The groups on a shortest way: the one that the user is directly in, those between, and the group itself.
    pub path: Vec<String>,
    /// The rule by which the tenant put the user into the first of them, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// How far grants of a group's members reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupBound {
    /// The group, as the configuration names it.
    pub group: String,
    /// How far at most.
    pub class: Class,
}

/// A rule that names a group or a role of a user. Whether it decides depends on the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamingRule {
    /// The service.
    pub service: String,
    /// Full name.
    pub rule: String,
    /// What it does.
    pub decision: String,
    /// What of the user it names: `group staff`, `role Global Reader`.
    pub names: Vec<String>,
    /// Whether it names any of it under `not`.
    pub negated: bool,
}

/// A part of the directory, and how old it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartAge {
    /// Its word in the configuration.
    pub part: String,
    /// When it was last known to be current; RFC 3339, UTC; never where there is none.
    pub current: Option<String>,
    /// How long ago that is, in seconds.
    pub age: Option<u64>,
    /// Whether that is longer ago than `max_age`.
    pub stale: bool,
    /// Why it is not read now, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether changes wait for a person.
    pub held: bool,
}

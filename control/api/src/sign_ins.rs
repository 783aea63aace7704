//! `GET /v1/entra/sign-ins`: sign-ins that the tenant's log tells of, and what Weir had to do with them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_abi::Class;

use crate::Looked;

/// Sign-ins of the tenant's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIns {
    /// Generation whose lists and services are shown: those in force now, not those of then.
    pub generation: u64,
    /// When the log was last read; RFC 3339, UTC.
    pub read: Option<String>,
    /// The newest first.
    pub sign_ins: Vec<SignInShown>,
    /// Whether there are older ones, which were left out.
    pub more: bool,
    /// How much of the audit log was read for decisions.
    pub looked: Looked,
}

/// A sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInShown {
    /// When, as Entra says; RFC 3339, UTC.
    pub time: String,
    /// Its id in the tenant's log.
    pub id: String,
    /// Object id of the user; empty when an application signed in.
    pub user_id: String,
    /// Name that the user signs in with.
    pub user: Option<String>,
    /// The application.
    pub application: Option<String>,
    /// Kind of client, as Entra says.
    pub client: Option<String>,
    /// Whether a person took part.
    pub interactive: Option<bool>,
    /// 0 for success, else the number of an AADSTS code.
    pub error: Option<i64>,
    /// Why not.
    pub failure: Option<String>,
    /// From where, as Entra saw it.
    pub source: Option<IpAddr>,
    /// The class that lists in force give the source.
    pub class: Option<Class>,
    /// The list that gives it.
    pub list: Option<String>,
    /// The entry that gives it.
    pub prefix: Option<IpNet>,
    /// Domain of the user's name.
    pub domain: Option<String>,
    /// Whether another server signs the domain's users in.
    pub federated: Option<bool>,
    /// Weir's service in front of that server.
    pub service: Option<String>,
    /// What Weir had to do with it.
    pub weir: Seen,
    /// That in words.
    pub why: String,
    /// The decision that Weir made on it.
    pub decision: Option<Decided>,
}

/// What Weir had to do with a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// It decided about it: the audit log has it.
    Decided,
    /// Sources of its class are forwarded in the kernel, undecrypted.
    Forwarded,
    /// It should have been decided about, and nothing of it is in the audit log.
    Unseen,
    /// Entra itself signs users of the domain in.
    NotFederated,
    /// Nobody can say.
    Unknown,
}

/// A decision of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Reference id.
    pub id: String,
    /// When.
    pub time: String,
    /// The decision.
    pub decision: String,
    /// By which rule.
    pub rule: String,
    /// The service.
    pub service: Option<String>,
    /// Whether it names the user; else it is of the same source at that time.
    pub names_user: bool,
}

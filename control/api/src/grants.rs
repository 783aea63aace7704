//! `GET /v1/grants`, and what administrators do about grants and principals.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_abi::Class;

/// The answer of `GET /v1/grants`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Grants that live, by address.
    pub grants: Vec<Granted>,
    /// Principals that are granted nothing until they are restored.
    pub revoked: Vec<RevokedPrincipal>,
}

/// A class that one address has for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The address.
    pub address: IpAddr,
    /// Who earned it: `TENANT/OBJECT`, by the ids of Entra.
    pub principal: String,
    /// The class.
    pub class: Class,
    /// Since when; RFC 3339, UTC.
    pub since: String,
    /// Until when; RFC 3339, UTC.
    pub until: String,
    /// Whether the kernel goes by it.
    pub kernel: bool,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
    /// The rule that granted it, `SET/NAME`.
    pub rule: String,
    /// The service that was signed in at.
    pub service: String,
    /// How far the groups of its principal let it open; absent where no group limits anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
}

/// How far groups of Entra let the grants of a principal open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Up to this class; absent when nobody can say: then nothing opens in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Which group says so, or why nobody can say.
    pub why: String,
}

/// A principal that is granted nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedPrincipal {
    /// `TENANT/OBJECT`, by the ids of Entra.
    pub principal: String,
    /// Who revoked it.
    pub by: String,
    /// When; RFC 3339, UTC.
    pub time: String,
    /// Why.
    pub reason: String,
}

/// Body of `POST /v1/principals/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// `TENANT/OBJECT`, by the ids of Entra.
    pub principal: String,
    /// Why, in one line.
    pub reason: String,
}

/// Body of `POST /v1/principals/restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// `TENANT/OBJECT`, by the ids of Entra.
    pub principal: String,
}

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The grants that ended by it.
    pub ended: Vec<Granted>,
}

/// A prefix that nobody knows enough of yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unwatched {
    /// The prefix.
    pub prefix: IpNet,
    /// Until when; RFC 3339, UTC.
    pub until: String,
}

/// Grants in `weir status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantsStatus {
    /// Grants that live.
    pub live: usize,
    /// Of them, those that the kernel goes by.
    pub kernel: usize,
    /// Addresses that the kernel holds something for, also for flows of grants that have ended.
    pub held: usize,
    /// Addresses on which it is watched who is seen.
    pub watched: usize,
    /// Addresses that there is room for.
    pub room: usize,
    /// Principals that the kernel has a place for.
    #[serde(default)]
    pub principals: usize,
    /// Principals that were revoked.
    pub revoked: usize,
    /// Sign-ins that earned a grant, since the start.
    pub earned: u64,
    /// Sign-ins that should have earned one and did not, since the start.
    pub refused: u64,
    /// Grants that ended because somebody else was seen on the address, since the start.
    pub strangers: u64,
    /// Sign-ins that the kernel had no connection of, so that it does not go by what they earned, since the
    /// start.
    #[serde(default)]
    pub unconnected: u64,
    /// Grants that ended because the directory says something else of their principal, since the start.
    #[serde(default)]
    pub withdrawn: u64,
    /// Sign-ins whose grant is not for the kernel because the directory could not say how far it may open, since
    /// the start.
    #[serde(default)]
    pub unsure: u64,
    /// Sign-ins that found no room or were too long to be any, since the start.
    pub missed: u64,
    /// Prefixes of one person an address that are watched for too short a time: the kernel goes by no grant
    /// there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unwatched: Vec<Unwatched>,
    /// What keeps grants from being written down or carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

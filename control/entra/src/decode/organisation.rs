//! The organisation: who the tenant is, and what it has licences for.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::{id, or_default};
use super::{Malformed, envelope};
use crate::model::Id;

/// Service plans that decide what Graph shows of a tenant.
const P1: &str = "41781fb2-bc02-4b7c-bd55-b576c07bb09d";
const P2: &str = "eec0eb4f-6444-4f95-aba0-50c24d67f998";

/// The organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Organisation {
    /// The tenant.
    #[serde(deserialize_with = "id")]
    pub id: Id,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// `AAD`, `AAD B2C`, `CIAM`.
    #[serde(default)]
    pub tenant_type: Option<String>,
    /// Whether accounts come from a directory of its own.
    #[serde(default)]
    pub on_premises_sync_enabled: Option<bool>,
    /// When they last came.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub on_premises_last_sync_date_time: Option<OffsetDateTime>,
    /// Its domains.
    #[serde(default, deserialize_with = "or_default")]
    pub verified_domains: Vec<VerifiedDomain>,
    /// What it has licences for.
    #[serde(default, deserialize_with = "or_default")]
    pub assigned_plans: Vec<Plan>,
}

/// A domain of the organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedDomain {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// `Managed` or `Federated`.
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Whether new accounts are in it.
    #[serde(default)]
    pub is_default: Option<bool>,
    /// Whether it is the one that Microsoft gave.
    #[serde(default)]
    pub is_initial: Option<bool>,
}

/// A service that the organisation has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Which.
    #[serde(default)]
    pub service_plan_id: Option<String>,
    /// `Enabled`, `Warning`, `Suspended`, `Deleted`, `LockedOut`.
    #[serde(default)]
    pub capability_status: Option<String>,
}

/// What of Entra the organisation has licences for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Licence {
    /// Neither of these.
    Free,
    /// P1: Conditional Access, sign-in log.
    P1,
    /// P2: also roles that are taken for a time.
    P2,
}

impl Organisation {
    /// What it has licences for.
    pub fn licence(&self) -> Licence {
        let has = |plan: &str| {
            self.assigned_plans.iter().any(|assigned| {
                let id = assigned.service_plan_id.as_deref().unwrap_or_default();
                let status = assigned.capability_status.as_deref().unwrap_or_default();
                id.eq_ignore_ascii_case(plan) && ["Enabled", "Warning"].contains(&status)
            })
        };
        match (has(P1), has(P2)) {
            (_, true) => Licence::P2,
            (true, false) => Licence::P1,
            (false, false) => Licence::Free,
        }
    }
}

/// The one organisation of a tenant.
pub fn decode(body: &[u8]) -> Result<Organisation, Malformed> {
    envelope::only(body)
}

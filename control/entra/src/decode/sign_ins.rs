//! Entries of the sign-in log.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::or_default;
use super::open::open;
use super::{Malformed, envelope};
use crate::model::Page;

open! {
    /// What became of Conditional Access.
    ConditionalAccess {
        /// All that was asked for was there.
        Success = "success",
        /// Something was not.
        Failure = "failure",
        /// No policy was about it.
        NotApplied = "notApplied",
    }
}

/// A sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// Its id.
    pub id: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_date_time: OffsetDateTime,
    /// The user; empty when an application signed in.
    #[serde(default, deserialize_with = "or_default")]
    pub user_id: String,
    /// Its name to sign in with.
    #[serde(default)]
    pub user_principal_name: Option<String>,
    /// The application that asked.
    #[serde(default)]
    pub app_id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub app_display_name: Option<String>,
    /// What it asked for.
    #[serde(default)]
    pub resource_id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub resource_display_name: Option<String>,
    /// From where, as Entra saw it.
    #[serde(default)]
    pub ip_address: Option<String>,
    /// With what kind of client.
    #[serde(default)]
    pub client_app_used: Option<String>,
    /// Ties what belongs together.
    #[serde(default)]
    pub correlation_id: Option<String>,
    /// What became of Conditional Access.
    #[serde(default)]
    pub conditional_access_status: Option<ConditionalAccess>,
    /// Whether a person took part.
    #[serde(default)]
    pub is_interactive: Option<bool>,
    /// What became of it.
    #[serde(default)]
    pub status: Option<Status>,
    /// The device.
    #[serde(default)]
    pub device_detail: Option<Device>,
    /// The policies that were looked at.
    #[serde(default, deserialize_with = "or_default")]
    pub applied_conditional_access_policies: Vec<Applied>,
}

/// What became of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// 0 for success, else the number of an AADSTS code.
    #[serde(default)]
    pub error_code: Option<i64>,
    /// Why not.
    #[serde(default)]
    pub failure_reason: Option<String>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Its id in the tenant; empty for one that is not known there.
    #[serde(default)]
    pub device_id: Option<String>,
    /// What it runs.
    #[serde(default)]
    pub operating_system: Option<String>,
    /// Its browser.
    #[serde(default)]
    pub browser: Option<String>,
    /// Whether it is as the organisation wants it.
    #[serde(default)]
    pub is_compliant: Option<bool>,
    /// Whether it is managed.
    #[serde(default)]
    pub is_managed: Option<bool>,
}

/// A policy that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Which.
    #[serde(default)]
    pub id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// What came of it.
    #[serde(default)]
    pub result: Option<String>,
}

/// A page of sign-ins.
pub fn decode(body: &[u8]) -> Result<Page<SignIn>, Malformed> {
    envelope::list(body)
}

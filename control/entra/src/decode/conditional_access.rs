//! Conditional Access policies: to be reported, not to be evaluated.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::or_default;
use super::open::open;
use super::{Malformed, envelope};
use crate::model::Page;

open! {
    /// Whether a policy is in force.
    State {
        /// It is.
        Enabled = "enabled",
        /// It is not.
        Disabled = "disabled",
        /// It only reports.
        ReportOnly = "enabledForReportingButNotEnforced",
    }
}

open! {
    /// What a policy grants access for.
    Control {
        /// Nothing: access is blocked.
        Block = "block",
        /// Multi-factor authentication.
        Mfa = "mfa",
        /// A compliant device.
        CompliantDevice = "compliantDevice",
        /// A device of the domain.
        DomainJoinedDevice = "domainJoinedDevice",
        /// An approved application.
        ApprovedApplication = "approvedApplication",
        /// An application under a protection policy.
        CompliantApplication = "compliantApplication",
        /// A new password.
        PasswordChange = "passwordChange",
        /// The risk is remedied.
        RiskRemediation = "riskRemediation",
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Its id.
    pub id: String,
    /// Its name.
    pub display_name: String,
    /// Whether it is in force.
    pub state: State,
    /// Since when it exists.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub created_date_time: Option<OffsetDateTime>,
    /// When it was last changed.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub modified_date_time: Option<OffsetDateTime>,
    /// Whom and what it is about.
    pub conditions: Conditions,
    /// What it asks for.
    #[serde(default)]
    pub grant_controls: Option<Grant>,
    /// How sessions are limited; kept as it is.
    #[serde(default)]
    pub session_controls: Option<serde_json::Value>,
}

/// Whom and what a policy is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conditions {
    /// Kinds of client.
    #[serde(deserialize_with = "or_default")]
    pub client_app_types: Vec<String>,
    /// Risk of the user.
    #[serde(deserialize_with = "or_default")]
    pub user_risk_levels: Vec<String>,
    /// Risk of the sign-in.
    #[serde(deserialize_with = "or_default")]
    pub sign_in_risk_levels: Vec<String>,
    /// Applications.
    #[serde(deserialize_with = "or_default")]
    pub applications: Applications,
    /// Users, groups and roles.
    #[serde(deserialize_with = "or_default")]
    pub users: Users,
    /// Locations.
    #[serde(deserialize_with = "or_default")]
    pub locations: Locations,
    /// Platforms; kept as they are.
    pub platforms: Option<serde_json::Value>,
    /// Devices; kept as they are.
    pub devices: Option<serde_json::Value>,
    /// Workload identities; kept as they are.
    pub client_applications: Option<serde_json::Value>,
    /// Device code flow and transfer of sign-ins; kept as they are.
    pub authentication_flows: Option<serde_json::Value>,
}

/// Applications of a policy: ids, `All`, `None`, `Office365`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Applications {
    /// Those that it is about.
    #[serde(deserialize_with = "or_default")]
    pub include_applications: Vec<String>,
    /// But not these.
    #[serde(deserialize_with = "or_default")]
    pub exclude_applications: Vec<String>,
    /// Actions instead of applications.
    #[serde(deserialize_with = "or_default")]
    pub include_user_actions: Vec<String>,
    /// Authentication contexts instead of applications.
    #[serde(deserialize_with = "or_default")]
    pub include_authentication_context_class_references: Vec<String>,
}

/// Users of a policy: ids, `All`, `None`, `GuestsOrExternalUsers`; roles by their templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Users {
    /// Users that it is about.
    #[serde(deserialize_with = "or_default")]
    pub include_users: Vec<String>,
    /// But not these.
    #[serde(deserialize_with = "or_default")]
    pub exclude_users: Vec<String>,
    /// Groups that it is about.
    #[serde(deserialize_with = "or_default")]
    pub include_groups: Vec<String>,
    /// But not these.
    #[serde(deserialize_with = "or_default")]
    pub exclude_groups: Vec<String>,
    /// Roles that it is about.
    #[serde(deserialize_with = "or_default")]
    pub include_roles: Vec<String>,
    /// But not these.
    #[serde(deserialize_with = "or_default")]
    pub exclude_roles: Vec<String>,
    /// Guests that it is about; kept as they are.
    pub include_guests_or_external_users: Option<serde_json::Value>,
    /// But not these; kept as they are.
    pub exclude_guests_or_external_users: Option<serde_json::Value>,
}

/// Locations of a policy: ids, `All`, `AllTrusted`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Locations {
    /// Those that it is about.
    #[serde(deserialize_with = "or_default")]
    pub include_locations: Vec<String>,
    /// But not these.
    #[serde(deserialize_with = "or_default")]
    pub exclude_locations: Vec<String>,
}

/// What a policy asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grant {
    /// `AND` or `OR`.
    pub operator: Option<String>,
    /// What access is granted for.
    #[serde(deserialize_with = "or_default")]
    pub built_in_controls: Vec<Control>,
    /// Terms of use to agree to.
    #[serde(deserialize_with = "or_default")]
    pub terms_of_use: Vec<String>,
    /// Controls of others.
    #[serde(deserialize_with = "or_default")]
    pub custom_authentication_factors: Vec<String>,
    /// A strength of authentication; kept as it is.
    pub authentication_strength: Option<serde_json::Value>,
}

/// A page of policies.
pub fn decode(body: &[u8]) -> Result<Page<Policy>, Malformed> {
    envelope::list(body)
}

//! Entries of the tenant's audit log: who changed what, and when.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::or_default;
use super::{Malformed, envelope};
use crate::model::Page;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// Its id.
    pub id: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub activity_date_time: OffsetDateTime,
    /// What: `Add member to group` …
    pub activity_display_name: String,
    /// Of what kind: `GroupManagement` …
    #[serde(default)]
    pub category: Option<String>,
    /// `success`, `failure`, `timeout`.
    #[serde(default)]
    pub result: Option<String>,
    /// Ties what belongs together.
    #[serde(default)]
    pub correlation_id: Option<String>,
    /// By whom.
    #[serde(default)]
    pub initiated_by: Option<Initiator>,
    /// What was changed.
    #[serde(default, deserialize_with = "or_default")]
    pub target_resources: Vec<Target>,
}

/// By whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initiator {
    /// A person.
    #[serde(default)]
    pub user: Option<User>,
    /// An application.
    #[serde(default)]
    pub app: Option<App>,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its id.
    #[serde(default)]
    pub id: Option<String>,
    /// Its name to sign in with.
    #[serde(default)]
    pub user_principal_name: Option<String>,
    /// From where.
    #[serde(default)]
    pub ip_address: Option<String>,
}

/// An application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// What it signs in as.
    #[serde(default)]
    pub app_id: Option<String>,
    /// Its account in the tenant.
    #[serde(default)]
    pub service_principal_id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
}

/// What was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its id.
    #[serde(default)]
    pub id: Option<String>,
    /// `User`, `Group` …
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Its name to sign in with, of a user.
    #[serde(default)]
    pub user_principal_name: Option<String>,
    /// Its properties, before and after.
    #[serde(default, deserialize_with = "or_default")]
    pub modified_properties: Vec<Property>,
}

/// A property, before and after; the values are JSON in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Before.
    #[serde(default)]
    pub old_value: Option<String>,
    /// After.
    #[serde(default)]
    pub new_value: Option<String>,
}

/// A page of changes.
pub fn decode(body: &[u8]) -> Result<Page<Audit>, Malformed> {
    envelope::list(body)
}

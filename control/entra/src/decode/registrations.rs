//! Who has registered which authentication methods.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::{id, or_default};
use super::{Malformed, envelope};
use crate::model::{Id, Page};

/// What a user has registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// The user.
    #[serde(deserialize_with = "id")]
    pub id: Id,
    /// Its name to sign in with.
    #[serde(default)]
    pub user_principal_name: Option<String>,
    /// Whether it has a role.
    #[serde(default)]
    pub is_admin: Option<bool>,
    /// Whether a second factor is registered.
    pub is_mfa_registered: bool,
    /// Whether one is registered that the tenant allows.
    pub is_mfa_capable: bool,
    /// Whether it can do without a password.
    #[serde(default, deserialize_with = "or_default")]
    pub is_passwordless_capable: bool,
    /// What is registered.
    #[serde(default, deserialize_with = "or_default")]
    pub methods_registered: Vec<String>,
    /// As of when this is so.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub last_updated_date_time: Option<OffsetDateTime>,
}

/// A page of registrations.
pub fn decode(body: &[u8]) -> Result<Page<Registration>, Malformed> {
    envelope::list(body)
}

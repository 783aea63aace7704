//! The credentials of an application, as the tenant knows them: until when they are good, never what they are.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::{id, or_default};
use super::{Malformed, envelope};
use crate::model::{Id, Page};

/// An application with its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// What it signs in as.
    #[serde(deserialize_with = "id")]
    pub app_id: Id,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Client secrets.
    #[serde(default, deserialize_with = "or_default")]
    pub password_credentials: Vec<Credential>,
    /// Certificates.
    #[serde(default, deserialize_with = "or_default")]
    pub key_credentials: Vec<Credential>,
}

/// A client secret or a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Its id, which is not the secret.
    #[serde(default)]
    pub key_id: Option<String>,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The first characters of a secret.
    #[serde(default)]
    pub hint: Option<String>,
    /// What a certificate is named by ([`Certificate::is_named`](crate::credential::Certificate::is_named)).
    #[serde(default)]
    pub custom_key_identifier: Option<String>,
    /// From when it is good.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub start_date_time: Option<OffsetDateTime>,
    /// Until when it is good.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub end_date_time: Option<OffsetDateTime>,
}

/// The applications that were asked for: one, or none when another tenant owns it.
pub fn decode(body: &[u8]) -> Result<Page<Application>, Malformed> {
    envelope::list(body)
}

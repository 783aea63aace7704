//! `GET /v1/keys`: by whose keys tokens of each service are verified, and what administrators do about them.

use serde::{Deserialize, Serialize};

/// The answer of `GET /v1/keys`, and of every change of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The services whose tokens are looked at, in the order of the configuration.
    pub services: Vec<ServiceKeys>,
}

/// The keys of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceKeys {
    /// Its name.
    pub service: String,
    /// By which names it issues tokens.
    pub issuers: Vec<String>,
    /// Its keys: those in force, then those that are held.
    pub keys: Vec<Key>,
    /// Where they are published.
    pub sources: Vec<String>,
    /// When they were read there the last time; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched: Option<String>,
    /// Since when that fails; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when others wait for an approval; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<String>,
    /// The fingerprints that such an approval has to name.
    #[serde(default)]
    pub to_approve: Vec<String>,
    /// What a person should know of these keys, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A key by which tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What it is published as.
    pub kind: KeyKind,
    /// SHA-256 of the certificate, or the thumbprint of the JWK (RFC 7638): hexadecimal.
    pub fingerprint: String,
    /// The subject of the certificate, or the `kid` of the JWK; empty when it has none.
    pub name: String,
    /// Until when its certificate is valid; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// Whether it is believed.
    pub state: KeyState,
}

/// What a key is published as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// In federation metadata; for assertions.
    Certificate,
    /// In a JWKS; for JWTs.
    Jwk,
}

impl KeyKind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Jwk => "jwk",
        }
    }
}

/// Whether a key is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyState {
    /// Tokens are verified by it.
    InForce,
    /// Tokens are verified by it; its certificate should have been renewed.
    Expired,
    /// It waits for an approval: tokens that it signed are not believed.
    Held,
}

impl KeyState {
    /// The words for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::Expired => "expired",
            Self::Held => "held",
        }
    }
}

/// Body of `POST /v1/keys/refresh`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshKeys {
    /// The service whose keys are read; every service when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// Body of `POST /v1/keys/approve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveKeys {
    /// The service.
    pub service: String,
    /// Fingerprints of all keys that are to be put in force.
    pub fingerprints: Vec<String>,
}

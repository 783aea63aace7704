//! Applications and their credentials, and what a tenant allows them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::clock::written;

/// The application id of Microsoft Graph.
pub const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// A registered application.
#[derive(Debug, Clone)]
pub struct App {
    /// What it calls itself when it asks for a token (`client_id`).
    pub app_id: Uuid,
    /// Id of its registration.
    pub object_id: Uuid,
    /// Name.
    pub name: String,
    /// The tenant that it is registered in.
    pub home: Uuid,
    /// Whether other tenants may consent to it.
    pub multi_tenant: bool,
    /// The application permissions of Graph that it asks for: what `.default` means.
    pub requires: Vec<String>,
    /// Where answers to its browsers may be sent.
    pub redirects: Vec<String>,
    /// Client secrets.
    pub secrets: Vec<Secret>,
    /// Certificates.
    pub certificates: Vec<Certificate>,
}

/// A client secret, of which nothing but a digest is kept.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its id, which people mistake for the secret.
    pub key_id: Uuid,
    /// Name.
    pub name: String,
    /// First three characters.
    pub hint: String,
    /// From when it is good.
    pub start: OffsetDateTime,
    /// Until when it is good.
    pub end: OffsetDateTime,
    digest: Vec<u8>,
}

impl Secret {
    /// Of that value.
    pub fn new(key_id: Uuid, value: &str, start: OffsetDateTime, end: OffsetDateTime) -> Self {
        Self {
            key_id,
            name: "lab".to_owned(),
            hint: value.chars().take(3).collect(),
            start,
            end,
            digest: digest(&SHA256, value.as_bytes()).as_ref().to_vec(),
        }
    }

    /// Whether `value` is its value.
    pub fn is(&self, value: &str) -> bool {
        digest(&SHA256, value.as_bytes()).as_ref() == self.digest
    }
}

/// A certificate whose key may sign client assertions.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Id of the credential.
    pub key_id: Uuid,
    /// DER.
    pub der: Vec<u8>,
}

impl Certificate {
    /// SHA-256 thumbprint as in `x5t#S256`.
    pub fn sha256(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.der))
    }

    /// SHA-1 thumbprint as in `x5t`.
    pub fn sha1(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.sha1_digest())
    }

    /// From when and until when it is good.
    pub fn life(&self) -> Option<[OffsetDateTime; 2]> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.der).ok()?;
        let life = parsed.validity();
        Some([life.not_before.to_datetime(), life.not_after.to_datetime()])
    }

    fn sha1_digest(&self) -> aws_lc_rs::digest::Digest {
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der)
    }
}

impl App {
    /// As `/applications` shows it.
    pub fn to_json(&self) -> Value {
        let passwords = self.secrets.iter().map(|secret| {
            json!({ "customKeyIdentifier": null, "displayName": secret.name, "endDateTime": written(secret.end),
                "hint": secret.hint, "keyId": secret.key_id, "secretText": null, "startDateTime": written(secret.start) })
        });
        let keys = self.certificates.iter().map(|certificate| {
            let [start, end] = certificate.life().unwrap_or([OffsetDateTime::UNIX_EPOCH; 2]);
            json!({ "customKeyIdentifier": STANDARD.encode(certificate.sha1_digest()), "displayName": self.name,
                "endDateTime": written(end), "key": null, "keyId": certificate.key_id, "startDateTime": written(start),
                "type": "AsymmetricX509Cert", "usage": "Verify" })
        });
        let audience = if self.multi_tenant {
            "AzureADMultipleOrgs"
        } else {
            "AzureADMyOrg"
        };
        json!({ "id": self.object_id, "appId": self.app_id, "displayName": self.name, "signInAudience": audience,
            "createdDateTime": "2025-02-01T08:00:00Z", "deletedDateTime": null, "identifierUris": [],
            "passwordCredentials": passwords.collect::<Vec<_>>(), "keyCredentials": keys.collect::<Vec<_>>() })
    }
}

/// An application's account in a tenant, or the managed identity of a machine.
#[derive(Debug, Clone)]
pub struct Account {
    /// The application.
    pub app_id: Uuid,
    /// Its service principal.
    pub object_id: Uuid,
    /// Whether sign-in is allowed.
    pub enabled: bool,
    /// The resource id of the machine whose identity it is.
    pub machine: Option<String>,
    /// What it may do, each from a moment on.
    pub grants: Vec<(String, OffsetDateTime)>,
}

impl Account {
    /// What it may do now, in the order of names.
    pub fn roles(&self, now: OffsetDateTime) -> Vec<&str> {
        let granted = self.grants.iter().filter(|(_, from)| *from <= now);
        let mut roles: Vec<&str> = granted.map(|(role, _)| role.as_str()).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

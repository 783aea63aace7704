//! What a token for Graph says of itself.
//!
//! It is for Graph alone, and nobody else can verify it: what stands here may be shown, and tell an operator what is
//! wrong. Nothing is decided by it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::model::Id;

/// Longest token that is looked into.
const LONGEST: usize = 64 << 10;

/// The claims of an access token that an operator may want to know; unverified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Whom the token is for.
    #[serde(default)]
    pub aud: Option<String>,
    /// The tenant.
    #[serde(default)]
    pub tid: Option<Id>,
    /// The application.
    #[serde(default)]
    pub appid: Option<Id>,
    /// Object id of the application's account in the tenant.
    #[serde(default)]
    pub oid: Option<Id>,
    /// What it may do: the permissions that were consented to.
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Said {
    /// What stands in a token; nothing where it cannot be read.
    pub fn of(token: &str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let payload = token.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        serde_json::from_slice(&payload).ok()
    }
}

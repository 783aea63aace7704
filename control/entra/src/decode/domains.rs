//! Domains and their federation settings: whom the tenant really trusts to sign its users in.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::fields::or_default;
use super::open::open;
use super::{Malformed, envelope};
use crate::model::Page;

open! {
    /// What the tenant does about a second factor that the federation server may have asked for.
    MfaBehavior {
        /// Its word is taken; else Entra asks.
        Accept = "acceptIfMfaDoneByFederatedIdp",
        /// It is sent back to ask.
        Enforce = "enforceMfaByFederatedIdp",
        /// Entra always asks.
        Reject = "rejectMfaByFederatedIdp",
    }
}

open! {
    /// What the tenant and the federation server speak.
    Protocol {
        /// WS-Federation.
        WsFed = "wsFed",
        /// SAML 2.0.
        Saml = "saml",
    }
}

/// A domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    /// Its name.
    pub id: String,
    /// `Managed` or `Federated`.
    pub authentication_type: String,
    /// Whether the organisation has shown that it is its own.
    #[serde(default, deserialize_with = "or_default")]
    pub is_verified: bool,
    /// Whether new accounts are in it.
    #[serde(default, deserialize_with = "or_default")]
    pub is_default: bool,
    /// Whether it is the one that Microsoft gave.
    #[serde(default, deserialize_with = "or_default")]
    pub is_initial: bool,
}

/// The federation settings of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Federation {
    /// Its id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// By what name the federation server signs.
    #[serde(default)]
    pub issuer_uri: Option<String>,
    /// Where browsers are sent.
    #[serde(default)]
    pub passive_sign_in_uri: Option<String>,
    /// Where applications ask for tokens.
    #[serde(default)]
    pub active_sign_in_uri: Option<String>,
    /// Where its metadata is exchanged.
    #[serde(default)]
    pub metadata_exchange_uri: Option<String>,
    /// Where browsers are signed out.
    #[serde(default)]
    pub sign_out_uri: Option<String>,
    /// Its certificate: base64 of the DER.
    #[serde(default)]
    pub signing_certificate: Option<String>,
    /// The one that follows.
    #[serde(default)]
    pub next_signing_certificate: Option<String>,
    /// What is spoken.
    #[serde(default)]
    pub preferred_authentication_protocol: Option<Protocol>,
    /// What about a second factor.
    #[serde(default)]
    pub federated_idp_mfa_behavior: Option<MfaBehavior>,
    /// How a fresh sign-in is asked for.
    #[serde(default)]
    pub prompt_login_behavior: Option<String>,
    /// Whether requests must be signed.
    #[serde(default)]
    pub is_signed_authentication_request_required: Option<bool>,
    /// How the last automatic change of certificates went.
    #[serde(default)]
    pub signing_certificate_update_status: Option<CertificateUpdate>,
}

/// How an automatic change of certificates went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateUpdate {
    /// `Success` or what went wrong.
    #[serde(default)]
    pub certificate_update_result: Option<String>,
    /// When.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub last_run_date_time: Option<OffsetDateTime>,
}

/// All domains.
pub fn decode(body: &[u8]) -> Result<Page<Domain>, Malformed> {
    envelope::list(body)
}

/// The federation settings of a domain: none, or one. Graph writes them as a list, as an object in `value`, and as
/// the object itself.
pub fn federation(body: &[u8]) -> Result<Option<Federation>, Malformed> {
    let whole: Value = envelope::read(body)?;
    let Value::Object(mut object) = whole else {
        return Err(Malformed::new("the federation settings are no object"));
    };
    let inner = match object.remove("value") {
        None => Value::Object(object),
        Some(Value::Array(mut all)) => match (all.pop(), all.is_empty()) {
            (None, _) => return Ok(None),
            (Some(only), true) => only,
            (Some(_), false) => {
                return Err(Malformed::new("a domain has federation settings twice"));
            }
        },
        Some(object @ Value::Object(_)) => object,
        Some(_) => return Err(Malformed::new("the federation settings are no object")),
    };
    let read = serde_json::from_value(inner);
    read.map(Some).map_err(|error| Malformed::from(&error))
}

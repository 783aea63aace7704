//! In which words somebody who signs in by SOAP is answered.

use serde::{Deserialize, Serialize};

use crate::Head;

/// What a SOAP answer must be, and refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soap {
    /// Version of SOAP that was asked in.
    #[serde(default, skip_serializing_if = "Envelope::is_usual")]
    pub envelope: Envelope,
    /// Version of WS-Trust that was asked.
    pub version: TrustVersion,
    /// `wsa:MessageID` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// Versions of SOAP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Envelope {
    /// SOAP 1.1, which is asked for as `text/xml`.
    #[serde(rename = "1.1")]
    V11,
    /// SOAP 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V12,
}

/// Versions of WS-Trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrustVersion {
    /// WS-Trust, February 2005.
    #[default]
    #[serde(rename = "2005")]
    V2005,
    /// WS-Trust 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl Envelope {
    /// SAML 2.0 asks in SOAP 1.1 (bindings 3.2.3); elsewhere the media type tells (SOAP 1.2 part 2, 7.1.4).
    pub(crate) fn of(head: &Head<'_>, is_saml: bool) -> Self {
        let kind = head.text("content-type").unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if is_saml || media.eq_ignore_ascii_case("text/xml") {
            Self::V11
        } else {
            Self::V12
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_usual(&self) -> bool {
        *self == Self::V12
    }
}

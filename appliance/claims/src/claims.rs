//! What tokens say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::UtcDateTime;

use crate::{Refused, Trust};

/// What a token says, in the words of its issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Form of the token.
    pub form: Form,
    /// Who issued it.
    pub issuer: String,
    /// By what it is known again: `AssertionID`, `ID`, `jti` or `uti`; the hash of the signature of a JWT that
    /// has none.
    pub id: String,
    /// Whom it is for.
    pub audiences: Vec<String>,
    /// The subject: `NameIdentifier`, `NameID` or `sub`.
    pub subject: Option<String>,
    /// When it was issued.
    pub issued: Option<UtcDateTime>,
    /// Not valid before.
    pub not_before: Option<UtcDateTime>,
    /// Not valid from then on.
    pub not_after: UtcDateTime,
    /// When the person proved who they are: `AuthenticationInstant`, `AuthnInstant` or `auth_time`.
    pub authenticated: Option<UtcDateTime>,
    /// How: `AuthenticationMethod`, `AuthnContextClassRef`, `acr` and `amr`, as they stand there, and the values
    /// of the claims that mean the same.
    pub methods: Vec<String>,
    /// Everything else, by claim type: an attribute's whole URI, or the name of a member of a JWT. Values
    /// are as they stand there, whole, in their order.
    pub values: BTreeMap<String, Vec<String>>,
    /// Claim types that the issuer left out because there are too many values to carry ("overage"): these
    /// are unknown, which is not the same as none.
    pub missing: BTreeSet<String>,
}

/// Forms of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// SAML 1.1 assertion.
    #[serde(rename = "saml-1.1")]
    Saml11,
    /// SAML 2.0 assertion.
    #[serde(rename = "saml-2.0")]
    Saml20,
    /// JSON Web Token, signed (JWS compact serialisation).
    #[serde(rename = "jwt")]
    Jwt,
}

/// What is expected of a token, besides a signature by its issuer's key.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// One of these must be among its audiences; nothing when whoever asks does not know them, and takes the
    /// token's word for whom it is for.
    pub audiences: Option<&'a [String]>,
    /// Where it must have been sent to (`Recipient`, `Destination`); nothing when that is not known.
    pub recipient: Option<&'a str>,
    /// Now.
    pub now: UtcDateTime,
    /// How far clocks may differ.
    pub skew: Duration,
}

impl Expected<'_> {
    /// Whether what begins then may have begun, by the most forward of clocks.
    pub(crate) fn begun(&self, then: UtcDateTime) -> bool {
        then <= self.now.saturating_add(self.most_skew())
    }

    /// Whether what ends then is over, even by the slowest of clocks.
    pub(crate) fn over(&self, then: UtcDateTime) -> bool {
        then <= self.now.saturating_sub(self.most_skew())
    }

    /// Whether a token for these audiences is for one that is expected.
    pub(crate) fn is_for(&self, audiences: &[String]) -> bool {
        self.audiences
            .is_none_or(|wanted| audiences.iter().any(|audience| wanted.contains(audience)))
    }

    /// Whether a token that says this is of an issuer whose keys these are, for now, and for whom it should be.
    pub(crate) fn holds(&self, claims: &Claims, trust: &Trust) -> Result<(), Refused> {
        if !trust.issues(&claims.issuer) {
            return Err(Refused::WrongIssuer);
        }
        let begins = [claims.not_before, claims.issued];
        if !begins.into_iter().flatten().all(|then| self.begun(then)) {
            return Err(Refused::NotYetValid);
        }
        if self.over(claims.not_after) {
            return Err(Refused::Expired);
        }
        if !self.is_for(&claims.audiences) {
            return Err(Refused::WrongAudience);
        }
        Ok(())
    }

    fn most_skew(&self) -> time::Duration {
        self.skew.try_into().unwrap_or(time::Duration::MAX)
    }
}

/// A token, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time is looked at, and most are verified"
)]
pub enum Token {
    /// Its claims can be believed.
    Verified(Claims),
    /// They can not.
    Refused {
        /// Why.
        why: Refused,
        /// What it says all the same, where that can be read. It proves nothing.
        said: Option<Box<Claims>>,
    },
    /// It is encrypted to whom it is for: nobody else can read it.
    Opaque,
}

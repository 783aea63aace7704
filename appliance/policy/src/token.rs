//! What is known of the token that a sign-in ends with.
//!
//! In flow claims that were verified and named by the service's mapping. Nothing here verifies anything,
//! and nothing but [`Told::Verified`] is ever believed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::UtcDateTime;

/// What is known of the token that a sign-in ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "told", content = "value")]
pub enum Told {
    /// No token belongs to this request, or none is looked at there. Words say why.
    Nothing(Cow<'static, str>),
    /// One is on its way: the answer will be looked at, and what it says has the last word.
    Ahead,
    /// A token that was verified.
    Verified(TokenFacts),
    /// A token that cannot be believed or read; words say why.
    Unbelieved(Cow<'static, str>),
}

const UNTOLD: &str = "no token is looked at here";

impl Default for Told {
    fn default() -> Self {
        Self::Nothing(Cow::Borrowed(UNTOLD))
    }
}

impl Told {
    pub(crate) fn is_untold(&self) -> bool {
        matches!(self, Self::Nothing(why) if why == UNTOLD)
    }
}

/// Named claims of a verified token, by the service's mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenFacts {
    /// Values by name, such as `upn`, `groups` or `department`.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<String>>,
    /// Names whose values the issuer left out, because they are too many to carry.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub missing: BTreeSet<String>,
    /// How the user proved who they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Method>,
    /// When that was.
    #[serde(default, with = "moment", skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<UtcDateTime>,
}

/// How users prove who they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Method {
    /// A password.
    Password,
    /// More than one factor, by the word of the issuer.
    Mfa,
    /// Windows authentication: Kerberos or NTLM.
    Windows,
    /// A certificate or a smart card.
    Certificate,
    /// FIDO2 or a passkey.
    Fido,
    /// A one-time password.
    Otp,
    /// Another identity provider.
    Federated,
    /// Another key: of a device, of an authenticator application.
    Key,
    /// A text message or a call.
    Phone,
    /// A part of the body.
    Biometric,
    /// A number that unlocks a key.
    Pin,
    /// A word that is not known. It may mean any of the others.
    Other(String),
}

impl Method {
    /// Every method that rules may name.
    pub const NAMED: &'static [Self] = &[
        Self::Password,
        Self::Mfa,
        Self::Windows,
        Self::Certificate,
        Self::Fido,
        Self::Otp,
        Self::Federated,
        Self::Key,
        Self::Phone,
        Self::Biometric,
        Self::Pin,
    ];

    /// The method that a word of a token means: a SAML authentication method or context class, a claim
    /// value of AD FS or Entra, or an `amr` word (RFC 8176). URIs are compared to the byte, but words
    /// whatever their case.
    pub fn of(word: &str) -> Self {
        let lower = word.to_ascii_lowercase();
        if let Some(named) = Self::NAMED.iter().find(|it| it.name() == lower) {
            return named.clone();
        }
        let known = WORDS
            .iter()
            .find(|(known, _)| *known == word || !known.contains(':') && *known == lower);
        known.map_or_else(
            || Self::Other(word.to_owned()),
            |(_, method)| method.clone(),
        )
    }

    /// The word used in configuration, command line and log; the token's own when it is not known.
    pub fn name(&self) -> &str {
        match self {
            Self::Password => "password",
            Self::Mfa => "mfa",
            Self::Windows => "windows",
            Self::Certificate => "certificate",
            Self::Fido => "fido",
            Self::Otp => "otp",
            Self::Federated => "federated",
            Self::Key => "key",
            Self::Phone => "phone",
            Self::Biometric => "biometric",
            Self::Pin => "pin",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for Method {
    fn from(word: String) -> Self {
        Self::of(&word)
    }
}

impl From<Method> for String {
    fn from(method: Method) -> Self {
        method.name().to_owned()
    }
}

/// Words of tokens, and what they mean.
const WORDS: &[(&str, Method)] = &[
    ("urn:oasis:names:tc:SAML:1.0:am:password", Method::Password),
    (
        "urn:oasis:names:tc:SAML:1.0:am:X509-PKI",
        Method::Certificate,
    ),
    ("urn:oasis:names:tc:SAML:1.0:am:HardwareToken", Method::Otp),
    ("urn:ietf:rfc:1510", Method::Windows),
    ("urn:ietf:rfc:2246", Method::Certificate),
    ("urn:federation:authentication:windows", Method::Windows),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
        Method::Password,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
        Method::Password,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:Kerberos",
        Method::Windows,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:X509",
        Method::Certificate,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:TLSClient",
        Method::Certificate,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:SmartcardPKI",
        Method::Certificate,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:Smartcard",
        Method::Certificate,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:TimeSyncToken",
        Method::Otp,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorContract",
        Method::Mfa,
    ),
    (
        "urn:oasis:names:tc:SAML:2.0:ac:classes:MobileTwoFactorUnregistered",
        Method::Mfa,
    ),
    (
        "http://schemas.microsoft.com/claims/multipleauthn",
        Method::Mfa,
    ),
    ("https://refeds.org/profile/mfa", Method::Mfa),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/password",
        Method::Password,
    ),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/windows",
        Method::Windows,
    ),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/kerberos",
        Method::Windows,
    ),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/x509",
        Method::Certificate,
    ),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/tlsclient",
        Method::Certificate,
    ),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/smartcard",
        Method::Certificate,
    ),
    (
        "http://schemas.microsoft.com/ws/2008/06/identity/authenticationmethod/smartcardpki",
        Method::Certificate,
    ),
    (
        "http://schemas.microsoft.com/ws/2012/12/authmethod/otp",
        Method::Otp,
    ),
    (
        "http://schemas.microsoft.com/ws/2012/12/authmethod/phoneappotp",
        Method::Otp,
    ),
    (
        "http://schemas.microsoft.com/ws/2012/12/authmethod/phoneappnotification",
        Method::Key,
    ),
    (
        "http://schemas.microsoft.com/ws/2012/12/authmethod/phoneconfirmation",
        Method::Phone,
    ),
    (
        "http://schemas.microsoft.com/ws/2012/12/authmethod/smsotp",
        Method::Phone,
    ),
    (
        "http://schemas.microsoft.com/ws/2012/12/authmethod/virtualsmartcard",
        Method::Certificate,
    ),
    ("pwd", Method::Password),
    ("mfa", Method::Mfa),
    ("ngcmfa", Method::Mfa),
    ("wia", Method::Windows),
    ("x509", Method::Certificate),
    ("sc", Method::Certificate),
    ("fido", Method::Fido),
    ("otp", Method::Otp),
    ("fed", Method::Federated),
    ("rsa", Method::Key),
    ("hwk", Method::Key),
    ("swk", Method::Key),
    ("sms", Method::Phone),
    ("tel", Method::Phone),
    ("face", Method::Biometric),
    ("fpt", Method::Biometric),
    ("iris", Method::Biometric),
    ("retina", Method::Biometric),
    ("vbm", Method::Biometric),
    ("pin", Method::Pin),
];

/// Moments as text (RFC 3339).
pub(crate) mod moment {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};
    use time::UtcDateTime;
    use time::format_description::well_known::Rfc3339;

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        moment: &Option<UtcDateTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match moment {
            Some(moment) => {
                let text = moment.format(&Rfc3339).map_err(ser::Error::custom)?;
                serializer.serialize_some(&text)
            }
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<UtcDateTime>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| UtcDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom))
            .transpose()
    }
}

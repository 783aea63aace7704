//! The keys that an issuer publishes, and what they are made into to check signatures.
//!
//! A [`Certificate`] or a [`Jwk`] that exists holds a key that may be used: RSA of 2048 to 8192 bits, or a
//! point on P-256 or P-384.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bergshamra_dsig::DsigContext;
use bergshamra_keys::{Key, KeysManager, loader};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::jwks::{Discovery, Jwk, Jwks};
use crate::metadata::Metadata;
use crate::public_key::PublicKey;

/// Longest certificate that is read.
const MAX_CERTIFICATE: usize = 16 * 1024;

/// What an issuer publishes: its names and its keys. This is what travels to the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// By which names it issues tokens.
    pub issuers: Vec<String>,
    /// Certificates whose keys sign its assertions.
    pub certificates: Vec<Certificate>,
    /// Keys that sign its JWTs.
    pub jwks: Vec<Jwk>,
}

/// An X.509 certificate, for the sake of its key: who signed it, and until when it is valid, decide nothing.
/// It travels as base64 of its DER.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate {
    der: Vec<u8>,
    key: PublicKey,
    subject: String,
    not_before: UtcDateTime,
    not_after: UtcDateTime,
}

/// SHA-256 of a certificate's DER, or the thumbprint of a JWK (RFC 7638), in hexadecimal digits. Colons
/// between them are read too, and a thumbprint in base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

/// What an operator should know of keys that are in use all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A certificate's time is over. Its key goes on being trusted while it is published.
    #[error(
        "certificate {0} ended on {1} and is still published, so its key is still trusted; renew it at the sign-in server"
    )]
    Ended(Fingerprint, time::Date),
    /// A certificate's time has not come. Its key is trusted already.
    #[error("certificate {0} begins on {1}; its key is trusted already, because it is published")]
    NotBegun(Fingerprint, time::Date),
    /// The metadata and the JWKS have no key in common.
    #[error(
        "no key of the JWKS belongs to a certificate of the federation metadata; AD FS signs both with one key: check that both addresses are of the same service"
    )]
    Apart,
}

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not what a key or certificate is written in.
    #[error("it cannot be read: it is not a certificate or key as this format writes them")]
    Unreadable,
    /// It is longer than any honest one.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// An RSA key that can be broken.
    #[error(
        "its RSA key has {0} bits; 2048 is the least that is trusted: renew it at the sign-in server"
    )]
    Weak(usize),
    /// An RSA key that would make every check slow.
    #[error("its RSA key has {0} bits; 8192 is the most that is used")]
    TooStrong(usize),
    /// An RSA key whose numbers no key generator makes.
    #[error(
        "its RSA key has an even modulus, or an exponent that is even, below 3, or longer than 32 bits"
    )]
    Odd,
    /// A kind of key that signs no tokens here.
    #[error("its key is neither RSA nor on the curve P-256 or P-384")]
    Kind,
    /// A shared secret. Whoever can read it could sign.
    #[error("it is a symmetric key; a published secret is none, so it is never used")]
    Symmetric,
    /// A private key lies in the open.
    #[error(
        "it holds a private key, in the open: whoever reads it can sign tokens; replace it at the sign-in server at once"
    )]
    Private,
    /// A key for something else.
    #[error("it is not for signatures (`use` or `key_ops`)")]
    Purpose,
    /// A key for an algorithm that is not used.
    #[error("its `alg` is none of RS256, PS256, ES256 and ES384, or does not fit the key")]
    Algorithm,
    /// Two keys with one name.
    #[error(
        "two different keys have the same `kid`, so a token cannot say which of them signed it; see to it at the sign-in server"
    )]
    SameName,
    /// No issuer is named.
    #[error("no issuer is named, so no token could be believed; fetch the metadata again")]
    NoIssuer,
}

/// Keys, made ready to check signatures with.
pub struct Trust {
    issuers: Vec<String>,
    xml: DsigContext,
    jwt: Vec<JwtKey>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}

/// A key for JWTs.
pub(crate) struct JwtKey {
    pub(crate) kid: Option<String>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) key: DecodingKey,
}

impl Keys {
    /// What a service publishes, put together from its documents: each name and key once, in an order that
    /// does not depend on that of the documents.
    pub fn published(
        metadata: Option<&Metadata>,
        discovery: Option<&Discovery>,
        jwks: Option<&Jwks>,
    ) -> Self {
        let names = metadata.map(|found| &found.entity_id).into_iter();
        let names = names.chain(discovery.into_iter().flat_map(|found| &found.issuers));
        Self {
            issuers: sorted(names.cloned()),
            certificates: sorted(
                metadata
                    .into_iter()
                    .flat_map(|found| found.certificates.clone()),
            ),
            jwks: sorted(jwks.into_iter().flat_map(|found| found.keys.clone())),
        }
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.jwks.is_empty()
    }

    /// What an operator should know of these keys today.
    pub fn warnings(&self, now: UtcDateTime) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for certificate in &self.certificates {
            if certificate.not_after < now {
                warnings.push(Warning::Ended(
                    certificate.fingerprint(),
                    certificate.not_after.date(),
                ));
            } else if certificate.not_before > now {
                warnings.push(Warning::NotBegun(
                    certificate.fingerprint(),
                    certificate.not_before.date(),
                ));
            }
        }
        let shared = |jwk: &Jwk| self.certificates.iter().any(|one| one.key == *jwk.key());
        if !self.certificates.is_empty() && !self.jwks.is_empty() && !self.jwks.iter().any(shared) {
            warnings.push(Warning::Apart);
        }
        warnings
    }
}

impl Certificate {
    /// Reads a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(KeyError::TooLong);
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| KeyError::Unreadable)?;
        if !rest.is_empty() {
            return Err(KeyError::Unreadable);
        }
        let date = |at: i64| UtcDateTime::from_unix_timestamp(at).map_err(|_| KeyError::Unreadable);
        let validity = parsed.validity();
        let key = PublicKey::of_certificate(&parsed)?;
        // Another parser reads it to check signatures: one that it refuses would keep all others from use.
        for_xml(der)?;
        Ok(Self {
            key,
            // Whoever made it chose these words, and an operator's terminal shows them.
            subject: parsed
                .subject()
                .to_string()
                .escape_debug()
                .take(200)
                .collect(),
            not_before: date(validity.not_before.timestamp())?,
            not_after: date(validity.not_after.timestamp())?,
            der: der.to_vec(),
        })
    }

    /// Reads a certificate as metadata and Microsoft Graph write it: base64 of the DER, with any white space.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        if text.len() > 2 * MAX_CERTIFICATE {
            return Err(KeyError::TooLong);
        }
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let der = BASE64_STANDARD.decode(text);
        Self::from_der(&der.map_err(|_| KeyError::Unreadable)?)
    }

    /// Its bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// By what an operator knows it again.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    /// Whether another one has the same key: what one signs, the other verifies.
    pub fn has_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Whose it says it is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> UtcDateTime {
        self.not_after
    }

    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }
}

impl Fingerprint {
    /// SHA-256 of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let hash = digest(&SHA256, bytes);
        Self(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl Trust {
    /// Makes keys ready.
    pub fn new(keys: &Keys) -> Result<Self, KeyError> {
        if keys.issuers.iter().all(String::is_empty) {
            return Err(KeyError::NoIssuer);
        }
        let mut manager = KeysManager::new();
        for certificate in &keys.certificates {
            manager.add_key(for_xml(&certificate.der)?);
        }
        let mut jwt: Vec<JwtKey> = Vec::new();
        for jwk in &keys.jwks {
            if jwk.kid().is_some() && jwt.iter().any(|known| known.kid.as_deref() == jwk.kid()) {
                return Err(KeyError::SameName);
            }
            jwt.push(JwtKey {
                kid: jwk.kid().map(str::to_owned),
                algorithms: jwk.algorithms(),
                key: jwk.key().for_jwt(),
            });
        }
        Ok(Self {
            issuers: keys
                .issuers
                .iter()
                .filter(|name| !name.is_empty())
                .cloned()
                .collect(),
            xml: DsigContext::new(manager),
            jwt,
        })
    }

    /// Trusts nobody: no keys are known.
    pub fn nobody() -> Self {
        Self {
            issuers: Vec::new(),
            xml: DsigContext::new(KeysManager::new()),
            jwt: Vec::new(),
        }
    }

    /// Whether this issuer's tokens may be signed by these keys.
    pub(crate) fn issues(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|name| name == issuer)
    }

    /// What checks XML signatures: with these keys alone, whatever a document offers.
    pub(crate) fn xml(&self) -> &DsigContext {
        &self.xml
    }

    /// The keys that may have signed a JWT.
    pub(crate) fn jwt(&self) -> &[JwtKey] {
        &self.jwt
    }
}

impl TryFrom<String> for Certificate {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::from_base64(&text)
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        BASE64_STANDARD.encode(certificate.der)
    }
}

/// In an operator's words.
impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "certificate {} ({}, {} to {})",
            self.fingerprint(),
            self.subject,
            self.not_before.date(),
            self.not_after.date()
        )
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Fingerprint {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = if text.len() == 43 {
            BASE64_URL_SAFE_NO_PAD.decode(text).ok()
        } else {
            let digits: Vec<u32> = text
                .chars()
                .filter(|c| *c != ':')
                .map(|c| c.to_digit(16))
                .collect::<Option<_>>()
                .ok_or(KeyError::Unreadable)?;
            let pairs = digits.chunks(2).map(|pair| match pair {
                [high, low] => u8::try_from(high * 16 + low).ok(),
                _ => None,
            });
            pairs.collect()
        };
        let bytes = bytes.ok_or(KeyError::Unreadable)?;
        Ok(Self(bytes.try_into().map_err(|_| KeyError::Unreadable)?))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The key of a certificate, as the library for XML signatures takes it.
fn for_xml(der: &[u8]) -> Result<Key, KeyError> {
    loader::load_x509_cert_der(der).map_err(|_| KeyError::Unreadable)
}

fn sorted<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = all.collect();
    all.sort();
    all.dedup();
    all
}

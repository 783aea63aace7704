//! A certificate and its key, and the assertions that the key signs (certificate-credentials, Microsoft identity
//! platform; RFC 7523): PS256, with the certificate named by its SHA-256 thumbprint.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::{CredentialError, LONGEST, hash};
use crate::model::Id;

/// How long an assertion can be used.
const LIFE: Duration = Duration::minutes(10);
/// Shortest and longest modulus, in bytes.
const SIZES: std::ops::RangeInclusive<usize> = 256..=1024;

/// A certificate that is registered with the application, and its key.
pub struct Certificate {
    key: EncodingKey,
    thumbprint: String,
    /// Of the certificate, as Graph and the portal may write it.
    names: [String; 3],
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: Id,
    sub: Id,
    jti: Id,
    nbf: i64,
    iat: i64,
    exp: i64,
}

impl Certificate {
    /// From PEM with both, in any order; of a chain, the certificate is that of the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CredentialError> {
        Self::from_parts(pem, pem)
    }

    /// From PEM with the certificate, and PEM with the key.
    pub fn from_parts(certificate: &[u8], key: &[u8]) -> Result<Self, CredentialError> {
        if certificate.len() > LONGEST || key.len() > LONGEST {
            return Err(CredentialError::TooLong);
        }
        let (key, public) = private_key(key)?;
        let pem = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = pem.map_err(|error| CredentialError::Pem(error.to_string()))?;
        if chain.is_empty() {
            return Err(CredentialError::NoCertificate);
        }
        for der in &chain {
            let (_, parsed) = X509Certificate::from_der(der)
                .map_err(|error| CredentialError::Pem(error.to_string()))?;
            if *parsed.public_key().subject_public_key.data == *public {
                let validity = parsed.validity();
                return Ok(Self {
                    key,
                    thumbprint: hash(der),
                    names: names(der),
                    not_before: validity.not_before.to_datetime(),
                    not_after: validity.not_after.to_datetime(),
                });
            }
        }
        Err(CredentialError::Mismatch)
    }

    /// SHA-256 of the certificate, base64url: what an assertion names it by.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Whether this is the one that Graph means by a `customKeyIdentifier`: SHA-1 in hexadecimal or base64, or
    /// SHA-256 in base64, by who registered it.
    pub fn is_named(&self, identifier: &str) -> bool {
        let [hexadecimal, encoded @ ..] = &self.names;
        hexadecimal.eq_ignore_ascii_case(identifier)
            || encoded.iter().any(|name| name == identifier)
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Proof of being the application `client`, to the token endpoint `audience`; good once, for ten minutes.
    pub fn assertion(
        &self,
        client: Id,
        audience: &str,
        now: OffsetDateTime,
    ) -> Result<Zeroizing<String>, CredentialError> {
        if now > self.not_after {
            return Err(CredentialError::Expired(self.not_after));
        }
        if now < self.not_before {
            return Err(CredentialError::NotYet(self.not_before));
        }
        let header = Header {
            x5t_s256: Some(self.thumbprint.clone()),
            ..Header::new(Algorithm::PS256)
        };
        let claims = Claims {
            aud: audience,
            iss: client,
            sub: client,
            jti: Id::new_v4(),
            nbf: now.unix_timestamp(),
            iat: now.unix_timestamp(),
            exp: (now + LIFE).unix_timestamp(),
        };
        let signed = jsonwebtoken::encode(&header, &claims, &self.key);
        let signed = signed.map_err(|error| CredentialError::Signing(error.to_string()))?;
        Ok(Zeroizing::new(signed))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("thumbprint", &self.thumbprint)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The key, and its public half (RFC 8017, RSAPublicKey).
fn private_key(pem: &[u8]) -> Result<(EncodingKey, Vec<u8>), CredentialError> {
    let is_encrypted = pem
        .windows(b"ENCRYPTED".len())
        .any(|window| window == b"ENCRYPTED");
    let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
        if is_encrypted {
            CredentialError::Encrypted
        } else {
            CredentialError::NoKey
        }
    })?;
    let (pair, label) = match &der {
        PrivateKeyDer::Pkcs8(der) => (KeyPair::from_pkcs8(der.secret_pkcs8_der()), "PRIVATE KEY"),
        PrivateKeyDer::Pkcs1(der) => (KeyPair::from_der(der.secret_pkcs1_der()), "RSA PRIVATE KEY"),
        _ => return Err(CredentialError::NotRsa("it is of another kind".to_owned())),
    };
    let pair = pair.map_err(|error| CredentialError::NotRsa(error.to_string()))?;
    if !SIZES.contains(&pair.public_modulus_len()) {
        let bits = pair.public_modulus_len() * 8;
        return Err(CredentialError::NotRsa(format!("it has {bits} bits")));
    }
    // By itself, since there may be more in the file, in an order that jsonwebtoken does not expect.
    let alone = Zeroizing::new(STANDARD.encode(der.secret_der()));
    let alone = Zeroizing::new(format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        *alone
    ));
    let key = EncodingKey::from_rsa_pem(alone.as_bytes());
    let key = key.map_err(|error| CredentialError::NotRsa(error.to_string()))?;
    Ok((key, pair.public_key().as_ref().to_vec()))
}

fn names(der: &[u8]) -> [String; 3] {
    let old = digest(&SHA1_FOR_LEGACY_USE_ONLY, der);
    let mut hexadecimal = String::new();
    for byte in old.as_ref() {
        write!(hexadecimal, "{byte:02X}").expect("a String takes everything");
    }
    [
        hexadecimal,
        STANDARD.encode(old),
        STANDARD.encode(digest(&SHA256, der)),
    ]
}

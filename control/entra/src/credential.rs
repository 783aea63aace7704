//! What Weir signs in with, as an application of the tenant.
//!
//! Keys and secrets come from files or systemd credentials, lie in memory that is wiped afterwards, and show
//! themselves in no log, no error and no `Debug`.

mod certificate;
mod managed;
mod secret;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::OffsetDateTime;
use zeroize::Zeroizing;

pub use self::certificate::Certificate;
pub use self::managed::{Assigned, ManagedIdentity};
pub use self::secret::Secret;
use crate::cloud::Cloud;
use crate::model::Id;

/// Longest file with a credential, in bytes.
pub const LONGEST: usize = 64 << 10;

/// Weir's application in a tenant, and how it proves to be it.
#[derive(Debug)]
pub struct Registration {
    /// Where the tenant lives.
    pub cloud: Cloud,
    /// The tenant.
    pub tenant: Id,
    /// The application.
    pub client: Id,
    /// How it signs in.
    pub credential: Credential,
}

/// How the application signs in.
#[derive(Debug)]
pub enum Credential {
    /// With a certificate that is registered with it: the way to prefer.
    Certificate(Certificate),
    /// With a client secret.
    Secret(Secret),
    /// By the machine that Weir runs on, in Azure.
    ManagedIdentity(ManagedIdentity),
    /// Not at all, and why: what is known of the tenant is told all the same.
    Unusable(CredentialError),
}

/// Why a credential cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The file.
    #[error("{path} cannot be read: {why}")]
    File {
        /// Which.
        path: String,
        /// What the system says.
        why: String,
    },
    /// More than any credential.
    #[error(
        "a credential is longer than {LONGEST} bytes; name the file with the credential itself"
    )]
    TooLong,
    /// Nothing in it.
    #[error("the client secret is empty")]
    Empty,
    /// No text.
    #[error("the client secret is not a line of text")]
    NotText,
    /// It cannot be read as PEM.
    #[error("the certificate's PEM cannot be read: {0}")]
    Pem(String),
    /// No certificate.
    #[error(
        "there is no certificate in the PEM; append it to the file of the key, or name its own file"
    )]
    NoCertificate,
    /// No key.
    #[error("there is no private key in the PEM; append it, as PKCS#8 and not encrypted")]
    NoKey,
    /// It wants a password.
    #[error(
        "the private key is encrypted; store it as PKCS#8 without a password, as a systemd credential"
    )]
    Encrypted,
    /// Entra takes no other.
    #[error(
        "the private key is not an RSA key of 2048 to 8192 bits, and Entra takes no other: {0}"
    )]
    NotRsa(String),
    /// They do not belong together.
    #[error("the private key belongs to none of the certificates; name the key of the certificate")]
    Mismatch,
    /// Too late.
    #[error(
        "the certificate expired at {0}; register a new one with the application, and name its files"
    )]
    Expired(OffsetDateTime),
    /// Too early.
    #[error("the certificate is not valid before {0}; check this machine's clock")]
    NotYet(OffsetDateTime),
    /// It does not sign.
    #[error("the private key does not sign: {0}")]
    Signing(String),
}

impl Credential {
    /// Until when it can be used, where that is known.
    pub fn expires(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Certificate(certificate) => Some(certificate.not_after()),
            Self::Secret(secret) => secret.expires(),
            Self::ManagedIdentity(_) | Self::Unusable(_) => None,
        }
    }

    /// What kind it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Secret(_) => "secret",
            Self::ManagedIdentity(_) => "managed identity",
            Self::Unusable(_) => "credential",
        }
    }

    /// Whether both are one and the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint() == other.fingerprint()
    }

    /// Tells it from every other one, and nothing else.
    pub(crate) fn fingerprint(&self) -> String {
        match self {
            Self::Certificate(certificate) => certificate.thumbprint().to_owned(),
            Self::Secret(secret) => hash(secret.value().as_bytes()),
            Self::ManagedIdentity(identity) => identity.address().into(),
            Self::Unusable(error) => error.to_string(),
        }
    }
}

/// Reads a file with a credential.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
    let failed = |error: std::io::Error| CredentialError::File {
        path: path.display().to_string(),
        why: error.to_string(),
    };
    // Room for all of it, so that no copy of the beginning is left behind by growth.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let file = File::open(path).map_err(failed)?;
    let most = LONGEST as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > LONGEST {
        return Err(CredentialError::TooLong);
    }
    Ok(bytes)
}

/// SHA-256 in base64url.
fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

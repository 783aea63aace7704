//! The key that signs exports, and what verifies them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::ExportsError;
use crate::store::Digest;

/// The appliance's key for exports.
pub struct Key(Ed25519KeyPair);

/// What verifies what the key signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// This is no public key.
#[derive(Debug, thiserror::Error)]
#[error("this is no Ed25519 public key in PEM: hand over the one that the appliance gave out")]
pub struct NoKey;

/// Name of the file.
const FILE: &str = "evidence.key";
/// An Ed25519 key in PKCS#8 is far shorter.
const LONGEST: usize = 4096;
/// What comes before the key in its `SubjectPublicKeyInfo` (RFC 8410, 4).
const PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

impl Key {
    /// Reads the key in a state directory, or makes it, once; nobody but its owner may read it.
    pub fn of(directory: &Path) -> Result<Self, ExportsError> {
        let path = directory.join(FILE);
        if !fs::exists(&path).map_err(ExportsError::file("look for", &path))? {
            make(&path)?;
        }
        let failed = ExportsError::file("read", &path);
        let file = File::open(&path).map_err(&failed)?;
        if file.metadata().map_err(&failed)?.mode() & 0o077 != 0 {
            return Err(ExportsError::Open { path });
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
        file.take(LONGEST as u64)
            .read_to_end(&mut bytes)
            .map_err(&failed)?;
        match Ed25519KeyPair::from_pkcs8(&bytes) {
            Ok(pair) => Ok(Self(pair)),
            Err(_) => Err(ExportsError::NoKey { path }),
        }
    }

    /// What verifies what it signed.
    pub fn public(&self) -> PublicKey {
        let der: Result<PublicKeyX509Der<'_>, _> = self.0.public_key().as_der();
        let der = der.expect("a key that was read or made can be written");
        PublicKey::from_der(der.as_ref()).expect("an Ed25519 key has one form")
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Reads what [`PublicKey::pem`] wrote.
    pub fn from_pem(text: &str) -> Result<Self, NoKey> {
        let text = text.trim().strip_prefix(PEM_BEGIN).ok_or(NoKey)?;
        let text = text.strip_suffix(PEM_END).ok_or(NoKey)?;
        let der = BASE64.decode(text.trim()).map_err(|_| NoKey)?;
        Self::from_der(&der).ok_or(NoKey)
    }

    /// As other programs read it, too.
    pub fn pem(&self) -> String {
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", BASE64.encode(self.der()))
    }

    /// SHA-256 of its DER.
    pub fn digest(&self) -> Digest {
        Digest::of([self.der().as_slice()])
    }

    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(text, signature)
            .is_ok()
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        let key = der.strip_prefix(&PREFIX)?;
        key.try_into().ok().map(Self)
    }

    fn der(&self) -> Vec<u8> {
        [PREFIX.as_slice(), &self.0].concat()
    }
}

fn make(path: &Path) -> Result<(), ExportsError> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let document = document.map_err(|_| ExportsError::NoRandomness)?;
    let beside = path.with_extension("new");
    let put = || {
        let left_over = fs::remove_file(&beside);
        left_over.or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(document.as_ref())?;
        file.sync_all()?;
        // Unlike a rename, a link takes nobody's place who was faster.
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::remove_file(&beside)?,
        }
        sync_directory(path)
    };
    put().map_err(ExportsError::file("make", path))
}

/// A new name is on the disk when its directory is.
pub(super) fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = of.parent().filter(|directory| *directory != Path::new(""));
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

//! Certificates, keys and authorities: read from their files, and checked against each other.
//!
//! Messages name files, hosts and dates; never anything of a key.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use weir_tables::Severity;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::diagnostic::Diagnostic;
use crate::file;
use crate::load::sha256;
use crate::source::Place;

/// How long before its end a certificate is worth a warning.
pub(crate) const SOON: Duration = Duration::from_hours(30 * 24);

/// A certificate that goes with its key.
pub(crate) struct Pair {
    pub(crate) certificate: weir_link::Certificate,
    /// Names that the leaf is for.
    pub(crate) names: Vec<String>,
    not_before: ASN1Time,
    not_after: ASN1Time,
}

/// A file, and the place in the configuration that names it.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) path: &'a Path,
    pub(crate) place: &'a Place,
}

impl Named<'_> {
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "travels as the error of a Result"
    )]
    pub(crate) fn error(
        &self,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Box<Diagnostic> {
        Box::new(Diagnostic::at(Severity::Error, self.place, message, help))
    }

    fn warning(&self, message: impl Into<String>, help: impl Into<String>) -> Diagnostic {
        Diagnostic::at(Severity::Warning, self.place, message, help)
    }

    /// The file's text, or why it cannot be had.
    pub(crate) fn read(&self, what: &str) -> Result<String, Box<Diagnostic>> {
        let text = |bytes| String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into());
        file::read(self.path).and_then(text).map_err(|error| {
            let path = self.path.display();
            let help = match error.kind() {
                io::ErrorKind::NotFound => "relative paths start at the configuration file",
                io::ErrorKind::PermissionDenied => {
                    "weir-control runs as root; run `weir check` so too"
                }
                io::ErrorKind::IsADirectory => "name a file",
                io::ErrorKind::InvalidData => "a text file was expected (PEM, not DER or PKCS#12)",
                _ => "",
            };
            self.error(
                format!("cannot read the {what} `{path}`: {}", io_words(&error)),
                help,
            )
        })
    }
}

/// What went wrong, without the number.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        _ => {
            let words = error.to_string();
            words
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    }
}

/// Reads a chain and its key, and checks that they belong together. What is wrong goes to `found`;
/// `None` when they cannot be used.
pub(crate) fn read_pair(
    certificate: Named<'_>,
    key: Named<'_>,
    found: &mut Vec<Diagnostic>,
) -> Option<Pair> {
    let chain_text = certificate
        .read("certificate")
        .map_err(|error| found.push(*error))
        .ok();
    let key_text = key.read("key").map_err(|error| found.push(*error)).ok();
    if key_text.is_some() {
        found.extend(exposed(key, "key"));
    }
    // Wiped when dropped, whatever comes next.
    let files = weir_link::Certificate {
        chain: chain_text?,
        key: key_text?,
    };
    let chain = parse_chain(certificate, &files.chain)
        .map_err(|error| found.push(*error))
        .ok();
    let private = parse_key(key, &files.key)
        .map_err(|error| found.push(*error))
        .ok();
    let (chain, private) = (chain?, private?);
    let Ok(signer) = any_supported_type(&private) else {
        let help = "use an ECDSA key (P-256, P-384, P-521), Ed25519, or RSA of 2048 bits or more";
        found.push(*key.error("this kind of key cannot be used", help));
        return None;
    };
    let leaf = match X509Certificate::from_der(&chain[0]) {
        Ok((_, leaf)) => leaf,
        Err(error) => {
            let message = format!("the first certificate in this file is damaged ({error})");
            found.push(*certificate.error(message, "copy the file again"));
            return None;
        }
    };
    let pair = Pair {
        names: dns_names(&leaf),
        not_before: leaf.validity().not_before,
        not_after: leaf.validity().not_after,
        certificate: files,
    };
    let matches = |chain: Vec<CertificateDer<'static>>| {
        let answer = CertifiedKey::new(chain, Arc::clone(&signer)).keys_match();
        !matches!(
            answer,
            Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch))
        )
    };
    if !matches(chain.clone()) {
        let later = chain
            .iter()
            .skip(1)
            .position(|other| matches(vec![other.clone()]));
        let (message, help) = match later {
            Some(index) => (
                format!(
                    "the key belongs to certificate {} of the chain, not to the first",
                    index + 2
                ),
                "put the server's own certificate first, then the one that signed it, and so on"
                    .to_owned(),
            ),
            None => (
                "the certificate and the key do not belong together".to_owned(),
                format!(
                    "`{}` was made for another key; after a renewal both files change",
                    certificate.path.display()
                ),
            ),
        };
        found.push(*key.error(message, help));
        return None;
    }
    Some(pair)
}

/// A chain in words: the names of its first certificate, its end, and the beginning of its SHA-256
/// fingerprint. For people who compare two of them.
pub fn words_of(chain: &str) -> String {
    let first = CertificateDer::pem_slice_iter(chain.as_bytes()).next();
    let Some(Ok(der)) = first else {
        return "no certificate".to_owned();
    };
    let fingerprint = sha256(&der);
    let fingerprint = &fingerprint[..16];
    match X509Certificate::from_der(&der) {
        Ok((_, leaf)) => format!(
            "{}, until {}, sha256 {fingerprint}",
            dns_names(&leaf).join(" "),
            leaf.validity().not_after.to_datetime().date()
        ),
        Err(_) => format!("sha256 {fingerprint}"),
    }
}

/// The first name of a chain's first certificate, and its end in seconds since 1970; nothing when it cannot be
/// read.
pub fn end_of(chain: &str) -> Option<(String, i64)> {
    let der = CertificateDer::pem_slice_iter(chain.as_bytes())
        .next()?
        .ok()?;
    let (_, leaf) = X509Certificate::from_der(&der).ok()?;
    let name = dns_names(&leaf).into_iter().next().unwrap_or_default();
    Some((name, leaf.validity().not_after.timestamp()))
}

/// Reads authorities, and checks that there are any.
pub(crate) fn read_authorities(ca: Named<'_>, found: &mut Vec<Diagnostic>) -> Option<String> {
    let text = ca
        .read("authorities")
        .map_err(|error| found.push(*error))
        .ok()?;
    parse_chain(ca, &text)
        .map_err(|error| found.push(*error))
        .ok()?;
    Some(text)
}

impl Pair {
    /// Whether clients accept it for this host (RFC 6125, 6.4.3: a wildcard stands for one label).
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest == domain),
            None => name == host,
        })
    }

    /// What there is to say about its dates.
    pub(crate) fn dates(&self, named: Named<'_>, now: SystemTime) -> Option<Diagnostic> {
        let seconds = |time: SystemTime| {
            let since = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
        };
        let end = self.not_after.to_datetime().date();
        let help = "renew it; a new file takes effect with `weir reload`";
        if self.not_after.timestamp() < seconds(now) {
            let message = format!("this certificate expired on {end}: clients refuse it");
            return Some(named.warning(message, help));
        }
        if self.not_before.timestamp() > seconds(now) {
            let start = self.not_before.to_datetime().date();
            let message = format!("this certificate is valid from {start} on, not yet");
            return Some(named.warning(message, "check this machine's clock, or wait with it"));
        }
        if self.not_after.timestamp() < seconds(now + SOON) {
            return Some(named.warning(format!("this certificate expires on {end}"), help));
        }
        None
    }
}

fn parse_chain(
    named: Named<'_>,
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, Box<Diagnostic>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let path = named.path.display();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) if text.contains("PRIVATE KEY-----") => Err(named.error(
            format!("`{path}` holds a private key, not a certificate"),
            "are `certificate` and `key` exchanged?",
        )),
        Ok(_) => Err(named.error(
            format!("`{path}` holds no certificate"),
            "a PEM file was expected, with `-----BEGIN CERTIFICATE-----`; `openssl x509 -inform der` \
             converts from DER, `openssl pkcs12` from a .pfx",
        )),
        Err(_) => {
            Err(named.error(format!("`{path}` is damaged PEM"), "copy the whole file again"))
        }
    }
}

fn parse_key(named: Named<'_>, text: &str) -> Result<PrivateKeyDer<'static>, Box<Diagnostic>> {
    let path = named.path.display();
    // Errors of the parser are not shown: they could quote the file.
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        if text.contains("ENCRYPTED") {
            return named.error(
                format!("the key `{path}` is encrypted"),
                "weir-control starts without anyone there to type a password: decrypt it with \
                 `openssl pkey -in OLD -out NEW`, and protect the file by its mode",
            );
        }
        if text.contains("-----BEGIN CERTIFICATE-----") {
            return named.error(
                format!("`{path}` holds a certificate, not a private key"),
                "are `certificate` and `key` exchanged?",
            );
        }
        named.error(
            format!("`{path}` holds no private key"),
            "a PEM file was expected, with `-----BEGIN PRIVATE KEY-----`",
        )
    })
}

/// Whether others may read what is secret.
pub(crate) fn exposed(secret: Named<'_>, what: &str) -> Option<Diagnostic> {
    let mode = std::fs::metadata(secret.path).ok()?.permissions().mode();
    (mode & 0o007 != 0).then(|| {
        let path = secret.path.display();
        let message = format!("everyone on this machine may read the {what} `{path}`");
        secret.warning(message, format!("`chmod 600 {path}`"))
    })
}

fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

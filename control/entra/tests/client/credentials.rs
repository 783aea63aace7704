//! Which files are a credential.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;
use time::Duration;
use weir_entra::credential::{Certificate, CredentialError, Secret, read};

use crate::support::{CLIENT, NOW};

/// A key and its certificate, as PEM.
pub struct Pair {
    pub key: KeyPair,
    pub certificate: String,
}

/// Good for a year before and after the tests' present.
pub fn pair() -> Pair {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.not_before = NOW - Duration::days(365);
    params.not_after = NOW + Duration::days(365);
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    Pair { key, certificate }
}

/// A certificate, and what reads an assertion of its key: header and claims.
pub fn certificate() -> (Certificate, impl Fn(&str) -> (Value, Value)) {
    let Pair { key, certificate } = pair();
    let public = key.public_key_pem();
    let pem = format!("{certificate}{}", key.serialize_pem());
    let read = Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    (read, move |assertion: &str| {
        let mut validation = Validation::new(Algorithm::PS256);
        validation.validate_aud = false;
        validation.validate_exp = false;
        let verifying = DecodingKey::from_rsa_pem(public.as_bytes()).expect("a key");
        let read = jsonwebtoken::decode::<Value>(assertion, &verifying, &validation);
        let read = read.expect("an assertion by the key");
        (
            serde_json::to_value(&read.header).expect("a header"),
            read.claims,
        )
    })
}

#[test]
fn a_certificate_is_read_in_any_order_and_from_a_chain() {
    let (own, other) = (pair(), pair());
    let key = own.key.serialize_pem();
    let alone = Certificate::from_parts(own.certificate.as_bytes(), key.as_bytes());
    let thumbprint = alone.expect("a certificate").thumbprint().to_owned();
    let orders = [
        format!("{key}{}", own.certificate),
        format!("{}{key}", own.certificate),
        format!("{}{}{key}", other.certificate, own.certificate),
    ];
    for pem in orders {
        let read = Certificate::from_pem(pem.as_bytes()).expect("a certificate");
        assert_eq!(read.thumbprint(), thumbprint);
        for name in names(&own.certificate) {
            assert!(read.is_named(&name), "{name}");
        }
        for name in names(&other.certificate) {
            assert!(!read.is_named(&name), "{name}");
        }
        assert!(!read.is_named(""));
        assert_eq!(read.not_after(), NOW + Duration::days(365));
    }
}

/// The ways in which a certificate is named.
fn names(certificate: &str) -> [String; 4] {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
    let old = digest(&SHA1_FOR_LEGACY_USE_ONLY, &der);
    let bytes = old.as_ref().iter();
    let hexadecimal = bytes
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .concat();
    [
        hexadecimal.to_uppercase(),
        hexadecimal,
        STANDARD.encode(old),
        STANDARD.encode(digest(&SHA256, &der)),
    ]
}

#[test]
fn what_is_no_credential_says_what_to_do() {
    let (own, other) = (pair(), pair());
    let key = own.key.serialize_pem();
    let parts = |certificate: &str, key: &str| {
        let read = Certificate::from_parts(certificate.as_bytes(), key.as_bytes());
        read.map(drop).expect_err("it is none")
    };
    assert_eq!(parts(&other.certificate, &key), CredentialError::Mismatch);
    assert_eq!(
        parts(&own.certificate, &own.certificate),
        CredentialError::NoKey
    );
    assert_eq!(parts(&key, &key), CredentialError::NoCertificate);
    assert_eq!(parts("", ""), CredentialError::NoKey);
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert_eq!(
        parts(&own.certificate, &encrypted),
        CredentialError::Encrypted
    );
    let elliptic = KeyPair::generate().expect("a key").serialize_pem();
    assert!(matches!(
        parts(&own.certificate, &elliptic),
        CredentialError::NotRsa(_)
    ));
    let long = format!("{}{}", own.certificate, " ".repeat(70_000));
    assert_eq!(parts(&long, &key), CredentialError::TooLong);

    let (certificate, _) = certificate();
    let at = |now| certificate.assertion(CLIENT, "https://x", now).map(drop);
    assert_eq!(at(NOW), Ok(()));
    assert!(matches!(
        at(NOW + Duration::days(366)),
        Err(CredentialError::Expired(_))
    ));
    assert!(matches!(
        at(NOW - Duration::days(366)),
        Err(CredentialError::NotYet(_))
    ));
}

#[test]
fn a_secret_is_one_line_and_not_its_id() {
    let secret = Secret::new(b"  s~cR3t\r\n", None).expect("a secret");
    assert_eq!(secret.hint(), "s~c");
    assert!(!secret.looks_like_an_id());
    let id = Secret::new(CLIENT.to_string().as_bytes(), None).expect("a secret");
    assert!(id.looks_like_an_id());
    let refused = |bytes: &[u8]| Secret::new(bytes, None).map(drop).expect_err("it is none");
    assert_eq!(refused(b" \n"), CredentialError::Empty);
    assert_eq!(refused(b"one\ntwo"), CredentialError::NotText);
    assert_eq!(refused(b"\xff"), CredentialError::NotText);
    assert_eq!(refused(&vec![b'x'; 70_000]), CredentialError::TooLong);
}

#[test]
fn a_file_is_read_up_to_a_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "s~cR3t\n").expect("written");
    assert_eq!(*read(&path).expect("read"), b"s~cR3t\n");
    std::fs::write(&path, vec![b'x'; 70_000]).expect("written");
    assert_eq!(read(&path).map(drop), Err(CredentialError::TooLong));
    let missing = read(&folder.path().join("none")).map(drop);
    assert!(matches!(missing, Err(CredentialError::File { .. })));
}

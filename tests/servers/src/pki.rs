//! The lab's key material: an authority, a leaf per set of host names, token-signing keys.
//!
//! In: a [`Plan`]. Out: PEM files as laid out by [`crate::plan::Files`]. What exists is replaced.

use std::io;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_RSA_SHA256,
};
use time::{Duration, OffsetDateTime};

use crate::plan::{FOREIGN, Plan, SIGNING_KEYS, write_private};

/// Why the key material could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or certificate could not be generated.
    #[error("cannot generate a key or certificate: {0}")]
    Generate(#[from] rcgen::Error),
    /// A file could not be written.
    #[error(
        "cannot write the lab's key material below {directory}: {error} (is the directory writable?)"
    )]
    Write {
        /// The lab's directory.
        directory: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Makes and writes all key material of `plan`.
pub fn create(plan: &Plan) -> Result<(), Error> {
    let files = plan.files();
    let write = |path: std::path::PathBuf, pem: &str| {
        write_private(&path, pem.as_bytes()).map_err(|error| Error::Write {
            directory: plan.directory.display().to_string(),
            error,
        })
    };

    let ca = authority("Weir Lab Authority")?;
    write(files.ca(), &ca.pem())?;
    write(files.ca_key(), &ca.key().serialize_pem())?;
    let other = authority("Weir Lab Untrusted Authority")?;
    write(files.other_ca(), &other.pem())?;

    let mut leaves: Vec<(String, Vec<String>)> = plan
        .services
        .iter()
        .map(|service| {
            let names =
                std::iter::once(service.host.clone()).chain(service.certificate_host.clone());
            (service.name.clone(), names.collect())
        })
        .collect();
    leaves.push(("login".to_owned(), vec![plan.cloud.login.host.clone()]));
    leaves.push((
        "application".to_owned(),
        vec![plan.cloud.application.host.clone()],
    ));
    let tenant = [&plan.cloud.sign_in, &plan.cloud.graph];
    let tenant = tenant.map(|site| site.host.clone());
    leaves.push(("tenant".to_owned(), tenant.to_vec()));
    leaves.push(("portal".to_owned(), vec![plan.cloud.portal.host.clone()]));
    leaves.push((
        "reverse-proxy".to_owned(),
        vec![format!("*.{}", plan.cloud.reverse_proxy.host)],
    ));
    for (leaf, names) in &leaves {
        let (chain, key) = server_leaf(&ca, names)?;
        write(files.chain(leaf), &chain)?;
        write(files.key(leaf), &key)?;
    }
    for service in &plan.services {
        let leaf = format!("other-{}", service.name);
        let (chain, key) = server_leaf(&other, std::slice::from_ref(&service.host))?;
        write(files.chain(&leaf), &chain)?;
        write(files.key(&leaf), &key)?;
    }
    for user in &plan.users {
        let name = user
            .upn
            .split('@')
            .next()
            .expect("split yields at least one part");
        let (chain, key) = client_leaf(&ca, &user.upn)?;
        write(files.chain(&format!("client-{name}")), &chain)?;
        write(files.key(&format!("client-{name}")), &key)?;
    }

    let signers = plan
        .services
        .iter()
        .map(|service| (service.name.as_str(), service.host.as_str(), SIGNING_KEYS));
    let others = [
        ("cloud", plan.cloud.login.host.as_str(), 1),
        (FOREIGN, "sts.evil.example", 1),
    ];
    for (name, host, keys) in signers.chain(others) {
        for position in 0..keys {
            let (certificate, key) = token_signer(&format!("ADFS Signing - {host}"))?;
            write(files.signing_certificate_at(name, position), &certificate)?;
            write(files.signing_key_at(name, position), &key)?;
        }
    }
    Ok(())
}

/// An authority with its key.
pub type Authority = CertifiedIssuer<'static, KeyPair>;

/// A new authority.
pub fn authority(name: &str) -> Result<Authority, rcgen::Error> {
    let mut params = dated(CertificateParams::new(Vec::new())?, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

/// A server's chain and key for these host names, as PEM.
pub fn server_leaf(ca: &Authority, names: &[String]) -> Result<(String, String), rcgen::Error> {
    let mut params = dated(CertificateParams::new(names.to_vec())?, &names[0]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(ca, params)
}

fn client_leaf(ca: &Authority, upn: &str) -> Result<(String, String), rcgen::Error> {
    let mut params = dated(CertificateParams::new(Vec::new())?, upn);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(ca, params)
}

fn issue(ca: &Authority, mut params: CertificateParams) -> Result<(String, String), rcgen::Error> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let leaf = params.signed_by(&key, ca)?;
    Ok((leaf.pem() + &ca.pem(), key.serialize_pem()))
}

/// An RSA key with a certificate of its own that bears `name`: certificate and key, as PEM.
pub fn token_signer(name: &str) -> Result<(String, String), rcgen::Error> {
    token_signer_for(name, Duration::days(364))
}

/// The same, whose certificate is good for so long from now on.
pub fn token_signer_for(name: &str, life: Duration) -> Result<(String, String), rcgen::Error> {
    let mut params = dated(CertificateParams::new(Vec::new())?, name);
    params.not_after = OffsetDateTime::now_utc() + life;
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// Named, valid since yesterday and for a year: clocks may differ a little, browsers refuse long lives.
fn dated(mut params: CertificateParams, name: &str) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(364);
    params
}

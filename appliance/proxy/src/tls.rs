//! TLS towards clients and towards the upstream: versions, suites, certificates, resumption.
//!
//! Private keys live in memory alone. A client is only ever answered with a certificate of the
//! service that its SNI names; there is no default certificate.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use weir_link::{Service, Upstream};

/// Why the TLS side of a service cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate chain or key is not PEM.
    #[error(
        "certificate {index} of service `{service}` is not usable: {why}; give a PEM chain, leaf first, and its private key"
    )]
    Certificate {
        /// Name of the service.
        service: String,
        /// Position in the service's list of certificates, from 1.
        index: usize,
        /// What is wrong. Never quotes the key.
        why: String,
    },
    /// No certificate names the host.
    #[error(
        "no certificate of service `{service}` is valid for host `{host}`; add the host to a certificate, or remove it from the service"
    )]
    HostWithoutCertificate {
        /// Name of the service.
        service: String,
        /// Host name.
        host: String,
    },
    /// The upstream's authorities cannot be used.
    #[error("the authorities for the upstream of service `{service}` cannot be used: {why}")]
    Authorities {
        /// Name of the service.
        service: String,
        /// What is wrong.
        why: String,
    },
    /// The upstream's name cannot stand in a certificate.
    #[error(
        "`{name}` cannot be the server name of an upstream; give the host name in its certificate"
    )]
    ServerName {
        /// The name.
        name: String,
    },
    /// rustls refused the set-up.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The provider for everything: aws-lc-rs, with AES-128 first. Its SHA-256 has hardware help where
/// the SHA-384 of TLS_AES_256_GCM_SHA384 has none, which is a sixth of a handshake's cost.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
            ..aws_lc_rs::default_provider()
        })
    }))
}

/// A ticketer for one service: kept from generation to generation, never shared between services.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, Error> {
    Ok(aws_lc_rs::Ticketer::new()?)
}

/// The TLS side of a service.
pub fn server(
    service: &Service,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver::new(service, &provider)?));
    config.ignore_client_order = true;
    config.ticketer = ticketer;
    config.send_tls13_tickets = 1;
    config.alpn_protocols = if service.http1_only {
        vec![b"http/1.1".to_vec()]
    } else {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    };
    Ok(Arc::new(config))
}

/// The TLS side of the connections to an upstream. Only HTTP/1.1 is offered: AD FS speaks nothing
/// else to a proxy, and connections must be able to belong to one client (NTLM).
pub fn client(service: &str, upstream: &Upstream) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &upstream.ca {
        Some(pem) => given_roots(service, pem)?,
        None => system_roots(service)?,
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The name that the upstream must prove, and that is sent as SNI.
pub fn server_name(name: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(name.to_owned()).map_err(|_| Error::ServerName {
        name: name.to_owned(),
    })
}

/// Certificates of one service by host name.
#[derive(Debug)]
struct Resolver {
    by_host: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Resolver {
    fn new(service: &Service, provider: &CryptoProvider) -> Result<Self, Error> {
        let mut keys = Vec::with_capacity(service.certificates.len());
        for (position, certificate) in service.certificates.iter().enumerate() {
            let refused = |why: String| Error::Certificate {
                service: service.name.clone(),
                index: position + 1,
                why,
            };
            let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.chain.as_bytes())
                .collect::<Result<_, _>>()
                .map_err(|error| refused(format!("the chain: {error}")))?;
            if chain.is_empty() {
                return Err(refused("the chain holds no certificate".into()));
            }
            let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())
                .map_err(|_| refused("the key is not a PEM private key".into()))?;
            let key = CertifiedKey::from_der(chain, key, provider)
                .map_err(|error| refused(error.to_string()))?;
            keys.push(Arc::new(key));
        }
        let mut by_host = HashMap::new();
        for host in &service.hosts {
            let valid = valid_for(host, &keys);
            if valid.is_empty() {
                return Err(Error::HostWithoutCertificate {
                    service: service.name.clone(),
                    host: host.clone(),
                });
            }
            by_host.insert(host.to_ascii_lowercase(), valid);
        }
        Ok(Self { by_host })
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        let keys = self.by_host.get(&name)?;
        let schemes = hello.signature_schemes();
        keys.iter()
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .cloned()
    }
}

fn valid_for(host: &str, keys: &[Arc<CertifiedKey>]) -> Vec<Arc<CertifiedKey>> {
    let Ok(name) = ServerName::try_from(host) else {
        return Vec::new();
    };
    let is_valid = |key: &&Arc<CertifiedKey>| {
        key.end_entity_cert()
            .and_then(ParsedCertificate::try_from)
            .is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
    };
    keys.iter().filter(is_valid).cloned().collect()
}

fn given_roots(service: &str, pem: &str) -> Result<Arc<RootCertStore>, Error> {
    let refused = |why: String| Error::Authorities {
        service: service.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("the PEM holds no certificate".into()));
    }
    Ok(Arc::new(roots))
}

fn system_roots(service: &str) -> Result<Arc<RootCertStore>, Error> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(Error::Authorities {
            service: service.to_owned(),
            why: "this machine has no system roots; install ca-certificates, or name a `ca` file"
                .into(),
        });
    }
    Ok(Arc::clone(roots))
}

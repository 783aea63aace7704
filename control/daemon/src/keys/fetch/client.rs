//! HTTPS, as far as documents are read over it.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::HOST;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use weir_link::Upstream;

use super::{LONGEST, Why};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a whole document may take.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Asks the upstream servers one after another for a path, as the host that clients know them by.
pub(super) async fn upstream(upstream: &Upstream, host: &str, path: &str) -> Result<Vec<u8>, Why> {
    let roots = match &upstream.ca {
        Some(pem) => given_roots(pem)?,
        None => system_roots()?,
    };
    let url = format!("https://{}{path}", upstream.server_name);
    let mut last = Why::Unreachable("the service has no upstream server".to_owned());
    for server in &upstream.servers {
        let client = client(&roots, Some((&upstream.server_name, *server)))?;
        match document(client.get(&url).header(HOST, host)).await {
            // It is there, and says so.
            Err(why @ (Why::Unreachable(_) | Why::Late | Why::Broken(_) | Why::Status(500..))) => {
                last = why;
            }
            answered => return answered,
        }
    }
    Err(last)
}

/// Asks an address.
pub(super) async fn elsewhere(url: &str) -> Result<Vec<u8>, Why> {
    let client = client(&system_roots()?, None)?;
    document(client.get(url)).await
}

/// One that is pinned to a server, where one is given.
fn client(roots: &Arc<RootCertStore>, pinned: Option<(&str, SocketAddr)>) -> Result<Client, Why> {
    let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Why::Authorities(error.to_string()))?
        .with_root_certificates(Arc::clone(roots))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .connect_timeout(CONNECT_WITHIN)
        .timeout(READ_WITHIN);
    if let Some((name, server)) = pinned {
        builder = builder.resolve(name, server);
    }
    builder.build().map_err(unreachable)
}

/// The body of an answer that is one.
async fn document(request: reqwest::RequestBuilder) -> Result<Vec<u8>, Why> {
    let mut answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(Why::Redirect(status.as_u16()));
    }
    if status != StatusCode::OK {
        return Err(Why::Status(status.as_u16()));
    }
    let mut bytes = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > LONGEST => return Err(Why::TooLong),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) if error.is_timeout() => return Err(Why::Late),
            Err(error) => return Err(Why::Broken(innermost(&error))),
        }
    }
}

fn unreachable(error: reqwest::Error) -> Why {
    // The address stands before it already, and may have a query.
    let error = error.without_url();
    if error.is_timeout() {
        return Why::Late;
    }
    Why::Unreachable(innermost(&error))
}

/// What is at the bottom of it.
fn innermost(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn given_roots(pem: &str) -> Result<Arc<RootCertStore>, Why> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Why::Authorities(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| Why::Authorities(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn system_roots() -> Result<Arc<RootCertStore>, Why> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(Why::Authorities(
            "this machine has no system roots; install ca-certificates, or name a `ca` file"
                .to_owned(),
        ));
    }
    Ok(Arc::clone(roots))
}

//! Documents over HTTPS: keys, lists, and whatever else the appliance reads by itself.
//!
//! In: an address from the configuration, and the authorities that may vouch for it. Out: the bytes of one
//! document, whole, or why there are none. No redirect is followed, no proxy of the environment is used, what
//! is longer than allowed is refused while it comes, and time is bounded.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ETAG, HOST, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Proxy, StatusCode};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest entity tag that is kept.
const LONGEST_TAG: usize = 256;

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The authorities that were given, or those of the system.
    #[error("its certificate could not be checked: {0}")]
    Authorities(String),
    /// No connection, or none that can be trusted.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came in time.
    #[error("did not answer in time")]
    Late,
    /// It is said to be elsewhere.
    #[error(
        "answers with a redirect ({0}), which is not followed: name the address of the document itself"
    )]
    Redirect(u16),
    /// There is no document.
    #[error("answers with status {0}")]
    Status(u16),
    /// More than is allowed.
    #[error("is longer than {}", size(*.0))]
    TooLong(usize),
    /// It broke off.
    #[error("broke off: {0}")]
    Broken(String),
}

impl Why {
    /// Whether another server of the same service may well have it.
    pub fn is_of_this_server(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_) | Self::Late | Self::Broken(_) | Self::Status(500..)
        )
    }
}

/// Who may vouch for a server.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// The authorities of this machine.
    pub fn of_system() -> Result<Self, Why> {
        static ROOTS: OnceLock<Roots> = OnceLock::new();
        let roots = ROOTS.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Self(Arc::new(roots))
        });
        if roots.0.is_empty() {
            return Err(Why::Authorities(
                "this machine has no system roots; install ca-certificates, or name a `ca` file"
                    .to_owned(),
            ));
        }
        Ok(roots.clone())
    }

    /// These alone, in PEM.
    pub fn given(pem: &str) -> Result<Self, Why> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| Why::Authorities(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| Why::Authorities(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(Why::Authorities("the file holds no certificate".to_owned()));
        }
        Ok(Self(Arc::new(roots)))
    }
}

/// How documents are asked for.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Who may vouch for the server.
    pub roots: Roots,
    /// A name, and the address that it is asked at whatever name servers say.
    pub pinned: Option<(&'a str, SocketAddr)>,
    /// An HTTP proxy (`CONNECT`).
    pub proxy: Option<&'a str>,
    /// How long a whole document may take.
    pub within: Duration,
    /// Most bytes of a document.
    pub longest: usize,
}

/// Asks for documents.
#[derive(Clone, Debug)]
pub struct Client {
    client: reqwest::Client,
    longest: usize,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The document is the one whose tag was sent.
    Same,
    /// A document.
    Document {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its entity tag, to ask with the next time.
        tag: Option<String>,
    },
}

impl Client {
    /// One that keeps no connection: documents are far between.
    pub fn new(setup: &Setup<'_>) -> Result<Self, Why> {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Why::Authorities(error.to_string()))?
            .with_root_certificates(Arc::clone(&setup.roots.0))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_WITHIN)
            .timeout(setup.within);
        if let Some((name, server)) = setup.pinned {
            builder = builder.resolve(name, server);
        }
        if let Some(proxy) = setup.proxy {
            builder = builder.proxy(Proxy::https(proxy).map_err(unreachable)?);
        }
        Ok(Self {
            client: builder.build().map_err(unreachable)?,
            longest: setup.longest,
        })
    }

    /// The document at an address, which is asked as `host` where that is another name.
    pub async fn get(&self, url: &str, host: Option<&str>) -> Result<Vec<u8>, Why> {
        let request = self.client.get(url);
        let request = match host {
            Some(host) => request.header(HOST, host),
            None => request,
        };
        match self.read(request).await? {
            Answer::Document { bytes, .. } => Ok(bytes),
            // Nobody asked whether it is the same.
            Answer::Same => Err(Why::Status(StatusCode::NOT_MODIFIED.as_u16())),
        }
    }

    /// The document at an address, unless it is still the one with this tag.
    pub async fn get_unless(&self, url: &str, tag: Option<&str>) -> Result<Answer, Why> {
        let request = self.client.get(url);
        match tag {
            Some(tag) => self.read(request.header(IF_NONE_MATCH, tag)).await,
            None => self.read(request).await,
        }
    }

    async fn read(&self, request: reqwest::RequestBuilder) -> Result<Answer, Why> {
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if status == StatusCode::NOT_MODIFIED {
            return Ok(Answer::Same);
        }
        if status.is_redirection() {
            return Err(Why::Redirect(status.as_u16()));
        }
        if status != StatusCode::OK {
            return Err(Why::Status(status.as_u16()));
        }
        let tag = answer.headers().get(ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok());
        let tag = tag
            .filter(|tag| tag.len() <= LONGEST_TAG)
            .map(str::to_owned);
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if bytes.len() + chunk.len() > self.longest => {
                    return Err(Why::TooLong(self.longest));
                }
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(Answer::Document { bytes, tag }),
                Err(error) if error.is_timeout() => return Err(Why::Late),
                Err(error) => return Err(Why::Broken(innermost(&error))),
            }
        }
    }
}

/// In the largest unit that fits.
fn size(bytes: usize) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{} KiB", bytes >> 10),
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

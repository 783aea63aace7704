//! HTTPS, as far as Entra and Graph are asked over it.
//!
//! The authorities are those of the system and those that the configuration adds; the proxy is the configuration's,
//! never the environment's. No redirect is followed. Times and sizes are bounded, and a body that breaks off, is
//! longer than it may be or does not unpack is an error, never half an answer.

use std::error::Error;
use std::fmt;
use std::io::{self, Read as _};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use flate2::read::GzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::Url;
use zeroize::Zeroizing;

/// How Entra and Graph are reached.
#[derive(Clone, Debug)]
pub struct Network {
    /// A proxy on the way.
    pub proxy: Option<Proxy>,
    /// Authorities besides those of the system.
    pub authorities: Vec<CertificateDer<'static>>,
    /// How long a connection may take.
    pub connect_within: Duration,
    /// How long an answer may take, with all of its body.
    pub answer_within: Duration,
}

/// A proxy that is asked for tunnels (`CONNECT`).
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    login: Option<(String, Zeroizing<String>)>,
}

/// Why nothing can be asked at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The authorities that the configuration adds.
    #[error("the additional authorities cannot be read: {0}; name a PEM file with certificates")]
    Authorities(String),
    /// There are none.
    #[error(
        "this machine has no authorities to trust; install ca-certificates, or name a file with some"
    )]
    NoAuthorities,
    /// The proxy.
    #[error("the proxy is not written as http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
    Proxy,
    /// The HTTP client.
    #[error("HTTPS cannot be set up: {0}")]
    Client(String),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Its name is not known here.
    #[error("its name cannot be resolved: {0}")]
    Name(String),
    /// No connection.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// None that can be trusted.
    #[error("its certificate or TLS cannot be trusted: {0}")]
    Tls(String),
    /// The proxy makes none.
    #[error("the proxy makes no tunnel to it: {0}")]
    Proxy(String),
    /// Nothing came in time, or not all of it.
    #[error("did not answer in time")]
    Late,
    /// It broke off.
    #[error("its answer broke off: {0}")]
    Broken(String),
    /// More than any honest answer.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// It does not unpack.
    #[error("its answer cannot be unpacked: {0}")]
    Packed(String),
    /// It is said to be elsewhere.
    #[error(
        "answers with a redirect ({0}), which is not followed: something on the way is not Microsoft's"
    )]
    Redirect(u16),
}

impl NetworkError {
    /// Whether trying again may help.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Name(_) | Self::Unreachable(_) | Self::Late | Self::Broken(_) | Self::Packed(_)
        )
    }
}

/// An answer that came whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            proxy: None,
            authorities: Vec::new(),
            connect_within: Duration::from_secs(10),
            answer_within: Duration::from_mins(1),
        }
    }
}

impl Network {
    /// Adds the certificates of a PEM file to those that are trusted.
    pub fn trust(&mut self, pem: &[u8]) -> Result<(), SetupError> {
        let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let read = read.map_err(|error| SetupError::Authorities(error.to_string()))?;
        if read.is_empty() {
            let none = "there is no certificate in it".to_owned();
            return Err(SetupError::Authorities(none));
        }
        self.authorities.extend(read);
        Ok(())
    }

    /// For https alone.
    pub(crate) fn https(&self) -> Result<Client, SetupError> {
        let mut builder = self.builder(self.roots()?)?.https_only(true);
        if let Some(proxy) = &self.proxy {
            let mut tunnel =
                reqwest::Proxy::all(proxy.url.clone()).map_err(|error| failed(&error))?;
            if let Some((user, password)) = &proxy.login {
                tunnel = tunnel.basic_auth(user, password);
            }
            builder = builder.proxy(tunnel);
        }
        builder.build().map_err(|error| failed(&error))
    }

    /// For this machine's own services, which speak plain HTTP and are never behind a proxy.
    pub(crate) fn plain(&self) -> Result<Client, SetupError> {
        let built = self.builder(RootCertStore::empty())?.build();
        built.map_err(|error| failed(&error))
    }

    fn builder(&self, roots: RootCertStore) -> Result<ClientBuilder, SetupError> {
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        let builder = builder.connect_timeout(self.connect_within);
        Ok(builder.timeout(self.answer_within))
    }

    fn roots(&self) -> Result<RootCertStore, SetupError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        for authority in &self.authorities {
            let added = roots.add(authority.clone());
            added.map_err(|error| SetupError::Authorities(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(SetupError::NoAuthorities);
        }
        Ok(roots)
    }
}

impl Proxy {
    /// `http://[USER:PASSWORD@]HOST:PORT`
    pub fn parse(text: &str) -> Result<Self, SetupError> {
        let mut url = Url::parse(text).map_err(|_| SetupError::Proxy)?;
        let is_bare = url.scheme() == "http"
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_bare {
            return Err(SetupError::Proxy);
        }
        let decoded = |text: &str| {
            let text = percent_encoding::percent_decode_str(text).decode_utf8();
            text.map(|text| Zeroizing::new(text.into_owned()))
                .map_err(|_| SetupError::Proxy)
        };
        let login = match url.password() {
            Some(password) => Some((decoded(url.username())?.to_string(), decoded(password)?)),
            None if url.username().is_empty() => None,
            None => return Err(SetupError::Proxy),
        };
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.map_err(|()| SetupError::Proxy)?;
        Ok(Self { url, login })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("url", &self.url.as_str())
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}

/// Asks, and reads all of the answer: at most `longest` bytes, packed and unpacked.
pub(crate) async fn ask(request: RequestBuilder, longest: usize) -> Result<Answer, NetworkError> {
    let mut answer = request.send().await.map_err(|error| failure(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(NetworkError::Redirect(status.as_u16()));
    }
    let headers = std::mem::take(answer.headers_mut());
    let mut body = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > longest => {
                return Err(NetworkError::TooLong(longest));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) if error.is_timeout() => return Err(NetworkError::Late),
            Err(error) => return Err(NetworkError::Broken(innermost(&error))),
        }
    }
    Ok(Answer {
        status: status.as_u16(),
        body: unpacked(body, &headers, longest)?,
        headers,
    })
}

fn unpacked(body: Vec<u8>, headers: &HeaderMap, longest: usize) -> Result<Vec<u8>, NetworkError> {
    let encoding = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    match encoding {
        None | Some(b"" | b"identity") => Ok(body),
        Some(b"gzip" | b"x-gzip") => {
            let mut whole = Vec::new();
            let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
            let read = GzDecoder::new(&*body).take(most).read_to_end(&mut whole);
            read.map_err(|error| NetworkError::Packed(error.to_string()))?;
            if whole.len() > longest {
                return Err(NetworkError::TooLong(longest));
            }
            Ok(whole)
        }
        Some(_) => Err(NetworkError::Packed(
            "it is packed in a way that was not asked for".to_owned(),
        )),
    }
}

fn failed(error: &dyn Error) -> SetupError {
    SetupError::Client(error.to_string())
}

/// What became of a request that was not answered.
fn failure(error: &reqwest::Error) -> NetworkError {
    let words = innermost(error);
    let chain = || iter::successors(Some(error as Below<'_>), below);
    if error.is_timeout() {
        return NetworkError::Late;
    }
    if chain().any(is_tls) {
        return NetworkError::Tls(words);
    }
    // The names of these are the only way to tell them: reqwest keeps the types to itself.
    let said = |what: &str| chain().any(|error| error.to_string().starts_with(what));
    if said("tunnel error") {
        return NetworkError::Proxy(words);
    }
    if said("dns error") {
        return NetworkError::Name(words);
    }
    if error.is_connect() {
        return NetworkError::Unreachable(words);
    }
    NetworkError::Broken(words)
}

type Below<'a> = &'a (dyn Error + 'static);

fn below<'a>(error: &Below<'a>) -> Option<Below<'a>> {
    (*error).source()
}

/// Errors of the system may hold others, one in another, that they do not name as their source.
fn is_tls(error: Below<'_>) -> bool {
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || inner.is_some_and(|inner| is_tls(inner))
}

/// What is at the bottom of it: those above it may hold addresses with queries.
fn innermost(error: &reqwest::Error) -> String {
    let chain = iter::successors(error.source(), below);
    chain
        .last()
        .map_or_else(|| "no more is known".to_owned(), ToString::to_string)
}

//! TLS and HTTP for the lab's servers.
//!
//! In: bound sockets, the TLS settings for each server name, a [`Handler`]. Out: one answer per request, each written
//! to the log. As HTTP.sys does with bindings of `host name:port`, a connection that asks for no known name is dropped
//! in the handshake: whoever stands in front must send the right server name.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, WebPkiClientVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use crate::delivery::{Body, Delivery};
use crate::http::{Handler, MAX_BODY, Note, Request, Tls, answer};
use crate::log::Log;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate or key could not be read.
    #[error(
        "cannot read {path}: {reason} (make the lab's key material first: weir-lab-servers pki)"
    )]
    Material {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate, a key and their settings do not fit together.
    #[error("cannot use certificate {path}: {error}")]
    Tls {
        /// The certificate's file.
        path: PathBuf,
        /// What rustls said.
        error: rustls::Error,
    },
    /// An address could not be bound.
    #[error(
        "cannot listen on {address}: {error} (is the address on an interface, and is the port free?)"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The log could not be opened.
    #[error("cannot open the log {path}: {error}")]
    Log {
        /// The log's file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The plan lacks something, or a needed program is missing.
    #[error("{0}")]
    Plan(String),
}

/// The TLS settings by server name, lower case. A key that starts with `*.` stands for one label.
#[derive(Clone, Default)]
pub struct Names(BTreeMap<String, Arc<ServerConfig>>);

impl Names {
    /// Serves `name` with a certificate chain and key, offering the given protocols. With `client_ca`, asks for a
    /// client certificate of that authority, without insisting.
    pub fn add(
        &mut self,
        name: &str,
        chain: &Path,
        key: &Path,
        alpn: &[&str],
        client_ca: Option<&Path>,
    ) -> Result<(), Error> {
        let bad = |path: &Path, reason: String| Error::Material {
            path: path.to_owned(),
            reason,
        };
        let tls = |error| Error::Tls {
            path: chain.to_owned(),
            error,
        };
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(tls)?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider())
                        .allow_unauthenticated()
                        .build()
                        .map_err(|error| bad(path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates(chain)?, private)
            .map_err(tls)?;
        config.alpn_protocols = alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        self.0.insert(name.to_ascii_lowercase(), Arc::new(config));
        Ok(())
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<ServerConfig>> {
        let name = name?.to_ascii_lowercase();
        let parent = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        self.0
            .get(&name)
            .or_else(|| self.0.get(&parent()?))
            .cloned()
    }
}

/// The certificates of an authority's file, as what to trust.
pub fn roots(path: &Path) -> Result<rustls::RootCertStore, Error> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| Error::Tls {
            path: path.to_owned(),
            error,
        })?;
    }
    Ok(roots)
}

/// The cryptography of every TLS session in the lab.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |reason: String| Error::Material {
        path: path.to_owned(),
        reason,
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| bad(error.to_string()))?
        .collect();
    let chain = chain.map_err(|error| bad(error.to_string()))?;
    if chain.is_empty() {
        Err(bad("no certificate in it".to_owned()))
    } else {
        Ok(chain)
    }
}

/// Binds every address.
pub async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::new();
    for &address in addresses {
        listeners.push(
            TcpListener::bind(address)
                .await
                .map_err(|error| Error::Bind { address, error })?,
        );
    }
    Ok(listeners)
}

/// Serves until `stop` turns true (or its sender is gone), then lets requests under way finish, for at most five
/// seconds. Without `names`, in clear text.
pub async fn serve<H: Handler>(
    listeners: Vec<TcpListener>,
    names: Option<Names>,
    handler: Arc<H>,
    log: Arc<Log>,
    stop: watch::Receiver<bool>,
) {
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        let server = Server {
            names: names.clone(),
            handler: handler.clone(),
            log: log.clone(),
            stop: stop.clone(),
        };
        acceptors.spawn(server.accept(listener));
    }
    while acceptors.join_next().await.is_some() {}
}

/// Turns true when the process is asked to end (SIGTERM, SIGINT).
pub fn stop_on_signal() -> watch::Receiver<bool> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).expect("the runtime has signals enabled");
    let mut interrupt = signal(SignalKind::interrupt()).expect("the runtime has signals enabled");
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let _ = sender.send(true);
    });
    receiver
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

const PATIENCE: Duration = Duration::from_secs(30);
const LAST_REQUESTS: Duration = Duration::from_secs(5);

struct Server<H> {
    names: Option<Names>,
    handler: Arc<H>,
    log: Arc<Log>,
    stop: watch::Receiver<bool>,
}

impl<H: Handler> Server<H> {
    async fn accept(self, listener: TcpListener) {
        let server = Arc::new(self);
        let mut stop = server.stop.clone();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => { connections.spawn(server.clone().connection(stream, peer)); }
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        tokio::task::yield_now().await;
                    }
                },
                _ = connections.join_next(), if !connections.is_empty() => {}
                () = stopped(&mut stop) => break,
            }
        }
        drop(listener);
        let _ = tokio::time::timeout(LAST_REQUESTS, async {
            while connections.join_next().await.is_some() {}
        })
        .await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let Ok(local) = stream.local_addr() else {
            return;
        };
        let _ = stream.set_nodelay(true);
        if self.names.is_none() {
            self.log.connection(peer, local, None, None);
            return self.requests(stream, peer, local, None).await;
        }
        match tokio::time::timeout(PATIENCE, self.handshake(stream)).await {
            Ok(Ok((stream, tls))) => {
                self.log.connection(peer, local, Some(&tls), None);
                self.requests(stream, peer, local, Some(tls)).await;
            }
            Ok(Err(problem)) => self.log.connection(peer, local, None, Some(&problem)),
            Err(_) => self
                .log
                .connection(peer, local, None, Some("the handshake took too long")),
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
    ) -> Result<(tokio_rustls::server::TlsStream<TcpStream>, Tls), String> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream)
            .await
            .map_err(|error| format!("no client hello: {error}"))?;
        let asked = start.client_hello().server_name().map(str::to_owned);
        let Some(config) = self
            .names
            .as_ref()
            .and_then(|names| names.find(asked.as_deref()))
        else {
            return Err(format!(
                "no binding for server name {}",
                asked.as_deref().unwrap_or("(none)")
            ));
        };
        let stream = start
            .into_stream(config)
            .await
            .map_err(|error| format!("handshake failed: {error}"))?;
        let session = stream.get_ref().1;
        let tls = Tls {
            server_name: asked,
            version: session
                .protocol_version()
                .map(|version| format!("{version:?}")),
            cipher: session
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite())),
            alpn: session
                .alpn_protocol()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
            client_certificate: session
                .peer_certificates()
                .and_then(|chain| subject(chain.first()?)),
        };
        Ok((stream, tls))
    }

    async fn requests<S>(
        self: Arc<Self>,
        stream: S,
        peer: SocketAddr,
        local: SocketAddr,
        tls: Option<Tls>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE);
        if tls
            .as_ref()
            .is_none_or(|tls| tls.alpn.as_deref() != Some("h2"))
        {
            builder = builder.http1_only();
        }
        let service = service_fn(|request: http::Request<Incoming>| {
            let (server, tls) = (self.clone(), tls.clone());
            async move { Ok::<_, Infallible>(server.answer(request, peer, local, tls).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = connection.as_mut() => return,
            () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: SocketAddr,
        local: SocketAddr,
        tls: Option<Tls>,
    ) -> http::Response<Body> {
        let (parts, body) = request.into_parts();
        let body = tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await;
        let failure = match &body {
            Ok(Ok(_)) => None,
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Some(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Ok(Err(_)) => Some(StatusCode::BAD_REQUEST),
            Err(_) => Some(StatusCode::REQUEST_TIMEOUT),
        };
        let request = Request {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers,
            body: body
                .ok()
                .and_then(Result::ok)
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default(),
            peer,
            local,
            tls,
        };
        let response = match failure {
            Some(status) => answer(status, "", Bytes::new()),
            None => self.handler.handle(request.clone()).await,
        };
        let note = response
            .extensions()
            .get::<Note>()
            .map(|note| note.0.as_str());
        self.log.request(&request, &response, note);
        let delivery = response.extensions().get::<Delivery>().copied();
        response.map(|body| Body::new(body, delivery))
    }
}

fn subject(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.subject().to_string())
}

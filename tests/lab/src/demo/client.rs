//! The lab's own client: HTTP/1.1 over TLS on a connection that stays open, from any address of `inet`. It does what a
//! program that starts anew for each request cannot: hold connections, and ask quickly.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::lab::Lab;
use crate::netns::{Netns, Part};
use crate::sources::Family;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes connections.
#[derive(Clone)]
pub struct Client {
    inet: Netns,
    tls: TlsConnector,
}

/// A connection to a service.
#[derive(Debug)]
pub struct Connection {
    /// The client's own end.
    pub local: SocketAddr,
    /// How many certificates the service showed.
    pub certificates: usize,
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    running: JoinHandle<hyper::Result<()>>,
}

impl Client {
    /// Trusts the lab's authority and no other.
    pub fn new(lab: &Lab) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(lab.ca())
            .with_context(|| format!("cannot read {}", lab.ca().display()))?;
        for certificate in certificates {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            inet: lab.namespace(Part::Inet),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    /// The same, but it resumes nothing: each connection is shown the certificates.
    pub fn anew(&self) -> Self {
        let mut config = rustls::ClientConfig::clone(self.tls.config());
        config.resumption = Resumption::disabled();
        Self {
            inet: self.inet.clone(),
            tls: TlsConnector::from(Arc::new(config)),
        }
    }

    /// Connects to `to` and asks for `host`, from an address, or from the router's own.
    pub async fn connect(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        host: &str,
    ) -> Result<Connection> {
        timeout(PATIENCE, self.open(from, to, host))
            .await
            .context("nobody answers")?
    }

    /// Opens a connection and says nothing on it.
    pub async fn dial(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
    ) -> Result<std::io::Result<TcpStream>> {
        // A socket belongs to the namespace in which it was made, whoever uses it.
        let socket = self.inet.run(move || {
            if to.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            }
        })??;
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        Ok(socket.connect(to).await)
    }

    async fn open(&self, from: Option<IpAddr>, to: SocketAddr, host: &str) -> Result<Connection> {
        let stream = self.dial(from, to).await??;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = self.tls.connect(name, stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let certificates = shown.map_or(0, <[_]>::len);
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Connection {
            local,
            certificates,
            host: host.to_owned(),
            sender,
            running: tokio::spawn(connection),
        })
    }
}

impl Connection {
    /// Asks for a path, reads the whole answer, and says its status. An error means that the connection is gone.
    pub async fn get(&mut self, path: &str) -> Result<u16> {
        Ok(self.ask(path).await?.0)
    }

    /// The same, and where the answer sends the client to; empty for nowhere.
    pub async fn ask(&mut self, path: &str) -> Result<(u16, String)> {
        timeout(PATIENCE, self.exchange(path))
            .await
            .context("nobody answers")?
    }

    async fn exchange(&mut self, path: &str) -> Result<(u16, String)> {
        self.sender.ready().await?;
        let request = Request::get(path)
            .header("host", &self.host)
            .header("user-agent", "weir-lab")
            .body(Empty::new())?;
        let response = self.sender.send_request(request).await?;
        let status = response.status().as_u16();
        let location = response.headers().get("location");
        let location = location
            .map_or(Ok(""), |location| location.to_str())?
            .to_owned();
        response.into_body().collect().await?;
        Ok((status, location))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A service's address of a family.
pub fn address(lab: &Lab, service: &str, family: Family) -> Result<SocketAddr> {
    let service = lab
        .plan
        .service(service)
        .with_context(|| format!("the plan has no service {service}"))?;
    let mut addresses = service.listen.iter();
    addresses
        .find(|address| address.is_ipv6() == (family == Family::V6))
        .copied()
        .context("the service has no address of the family")
}

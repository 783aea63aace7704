//! A client of rustls, for what others cannot be asked: handshakes that are resumed for certain, key exchanges
//! with ML-KEM, and thousands of connections that are left alone.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::load::Done;
use crate::stage::{HOST, Stage};
use crate::traffic::Request;

/// A connection that is open.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// How connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With the certificate.
    Full,
    /// With a ticket of a connection before.
    Resumed,
    /// With the certificate, and X25519MLKEM768 instead of X25519.
    PostQuantum,
}

/// A client that begins its connections in one way.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    handshake: Handshake,
}

impl Client {
    /// Trusts the stage's authority.
    pub fn new(stage: &Stage, handshake: Handshake) -> Result<Self> {
        let group: &'static dyn SupportedKxGroup = match handshake {
            Handshake::PostQuantum => kx_group::X25519MLKEM768,
            Handshake::Full | Handshake::Resumed => kx_group::X25519,
        };
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![group],
            ..aws_lc_rs::default_provider()
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(stage.authority.as_bytes())?)?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            handshake,
        })
    }

    /// The same with tickets of its own, if it takes any: each is good for one connection.
    fn alone(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        if self.handshake == Handshake::Resumed {
            config.resumption = Resumption::in_memory_sessions(8);
        }
        Self {
            config: Arc::new(config),
            handshake: self.handshake,
        }
    }

    /// So many connections, each with one request, by a few threads.
    pub fn connections(&self, address: SocketAddr, request: &Request, count: u64) -> Result<Done> {
        const THREADS: u64 = 8;
        let started = Instant::now();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        let client = self.alone();
                        if self.handshake == Handshake::Resumed {
                            // One in hundreds: it brings the first ticket.
                            client.once(address, request)?;
                        }
                        for _ in 0..count / THREADS {
                            let kind = client.once(address, request)?;
                            let resumed = kind == Some(HandshakeKind::Resumed);
                            ensure!(
                                resumed == (self.handshake == Handshake::Resumed),
                                "a handshake was {kind:?} instead of {:?}",
                                self.handshake
                            );
                        }
                        Ok(())
                    })
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("nothing here panics"))
        })?;
        let requests = count / THREADS * THREADS;
        #[expect(clippy::cast_precision_loss, reason = "thousands")]
        let rate = requests as f64 / started.elapsed().as_secs_f64();
        Ok(Done { requests, rate })
    }

    /// A connection from `source` that has answered one request and is left open.
    pub fn idle(
        &self,
        address: SocketAddr,
        request: &Request,
        source: Ipv4Addr,
    ) -> Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((source, 0)).into())?;
        socket.connect(&address.into())?;
        let mut connection = self.over(socket.into())?;
        connection.write_all(&request.bytes(false))?;
        let mut read = Vec::new();
        let mut part = [0; 16 << 10];
        loop {
            let count = connection.read(&mut part)?;
            ensure!(count > 0, "the connection ends in the middle of an answer");
            read.extend_from_slice(&part[..count]);
            if is_whole(&read)? {
                return Ok(connection);
            }
        }
    }

    fn once(&self, address: SocketAddr, request: &Request) -> Result<Option<HandshakeKind>> {
        let mut connection = self.connect(address)?;
        connection.write_all(&request.bytes(true))?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer)?;
        ensure!(is_whole(&answer)?, "an answer is not whole");
        Ok(connection.conn.handshake_kind())
    }

    fn connect(&self, address: SocketAddr) -> Result<Connection> {
        self.over(TcpStream::connect(address)?)
    }

    fn over(&self, stream: TcpStream) -> Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let name = ServerName::try_from(HOST)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Whether these are a head of 200 and all of its body.
fn is_whole(answer: &[u8]) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let head = std::str::from_utf8(&answer[..end])?;
    ensure!(
        head.starts_with("HTTP/1.1 200"),
        "an answer is no 200: {head}"
    );
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value)
    });
    let length: usize = length.context("an answer has no length")?.trim().parse()?;
    Ok(answer.len() == end + 4 + length)
}

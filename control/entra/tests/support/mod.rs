//! Servers that say what a test writes down for them, over real TLS, and a clock that tests turn.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;
use weir_entra::clock::{Clock, Sleep};
use weir_entra::cloud::Cloud;
use weir_entra::credential::{Credential, Registration, Secret};
use weir_entra::graph::Graph;
use weir_entra::network::Network;
use weir_entra::token::Tokens;

pub const TENANT: Uuid = Uuid::from_u128(0x7d3c_1a52_0000_4000_8000_0000_0000_0001);
pub const CLIENT: Uuid = Uuid::from_u128(0x6f1d_0c52_0000_4000_8000_0000_0000_0002);
pub const SECRET: &str = "s~cR3t+/=.value";
pub const NOW: OffsetDateTime = datetime!(2026-08-22 07:41:12 UTC);

/// A clock that goes on only while somebody sleeps by it, and at once.
#[derive(Debug, Default)]
pub struct Turned {
    elapsed: Mutex<Duration>,
    slept: Mutex<Vec<Duration>>,
}

impl Turned {
    pub fn turn(&self, time: Duration) {
        *self.elapsed.lock().expect("clock") += time;
    }

    /// All that was slept.
    pub fn slept(&self) -> Vec<Duration> {
        self.slept.lock().expect("clock").clone()
    }
}

impl Clock for Turned {
    fn now(&self) -> OffsetDateTime {
        NOW + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().expect("clock")
    }

    fn chance(&self) -> f64 {
        0.5
    }

    fn sleep(&self, time: Duration) -> Sleep<'_> {
        let until = self.elapsed() + time;
        self.slept.lock().expect("clock").push(time);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let mut elapsed = self.elapsed.lock().expect("clock");
            *elapsed = until.max(*elapsed);
        })
    }
}

/// A request as a server saw it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When, by the test's clock.
    pub at: Duration,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| &**value)
    }
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, headers and a body, with its right length.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These very bytes, and then the end.
    Raw(Vec<u8>),
    /// Nothing, for ever.
    Silence,
    /// The same, once it is told to.
    Later(Arc<Notify>, Box<Self>),
}

impl Reply {
    pub fn json(body: &Value) -> Self {
        Self::status(200, body)
    }

    pub fn status(status: u16, body: &Value) -> Self {
        let kind = ("content-type", "application/json".to_owned());
        Self::Whole(status, vec![kind], body.to_string().into_bytes())
    }

    /// An error of Graph's.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let inner = json!({ "date": "2026-08-22T07:41:12", "request-id": "11aa" });
        Self::status(
            status,
            &json!({ "error": { "code": code, "message": message, "innerError": inner } }),
        )
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Self::Whole(_, headers, _) = &mut self {
            headers.push((name, value.into()));
        }
        self
    }

    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Silence | Self::Later(..) => None,
            Self::Raw(bytes) => Some(bytes),
            Self::Whole(status, headers, body) => {
                let mut head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n");
                write!(head, "content-length: {}\r\n", body.len()).expect("a String");
                for (name, value) in headers {
                    write!(head, "{name}: {value}\r\n").expect("a String");
                }
                head.push_str("\r\n");
                Some([head.into_bytes(), body].concat())
            }
        }
    }
}

type Script = Arc<dyn Fn(&Asked, usize) -> Reply + Send + Sync>;

/// A server on a port of its own.
pub struct Server {
    pub origin: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// An authority, and a server's certificate by it.
pub struct Authority {
    pub pem: String,
    tls: Arc<ServerConfig>,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let names = vec!["localhost".to_owned()];
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new(names).expect("names");
        let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                key.serialize_der().try_into().expect("a key"),
            )
            .expect("they belong together");
        Self {
            pem: issuer.pem(),
            tls: Arc::new(tls),
        }
    }

    /// Answers each request as the script says, which is also told the how manieth of its path it is.
    pub async fn serve(
        &self,
        clock: &Arc<Turned>,
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
        serve(Some(acceptor), clock, script).await
    }
}

impl Server {
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("asked").clone()
    }

    /// Those whose path begins so.
    pub fn asked_for(&self, path: &str) -> Vec<Asked> {
        let mut asked = self.asked();
        asked.retain(|asked| asked.target.starts_with(path));
        asked
    }
}

/// Speaks HTTP in clear text, as a machine's identity service does.
pub async fn serve_plain(
    clock: &Arc<Turned>,
    script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
) -> Server {
    serve(None, clock, script).await
}

async fn serve(
    tls: Option<TlsAcceptor>,
    clock: &Arc<Turned>,
    script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let script: Script = Arc::new(script);
    let (seen, clock) = (Arc::clone(&asked), Arc::clone(clock));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, script) = (tls.clone(), Arc::clone(&script));
            let (seen, clock) = (Arc::clone(&seen), Arc::clone(&clock));
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, &clock, &seen, &*script).await,
                    // Who does not trust it says so, and goes.
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, &clock, &seen, &*script).await;
                        }
                    }
                }
            });
        }
    });
    Server {
        origin: format!("{scheme}://localhost:{port}"),
        asked,
    }
}

async fn answer<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    mut stream: S,
    clock: &Turned,
    seen: &Mutex<Vec<Asked>>,
    script: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) {
    let Some(asked) = read(&mut stream, clock.elapsed()).await else {
        return;
    };
    let count = {
        let mut seen = seen.lock().expect("asked");
        seen.push(asked.clone());
        let path = |asked: &Asked| asked.target.split('?').next().map(str::to_owned);
        seen.iter().filter(|one| path(one) == path(&asked)).count()
    };
    let mut reply = script(&asked, count);
    while let Reply::Later(told, then) = reply {
        told.notified().await;
        reply = *then;
    }
    match reply.bytes() {
        None => std::future::pending().await,
        Some(bytes) => {
            // The other side may have heard enough.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
    }
}

async fn read<S: tokio::io::AsyncRead + Unpin>(stream: &mut S, at: Duration) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked {
        at,
        method: first.next()?.to_owned(),
        target: first.next()?.to_owned(),
        headers,
        body: String::from_utf8(bytes[head + 4..].to_vec()).ok()?,
    })
}

/// An access token as Graph's look; the signature is none.
pub fn token(tenant: Uuid, roles: &[&str], serial: usize) -> String {
    let claims = json!({
        "aud": "https://graph.microsoft.com", "tid": tenant, "appid": CLIENT, "roles": roles, "n": serial,
    });
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        encode("{\"alg\":\"RS256\"}"),
        encode(&claims.to_string()),
        encode("none")
    )
}

/// The token endpoint's answer with a token that lives for an hour.
pub fn issued(token: &str) -> Reply {
    Reply::json(&json!({
        "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token,
    }))
}

/// The path of the token endpoint.
pub fn token_path() -> String {
    format!("/{TENANT}/oauth2/v2.0/token")
}

/// A tenant on a server whose token endpoint works, and whose Graph is scripted.
pub struct Scripted {
    pub server: Server,
    pub clock: Arc<Turned>,
    pub network: Network,
    pub tokens: Arc<Tokens>,
    pub graph: Graph,
}

impl Scripted {
    /// Graph says what the script says.
    pub async fn start(script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::within(Duration::from_mins(1), script).await
    }

    /// The same; every answer must come within that time.
    pub async fn within(
        answer_within: Duration,
        script: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new();
        let clock = Arc::<Turned>::default();
        let server = authority
            .serve(&clock, move |asked, nth| {
                if asked.target == token_path() {
                    return issued(&token(TENANT, &["User.Read.All"], nth));
                }
                script(asked, nth)
            })
            .await;
        let mut network = trusting(&authority);
        network.answer_within = answer_within;
        let tokens = Tokens::new(&network, Arc::clone(&clock) as Arc<dyn Clock>).expect("a client");
        let tokens = Arc::new(tokens);
        let cloud = Cloud::custom(&server.origin, &server.origin).expect("origins");
        let registration = Arc::new(registration(cloud));
        let graph = Graph::new(
            registration,
            Arc::clone(&tokens),
            &network,
            Arc::clone(&clock) as Arc<dyn Clock>,
        );
        Self {
            server,
            graph: graph.expect("a client"),
            clock,
            network,
            tokens,
        }
    }
}

/// The application, with a secret.
pub fn registration(cloud: Cloud) -> Registration {
    let secret = Secret::new(SECRET.as_bytes(), None).expect("a secret");
    Registration {
        cloud,
        tenant: TENANT,
        client: CLIENT,
        credential: Credential::Secret(secret),
    }
}

/// Trusts an authority besides those of the system.
pub fn trusting(authority: &Authority) -> Network {
    let mut network = Network::default();
    network
        .trust(authority.pem.as_bytes())
        .expect("an authority");
    network
}

/// An HTTP proxy that makes tunnels, or refuses them. Counts, and keeps what it was asked.
pub struct TunnelProxy {
    pub port: u16,
    pub tunnels: Arc<AtomicUsize>,
    pub heads: Arc<Mutex<Vec<String>>>,
    pub refuses: Arc<AtomicBool>,
}

impl TunnelProxy {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Self {
            port: listener.local_addr().expect("bound").port(),
            tunnels: Arc::default(),
            heads: Arc::default(),
            refuses: Arc::default(),
        };
        let (tunnels, heads) = (Arc::clone(&proxy.tunnels), Arc::clone(&proxy.heads));
        let refuses = Arc::clone(&proxy.refuses);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tunnels, heads) = (Arc::clone(&tunnels), Arc::clone(&heads));
                let refuses = refuses.load(Ordering::Relaxed);
                let tunnel: Pin<Box<dyn Future<Output = _> + Send>> =
                    Box::pin(tunnel(stream, tunnels, heads, refuses));
                tokio::spawn(tunnel);
            }
        });
        proxy
    }
}

async fn tunnel(
    mut stream: TcpStream,
    tunnels: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    refuses: bool,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1)?.to_owned();
    heads.lock().expect("heads").push(head);
    if refuses {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal).await.ok()?;
        return None;
    }
    let mut inner = TcpStream::connect(target).await.ok()?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    tokio::io::copy_bidirectional(&mut stream, &mut inner)
        .await
        .ok()?;
    None
}

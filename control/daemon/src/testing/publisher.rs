//! A sign-in server that publishes its keys over TLS, and the keys.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use weir_claims::Certificate;

/// Where AD FS has federation metadata.
pub const METADATA: &str = "/FederationMetadata/2007-06/FederationMetadata.xml";
/// Where it has the discovery document.
pub const DISCOVERY: &str = "/adfs/.well-known/openid-configuration";
/// Where it has its keys for JWTs.
pub const JWKS: &str = "/adfs/discovery/keys";

/// A key that signs tokens.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Its certificate.
    pub certificate: Certificate,
    der: Vec<u8>,
    point: Vec<u8>,
}

impl SigningKey {
    /// A new one, whose certificate is valid for many years.
    pub fn new() -> Self {
        Self::until(2090)
    }

    /// A new one, whose certificate ends with this year.
    pub fn until(year: i32) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new([]).expect("no names");
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let made = params.self_signed(&key).expect("a certificate can be made");
        Self {
            certificate: Certificate::from_der(made.der()).expect("P-256"),
            der: made.der().to_vec(),
            point: key.der_bytes().to_vec(),
        }
    }

    /// As it is approved.
    pub fn fingerprint(&self) -> String {
        self.certificate.fingerprint().to_string()
    }
}

impl Default for SigningKey {
    fn default() -> Self {
        Self::new()
    }
}

/// Federation metadata with these keys.
pub fn metadata(keys: &[&SigningKey]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| {
            format!(
                "<KeyDescriptor use=\"signing\"><d:KeyInfo xmlns:d=\"http://www.w3.org/2000/09/xmldsig#\">\
                 <d:X509Data><d:X509Certificate>{}</d:X509Certificate></d:X509Data></d:KeyInfo></KeyDescriptor>",
                BASE64_STANDARD.encode(&key.der)
            )
        })
        .collect();
    let keys = keys.concat();
    format!(
        "<EntityDescriptor xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\" \
         entityID=\"http://sts.corp.example/adfs/services/trust\"><IDPSSODescriptor \
         protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{keys}</IDPSSODescriptor></EntityDescriptor>"
    )
}

/// A JWKS with these keys.
pub fn jwks(keys: &[&SigningKey]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| {
            let (x, y) = key.point[1..].split_at(32);
            let [x, y] = [x, y].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            let kid = &key.fingerprint()[..8];
            json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": x, "y": y })
        })
        .collect();
    json!({ "keys": keys }).to_string()
}

/// The text of a list with so many prefixes: each a /29 of 203.0.113.0/24.
pub fn prefixes(count: u8) -> String {
    let lines = (0..count).map(|n| format!("203.0.113.{}/29\n", n * 8));
    lines.collect::<Vec<_>>().concat()
}

/// See the module. Its answers can be changed while it runs.
#[derive(Debug)]
pub struct Publisher {
    /// Where it listens.
    pub address: SocketAddr,
    directory: TempDir,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    answers: BTreeMap<String, (u16, String)>,
    asked: Vec<String>,
}

impl Publisher {
    /// Starts one that proves to be `sts.corp.example` and 127.0.0.1, and publishes these keys, in each way that AD FS
    /// has.
    pub async fn start(keys: &[&SigningKey]) -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = KeyPair::generate().expect("a key can be made");
        let authority =
            CertifiedIssuer::self_signed(params, authority).expect("an authority can be made");
        let key = KeyPair::generate().expect("a key can be made");
        let names = ["sts.corp.example", "127.0.0.1"].map(str::to_owned);
        let leaf = CertificateParams::new(names).expect("a name and an address");
        let leaf = leaf.signed_by(&key, &authority).expect("it can sign");
        let tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has what TLS needs")
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .expect("the key belongs to the certificate");
        let directory = tempfile::tempdir().expect("a temporary directory");
        super::write(directory.path(), "ca.pem", &authority.pem());
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let shared = Arc::<Mutex<Shared>>::default();
        let task = tokio::spawn(serve(
            socket,
            TlsAcceptor::from(Arc::new(tls)),
            Arc::clone(&shared),
        ));
        let publisher = Self {
            address,
            directory,
            shared,
            task,
        };
        publisher.publish(keys);
        let discovery = json!({
            "issuer": "https://sts.corp.example/adfs",
            "jwks_uri": format!("https://sts.corp.example{JWKS}"),
        });
        publisher.answer(DISCOVERY, 200, &discovery.to_string());
        publisher
    }

    /// From now on it publishes these keys.
    pub fn publish(&self, keys: &[&SigningKey]) {
        self.answer(METADATA, 200, &metadata(keys));
        self.answer(JWKS, 200, &jwks(keys));
    }

    /// From now on it answers so at a path.
    pub fn answer(&self, path: &str, status: u16, body: &str) {
        let answer = (status, body.to_owned());
        self.shared(|shared| shared.answers.insert(path.to_owned(), answer));
    }

    /// Where a path of it is, by its address.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// What a list that is fetched from a path of it has in place of its prefixes.
    pub fn list(&self, path: &str) -> String {
        let (url, ca) = (self.url(path), self.ca());
        format!("url = \"{url}\"\nca = \"{}\"", ca.display())
    }

    /// From now on nobody answers; its authority stays.
    pub fn stop(&self) {
        self.task.abort();
    }

    /// What it was asked: `PATH for HOST`.
    pub fn asked(&self) -> Vec<String> {
        self.shared(|shared| shared.asked.clone())
    }

    /// Its authority.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// What makes it the upstream server of the service in [`super::CONFIG`], whose tokens are looked at; `more`
    /// stands in `[service.tokens]`.
    pub fn edit(&self, more: &str) -> (&'static str, String) {
        let (address, ca) = (self.address, self.ca());
        let ca = ca.display();
        let servers = "servers = [\"192.0.2.10:443\"]\nserver_name = \"sts.corp.example\"\n";
        let edited = format!(
            "servers = [\"{address}\"]\nserver_name = \"sts.corp.example\"\nca = \"{ca}\"\n[service.tokens]\n{more}\n"
        );
        (servers, edited)
    }

    fn shared<T>(&self, look: impl FnOnce(&mut Shared) -> T) -> T {
        look(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(socket: TcpListener, tls: TlsAcceptor, shared: Arc<Mutex<Shared>>) {
    while let Ok((stream, _)) = socket.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            // Who does not trust it goes away.
            let _ = answer(stream, tls, shared).await;
        });
    }
}

async fn answer(
    stream: TcpStream,
    tls: TlsAcceptor,
    shared: Arc<Mutex<Shared>>,
) -> std::io::Result<()> {
    let mut stream = tls.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let host = head.lines().find_map(|line| line.strip_prefix("host: "));
    let (status, body) = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let host = host.unwrap_or_default();
        shared.asked.push(format!("{path} for {host}"));
        let known = shared.answers.get(path).cloned();
        known.unwrap_or((404, String::new()))
    };
    let more = match status {
        300..400 => "location: https://elsewhere.example/\r\n",
        _ => "",
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} said\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

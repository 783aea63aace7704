//! The lab's servers on loopback, and a small browser: HTTP over TLS with the lab's authority, cookies, forms.
#![allow(dead_code, reason = "every test file uses its own part of this module")]

pub mod sign_in;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use weir_lab_servers::control::Control;
use weir_lab_servers::plan::{Plan, Product, Site};
use weir_lab_servers::saml::verify::Verifier;
use weir_lab_servers::{cloud, idp, pki, server};

/// Where the reverse proxy's connections come from in these tests.
pub const EGRESS: &str = "127.0.0.9";

/// The lab on loopback ports.
pub struct Lab {
    pub plan: Plan,
    _directory: TempDir,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lab {
    /// Both federation services.
    pub async fn services() -> Self {
        Self::start(false, Product::Adfs).await
    }

    /// The same, the second one of another product.
    pub async fn of(product: Product) -> Self {
        Self::start(false, product).await
    }

    /// Tells a service what to do otherwise, from its next request on.
    pub fn tell(&self, service: &str, control: &Control) {
        control
            .save(self.plan.files(), service)
            .expect("a control file");
    }

    /// Both federation services and the cloud. `None`, with the reason printed, where tokens cannot be checked.
    pub async fn whole(test: &str) -> Option<Self> {
        if Verifier::available() {
            return Some(Self::start(true, Product::Adfs).await);
        }
        println!("skipped: {test}: xmlsec1 is not installed");
        None
    }

    async fn start(with_cloud: bool, product: Product) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut plan = Plan::new(directory.path());
        plan.services[1].product = product;
        plan.cloud.egress = vec![EGRESS.parse().expect("a literal")];
        let mut services = Vec::new();
        for service in &mut plan.services {
            let sockets = idp::Sockets {
                tls: vec![free().await],
                probe: vec![free().await],
            };
            service.listen = addresses(&sockets.tls);
            service.probe = addresses(&sockets.probe);
            services.push((service.name.clone(), sockets));
        }
        let sockets = cloud::Sockets {
            login: vec![free().await],
            application: vec![free().await],
            portal: vec![free().await],
            reverse_proxy: vec![free().await],
        };
        let place = |site: &mut Site, listeners: &[TcpListener]| site.listen = addresses(listeners);
        place(&mut plan.cloud.login, &sockets.login);
        place(&mut plan.cloud.application, &sockets.application);
        place(&mut plan.cloud.portal, &sockets.portal);
        place(&mut plan.cloud.reverse_proxy, &sockets.reverse_proxy);
        key_material(&plan);

        let (sender, stop) = watch::channel(false);
        let mut tasks = Vec::new();
        // Their files are read now: a lab may be gone again before its tasks have begun.
        for (name, sockets) in services {
            let service = idp::serve(&plan, &name, sockets, stop.clone());
            tasks.push(tokio::spawn(service.expect("the service starts")));
        }
        if with_cloud {
            let cloud = cloud::serve(&plan, sockets, stop);
            tasks.push(tokio::spawn(cloud.expect("the cloud starts")));
        }
        Self {
            plan,
            _directory: directory,
            stop: sender,
            tasks,
        }
    }

    /// A browser with nothing in it.
    pub fn browser(&self) -> Browser<'_> {
        Browser {
            lab: self,
            cookies: BTreeMap::new(),
            headers: Vec::new(),
            certificate: None,
        }
    }

    /// What a server logged so far, one JSON value per line.
    pub fn log(&self, server: &str) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.plan.files().log(server)).expect("the server logs");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("lines of JSON"))
            .collect()
    }

    /// Stops the servers and waits for them.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            task.await.expect("the server ends well");
        }
    }

    fn address(&self, host: &str) -> SocketAddr {
        let hosts = self.plan.hosts();
        let (_, addresses) = hosts
            .iter()
            .find(|(name, _)| name == host)
            .unwrap_or_else(|| panic!("no host {host}"));
        addresses[0]
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    /// The page's form: where it goes, and its hidden fields.
    pub fn form(&self) -> (String, Vec<(String, String)>) {
        let attribute = |tag: &str, name: &str| {
            let (_, rest) = tag.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| unescape(value))
        };
        let form = self
            .body
            .split_once("<form")
            .map(|(_, rest)| rest)
            .expect("a form");
        let action =
            attribute(form.split('>').next().expect("a tag"), "action").expect("an action");
        let fields = form
            .split("<input")
            .skip(1)
            .filter_map(|input| {
                Some((
                    attribute(input, "name")?,
                    attribute(input, "value").unwrap_or_default(),
                ))
            })
            .collect();
        (action, fields)
    }
}

/// Keeps cookies per host; follows nothing by itself.
pub struct Browser<'a> {
    lab: &'a Lab,
    cookies: BTreeMap<(String, String), String>,
    headers: Vec<(&'static str, String)>,
    certificate: Option<&'static str>,
}

impl Browser<'_> {
    /// Sends this header field with every request.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Shows this client certificate where one is asked for.
    pub fn shows(mut self, name: &'static str) -> Self {
        self.certificate = Some(name);
        self
    }

    pub async fn get(&mut self, url: &str) -> Answer {
        self.send(Method::GET, url, "", Bytes::new()).await
    }

    pub async fn post(&mut self, url: &str, fields: &[(String, String)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.send(
            Method::POST,
            url,
            "application/x-www-form-urlencoded",
            body.into(),
        )
        .await
    }

    pub async fn send(&mut self, method: Method, url: &str, kind: &str, body: Bytes) -> Answer {
        let url = url::Url::parse(url).expect("an absolute URL");
        let host = url.host_str().expect("a host").to_owned();
        let stream = connect(
            &self.lab.plan,
            &host,
            self.lab.address(&host),
            self.certificate,
        )
        .await
        .expect("a TLS session");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/1.1");
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header("host", &host);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|((site, _), _)| *site == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let request = request.body(Full::new(body)).expect("a request");
        let (parts, body) = sender
            .send_request(request)
            .await
            .expect("an answer")
            .into_parts();
        for cookie in parts.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text");
            let (name, value) = cookie
                .split(';')
                .next()
                .and_then(|pair| pair.split_once('='))
                .expect("a cookie");
            let key = (host.clone(), name.to_owned());
            if value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    /// Names of the cookies held for a host.
    pub fn cookies(&self, host: &str) -> Vec<&str> {
        self.cookies
            .keys()
            .filter(|(site, _)| site == host)
            .map(|(_, name)| name.as_str())
            .collect()
    }

    /// Types a name and a password into the form at `url`, and follows the redirection that says that they are right.
    pub async fn sign_in(
        &mut self,
        url: &str,
        page: &Answer,
        user: &str,
        password: &str,
    ) -> (String, Answer) {
        let (action, mut fields) = page.form();
        let action = url::Url::parse(url)
            .expect("a URL")
            .join(&action)
            .expect("a URL");
        fields.retain(|(name, _)| name == "AuthMethod");
        fields.push(("UserName".to_owned(), user.to_owned()));
        fields.push(("Password".to_owned(), password.to_owned()));
        let answer = self.post(action.as_str(), &fields).await;
        if answer.status != StatusCode::FOUND {
            return (action.into(), answer);
        }
        let next = action.join(answer.header("location")).expect("a URL");
        let answer = self.get(next.as_str()).await;
        (next.into(), answer)
    }
}

/// A TLS session with `host` at `address`, trusting the lab's authority only, with a client certificate if named.
pub async fn connect(
    plan: &Plan,
    host: &str,
    address: SocketAddr,
    client: Option<&str>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    connect_with(plan, host, address, client, &[]).await
}

/// The same, offering protocols.
pub async fn connect_with(
    plan: &Plan,
    host: &str,
    address: SocketAddr,
    client: Option<&str>,
    alpn: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let files = plan.files();
    let builder = ClientConfig::builder_with_provider(server::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(server::roots(&files.ca()).expect("the authority"));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(name) => builder
            .with_client_auth_cert(
                certificates(&files.chain(name)),
                private_key(&files.key(name)),
            )
            .expect("a client certificate"),
    };
    config.alpn_protocols = alpn
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    let name = ServerName::try_from(host.to_owned()).expect("a host name");
    TlsConnector::from(Arc::new(config))
        .connect(name, TcpStream::connect(address).await?)
        .await
}

/// The certificates in a PEM file.
pub fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .expect("readable")
        .map(|found| found.expect("a certificate"))
        .collect()
}

/// The field of that name.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields
        .iter()
        .find(|(found, _)| found == name)
        .map_or("", |(_, value)| value.as_str())
}

fn private_key(path: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).expect("a key")
}

fn unescape(text: &str) -> String {
    quick_xml::escape::unescape(text)
        .expect("well-formed")
        .into_owned()
}

/// Key material is the same for every plan with the same names, and takes a while to make: it is made once.
fn key_material(plan: &Plan) {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        pki::create(&Plan::new(directory.path())).expect("key material");
        directory
    });
    let to = plan.directory.join("pki");
    std::fs::create_dir_all(&to).expect("a directory");
    for file in std::fs::read_dir(made.path().join("pki")).expect("files") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
    }
}

async fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .map(|listener| listener.local_addr().expect("bound"))
        .collect()
}

//! A whole appliance without privileges: the real brain, control socket and proxy socket, a kernel
//! plane in memory, and a proxy that is played over the real link.

mod event;
mod kernel;
mod manager;
mod packet;
mod proxy;
mod publisher;
mod sign_in;
mod stopped;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use weir_link::notify::Notify;

use crate::audit::{Audit, Limits};
use crate::brain::{Brain, Parts};
use crate::descriptor_store::Inherited;
use crate::first::First;
use crate::plane::Plane;
use crate::proxy_link::ProxyLink;
use crate::{Error, api, metrics, sockets};

pub use event::{TOKEN_RULES, decided, decides_at_token, event, signed_in};
pub use kernel::FakeKernel;
pub use manager::Manager;
pub use packet::{observed, packet};
pub use proxy::{FakeProxy, ProxyProcess, Received};
pub use publisher::{DISCOVERY, JWKS, METADATA, Publisher, SigningKey, jwks, metadata, prefixes};
pub use sign_in::{earn, grants, principal};
pub use stopped::{Stopped, run_in};

/// The list file of [`CONFIG`], as it is at the start.
pub const LIST: &str = "# egress of the head office\n203.0.113.0/24\n2001:db8:aa::/48  # v6\n";

/// The configuration, apart from where its directories are.
pub const CONFIG: &str = r#"
[appliance]
name = "weir-test"
run = "run"
state = "state"
proxy_user = "PROXY_USER"
restart_grace = "60s"
[kernel]
object = "weir-ebpf.o"
pin = "pin"
outside = ["outside0"]
inside = ["inside0"]
mark = 0x5745
table = 5745
[[service]]
name = "sts"
hosts = ["sts.corp.example"]
addresses = ["192.0.2.10", "2001:db8:10::10"]
ports = [443]
profile = "adfs"
rules = "office365-strict"
managed = "forward"
certificate = "chain.pem"
key = "key.pem"
reverse_proxy = "https://sts-corp-example.proxy.example{query}"
[service.upstream]
kind = "wap"
servers = ["192.0.2.10:443"]
server_name = "sts.corp.example"
[[list]]
name = "hq-egress"
class = "managed"
file = "hq.list"
[[list]]
name = "bad-people"
class = "blocked"
prefixes = ["198.51.100.66/32"]
[[list]]
name = "casb"
class = "bypass"
prefixes = ["198.51.100.128/25"]
"#;

/// How an appliance is started.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The user that may play the proxy; the test's own when `None`.
    pub proxy_uid: Option<u32>,
    /// What is replaced in [`CONFIG`], by what.
    pub edits: Vec<(&'static str, String)>,
    /// The service manager.
    pub notify: Notify,
    /// What clients of the control sockets may take.
    pub clients: api::Limits,
    /// How much of the audit log is kept.
    pub audit: Limits,
}

/// Writes the books of somebody who has watched every address for a long time, and saw nobody.
pub fn watched(directory: &Path) {
    let books = r#"{
        "version": 1,
        "clocks": { "boot_id": "another", "since_boot": 0, "wall": 0 },
        "watch": { "blind": null, "prefixes": { "0.0.0.0/0": 0, "::/0": 0 }, "look_back": 43200000 },
        "principals": {},
        "places": {}
    }"#;
    sockets::directory(&directory.join("state"), 0o750).expect("a temporary directory");
    write(directory, "state/grants.json", books);
}

/// A running appliance; its directory goes with it.
#[derive(Debug)]
pub struct Appliance {
    directory: TempDir,
    /// The brain.
    pub brain: Arc<Brain>,
    /// The kernel plane in memory.
    pub kernel: FakeKernel,
    settings: Settings,
    tasks: Vec<JoinHandle<()>>,
}

impl Appliance {
    /// Starts an appliance with [`CONFIG`] and [`LIST`].
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// Starts an appliance with [`CONFIG`] and [`LIST`].
    pub async fn start_with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let uid = nix::unistd::Uid::effective().as_raw();
        write_certificate(directory.path());
        write(directory.path(), "hq.list", LIST);
        let mut config = CONFIG.replace("PROXY_USER", &uid.to_string());
        for (old, new) in &settings.edits {
            assert!(config.contains(old), "CONFIG has no {old}");
            config = config.replace(old, new);
        }
        write(directory.path(), "weir.toml", &config);
        watched(directory.path());
        let stopped = Stopped {
            directory,
            kernel: FakeKernel::default(),
            settings,
        };
        stopped
            .start(Inherited::default())
            .await
            .expect("CONFIG is valid")
    }

    /// Ends weir-control as SIGKILL would: the kernel plane and the files are what is left.
    pub async fn kill(self) -> Stopped {
        let brain = Arc::downgrade(&self.brain);
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        drop(self.brain);
        // Connections end when the runtime comes round to them.
        while brain.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
        Stopped {
            directory: self.directory,
            kernel: self.kernel,
            settings: self.settings,
        }
    }

    /// Ends weir-control and, after `meanwhile`, starts it again on the same directory.
    pub async fn restart(&mut self, meanwhile: impl AsyncFnOnce()) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
        meanwhile().await;
        let (directory, settings) = (self.directory.path(), &self.settings);
        (self.brain, self.tasks) = start(directory, &self.kernel, settings, Inherited::default())
            .await
            .expect("it started before");
    }

    /// A file of the appliance.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file of the appliance.
    pub fn write(&self, name: &str, text: &str) {
        write(self.directory.path(), name, text);
    }

    /// Reads a file of the appliance.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("the file can be read")
    }

    /// The control socket.
    pub fn control_socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// The control socket that only reads.
    pub fn read_socket(&self) -> PathBuf {
        self.path("run/read.sock")
    }

    /// The proxy's socket.
    pub fn proxy_socket(&self) -> PathBuf {
        self.path("run/proxy.sock")
    }

    /// Connects a proxy that accepts every generation, and waits until it works with the one in force.
    pub async fn proxy(&self) -> FakeProxy {
        let mut proxy = FakeProxy::connect(&self.proxy_socket()).await;
        proxy
            .next()
            .await
            .expect("a proxy gets the generation in force");
        self.proxy_works().await;
        proxy
    }

    /// Waits until a proxy works with the generation in force.
    pub async fn proxy_works(&self) {
        let number = self.brain.running().number;
        let mut peers = self.brain.peers();
        let works = peers.wait_for(|peers| {
            peers
                .current()
                .is_some_and(|peer| peer.acknowledged >= Some(number))
        });
        works
            .await
            .expect("the link lives as long as the appliance");
    }

    /// Asks the control socket, and gives the status and the JSON.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let body = body.map(|value| value.to_string()).unwrap_or_default();
        let reply = self
            .reply(&self.control_socket(), method, path, body.as_bytes())
            .await;
        let value = serde_json::from_str(&reply.body).expect("JSON");
        (reply.status, value)
    }

    /// Asks a socket.
    pub async fn reply(&self, socket: &Path, method: Method, path: &str, body: &[u8]) -> Reply {
        let response = send(socket, method, path, body.to_vec()).await;
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        Reply {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
            bytes: body,
        }
    }

    /// Writes any text to a socket, and reads what is answered until the other side closes.
    pub async fn raw(&self, socket: &Path, text: &str) -> Reply {
        let mut stream = UnixStream::connect(socket).await.expect("it listens");
        // Who is turned away may not be read from any more.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Reply::of(&String::from_utf8(answer).expect("text"))
    }

    /// Asks the control socket with GET.
    pub async fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    /// Asks for a stream of lines.
    pub async fn lines(&self, path: &str) -> Lines {
        self.stream(Method::GET, path, "").await
    }

    /// Asks for something that is answered as it comes to be; only its beginning is waited for.
    pub async fn stream(&self, method: Method, path: &str, body: &str) -> Lines {
        let response = send(&self.control_socket(), method, path, body.into()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Lines {
            body: response.into_body(),
            rest: Vec::new(),
        }
    }
}

/// An answer of a control socket.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, as text.
    pub body: String,
    /// Its body.
    pub bytes: Bytes,
}

impl Reply {
    /// Reads an answer whose body ends with the connection or by its length.
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.parse().ok()?, value.parse().ok()?))
        });
        Self {
            status: status.expect("a status").parse().expect("a number"),
            headers: headers.collect::<HeaderMap>(),
            body: body.to_owned(),
            bytes: Bytes::copy_from_slice(body.as_bytes()),
        }
    }
}

async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> http::Response<Incoming> {
    let stream = UnixStream::connect(socket).await.expect("it listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/1.1");
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "weir")
        .body(Full::new(Bytes::from(body)))
        .expect("the path is a path");
    sender.send_request(request).await.expect("an answer")
}

/// A stream of JSON lines.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    rest: Vec<u8>,
}

impl Lines {
    /// The next line; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("each line is JSON"));
            }
            let frame = self
                .body
                .frame()
                .await?
                .expect("the stream does not break off");
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }

    /// All lines until the stream ends.
    pub async fn all(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

/// Starts a brain with its sockets in a directory that holds a configuration.
async fn start(
    directory: &Path,
    kernel: &FakeKernel,
    settings: &Settings,
    inherited: Inherited,
) -> Result<(Arc<Brain>, Vec<JoinHandle<()>>), Error> {
    let uid = nix::unistd::Uid::effective().as_raw();
    let (run, state) = (directory.join("run"), directory.join("state"));
    sockets::directory(&run, 0o755)?;
    sockets::directory(&state, 0o750)?;
    let audit = Arc::new(Audit::open(&state.join("audit.jsonl"), settings.audit)?);
    let link = ProxyLink::new(settings.proxy_uid.unwrap_or(uid), Arc::clone(&audit), &run);
    let proxy_socket = sockets::listen(&run.join("proxy.sock"), 0o600, None, None)?;
    let accepting = tokio::spawn(link.clone().serve(proxy_socket));
    let plane = kernel.clone();
    let parts = Parts {
        config: directory.join("weir.toml"),
        plane: Plane::start(move || Ok(Box::new(plane))).await?,
        link,
        audit,
        notify: settings.notify.clone(),
        inherited,
    };
    let first = First::read(&parts.config)?;
    let brain = Brain::start(parts, first).await?;
    let sockets = api::Sockets::listen(&run, None, None, None)?;
    let [control, read] = api::serve(&brain, sockets, settings.clients);
    metrics::start(&brain)?;
    let guard = tokio::spawn(Arc::clone(&brain).guard());
    brain.notify().ready();
    Ok((brain, vec![accepting, control, read, guard]))
}

/// Writes a self-signed certificate for the service of [`CONFIG`], for one more, and for all below
/// `more.corp.example`: `chain.pem` and `key.pem`.
pub fn write_certificate(directory: &Path) {
    let names = ["sts", "adfs", "*.more"].map(|name| format!("{name}.corp.example"));
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate can be made");
    write(directory, "chain.pem", &made.cert.pem());
    write(directory, "key.pem", &made.signing_key.serialize_pem());
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).expect("the directory can be written");
}

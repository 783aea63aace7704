//! Weir as the lab sees it: the control socket that it answers on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

/// How long the proxy may take to acknowledge its first generation, and how often weir-control is asked meanwhile.
const READY: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// A client of the control socket.
#[derive(Clone, Debug)]
pub struct Control {
    socket: PathBuf,
}

/// A line of the audit log, as far as the lab reads it.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
pub struct Event {
    /// Number of the line.
    pub seq: u64,
    /// When, RFC 3339.
    pub time: String,
    /// `request`, `tunnel`, `refused`, `upstream`, or `change`.
    pub kind: String,
    /// Reference id.
    #[serde(default)]
    pub id: String,
    /// Service.
    #[serde(default)]
    pub service: Option<String>,
    /// Where the connection came from.
    #[serde(default)]
    pub peer: Option<SocketAddr>,
    /// Flow kind.
    #[serde(default)]
    pub flow: Option<String>,
    /// Client kind.
    #[serde(default)]
    pub client: Option<String>,
    /// Normalised path.
    #[serde(default)]
    pub path: Option<String>,
    /// What was decided.
    #[serde(default)]
    pub decision: String,
    /// By which rule.
    #[serde(default)]
    pub rule: String,
    /// Why, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// Status that the client got.
    #[serde(default)]
    pub status: Option<u16>,
    /// What the rules knew.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub facts: Value,
}

impl Event {
    /// Whether the service answered first, and what its answer carried was looked at.
    pub fn is_about_token(&self) -> bool {
        let told = self.facts["token"]["told"].as_str();
        matches!(told, Some("verified" | "unbelieved"))
    }
}

/// A counter of the kernel plane.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct Counter {
    /// Service.
    pub service: String,
    /// Class of the source.
    pub class: String,
    /// What was done.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Which of the kernel's hooks did it: `xdp` or `tcx`.
    #[serde(default)]
    pub hook: String,
    /// Packets.
    pub packets: u64,
}

/// Directory of Weir's sockets.
pub fn run_directory(run: &Path) -> PathBuf {
    run.join("weir")
}

/// Directory of what Weir keeps.
pub fn state_directory(run: &Path) -> PathBuf {
    run.join("state")
}

impl Control {
    /// The socket of the Weir whose lab lies at `run`.
    pub fn of(run: &Path) -> Self {
        Self {
            socket: run_directory(run).join("control.sock"),
        }
    }

    /// Where it is.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Result<Value> {
        Ok(serde_json::from_slice(
            &self.ask("GET", "/v1/status", None).await?,
        )?)
    }

    /// Waits until the proxy has acknowledged the generation that is in force in the kernel.
    pub async fn both_planes_ready(&self) -> Result<()> {
        let ready = async {
            loop {
                let status = self.status().await?;
                let (wanted, proxy) = (&status["generation"], &status["proxy"]["generation"]);
                if proxy.is_u64() && proxy == wanted {
                    return Ok(());
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        timeout(READY, ready).await.with_context(|| {
            format!(
                "weir-proxy did not acknowledge a generation within {} s: see its log",
                READY.as_secs()
            )
        })?
    }

    /// `GET /v1/counters`.
    pub async fn counters(&self) -> Result<Vec<Counter>> {
        let body = self.ask("GET", "/v1/counters", None).await?;
        serde_json::from_slice(&body).context("the counters are not what the lab can read")
    }

    /// The lines that are written to the audit log from now on. The channel closes when weir-control goes away.
    pub async fn follow(&self) -> Result<UnboundedReceiver<Event>> {
        let newest = self.ask("GET", "/v1/events?limit=1", None).await?;
        let newest = String::from_utf8_lossy(&newest)
            .lines()
            .last()
            .map(read_event)
            .transpose()?;
        let after = newest.map_or(0, |event| event.seq);
        let path = format!("/v1/events?after={after}&follow=true");
        let (response, connection) = self.send("GET", &path, None).await?;
        let (lines, receiver) = unbounded_channel();
        tokio::spawn(async move {
            let mut body = response.into_body();
            let mut rest = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let event = read_event(&String::from_utf8_lossy(&line));
                    // A line that cannot be read ends the stream: a row must not be judged without it.
                    let Ok(event) = event else { return };
                    if lines.send(event).is_err() {
                        return;
                    }
                }
            }
            drop(connection);
        });
        Ok(receiver)
    }

    /// Sends a request and returns the body of its answer; any status but 2xx is an error that holds it.
    pub async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Bytes> {
        let (response, _connection) = self.send(method, path, body).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!(
                "{method} {path}: {status}: {}",
                String::from_utf8_lossy(&body).trim()
            );
        }
        Ok(body)
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Response<Incoming>, Connection)> {
        let what = || format!("{method} {path} on {}", self.socket.display());
        let stream = UnixStream::connect(&self.socket).await.with_context(what)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .with_context(what)?;
        let connection = Connection(tokio::spawn(connection));
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "weir")
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await.with_context(what)?;
        Ok((response, connection))
    }
}

/// A connection that ends when nobody reads from it any more.
struct Connection(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn read_event(line: &str) -> Result<Event> {
    serde_json::from_str(line).with_context(|| format!("not a line of the audit log: {line}"))
}

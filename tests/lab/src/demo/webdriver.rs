//! A small client of the W3C WebDriver protocol: what a person does in a browser, and no more.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::netns::Netns;

/// How long an element may take to appear, in milliseconds: long enough for several pages on a busy machine.
const IMPLICIT_WAIT: u64 = 20_000;
/// How long a page may take to load, in milliseconds.
const PAGE_LOAD: u64 = 30_000;
/// How long the driver may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Key under which the protocol names an element (section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser that a driver started.
#[derive(Debug)]
pub struct Browser {
    driver: Driver,
    session: String,
}

/// An element of a page.
#[derive(Clone, Debug)]
pub struct Element(String);

/// A driver that listens on a port of the namespace's loopback.
#[derive(Clone, Debug)]
pub struct Driver {
    namespace: Netns,
    port: u16,
}

impl Driver {
    /// The driver on `port` in `namespace`.
    pub fn new(namespace: Netns, port: u16) -> Self {
        Self { namespace, port }
    }

    /// Starts a browser with these options of `goog:chromeOptions`.
    pub async fn start(self, options: Value) -> Result<Browser> {
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": false,
            "timeouts": { "implicit": IMPLICIT_WAIT, "pageLoad": PAGE_LOAD },
            "goog:chromeOptions": options,
        } } });
        let answer = self.ask("POST", "/session", Some(wanted)).await?;
        let session = answer["sessionId"]
            .as_str()
            .context("the driver gave no session")?;
        Ok(Browser {
            session: session.to_owned(),
            driver: self,
        })
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let what = format!("{method} {path}");
        timeout(PATIENCE, self.exchange(method, path, body))
            .await
            .with_context(|| format!("the driver does not answer {what}"))?
            .with_context(|| format!("the driver's answer to {what}"))
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let to = SocketAddr::from(([127, 0, 0, 1], self.port));
        let stream = self
            .namespace
            .run(move || std::net::TcpStream::connect(to))??;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", to.to_string())
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        let mut answer: Value = serde_json::from_slice(&body).context("no JSON")?;
        let value = answer["value"].take();
        if !status.is_success() {
            let error = value["error"].as_str().unwrap_or("error");
            let message = value["message"].as_str().unwrap_or_default();
            bail!("{error}: {}", message.lines().next().unwrap_or_default());
        }
        Ok(value)
    }
}

impl Browser {
    /// Goes to an address, as typed into the address bar.
    pub async fn go(&self, url: &str) -> Result<()> {
        self.ask("POST", "/url", Some(json!({ "url": url })))
            .await
            .map(drop)
    }

    /// Waits until an element is on the page that is shown, whichever page that is by then.
    pub async fn find(&self, css: &str) -> Result<Element> {
        let wanted = json!({ "using": "css selector", "value": css });
        let answer = self.ask("POST", "/element", Some(wanted)).await?;
        let id = answer[ELEMENT]
            .as_str()
            .context("the driver named no element")?;
        Ok(Element(id.to_owned()))
    }

    /// Types into an element.
    pub async fn type_into(&self, element: &Element, text: &str) -> Result<()> {
        let path = format!("/element/{}/value", element.0);
        self.ask("POST", &path, Some(json!({ "text": text })))
            .await
            .map(drop)
    }

    /// Clicks an element.
    pub async fn click(&self, element: &Element) -> Result<()> {
        let path = format!("/element/{}/click", element.0);
        self.ask("POST", &path, Some(json!({}))).await.map(drop)
    }

    /// The text of an element, as a person reads it.
    pub async fn text(&self, element: &Element) -> Result<String> {
        self.string("GET", &format!("/element/{}/text", element.0))
            .await
    }

    /// The address of the page that is shown.
    pub async fn address(&self) -> Result<String> {
        self.string("GET", "/url").await
    }

    /// A picture of the page, PNG.
    pub async fn screenshot(&self) -> Result<Vec<u8>> {
        let text = self.string("GET", "/screenshot").await?;
        STANDARD.decode(text).context("the picture is not base64")
    }

    /// Closes the browser.
    pub async fn quit(self) -> Result<()> {
        self.ask("DELETE", "", None).await.map(drop)
    }

    async fn string(&self, method: &str, path: &str) -> Result<String> {
        let answer = self.ask(method, path, None).await?;
        answer
            .as_str()
            .map(ToOwned::to_owned)
            .with_context(|| format!("no text at {path}"))
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        self.driver
            .ask(method, &format!("/session/{}{path}", self.session), body)
            .await
    }
}

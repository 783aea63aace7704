//! HTTP/1.1 and JSON over weir-control's unix socket.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, Group};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use weir_api::Failure;

use crate::failed::Failed;

/// Speaks to weir-control.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
}

/// An answer: the text that came, for `--json`, and what it says.
#[derive(Debug)]
pub struct Answer<T> {
    /// As it came.
    pub text: String,
    /// As it is understood.
    pub value: T,
}

impl Client {
    /// Will connect to `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks a question.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failed> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answer<T>, Failed> {
        let body = serde_json::to_vec(body).map_err(io::Error::from)?;
        self.ask(Method::POST, path, body.into()).await
    }

    /// Asks for something to be removed.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, Failed> {
        self.ask(Method::DELETE, path, Bytes::new()).await
    }

    /// Reads an answer line by line, until it ends or `each` fails.
    pub async fn lines(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let mut body = self
            .send(Method::GET, path, Bytes::new())
            .await?
            .into_body();
        let mut rest = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broke_off(&error))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                each(String::from_utf8_lossy(&line[..end]).as_ref())?;
            }
        }
        Ok(())
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer<T>, Failed> {
        let response = self.send(method, path, body).await?;
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|error| self.broke_off(&error))?
            .to_bytes();
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            Failed::refused(
                format!("the answer of weir-control is not understood: {error}"),
                "install weir and weir-control of the same release",
            )
        })?;
        Ok(Answer {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            value,
        })
    }

    /// Sends a request; an answer that is no success is a failure.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failed> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
                .await
                .map_err(|error| self.broke_off(&error))?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "weir")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| Failed::Usage(format!("this cannot be asked: {error}")))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broke_off(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response
            .into_body()
            .collect()
            .await
            .map_err(|error| self.broke_off(&error))?;
        let failure: Result<Failure, _> = serde_json::from_slice(&bytes.to_bytes());
        Err(Failed::Refused(failure.unwrap_or_else(|_| Failure {
            error: format!("weir-control answers {status}"),
            ..Failure::default()
        })))
    }

    fn unreachable(&self, error: &io::Error) -> Failed {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::NotFound => Failed::unreachable(
                format!("weir-control cannot be reached: there is no socket {socket}"),
                "start it (`systemctl start weir-control`, or `weir-control --config FILE`), or \
                 name its socket with --socket PATH",
            ),
            io::ErrorKind::ConnectionRefused => Failed::unreachable(
                format!("weir-control cannot be reached: nobody listens on {socket}"),
                "weir-control has ended; start it (`systemctl start weir-control`), and see its \
                 log for why it ended (`journalctl -u weir-control`)",
            ),
            io::ErrorKind::PermissionDenied => Failed::unreachable(
                format!("weir-control cannot be reached: you may not use {socket}"),
                self.who_may(),
            ),
            _ => Failed::unreachable(
                format!("weir-control cannot be reached at {socket}: {error}"),
                "name its socket with --socket PATH",
            ),
        }
    }

    fn who_may(&self) -> String {
        let gid = std::fs::metadata(&self.socket).map_or(0, |data| data.gid());
        let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        match group {
            Some(group) if gid != 0 => format!(
                "members of group `{name}` may: `sudo usermod -aG {name} $USER`, then log in anew",
                name = group.name
            ),
            _ => "only root may: use sudo, or set `control_group` in [appliance]".to_owned(),
        }
    }

    fn broke_off(&self, error: &hyper::Error) -> Failed {
        Failed::unreachable(
            format!(
                "weir-control broke off on {}: {error}",
                self.socket.display()
            ),
            "see its log for why (`journalctl -u weir-control`)",
        )
    }
}

/// A value for a query, percent-encoded.
pub fn encode(value: &str) -> String {
    use std::fmt::Write;
    value
        .bytes()
        .fold(String::with_capacity(value.len()), |mut encoded, byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                write!(encoded, "%{byte:02X}").expect("a String takes everything");
            }
            encoded
        })
}

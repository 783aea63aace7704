//! HTTP/1.1 and JSON over weir-control's unix socket.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
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

/// An answer that is read line by line.
#[derive(Debug)]
pub struct Lines<'c> {
    client: &'c Client,
    after: Option<u64>,
    body: Incoming,
    read: Vec<u8>,
    /// Bytes of `read` that were given out.
    given: usize,
}

/// The socket that changes, and the one beside it that only answers questions.
const CONTROL: &str = "control.sock";
const READ: &str = "read.sock";

const SAME_RELEASE: &str = "install weir and weir-control of the same release";

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

    /// Asks for an answer that is read line by line.
    pub async fn lines(&self, path: &str) -> Result<Lines<'_>, Failed> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        let after = response.headers().get("weir-after");
        Ok(Lines {
            client: self,
            after: after
                .and_then(|after| after.to_str().ok())
                .and_then(|after| after.parse().ok()),
            body: response.into_body(),
            read: Vec::new(),
            given: 0,
        })
    }

    /// Writes an export as it comes, and gives its number.
    pub async fn export(&self, path: &str, out: &mut impl io::Write) -> Result<u64, Failed> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        let number = response.headers().get("weir-export");
        let number = number.and_then(|number| number.to_str().ok()?.parse().ok());
        let number = number.ok_or_else(|| {
            Failed::refused("weir-control answers without a number", SAME_RELEASE)
        })?;
        self.write(response, out).await?;
        Ok(number)
    }

    /// Writes an answer as it comes.
    pub async fn copy(&self, path: &str, out: &mut impl io::Write) -> Result<(), Failed> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        self.write(response, out).await
    }

    /// Asks for a file, and writes it as it comes; `begin` is called when it is about to.
    pub async fn download(
        &self,
        path: &str,
        body: &impl Serialize,
        begin: impl FnOnce() -> io::Result<()>,
        out: &mut impl io::Write,
    ) -> Result<(), Failed> {
        let body = serde_json::to_vec(body).map_err(io::Error::from)?;
        let response = self.send(Method::POST, path, body.into()).await?;
        begin()?;
        self.write(response, out).await
    }

    async fn write(
        &self,
        response: Response<Incoming>,
        out: &mut impl io::Write,
    ) -> Result<(), Failed> {
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broke_off(&error))?;
            if let Ok(data) = frame.into_data() {
                out.write_all(&data)?;
                out.flush()?;
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
                SAME_RELEASE,
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
        let (stream, only_reads) = self.connect().await?;
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
            .map_err(|error| {
                Failed::usage(
                    format!("this cannot be asked: {error}"),
                    "`weir --help` shows the verbs",
                )
            })?;
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
        let mut failure = failure.unwrap_or_else(|_| Failure {
            error: format!("weir-control answers {status}"),
            help: Some(SAME_RELEASE.to_owned()),
            generation: None,
        });
        match status {
            StatusCode::FORBIDDEN if only_reads => {
                failure.error = format!(
                    "you may ask, but change nothing: {} is not open to you, and {}",
                    self.socket.display(),
                    failure.error
                );
                failure.help = Some(who_may(&self.socket, "control_group"));
            }
            StatusCode::SERVICE_UNAVAILABLE => return Err(Failed::Unreachable(failure)),
            _ => {}
        }
        Err(Failed::Refused(failure))
    }

    /// Connects; to the socket beside it that only reads, where this one is not open to the caller.
    async fn connect(&self) -> Result<(UnixStream, bool), Failed> {
        let refused = match UnixStream::connect(&self.socket).await {
            Ok(stream) => return Ok((stream, false)),
            Err(error) => error,
        };
        let denied = refused.kind() == io::ErrorKind::PermissionDenied;
        if denied && self.socket.file_name() == Some(OsStr::new(CONTROL)) {
            let read = self.socket.with_file_name(READ);
            return match UnixStream::connect(&read).await {
                Ok(stream) => Ok((stream, true)),
                Err(_) => Err(self.unreachable(&refused)),
            };
        }
        Err(self.unreachable(&refused))
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
            io::ErrorKind::PermissionDenied => {
                let mut help = who_may(&self.socket, "control_group");
                let read = self.socket.with_file_name(READ);
                if read != self.socket && read.exists() {
                    help.push_str("; to ask only: ");
                    help.push_str(&who_may(&read, "read_group"));
                }
                Failed::unreachable(
                    format!("weir-control cannot be reached: you may not use {socket}"),
                    help,
                )
            }
            _ => Failed::unreachable(
                format!("weir-control cannot be reached at {socket}: {error}"),
                "name its socket with --socket PATH, or in WEIR_SOCKET",
            ),
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

impl Lines<'_> {
    /// The number behind which the lines begin, where the answer says it.
    pub fn after(&self) -> Option<u64> {
        self.after
    }

    /// Whether the next line has come already.
    pub fn has_next(&self) -> bool {
        self.read[self.given..].contains(&b'\n')
    }

    /// The next line; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<String>, Failed> {
        loop {
            let fresh = &self.read[self.given..];
            if let Some(length) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&fresh[..length]).into_owned();
                self.given += length + 1;
                return Ok(Some(line));
            }
            self.read.drain(..self.given);
            self.given = 0;
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| self.client.broke_off(&error))?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

/// Who may use a socket, and how one becomes one of them; `key` names its group in [appliance].
fn who_may(socket: &Path, key: &str) -> String {
    let gid = std::fs::metadata(socket).map_or(0, |data| data.gid());
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    match group {
        Some(group) if gid != 0 => format!(
            "members of group `{name}` may use {}: `sudo usermod -aG {name} $USER`, then log in anew",
            socket.display(),
            name = group.name
        ),
        _ => format!(
            "only root may: use sudo, or set `{key}` in [appliance] and restart weir-control"
        ),
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

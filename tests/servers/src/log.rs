//! What a server saw, one JSON object per line.
//!
//! Two events: `connection` (a TCP connection, with the server name asked for, or why TLS failed) and `request` (one
//! request, with its status and the digest of the answer). Cookies are written by name, credentials by scheme, and query
//! parameters that carry tokens without their value.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::http::{Request, Response, Tls};

/// A log file, appended to by one process.
#[derive(Debug)]
pub struct Log {
    server: String,
    file: Mutex<File>,
}

impl Log {
    /// Opens (or creates) the file; its folder is created too.
    pub fn open(server: &str, path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            server: server.to_owned(),
            file: Mutex::new(file),
        })
    }

    /// A connection was accepted; `problem` says why it did not become a TLS session.
    pub fn connection(
        &self,
        peer: SocketAddr,
        local: SocketAddr,
        tls: Option<&Tls>,
        problem: Option<&str>,
    ) {
        self.write(&Line {
            event: "connection",
            tls,
            error: problem,
            ..self.line(peer, local)
        });
    }

    /// A request was answered; `note` is what the server thought of it, free of secrets.
    pub fn request(&self, request: &Request, response: &Response, note: Option<&str>) {
        let query = request.uri.query().map(redact_query);
        self.write(&Line {
            event: "request",
            tls: request.tls.as_ref(),
            version: Some(format!("{:?}", request.version)),
            method: Some(request.method.as_str()),
            host: Some(request.host()),
            path: Some(request.uri.path()),
            query: query.as_deref(),
            headers: Some(redact_headers(&request.headers)),
            body: Some(request.body.len()),
            status: Some(response.status().as_u16()),
            answer: Some(digest(response.body())),
            note,
            ..self.line(request.peer, request.local)
        });
    }

    fn line(&self, peer: SocketAddr, local: SocketAddr) -> Line<'_> {
        let time = OffsetDateTime::now_utc()
            .format(&Rfc3339)
            .expect("the present can be written");
        Line {
            time,
            server: &self.server,
            peer: peer.to_string(),
            local: local.to_string(),
            ..Line::default()
        }
    }

    fn write(&self, line: &Line<'_>) {
        let mut text = serde_json::to_vec(line).expect("a line has string keys only");
        text.push(b'\n');
        let mut file = self
            .file
            .lock()
            .expect("no holder of the log's lock panics");
        if let Err(error) = file.write_all(&text) {
            tracing::error!(%error, "the log cannot be written");
        }
    }
}

/// By what the body of an answer is known in the log: its SHA-256, in base64.
pub fn digest(body: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    STANDARD.encode(digest)
}

/// `query` with the values of parameters that carry secrets replaced by `*`.
pub fn redact_query(query: &str) -> String {
    let redacted: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _))
                if SECRET_PARAMETERS
                    .iter()
                    .any(|secret| secret.eq_ignore_ascii_case(name)) =>
            {
                format!("{name}=*")
            }
            _ => pair.to_owned(),
        })
        .collect();
    redacted.join("&")
}

const SECRET_PARAMETERS: [&str; 15] = [
    "access_token",
    "assertion",
    "client_secret",
    "code",
    "device_code",
    "id_token",
    "id_token_hint",
    "authtoken",
    "password",
    "refresh_token",
    "samlart",
    "samlresponse",
    "statetoken",
    "token",
    "wresult",
];

fn redact_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let shown = match name.as_str() {
                "cookie" => cookie_names(&value),
                "authorization" | "proxy-authorization" => {
                    format!("{} *", value.split(' ').next().unwrap_or_default())
                }
                "referer" => match value.split_once('?') {
                    Some((page, query)) => format!("{page}?{}", redact_query(query)),
                    None => value.into_owned(),
                },
                _ => value.into_owned(),
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

fn cookie_names(value: &str) -> String {
    let names: Vec<String> = value
        .split(';')
        .map(|cookie| format!("{}=*", cookie.split('=').next().unwrap_or_default().trim()))
        .collect();
    names.join("; ")
}

#[derive(Default, Serialize)]
struct Line<'a> {
    time: String,
    server: &'a str,
    event: &'a str,
    peer: String,
    local: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'a Tls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_a_query_are_not_written() {
        let written = redact_query("wa=wsignin1.0&Code=abc&state=s&id_token_hint=eyJ&flag");
        assert_eq!(written, "wa=wsignin1.0&Code=*&state=s&id_token_hint=*&flag");
    }

    #[test]
    fn cookies_are_written_by_name() {
        assert_eq!(
            cookie_names("MSISAuth=AAE; MSISAuth1=BBB"),
            "MSISAuth=*; MSISAuth1=*"
        );
    }
}

//! Requests and answers, as the lab's servers handle them.

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use serde::Serialize;

/// A request with its whole body.
#[derive(Debug, Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Target, as sent.
    pub uri: Uri,
    /// HTTP version.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// Body, at most [`MAX_BODY`] bytes.
    pub body: Bytes,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Where it arrived.
    pub local: SocketAddr,
    /// The TLS session it came in; `None` in clear text.
    pub tls: Option<Tls>,
}

/// The TLS session of a connection.
#[derive(Debug, Clone, Serialize)]
pub struct Tls {
    /// Server name that the client asked for.
    pub server_name: Option<String>,
    /// Protocol version, `TLSv1_3`.
    pub version: Option<String>,
    /// Cipher suite.
    pub cipher: Option<String>,
    /// Protocol chosen by ALPN.
    pub alpn: Option<String>,
    /// Subject of the client's certificate, if it sent one.
    pub client_certificate: Option<String>,
}

/// An answer. Put a [`Note`] among its extensions to have it logged.
pub type Response = http::Response<Bytes>;

/// What a server thought of a request: written to its log. Never a secret.
#[derive(Debug, Clone)]
pub struct Note(pub String);

/// Largest body that a server reads.
pub const MAX_BODY: usize = 1 << 20;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer to `request`.
    fn handle(&self, request: Request) -> impl Future<Output = Response> + Send;
}

impl Request {
    /// The host that is asked, without a port, as sent; empty if there is none.
    pub fn host(&self) -> &str {
        let authority = self.uri.authority().map(http::uri::Authority::as_str);
        let header = self.headers.get(HOST).and_then(|value| value.to_str().ok());
        let host = authority.or(header).unwrap_or_default();
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        }
    }

    /// A header field's text; `None` when absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Decoded query parameters, in order.
    pub fn query(&self) -> Parameters {
        Parameters::parse(self.uri.query().unwrap_or_default().as_bytes())
    }

    /// Decoded fields of a posted form; empty when the body is something else.
    pub fn form(&self) -> Parameters {
        let form = self.header("content-type").is_some_and(|kind| {
            kind.to_ascii_lowercase()
                .starts_with("application/x-www-form-urlencoded")
        });
        if form {
            Parameters::parse(&self.body)
        } else {
            Parameters::default()
        }
    }

    /// The value of a cookie; the first, if it was sent twice. HTTP/2 may spread cookies over several fields;
    /// in HTTP/1.1 there must be one, and what stands in others is lost.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let fields = if self.version < Version::HTTP_2 {
            1
        } else {
            usize::MAX
        };
        self.headers
            .get_all(COOKIE)
            .iter()
            .take(fields)
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find_map(|(found, value)| (found == name).then_some(value))
    }
}

/// Decoded names and values.
#[derive(Debug, Clone, Default)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Decodes `application/x-www-form-urlencoded` text.
    pub fn parse(text: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first value of that name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether there is such a name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// An answer with a body of the given type.
pub fn answer(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    if !content_type.is_empty() {
        response.headers_mut().insert(
            CONTENT_TYPE,
            HeaderValue::from_str(content_type).expect("content types are literals"),
        );
    }
    response
}

/// An HTML page.
pub fn html(status: StatusCode, body: impl Into<Bytes>) -> Response {
    answer(status, "text/html; charset=utf-8", body)
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response {
    answer(status, "application/json;charset=UTF-8", value.to_string())
}

/// A redirection. Characters that may not stand in a header field make it a 400.
pub fn redirect(status: StatusCode, location: &str) -> Response {
    match HeaderValue::from_str(location) {
        Ok(value) => {
            let mut response = answer(status, "", Bytes::new());
            response.headers_mut().insert(http::header::LOCATION, value);
            response
        }
        Err(_) => answer(
            StatusCode::BAD_REQUEST,
            "text/plain",
            "the target of the redirection is not a URL",
        ),
    }
}

/// Adds a header field that may repeat; values that are not legal are left out.
pub fn add(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response
            .headers_mut()
            .append(HeaderName::from_static(name), value);
    }
}

/// Notes `text` for the log.
pub fn noted(mut response: Response, text: impl Into<String>) -> Response {
    response.extensions_mut().insert(Note(text.into()));
    response
}

/// `text` made safe inside HTML or XML, also in attribute values.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

//! What goes wrong, by script: which request, which time, and how.

use std::io::Write;

use base64::Engine;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;
use weir_lab_servers::delivery::Delivery;
use weir_lab_servers::http::{Response, answer};

use crate::world::clock::http_date;

/// One thing that goes wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// At which service.
    #[serde(default)]
    pub at: Option<Service>,
    /// The method; any, if none is named.
    #[serde(default)]
    pub method: Option<String>,
    /// The target of the request (path and query, decoded), with `*` for anything: `/v1.0/users/delta*`.
    pub path: String,
    /// How many such requests pass before it begins.
    #[serde(default)]
    pub after: u32,
    /// How many such requests it meets; all, if there is no number.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens to them.
    pub act: Act,
}

/// A service of the lab's cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// Tokens and consent.
    Login,
    /// Microsoft Graph.
    Graph,
    /// The identity of a machine.
    Machine,
}

/// How a request goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Act {
    /// It gets this answer.
    Answer {
        /// Status.
        status: u16,
        /// Header fields.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// Body.
        #[serde(default)]
        body: String,
    },
    /// It gets an error as Graph words it.
    Graph {
        /// Status.
        status: u16,
        /// `code`
        code: String,
        /// `message`
        #[serde(default)]
        message: String,
        /// Header fields, such as `Retry-After`.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// It gets an error as the token endpoint words it.
    Aadsts {
        /// The number behind `AADSTS`.
        code: u32,
    },
    /// A middlebox answers with a page of its own.
    Html {
        /// Status.
        status: u16,
    },
    /// It is sent somewhere else.
    Redirect {
        /// Where to.
        location: String,
    },
    /// Nothing comes for a while; then the usual.
    Delay {
        /// How long.
        milliseconds: u64,
    },
    /// The connection ends after so many bytes of the body.
    Cut {
        /// Bytes.
        bytes: usize,
    },
    /// The body ends after so many bytes, and says that this is all.
    Truncate {
        /// Bytes.
        bytes: usize,
    },
    /// The answer promises more bytes than come.
    WrongLength,
    /// The body comes slowly.
    Drip {
        /// Bytes at a time.
        bytes: usize,
        /// What is waited before each piece.
        milliseconds: u64,
    },
    /// The body is compressed, asked for or not.
    Gzip,
    /// Links to more pages name another origin (`https://host:port`).
    Links {
        /// Which.
        origin: String,
    },
    /// The answer is about another tenant.
    Tenant {
        /// Which.
        id: Uuid,
    },
    /// The `Date` of the answer is off.
    Skew {
        /// By so many seconds.
        seconds: i64,
    },
    /// A collection has nothing in it; links stay.
    Empty,
    /// A collection has nothing in it, and says that this is all.
    Hollow,
}

/// The script.
#[derive(Debug, Default)]
pub struct Faults(Vec<(Fault, u32)>);

impl Faults {
    /// Adds to the script.
    pub fn add(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    /// All goes well again.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What is in the script.
    pub fn script(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().map(|(fault, _)| fault)
    }

    /// What happens to this request.
    pub fn meet(&mut self, at: Service, method: &str, target: &str) -> Vec<Act> {
        let decoded = percent_encoding::percent_decode_str(target).decode_utf8_lossy();
        let mut acts = Vec::new();
        for (fault, seen) in &mut self.0 {
            let meant = fault.at.is_none_or(|service| service == at)
                && fault
                    .method
                    .as_deref()
                    .is_none_or(|wanted| wanted == method)
                && matches(&fault.path, &decoded);
            if meant {
                *seen = seen.saturating_add(1);
                let last = fault
                    .times
                    .map_or(u32::MAX, |times| fault.after.saturating_add(times));
                if *seen > fault.after && *seen <= last {
                    acts.push(fault.act.clone());
                }
            }
        }
        acts
    }
}

impl Fault {
    /// It happens to every request to `path` at Graph.
    pub fn graph(path: &str, act: Act) -> Self {
        Self {
            at: Some(Service::Graph),
            method: None,
            path: path.to_owned(),
            after: 0,
            times: None,
            act,
        }
    }

    /// It happens to every request for a token.
    pub fn token(act: Act) -> Self {
        Self {
            at: Some(Service::Login),
            ..Self::graph("*/token", act)
        }
    }

    /// It happens to no more than so many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// It begins after so many requests.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }
}

/// What is done to the answer of a request that came through. `origin` is the service's own.
pub fn spoil(acts: &[Act], mut response: Response, origin: &str, now: OffsetDateTime) -> Response {
    for act in acts {
        match act {
            Act::Truncate { bytes } => response.body_mut().truncate(*bytes),
            Act::Cut { bytes } => deliver(&mut response, 0, |delivery| {
                delivery.cut = Some(*bytes);
            }),
            Act::WrongLength => deliver(&mut response, 100, |_| ()),
            Act::Drip {
                bytes,
                milliseconds,
            } => deliver(&mut response, 0, |delivery| {
                delivery.piece = Some(*bytes);
                delivery.pause = std::time::Duration::from_millis(*milliseconds);
            }),
            Act::Gzip => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                gzip.write_all(response.body())
                    .expect("writing to memory succeeds");
                let packed = gzip.finish().expect("writing to memory succeeds");
                *response.body_mut() = packed.into();
                response
                    .headers_mut()
                    .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            Act::Links { origin: other } => rewrite(&mut response, |page| {
                for link in ["@odata.nextLink", "@odata.deltaLink"] {
                    if let Some(Value::String(link)) = page.get_mut(link) {
                        *link = link.replacen(origin, other, 1);
                    }
                }
            }),
            Act::Tenant { id } => rewrite(&mut response, |page| {
                if let Some(Value::Array(items)) = page.get_mut("value") {
                    for item in items {
                        item["id"] = id.to_string().into();
                    }
                }
            }),
            Act::Skew { seconds } => {
                let date = http_date(now + time::Duration::seconds(*seconds));
                response.headers_mut().insert(header::DATE, date);
            }
            Act::Empty => rewrite(&mut response, |page| {
                page.insert("value".to_owned(), Value::Array(Vec::new()));
            }),
            Act::Hollow => rewrite(&mut response, |page| {
                page.insert("value".to_owned(), Value::Array(Vec::new()));
                page.remove("@odata.nextLink");
            }),
            Act::Answer { .. }
            | Act::Graph { .. }
            | Act::Aadsts { .. }
            | Act::Html { .. }
            | Act::Redirect { .. }
            | Act::Delay { .. } => {}
        }
    }
    response
}

/// An answer that is none of the service's.
pub fn foreign(act: &Act) -> Option<Response> {
    match act {
        Act::Answer {
            status,
            headers,
            body,
        } => {
            let response = answer(code(*status), "application/json", body.clone());
            Some(with(response, headers))
        }
        Act::Html { status } => {
            let body = "<html><head><title>Gateway</title></head><body><h1>Gateway error</h1></body></html>";
            Some(answer(code(*status), "text/html; charset=utf-8", body))
        }
        Act::Redirect { location } => Some(weir_lab_servers::http::redirect(
            StatusCode::FOUND,
            location,
        )),
        _ => None,
    }
}

/// `response` with these header fields; those that are not legal are left out.
pub fn with(mut response: Response, headers: &[(String, String)]) -> Response {
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// How long nothing comes.
pub fn delay(acts: &[Act]) -> std::time::Duration {
    let waits = acts.iter().map(|act| match act {
        Act::Delay { milliseconds } => *milliseconds,
        _ => 0,
    });
    std::time::Duration::from_millis(waits.sum())
}

/// A status by its number; 500 when there is no such.
pub fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Bytes that nobody can read, of a given length: opaque tokens.
pub fn opaque(text: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

fn deliver(response: &mut Response, more: usize, how: impl FnOnce(&mut Delivery)) {
    let length = response.body().len() + more;
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    let mut delivery = Delivery::default();
    how(&mut delivery);
    response.extensions_mut().insert(delivery);
}

fn rewrite(response: &mut Response, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    if let Ok(Value::Object(mut page)) = serde_json::from_slice(response.body()) {
        change(&mut page);
        *response.body_mut() = Bytes::from(Value::Object(page).to_string());
    }
}

/// Whether `text` is `pattern`, in which `*` is anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_anything() {
        assert!(matches(
            "/v1.0/users/delta*",
            "/v1.0/users/delta?$select=id"
        ));
        assert!(matches("*/token", "/7d3c/oauth2/v2.0/token"));
        assert!(matches(
            "/v1.0/*/federation*",
            "/v1.0/domains/a/federationConfiguration"
        ));
        assert!(!matches("/v1.0/users", "/v1.0/users/delta"));
        assert!(!matches("/v1.0/users*delta", "/v1.0/groups/delta"));
    }
}

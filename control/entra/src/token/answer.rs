//! What a token endpoint answers: Entra's, and that of a machine's managed identity.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::{Deserialize, Deserializer};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::TokenError;
use crate::network::Answer;
use crate::retry::retry_after;
use crate::words;

/// A token as it was handed out.
pub(super) struct Issued {
    pub(super) value: Zeroizing<String>,
    pub(super) life: Duration,
}

/// A refusal by a token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused.
    pub by: By,
    /// Status of the answer.
    pub status: u16,
    /// `error`
    pub error: String,
    /// The AADSTS codes, the telling one first.
    pub codes: Vec<u32>,
    /// What it says to people, without its trailer.
    pub words: String,
    /// `trace_id`, for support.
    pub trace: Option<String>,
    /// `correlation_id`, for support.
    pub correlation: Option<String>,
    /// How long it asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// Whose token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The tenant's.
    Entra,
    /// That of this machine in Azure.
    Machine,
}

/// Transient by their number; the tenant is throttled, or something in Entra is slow or broken.
const TRANSIENT: [u32; 4] = [90055, 90006, 90024, 90033];

impl Refusal {
    /// Reads the body of a refusal; nothing when it is none. What is `hidden` must not come back in its words.
    pub fn read(by: By, status: u16, body: &[u8], hidden: &[&str]) -> Option<Self> {
        let read: Failure = serde_json::from_slice(body).ok()?;
        let said = read.error_description.unwrap_or_default();
        let mut codes = read.error_codes.unwrap_or_default();
        if codes.is_empty() {
            codes.extend(code_in(&said));
        }
        codes.truncate(8);
        let trailer = said.find("Trace ID").unwrap_or(said.len());
        Some(Self {
            by,
            status,
            error: words::name(&read.error),
            codes,
            words: words::fit(&said[..trailer], hidden),
            trace: read.trace_id.as_deref().map(words::name),
            correlation: read.correlation_id.as_deref().map(words::name),
            retry_after: None,
        })
    }

    /// Whether the same request may be answered a little later.
    pub fn is_transient(&self) -> bool {
        let by_name = ["temporarily_unavailable", "server_error"].contains(&&*self.error);
        // The machine's service says 404 and 410 while it starts or is renewed.
        let by_status = matches!(self.status, 408 | 429 | 500..)
            || self.by == By::Machine && matches!(self.status, 404 | 410);
        by_name || by_status || self.codes.iter().any(|code| TRANSIENT.contains(code))
    }
}

#[derive(Deserialize)]
struct Success {
    token_type: String,
    access_token: Zeroizing<String>,
    #[serde(deserialize_with = "seconds")]
    expires_in: u64,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
    #[serde(default)]
    error_codes: Option<Vec<u32>>,
    #[serde(default)]
    trace_id: Option<String>,
    #[serde(default)]
    correlation_id: Option<String>,
}

/// A machine's service writes numbers as texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// Reads an answer. `sent` is what must not come back in words.
pub(super) fn read(
    answer: Answer,
    by: By,
    sent: &[&str],
    now: OffsetDateTime,
) -> Result<Issued, TokenError> {
    let body = Zeroizing::new(answer.body);
    if answer.status == 200 {
        return success(&body);
    }
    Err(refusal(
        answer.status,
        &answer.headers,
        &body,
        by,
        sent,
        now,
    ))
}

fn success(body: &[u8]) -> Result<Issued, TokenError> {
    // No words of the parser: they may quote the token.
    let read: Success = serde_json::from_slice(body)
        .map_err(|_| TokenError::Malformed("no JSON object with a token in it".to_owned()))?;
    if !read.token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::Malformed(
            "the token is no bearer token".to_owned(),
        ));
    }
    let is_sendable = |byte: u8| byte.is_ascii_graphic();
    if read.access_token.is_empty() || !read.access_token.bytes().all(is_sendable) {
        return Err(TokenError::Malformed(
            "the token is empty, or no token".to_owned(),
        ));
    }
    if read.expires_in == 0 {
        return Err(TokenError::Malformed(
            "the token has expired already".to_owned(),
        ));
    }
    Ok(Issued {
        value: read.access_token,
        // No token lives longer than a day and a few hours.
        life: Duration::from_secs(read.expires_in.min(48 * 3600)),
    })
}

fn refusal(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    by: By,
    sent: &[&str],
    now: OffsetDateTime,
) -> TokenError {
    let retry_after = retry_after(headers, now);
    match Refusal::read(by, status, body, sent) {
        Some(refusal) => TokenError::Refused(Box::new(Refusal {
            retry_after,
            ..refusal
        })),
        None => TokenError::Status {
            status,
            retry_after,
        },
    }
}

/// `AADSTS700016: …`
pub(crate) fn code_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("AADSTS")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match Seconds::deserialize(from)? {
        Seconds::Number(number) => Ok(number),
        Seconds::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

//! What Graph says when it does not answer the question, and what that means.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::Value;

use super::{Ask, ForeignLink};
use crate::decode::Malformed;
use crate::model::Part;
use crate::network::NetworkError;
use crate::retry::text;
use crate::token::TokenError;
use crate::words;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Longest body of an error that is read, in bytes.
const LONGEST: usize = 64 << 10;
/// How deep errors in errors are followed.
const DEEPEST: usize = 8;

/// A question that was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose question it was.
    pub part: Part,
    /// What it means.
    pub kind: Kind,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Graph's code, the innermost that is known.
    pub code: Option<Box<str>>,
    /// What it says to people.
    pub words: String,
    /// Graph's name for the request, for support.
    pub request_id: Option<Box<str>>,
    /// How often it was asked.
    pub tries: u32,
    /// How long Graph asks to be left alone.
    pub retry_after: Option<Duration>,
}

/// What a failure means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// No answer.
    Network(NetworkError),
    /// No token to ask with.
    Token(Box<TokenError>),
    /// A link that must not be followed.
    Foreign(ForeignLink),
    /// The answer cannot be used.
    Malformed(Malformed),
    /// Something on the way answered, and not Graph.
    NotGraph,
    /// Graph does not take the token, nor a new one.
    Unauthorized,
    /// Graph wants the sign-in done again under other conditions (continuous access evaluation).
    Challenged,
    /// The permission was not consented to.
    NotPermitted,
    /// The tenant has no licence for it.
    NotLicensed,
    /// This cloud does not have it.
    NotOffered,
    /// The application is not known everywhere yet.
    NotYet,
    /// The object is there no more: happens between a list and a look.
    Missing,
    /// There is no such tenant.
    NoTenant,
    /// The state behind the link is gone: all must be read anew, into staging.
    Resync,
    /// The page behind the link is gone: the list must be read from its beginning.
    PageGone,
    /// Too much was asked.
    Throttled,
    /// Graph is out of order for a moment.
    Unavailable,
    /// Graph does not understand the question: a fault of Weir's.
    BadRequest,
}

impl Failure {
    /// Without any answer of Graph's.
    pub(super) fn without_answer(part: Part, kind: Kind) -> Self {
        let words = match &kind {
            Kind::Network(error) => format!("Graph {error}"),
            Kind::Token(error) => error.to_string(),
            Kind::Foreign(error) => error.to_string(),
            Kind::Malformed(error) => error.to_string(),
            _ => String::new(),
        };
        let retry_after = match &kind {
            Kind::Token(error) => error.retry_after(),
            _ => None,
        };
        Self {
            part,
            kind,
            status: None,
            code: None,
            words,
            request_id: None,
            tries: 0,
            retry_after,
        }
    }

    /// Whether the same question may be answered a little later.
    pub fn is_transient(&self) -> bool {
        match &self.kind {
            Kind::Network(error) => error.is_transient(),
            Kind::Token(error) => error.is_transient(),
            Kind::Malformed(_) | Kind::NotYet | Kind::Throttled | Kind::Unavailable => true,
            Kind::NotGraph => matches!(self.status, Some(429 | 500..)),
            _ => false,
        }
    }

    /// Whether the whole lane must wait.
    pub(super) fn stops_lane(&self) -> bool {
        let is_throttled = self.kind == Kind::Throttled || self.status == Some(429);
        is_throttled || self.retry_after.is_some()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.kind {
            Kind::Network(_) | Kind::Token(_) | Kind::Foreign(_) => {
                return f.write_str(&self.words);
            }
            Kind::Malformed(_) => "Graph's answer cannot be used",
            Kind::NotGraph => "something on the way answered in place of Graph",
            Kind::Unauthorized => "Graph does not take the token",
            Kind::Challenged => "Graph wants a sign-in under other conditions",
            Kind::NotPermitted => "the permission was not consented to",
            Kind::NotLicensed => "the tenant has no licence for it",
            Kind::NotOffered => "this cloud does not offer it",
            Kind::NotYet => "the application is not known everywhere yet",
            Kind::Missing => "the object is not there",
            Kind::NoTenant => "Graph does not know the tenant",
            Kind::Resync => "the delta link has expired",
            Kind::PageGone => "the link to the next page has expired",
            Kind::Throttled => "Graph asks to be asked less",
            Kind::Unavailable => "Graph is out of order",
            Kind::BadRequest => "Graph does not understand the question",
        };
        f.write_str(what)?;
        if let Some(status) = self.status {
            write!(f, " (status {status}")?;
            if let Some(code) = &self.code {
                write!(f, ", {code}")?;
            }
            f.write_str(")")?;
        }
        if !self.words.is_empty() {
            write!(f, ": {}", self.words)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What Graph says of an error (concepts/errors.md): a code, words, and errors within.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The outermost code, and those within.
    pub codes: Vec<String>,
    /// The outermost words.
    pub message: String,
    /// The request, as the body names it.
    pub request_id: Option<String>,
}

impl Said {
    /// Reads the body of an error; nothing when it is none of Graph's.
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body {
            error: Value,
        }
        let body = body.get(..LONGEST.min(body.len()))?;
        let Body { error } = serde_json::from_slice(body).ok()?;
        let outermost = error.as_object()?;
        let mut said = Self::default();
        if let Some(message) = outermost.get("message").and_then(Value::as_str) {
            said.message = message.chars().take(2000).collect();
        }
        let mut level = Some(outermost);
        for _ in 0..DEEPEST {
            let Some(object) = level else { break };
            if let Some(code) = object.get("code").and_then(Value::as_str) {
                said.codes.push(words::name(code));
            }
            if let Some(id) = object.get("request-id").and_then(Value::as_str) {
                said.request_id = Some(words::name(id));
            }
            let inner = object
                .get("innerError")
                .or_else(|| object.get("innererror"));
            level = inner.and_then(Value::as_object);
        }
        let is_graph = !said.codes.is_empty() || outermost.contains_key("message");
        is_graph.then_some(said)
    }

    fn has(&self, names: &[&str]) -> bool {
        let is_one = |code: &String| names.iter().any(|name| code.eq_ignore_ascii_case(name));
        self.codes.iter().any(is_one)
    }

    fn says(&self, what: &str) -> bool {
        self.message.to_ascii_lowercase().contains(what)
    }
}

/// An answer that is not what was asked for.
pub(super) struct Refused<'a> {
    pub(super) ask: &'a Ask,
    /// It was asked by a link.
    pub(super) by_link: bool,
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    pub(super) retry_after: Option<Duration>,
}

impl Refused<'_> {
    pub(super) fn failure(&self) -> Failure {
        let said = Said::read(self.body);
        let kind = match &said {
            Some(said) => self.kind(said),
            None => self.kind_by_status(),
        };
        let in_header = text(self.headers, &REQUEST_ID).map(words::name);
        let (code, words, in_body) = if let Some(said) = said {
            let known = said.codes.iter().rev().find(|code| is_known(code));
            let code = known.or_else(|| said.codes.first()).cloned();
            (code, words::fit(&said.message, &[]), said.request_id)
        } else {
            let kind = text(self.headers, &CONTENT_TYPE).unwrap_or("of no kind");
            let words = format!("the body is no error of Graph's, but {}", words::name(kind));
            (None, words, None)
        };
        Failure {
            part: self.ask.part(),
            kind,
            status: Some(self.status),
            code: code.map(Into::into),
            words,
            request_id: in_header.or(in_body).map(Into::into),
            tries: 1,
            retry_after: self.retry_after,
        }
    }

    fn kind(&self, said: &Said) -> Kind {
        let is_gone = said.has(&["syncStateNotFound", "resyncRequired"])
            || said.says("delta token")
            || self.by_link && said.says("badly formed token");
        match self.status {
            400 | 404 | 410 if said.has(&["Directory_ExpiredPageToken"]) => Kind::PageGone,
            410 => Kind::Resync,
            400 | 404 if is_gone => Kind::Resync,
            401 if said.has(&["insufficient_claims"]) => Kind::Challenged,
            401 => Kind::Unauthorized,
            400 | 402 | 403 if lacks_licence(said) => Kind::NotLicensed,
            403 if said.has(&["Authorization_IdentityNotFound"])
                || said.says("invalid s2s auth token") =>
            {
                Kind::NotYet
            }
            403 if said.has(&["insufficient_claims"]) => Kind::Challenged,
            403 => Kind::NotPermitted,
            404 if said.has(&["Directory_ObjectNotFound"])
                || said.says("unable to read the company information") =>
            {
                Kind::NoTenant
            }
            404 if *self.ask == Ask::Organisation => Kind::NoTenant,
            400 | 404 if said.says("resource not found for the segment") => Kind::NotOffered,
            404 => Kind::Missing,
            501 => Kind::NotOffered,
            429 => Kind::Throttled,
            408 | 500.. => Kind::Unavailable,
            // Some say it in words alone.
            _ if said.has(&["TooManyRequests", "activityLimitReached"]) => Kind::Throttled,
            _ => Kind::BadRequest,
        }
    }

    fn kind_by_status(&self) -> Kind {
        match self.status {
            410 => Kind::Resync,
            401 => Kind::Unauthorized,
            429 => Kind::Throttled,
            408 | 503 | 504 => Kind::Unavailable,
            _ => Kind::NotGraph,
        }
    }
}

fn lacks_licence(said: &Said) -> bool {
    said.has(&[
        "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
        "AadPremiumLicenseRequired",
    ])
}

/// Codes that tell more than those around them.
fn is_known(code: &str) -> bool {
    const KNOWN: [&str; 17] = [
        "AadPremiumLicenseRequired",
        "AccessDenied",
        "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
        "Authorization_IdentityNotFound",
        "Authorization_RequestDenied",
        "Directory_ExpiredPageToken",
        "Directory_ObjectNotFound",
        "Directory_ResultSizeLimitExceeded",
        "InvalidAuthenticationToken",
        "Request_BadRequest",
        "Request_ResourceNotFound",
        "Request_UnsupportedQuery",
        "TooManyRequests",
        "insufficient_claims",
        "resyncRequired",
        "serviceNotAvailable",
        "syncStateNotFound",
    ];
    KNOWN.iter().any(|known| code.eq_ignore_ascii_case(known))
}

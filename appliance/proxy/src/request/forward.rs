//! What travels on to the upstream, and what of its answer comes back.

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_ENCODING, ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, RANGE, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, response};
use http_body_util::Full;
use weir_policy::Facts;
use weir_policy::headers::{self, Hygiene};

use super::Asking;
use crate::body::Answer;
use crate::token::begun;
use crate::upstream::{Outgoing, UpstreamBody};

/// How the request must differ from the client's own for its answer to be looked at.
#[derive(Debug, Default)]
pub struct Asked {
    /// Another query: the server is asked for more than the client asks for.
    pub query: Option<String>,
    /// Another body, for the same.
    pub body: Option<Bytes>,
    /// The answer must come whole, and not packed.
    pub plain: bool,
}

/// The request that goes to the upstream: raw path and query, the client's own `Host`, the headers
/// that may travel on, those that the upstream expects of a proxy, and a body framed anew.
pub(super) fn request(asking: &Asking<'_>, facts: &Facts, body: Bytes, asked: &Asked) -> Outgoing {
    let Asking { parts, head, .. } = *asking;
    let mut outgoing = Request::new(Full::new(body));
    *outgoing.method_mut() = parts.method.clone();
    *outgoing.uri_mut() = target_uri(asking, asked);
    let relayed = facts.source.relayed;
    let hygiene = Hygiene::of(head, relayed);
    let headers = outgoing.headers_mut();
    headers.reserve(parts.headers.len() + 8);
    for (name, value) in &parts.headers {
        let kept = !asked.plain || !PARTLY.contains(name);
        if kept && !is_framing(name) && *name != COOKIE && hygiene.keeps(name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(cookie) = joined_cookies(&parts.headers) {
        headers.insert(COOKIE, cookie);
    }
    headers.insert(HOST, asking.target.header.clone());
    let kind = asking.service.upstream_kind;
    let peer = facts.source.peer;
    for (name, value) in
        headers::upstream_headers(kind, head, relayed, peer, &asking.live.appliance)
    {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        } else {
            tracing::error!(name, "a header for the upstream cannot be sent");
        }
    }
    outgoing
}

/// What makes an answer come packed, in parts, or not at all.
const PARTLY: [HeaderName; 7] = [
    ACCEPT_ENCODING,
    RANGE,
    IF_RANGE,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
];

/// The answer of the upstream as it goes to the client.
pub fn response(answer: Response<UpstreamBody>) -> Response<Answer> {
    let (parts, body) = answer.into_parts();
    Response::from_parts(cleaned(parts), Answer::Upstream(body))
}

/// The head of an answer of the upstream, as it goes to the client.
pub fn cleaned(mut parts: response::Parts) -> response::Parts {
    parts.version = Version::HTTP_11;
    let named: Vec<HeaderName> = parts
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().filter(|name| **name != CONTENT_LENGTH) {
        parts.headers.remove(name);
    }
    // `Alt-Svc` would lead clients to QUIC, past the proxy.
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        ALT_SVC,
    ] {
        parts.headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        parts.headers.remove(name);
    }
    parts
}

fn target_uri(asking: &Asking<'_>, asked: &Asked) -> Uri {
    let head = asking.head;
    let same = || match &asked.query {
        Some(query) => PathAndQuery::try_from(format!("{}?{query}", head.path)).ok(),
        None => asking.parts.uri.path_and_query().cloned(),
    };
    let mapped = match asking.service.upstream_kind {
        headers::Upstream::Adfs => {
            let profile = asking.service.policy.profile();
            let path = profile.upstream_path(&asking.recognised.path, head.path);
            if path == head.path {
                same()
            } else {
                let mapped = match head.query {
                    Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
                    None => PathAndQuery::try_from(path.as_ref()),
                };
                Some(mapped.expect("a fixed path and a query that was a query before"))
            }
        }
        headers::Upstream::Wap | headers::Upstream::Plain => same(),
    };
    mapped.map(Uri::from).unwrap_or_default()
}

/// Headers that say how this connection frames a message. The upstream's connection has its own.
fn is_framing(name: &HeaderName) -> bool {
    [
        HOST,
        CONNECTION,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        EXPECT,
        TE,
        TRAILER,
        UPGRADE,
    ]
    .contains(name)
}

/// The browser's cookies, without Weir's own. HTTP/2 may split them over several lines; HTTP/1.1 knows one (RFC
/// 9113, section 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(COOKIE).iter().filter_map(begun::without);
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first);
    };
    let mut joined = BytesMut::from(first.as_bytes());
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    Some(HeaderValue::from_maybe_shared(joined.freeze()).expect("made of header values"))
}

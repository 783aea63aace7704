//! What travels on to the upstream, and what of its answer comes back.

use bytes::{Bytes, BytesMut};
use http::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHENTICATE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version, request};
use http_body_util::Full;
use weir_policy::headers::{self, Hygiene};
use weir_policy::{Facts, Head, Recognised, upstream_path};

use super::target::Target;
use crate::body::Answer;
use crate::generation::{Live, Service};
use crate::upstream::{Outgoing, UpstreamBody};

/// The request that goes to the upstream: raw path and query, the client's own `Host`, the headers
/// that may travel on, those that the upstream expects of a proxy, and a body framed anew.
pub fn request(
    parts: &request::Parts,
    head: &Head<'_>,
    target: &Target,
    recognised: &Recognised,
    facts: &Facts,
    (live, service): (&Live, &Service),
    body: Bytes,
) -> Outgoing {
    let mut outgoing = Request::new(Full::new(body));
    *outgoing.method_mut() = parts.method.clone();
    *outgoing.uri_mut() = target_uri(parts, head, recognised, service);
    let relayed = facts.source.relayed;
    let hygiene = Hygiene::of(head, relayed);
    let headers = outgoing.headers_mut();
    headers.reserve(parts.headers.len() + 8);
    for (name, value) in &parts.headers {
        if !is_framing(name) && *name != COOKIE && hygiene.keeps(name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(cookie) = joined_cookies(&parts.headers) {
        headers.insert(COOKIE, cookie);
    }
    headers.insert(HOST, target.header.clone());
    let kind = service.upstream_kind;
    let peer = facts.source.peer;
    for (name, value) in headers::upstream_headers(kind, head, relayed, peer, &live.appliance) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        } else {
            tracing::error!(name, "a header for the upstream cannot be sent");
        }
    }
    outgoing
}

/// The answer of the upstream as it goes to the client.
pub fn response(answer: Response<UpstreamBody>) -> Response<Answer> {
    let (mut parts, body) = answer.into_parts();
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
    Response::from_parts(parts, Answer::Upstream(body))
}

fn target_uri(
    parts: &request::Parts,
    head: &Head<'_>,
    recognised: &Recognised,
    service: &Service,
) -> Uri {
    let same = || parts.uri.path_and_query().cloned();
    let mapped = match service.upstream_kind {
        headers::Upstream::Adfs => {
            let path = upstream_path(&recognised.path, head.path);
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

/// HTTP/2 may split the cookies over several lines; HTTP/1.1 knows one (RFC 9113, section 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(COOKIE).iter();
    let first = lines.next()?;
    let Some(second) = lines.next() else {
        return Some(first.clone());
    };
    let mut joined = BytesMut::from(first.as_bytes());
    for line in std::iter::once(second).chain(lines) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    Some(HeaderValue::from_maybe_shared(joined.freeze()).expect("made of header values"))
}

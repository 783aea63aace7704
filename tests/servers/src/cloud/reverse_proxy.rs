//! `*.proxy.example`: an inspecting reverse proxy. Every site and service of the lab stands under it with a name of its
//! own (`sts-corp-example.proxy.example` for `sts.corp.example`); pages, redirections and cookies are rewritten, so
//! that a browser that entered stays behind it. Its own connections leave from the planned egress addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::http::{Handler, MAX_BODY, Request, Response, add, answer, noted};
use crate::plan::Plan;
use crate::server::{Error, provider, roots};

/// The reverse proxy.
pub struct ReverseProxy {
    routes: Arc<[Route]>,
    egress: Vec<IpAddr>,
    tls: TlsConnector,
}

/// A host of the lab, its name behind the proxy, and where it is.
#[derive(Debug, Clone)]
struct Route {
    real: String,
    proxied: String,
    addresses: Vec<SocketAddr>,
}

impl ReverseProxy {
    /// Knows the plan's hosts and trusts the lab's authority.
    pub fn new(plan: &Plan) -> Result<Self, Error> {
        let ca = plan.files().ca();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls {
                path: ca.clone(),
                error,
            })?
            .with_root_certificates(roots(&ca)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let suffix = format!(".{}", plan.cloud.reverse_proxy.host);
        let routes = plan
            .hosts()
            .into_iter()
            .filter(|(host, _)| !host.ends_with(&suffix))
            .map(|(real, addresses)| Route {
                proxied: plan.proxied(&real),
                real,
                addresses,
            })
            .collect();
        Ok(Self {
            routes,
            egress: plan.cloud.egress.clone(),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    async fn forward(&self, route: &Route, request: Request) -> Result<Response, String> {
        let stream = self.connect(route, request.peer).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("no HTTP with {}: {error}", route.real))?;
        tokio::spawn(connection);
        let failed =
            |error: &dyn std::fmt::Display| format!("{} did not answer: {error}", route.real);
        let upstream = sender
            .send_request(self.upstream_request(route, request))
            .await
            .map_err(|e| failed(&e))?;
        let (parts, body) = upstream.into_parts();
        let body = Limited::new(body, MAX_BODY)
            .collect()
            .await
            .map_err(|error| failed(&error))?
            .to_bytes();
        Ok(self.downstream_response(&parts, &body))
    }

    /// Connects to the first address that answers, in the family that the client came in by if there is one, from the
    /// egress address of that family.
    async fn connect(
        &self,
        route: &Route,
        client: SocketAddr,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
        let mut addresses = route.addresses.clone();
        let v6 = client.ip().to_canonical().is_ipv6();
        addresses.sort_by_key(|address| address.is_ipv6() != v6);
        let mut problem = format!("{} has no address", route.real);
        for address in addresses {
            match self.dial(address).await {
                Ok(stream) => {
                    let name = ServerName::try_from(route.real.clone())
                        .map_err(|error| error.to_string())?;
                    return self
                        .tls
                        .connect(name, stream)
                        .await
                        .map_err(|error| format!("no TLS with {}: {error}", route.real));
                }
                Err(error) => problem = format!("{address} cannot be reached: {error}"),
            }
        }
        Err(problem)
    }

    async fn dial(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = if address.is_ipv6() {
            TcpSocket::new_v6()?
        } else {
            TcpSocket::new_v4()?
        };
        if let Some(source) = self
            .egress
            .iter()
            .find(|source| source.is_ipv6() == address.is_ipv6())
        {
            socket.bind(SocketAddr::new(*source, 0))?;
        }
        let connecting = socket.connect(address);
        let stream = tokio::time::timeout(CONNECT_PATIENCE, connecting)
            .await
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn upstream_request(&self, route: &Route, request: Request) -> http::Request<Full<Bytes>> {
        let target = request
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str)
            .to_owned();
        let mut upstream = http::Request::new(Full::new(request.body));
        *upstream.method_mut() = request.method;
        *upstream.uri_mut() = target.parse().expect("it was a request target already");
        for (name, value) in &request.headers {
            if !HOP_BY_HOP.contains(name)
                && *name != header::HOST
                && *name != header::ACCEPT_ENCODING
            {
                upstream
                    .headers_mut()
                    .append(name.clone(), self.unrewritten(name, value));
            }
        }
        join_cookies(upstream.headers_mut());
        let host = HeaderValue::from_str(&route.real).expect("host names are text");
        upstream.headers_mut().insert(header::HOST, host);
        upstream
            .headers_mut()
            .insert(header::VIA, HeaderValue::from_static("1.1 proxy.example"));
        upstream
    }

    /// `Origin` and `Referer` name the real site to the real site.
    fn unrewritten(&self, name: &HeaderName, value: &HeaderValue) -> HeaderValue {
        if *name != header::ORIGIN && *name != header::REFERER {
            return value.clone();
        }
        let back = value.to_str().ok().and_then(|url| {
            let rest = url.strip_prefix("https://")?;
            let route = self
                .routes
                .iter()
                .find(|route| rest.starts_with(&route.proxied))?;
            HeaderValue::from_str(&format!(
                "https://{}{}",
                route.real,
                &rest[route.proxied.len()..]
            ))
            .ok()
        });
        back.unwrap_or_else(|| value.clone())
    }

    fn downstream_response(&self, parts: &http::response::Parts, body: &Bytes) -> Response {
        let page = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes()
                .to_ascii_lowercase()
                .starts_with(b"text/html")
        });
        let body = match std::str::from_utf8(body) {
            Ok(text) if page => Bytes::from(rewrite_page(text, &|url| self.rewritten(url))),
            _ => body.clone(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = self.response_headers(&parts.headers);
        response
    }

    fn response_headers(&self, headers: &HeaderMap) -> HeaderMap {
        let mut kept = HeaderMap::new();
        for (name, value) in headers {
            if HOP_BY_HOP.contains(name) || *name == header::CONTENT_LENGTH {
                continue;
            }
            let text = value.to_str().unwrap_or_default();
            let changed = match *name {
                header::LOCATION => self.rewritten(text),
                header::SET_COOKIE => self.cookie(text),
                _ => None,
            };
            let value = changed
                .and_then(|text| HeaderValue::from_str(&text).ok())
                .unwrap_or_else(|| value.clone());
            kept.append(name.clone(), value);
        }
        kept
    }

    /// An absolute URL of a known host, under its name behind the proxy.
    fn rewritten(&self, url: &str) -> Option<String> {
        let rest = url.strip_prefix("https://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.strip_suffix(":443").unwrap_or(authority);
        let route = self
            .routes
            .iter()
            .find(|route| route.real.eq_ignore_ascii_case(host))?;
        Some(format!("https://{}{path}", route.proxied))
    }

    fn cookie(&self, cookie: &str) -> Option<String> {
        let lower = cookie.to_ascii_lowercase();
        let start = lower.find("domain=")? + "domain=".len();
        let end = cookie[start..]
            .find(';')
            .map_or(cookie.len(), |length| start + length);
        let domain = cookie[start..end].trim().trim_start_matches('.');
        let route = self
            .routes
            .iter()
            .find(|route| route.real.eq_ignore_ascii_case(domain))?;
        Some(format!(
            "{}{}{}",
            &cookie[..start],
            route.proxied,
            &cookie[end..]
        ))
    }
}

impl Handler for ReverseProxy {
    async fn handle(&self, request: Request) -> Response {
        let host = request.host().to_ascii_lowercase();
        let route = self.routes.iter().find(|route| route.proxied == host);
        let mut response = match route {
            None => answer(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "This host is not behind the proxy.\n",
            ),
            Some(route) => match self.forward(route, request).await {
                Ok(response) => noted(response, format!("forwarded to {}", route.real)),
                Err(problem) => {
                    let body = format!("The site behind the proxy cannot be reached: {problem}\n");
                    noted(
                        answer(StatusCode::BAD_GATEWAY, "text/plain; charset=utf-8", body),
                        problem,
                    )
                }
            },
        };
        add(&mut response, "x-inspected-by", INSPECTOR);
        response
    }
}

/// Cookies that HTTP/2 spread over several fields, in one field, as HTTP/1.1 wants them.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1 {
        let joined = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
            .expect("legal values stay legal when joined by legal characters");
        headers.insert(header::COOKIE, joined);
    }
}

/// Rewrites the addresses in a page's tags (never its text, never a field's value), and adds a banner.
fn rewrite_page(page: &str, rewritten: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(page.len() + BANNER.len());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = tag_end(rest);
        let tag = &rest[..end];
        rewrite_tag(tag, rewritten, &mut out);
        let is_body = tag
            .get(..5)
            .is_some_and(|name| name.eq_ignore_ascii_case("<body"));
        if is_body {
            out.push_str(BANNER);
        }
        rest = &rest[end..];
        if tag
            .get(..7)
            .is_some_and(|name| name.eq_ignore_ascii_case("<script"))
        {
            let close = rest
                .to_ascii_lowercase()
                .find("</script")
                .unwrap_or(rest.len());
            out.push_str(&rest[..close]);
            rest = &rest[close..];
        }
    }
    out.push_str(rest);
    out
}

/// The length of the tag that `text` begins with, quotes minded.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return at + 1,
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    text.len()
}

fn rewrite_tag(tag: &str, rewritten: &dyn Fn(&str) -> Option<String>, out: &mut String) {
    let mut rest = tag;
    while let Some(equals) = rest.find('=') {
        let (name, after) = rest.split_at(equals + 1);
        out.push_str(name);
        let name = name
            .trim_end_matches('=')
            .trim_end()
            .rsplit([' ', '\n', '\t', '\r', '"', '\''])
            .next();
        let Some(quote) = after
            .chars()
            .next()
            .filter(|first| matches!(first, '"' | '\''))
        else {
            rest = after;
            continue;
        };
        let Some(length) = after[1..].find(quote) else {
            rest = after;
            break;
        };
        let value = &after[1..=length];
        let address = name.is_some_and(|name| {
            ADDRESSES
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
        });
        let changed = if address { rewritten(value) } else { None };
        out.push(quote);
        out.push_str(changed.as_deref().unwrap_or(value));
        out.push(quote);
        rest = &after[length + 2..];
    }
    out.push_str(rest);
}

const ADDRESSES: [&str; 4] = ["action", "formaction", "href", "src"];

const INSPECTOR: &str = "proxy.example";

const BANNER: &str = "<div role=\"note\" id=\"inspected\" style=\"background:#5a2d82;color:#fff;font:14px/1.6 \
sans-serif;padding:2px 12px\">Inspected by proxy.example</div>";

const CONNECT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::rewrite_page;

    fn rewritten(url: &str) -> Option<String> {
        url.strip_prefix("https://sts.corp.example")
            .map(|rest| format!("https://sts.proxied{rest}"))
    }

    #[test]
    fn addresses_in_tags_are_rewritten_and_nothing_else() {
        let page = "<body class='a'><form method=\"post\" action=\"https://sts.corp.example/x?a=1&amp;b=2\">\
                    <input name=\"wresult\" value=\"&lt;a href='https://sts.corp.example/'>\"/>\
                    https://sts.corp.example/text<script>var a='<a href=\"https://sts.corp.example/\">'</script>";
        let result = rewrite_page(page, &rewritten);
        assert!(
            result.contains("action=\"https://sts.proxied/x?a=1&amp;b=2\""),
            "{result}"
        );
        assert_eq!(
            result.matches("https://sts.corp.example/").count(),
            3,
            "{result}"
        );
        assert!(result.contains("id=\"inspected\""), "{result}");
    }
}

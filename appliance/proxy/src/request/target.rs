//! Whose request is it? The host that it names, or why it cannot be told.

use http::header::{HOST, UPGRADE};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Method, Version, request};
use weir_policy::Refusal;

use crate::serve::Client;

/// Longest host with its port, in bytes: a name has at most 253 (RFC 1035, section 2.3.4). What is
/// longer must not fill the queue of audit events.
const MAX_AUTHORITY: usize = 260;

/// The host that a request names.
#[derive(Debug)]
pub struct Target {
    /// Lower case, without port and trailing dot.
    pub host: String,
    /// The `Host` header as it travels on: as the client wrote it.
    pub header: HeaderValue,
}

/// Why a request is refused before its service is known.
#[derive(Debug)]
pub struct Refused {
    pub rule: &'static str,
    pub refusal: Refusal,
    /// The host, when it named one.
    pub host: Option<String>,
}

impl Refused {
    /// The host is not one of the service that the handshake was for (RFC 9110, section 15.5.20).
    pub fn foreign_host(host: String) -> Self {
        Self {
            host: Some(host),
            ..refused("proxy/host", 421, "the host is not one of this service")
        }
    }
}

impl Target {
    /// Reads the host from the target URI and the `Host` header, which must not contradict each
    /// other (RFC 9112, section 3.2; RFC 9113, section 8.3.1).
    pub fn of(parts: &request::Parts, client: &Client) -> Result<Self, Refused> {
        const AMBIGUOUS: &str = "the request names its host in more than one way, or in none";
        if parts.method == Method::CONNECT {
            return Err(refused("proxy/method", 405, "this method is not served"));
        }
        if parts.headers.contains_key(UPGRADE) {
            return Err(refused(
                "proxy/upgrade",
                400,
                "connections are not upgraded",
            ));
        }
        if parts
            .uri
            .scheme()
            .is_some_and(|scheme| *scheme != Scheme::HTTPS)
        {
            return Err(refused(
                "proxy/host-ambiguous",
                400,
                "the request names another scheme",
            ));
        }
        let mut named = parts.headers.get_all(HOST).iter();
        let header = match (named.next(), named.next(), parts.uri.authority()) {
            (Some(header), None, None) => header.clone(),
            (Some(header), None, Some(authority))
                if header
                    .as_bytes()
                    .eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
            {
                header.clone()
            }
            (None, None, Some(authority)) if parts.version == Version::HTTP_2 => {
                HeaderValue::from_str(authority.as_str())
                    .map_err(|_| refused("proxy/host-ambiguous", 400, AMBIGUOUS))?
            }
            // HTTP/1.0 knows no Host header; the handshake has named the host already.
            (None, None, None) if parts.version == Version::HTTP_10 => {
                HeaderValue::from_str(&client.sni)
                    .map_err(|_| refused("proxy/host-ambiguous", 400, AMBIGUOUS))?
            }
            _ => return Err(refused("proxy/host-ambiguous", 400, AMBIGUOUS)),
        };
        let authority = header
            .to_str()
            .ok()
            .filter(|text| text.len() <= MAX_AUTHORITY)
            .and_then(|text| text.parse::<Authority>().ok());
        let authority =
            authority.ok_or_else(|| refused("proxy/host-ambiguous", 400, "the host is no host"))?;
        let is_plain = !authority.as_str().contains('@');
        let port = authority.port_u16();
        if !is_plain || port.is_some_and(|port| port != 443 && port != client.listener.port()) {
            let host = authority.host().to_ascii_lowercase();
            return Err(Refused::foreign_host(host));
        }
        let host = authority.host();
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        Ok(Self { host, header })
    }
}

fn refused(rule: &'static str, status: u16, why: &'static str) -> Refused {
    Refused {
        rule,
        refusal: Refusal {
            status,
            why: why.into(),
        },
        host: None,
    }
}

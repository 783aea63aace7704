//! Header hygiene: what may travel on, and what is said to the upstream (MS-ADFSPIP).
//!
//! What only a proxy may say is dropped from every request, because AD FS believes it; then Weir says
//! it itself. A trusted relay (Exchange Online) is the exception: its word about the application and
//! the client behind it travels on.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use crate::Head;
use crate::source::{FORWARDED_CLIENT, forwarded_from_right};

/// What stands behind a service, as far as headers are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// A Web Application Proxy.
    Wap,
    /// AD FS itself.
    Adfs,
    /// A server that knows no proxy of its own kind.
    Plain,
}

/// Whether a header of a request is dropped before it is forwarded, unless a trusted relay sent it:
/// hop-by-hop headers, and everything that only a proxy may say. Names in any case; `_` counts as `-`,
/// because CGI-like servers cannot tell them apart.
pub fn strip_inbound(name: &str) -> bool {
    strips(&plain(name))
}

/// The same of a name that is written as [`plain`] writes it.
fn strips(name: &str) -> bool {
    // The device and the broker speak by these to AD FS; no proxy writes them.
    if CLIENT_OWN.iter().any(|own| name.starts_with(own)) {
        return false;
    }
    HOP_BY_HOP.contains(&name)
        || STRIPPED.contains(&name)
        || STRIPPED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        || name.contains("forwarded-for")
        || name.contains("client") && CLIENT_WORDS.iter().any(|word| name.contains(word))
}

/// A name in lower case and with `-` for `_`, as nearly all are already.
fn plain(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte != b'_' && !byte.is_ascii_uppercase();
    if name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.to_ascii_lowercase().replace('_', "-"))
}

/// Decides for every header of one request whether it travels on.
#[derive(Clone, Debug)]
pub struct Hygiene {
    relayed: bool,
    /// A set: a client may name thousands.
    named: HashSet<String>,
}

impl Hygiene {
    /// Reads the `Connection` headers, which name further hop-by-hop headers (RFC 9110 7.6.1).
    /// `relayed` is [`crate::Source::relayed`].
    pub fn of(head: &Head<'_>, relayed: bool) -> Self {
        let named = head
            .values("connection")
            .flat_map(|line| line.split(|byte| *byte == b','))
            .filter_map(|name| std::str::from_utf8(name.trim_ascii()).ok())
            .map(|name| plain(name).into_owned())
            .filter(|name| !name.is_empty() && !NEVER_NAMED.contains(&name.as_str()))
            .collect();
        Self { relayed, named }
    }

    /// Whether the header travels on. `X-MS-Forwarded-Client-IP` never does as it is:
    /// [`upstream_headers`] writes it anew.
    pub fn keeps(&self, name: &str) -> bool {
        let by_relay = self.relayed
            && RELAYS_WORD
                .iter()
                .any(|word| word.eq_ignore_ascii_case(name));
        let plain = plain(name);
        !self.named.contains(&*plain) && (by_relay || !strips(&plain))
    }
}

/// Headers that Weir adds to a forwarded request. `peer` is the TCP peer, `appliance` the name of this
/// appliance.
///
/// - `Adfs`: everything that AD FS expects of its proxy. Without `X-MS-Proxy` it would take the request
///   for an internal one.
/// - `Wap`: it writes `X-MS-Proxy` and the rest itself, and *appends* its own peer, which is Weir, to
///   `X-MS-Forwarded-Client-IP`. So Weir names the client there, and in `X-Forwarded-For`, which AD FS
///   reads for its banned addresses; otherwise lockout and location rules would see Weir alone.
/// - `Plain`: the usual `X-Forwarded-For` and `X-Forwarded-Proto`.
///
/// Behind a relay the relay's own list goes in front, as far from the right as it is made of addresses.
pub fn upstream_headers(
    upstream: Upstream,
    head: &Head<'_>,
    relayed: bool,
    peer: IpAddr,
    appliance: &str,
) -> Vec<(&'static str, String)> {
    let peer = peer.to_canonical().to_string();
    let mut chain = vec![peer.clone()];
    if relayed {
        chain.extend(
            forwarded_from_right(head)
                .map_while(|address| address)
                .take(MAX_CHAIN)
                .map(|address| address.to_string()),
        );
        chain.reverse();
    }
    let chain = chain.join(",");
    match upstream {
        Upstream::Adfs => vec![
            ("x-ms-proxy", appliance.to_owned()),
            (FORWARDED_CLIENT, chain),
            ("x-ms-endpoint-absolute-path", head.path.to_owned()),
            ("x-ms-adfs-proxy-client-ip", peer),
        ],
        Upstream::Wap => vec![
            (FORWARDED_CLIENT, chain.clone()),
            ("x-forwarded-for", chain),
        ],
        Upstream::Plain => {
            vec![
                ("x-forwarded-for", chain),
                ("x-forwarded-proto", "https".to_owned()),
            ]
        }
    }
}

/// Most addresses of a relay that are passed on.
const MAX_CHAIN: usize = 16;

/// RFC 9110 7.6.1, and what grew beside it.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Not dropped because a client names them in `Connection`: the message would change its meaning.
const NEVER_NAMED: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "authorization",
    "cookie",
];

const STRIPPED: &[&str] = &[
    "forwarded",
    "proxy",
    "x-real-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "remote-addr",
    "cf-connecting-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-original-host",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "front-end-https",
    // .NET's HttpListener takes it for the charset of a form when the User-Agent begins with `UP`.
    "x-up-devcap-post-charset",
    "x-envoy-external-address",
];

const STRIPPED_PREFIXES: &[&str] = &[
    "x-ms-",
    "x-forwarded-",
    "x-original-forwarded-",
    "x-azure-",
    "x-arr-",
    "x-ssl-",
    "x-amzn-mtls-",
    "ssl-client",
];

/// What names a client, wherever it stands in a name.
const CLIENT_WORDS: &[&str] = &["client-ip", "clientcert", "client-cert"];

/// Headers of the `x-ms-` family that belong to the client: device authentication, the primary refresh
/// token of the broker, and its correlation.
const CLIENT_OWN: &[&str] = &[
    "x-ms-pkeyauth",
    "x-ms-refreshtokencredential",
    "x-ms-devicecredential",
    "x-ms-ssoflags",
    "x-ms-client-request-id",
];

/// What a trusted relay says of the application behind it.
const RELAYS_WORD: &[&str] = &["x-ms-client-application", "x-ms-client-user-agent"];

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(headers: &'a [(&'a str, &'a [u8])]) -> Head<'a> {
        Head {
            method: "POST",
            host: "sts",
            path: "/adfs/ls/",
            query: Some("wa=x"),
            headers,
        }
    }

    #[test]
    fn what_only_a_proxy_may_say_is_dropped_in_every_spelling() {
        for name in [
            "X-MS-Proxy",
            "x_ms_proxy",
            "X-Ms_Proxy",
            "X-MS-Forwarded-Client-IP",
            "X-MS-ADFS-Proxy-Client-IP",
            "X-MS-Endpoint-Absolute-Path",
            "X-MS-ProxyAuth-Token",
            "X-MS-Client-Application",
            "X-MS-Client-User-Agent",
            "X-MS-Target-Role",
            "X-Forwarded-For",
            "X-FORWARDED-HOST",
            "X_Forwarded_Proto",
            "X-Forwarded-Client-Cert",
            "Forwarded",
            "True-Client-IP",
            "Client-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "Fastly-Client-IP",
            "CF-Connecting-IP",
            "X-Azure-SocketIP",
            "X-Azure-ClientIP",
            "X-Original-Forwarded-For",
            "X-My-X-Forwarded-For",
            "X-Real-IP",
            "X-ARR-ClientCert",
            "X-Client-Cert",
            "SSL_CLIENT_CERT",
            "Client-Cert",
            "Client-Cert-Chain",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-UP-Devcap-Post-Charset",
            "Proxy",
            "Connection",
            "Proxy-Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "HTTP2-Settings",
            "Proxy-Authorization",
        ] {
            assert!(strip_inbound(name), "{name}");
        }
    }

    #[test]
    fn what_belongs_to_the_client_travels_on() {
        for name in [
            "Host",
            "Cookie",
            "Authorization",
            "Content-Type",
            "Content-Length",
            "User-Agent",
            "SOAPAction",
            "client-request-id",
            "x-ms-PKeyAuth",
            "x-ms-RefreshTokenCredential",
            "x-ms-RefreshTokenCredential1",
            "x-ms-DeviceCredential",
            "Accept-Language",
            "Origin",
            "Referer",
        ] {
            assert!(!strip_inbound(name), "{name}");
            assert!(Hygiene::of(&head(&[]), false).keeps(name), "{name}");
        }
    }

    #[test]
    fn connection_names_what_else_stays_behind_but_not_the_message_itself() {
        let headers: &[(&str, &[u8])] = &[
            ("Connection", b"close, X-Custom , x_other"),
            ("connection", b"Host, Content-Length, X-MS-Proxy"),
        ];
        let hygiene = Hygiene::of(&head(headers), false);
        for name in ["x-custom", "X-Other", "X-MS-Proxy", "close"] {
            assert!(!hygiene.keeps(name), "{name}");
        }
        assert!(hygiene.keeps("host") && hygiene.keeps("content-length"));
    }

    #[test]
    fn a_relays_word_travels_on_a_clients_does_not() {
        let relay = Hygiene::of(&head(&[]), true);
        let client = Hygiene::of(&head(&[]), false);
        for name in ["X-MS-Client-Application", "x-ms-client-user-agent"] {
            assert!(relay.keeps(name) && !client.keeps(name), "{name}");
        }
        for name in [
            "X-MS-Proxy",
            "X-MS-Forwarded-Client-IP",
            "X-Forwarded-For",
            "x_ms_client_application",
        ] {
            assert!(!relay.keeps(name), "{name}");
        }
    }

    #[test]
    fn each_kind_of_upstream_hears_what_it_expects() {
        let said: &[(&str, &[u8])] =
            &[("X-MS-Forwarded-Client-IP", b"junk, 10.1.1.1, 198.51.100.9")];
        let peer: IpAddr = "::ffff:203.0.113.7".parse().expect("an address");
        let direct = |upstream| upstream_headers(upstream, &head(said), false, peer, "weir-1");
        assert_eq!(
            direct(Upstream::Adfs),
            [
                ("x-ms-proxy", "weir-1".to_owned()),
                ("x-ms-forwarded-client-ip", "203.0.113.7".to_owned()),
                ("x-ms-endpoint-absolute-path", "/adfs/ls/".to_owned()),
                ("x-ms-adfs-proxy-client-ip", "203.0.113.7".to_owned()),
            ]
        );
        assert_eq!(
            direct(Upstream::Wap),
            [
                ("x-ms-forwarded-client-ip", "203.0.113.7".to_owned()),
                ("x-forwarded-for", "203.0.113.7".to_owned()),
            ]
        );
        assert_eq!(direct(Upstream::Plain)[0].0, "x-forwarded-for");
        let relayed = upstream_headers(Upstream::Adfs, &head(said), true, peer, "weir-1");
        assert_eq!(relayed[1].1, "10.1.1.1,198.51.100.9,203.0.113.7");
    }
}

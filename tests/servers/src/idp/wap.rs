//! A Web Application Proxy in front of AD FS: it publishes some endpoints, speaks for itself in the `X-MS-*` headers,
//! and maps the public `mex` to the farm's `proxymex`.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri};

use crate::http::{Request, Response, answer, noted};
use crate::idp::normalise;
use crate::plan::ServicePlan;

/// Makes of a request from outside the one that AD FS gets, or refuses it.
pub fn publish(service: &ServicePlan, request: &mut Request) -> Result<(), Box<Response>> {
    let path = normalise(request.uri.path());
    if DISABLED.contains(&path.as_str()) {
        return Err(Box::new(noted(
            answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "text/html; charset=us-ascii",
                Bytes::from_static(UNAVAILABLE),
            ),
            "wap: the endpoint is not enabled on the proxy",
        )));
    }
    let published =
        PUBLISHED.contains(&path.trim_end_matches('/')) || path.starts_with("/adfs/portal/");
    if !published {
        return Err(Box::new(noted(
            answer(StatusCode::NOT_FOUND, "", Bytes::new()),
            "wap: not published",
        )));
    }
    if path == "/adfs/services/trust/mex" {
        let query = request
            .uri
            .query()
            .map_or_else(String::new, |query| format!("?{query}"));
        request.uri = format!("/adfs/services/trust/proxymex{query}")
            .parse::<Uri>()
            .expect("a raw query stays legal");
    }
    speak(service, request, &path);
    Ok(())
}

/// Replaces what only the proxy may say; adds the peer to the addresses that a relay such as Exchange Online sent.
fn speak(service: &ServicePlan, request: &mut Request, path: &str) {
    let peer = request.peer.ip().to_canonical().to_string();
    let relayed: Vec<String> = request
        .headers
        .get_all("x-ms-forwarded-client-ip")
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .chain([peer.clone()])
        .collect();
    let headers = &mut request.headers;
    for name in [
        "x-ms-proxyauth-token",
        "x-ms-target-role",
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
    ] {
        headers.remove(name);
    }
    let mut set = |name: &'static str, value: &str| {
        headers.insert(
            name,
            HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static("")),
        );
    };
    set("x-ms-proxy", &service.proxy_name);
    set("x-ms-forwarded-client-ip", &relayed.join(","));
    set("x-ms-endpoint-absolute-path", path);
    set("x-ms-adfs-proxy-client-ip", &peer);
}

const PUBLISHED: [&str; 23] = [
    "/adfs/ls",
    "/adfs/ls/idpinitiatedsignon",
    "/adfs/ls/idpinitiatedsignon.aspx",
    "/adfs/oauth2/authorize",
    "/adfs/oauth2/token",
    "/adfs/oauth2/devicecode",
    "/adfs/oauth2/deviceauth",
    "/adfs/oauth2/logout",
    "/adfs/userinfo",
    "/adfs/.well-known/openid-configuration",
    "/adfs/discovery/keys",
    "/.well-known/webfinger",
    "/federationmetadata/2007-06/federationmetadata.xml",
    "/adfs/services/trust/mex",
    "/adfs/services/trust/2005/usernamemixed",
    "/adfs/services/trust/13/usernamemixed",
    "/adfs/services/trust/2005/certificatemixed",
    "/adfs/services/trust/13/certificatemixed",
    "/adfs/services/trust/2005/issuedtokenmixedasymmetricbasic256",
    "/adfs/services/trust/2005/issuedtokenmixedsymmetricbasic256",
    "/adfs/services/trust/13/issuedtokenmixedasymmetricbasic256",
    "/adfs/services/trust/13/issuedtokenmixedsymmetricbasic256",
    "/enrollmentserver/deviceenrollmentwebservice.svc",
];

const DISABLED: [&str; 5] = [
    "/adfs/services/trust/2005/windowstransport",
    "/adfs/services/trust/13/windowstransport",
    "/adfs/services/trust/2005/kerberosmixed",
    "/adfs/services/trust/13/kerberosmixed",
    "/adfs/ls/federationserverservice.asmx",
];

const UNAVAILABLE: &[u8] =
    b"<!DOCTYPE HTML><html><head><title>Service Unavailable</title></head><body><h2>Service \
Unavailable</h2><hr><p>HTTP Error 503. The service is unavailable.</p></body></html>";

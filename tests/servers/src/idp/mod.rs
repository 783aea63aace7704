//! A federation service: AD FS's endpoints, alone or behind a Web Application Proxy.
//!
//! In: requests for one service of the plan. Out: what AD FS would answer. [`Idp`] finds the endpoint; the modules
//! below answer: [`passive`] and [`samlp`] browsers, [`active`] and [`mex`] rich clients, [`oauth`] and [`device`] the
//! newer ones, [`metadata`] whoever sets up trust. With [`ServiceKind::Wap`], [`wap`] stands in front and lets through
//! what is published.

pub mod active;
pub mod device;
pub mod metadata;
pub mod mex;
pub mod oauth;
pub mod pages;
pub mod passive;
pub mod samlp;
pub mod session;
pub mod users;
pub mod wap;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::http::{self as web, Handler, Note, Request, Response, add, answer};
use crate::jwt::Jwt;
use crate::log::Log;
use crate::plan::{Plan, ServiceKind, ServicePlan};
use crate::saml::sign::Signer;
use crate::server::{self, Error, Names};
use users::Asker;

/// One federation service.
pub struct Idp {
    plan: Plan,
    service: ServicePlan,
    signer: Signer,
    jwt: Jwt,
    sessions: session::Sessions,
    requests: samlp::Pending,
    oauth: oauth::Issued,
}

impl Idp {
    /// The service of that name, with its token-signing key.
    pub fn new(plan: &Plan, service: &str) -> Result<Self, Error> {
        let service = plan
            .service(service)
            .ok_or_else(|| Error::Plan(format!("the plan has no service {service}")))?
            .clone();
        let files = plan.files();
        let signer = Signer::load(
            &files.signing_key(&service.name),
            &files.signing_certificate(&service.name),
        )?;
        let jwt = Jwt::new(&signer)?;
        Ok(Self {
            plan: plan.clone(),
            service,
            signer,
            jwt,
            sessions: session::Sessions::default(),
            requests: samlp::Pending::default(),
            oauth: oauth::Issued::default(),
        })
    }

    /// The service's address as clients spell it.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.service.host)
    }

    /// The answer of AD FS itself, after whatever stands in front.
    fn farm(&self, request: &Request) -> Response {
        if request.method == Method::HEAD {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "", Bytes::new());
        }
        let asker = Asker::of(request);
        let path = normalise(request.uri.path());
        let mut response = self.endpoint(&path, request, &asker);
        let thought = response
            .extensions()
            .get::<Note>()
            .map_or_else(String::new, |note| format!("; {}", note.0));
        response
            .extensions_mut()
            .insert(Note(format!("{}{thought}", asker.describe())));
        response
    }

    fn endpoint(&self, path: &str, request: &Request, asker: &Asker) -> Response {
        match path {
            "/adfs/ls" | "/adfs/ls/" => self.ls(request, asker),
            "/adfs/ls/idpinitiatedsignon" | "/adfs/ls/idpinitiatedsignon.aspx" => {
                self.idp_initiated(request, asker)
            }
            "/adfs/services/trust/2005/usernamemixed" => {
                self.username_mixed(active::V2005, request, asker)
            }
            "/adfs/services/trust/13/usernamemixed" => {
                self.username_mixed(active::V13, request, asker)
            }
            "/adfs/services/trust/mex" => self.mex(mex::Audience::Intranet, request),
            "/adfs/services/trust/proxymex" => self.mex(mex::Audience::Extranet, request),
            "/adfs/services/trust/2005/windowstransport"
            | "/adfs/services/trust/13/windowstransport" => windows(),
            "/adfs/oauth2/authorize" | "/adfs/oauth2/authorize/" => self.authorize(request, asker),
            "/adfs/oauth2/token" | "/adfs/oauth2/token/" => self.token(request, asker),
            "/adfs/oauth2/devicecode" | "/adfs/oauth2/devicecode/" => self.device_code(request),
            "/adfs/oauth2/deviceauth" | "/adfs/oauth2/deviceauth/" => self.device_auth(request),
            "/adfs/oauth2/logout" | "/adfs/oauth2/logout/" => self.oauth_logout(request),
            "/adfs/userinfo" | "/adfs/userinfo/" => self.userinfo(request),
            "/adfs/.well-known/openid-configuration" => self.discovery(),
            "/adfs/discovery/keys" => self.keys(),
            "/.well-known/webfinger" => self.webfinger(request),
            "/federationmetadata/2007-06/federationmetadata.xml" => self.federation_metadata(),
            "/adfs/services/trust" => answer(StatusCode::BAD_REQUEST, "", Bytes::new()),
            _ if path.starts_with("/adfs/portal/") => pages::asset(path)
                .unwrap_or_else(|| answer(StatusCode::NOT_FOUND, "", Bytes::new())),
            _ if is_internal(path) => trust_api(path),
            _ => answer(
                StatusCode::NOT_FOUND,
                "text/html; charset=us-ascii",
                NOT_FOUND,
            ),
        }
    }
}

impl Handler for Idp {
    async fn handle(&self, mut request: Request) -> Response {
        let host = request.host().to_ascii_lowercase();
        let mut response = if self.service.certificate_host.as_deref() == Some(host.as_str()) {
            certificate(&request)
        } else if host != self.service.host {
            web::noted(
                answer(
                    StatusCode::BAD_REQUEST,
                    "text/html; charset=us-ascii",
                    BAD_HOST,
                ),
                "no such host",
            )
        } else {
            match self.service.kind {
                ServiceKind::Adfs => self.farm(&request),
                ServiceKind::Wap => match wap::publish(&self.service, &mut request) {
                    Ok(()) => self.farm(&request),
                    Err(refused) => *refused,
                },
            }
        };
        add(&mut response, "server", "Microsoft-HTTPAPI/2.0");
        add(
            &mut response,
            "strict-transport-security",
            "max-age = 31536000",
        );
        if !response.headers().contains_key("cache-control") {
            add(&mut response, "cache-control", "no-cache, no-store");
            add(&mut response, "pragma", "no-cache");
        }
        if response
            .headers()
            .get("content-type")
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
        {
            add(&mut response, "x-frame-options", "DENY");
            add(&mut response, "x-content-type-options", "nosniff");
            add(&mut response, "content-security-policy", POLICY);
        }
        response
    }
}

/// The listening sockets of a service.
#[derive(Debug)]
pub struct Sockets {
    /// For TLS.
    pub tls: Vec<TcpListener>,
    /// For the health probe, in clear text.
    pub probe: Vec<TcpListener>,
}

impl Sockets {
    /// Binds what the plan says.
    pub async fn bind(service: &ServicePlan) -> Result<Self, Error> {
        Ok(Self {
            tls: server::bind(&service.listen).await?,
            probe: server::bind(&service.probe).await?,
        })
    }
}

/// Loads the service's keys and opens its log; the future serves until `stop`.
pub fn serve(
    plan: &Plan,
    service: &str,
    sockets: Sockets,
    stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
    let idp = Arc::new(Idp::new(plan, service)?);
    let files = plan.files();
    let path = files.log(service);
    let log = Arc::new(Log::open(service, &path).map_err(|error| Error::Log { path, error })?);
    let (chain, key) = (files.chain(service), files.key(service));
    let mut names = Names::default();
    names.add(&idp.service.host, &chain, &key, &["http/1.1"], None)?;
    if let Some(host) = &idp.service.certificate_host {
        names.add(host, &chain, &key, &["http/1.1"], Some(&files.ca()))?;
    }
    let tls = server::serve(sockets.tls, Some(names), idp, log.clone(), stop.clone());
    let probe = server::serve(sockets.probe, None, Arc::new(Probe), log, stop);
    Ok(async {
        tokio::join!(tls, probe);
    })
}

/// The health probe: `http`, one path, whatever the host.
struct Probe;

impl Handler for Probe {
    async fn handle(&self, request: Request) -> Response {
        let status = match request.uri.path() {
            "/adfs/probe" => StatusCode::OK,
            _ => StatusCode::NOT_FOUND,
        };
        answer(status, "", Bytes::new())
    }
}

/// A path as HTTP.sys matches it: decoded once, separators unified, dot segments resolved, lower case.
pub fn normalise(path: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/")).to_ascii_lowercase()
}

/// Whether a path is for proxies and administrators only.
pub fn is_internal(path: &str) -> bool {
    path.starts_with("/adfs/proxy/")
        || path.starts_with("/adfs/services/proxytrust")
        || [
            "/adfs/backendproxytls",
            "/adfs/backendproxytls/",
            "/adfs/ls/federationserverservice.asmx",
        ]
        .contains(&path)
}

/// The endpoints of proxies exist, so that a request that leaked to them is seen for what it is.
fn trust_api(path: &str) -> Response {
    let mut response = web::noted(
        answer(StatusCode::UNAUTHORIZED, "", Bytes::new()),
        format!("internal path {path}"),
    );
    add(&mut response, "www-authenticate", "Basic realm=\"ADFS\"");
    response
}

/// Windows authentication: offered, never completed, as for a client outside the domain.
fn windows() -> Response {
    let mut response = web::noted(
        answer(StatusCode::UNAUTHORIZED, "", Bytes::new()),
        "Windows authentication offered",
    );
    add(&mut response, "www-authenticate", "Negotiate");
    add(&mut response, "www-authenticate", "NTLM");
    response
}

/// The host for certificates says which one it was shown.
fn certificate(request: &Request) -> Response {
    match request
        .tls
        .as_ref()
        .and_then(|tls| tls.client_certificate.as_ref())
    {
        Some(subject) => answer(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            format!("certificate: {subject}\n"),
        ),
        None => answer(
            StatusCode::FORBIDDEN,
            "text/plain; charset=utf-8",
            "no client certificate\n",
        ),
    }
}

const POLICY: &str =
    "default-src 'self' 'unsafe-inline' 'unsafe-eval'; img-src 'self' data:; frame-src https:;";

const NOT_FOUND: &str = "<!DOCTYPE HTML><html><head><title>Not Found</title></head><body><h2>Not Found</h2><hr>\
<p>HTTP Error 404. The requested resource is not found.</p></body></html>";

const BAD_HOST: &str = "<!DOCTYPE HTML><html><head><title>Bad Request</title></head><body><h2>Bad Request - Invalid \
Hostname</h2><hr><p>HTTP Error 400. The request hostname is invalid.</p></body></html>";

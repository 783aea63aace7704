//! A federation service: AD FS's endpoints, alone or behind a Web Application Proxy, or those of another product.
//!
//! In: requests for one service of the plan. Out: what the real one would answer. [`Idp`] finds the endpoint in the
//! table of its [`product`]; the modules below answer: [`passive`] and [`samlp`] browsers, [`active`], [`mex`] and
//! [`ecp`] rich clients, [`oauth`] and [`device`] the newer ones, [`metadata`] whoever sets up trust. [`claims`] says
//! what is known of users, [`mint`] makes the tokens. With [`ServiceKind::Wap`], [`wap`] stands in front and lets
//! through what is published. Between requests a service can be told to do otherwise: [`crate::control`].

pub mod active;
pub mod authn;
pub mod authorize;
pub mod claims;
pub mod conversation;
pub mod device;
pub mod ecp;
pub mod metadata;
pub mod mex;
pub mod mint;
pub mod oauth;
pub mod pages;
pub mod passive;
pub mod product;
pub mod samlp;
pub mod session;
pub mod steps;
pub mod users;
pub mod wap;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::control::{self, Control};
use crate::http::{self as web, Handler, Note, Request, Response, add, answer};
use crate::log::Log;
use crate::plan::{Plan, Product, ServiceKind, ServicePlan};
use crate::saml::assertion::Method as Proof;
use crate::server::{self, Error, Names};
use product::{Endpoint, Shape};
use users::Asker;

/// One federation service, as one product.
pub struct Idp {
    plan: Plan,
    service: ServicePlan,
    shape: &'static Shape,
    ring: Arc<mint::Ring>,
    conversations: conversation::Conversations,
    sessions: session::Sessions,
    requests: samlp::Pending,
    oauth: oauth::Issued,
    session_tokens: authn::SessionTokens,
}

impl Idp {
    fn new(plan: &Plan, service: ServicePlan, ring: Arc<mint::Ring>) -> Self {
        let shape = service.product.shape();
        Self {
            plan: plan.clone(),
            service,
            shape,
            ring,
            conversations: conversation::Conversations::default(),
            sessions: session::Sessions::new(shape),
            requests: samlp::Pending::default(),
            oauth: oauth::Issued::default(),
            session_tokens: authn::SessionTokens::default(),
        }
    }

    /// The service's address as clients spell it.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.service.host)
    }

    /// The answer of the service itself, after whatever stands in front.
    fn farm(&self, request: &Request) -> Response {
        if request.method == Method::HEAD {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "", Bytes::new());
        }
        let asker = match self.told(request) {
            Ok(asker) => asker,
            Err(refused) => return *refused,
        };
        let mut response = match self.conversations.find(request) {
            Some((id, begun)) => self.converse(&id, &begun, request, &asker),
            None => self.dispatch(request, &asker),
        };
        let thought = response
            .extensions()
            .get::<Note>()
            .map_or_else(String::new, |note| format!("; {}", note.0));
        response
            .extensions_mut()
            .insert(Note(format!("{}{thought}", asker.describe())));
        response
    }

    /// What is known of whoever asks, and what the service is told to do. What is not understood is refused.
    fn told(&self, request: &Request) -> Result<Asker, Box<Response>> {
        Control::load(self.plan.files(), &self.service.name)
            .map_err(|error| format!("the control file: {error}"))
            .and_then(|control| Ok(Asker::of(request, control, control::asked(request)?)))
            .map_err(|reason| {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                let response = answer(status, "text/plain", reason.clone());
                Box::new(web::noted(response, reason))
            })
    }

    fn dispatch(&self, request: &Request, asker: &Asker) -> Response {
        let path = match self.service.product {
            Product::Adfs => normalise(request.uri.path()),
            _ => request.uri.path().to_owned(),
        };
        match self.shape.endpoint(&path) {
            Some(endpoint) => self.endpoint(endpoint, request, asker),
            None => self.elsewhere(&path),
        }
    }

    fn endpoint(&self, endpoint: Endpoint, request: &Request, asker: &Asker) -> Response {
        match endpoint {
            Endpoint::Passive => self.ls(request, asker),
            Endpoint::Authn => self.authn(request),
            Endpoint::SessionCookie => self.session_cookie(request),
            Endpoint::IdpInitiated => self.idp_initiated(request, asker),
            Endpoint::Active2005 => self.username_mixed(Some(active::V2005), request, asker),
            Endpoint::Active13 => self.username_mixed(Some(active::V13), request, asker),
            Endpoint::Active => self.username_mixed(None, request, asker),
            Endpoint::Ecp => self.ecp(request, asker),
            Endpoint::Mex => self.mex(mex::Audience::Intranet, request),
            Endpoint::ProxyMex => self.mex(mex::Audience::Extranet, request),
            Endpoint::Windows => windows(),
            Endpoint::Authorize => self.authorize(request, asker),
            Endpoint::Token => self.token(request, asker),
            Endpoint::DeviceCode => self.device_code(request),
            Endpoint::DeviceAuth => self.device_auth(request, asker),
            Endpoint::SignOut => self.oauth_logout(request),
            Endpoint::UserInfo => self.userinfo(request),
            Endpoint::Discovery => self.discovery(),
            Endpoint::Keys => self.keys(asker),
            Endpoint::WebFinger => self.webfinger(request),
            Endpoint::Metadata => self.federation_metadata(asker),
            Endpoint::Identifier => answer(StatusCode::BAD_REQUEST, "", Bytes::new()),
        }
    }

    /// What is at paths of AD FS that are no endpoints, and what is nowhere.
    fn elsewhere(&self, path: &str) -> Response {
        let ours = self.service.product == Product::Adfs;
        let asset = || pages::asset(path).filter(|_| path.starts_with("/adfs/portal/"));
        match ours.then(asset).flatten() {
            Some(asset) => asset,
            None if ours && is_internal(path) => trust_api(path),
            None => answer(
                StatusCode::NOT_FOUND,
                "text/html; charset=us-ascii",
                NOT_FOUND,
            ),
        }
    }

    /// The host for certificates: a sign-in with the one that it was shown, or a word about it.
    fn by_certificate(&self, request: &mut Request) -> Response {
        let signs_in = request.query().get("wa") == Some("wsignin1.0");
        let subject = request
            .tls
            .as_ref()
            .and_then(|tls| tls.client_certificate.clone());
        let user = subject
            .as_deref()
            .and_then(|subject| subject.split("CN=").nth(1))
            .and_then(|name| self.plan.user(name));
        let Some(user) = user.filter(|_| signs_in) else {
            return certificate(subject.as_deref());
        };
        if self.service.kind == ServiceKind::Wap
            && let Err(refused) = wap::publish(&self.service, request)
        {
            return *refused;
        }
        let asker = match self.told(request) {
            Ok(asker) => asker,
            Err(refused) => return *refused,
        };
        let session = session::Session::now(user, Proof::Certificate);
        match self.ws_federation(&request.query()) {
            Ok(ask) => self.issue(&ask, request, &asker, &session, user),
            Err(reason) => self.error_page(&reason),
        }
    }
}

impl Handler for Idp {
    async fn handle(&self, mut request: Request) -> Response {
        let host = request.host().to_ascii_lowercase();
        let mut response = if self.service.certificate_host.as_deref() == Some(host.as_str()) {
            self.by_certificate(&mut request)
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
        add(&mut response, "server", self.shape.server);
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

/// A federation service: as every product, one at a time.
struct Service {
    plan: Plan,
    name: String,
    kind: ServiceKind,
    products: Vec<Idp>,
}

impl Service {
    fn new(plan: &Plan, service: &ServicePlan) -> Result<Self, Error> {
        let ring = Arc::new(mint::Ring::load(plan.files(), &service.name)?);
        let products = Product::ALL.map(|product| {
            let service = ServicePlan {
                product,
                ..service.clone()
            };
            Idp::new(plan, service, ring.clone())
        });
        Ok(Self {
            plan: plan.clone(),
            name: service.name.clone(),
            kind: service.kind,
            products: products.into(),
        })
    }
}

impl Handler for Service {
    async fn handle(&self, request: Request) -> Response {
        let now = control::service_now(&self.plan, &self.name).map(|service| service.product);
        let idp = self
            .products
            .iter()
            .find(|idp| Some(idp.service.product) == now);
        match idp {
            Some(idp) if self.kind == ServiceKind::Adfs || now == Some(Product::Adfs) => {
                idp.handle(request).await
            }
            _ => {
                let reason = "only AD FS stands behind a Web Application Proxy (kind: adfs for other products)";
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                web::noted(answer(status, "text/plain", reason), reason)
            }
        }
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
    let planned = plan
        .service(service)
        .ok_or_else(|| Error::Plan(format!("the plan has no service {service}")))?;
    let idp = Arc::new(Service::new(plan, planned)?);
    let files = plan.files();
    let path = files.log(service);
    let log = Arc::new(Log::open(service, &path).map_err(|error| Error::Log { path, error })?);
    let (chain, key) = (files.chain(service), files.key(service));
    let mut names = Names::default();
    names.add(&planned.host, &chain, &key, &["http/1.1"], None)?;
    if let Some(host) = &planned.certificate_host {
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

/// Which certificate was shown.
fn certificate(subject: Option<&str>) -> Response {
    match subject {
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

//! The cloud: who trusts the federation services, and what stands between.
//!
//! Four sites in one process, each on addresses of its own: [`login`] (Entra's realm discovery and token endpoint),
//! [`app`] (a relying party with reply URLs and a page to end on; once for everybody, and once for whom the appliance
//! lets through to it), [`reverse_proxy`] (every site and service of the
//! lab again, under names of its own, with pages rewritten).

pub mod app;
pub mod login;
pub mod reverse_proxy;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::log::Log;
use crate::plan::{CloudPlan, MICROSOFT_ONLINE, PORTAL, Plan, Product, SIGNING_KEYS, ServicePlan};
use crate::saml::verify::Verifier;
use crate::server::{self, Error, Names};

/// The listening sockets of the cloud.
#[derive(Debug)]
pub struct Sockets {
    /// Of the token endpoint.
    pub login: Vec<TcpListener>,
    /// Of the relying party.
    pub application: Vec<TcpListener>,
    /// Of the relying party behind the appliance.
    pub portal: Vec<TcpListener>,
    /// Of the reverse proxy.
    pub reverse_proxy: Vec<TcpListener>,
}

impl Sockets {
    /// Binds what the plan says.
    pub async fn bind(cloud: &CloudPlan) -> Result<Self, Error> {
        Ok(Self {
            login: server::bind(&cloud.login.listen).await?,
            application: server::bind(&cloud.application.listen).await?,
            portal: server::bind(&cloud.portal.listen).await?,
            reverse_proxy: server::bind(&cloud.reverse_proxy.listen).await?,
        })
    }
}

/// Loads the keys and opens the log; the future serves the three sites until `stop`. Needs the `xmlsec1` program:
/// tokens are never accepted unchecked.
pub fn serve(
    plan: &Plan,
    sockets: Sockets,
    stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
    if !Verifier::available() {
        return Err(Error::Plan(
            "xmlsec1 cannot be run, and tokens are checked with it (apt install xmlsec1)"
                .to_owned(),
        ));
    }
    let files = plan.files();
    let path = files.log("cloud");
    let log = Arc::new(Log::open("cloud", &path).map_err(|error| Error::Log { path, error })?);
    let names = |leaf: &str, name: &str| {
        let mut names = Names::default();
        names
            .add(
                name,
                &files.chain(leaf),
                &files.key(leaf),
                &["h2", "http/1.1"],
                None,
            )
            .map(|()| names)
    };
    let login = names("login", &plan.cloud.login.host)?;
    let application = names("application", &plan.cloud.application.host)?;
    let portal = names("portal", &plan.cloud.portal.host)?;
    let reverse = names(
        "reverse-proxy",
        &format!("*.{}", plan.cloud.reverse_proxy.host),
    )?;
    let login_site = Arc::new(login::Login::new(plan)?);
    let app_site = Arc::new(app::App::new(
        plan,
        &plan.cloud.application.host,
        MICROSOFT_ONLINE,
    ));
    let portal_site = Arc::new(app::App::new(plan, &plan.cloud.portal.host, PORTAL));
    let proxy_site = Arc::new(reverse_proxy::ReverseProxy::new(plan)?);
    let login = server::serve(
        sockets.login,
        Some(login),
        login_site,
        log.clone(),
        stop.clone(),
    );
    let application = server::serve(
        sockets.application,
        Some(application),
        app_site,
        log.clone(),
        stop.clone(),
    );
    let portal = server::serve(
        sockets.portal,
        Some(portal),
        portal_site,
        log.clone(),
        stop.clone(),
    );
    let reverse = server::serve(sockets.reverse_proxy, Some(reverse), proxy_site, log, stop);
    Ok(async {
        tokio::join!(login, application, portal, reverse);
    })
}

/// The federation services' certificates, each for the tokens of its own issuer: also those that are not in use yet,
/// and whatever product it is.
fn trusted(plan: &Plan) -> Verifier {
    let files = plan.files();
    let issuers = plan
        .services
        .iter()
        .flat_map(|service| {
            let issuers = Product::ALL.map(|product| {
                let service = ServicePlan {
                    product,
                    ..service.clone()
                };
                service.issuer()
            });
            (0..SIGNING_KEYS).flat_map(move |position| {
                let certificate = files.signing_certificate_at(&service.name, position);
                issuers.clone().map(|issuer| (issuer, certificate.clone()))
            })
        })
        .collect();
    Verifier::new(issuers)
}

//! What the lab consists of: names, addresses, users and the layout of the lab's directory.
//!
//! Whoever raises the lab makes a [`Plan`], adjusts it, and saves it as JSON; every server process reads that file and
//! nothing else. The plan holds passwords of made-up users, and no other secret.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

pub use crate::people::User;
use crate::people::users;

/// The realm of Microsoft 365 at a federation service, and the audience of its tokens.
pub const MICROSOFT_ONLINE: &str = "urn:federation:MicrosoftOnline";

/// The realm of the relying party whose reply URLs the appliance serves, and the audience of its tokens.
pub const PORTAL: &str = "urn:portal.corp.example";

/// How many token-signing keys a service has, in use or not.
pub const SIGNING_KEYS: usize = 4;

/// The name under which the key of somebody else stands, for tokens that nobody should believe.
pub const FOREIGN: &str = "foreign";

/// Everything that a server of the lab needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Absolute directory of key material and logs; see [`Plan::files`].
    pub directory: PathBuf,
    /// The federation services, each served by one `idp` process.
    pub services: Vec<ServicePlan>,
    /// What the `cloud` process serves.
    pub cloud: CloudPlan,
    /// Who can sign in, at every service alike.
    pub users: Vec<User>,
    /// The domains that are federated, as realm discovery answers for them.
    pub domains: Vec<Domain>,
    /// The applications that federation services issue tokens for.
    pub relying_parties: Vec<RelyingParty>,
    /// The OAuth clients that federation services know.
    pub oauth_clients: Vec<OAuthClient>,
}

/// A federation service: a farm of AD FS, alone or behind a Web Application Proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Short name, as in the appliance's configuration: `sts`.
    pub name: String,
    /// Whether a Web Application Proxy stands in front.
    pub kind: ServiceKind,
    /// Whose paths and pages it has. Only AD FS can stand behind a Web Application Proxy.
    #[serde(default)]
    pub product: Product,
    /// The federation service's host name: `sts.corp.example`.
    pub host: String,
    /// The host name for sign-in with a client certificate, served on the same sockets.
    pub certificate_host: Option<String>,
    /// Where it listens for TLS.
    pub listen: Vec<SocketAddr>,
    /// Where it answers the health probe in clear text (`http://.../adfs/probe`).
    pub probe: Vec<SocketAddr>,
    /// What the Web Application Proxy calls itself in `X-MS-Proxy` (only used by [`ServiceKind::Wap`]).
    pub proxy_name: String,
}

/// What answers on a service's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// A Web Application Proxy: sets `X-MS-*` itself, maps `mex` to `proxymex`, publishes the extranet's endpoints only.
    Wap,
    /// AD FS itself: a request without `X-MS-Proxy` is an intranet request.
    Adfs,
}

/// The product that a federation service is, by the names of its paths and the looks of its pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// Active Directory Federation Services.
    #[default]
    Adfs,
    /// Okta, under an organisation's own name.
    Okta,
    /// `PingFederate`.
    #[value(name = "pingfederate")]
    PingFederate,
    /// Shibboleth Identity Provider.
    Shibboleth,
    /// `SimpleSAMLphp`.
    #[value(name = "simplesamlphp")]
    SimpleSamlPhp,
}

/// The sites of the `cloud` process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudPlan {
    /// `login.microsoftonline.com`: realm discovery, OpenID metadata, token endpoint.
    pub login: Site,
    /// `app.cloud.example`: the relying party.
    pub application: Site,
    /// `portal.corp.example`: a relying party that clients reach through the appliance alone.
    pub portal: Site,
    /// Where its clients find it: addresses of the appliance.
    pub portal_front: Vec<SocketAddr>,
    /// `*.proxy.example`: the reverse proxy. `host` is the suffix, without the `*.`.
    pub reverse_proxy: Site,
    /// The source addresses of the reverse proxy's own connections, at most one per family; without one the kernel
    /// chooses.
    pub egress: Vec<IpAddr>,
    /// The tenant's id.
    pub tenant: String,
    /// Where a tenant's application signs in, when somebody serves it.
    pub sign_in: Site,
    /// Where the tenant tells an application of its people.
    pub graph: Site,
}

/// A host name and where it is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The host name.
    pub host: String,
    /// Where it listens for TLS.
    pub listen: Vec<SocketAddr>,
}

/// A federated domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The part of a user principal name after the `@`.
    pub name: String,
    /// Name of the service that it is federated to.
    pub service: String,
    /// Whether realm discovery tells where the service's metadata exchange is. A client that is told takes WS-Trust 1.3
    /// from there; one that is not goes straight to the 2005 endpoint.
    pub mex: bool,
}

/// An application that trusts the federation services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelyingParty {
    /// WS-Federation realm, or SAML entity id.
    pub identifier: String,
    /// Where tokens are posted to; the default first. A `wreply` or `AssertionConsumerServiceURL` must be one of these.
    pub reply: Vec<String>,
    /// Name on the IdP-initiated sign-on page.
    pub display_name: String,
    /// The protocol of an IdP-initiated sign-on.
    pub protocol: Protocol,
}

/// How a relying party takes its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// WS-Federation passive, SAML 1.1 tokens.
    WsFederation,
    /// SAML 2.0 protocol.
    Saml,
}

/// An OAuth client of the federation services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthClient {
    /// `client_id`.
    pub id: String,
    /// `client_secret` of a confidential client; a public client has none.
    pub secret: Option<String>,
    /// Permitted `redirect_uri` values.
    pub redirects: Vec<String>,
}

impl Plan {
    /// The lab as documented: two services, three cloud sites, IPv4 and IPv6, port 443, files below `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let reply = "https://app.cloud.example/login.srf".to_owned();
        Self {
            directory: directory.into(),
            services: vec![
                service(
                    "sts",
                    ServiceKind::Wap,
                    Some("certauth"),
                    ["192.0.2.10", "2001:db8:10::10"],
                ),
                service(
                    "adfs",
                    ServiceKind::Adfs,
                    None,
                    ["192.0.2.20", "2001:db8:10::20"],
                ),
            ],
            cloud: CloudPlan {
                login: site(
                    "login.microsoftonline.com",
                    ["198.51.100.10", "2001:db8:c0::10"],
                ),
                application: site("app.cloud.example", ["198.51.100.20", "2001:db8:c0::20"]),
                portal: site("portal.corp.example", ["198.51.100.50", "2001:db8:c0::50"]),
                portal_front: sockets(["192.0.2.30", "2001:db8:10::30"], 443),
                reverse_proxy: site("proxy.example", ["198.51.100.30", "2001:db8:c0::30"]),
                egress: ["198.51.100.40", "2001:db8:c0::40"].map(address).to_vec(),
                tenant: "7d3c1a52-9f0e-4f5b-8c3d-2b6a1e0f4d10".to_owned(),
                sign_in: site("login.entra.example", ["198.51.100.60", "2001:db8:c0::60"]),
                graph: site("graph.entra.example", ["198.51.100.61", "2001:db8:c0::61"]),
            },
            users: users(),
            domains: vec![
                domain("mex.corp.example", "sts", true),
                domain("nomex.corp.example", "sts", false),
                domain("mex-adfs.corp.example", "adfs", true),
                domain("nomex-adfs.corp.example", "adfs", false),
            ],
            relying_parties: vec![
                RelyingParty {
                    identifier: MICROSOFT_ONLINE.to_owned(),
                    reply: vec![reply],
                    display_name: "Microsoft 365".to_owned(),
                    protocol: Protocol::WsFederation,
                },
                RelyingParty {
                    identifier: "https://app.cloud.example/saml".to_owned(),
                    reply: vec!["https://app.cloud.example/saml/acs".to_owned()],
                    display_name: "Cloud Application".to_owned(),
                    protocol: Protocol::Saml,
                },
                RelyingParty {
                    identifier: PORTAL.to_owned(),
                    reply: vec!["https://portal.corp.example/login.srf".to_owned()],
                    display_name: "Portal".to_owned(),
                    protocol: Protocol::WsFederation,
                },
                RelyingParty {
                    identifier: "https://portal.corp.example/saml".to_owned(),
                    reply: vec!["https://portal.corp.example/saml/acs".to_owned()],
                    display_name: "Portal by SAML".to_owned(),
                    protocol: Protocol::Saml,
                },
            ],
            oauth_clients: vec![
                OAuthClient {
                    id: "7d1f6f0a-public-client".to_owned(),
                    secret: None,
                    redirects: vec![
                        "http://localhost".to_owned(),
                        "https://app.cloud.example/oauth/native".to_owned(),
                    ],
                },
                OAuthClient {
                    id: "2c9a4b11-web-application".to_owned(),
                    secret: Some("web-application-secret".to_owned()),
                    redirects: vec!["https://app.cloud.example/oauth/callback".to_owned()],
                },
            ],
        }
    }

    /// Reads a plan that [`Plan::save`] wrote.
    pub fn load(path: &Path) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(path)?).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {error}", path.display()),
            )
        })
    }

    /// Writes the plan as JSON, readable by its owner only (it holds the users' passwords).
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("a plan has string keys only");
        write_private(path, &text)
    }

    /// Where key material and logs are.
    pub fn files(&self) -> Files<'_> {
        Files {
            directory: &self.directory,
        }
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&ServicePlan> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The user with that principal name or account, whatever the case.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| {
            user.upn.eq_ignore_ascii_case(name) || user.account.eq_ignore_ascii_case(name)
        })
    }

    /// The host name under which the reverse proxy serves `host`: `sts.corp.example` is at
    /// `sts-corp-example.proxy.example`.
    pub fn proxied(&self, host: &str) -> String {
        format!(
            "{}.{}",
            host.replace('.', "-"),
            self.cloud.reverse_proxy.host
        )
    }

    /// Every host name of the lab that a client may resolve, with its addresses. The reverse proxy's names are spelt
    /// out, so that the list fits a hosts file.
    pub fn hosts(&self) -> Vec<(String, Vec<SocketAddr>)> {
        let mut hosts = Vec::new();
        for service in &self.services {
            hosts.push((service.host.clone(), service.listen.clone()));
            if let Some(host) = &service.certificate_host {
                hosts.push((host.clone(), service.listen.clone()));
            }
        }
        let Self { cloud, .. } = self;
        for site in [&cloud.login, &cloud.application] {
            hosts.push((site.host.clone(), site.listen.clone()));
        }
        let portal = &self.cloud.portal.host;
        hosts.push((portal.clone(), self.cloud.portal_front.clone()));
        let real: Vec<String> = hosts.iter().map(|(host, _)| self.proxied(host)).collect();
        hosts.extend(
            real.into_iter()
                .map(|host| (host, self.cloud.reverse_proxy.listen.clone())),
        );
        // Nobody reaches these through the reverse proxy.
        for site in [&cloud.sign_in, &cloud.graph] {
            hosts.push((site.host.clone(), site.listen.clone()));
        }
        hosts
    }

    /// [`Plan::hosts`] as the text of a hosts file, `localhost` included.
    pub fn hosts_file(&self) -> String {
        let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
        for (host, addresses) in self.hosts() {
            for address in addresses {
                writeln!(text, "{} {host}", address.ip())
                    .expect("writing to a string does not fail");
            }
        }
        text
    }
}

impl ServiceKind {
    /// `wap` or `adfs`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wap => "wap",
            Self::Adfs => "adfs",
        }
    }
}

impl Product {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Adfs,
        Self::Okta,
        Self::PingFederate,
        Self::Shibboleth,
        Self::SimpleSamlPhp,
    ];
}

impl ServicePlan {
    /// The issuer of the service's assertions: its entity id. AD FS and Okta spell theirs with `http`.
    pub fn issuer(&self) -> String {
        let host = &self.host;
        match self.product {
            Product::Adfs => format!("http://{host}/adfs/services/trust"),
            Product::Okta => format!("http://www.okta.com/exk{}", self.name),
            Product::PingFederate => format!("https://{host}"),
            Product::Shibboleth => format!("https://{host}/idp/shibboleth"),
            Product::SimpleSamlPhp => format!("https://{host}/simplesaml/saml2/idp/metadata.php"),
        }
    }

    /// The issuer of the service's id tokens.
    pub fn connect_issuer(&self) -> String {
        match self.product {
            Product::Adfs => format!("https://{}/adfs", self.host),
            _ => format!("https://{}", self.host),
        }
    }
}

/// The layout of the lab's directory. All key files are PEM.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    directory: &'a Path,
}

impl Files<'_> {
    /// The certificate of the lab's authority: what clients trust.
    pub fn ca(&self) -> PathBuf {
        self.pki("ca.pem")
    }

    /// The authority's key.
    pub fn ca_key(&self) -> PathBuf {
        self.pki("ca-key.pem")
    }

    /// The certificate of an authority that nobody trusts, for negative tests.
    pub fn other_ca(&self) -> PathBuf {
        self.pki("other-ca.pem")
    }

    /// Certificate chain of a leaf, leaf first. Names: each service's name, `login`, `application`, `portal`, `reverse-proxy`,
    /// `tenant` (both names of the tenant's);
    /// `other-sts` is the first service's names under the untrusted authority; `client-NAME` is a user's certificate.
    pub fn chain(&self, leaf: &str) -> PathBuf {
        self.pki(&format!("{leaf}.pem"))
    }

    /// Key of a leaf (PKCS #8).
    pub fn key(&self, leaf: &str) -> PathBuf {
        self.pki(&format!("{leaf}-key.pem"))
    }

    /// Token-signing certificate of a service (RSA-2048, self-signed), or of the cloud (`cloud`): the first.
    pub fn signing_certificate(&self, service: &str) -> PathBuf {
        self.signing_certificate_at(service, 0)
    }

    /// Token-signing key of a service, or of the cloud (`cloud`): the first.
    pub fn signing_key(&self, service: &str) -> PathBuf {
        self.signing_key_at(service, 0)
    }

    /// One of the [`SIGNING_KEYS`] certificates of a service; [`Keys`](crate::control::Keys) says when it is used.
    pub fn signing_certificate_at(&self, service: &str, position: usize) -> PathBuf {
        self.pki(&format!("{}.pem", signing(service, position)))
    }

    /// The key of [`Files::signing_certificate_at`].
    pub fn signing_key_at(&self, service: &str, position: usize) -> PathBuf {
        self.pki(&format!("{}-key.pem", signing(service, position)))
    }

    /// What a service is told while it runs; see [`Control`](crate::control::Control).
    pub fn control(&self, service: &str) -> PathBuf {
        self.directory
            .join("control")
            .join(format!("{service}.json"))
    }

    /// What a server saw, one JSON object a line: `sts`, `adfs` or `cloud`.
    pub fn log(&self, server: &str) -> PathBuf {
        self.directory.join("log").join(format!("{server}.jsonl"))
    }

    fn pki(&self, name: &str) -> PathBuf {
        self.directory.join("pki").join(name)
    }
}

fn signing(service: &str, position: usize) -> String {
    match position {
        0 => format!("{service}-signing"),
        _ => format!("{service}-signing-{}", position + 1),
    }
}

/// Writes a file that only its owner may read, replacing what was there.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _ = fs::remove_file(path);
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

fn service(
    name: &str,
    kind: ServiceKind,
    certificate: Option<&str>,
    addresses: [&str; 2],
) -> ServicePlan {
    let host = format!("{name}.corp.example");
    ServicePlan {
        name: name.to_owned(),
        kind,
        product: Product::Adfs,
        certificate_host: certificate.map(|prefix| format!("{prefix}.{host}")),
        host,
        listen: sockets(addresses, 443),
        probe: sockets(addresses, 80),
        proxy_name: "wap-1.corp.example".to_owned(),
    }
}

fn site(host: &str, addresses: [&str; 2]) -> Site {
    Site {
        host: host.to_owned(),
        listen: sockets(addresses, 443),
    }
}

fn sockets(addresses: [&str; 2], port: u16) -> Vec<SocketAddr> {
    addresses
        .map(|text| SocketAddr::new(address(text), port))
        .to_vec()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("the plan's addresses are literals")
}

fn domain(name: &str, service: &str, mex: bool) -> Domain {
    Domain {
        name: name.to_owned(),
        service: service.to_owned(),
        mex,
    }
}

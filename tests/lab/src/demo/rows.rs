//! The rows of the demonstration. What is expected is written by hand from the default policy: no word of it is read
//! from the appliance.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use url::Url;
use weir_lab_servers::plan::{MICROSOFT_ONLINE, Plan, User};

use super::chromium::Visit;
use super::curl::Call;
use super::msal::SignIn;
use super::row::{Act, Decider, Row, Verdict};
use crate::sources::{Class, Family};

/// The rule set that the lab's services are configured with.
const SET: &str = "office365-strict";

/// Every row, in the order in which they are done.
pub fn all(plan: &Plan) -> Vec<Row> {
    let mut rows = Rows { plan, rows: Vec::new() };
    rows.pages();
    rows.oauth();
    rows.native_requests();
    rows.relayed();
    rows.tunnel();
    rows.not_for_the_proxy();
    rows.msal();
    rows.chromium();
    rows.rows
}

struct Rows<'a> {
    plan: &'a Plan,
    rows: Vec<Row>,
}

/// What managed sources get at a service: `sts` is forwarded in the kernel, `adfs` goes through the proxy.
fn managed(service: &str, rule: &str) -> Vec<Decider> {
    if service == "sts" { vec![Decider::forward()] } else { vec![pass(rule)] }
}

fn pass(rule: &str) -> Decider {
    Decider::pass(&format!("{SET}/{rule}"))
}

fn block(rule: &str) -> Decider {
    Decider::block(&format!("{SET}/{rule}"))
}

fn redirect(rule: &str) -> Decider {
    Decider::redirect(&format!("{SET}/{rule}"))
}

impl Rows<'_> {
    /// What browsers and trusting parties ask for: metadata, sign-in pages, SAML, sign-out.
    fn pages(&mut self) {
        use Class::{Blocked, Bypass, Managed, Unmanaged};
        for family in Family::ALL {
            for (service, class) in
                [("sts", Managed), ("sts", Bypass), ("sts", Unmanaged), ("adfs", Managed)]
            {
                let url = url(service, "/FederationMetadata/2007-06/FederationMetadata.xml");
                let by = match class {
                    Managed => managed(service, "metadata"),
                    _ => vec![pass("metadata")],
                };
                self.curl("metadata", "federation metadata", service, class, family, Call::get(url))
                    .expect("200 federation metadata", by);
            }
            for service in ["sts", "adfs"] {
                for class in [Managed, Bypass, Unmanaged] {
                    let call = Call::get(passive(service));
                    self.curl("ws-fed", "WS-Federation sign-in", service, class, family, call);
                    self.expect_page(service, class);
                }
            }
            for class in [Managed, Bypass, Unmanaged] {
                let call = Call::get(saml(self.plan, "sts"));
                self.curl("saml", "SAML sign-in", "sts", class, family, call);
                self.expect_page("sts", class);
            }
            let call = Call::get(passive("adfs")).with(&["--http2"]);
            self.curl("http2", "WS-Federation over HTTP/2", "adfs", Bypass, family, call)
                .expect("200 sign-in form, HTTP/2", vec![pass("browser-bypass")]);
            let call = Call::get(url("sts", "/adfs/ls/?wa=wsignout1.0"));
            self.curl("sign-out", "sign-out", "sts", Unmanaged, family, call)
                .expect("200 signed out", vec![pass("sign-out")]);
            for service in ["sts", "adfs"] {
                let call = Call::get(passive(service));
                self.curl("ws-fed", "WS-Federation sign-in", service, Blocked, family, call)
                    .expect("no answer", vec![Decider::drop()]);
            }
        }
    }

    fn expect_page(&mut self, service: &str, class: Class) {
        let row = self.rows.last_mut().expect("a row was pushed just before");
        row.expected = match class {
            Class::Managed => {
                Verdict::new("200 sign-in form", managed(service, "browser-managed"))
            }
            Class::Bypass => Verdict::new("200 sign-in form", vec![pass("browser-bypass")]),
            _ => Verdict::new("302 to the reverse proxy", vec![redirect("browser-unmanaged")]),
        };
    }

    /// OAuth: the browser's endpoint, the native password call, a server's own call.
    fn oauth(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        let native = self.plan.oauth_clients[0].clone();
        let server = self.plan.oauth_clients[1].clone();
        let user = self.user("adfs");
        for family in Family::ALL {
            for class in [Managed, Bypass, Unmanaged] {
                let mut authorize =
                    Url::parse(&url("adfs", "/adfs/oauth2/authorize")).expect("a literal");
                authorize
                    .query_pairs_mut()
                    .append_pair("response_type", "code")
                    .append_pair("client_id", &native.id)
                    .append_pair("redirect_uri", &native.redirects[0])
                    .append_pair("resource", MICROSOFT_ONLINE)
                    .append_pair("state", "a=b&c");
                let call = Call::get(authorize);
                self.curl("authorize", "OAuth authorize", "adfs", class, family, call);
                self.expect_page("adfs", class);
                let token = url("adfs", "/adfs/oauth2/token");
                let call = Call::form(
                    &token,
                    &[
                        ("grant_type", "password"),
                        ("client_id", &native.id),
                        ("username", &user.upn),
                        ("password", &user.password),
                    ],
                );
                let verdict = match class {
                    Managed => Verdict::new("200 token", vec![pass("native-managed")]),
                    Bypass => Verdict::new("200 token", vec![pass("native-bypass")]),
                    _ => Verdict::new("400 OAuth error, explained", vec![block("native-unmanaged")]),
                };
                self.curl("password", "OAuth password grant", "adfs", class, family, call)
                    .expected = verdict;
            }
            let call = Call::form(
                url("adfs", "/adfs/oauth2/token"),
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", &server.id),
                    ("client_secret", server.secret.as_deref().unwrap_or_default()),
                ],
            );
            self.curl("server", "a server's OAuth call", "adfs", Unmanaged, family, call)
                .expect("200 token", vec![pass("server-unmanaged")]);
        }
    }

    /// What native applications send, as seen on the wire.
    fn native_requests(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        for family in Family::ALL {
            for (service, class) in
                [("sts", Managed), ("adfs", Managed), ("sts", Bypass), ("adfs", Bypass)]
            {
                let by = match class {
                    Managed => managed(service, "native-managed"),
                    _ => vec![pass("native-bypass")],
                };
                let call = Call::get(url(service, "/adfs/services/trust/mex"));
                self.curl("mex", "MEX", service, class, family, call).expect("200 endpoints", by);
            }
            let call = Call::get(url("adfs", "/adfs/services/trust/mex"));
            self.curl("mex", "MEX", "adfs", Unmanaged, family, call)
                .expect("403 explained", vec![block("native-unmanaged")]);
            let call = self.active("adfs", &["User-Agent: Microsoft Office/16.0 (Microsoft Outlook 16.0)"]);
            self.curl("outlook", "Outlook by its User-Agent", "adfs", Unmanaged, family, call)
                .expect("403 SOAP fault, explained", vec![block("outlook-unmanaged")]);
        }
    }

    /// What comes through Exchange Online: the source behind it decides.
    fn relayed(&mut self) {
        let forwarded = |class: Class| {
            format!("X-MS-Forwarded-Client-IP: {}", class.source().v4)
        };
        let outlook = "X-MS-Client-Application: Microsoft.Exchange.ActiveSync";
        let family = Family::V4;
        let call = self.active("adfs", &[outlook, &forwarded(Class::Unmanaged)]);
        self.curl("outlook", "Outlook for unmanaged source", "adfs", Class::Relay, family, call)
            .expect("200 token", vec![pass("outlook-relay")]);
        let call = self.active("sts", &[outlook, &forwarded(Class::Blocked)]);
        self.curl("outlook-blocked", "Outlook for blocked source", "sts", Class::Relay, family, call)
            .expect("403 SOAP fault, explained", vec![block("blocked-source")]);
        let call = self.active("adfs", &[&forwarded(Class::Unmanaged)]);
        self.curl("native", "application, unmanaged source", "adfs", Class::Relay, family, call)
            .expect("403 SOAP fault, explained", vec![block("native-unmanaged")]);
        let call = self.active("sts", &[&forwarded(Class::Managed)]);
        self.curl("native-managed", "application, managed source", "sts", Class::Relay, family, call)
            .expect("200 token", vec![pass("native-managed")]);
        let call = Call::get(passive("sts"));
        self.curl("browser", "a relay does not browse", "sts", Class::Relay, Family::V6, call)
            .expect("403 page, explained", vec![block("browser-relay")]);
    }

    /// The host that is spliced by its name, undecrypted: the service asks for a client certificate there.
    fn tunnel(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        let Some(host) = self.plan.services[0].certificate_host.clone() else { return };
        let user = self.plan.users[0].upn.split('@').next().unwrap_or_default().to_owned();
        let leaf = format!("client-{user}");
        let files = self.plan.files();
        let (chain, key) = (files.chain(&leaf), files.key(&leaf));
        let certificate =
            ["--cert".to_owned(), chain.display().to_string(), "--key".to_owned(), key.display().to_string()];
        for family in Family::ALL {
            for class in [Managed, Bypass, Unmanaged] {
                let mut call = Call::get(format!("https://{host}/adfs/certauth"));
                call.options.extend(certificate.clone());
                let verdict = match class {
                    Managed => Verdict::new("200 certificate seen", managed("sts", "")),
                    Bypass => {
                        Verdict::new("200 certificate seen", vec![pass("tunnel-bypass")])
                    }
                    _ => Verdict::new("connection refused in TLS", vec![block("tunnel-unmanaged")]),
                };
                self.curl("tunnel", "client certificate, by SNI", "sts", class, family, call)
                    .expected = verdict;
            }
        }
    }

    /// Internal paths, QUIC, other ports.
    fn not_for_the_proxy(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        for family in Family::ALL {
            for (service, class) in [("adfs", Managed), ("sts", Bypass), ("adfs", Unmanaged)] {
                let call = Call::get(url(service, "/adfs/Proxy/EstablishTrust"));
                self.curl("internal", "internal path", service, class, family, call)
                    .expect("404 explained", vec![block("internal-path")]);
            }
            // The same path, spelt so that only a server would read it as internal.
            let call = Call::get(url("adfs", "/adfs/ls/..%2fproxy/relyingpartytoken")).with(&["--path-as-is"]);
            self.curl("internal-odd", "internal path, disguised", "adfs", Bypass, family, call)
                .expect("404 explained", vec![block("internal-path")]);
            for class in [Managed, Unmanaged] {
                self.push("udp", "QUIC", "UDP to port 443", "sts", class, family, Act::Datagrams)
                    .expect("silence", vec![Decider::drop()]);
            }
            let call = Call::get("http://sts.corp.example/adfs/probe");
            self.curl("port-80", "another port: not Weir's", "sts", Unmanaged, family, call)
                .expect("200", vec![Decider::Firewall]);
        }
    }

    /// Rich clients.
    fn msal(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        let users: Vec<(User, &'static str, bool)> = self
            .plan
            .users
            .iter()
            .filter_map(|user| {
                let domain = self.plan.domains.iter().find(|domain| domain.name == user.domain())?;
                let service = if domain.service == "sts" { "sts" } else { "adfs" };
                Some((user.clone(), service, domain.mex))
            })
            .collect();
        for family in Family::ALL {
            for (user, service, mex) in &users {
                let (what, token) = if *mex {
                    ("realm, MEX, WS-Trust 1.3", "token by WS-Trust 1.3")
                } else {
                    ("realm, WS-Trust 2005", "token by WS-Trust 2005")
                };
                let id = if *mex { "mex" } else { "direct" };
                for class in [Managed, Bypass, Unmanaged] {
                    let sign_in = SignIn::Password { user: user.upn.clone(), password: user.password.clone() };
                    let verdict = match class {
                        Managed => Verdict::new(token, managed(service, "native-managed")),
                        Bypass => Verdict::new(token, vec![pass("native-bypass")]),
                        _ if *mex => Verdict::new("403 at MEX", vec![block("native-unmanaged")]),
                        _ => Verdict::new("blocked, explained", vec![block("native-unmanaged")]),
                    };
                    self.push(id, "msal", what, service, class, family, Act::Msal(sign_in)).expected = verdict;
                }
            }
        }
        self.msal_requests();
    }

    /// The versions and ways that a whole sign-in does not choose by itself.
    fn msal_requests(&mut self) {
        use Class::{Managed, Unmanaged};
        for (service, version, class, family) in [
            ("sts", "2005", Managed, Family::V4),
            ("adfs", "13", Managed, Family::V6),
            ("adfs", "2005", Unmanaged, Family::V4),
            ("sts", "13", Unmanaged, Family::V6),
        ] {
            let user = self.user(service);
            let (name, shown) = if version == "13" { ("active-13", "1.3") } else { ("active-2005", "2005") };
            let sign_in = SignIn::Active {
                url: url(service, &format!("/adfs/services/trust/{version}/usernamemixed")),
                version,
                user: user.upn,
                password: user.password,
            };
            let verdict = if class == Managed {
                Verdict::new(format!("token by WS-Trust {shown}"), managed(service, "native-managed"))
            } else {
                Verdict::new("blocked, explained", vec![block("native-unmanaged")])
            };
            let what = format!("WS-Trust {shown}, without MEX");
            self.push(name, "msal", &what, service, class, family, Act::Msal(sign_in)).expected = verdict;
        }
        for (service, class, family) in [("sts", Unmanaged, Family::V4), ("adfs", Managed, Family::V6)] {
            let sign_in = SignIn::Mex { url: url(service, "/adfs/services/trust/mex") };
            let verdict = if class == Managed {
                Verdict::new("endpoints", vec![pass("native-managed")])
            } else {
                Verdict::new("403 at MEX", vec![block("native-unmanaged")])
            };
            self.push("mex-alone", "msal", "MEX alone", service, class, family, Act::Msal(sign_in)).expected = verdict;
        }
        for (service, family) in [("sts", Family::V4), ("adfs", Family::V6)] {
            let user = self.user(service);
            let sign_in = SignIn::Password { user: user.upn, password: "not the password".to_owned() };
            self.push("wrong-password", "msal", "wrong password", service, Managed, family, Act::Msal(sign_in))
                .expect("wrong password", managed(service, "native-managed"));
        }
    }

    /// Browsers: the whole sign-in, to the application's page.
    fn chromium(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        for (service, class, family) in [
            ("sts", Managed, Family::V4),
            ("sts", Managed, Family::V6),
            ("adfs", Managed, Family::V4),
            ("adfs", Managed, Family::V6),
            ("sts", Bypass, Family::V4),
            ("adfs", Bypass, Family::V6),
            ("sts", Unmanaged, Family::V4),
            ("sts", Unmanaged, Family::V6),
            ("adfs", Unmanaged, Family::V4),
            ("adfs", Unmanaged, Family::V6),
        ] {
            let verdict = match class {
                Managed => Verdict::new("signed in", managed(service, "browser-managed")),
                Bypass => Verdict::new("signed in", vec![pass("browser-bypass")]),
                // The reverse proxy's own connections come from a bypass list.
                _ => Verdict::new(
                    "signed in, reverse proxy",
                    vec![redirect("browser-unmanaged"), pass("browser-bypass")],
                ),
            };
            let visit = self.visit(service, true);
            let what = "application, form, password";
            let row = self.push("sign-in", "chromium", what, service, class, family, Act::Chromium(visit));
            row.expected = verdict;
            row.flows = &["passive"];
        }
        let visit = self.visit("sts", false);
        self.push("no-ca", "chromium", "without the lab's CA", "sts", Managed, Family::V4, Act::Chromium(visit))
            .expect("ERR_CERT_AUTHORITY_INVALID", Vec::new());
        self.push("flipped-byte", "curl", "token with one byte changed", "adfs", Managed, Family::V4, Act::FlippedByte)
            .expect("refused; unchanged: accepted", vec![pass("browser-managed")]);
    }

    fn visit(&self, service: &str, trusts_lab: bool) -> Visit {
        let user = self.user(service);
        Visit {
            start: format!("https://{}/{service}", self.plan.cloud.application.host),
            user: user.upn,
            password: user.password,
            trusts_lab,
        }
    }

    /// A user whose domain is federated with `service`.
    fn user(&self, service: &str) -> User {
        let of = |user: &&User| {
            self.plan
                .domains
                .iter()
                .any(|domain| domain.service == service && domain.name == user.domain())
        };
        self.plan.users.iter().find(of).expect("the plan federates every service").clone()
    }

    /// A WS-Trust 1.3 request with the right password and some header fields.
    fn active(&self, service: &str, headers: &[&str]) -> Call {
        let user = self.user(service);
        let to = url(service, "/adfs/services/trust/13/usernamemixed");
        let envelope = ENVELOPE
            .replace("{to}", &to)
            .replace("{user}", &escape(&user.upn))
            .replace("{password}", &escape(&user.password))
            .replace("{party}", MICROSOFT_ONLINE);
        let mut call = Call::get(to)
            .with(&["--header", "Content-Type: application/soap+xml; charset=utf-8", "--data-binary", &envelope]);
        for header in headers {
            call = call.with(&["--header", header]);
        }
        call
    }

    fn curl(
        &mut self,
        name: &str,
        what: &str,
        service: &'static str,
        class: Class,
        family: Family,
        call: Call,
    ) -> &mut Row {
        self.push(name, "curl", what, service, class, family, Act::Curl(call))
    }

    #[expect(clippy::too_many_arguments, reason = "a row has that many columns")]
    fn push(
        &mut self,
        name: &str,
        client: &'static str,
        what: &str,
        service: &'static str,
        class: Class,
        family: Family,
        act: Act,
    ) -> &mut Row {
        self.rows.push(Row {
            name: format!("{client}/{name}/{service}/{}/{}", class.name(), u8::from(family)).to_lowercase(),
            class,
            family,
            service,
            client,
            what: what.to_owned(),
            act,
            expected: Verdict::new("", Vec::new()),
            flows: &[],
        });
        self.rows.last_mut().expect("it was pushed just now")
    }
}

impl Row {
    fn expect(&mut self, outcome: &str, by: Vec<Decider>) {
        self.expected = Verdict::new(outcome, by);
    }
}

fn url(service: &str, path: &str) -> String {
    format!("https://{service}.corp.example{path}")
}

/// A WS-Federation sign-in as Microsoft 365 asks for it, with a context that must arrive unchanged.
pub fn passive(service: &str) -> String {
    url(service, "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=LoginOptions%3D3%26estsredirect%3d2")
}

/// A SAML sign-in by redirect.
fn saml(plan: &Plan, service: &str) -> String {
    let target = url(service, "/adfs/ls/");
    let application = &plan.cloud.application.host;
    let request = format!(
        "<samlp:AuthnRequest ID=\"_lab\" Version=\"2.0\" IssueInstant=\"2026-01-01T00:00:00Z\" Destination=\"{target}\" \
         xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\"><Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
         https://{application}/saml</Issuer></samlp:AuthnRequest>"
    );
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(request.as_bytes()).expect("memory takes every write");
    let message = STANDARD.encode(deflate.finish().expect("memory takes every write"));
    let mut url = Url::parse(&target).expect("a literal");
    url.query_pairs_mut().append_pair("SAMLRequest", &message).append_pair("RelayState", "x=1&y");
    url.into()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// As msal sends it, with the parts that a service needs (WS-Trust 1.3, section 4.1).
const ENVELOPE: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue</a:Action><a:MessageID>urn:uuid:6f1b2f5e-0000-4000-8000-000000000001</a:MessageID><a:To s:mustUnderstand="1">{to}</a:To><o:Security s:mustUnderstand="1" xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>{user}</o:Username><o:Password>{password}</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="http://docs.oasis-open.org/ws-sx/ws-trust/200512"><wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference><a:Address>{party}</a:Address></a:EndpointReference></wsp:AppliesTo><t:KeyType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer</t:KeyType><t:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</t:RequestType></t:RequestSecurityToken></s:Body></s:Envelope>"#;

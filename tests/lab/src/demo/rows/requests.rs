//! Single requests, by curl, and datagrams.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use url::Url;
use weir_lab_servers::plan::{MICROSOFT_ONLINE, Plan};

use super::{Rows, block, managed, pass, passive, redirect, url};
use crate::demo::curl::Call;
use crate::demo::row::{Act, Decider, Row, Verdict};
use crate::sources::{Class, Family};

impl Rows<'_> {
    /// What browsers and trusting parties ask for: metadata, sign-in pages, SAML, sign-out.
    pub(super) fn pages(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        for family in Family::ALL {
            for (service, class) in [
                ("sts", Managed),
                ("sts", Bypass),
                ("sts", Unmanaged),
                ("adfs", Managed),
            ] {
                let url = url(
                    service,
                    "/FederationMetadata/2007-06/FederationMetadata.xml",
                );
                let by = match class {
                    Managed => managed(service, "metadata"),
                    _ => vec![pass("metadata")],
                };
                self.curl(
                    "metadata",
                    "federation metadata",
                    service,
                    class,
                    family,
                    Call::get(url),
                )
                .expect("200 federation metadata", by);
            }
            self.saml(family);
            self.blocked(family);
            for service in ["sts", "adfs"] {
                for class in [Managed, Bypass, Unmanaged] {
                    let call = Call::get(passive(service));
                    self.curl(
                        "ws-fed",
                        "WS-Federation sign-in",
                        service,
                        class,
                        family,
                        call,
                    );
                    self.expect_page(service, class);
                }
            }
            for (service, class) in [("adfs", Managed), ("sts", Bypass), ("sts", Unmanaged)] {
                let call = Call::get(passive(service)).with(&["--http2"]);
                let what = "WS-Federation over HTTP/2";
                self.curl("http2", what, service, class, family, call);
                self.expect_page(service, class);
                let row = self.rows.last_mut().expect("a row was pushed just before");
                row.expected.outcome.push_str(", h2");
            }
            for (service, class) in [
                ("sts", Managed),
                ("adfs", Bypass),
                ("sts", Unmanaged),
                ("adfs", Unmanaged),
            ] {
                let by = match class {
                    Managed => managed(service, "sign-out"),
                    _ => vec![pass("sign-out")],
                };
                let call = Call::get(url(service, "/adfs/ls/?wa=wsignout1.0"));
                self.curl("sign-out", "sign-out", service, class, family, call)
                    .expect("200 signed out", by);
            }
        }
    }

    /// SAML requests, by redirect and by POST.
    fn saml(&mut self, family: Family) {
        use Class::{Bypass, Managed, Unmanaged};
        for (service, class) in [
            ("sts", Managed),
            ("sts", Bypass),
            ("sts", Unmanaged),
            ("adfs", Managed),
            ("adfs", Unmanaged),
        ] {
            let call = Call::get(saml(self.plan, service));
            self.curl("saml", "SAML sign-in", service, class, family, call);
            self.expect_page(service, class);
        }
        for (service, class) in [("sts", Bypass), ("adfs", Unmanaged)] {
            let message = STANDARD.encode(authn_request(self.plan, service));
            let call = Call::form(url(service, "/adfs/ls/"), &[("SAMLRequest", &message)]);
            let what = "SAML sign-in by POST";
            self.curl("saml-post", what, service, class, family, call);
            self.expect_page(service, class);
            // The body is dropped, so the browser must come with a GET.
            let row = self.rows.last_mut().expect("a row was pushed just before");
            row.expected.outcome = row.expected.outcome.replace("302", "303");
        }
    }

    /// Nothing that a blocked source asks for arrives anywhere.
    fn blocked(&mut self, family: Family) {
        let user = self.user("adfs");
        let client = self.plan.oauth_clients[0].id.clone();
        let password = [
            ("grant_type", "password"),
            ("client_id", &client),
            ("username", &user.upn),
            ("password", &user.password),
        ];
        let metadata = "/FederationMetadata/2007-06/FederationMetadata.xml";
        for (name, what, service, call) in [
            (
                "ws-fed",
                "WS-Federation sign-in",
                "sts",
                Call::get(passive("sts")),
            ),
            (
                "ws-fed",
                "WS-Federation sign-in",
                "adfs",
                Call::get(passive("adfs")),
            ),
            (
                "metadata",
                "federation metadata",
                "sts",
                Call::get(url("sts", metadata)),
            ),
            (
                "password",
                "OAuth password grant",
                "adfs",
                Call::form(url("adfs", "/adfs/oauth2/token"), &password),
            ),
        ] {
            self.curl(name, what, service, Class::Blocked, family, call)
                .expect("no answer", vec![Decider::drop()]);
        }
    }

    fn expect_page(&mut self, service: &str, class: Class) {
        let row = self.rows.last_mut().expect("a row was pushed just before");
        row.expected = match class {
            Class::Managed => Verdict::new("200 sign-in form", managed(service, "browser-managed")),
            Class::Bypass => Verdict::new("200 sign-in form", vec![pass("browser-bypass")]),
            _ => Verdict::new(
                "302 to the reverse proxy",
                vec![redirect("browser-unmanaged")],
            ),
        };
    }

    /// OAuth: the browser's endpoint, the native password call, a server's own call.
    pub(super) fn oauth(&mut self) {
        for family in Family::ALL {
            for service in ["sts", "adfs"] {
                for class in [Class::Managed, Class::Bypass, Class::Unmanaged] {
                    self.authorize(service, class, family);
                    self.password_grant(service, class, family);
                }
                self.server_grant(service, family);
            }
        }
    }

    fn authorize(&mut self, service: &'static str, class: Class, family: Family) {
        let client = &self.plan.oauth_clients[0];
        let mut authorize = Url::parse(&url(service, "/adfs/oauth2/authorize")).expect("a literal");
        authorize
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &client.redirects[0])
            .append_pair("resource", MICROSOFT_ONLINE)
            .append_pair("state", "a=b&c");
        let call = Call::get(authorize);
        self.curl("authorize", "OAuth authorize", service, class, family, call);
        self.expect_page(service, class);
    }

    fn password_grant(&mut self, service: &'static str, class: Class, family: Family) {
        let user = self.user(service);
        let call = Call::form(
            url(service, "/adfs/oauth2/token"),
            &[
                ("grant_type", "password"),
                ("client_id", &self.plan.oauth_clients[0].id),
                ("username", &user.upn),
                ("password", &user.password),
            ],
        );
        let verdict = match class {
            Class::Managed => Verdict::new("200 token", managed(service, "native-managed")),
            Class::Bypass => Verdict::new("200 token", vec![pass("native-bypass")]),
            _ => Verdict::new(
                "403 OAuth error, explained",
                vec![block("native-unmanaged")],
            ),
        };
        let what = "OAuth password grant";
        self.curl("password", what, service, class, family, call)
            .expected = verdict;
    }

    fn server_grant(&mut self, service: &'static str, family: Family) {
        let server = &self.plan.oauth_clients[1];
        let secret = server.secret.as_deref().unwrap_or_default();
        let call = Call::form(
            url(service, "/adfs/oauth2/token"),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &server.id),
                ("client_secret", secret),
            ],
        );
        let what = "a server's OAuth call";
        self.curl("server", what, service, Class::Unmanaged, family, call)
            .expect("200 token", vec![pass("server-unmanaged")]);
    }

    /// What native applications send, as seen on the wire.
    pub(super) fn native_requests(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        for family in Family::ALL {
            for (service, class) in [
                ("sts", Managed),
                ("adfs", Managed),
                ("sts", Bypass),
                ("adfs", Bypass),
            ] {
                let by = match class {
                    Managed => managed(service, "native-managed"),
                    _ => vec![pass("native-bypass")],
                };
                let call = Call::get(url(service, "/adfs/services/trust/mex"));
                self.curl("mex", "MEX", service, class, family, call)
                    .expect("200 endpoints", by);
            }
            for service in ["sts", "adfs"] {
                let call = Call::get(url(service, "/adfs/services/trust/mex"));
                self.curl("mex", "MEX", service, Unmanaged, family, call)
                    .expect("403 explained", vec![block("native-unmanaged")]);
            }
            // As the part of Windows that signs users in calls itself.
            let logon = "User-Agent: Windows-AzureAD-Authentication-Provider/1.0";
            let call = self.active("sts", &[logon]);
            self.curl(
                "windows-logon",
                "Windows logon",
                "sts",
                Unmanaged,
                family,
                call,
            )
            .expect(
                "403 SOAP fault, explained",
                vec![block("windows-logon-unmanaged")],
            );
            let call = self.active(
                "adfs",
                &["User-Agent: Microsoft Office/16.0 (Microsoft Outlook 16.0)"],
            );
            self.curl(
                "outlook",
                "Outlook by its User-Agent",
                "adfs",
                Unmanaged,
                family,
                call,
            )
            .expect(
                "403 SOAP fault, explained",
                vec![block("outlook-unmanaged")],
            );
        }
    }

    /// What comes through Exchange Online: the source behind it decides.
    pub(super) fn relayed(&mut self) {
        for family in Family::ALL {
            self.relayed_over(family);
        }
    }

    fn relayed_over(&mut self, family: Family) {
        let forwarded = |class: Class| {
            let address = class.source().address(family);
            format!("X-MS-Forwarded-Client-IP: {address}")
        };
        let outlook = "X-MS-Client-Application: Microsoft.Exchange.ActiveSync";
        let call = self.active("adfs", &[outlook, &forwarded(Class::Unmanaged)]);
        self.curl(
            "outlook",
            "Outlook, source unmanaged",
            "adfs",
            Class::Relay,
            family,
            call,
        )
        .expect("200 token", vec![pass("outlook-relay")]);
        let call = self.active("sts", &[outlook, &forwarded(Class::Blocked)]);
        self.curl(
            "outlook-blocked",
            "Outlook, source blocked",
            "sts",
            Class::Relay,
            family,
            call,
        )
        .expect("403 SOAP fault, explained", vec![block("blocked-source")]);
        let call = self.active("adfs", &[&forwarded(Class::Unmanaged)]);
        self.curl(
            "native",
            "app, source unmanaged",
            "adfs",
            Class::Relay,
            family,
            call,
        )
        .expect("403 SOAP fault, explained", vec![block("native-unmanaged")]);
        let call = self.active("sts", &[&forwarded(Class::Managed)]);
        self.curl(
            "native-managed",
            "app, source managed",
            "sts",
            Class::Relay,
            family,
            call,
        )
        .expect("200 token", vec![pass("native-managed")]);
        let call = Call::get(passive("sts"));
        self.curl(
            "browser",
            "a relay does not browse",
            "sts",
            Class::Relay,
            family,
            call,
        )
        .expect("403 page, explained", vec![block("browser-relay")]);
    }

    /// The host that is spliced by its name, undecrypted: the service asks for a client certificate there.
    pub(super) fn tunnel(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        let Some(host) = self.plan.services[0].certificate_host.clone() else {
            return;
        };
        let user = self.plan.users[0]
            .upn
            .split('@')
            .next()
            .unwrap_or_default()
            .to_owned();
        let leaf = format!("client-{user}");
        let files = self.plan.files();
        let (chain, key) = (files.chain(&leaf), files.key(&leaf));
        let certificate = [
            "--cert".to_owned(),
            chain.display().to_string(),
            "--key".to_owned(),
            key.display().to_string(),
        ];
        for family in Family::ALL {
            for class in [Managed, Bypass, Unmanaged] {
                let mut call = Call::get(format!("https://{host}/adfs/certauth"));
                call.options.extend(certificate.clone());
                let verdict = match class {
                    Managed => Verdict::new("200 certificate seen", managed("sts", "")),
                    Bypass => Verdict::new("200 certificate seen", vec![pass("tunnel-bypass")]),
                    _ => Verdict::new("connection refused in TLS", vec![block("tunnel-unmanaged")]),
                };
                self.curl(
                    "tunnel",
                    "client certificate, by SNI",
                    "sts",
                    class,
                    family,
                    call,
                )
                .expected = verdict;
            }
        }
    }

    /// Internal paths, QUIC, other ports.
    pub(super) fn not_for_the_proxy(&mut self) {
        use Class::{Bypass, Managed, Unmanaged};
        for family in Family::ALL {
            for (service, class) in [("adfs", Managed), ("sts", Bypass), ("adfs", Unmanaged)] {
                let call = Call::get(url(service, "/adfs/Proxy/EstablishTrust"));
                self.curl("internal", "internal path", service, class, family, call)
                    .expect("404 explained", vec![block("internal-path")]);
            }
            // The same path, spelt so that only a server would read it as internal.
            let call = Call::get(url("adfs", "/adfs/ls/..%2fproxy/relyingpartytoken"))
                .with(&["--path-as-is"]);
            self.curl(
                "internal-odd",
                "internal path, disguised",
                "adfs",
                Bypass,
                family,
                call,
            )
            .expect("404 explained", vec![block("internal-path")]);
            for (service, class) in [("adfs", Managed), ("sts", Unmanaged), ("sts", Class::Relay)] {
                let call = Call::get(url(service, "/adfs/nothing/of/this/name"));
                self.curl("unknown", "unknown path", service, class, family, call)
                    .expect("404 explained", vec![block("unknown-path")]);
            }
            // Other ports are the firewall's business; its policy is drop, and so it would drop what Weir forwards.
            for (name, what, port, outcome, verdict) in [
                ("port-80", "an open port: not Weir's", 80, "200", "accept"),
                (
                    "port-8443",
                    "a closed port: not Weir's",
                    8443,
                    "no answer",
                    "drop",
                ),
            ] {
                let call = Call::get(format!("http://sts.corp.example:{port}/adfs/probe"));
                self.curl(name, what, "sts", Managed, family, call)
                    .expect(outcome, vec![Decider::firewall(verdict)]);
            }
        }
        for family in Family::ALL {
            for class in [Managed, Unmanaged] {
                self.push(
                    "udp",
                    "QUIC",
                    "UDP to port 443",
                    "sts",
                    class,
                    family,
                    Act::Datagrams,
                )
                .expect("silence", vec![Decider::kernel("drop", "udp-443")]);
            }
        }
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
        let mut call = Call::get(to).with(&[
            "--header",
            "Content-Type: application/soap+xml; charset=utf-8",
            "--data-binary",
            &envelope,
        ]);
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
}

/// A SAML sign-in by redirect.
fn saml(plan: &Plan, service: &str) -> String {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    let request = authn_request(plan, service);
    deflate
        .write_all(request.as_bytes())
        .expect("memory takes every write");
    let message = STANDARD.encode(deflate.finish().expect("memory takes every write"));
    let mut url = Url::parse(&url(service, "/adfs/ls/")).expect("a literal");
    url.query_pairs_mut()
        .append_pair("SAMLRequest", &message)
        .append_pair("RelayState", "x=1&y");
    url.into()
}

fn authn_request(plan: &Plan, service: &str) -> String {
    format!(
        "<samlp:AuthnRequest ID=\"_lab\" Version=\"2.0\" IssueInstant=\"2026-01-01T00:00:00Z\" Destination=\"{}\" \
         xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\"><Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">\
         https://{}/saml</Issuer></samlp:AuthnRequest>",
        url(service, "/adfs/ls/"),
        plan.cloud.application.host
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// As msal sends it, with the parts that a service needs (WS-Trust 1.3, section 4.1).
const ENVELOPE: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">http://docs.oasis-open.org/ws-sx/ws-trust/200512/RST/Issue</a:Action><a:MessageID>urn:uuid:6f1b2f5e-0000-4000-8000-000000000001</a:MessageID><a:To s:mustUnderstand="1">{to}</a:To><o:Security s:mustUnderstand="1" xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>{user}</o:Username><o:Password>{password}</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="http://docs.oasis-open.org/ws-sx/ws-trust/200512"><wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference><a:Address>{party}</a:Address></a:EndpointReference></wsp:AppliesTo><t:KeyType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer</t:KeyType><t:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</t:RequestType></t:RequestSecurityToken></s:Body></s:Envelope>"#;

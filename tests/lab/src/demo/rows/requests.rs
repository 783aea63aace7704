//! What stands beside the table: other spellings and versions of the same requests, the tunnel, other ports, QUIC, a
//! browser that is sent round.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use url::Url;
use weir_lab_servers::plan::Plan;

use super::kinds::Kind;
use super::{Rows, url};
use crate::demo::curl::Call;
use crate::demo::row::{Act, Decider, Row, Verdict};
use crate::sources::{Class, Family};

impl Rows<'_> {
    /// All of them.
    pub(super) fn more_requests(&mut self) {
        for family in Family::ALL {
            self.unmanaged_at_the_edge(family);
            self.http2(family);
            self.saml(family);
            self.sent_round(family);
            self.tunnel(family);
            self.disguised(family);
            self.other_ports(family);
            self.quic(family);
        }
    }

    /// The service whose managed sources are forwarded proxies all others.
    fn unmanaged_at_the_edge(&mut self, family: Family) {
        for class in [Class::Bypass, Class::Unmanaged] {
            let call = self.request(Kind::WsFed, "sts");
            let what = "WS-Federation sign-in";
            self.curl("ws-fed", what, "sts", class, family, call);
            self.expect_page("sts", class);
        }
        let (call, by) = (
            self.request(Kind::Active13, "sts"),
            self.block("native-unmanaged"),
        );
        let what = "WS-Trust 1.3";
        self.curl("active-13", what, "sts", Class::Unmanaged, family, call)
            .expect("403 SOAP fault, explained", vec![by]);
        let (call, by) = (self.request(Kind::Mex, "sts"), self.pass("native-bypass"));
        self.curl("mex", "MEX", "sts", Class::Bypass, family, call)
            .expect("200 endpoints", vec![by]);
    }

    fn http2(&mut self, family: Family) {
        use Class::{Bypass, Managed, Unmanaged};
        for (service, class) in [("adfs", Managed), ("sts", Bypass), ("sts", Unmanaged)] {
            let call = Call::get(passive(service)).with(&["--http2"]);
            let what = "WS-Federation over HTTP/2";
            self.curl("http2", what, service, class, family, call);
            self.expect_page(service, class);
            let row = self
                .pushed
                .last_mut()
                .expect("a row was pushed just before");
            row.expected.outcome.push_str(", h2");
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
            let row = self
                .pushed
                .last_mut()
                .expect("a row was pushed just before");
            row.expected.outcome = row.expected.outcome.replace("302", "303");
        }
    }

    /// A reverse proxy that sends a browser back again and again: after three times it is told so.
    fn sent_round(&mut self, family: Family) {
        let call = self.request(Kind::WsFed, "adfs");
        let by = vec![
            self.redirect("browser-unmanaged"),
            self.block("redirect-loop"),
        ];
        let (service, class) = ("adfs", Class::Unmanaged);
        let act = Act::Round(call);
        self.push(
            "loop",
            "curl",
            "sent round and round",
            service,
            class,
            family,
            act,
        )
        .expect("3x 302, 403 page, explained", by);
    }

    /// The host that is spliced by its name, undecrypted: the service asks for a client certificate there.
    fn tunnel(&mut self, family: Family) {
        use Class::{Blocked, Bypass, Managed, Relay, Unmanaged, Web};
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
        for class in [Managed, Bypass, Web, Unmanaged, Relay, Blocked] {
            let mut call = Call::get(format!("https://{host}/adfs/certauth"));
            call.options.extend(certificate.clone());
            let refused = |rule| Verdict::new("connection refused in TLS", vec![self.block(rule)]);
            let verdict = match class {
                Managed => Verdict::new("200 certificate seen", self.managed("sts", "")),
                Bypass => Verdict::new("200 certificate seen", vec![self.pass("tunnel-bypass")]),
                Relay => refused("tunnel-relay"),
                Blocked => Verdict::new("no answer", vec![Decider::drop()]),
                Web | Unmanaged => refused("tunnel-unmanaged"),
            };
            let what = "client certificate, by SNI";
            self.curl("tunnel", what, "sts", class, family, call)
                .expected = verdict;
        }
    }

    /// Internal paths, spelt so that only a server would read them as internal.
    fn disguised(&mut self, family: Family) {
        for (service, class, path) in [
            (
                "adfs",
                Class::Bypass,
                "/adfs/ls/..%2fproxy/relyingpartytoken",
            ),
            ("sts", Class::Bypass, "/adfs/%50roxy/EstablishTrust"),
            ("adfs", Class::Managed, "/adfs//backendproxytls"),
        ] {
            let call = Call::get(url(service, path)).with(&["--path-as-is"]);
            let by = vec![self.block("internal-path")];
            let what = "internal path, disguised";
            self.curl("internal-odd", what, service, class, family, call)
                .expect("404 explained", by);
        }
    }

    /// Other ports are the firewall's business; its policy is drop, and so it would drop what Weir forwards.
    fn other_ports(&mut self, family: Family) {
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
            self.curl(name, what, "sts", Class::Managed, family, call)
                .expect(outcome, vec![Decider::firewall(verdict)]);
        }
    }

    fn quic(&mut self, family: Family) {
        for (service, class) in [
            ("sts", Class::Managed),
            ("adfs", Class::Bypass),
            ("sts", Class::Unmanaged),
        ] {
            let what = "UDP to port 443";
            self.push("udp", "QUIC", what, service, class, family, Act::Datagrams)
                .expect("silence", vec![Decider::kernel("drop", "udp-443")]);
        }
    }

    fn expect_page(&mut self, service: &str, class: Class) {
        let verdict = match class {
            Class::Managed => {
                Verdict::new("200 sign-in form", self.managed(service, "browser-managed"))
            }
            Class::Bypass => Verdict::new("200 sign-in form", vec![self.pass("browser-bypass")]),
            _ => Verdict::new(
                "302 to the reverse proxy",
                vec![self.redirect("browser-unmanaged")],
            ),
        };
        let row = self
            .pushed
            .last_mut()
            .expect("a row was pushed just before");
        row.expected = verdict;
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

/// A WS-Federation sign-in as Microsoft 365 asks for it, with a context that must arrive unchanged.
pub fn passive(service: &str) -> String {
    url(
        service,
        "/adfs/ls/?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=LoginOptions%3D3%26estsredirect%3d2",
    )
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

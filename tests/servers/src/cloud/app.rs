//! `app.cloud.example` and `portal.corp.example`: relying parties. Each starts sign-ins, takes tokens at its reply URLs, and ends on a page that
//! says who is signed in and from which address the token was posted.

use std::collections::HashMap;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use time::OffsetDateTime;

use crate::cloud::trusted;
use crate::control::service_now;
use crate::http::{Handler, Request, Response, add, answer, escape, html, noted, redirect};
use crate::idp::claims::UPN;
use crate::idp::session::opaque;
use crate::plan::{Plan, Product};
use crate::saml::verify::{Accepted, Verifier};

/// The relying party's state: sign-ins begun, tokens seen, people signed in.
pub struct App {
    plan: Plan,
    /// Its host name.
    host: String,
    /// Its realm in WS-Federation.
    realm: String,
    verifier: Verifier,
    begun: Mutex<HashMap<String, OffsetDateTime>>,
    seen: Mutex<HashMap<String, OffsetDateTime>>,
    signed_in: Mutex<HashMap<String, SignedIn>>,
}

#[derive(Debug, Clone)]
struct SignedIn {
    upn: String,
    issuer: String,
    protocol: &'static str,
    address: IpAddr,
    authenticated: String,
}

impl App {
    /// Trusts the plan's services.
    pub fn new(plan: &Plan, host: &str, realm: &str) -> Self {
        Self {
            plan: plan.clone(),
            host: host.to_owned(),
            realm: realm.to_owned(),
            verifier: trusted(plan),
            begun: Mutex::default(),
            seen: Mutex::default(),
            signed_in: Mutex::default(),
        }
    }

    /// Sends the browser to a service with a WS-Federation request.
    fn start(&self, service: &str, request: &Request) -> Response {
        let Some(service) = service_now(&self.plan, service) else {
            return missing();
        };
        let nonce = opaque(450).replace(['+', '/', '='], "-");
        let context = format!("estsredirect=2&estsrequest={nonce}");
        let mut query = vec![
            ("client-request-id", uuid::Uuid::new_v4().to_string()),
            ("wa", "wsignin1.0".to_owned()),
            ("wtrealm", self.realm.clone()),
            ("wctx", context.clone()),
        ];
        let asked = request.query();
        for name in ["username", "wfresh", "wauth", "prompt", "lab_twist"] {
            if let Some(value) = asked.get(name) {
                query.push((name, value.to_owned()));
            }
        }
        lock(&self.begun).insert(context, OffsetDateTime::now_utc());
        let Some(place) = service.ws_federation() else {
            return self.start_saml(&service.name, request);
        };
        redirect(StatusCode::FOUND, &format!("{place}?{}", encode(&query)))
    }

    /// The same with a SAML request, by redirect, or by POST with `?binding=post`.
    fn start_saml(&self, service: &str, request: &Request) -> Response {
        let Some(service) = service_now(&self.plan, service) else {
            return missing();
        };
        let id = format!("_{}", uuid::Uuid::new_v4());
        let entity = self.url("/saml");
        let asked = request.query();
        let post = asked.get("binding") == Some("post");
        let Some(target) = service.saml(post) else {
            return missing();
        };
        let class = asked.get("class").map_or_else(String::new, |class| {
            format!(
                "<samlp:RequestedAuthnContext><AuthnContextClassRef \
                 xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{}</AuthnContextClassRef>\
                 </samlp:RequestedAuthnContext>",
                escape(class)
            )
        });
        let force = if asked.get("ForceAuthn") == Some("true") {
            " ForceAuthn=\"true\""
        } else {
            ""
        };
        let xml = format!(
            "<samlp:AuthnRequest ID=\"{id}\" Version=\"2.0\" IssueInstant=\"{now}\" Destination=\"{target}\"{force} \
             AssertionConsumerServiceURL=\"{acs}\" xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
             <Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{entity}</Issuer>{class}</samlp:AuthnRequest>",
            now = crate::saml::moment(OffsetDateTime::now_utc()),
            acs = self.url("/saml/acs"),
        );
        let relay = opaque(45);
        lock(&self.begun).insert(id, OffsetDateTime::now_utc());
        lock(&self.begun).insert(relay.clone(), OffsetDateTime::now_utc());
        if post {
            return crate::idp::pages::auto_post(
                Product::Adfs.shape(),
                &target,
                &[
                    ("SAMLRequest", &STANDARD.encode(xml)),
                    ("RelayState", &relay),
                ],
            );
        }
        let mut deflater =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflater
            .write_all(xml.as_bytes())
            .expect("writing to memory does not fail");
        let message = STANDARD.encode(deflater.finish().expect("writing to memory does not fail"));
        let mut query = vec![("SAMLRequest", message), ("RelayState", relay)];
        if let Some(twists) = asked.get("lab_twist") {
            query.push(("lab_twist", twists.to_owned()));
        }
        redirect(StatusCode::FOUND, &format!("{target}?{}", encode(&query)))
    }

    /// The reply URL of WS-Federation.
    async fn ws_federation(&self, request: &Request) -> Response {
        if request.query().get("wa") == Some("wsignoutcleanup1.0") {
            return self.sign_out(request);
        }
        let fields = request.form();
        if request.method != Method::POST || fields.get("wa") != Some("wsignin1.0") {
            return refuse("this address takes the answer of a sign-in");
        }
        if let Err(reason) = self.expected(fields.get("wctx"), "wctx") {
            return refuse(&reason);
        }
        self.accept(
            fields.get("wresult").unwrap_or_default(),
            &self.realm,
            "WS-Federation",
            request,
        )
        .await
    }

    /// The reply URL of the SAML protocol.
    async fn saml(&self, request: &Request) -> Response {
        let fields = request.form();
        let document = fields
            .get("SAMLResponse")
            .and_then(|text| {
                STANDARD
                    .decode(text.split_whitespace().collect::<String>())
                    .ok()
            })
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some(document) = document else {
            return refuse("there is no SAML response");
        };
        if let Err(reason) = self.expected(fields.get("RelayState"), "RelayState") {
            return refuse(&reason);
        }
        self.accept(&document, &self.url("/saml"), "SAML", request)
            .await
    }

    /// What comes back must have been sent, once. Nothing at all may come back: that is a sign-in begun elsewhere.
    fn expected(&self, context: Option<&str>, name: &str) -> Result<(), String> {
        match context {
            None | Some("") => Ok(()),
            Some(context) if lock(&self.begun).remove(context).is_some() => Ok(()),
            Some(_) => Err(format!(
                "the {name} is not one that this application sent, or it came back twice"
            )),
        }
    }

    async fn accept(
        &self,
        document: &str,
        audience: &str,
        protocol: &'static str,
        request: &Request,
    ) -> Response {
        let now = OffsetDateTime::now_utc();
        let accepted = match self.verifier.verify(document, audience, now).await {
            Ok(accepted) => accepted,
            Err(refusal) => return refuse(&refusal.to_string()),
        };
        if let Err(reason) = self.addressed(&accepted) {
            return refuse(reason);
        }
        if !self.first_time(&accepted, now) {
            return refuse("this token was used before");
        }
        let Some(upn) = accepted
            .claim(UPN)
            .or_else(|| accepted.claim("upn"))
            .or_else(|| accepted.claim("urn:oid:1.3.6.1.4.1.5923.1.1.1.6"))
        else {
            return refuse("the token names no user");
        };
        let signed_in = SignedIn {
            upn: upn.to_owned(),
            issuer: accepted.issuer.clone(),
            protocol,
            address: request.peer.ip().to_canonical(),
            authenticated: accepted.authenticated.clone(),
        };
        let note = format!(
            "signed in {upn} by {protocol}, token of {} posted by {}",
            accepted.issuer, signed_in.address
        );
        let id = opaque(30);
        lock(&self.signed_in).insert(id.clone(), signed_in);
        let mut response = redirect(StatusCode::SEE_OTHER, "/home");
        add(
            &mut response,
            "set-cookie",
            &format!("AppSession={id}; Path=/; Secure; HttpOnly; SameSite=Lax"),
        );
        noted(response, note)
    }

    /// A SAML 2.0 assertion must be for this address, and answer a request of this application, if any.
    fn addressed(&self, accepted: &Accepted) -> Result<(), &'static str> {
        if accepted
            .recipient
            .as_ref()
            .is_some_and(|recipient| *recipient != self.url("/saml/acs"))
        {
            return Err("the token is for another address");
        }
        match &accepted.in_response_to {
            Some(id) if lock(&self.begun).remove(id).is_none() => {
                Err("the token answers a request that was not made here")
            }
            _ => Ok(()),
        }
    }

    fn first_time(&self, accepted: &Accepted, now: OffsetDateTime) -> bool {
        let mut seen = lock(&self.seen);
        seen.retain(|_, expires| *expires + crate::saml::verify::SKEW > now);
        seen.insert(accepted.id.clone(), accepted.expires).is_none()
    }

    fn home(&self, request: &Request) -> Response {
        let session = request
            .cookie("AppSession")
            .and_then(|id| lock(&self.signed_in).get(id).cloned());
        let Some(session) = session else {
            return redirect(StatusCode::FOUND, "/");
        };
        page(
            StatusCode::OK,
            "Cloud Application",
            &format!(
                "<p role=\"status\">You are signed in.</p><dl><dt>User</dt><dd id=\"upn\">{}</dd><dt>Token of</dt>\
                 <dd id=\"issuer\">{}</dd><dt>Protocol</dt><dd id=\"protocol\">{}</dd><dt>Token posted from</dt>\
                 <dd id=\"address\">{}</dd><dt>This page asked for from</dt><dd id=\"page-address\">{}</dd>\
                 <dt>Signed in at</dt><dd>{}</dd></dl><p><a href=\"/signout\">Sign out</a></p>",
                escape(&session.upn),
                escape(&session.issuer),
                session.protocol,
                session.address,
                request.peer.ip().to_canonical(),
                escape(&session.authenticated),
            ),
        )
    }

    fn sign_out(&self, request: &Request) -> Response {
        if let Some(id) = request.cookie("AppSession") {
            lock(&self.signed_in).remove(id);
        }
        let mut response = page(
            StatusCode::OK,
            "Signed out",
            "<p>You are signed out of the application.</p>",
        );
        add(
            &mut response,
            "set-cookie",
            "AppSession=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
        );
        response
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host)
    }
}

impl Handler for App {
    async fn handle(&self, request: Request) -> Response {
        let path = request.uri.path().trim_end_matches('/').to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let mut response = match segments.as_slice() {
            [] => self.start(&self.plan.services[0].name, &request),
            ["login.srf"] => self.ws_federation(&request).await,
            ["home"] => self.home(&request),
            ["signout"] => self.sign_out(&request),
            ["saml", "acs"] => self.saml(&request).await,
            ["saml", service] => self.start_saml(service, &request),
            ["favicon.ico"] => answer(StatusCode::NO_CONTENT, "", ""),
            [service] => self.start(service, &request),
            _ => missing(),
        };
        add(&mut response, "cache-control", "no-store");
        response
    }
}

fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().expect("no holder of the lock panics")
}

fn encode<V: AsRef<str>>(pairs: &[(&str, V)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

fn missing() -> Response {
    page(
        StatusCode::NOT_FOUND,
        "Not found",
        "<p>There is nothing here.</p>",
    )
}

fn refuse(reason: &str) -> Response {
    let content = format!("<p role=\"alert\" id=\"reason\">{}</p>", escape(reason));
    noted(
        page(StatusCode::FORBIDDEN, "Sign-in refused", &content),
        format!("refused: {reason}"),
    )
}

fn page(status: StatusCode, title: &str, content: &str) -> Response {
    html(
        status,
        format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>body{{font:16px/1.5 \
             system-ui,sans-serif;color:#1b1b1b;background:#f4f6f8;margin:0}}header{{background:#0b5cad;color:#fff;\
             padding:1rem 2rem}}h1{{font-size:1.4rem;margin:0}}main{{max-width:44rem;margin:2rem auto;background:#fff;\
             padding:1.5rem 2rem;border-radius:6px}}dt{{color:#555;font-size:.85rem;margin-top:.8rem}}dd{{margin:0;\
             font-weight:600;overflow-wrap:anywhere}}</style></head><body><header><h1>{title}</h1></header>\
             <main>{content}</main></body></html>"
        ),
    )
}

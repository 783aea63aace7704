//! The SAML protocol at `/adfs/ls`: requests by redirect and by POST, responses by POST.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method as Verb, StatusCode};
use time::{Duration, OffsetDateTime};

use crate::control::Twist;
use crate::http::{MAX_BODY, Parameters, Request, Response, add, redirect};
use crate::idp::passive::{Ask, unsupported_method};
use crate::idp::product::{Endpoint, asks_second_factor};
use crate::idp::session::{Session, opaque};
use crate::idp::users::Asker;
use crate::idp::{Idp, pages};
use crate::people::User;
use crate::plan::Protocol;
use crate::saml::response::saml_response;
use crate::server::Error;
use crate::xml::Element;

/// What a SAML request asks for.
pub(super) enum Message {
    /// A token.
    SignIn(Ask),
    /// The end of the session.
    SignOut,
}

/// Requests that came in a body, kept while the form is shown (`MSISSamlRequest`).
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<String, (String, Option<String>)>>);

impl Pending {
    /// Keeps the posted request under the id in `retry`, and gives the browser a cookie for it.
    pub(super) fn remember(&self, retry: &str, request: &Request, response: &mut Response) {
        let fields = request.form();
        let Some(message) = fields.get("SAMLRequest") else {
            return;
        };
        let id = format!(
            "{}{}",
            retry.rsplit('=').next().unwrap_or_default(),
            opaque(300)
        );
        add(
            response,
            "set-cookie",
            &format!("MSISSamlRequest={id}; path=/adfs; secure; HttpOnly; SameSite=None"),
        );
        let kept = (
            message.to_owned(),
            fields.get("RelayState").map(str::to_owned),
        );
        self.0
            .lock()
            .expect("no holder of the lock panics")
            .insert(id, kept);
    }

    fn find(&self, request: &Request) -> Option<(String, Option<String>)> {
        self.0
            .lock()
            .expect("no holder of the lock panics")
            .get(request.cookie("MSISSamlRequest")?)
            .cloned()
    }
}

impl Idp {
    /// The SAML request in the query, in the body, or remembered; `None` when there is none.
    pub(super) fn saml_request(
        &self,
        request: &Request,
        query: &Parameters,
    ) -> Option<Result<Message, String>> {
        if let Some(text) = query.get("SAMLRequest") {
            let relay = query.get("RelayState").map(str::to_owned);
            return Some(inflate(text).and_then(|xml| self.read_request(&xml, relay)));
        }
        let fields = request.form();
        let (text, relay) = match fields.get("SAMLRequest") {
            Some(text) if request.method == Verb::POST => {
                (text.to_owned(), fields.get("RelayState").map(str::to_owned))
            }
            _ => self.requests.find(request)?,
        };
        let xml = STANDARD
            .decode(text.split_whitespace().collect::<String>())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| "MSIS7046: the SAML message is not base64 of UTF-8".to_owned());
        Some(xml.and_then(|xml| self.read_request(&xml, relay)))
    }

    /// The page that posts a SAML response with a token, or a redirection with a reference to it.
    pub(super) fn saml_token(
        &self,
        ask: &Ask,
        session: &Session,
        user: &User,
        asker: &Asker,
    ) -> Result<Response, Error> {
        if ask.artifact || asker.has(Twist::Artifact, user) {
            return Ok(self.artifact(ask));
        }
        let response = self.saml_document(ask, session, user, asker)?;
        Ok(self.post_response(ask, &response))
    }

    /// The page that posts a SAML response without one; `code` is the second status.
    pub(super) fn saml_failure(&self, ask: &Ask, code: &str) -> Response {
        self.post_response(ask, &self.failed_response(ask, code))
    }

    /// A SAML response with a token.
    pub(super) fn saml_document(
        &self,
        ask: &Ask,
        session: &Session,
        user: &User,
        asker: &Asker,
    ) -> Result<String, Error> {
        let mut statement = self.statement(user, session, &ask.relying_party, asker);
        for claim in &mut statement.claims {
            let own = self
                .shape
                .names
                .iter()
                .find(|(name, _)| *name == claim.kind);
            if let Some((_, own)) = own {
                (*own).clone_into(&mut claim.kind);
            }
        }
        let request = ask.request.as_deref();
        let assertion = self.saml2(statement, &ask.reply, request, user, asker)?;
        let (id, response) = self.response(ask, Ok(&assertion.xml));
        self.signed_response(response, &id, user, asker)
    }

    /// A SAML response without a token.
    pub(super) fn failed_response(&self, ask: &Ask, code: &str) -> String {
        self.response(ask, Err(code)).1
    }

    fn response(&self, ask: &Ask, outcome: Result<&str, &str>) -> (String, String) {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let response = saml_response(
            &id,
            &self.service.issuer(),
            &ask.reply,
            ask.request.as_deref(),
            OffsetDateTime::now_utc(),
            outcome,
        );
        (id, response)
    }

    fn post_response(&self, ask: &Ask, response: &str) -> Response {
        let encoded = STANDARD.encode(response);
        let mut fields = vec![("SAMLResponse", encoded.as_str())];
        if let Some(relay) = &ask.context {
            fields.push(("RelayState", relay));
        }
        pages::auto_post(self.shape, &ask.reply, &fields)
    }

    /// A reference of type 4: the hash of the issuer's name, and a handle that nobody can redeem here.
    fn artifact(&self, ask: &Ask) -> Response {
        let algorithm = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
        let source = aws_lc_rs::digest::digest(algorithm, self.service.issuer().as_bytes());
        let mut artifact = vec![0, 4, 0, 0];
        artifact.extend_from_slice(source.as_ref());
        artifact.extend_from_slice(&rand::random::<[u8; 20]>());
        let mut fields = vec![("SAMLart", STANDARD.encode(artifact))];
        fields.extend(ask.context.clone().map(|relay| ("RelayState", relay)));
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let joint = if ask.reply.contains('?') { '&' } else { '?' };
        redirect(StatusCode::FOUND, &format!("{}{joint}{query}", ask.reply))
    }

    /// Whether an address is one where this service takes browsers' sign-ins.
    fn is_here(&self, address: &str) -> bool {
        let Some(path) = address.strip_prefix(&self.url("")) else {
            return false;
        };
        let passive = [Endpoint::Passive, Endpoint::Ecp];
        self.shape
            .endpoint(path)
            .is_some_and(|endpoint| passive.contains(&endpoint))
    }

    fn read_request(&self, xml: &str, relay: Option<String>) -> Result<Message, String> {
        let root = Element::parse(xml).map_err(|error| format!("MSIS7046: {error}"))?;
        self.read_element(&root, relay)
    }

    /// What a message of the SAML protocol asks for.
    pub(super) fn read_element(
        &self,
        root: &Element,
        relay: Option<String>,
    ) -> Result<Message, String> {
        if root.namespace != "urn:oasis:names:tc:SAML:2.0:protocol" {
            return Err("MSIS7046: not a SAML 2.0 protocol message".to_owned());
        }
        match root.name.as_str() {
            "AuthnRequest" => {}
            "LogoutRequest" | "LogoutResponse" => return Ok(Message::SignOut),
            other => return Err(format!("MSIS7046: unexpected message {other}")),
        }
        if root
            .attribute("Destination")
            .is_some_and(|to| !self.is_here(to))
        {
            return Err("MSIS7093: the Destination of the message is not this service".to_owned());
        }
        let issuer = root
            .child("Issuer")
            .map(|issuer| issuer.text.trim().to_owned())
            .unwrap_or_default();
        let party = self.relying_party(&issuer)?;
        let reply = match root.attribute("AssertionConsumerServiceURL") {
            None => &party.reply[0],
            Some(wanted) => party
                .reply
                .iter()
                .find(|known| *known == wanted)
                .ok_or_else(|| format!("MSIS3200: No AssertionConsumerService is configured that matches '{wanted}'."))?,
        };
        let classes: Vec<&str> = root
            .child("RequestedAuthnContext")
            .map_or(&[][..], |context| &context.children[..])
            .iter()
            .filter(|class| class.name == "AuthnContextClassRef")
            .map(|class| class.text.trim())
            .collect();
        let plain = |class: &str| {
            class.ends_with(":PasswordProtectedTransport") || class.ends_with(":Password")
        };
        let chosen = classes
            .iter()
            .find(|class| plain(class) || asks_second_factor(class));
        if let (None, Some(first)) = (chosen, classes.first()) {
            return Err(unsupported_method(first));
        }
        let yes = |name: &str| matches!(root.attribute(name), Some("true" | "1"));
        Ok(Message::SignIn(Ask {
            relying_party: party.identifier.clone(),
            reply: reply.clone(),
            context: relay,
            max_age: yes("ForceAuthn").then_some(Duration::ZERO),
            hint: root
                .path(&["Subject", "NameID"])
                .map(|name| name.text.trim().to_owned())
                .unwrap_or_default(),
            protocol: Protocol::Saml,
            request: root.attribute("ID").map(str::to_owned),
            silent: yes("IsPassive"),
            second: chosen.is_some_and(|class| asks_second_factor(class)),
            artifact: root
                .attribute("ProtocolBinding")
                .is_some_and(|binding| binding.ends_with(":HTTP-Artifact")),
        }))
    }
}

fn inflate(text: &str) -> Result<String, String> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| "MSIS7046: the SAML message is not base64".to_owned())?;
    let mut xml = String::new();
    flate2::read::DeflateDecoder::new(bytes.as_slice())
        .take(MAX_BODY as u64)
        .read_to_string(&mut xml)
        .map_err(|_| "MSIS7046: the SAML message is not deflated UTF-8".to_owned())?;
    Ok(xml)
}

//! The SAML protocol at `/adfs/ls`: requests by redirect and by POST, responses by POST.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method as Verb;
use time::{Duration, OffsetDateTime};

use crate::http::{MAX_BODY, Parameters, Request, Response, add};
use crate::idp::passive::{Ask, unsupported_method};
use crate::idp::session::{ATTRIBUTES, opaque};
use crate::idp::{Idp, pages};
use crate::plan::Protocol;
use crate::saml::assertion::Statement;
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
            &format!("MSISSamlRequest={id}{ATTRIBUTES}"),
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

    /// The page that posts a SAML response with a token.
    pub(super) fn saml_token(&self, ask: &Ask, statement: &Statement) -> Result<Response, Error> {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let assertion =
            self.signer
                .sign(&statement.saml2(&id, &ask.reply, ask.request.as_deref()))?;
        Ok(self.post_response(ask, Ok(&assertion)))
    }

    /// The page that posts a SAML response without one; `code` is the second status.
    pub(super) fn saml_failure(&self, ask: &Ask, code: &str) -> Response {
        self.post_response(ask, Err(code))
    }

    fn post_response(&self, ask: &Ask, outcome: Result<&str, &str>) -> Response {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let now = OffsetDateTime::now_utc();
        let xml = saml_response(
            &id,
            &self.service.issuer(),
            &ask.reply,
            ask.request.as_deref(),
            now,
            outcome,
        );
        let encoded = STANDARD.encode(xml);
        let mut fields = vec![("SAMLResponse", encoded.as_str())];
        if let Some(relay) = &ask.context {
            fields.push(("RelayState", relay));
        }
        pages::auto_post(&ask.reply, &fields)
    }

    fn read_request(&self, xml: &str, relay: Option<String>) -> Result<Message, String> {
        let root = Element::parse(xml).map_err(|error| format!("MSIS7046: {error}"))?;
        if root.namespace != "urn:oasis:names:tc:SAML:2.0:protocol" {
            return Err("MSIS7046: not a SAML 2.0 protocol message".to_owned());
        }
        match root.name.as_str() {
            "AuthnRequest" => {}
            "LogoutRequest" | "LogoutResponse" => return Ok(Message::SignOut),
            other => return Err(format!("MSIS7046: unexpected message {other}")),
        }
        let here = [self.url("/adfs/ls/"), self.url("/adfs/ls")];
        if root
            .attribute("Destination")
            .is_some_and(|to| !here.iter().any(|url| url == to))
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
        if let Some(class) = root.path(&["RequestedAuthnContext", "AuthnContextClassRef"]) {
            let class = class.text.trim();
            if !class.ends_with(":PasswordProtectedTransport") && !class.ends_with(":Password") {
                return Err(unsupported_method(class));
            }
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

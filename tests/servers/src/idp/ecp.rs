//! SAML for rich clients (enhanced client or proxy): a request in SOAP 1.1 with HTTP Basic, a response in SOAP 1.1.

use http::{Method as Verb, StatusCode};

use crate::http::{Request, Response, add, answer, escape, noted};
use crate::idp::Idp;
use crate::idp::samlp::Message;
use crate::idp::session::Session;
use crate::idp::users::{Asker, check, credentials};
use crate::saml::assertion::Method;
use crate::xml::Element;

impl Idp {
    /// Answers a SAML request of an application that brings a name and a password.
    pub(super) fn ecp(&self, request: &Request, asker: &Asker) -> Response {
        if request.method != Verb::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "", "");
        }
        let credentials = credentials(request, "Basic");
        let Some(user) =
            credentials.and_then(|(name, password)| check(&self.plan, &name, &password).cloned())
        else {
            let mut response = noted(
                answer(StatusCode::UNAUTHORIZED, "", ""),
                "wrong user name or password",
            );
            add(
                &mut response,
                "www-authenticate",
                "Basic realm=\"Shibboleth\"",
            );
            return response;
        };
        let text = String::from_utf8_lossy(&request.body);
        let Ok(envelope) = Element::parse(&text) else {
            return answer(StatusCode::BAD_REQUEST, "", "");
        };
        let Some(inner) = envelope.path(&["Body", "AuthnRequest"]) else {
            return answer(StatusCode::BAD_REQUEST, "", "");
        };
        let ask = match self.read_element(inner, None) {
            Ok(Message::SignIn(ask)) => ask,
            Ok(Message::SignOut) => return answer(StatusCode::BAD_REQUEST, "", ""),
            Err(reason) => return soap_fault(&reason),
        };
        let session = Session::now(&user, Method::Password);
        let response = if ask.second {
            self.failed_response(&ask, "NoAuthnContext")
        } else {
            match self.saml_document(&ask, &session, &user, asker) {
                Ok(response) => response,
                Err(error) => return soap_fault(&error.to_string()),
            }
        };
        let envelope = format!(
            "<soap11:Envelope xmlns:soap11=\"{SOAP}\"><soap11:Header><ecp:Response \
             AssertionConsumerServiceURL=\"{reply}\" soap11:actor=\"http://schemas.xmlsoap.org/soap/actor/next\" \
             soap11:mustUnderstand=\"1\" xmlns:ecp=\"urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp\"/></soap11:Header>\
             <soap11:Body>{response}</soap11:Body></soap11:Envelope>",
            reply = escape(&ask.reply),
        );
        noted(
            answer(StatusCode::OK, "text/xml;charset=UTF-8", envelope),
            format!("token for {} to {}", user.upn, ask.relying_party),
        )
    }
}

fn soap_fault(reason: &str) -> Response {
    let envelope = format!(
        "<soap11:Envelope xmlns:soap11=\"{SOAP}\"><soap11:Body><soap11:Fault><faultcode>soap11:Client</faultcode>\
         <faultstring>{}</faultstring></soap11:Fault></soap11:Body></soap11:Envelope>",
        escape(reason)
    );
    noted(
        answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/xml;charset=UTF-8",
            envelope,
        ),
        format!("fault: {reason}"),
    )
}

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";

//! WS-Trust for rich clients: `usernamemixed`, 2005 and 1.3.
//!
//! Lenient as a real service has to be (header blocks may be missing or misspelt, attributes quoted either way), and
//! exact in its answers: a token, or a SOAP 1.2 fault with HTTP 500, also for a wrong password.

use http::{Method as Verb, StatusCode};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::http::{Request, Response, answer, escape, noted};
use crate::idp::Idp;
use crate::idp::session::Session;
use crate::idp::users::{Asker, check};
use crate::saml::assertion::Method;
use crate::saml::moment;
use crate::saml::response::{WSSE, WSU, WsTrust};
use crate::xml::Element;

pub(super) use crate::saml::response::WsTrust::{V13, V2005};

impl Idp {
    /// Answers a request for a token with a user name and password; without a version, in the request's own.
    pub(super) fn username_mixed(
        &self,
        version: Option<WsTrust>,
        request: &Request,
        asker: &Asker,
    ) -> Response {
        if request.method != Verb::POST {
            return answer(StatusCode::BAD_REQUEST, "", "");
        }
        let soap = request
            .header("content-type")
            .is_some_and(|kind| kind.to_ascii_lowercase().contains("soap+xml"));
        if !soap {
            return answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "");
        }
        let Some(envelope) = std::str::from_utf8(&request.body)
            .ok()
            .and_then(|text| Element::parse(text).ok())
        else {
            return noted(
                answer(StatusCode::BAD_REQUEST, "", ""),
                "the envelope is not well-formed",
            );
        };
        let version = version.unwrap_or_else(|| {
            let body = envelope.path(&["Body", "RequestSecurityToken"]);
            match body {
                Some(request) if request.namespace == V13.namespace() => V13,
                _ => V2005,
            }
        });
        let wanted = Wanted::read(&envelope, version);
        match self.issue_active(version, &wanted, asker) {
            Ok(response) => response,
            Err(fault) => noted(
                fault.response(version, wanted.message_id),
                format!("fault: {}", fault.text),
            ),
        }
    }

    fn issue_active(
        &self,
        version: WsTrust,
        wanted: &Wanted<'_>,
        asker: &Asker,
    ) -> Result<Response, Fault> {
        let now = OffsetDateTime::now_utc();
        let (Some(user_name), Some(password)) = (wanted.user_name, wanted.password) else {
            return Err(Fault::security(
                "An error occurred when verifying security for the message.",
            ));
        };
        let here = format!("https://{}/", self.service.host);
        let address = wanted
            .to
            .map(|to| to.replace(":443/", "/").to_ascii_lowercase());
        if address.is_some_and(|to| !to.starts_with(&here)) {
            return Err(Fault::addressing());
        }
        if wanted
            .expires
            .is_some_and(|expires| expires + CLOCK_SKEW < now)
            || wanted
                .created
                .is_some_and(|created| created > now + CLOCK_SKEW)
        {
            return Err(Fault::security(
                "An error occurred when verifying security for the message.",
            ));
        }
        if wanted
            .request_type
            .is_none_or(|kind| kind != format!("{}/Issue", version.namespace()))
        {
            return Err(Fault::trust(
                "InvalidRequest",
                "MSIS3127: The specified request failed.",
            ));
        }
        let user = check(&self.plan, user_name, password).ok_or_else(Fault::authentication)?;
        let party = self
            .relying_party(wanted.applies_to.unwrap_or_default())
            .map_err(|_| {
                Fault::trust(
                    "InvalidScope",
                    "ID3082: The request scope is not valid or is unsupported.",
                )
            })?;
        let session = Session::now(user, Method::Password);
        let statement = self.statement(user, &session, &party.identifier, asker);
        let (issued, expires) = (statement.issued, statement.issued + statement.lifetime);
        let assertion = self.saml11(statement, user, asker).map_err(|_| {
            Fault::trust("RequestFailed", "MSIS3127: The specified request failed.")
        })?;
        let body = version.response(
            &assertion.xml,
            &assertion.id,
            &party.identifier,
            issued,
            expires,
        );
        let envelope = envelope(version.response_action(), wanted.message_id, now, &body);
        Ok(noted(
            answer(StatusCode::OK, SOAP, envelope),
            format!("token for {} to {}", user.upn, party.identifier),
        ))
    }
}

/// What the envelope says, as far as it could be found.
#[derive(Debug, Default)]
struct Wanted<'a> {
    message_id: Option<&'a str>,
    to: Option<&'a str>,
    user_name: Option<&'a str>,
    password: Option<&'a str>,
    created: Option<OffsetDateTime>,
    expires: Option<OffsetDateTime>,
    applies_to: Option<&'a str>,
    request_type: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn read(envelope: &'a Element, version: WsTrust) -> Self {
        let Some(header) = envelope.child("Header") else {
            return Self::default();
        };
        let text = |element: Option<&'a Element>| element.map(|element| element.text.trim());
        let token = header.path(&["Security", "UsernameToken"]);
        let timestamp = header.path(&["Security", "Timestamp"]);
        let moment = |name: &str| {
            let text = text(timestamp.and_then(|timestamp| timestamp.child(name)))?;
            OffsetDateTime::parse(text, &Rfc3339).ok()
        };
        let request = envelope
            .path(&["Body", "RequestSecurityToken"])
            .filter(|request| request.namespace == version.namespace());
        Self {
            message_id: text(
                header
                    .children
                    .iter()
                    .find(|block| block.name.eq_ignore_ascii_case("MessageID")),
            ),
            to: text(header.child("To")),
            user_name: text(token.and_then(|token| token.child("Username"))),
            password: token
                .and_then(|token| token.child("Password"))
                .map(|password| password.text.as_str()),
            created: moment("Created"),
            expires: moment("Expires"),
            applies_to: text(
                request.and_then(|r| r.path(&["AppliesTo", "EndpointReference", "Address"])),
            ),
            request_type: text(request.and_then(|r| r.child("RequestType"))),
        }
    }
}

/// A SOAP 1.2 fault.
#[derive(Debug)]
struct Fault {
    namespace: Option<&'static str>,
    code: &'static str,
    text: &'static str,
}

impl Fault {
    fn authentication() -> Self {
        Self {
            namespace: Some(WSSE),
            code: "FailedAuthentication",
            text: "ID3242: The security token could not be authenticated or authorized.",
        }
    }

    fn security(text: &'static str) -> Self {
        Self {
            namespace: Some(WSSE),
            code: "InvalidSecurity",
            text,
        }
    }

    fn addressing() -> Self {
        Self {
            namespace: Some("http://www.w3.org/2005/08/addressing"),
            code: "DestinationUnreachable",
            text: "The message cannot be processed at the receiver, due to an AddressFilter mismatch at the \
                   EndpointDispatcher.",
        }
    }

    fn trust(code: &'static str, text: &'static str) -> Self {
        Self {
            namespace: None,
            code,
            text,
        }
    }

    fn response(&self, version: WsTrust, message_id: Option<&str>) -> Response {
        let namespace = self.namespace.unwrap_or(version.namespace());
        let body = format!(
            "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:a=\"{namespace}\">a:{}</s:Value>\
             </s:Subcode></s:Code><s:Reason><s:Text xml:lang=\"en-US\">{}</s:Text></s:Reason></s:Fault>",
            self.code,
            escape(self.text),
        );
        let action = "http://www.w3.org/2005/08/addressing/soap/fault";
        let envelope = envelope(action, message_id, OffsetDateTime::now_utc(), &body);
        answer(StatusCode::INTERNAL_SERVER_ERROR, SOAP, envelope)
    }
}

fn envelope(action: &str, message_id: Option<&str>, now: OffsetDateTime, body: &str) -> String {
    let relates = message_id.map_or_else(String::new, |id| {
        format!("<a:RelatesTo>{}</a:RelatesTo>", escape(id))
    });
    format!(
        "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:a=\"http://www.w3.org/2005/08/addressing\" xmlns:u=\"{WSU}\"><s:Header>\
         <a:Action s:mustUnderstand=\"1\">{action}</a:Action>{relates}<o:Security s:mustUnderstand=\"1\" \
         xmlns:o=\"{WSSE}\"><u:Timestamp u:Id=\"_0\"><u:Created>{created}</u:Created><u:Expires>{expires}</u:Expires>\
         </u:Timestamp></o:Security></s:Header><s:Body>{body}</s:Body></s:Envelope>",
        created = moment(now),
        expires = moment(now + Duration::minutes(5)),
    )
}

const SOAP: &str = "application/soap+xml; charset=utf-8";
const CLOCK_SKEW: Duration = Duration::minutes(5);

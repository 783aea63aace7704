//! What assertions travel in: WS-Trust responses (2005 and 1.3) and the SAML protocol's `Response`.

use time::OffsetDateTime;

use crate::http::escape;
use crate::saml::moment;

/// The two versions of WS-Trust that AD FS speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsTrust {
    /// February 2005.
    V2005,
    /// 1.3.
    V13,
}

impl WsTrust {
    /// The version's namespace.
    pub fn namespace(self) -> &'static str {
        match self {
            Self::V2005 => "http://schemas.xmlsoap.org/ws/2005/02/trust",
            Self::V13 => "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
        }
    }

    /// `wsa:Action` of a request for a token.
    pub fn request_action(self) -> String {
        format!("{}/RST/Issue", self.namespace())
    }

    /// `wsa:Action` of the answer.
    pub fn response_action(self) -> &'static str {
        match self {
            Self::V2005 => "http://schemas.xmlsoap.org/ws/2005/02/trust/RSTR/Issue",
            Self::V13 => "http://docs.oasis-open.org/ws-sx/ws-trust/200512/RSTRC/IssueFinal",
        }
    }

    fn key_type(self) -> &'static str {
        match self {
            Self::V2005 => "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey",
            Self::V13 => "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer",
        }
    }

    /// The response element that carries `assertion` (SAML 1.1, signed) for `audience`: in 2005 alone, in 1.3 inside
    /// a collection. The assertion's bytes are left as they are.
    pub fn response(
        self,
        assertion: &str,
        id: &str,
        audience: &str,
        issued: OffsetDateTime,
        expires: OffsetDateTime,
    ) -> String {
        let namespace = self.namespace();
        let reference = |name: &str| {
            format!(
                "<trust:{name}><o:SecurityTokenReference k:TokenType=\"{TOKEN_TYPE}\" xmlns:o=\"{WSSE}\" \
                 xmlns:k=\"http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd\"><o:KeyIdentifier \
                 ValueType=\"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID\">{id}\
                 </o:KeyIdentifier></o:SecurityTokenReference></trust:{name}>"
            )
        };
        let response = format!(
            "<trust:RequestSecurityTokenResponse xmlns:trust=\"{namespace}\"><trust:Lifetime><wsu:Created \
             xmlns:wsu=\"{WSU}\">{created}</wsu:Created><wsu:Expires xmlns:wsu=\"{WSU}\">{expires}</wsu:Expires>\
             </trust:Lifetime><wsp:AppliesTo xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\">\
             <wsa:EndpointReference xmlns:wsa=\"http://www.w3.org/2005/08/addressing\"><wsa:Address>{audience}\
             </wsa:Address></wsa:EndpointReference></wsp:AppliesTo><trust:RequestedSecurityToken>{assertion}\
             </trust:RequestedSecurityToken>{attached}{unattached}<trust:TokenType>{TOKEN_TYPE_PLAIN}</trust:TokenType>\
             <trust:RequestType>{namespace}/Issue</trust:RequestType><trust:KeyType>{key}</trust:KeyType>\
             </trust:RequestSecurityTokenResponse>",
            created = moment(issued),
            expires = moment(expires),
            audience = escape(audience),
            attached = reference("RequestedAttachedReference"),
            unattached = reference("RequestedUnattachedReference"),
            key = self.key_type(),
        );
        match self {
            Self::V2005 => response,
            Self::V13 => format!(
                "<trust:RequestSecurityTokenResponseCollection xmlns:trust=\"{namespace}\">{response}\
                 </trust:RequestSecurityTokenResponseCollection>"
            ),
        }
    }
}

/// A SAML `Response` with the given id, around `assertion` (SAML 2.0, signed) if sign-in succeeded.
pub fn saml_response(
    id: &str,
    issuer: &str,
    destination: &str,
    request: Option<&str>,
    created: OffsetDateTime,
    outcome: Result<&str, &str>,
) -> String {
    let in_response = request.map_or_else(String::new, |id| {
        format!(" InResponseTo=\"{}\"", escape(id))
    });
    let (status, assertion) = match outcome {
        Ok(assertion) => (
            format!("<samlp:StatusCode Value=\"{STATUS}Success\"/>"),
            assertion,
        ),
        Err(code) => (
            format!(
                "<samlp:StatusCode Value=\"{STATUS}Responder\"><samlp:StatusCode Value=\"{STATUS}{code}\"/>\
                 </samlp:StatusCode>"
            ),
            "",
        ),
    };
    format!(
        "<samlp:Response ID=\"{id}\" Version=\"2.0\" IssueInstant=\"{issued}\" Destination=\"{destination}\" \
         Consent=\"urn:oasis:names:tc:SAML:2.0:consent:unspecified\"{in_response} \
         xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
         <Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">{issuer}</Issuer>\
         <samlp:Status>{status}</samlp:Status>{assertion}</samlp:Response>",
        issued = moment(created),
        destination = escape(destination),
        issuer = escape(issuer),
    )
}

/// WS-Security utility namespace.
pub const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
/// WS-Security extension namespace.
pub const WSSE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";

const TOKEN_TYPE: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1";
const TOKEN_TYPE_PLAIN: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
const STATUS: &str = "urn:oasis:names:tc:SAML:2.0:status:";

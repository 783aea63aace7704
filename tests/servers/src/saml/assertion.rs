//! SAML assertions as AD FS writes them: 1.1 for WS-Federation and WS-Trust, 2.0 for the SAML protocol.
//!
//! In: what is to be said about whom. Out: XML with a signature to fill in ([`crate::saml::sign`]). Every namespace is
//! declared on the assertion itself, so that it can be cut out of its envelope byte by byte.

use std::fmt::Write;

use time::{Duration, OffsetDateTime};

use crate::http::escape;
use crate::saml::moment;
use crate::saml::sign::signature_template;

/// What an assertion says.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The service that issues it.
    pub issuer: String,
    /// The relying party that it is for.
    pub audience: String,
    /// The subject's name identifier.
    pub subject: String,
    /// How the user proved who they are (SAML 1.1 spelling; see [`Method`]).
    pub method: Method,
    /// When they did.
    pub authenticated: OffsetDateTime,
    /// When the assertion is issued; valid from then.
    pub issued: OffsetDateTime,
    /// How long it is valid.
    pub lifetime: Duration,
    /// What is claimed, in order.
    pub claims: Vec<Claim>,
}

/// A claim: its type as one URI, and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Claim type URI. SAML 1.1 splits it at the last `/` into namespace and name.
    pub kind: String,
    /// Values; more than one for groups.
    pub values: Vec<String>,
}

/// How a user authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Password over TLS.
    Password,
    /// A certificate in the TLS handshake.
    Certificate,
    /// Windows, on the intranet.
    Windows,
    /// One of these and a second factor; the word is what SAML 2.0 says then.
    Multiple(&'static str),
}

impl Method {
    /// The SAML 1.1 authentication method.
    pub fn saml11(self) -> &'static str {
        match self {
            Self::Password => "urn:oasis:names:tc:SAML:1.0:am:password",
            Self::Certificate => "urn:ietf:rfc:2246",
            Self::Windows => "urn:federation:authentication:windows",
            Self::Multiple(_) => "http://schemas.microsoft.com/claims/multipleauthn",
        }
    }

    /// The SAML 2.0 authentication context class.
    pub fn saml2(self) -> &'static str {
        match self {
            Self::Password => "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            Self::Certificate => "urn:oasis:names:tc:SAML:2.0:ac:classes:TLSClient",
            Self::Windows => "urn:federation:authentication:windows",
            Self::Multiple(word) => word,
        }
    }

    /// The value of `amr` in a JSON token.
    pub fn amr(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Certificate => "rsa",
            Self::Windows => "wia",
            Self::Multiple(_) => "mfa",
        }
    }
}

impl Statement {
    /// A SAML 1.1 assertion with the given id (an XML name), its signature last.
    pub fn saml11(&self, id: &str) -> String {
        let (issued, expires) = (moment(self.issued), moment(self.issued + self.lifetime));
        let subject = format!(
            "<saml:Subject><saml:NameIdentifier Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">{}\
             </saml:NameIdentifier><saml:SubjectConfirmation><saml:ConfirmationMethod>\
             urn:oasis:names:tc:SAML:1.0:cm:bearer</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>",
            escape(&self.subject),
        );
        let mut attributes = String::new();
        for claim in &self.claims {
            let (namespace, name) = claim.kind.rsplit_once('/').unwrap_or(("", &claim.kind));
            let (name, namespace) = (escape(name), escape(namespace));
            let values = values(&claim.values, "saml:AttributeValue");
            write!(
                attributes,
                "<saml:Attribute AttributeName=\"{name}\" AttributeNamespace=\"{namespace}\">{values}</saml:Attribute>",
            )
            .expect("writing to a string does not fail");
        }
        format!(
            "<saml:Assertion MajorVersion=\"1\" MinorVersion=\"1\" AssertionID=\"{id}\" Issuer=\"{issuer}\" \
             IssueInstant=\"{issued}\" xmlns:saml=\"urn:oasis:names:tc:SAML:1.0:assertion\">\
             <saml:Conditions NotBefore=\"{issued}\" NotOnOrAfter=\"{expires}\"><saml:AudienceRestrictionCondition>\
             <saml:Audience>{audience}</saml:Audience></saml:AudienceRestrictionCondition></saml:Conditions>\
             <saml:AttributeStatement>{subject}{attributes}</saml:AttributeStatement>\
             <saml:AuthenticationStatement AuthenticationMethod=\"{method}\" AuthenticationInstant=\"{authenticated}\">\
             {subject}</saml:AuthenticationStatement>{signature}</saml:Assertion>",
            issuer = escape(&self.issuer),
            audience = escape(&self.audience),
            method = self.method.saml11(),
            authenticated = moment(self.authenticated),
            signature = signature_template(id),
        )
    }

    /// A SAML 2.0 assertion with the given id, its signature after the issuer. `recipient` is where it is posted to,
    /// `request` the id of the request that it answers.
    pub fn saml2(&self, id: &str, recipient: &str, request: Option<&str>) -> String {
        let (issued, expires) = (moment(self.issued), moment(self.issued + self.lifetime));
        let confirmed_until = moment(self.issued + Duration::minutes(5));
        let in_response = request.map_or_else(String::new, |id| {
            format!(" InResponseTo=\"{}\"", escape(id))
        });
        let mut attributes = String::new();
        for claim in &self.claims {
            let values = values(&claim.values, "AttributeValue");
            write!(
                attributes,
                "<Attribute Name=\"{}\">{values}</Attribute>",
                escape(&claim.kind)
            )
            .expect("writing to a string does not fail");
        }
        format!(
            "<Assertion ID=\"{id}\" IssueInstant=\"{issued}\" Version=\"2.0\" \
             xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\"><Issuer>{issuer}</Issuer>{signature}\
             <Subject><NameID Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">{subject}</NameID>\
             <SubjectConfirmation Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><SubjectConfirmationData\
             {in_response} NotOnOrAfter=\"{confirmed_until}\" Recipient=\"{recipient}\"/></SubjectConfirmation></Subject>\
             <Conditions NotBefore=\"{issued}\" NotOnOrAfter=\"{expires}\"><AudienceRestriction><Audience>{audience}\
             </Audience></AudienceRestriction></Conditions><AttributeStatement>{attributes}</AttributeStatement>\
             <AuthnStatement AuthnInstant=\"{authenticated}\" SessionIndex=\"{id}\"><AuthnContext>\
             <AuthnContextClassRef>{method}</AuthnContextClassRef></AuthnContext></AuthnStatement></Assertion>",
            issuer = escape(&self.issuer),
            subject = escape(&self.subject),
            audience = escape(&self.audience),
            recipient = escape(recipient),
            method = self.method.saml2(),
            authenticated = moment(self.authenticated),
            signature = signature_template(id),
        )
    }
}

fn values(values: &[String], element: &str) -> String {
    let mut xml = String::new();
    for value in values {
        write!(xml, "<{element}>{}</{element}>", escape(value))
            .expect("writing to a string does not fail");
    }
    xml
}

//! Assertions as federation services write them, and a service that signs them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::LazyLock;
use std::time::Duration;

use bergshamra_dsig::{DsigContext, sign};
use bergshamra_keys::{KeysManager, loader};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use time::UtcDateTime;
use time::macros::utc_datetime;
use weir_claims::saml::look;
use weir_claims::{Certificate, Claims, Expected, Form, Keys, Refused, Token, Trust};

/// The service whose tokens are believed.
pub static SERVICE: LazyLock<Service> = LazyLock::new(Service::rsa);
/// Somebody else, with a key of the same kind.
pub static STRANGER: LazyLock<Service> = LazyLock::new(Service::rsa);

pub const ISSUER: &str = "http://sts.corp.example/adfs/services/trust";
pub const AUDIENCE: &str = "urn:federation:MicrosoftOnline";
pub const ADDRESS: &str = "https://login.microsoftonline.com/login.srf";
pub const NOW: UtcDateTime = utc_datetime!(2026-03-02 09:20:00);
pub const FORMS: [Form; 2] = [Form::Saml11, Form::Saml20];

/// A token-signing key and its certificate.
pub struct Service {
    pub key_pem: String,
    pub certificate_pem: String,
    pub certificate: Certificate,
    keys: KeysManager,
}

impl Service {
    pub fn rsa() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
        Self::with(&pair.expect("a key"))
    }

    pub fn elliptic() -> Self {
        Self::with(&KeyPair::generate().expect("a key"))
    }

    fn with(pair: &KeyPair) -> Self {
        let parameters = CertificateParams::new(Vec::new()).expect("no names");
        let certificate = parameters.self_signed(pair).expect("a certificate");
        let key_pem = pair.serialize_pem();
        let mut keys = KeysManager::new();
        keys.add_key(loader::load_pem_auto(key_pem.as_bytes(), None).expect("its own key"));
        Self {
            key_pem,
            certificate_pem: certificate.pem(),
            certificate: Certificate::from_der(certificate.der()).expect("a usable key"),
            keys,
        }
    }

    /// What the service publishes.
    pub fn keys(&self) -> Keys {
        Keys {
            issuers: vec![ISSUER.to_owned()],
            certificates: vec![self.certificate.clone()],
            jwks: Vec::new(),
        }
    }

    pub fn trust(&self) -> Trust {
        Trust::new(&self.keys()).expect("usable keys")
    }

    /// Fills in the first signature of a document that has no digest yet.
    pub fn sign(&self, document: &str) -> String {
        let mut context = DsigContext::new(self.keys.clone());
        context.trusted_keys_only = true;
        sign::sign(&context, document).expect("a template")
    }
}

/// An assertion with its signature.
pub fn signed(form: Form) -> String {
    SERVICE.sign(&with(&unsigned(form), &template(ID)))
}

/// Puts a signature where the document has a place for it.
pub fn with(document: &str, signature: &str) -> String {
    document.replace(PLACE, signature)
}

/// What it is looked at with, if nothing is wrong.
pub fn expected(audiences: &[String]) -> Expected<'_> {
    Expected {
        audiences: Some(audiences),
        recipient: Some(ADDRESS),
        now: NOW,
        skew: Duration::from_mins(1),
    }
}

pub fn judge(document: &str) -> Token {
    judge_with(&SERVICE.trust(), document)
}

pub fn judge_with(trust: &Trust, document: &str) -> Token {
    look(document, trust, &expected(&[AUDIENCE.to_owned()]))
}

/// The claims of a document that must be believed.
#[track_caller]
pub fn believed(document: &str) -> Claims {
    match judge(document) {
        Token::Verified(claims) => claims,
        other => panic!("{other:?}\n{document}"),
    }
}

/// Why a document is refused, which it must be.
#[track_caller]
pub fn refused(document: &str) -> Refused {
    match judge(document) {
        Token::Refused { why, .. } => why,
        other => panic!("{other:?}\n{document}"),
    }
}

/// What the assertion travels in: a WS-Trust response, or a SAML response.
pub fn outer(form: Form, assertion: &str) -> String {
    match form {
        Form::Saml20 => response(assertion, ""),
        _ => format!(
            "<t:RequestSecurityTokenResponse xmlns:t=\"http://schemas.xmlsoap.org/ws/2005/02/trust\"><t:Lifetime>\
             <wsu:Created xmlns:wsu=\"{WSU}\">2026-03-02T09:15:00.000Z</wsu:Created>\
             <wsu:Expires xmlns:wsu=\"{WSU}\">2026-03-02T10:15:00.000Z</wsu:Expires></t:Lifetime>\
             <wsp:AppliesTo xmlns:wsp=\"http://schemas.xmlsoap.org/ws/2004/09/policy\"><wsa:EndpointReference \
             xmlns:wsa=\"http://www.w3.org/2005/08/addressing\"><wsa:Address>{AUDIENCE}</wsa:Address>\
             </wsa:EndpointReference></wsp:AppliesTo><t:RequestedSecurityToken>{assertion}\
             </t:RequestedSecurityToken><t:TokenType>{SAML11}</t:TokenType>\
             <t:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</t:RequestType>\
             <t:KeyType>http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey</t:KeyType>\
             </t:RequestSecurityTokenResponse>"
        ),
    }
}

/// A SAML response, with its own signature behind the issuer.
pub fn response(assertion: &str, signature: &str) -> String {
    format!(
        "<samlp:Response ID=\"{RESPONSE}\" Version=\"2.0\" IssueInstant=\"2026-03-02T09:15:00.000Z\" \
         Destination=\"{ADDRESS}\" InResponseTo=\"_r1\" xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
         <Issuer xmlns=\"{SAML20}\">{ISSUER}</Issuer>{signature}<samlp:Status><samlp:StatusCode \
         Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>{assertion}</samlp:Response>"
    )
}

/// An assertion that says the usual, with a place for its signature.
pub fn unsigned(form: Form) -> String {
    if form == Form::Saml20 {
        format!(
            "<Assertion ID=\"{ID}\" IssueInstant=\"2026-03-02T09:15:00.000Z\" Version=\"2.0\" xmlns=\"{SAML20}\">\
             <Issuer>{ISSUER}</Issuer>{PLACE}<Subject><NameID \
             Format=\"urn:oasis:names:tc:SAML:2.0:nameid-format:persistent\">{SUBJECT}</NameID><SubjectConfirmation \
             Method=\"urn:oasis:names:tc:SAML:2.0:cm:bearer\"><SubjectConfirmationData InResponseTo=\"_r1\" \
             NotOnOrAfter=\"2026-03-02T09:21:00.000Z\" Recipient=\"{ADDRESS}\"/></SubjectConfirmation></Subject>\
             <Conditions NotBefore=\"2026-03-02T09:15:00.000Z\" NotOnOrAfter=\"2026-03-02T10:15:00.000Z\">\
             <AudienceRestriction><Audience>{AUDIENCE}</Audience></AudienceRestriction></Conditions>\
             <AttributeStatement><Attribute Name=\"http://schemas.xmlsoap.org/claims/UPN\"><AttributeValue>\
             anna@corp.example</AttributeValue></Attribute><Attribute Name=\"{GROUP}\"><AttributeValue>Finance\
             </AttributeValue><AttributeValue>Staff</AttributeValue></Attribute></AttributeStatement>\
             <AuthnStatement AuthnInstant=\"2026-03-02T09:14:58.123Z\" SessionIndex=\"{ID}\"><AuthnContext>\
             <AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport\
             </AuthnContextClassRef></AuthnContext></AuthnStatement></Assertion>"
        )
    } else {
        let subject = format!(
            "<saml:Subject><saml:NameIdentifier \
                 Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">{SUBJECT}</saml:NameIdentifier>\
                 <saml:SubjectConfirmation><saml:ConfirmationMethod>urn:oasis:names:tc:SAML:1.0:cm:bearer\
                 </saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>"
        );
        format!(
            "<saml:Assertion MajorVersion=\"1\" MinorVersion=\"1\" AssertionID=\"{ID}\" Issuer=\"{ISSUER}\" \
                 IssueInstant=\"2026-03-02T09:15:00.000Z\" xmlns:saml=\"{SAML11}\"><saml:Conditions \
                 NotBefore=\"2026-03-02T09:15:00.000Z\" NotOnOrAfter=\"2026-03-02T10:15:00.000Z\">\
                 <saml:AudienceRestrictionCondition><saml:Audience>{AUDIENCE}</saml:Audience>\
                 </saml:AudienceRestrictionCondition></saml:Conditions><saml:AttributeStatement>{subject}\
                 <saml:Attribute AttributeName=\"UPN\" AttributeNamespace=\"http://schemas.xmlsoap.org/claims\">\
                 <saml:AttributeValue>anna@corp.example</saml:AttributeValue></saml:Attribute><saml:Attribute \
                 AttributeName=\"Group\" AttributeNamespace=\"http://schemas.xmlsoap.org/claims\">\
                 <saml:AttributeValue>Finance</saml:AttributeValue><saml:AttributeValue>Staff</saml:AttributeValue>\
                 </saml:Attribute></saml:AttributeStatement><saml:AuthenticationStatement \
                 AuthenticationMethod=\"urn:oasis:names:tc:SAML:1.0:am:password\" \
                 AuthenticationInstant=\"2026-03-02T09:14:58.123Z\">{subject}</saml:AuthenticationStatement>\
                 {PLACE}</saml:Assertion>"
        )
    }
}

/// A signature to be filled in, over the element with that id.
pub fn template(id: &str) -> String {
    format!(
        "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><ds:SignedInfo><ds:CanonicalizationMethod \
         Algorithm=\"{EXCLUSIVE}\"/><ds:SignatureMethod \
         Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256\"/><ds:Reference URI=\"#{id}\"><ds:Transforms>\
         <ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"/><ds:Transform \
         Algorithm=\"{EXCLUSIVE}\"/></ds:Transforms><ds:DigestMethod \
         Algorithm=\"http://www.w3.org/2001/04/xmlenc#sha256\"/><ds:DigestValue></ds:DigestValue></ds:Reference>\
         </ds:SignedInfo><ds:SignatureValue></ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>\
         </ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>"
    )
}

pub const ID: &str = "_5f3a1c0e-8d44-4f6e-9a57-2f1b6f0f3c11";
pub const RESPONSE: &str = "_b1d0c7aa-21f0-4c1d-8a39-7be1f0f6c2d4";
pub const SUBJECT: &str = "rZ2a7uVQnUaXo1qS3Tn0hA==";
pub const GROUP: &str = "http://schemas.xmlsoap.org/claims/Group";
pub const PLACE: &str = "@signature@";
pub const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub const SAML11: &str = "urn:oasis:names:tc:SAML:1.0:assertion";
pub const SAML20: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";

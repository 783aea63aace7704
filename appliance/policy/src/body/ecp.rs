//! SAML 2.0 requests in SOAP 1.1, as applications send them to an identity provider (SAML profiles 4.2.4).

use super::xml::{Space, is_at, walk};

/// What such a request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Text of the one `Issuer` of the one `AuthnRequest`, where both belong.
    pub(crate) issuer: Option<String>,
    /// Whether somebody may be named in the message itself.
    pub(crate) names_somebody: bool,
}

/// Reads a request; `None` when it is not readable as a whole.
pub(crate) fn read(body: &[u8]) -> Option<Request> {
    let (mut frames, mut requests, mut names_somebody) = (0, 0, false);
    let mut issuers = Vec::new();
    walk(body, &["Issuer"], |path| {
        let Some(element) = path.last() else { return };
        match element.name.as_str() {
            "Envelope" | "Body" => frames += 1,
            "AuthnRequest" => requests += 1,
            "Issuer" => {
                let in_place = is_at(path, ISSUER) && !element.has_children;
                issuers.push(in_place.then(|| element.text.trim().to_owned()));
            }
            "Security"
            | "UsernameToken"
            | "Username"
            | "BinarySecurityToken"
            | "Assertion"
            | "EncryptedAssertion"
            | "EncryptedData"
            | "Subject" => names_somebody = true,
            _ => {}
        }
    })
    .ok()?;
    let issuer = match issuers.as_slice() {
        [Some(issuer)] if frames == 2 && requests == 1 => Some(issuer.clone()),
        _ => None,
    };
    Some(Request {
        issuer,
        names_somebody,
    })
}

const ISSUER: &[(Space, &str)] = &[
    (Space::Soap11, "Envelope"),
    (Space::Soap11, "Body"),
    (Space::SamlProtocol, "AuthnRequest"),
    (Space::Saml, "Issuer"),
];

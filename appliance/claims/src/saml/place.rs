//! Where in a document its one assertion is.

use std::collections::HashSet;

use super::tree::Node;
use super::{DSIG, SAML11, SAML20};
use crate::{Form, Refused};

/// What a document holds.
pub(super) enum Found<'d> {
    /// An assertion that can be read.
    Assertion(Place<'d>),
    /// One that only its audience can read.
    Encrypted,
}

/// The one assertion of a document.
pub(super) struct Place<'d> {
    /// Its version.
    pub(super) form: Form,
    /// Itself.
    pub(super) assertion: Node<'d>,
    /// The SAML 2.0 `Response` that it is a child of.
    pub(super) response: Option<Node<'d>>,
    /// Every signature in the document, wherever it is.
    pub(super) signatures: Vec<Node<'d>>,
}

/// Finds the assertion by going down from the root, step by step, and makes sure that there is no other.
pub(super) fn find(root: Node<'_>) -> Result<Found<'_>, Refused> {
    let survey = Survey::of(root)?;
    let top = unwrapped(root)?;
    let (token, response) = if top.is(PROTOCOL, "Response") {
        succeeded(top)?;
        let mut tokens = top.children().filter(|child| {
            matches!(
                child.name_in(SAML20),
                Some("Assertion" | "EncryptedAssertion")
            )
        });
        (one(&mut tokens)?, Some(top))
    } else {
        (top, None)
    };
    if token.is(SAML20, "EncryptedAssertion") || token.is(ENCRYPTION, "EncryptedData") {
        return if survey.assertions.is_empty() {
            Ok(Found::Encrypted)
        } else {
            Err(Refused::SeveralAssertions)
        };
    }
    let form = if token.is(SAML11, "Assertion") {
        Form::Saml11
    } else if token.is(SAML20, "Assertion") {
        Form::Saml20
    } else {
        return Err(Refused::NoAssertion);
    };
    if survey.assertions.len() != 1 || survey.encrypted {
        return Err(Refused::SeveralAssertions);
    }
    if hides_attributes(token) {
        return Ok(Found::Encrypted);
    }
    let supported = match form {
        Form::Saml20 => token.attribute("Version") == Some("2.0"),
        _ => {
            token.attribute("MajorVersion") == Some("1")
                && token.attribute("MinorVersion") == Some("1")
        }
    };
    if !supported {
        return Err(Refused::Version);
    }
    Ok(Found::Assertion(Place {
        form,
        assertion: token,
        response,
        signatures: survey.signatures,
    }))
}

/// What there is of each kind in the whole document.
struct Survey<'d> {
    assertions: Vec<Node<'d>>,
    encrypted: bool,
    signatures: Vec<Node<'d>>,
}

impl<'d> Survey<'d> {
    fn of(root: Node<'d>) -> Result<Self, Refused> {
        let mut survey = Self {
            assertions: Vec::new(),
            encrypted: false,
            signatures: Vec::new(),
        };
        let mut ids = HashSet::new();
        for node in root.everything() {
            if node.is(SAML11, "Assertion") || node.is(SAML20, "Assertion") {
                survey.assertions.push(node);
            } else if node.is(SAML20, "EncryptedAssertion") {
                survey.encrypted = true;
            } else if node.is(DSIG, "Signature") {
                survey.signatures.push(node);
            }
            for (_, name, value) in node.attributes() {
                if IDS.contains(&name) && !ids.insert(value) {
                    return Err(Refused::SameId);
                }
            }
        }
        Ok(survey)
    }
}

/// Goes into a SOAP envelope and into a WS-Trust response.
fn unwrapped(root: Node<'_>) -> Result<Node<'_>, Refused> {
    let mut node = root;
    if let Some(soap) = SOAP.into_iter().find(|soap| node.is(soap, "Envelope")) {
        let body = node.only(soap, "Body")?.ok_or(Refused::NoAssertion)?;
        node = one(&mut body.children())?;
    }
    for trust in TRUST {
        if node.is(trust, "RequestSecurityTokenResponseCollection") {
            node = one(&mut node.all(trust, "RequestSecurityTokenResponse"))?;
        }
        if node.is(trust, "RequestSecurityTokenResponse") {
            let requested = one(&mut node.all(trust, "RequestedSecurityToken"))?;
            return one(&mut requested.children());
        }
    }
    Ok(node)
}

fn one<'d>(found: &mut dyn Iterator<Item = Node<'d>>) -> Result<Node<'d>, Refused> {
    let first = found.next().ok_or(Refused::NoAssertion)?;
    match found.next() {
        Some(_) => Err(Refused::SeveralAssertions),
        None => Ok(first),
    }
}

/// Whether a response says that the sign-in succeeded.
fn succeeded(response: Node<'_>) -> Result<(), Refused> {
    if response.attribute("Version") != Some("2.0") {
        return Err(Refused::Version);
    }
    let status = response.only(PROTOCOL, "Status")?;
    let code = match status {
        Some(status) => status.only(PROTOCOL, "StatusCode")?,
        None => None,
    };
    match code.and_then(|code| code.attribute("Value")) {
        Some(SUCCESS) => Ok(()),
        _ => Err(Refused::Status),
    }
}

/// Whether parts of what the assertion says are encrypted: then what it says as a whole cannot be known.
fn hides_attributes(assertion: Node<'_>) -> bool {
    let mut statements = assertion.all(SAML20, "AttributeStatement");
    statements.any(|statement| statement.all(SAML20, "EncryptedAttribute").next().is_some())
}

/// Attributes by which elements are referred to, in whatever namespace.
const IDS: [&str; 6] = ["ID", "Id", "id", "AssertionID", "ResponseID", "RequestID"];
const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const ENCRYPTION: &str = "http://www.w3.org/2001/04/xmlenc#";
const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
const SOAP: [&str; 2] = [
    "http://www.w3.org/2003/05/soap-envelope",
    "http://schemas.xmlsoap.org/soap/envelope/",
];
const TRUST: [&str; 2] = [
    "http://schemas.xmlsoap.org/ws/2005/02/trust",
    "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
];

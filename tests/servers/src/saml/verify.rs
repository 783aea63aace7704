//! The cloud's check of a token: signature by the `xmlsec1` program, then audience and time.
//!
//! In: the document that carried the assertion. Out: what the assertion says, read from the very bytes that were
//! verified, or why it is refused. Replay is the caller's to refuse: it knows what it accepted before.

use std::path::PathBuf;
use std::process::Stdio;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use tokio::process::Command;

use crate::xml::Element;

/// Clocks may differ by this much.
pub const SKEW: Duration = Duration::minutes(5);

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It cannot be read.
    #[error("the token is not well-formed: {0}")]
    Malformed(String),
    /// There must be one, in the clear.
    #[error("the message carries {0} assertions, not one")]
    NotOne(usize),
    /// The signature is missing, is not the assertion's own, or covers something else.
    #[error("the assertion's signature is not acceptable: {0}")]
    Form(&'static str),
    /// Nobody that this cloud trusts.
    #[error("the issuer {0} is not federated with this tenant")]
    Issuer(String),
    /// The signature does not verify with the issuer's certificate.
    #[error("the token's signature does not verify with the certificate of {0}")]
    Signature(String),
    /// It is for somebody else.
    #[error("the token is for {0}, not for this application")]
    Audience(String),
    /// Too early or too late.
    #[error("the token is not valid now: {0}")]
    Time(&'static str),
    /// The program that verifies could not be run.
    #[error("the signature cannot be checked: {0}")]
    Tool(String),
}

/// What an accepted assertion says.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The assertion's id, for replay detection.
    pub id: String,
    /// Who issued it.
    pub issuer: String,
    /// The name identifier.
    pub subject: String,
    /// Claims: type URI and values.
    pub claims: Vec<(String, Vec<String>)>,
    /// When the user authenticated, as written.
    pub authenticated: String,
    /// From when on it is no longer valid.
    pub expires: OffsetDateTime,
    /// The request that it answers (SAML 2.0 only).
    pub in_response_to: Option<String>,
    /// Where it was to be posted to (SAML 2.0 only).
    pub recipient: Option<String>,
}

impl Accepted {
    /// The first value of a claim.
    pub fn claim(&self, kind: &str) -> Option<&str> {
        self.claims
            .iter()
            .find(|(found, _)| found == kind)
            .and_then(|(_, values)| values.first())
            .map(String::as_str)
    }
}

/// The issuers that are trusted, each with the file of a certificate; an issuer may have several.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    issuers: Vec<(String, PathBuf)>,
}

impl Verifier {
    /// Trusts each issuer's certificate (PEM), for its own tokens only.
    pub fn new(issuers: Vec<(String, PathBuf)>) -> Self {
        Self { issuers }
    }

    /// Whether `xmlsec1` can be run here.
    pub fn available() -> bool {
        std::process::Command::new("xmlsec1")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Checks the one assertion in `document`, at `now`, for `audience`.
    pub async fn verify(
        &self,
        document: &str,
        audience: &str,
        now: OffsetDateTime,
    ) -> Result<Accepted, Refusal> {
        let outer =
            Element::parse(document).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let found = outer
            .all(&|element| matches!(element.name.as_str(), "Assertion" | "EncryptedAssertion"));
        let [found] = found.as_slice() else {
            return Err(Refusal::NotOne(found.len()));
        };
        let bytes = &document[found.span.clone()];
        let assertion =
            Element::parse(bytes).map_err(|error| Refusal::Malformed(error.to_string()))?;

        let version = Version::of(&assertion)?;
        let id = assertion
            .attribute(version.id_attribute())
            .ok_or(Refusal::Form("no id"))?;
        acceptable_form(&assertion, id)?;
        let issuer = version.issuer(&assertion);
        let mut known = false;
        let mut verifies = false;
        for (trusted, certificate) in &self.issuers {
            if *trusted == issuer && !verifies {
                known = true;
                verifies = xmlsec1(bytes, certificate, version).await?;
            }
        }
        if !known {
            return Err(Refusal::Issuer(issuer));
        }
        if !verifies {
            return Err(Refusal::Signature(issuer));
        }

        let accepted = version.read(&assertion, id, issuer, audience)?;
        let begins = assertion
            .child("Conditions")
            .and_then(|conditions| instant(conditions, "NotBefore"));
        if begins.is_none_or(|begins| now + SKEW < begins) {
            return Err(Refusal::Time("it is not valid yet"));
        }
        if now - SKEW >= accepted.expires {
            return Err(Refusal::Time("it has expired"));
        }
        Ok(accepted)
    }
}

/// One signature, a child of the assertion, with one reference to the assertion, and no algorithm but those that the
/// federation services use.
fn acceptable_form(assertion: &Element, id: &str) -> Result<(), Refusal> {
    let signatures =
        assertion.all(&|element| element.namespace == DSIG && element.name == "Signature");
    let [signature] = signatures.as_slice() else {
        return Err(Refusal::Form("there must be one signature"));
    };
    if !assertion
        .children
        .iter()
        .any(|child| child.span == signature.span)
    {
        return Err(Refusal::Form("the signature is not the assertion's child"));
    }
    let references = signature.all(&|element| element.name == "Reference");
    let [reference] = references.as_slice() else {
        return Err(Refusal::Form("there must be one reference"));
    };
    if reference.attribute("URI") != Some(&format!("#{id}")) {
        return Err(Refusal::Form("the signature covers something else"));
    }
    let algorithms: Vec<&str> = signature
        .all(&|_| true)
        .into_iter()
        .filter_map(|element| element.attribute("Algorithm"))
        .collect();
    if algorithms
        .iter()
        .all(|algorithm| ALGORITHMS.contains(algorithm))
    {
        Ok(())
    } else {
        Err(Refusal::Form("an algorithm is not accepted"))
    }
}

async fn xmlsec1(
    assertion: &str,
    certificate: &std::path::Path,
    version: Version,
) -> Result<bool, Refusal> {
    let tool = |error: std::io::Error| Refusal::Tool(format!("xmlsec1: {error}"));
    let file = tempfile::NamedTempFile::new().map_err(tool)?;
    tokio::fs::write(file.path(), assertion)
        .await
        .map_err(tool)?;
    let status = Command::new("xmlsec1")
        .arg("--verify")
        .arg("--pubkey-cert-pem")
        .arg(certificate)
        .args(["--enabled-key-data", "key-name"])
        .arg(format!("--id-attr:{}", version.id_attribute()))
        .arg(format!("{}:Assertion", version.namespace()))
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(tool)?;
    Ok(status.success())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Saml11,
    Saml2,
}

impl Version {
    fn of(assertion: &Element) -> Result<Self, Refusal> {
        [Self::Saml11, Self::Saml2]
            .into_iter()
            .find(|version| {
                assertion.name == "Assertion" && assertion.namespace == version.namespace()
            })
            .ok_or(Refusal::Form("it is not a SAML assertion in the clear"))
    }

    fn namespace(self) -> &'static str {
        match self {
            Self::Saml11 => "urn:oasis:names:tc:SAML:1.0:assertion",
            Self::Saml2 => "urn:oasis:names:tc:SAML:2.0:assertion",
        }
    }

    fn id_attribute(self) -> &'static str {
        match self {
            Self::Saml11 => "AssertionID",
            Self::Saml2 => "ID",
        }
    }

    fn issuer(self, assertion: &Element) -> String {
        match self {
            Self::Saml11 => assertion.attribute("Issuer").unwrap_or_default().to_owned(),
            Self::Saml2 => text(assertion.child("Issuer")),
        }
    }

    fn read(
        self,
        assertion: &Element,
        id: &str,
        issuer: String,
        audience: &str,
    ) -> Result<Accepted, Refusal> {
        let (restriction, statement, subject, instant_name) = match self {
            Self::Saml11 => (
                "AudienceRestrictionCondition",
                "AuthenticationStatement",
                assertion.path(&["AuthenticationStatement", "Subject", "NameIdentifier"]),
                "AuthenticationInstant",
            ),
            Self::Saml2 => (
                "AudienceRestriction",
                "AuthnStatement",
                assertion.path(&["Subject", "NameID"]),
                "AuthnInstant",
            ),
        };
        let for_whom = text(assertion.path(&["Conditions", restriction, "Audience"]));
        if for_whom != audience {
            return Err(Refusal::Audience(for_whom));
        }
        let conditions = assertion
            .child("Conditions")
            .ok_or(Refusal::Time("it names no period"))?;
        let expires =
            instant(conditions, "NotOnOrAfter").ok_or(Refusal::Time("it names no end"))?;
        let confirmation =
            assertion.path(&["Subject", "SubjectConfirmation", "SubjectConfirmationData"]);
        let confirmed = |name: &str| {
            confirmation
                .and_then(|data| data.attribute(name))
                .map(str::to_owned)
        };
        let authenticated = assertion
            .child(statement)
            .and_then(|statement| statement.attribute(instant_name))
            .ok_or(Refusal::Form("no authentication statement"))?;
        let claims = assertion
            .child("AttributeStatement")
            .map_or(&[][..], |statement| &statement.children[..])
            .iter()
            .filter(|attribute| attribute.name == "Attribute")
            .map(|attribute| {
                (
                    self.claim_type(attribute),
                    attribute
                        .children
                        .iter()
                        .map(|value| value.text.clone())
                        .collect(),
                )
            })
            .collect();
        Ok(Accepted {
            id: id.to_owned(),
            issuer,
            subject: text(subject),
            claims,
            authenticated: authenticated.to_owned(),
            expires,
            in_response_to: confirmed("InResponseTo"),
            recipient: confirmed("Recipient"),
        })
    }

    fn claim_type(self, attribute: &Element) -> String {
        let of = |name| attribute.attribute(name).unwrap_or_default();
        match self {
            Self::Saml11 => format!("{}/{}", of("AttributeNamespace"), of("AttributeName")),
            Self::Saml2 => of("Name").to_owned(),
        }
    }
}

fn text(element: Option<&Element>) -> String {
    element.map_or_else(String::new, |element| element.text.trim().to_owned())
}

fn instant(element: &Element, name: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(element.attribute(name)?, &Rfc3339).ok()
}

const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

const ALGORITHMS: [&str; 4] = [
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
];

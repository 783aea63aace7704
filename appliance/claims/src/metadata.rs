//! Federation metadata (SAML 2.0 metadata, with the role that WS-Federation 1.2 adds): by which name a service
//! issues tokens, and with which certificates it signs them.
//!
//! The document's own signature is not looked at: it is fetched over TLS from the service's own upstream, and
//! that is what trust rests on.

use std::borrow::Cow;

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, PrefixDeclaration, QName, ResolveResult};
use quick_xml::{Reader, XmlVersion};

use crate::keys::{Certificate, KeyError};

/// Longest document that is read; that of AD FS has about 70 KB.
const MAX_DOCUMENT: usize = 1024 * 1024;
const MAX_DEPTH: usize = 32;
const MAX_ELEMENTS: usize = 20_000;
const MAX_ATTRIBUTES: usize = 32;
/// Most namespace declarations that hold in one place: every name looks through all of them.
const MAX_DECLARATIONS: usize = 64;
/// Most certificates.
const MAX_CERTIFICATES: usize = 32;
/// Longest name of an issuer (SAML 2.0 metadata §2.2.1).
const MAX_NAME: usize = 1024;

const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
const FEDERATION: &str = "http://docs.oasis-open.org/wsfed/federation/200706";

/// What metadata says of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The name that tokens are issued by.
    pub entity_id: String,
    /// The certificates that sign them, each once, in the order of the document.
    pub certificates: Vec<Certificate>,
    /// Certificates that are left out, by their place among those of the document that sign, from 0 on, and
    /// why.
    pub left_out: Vec<(usize, KeyError)>,
}

/// Why metadata is not read. Keys that are known stay in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is longer than any honest one.
    #[error(
        "the document is longer than 1 MiB; check that the address is that of the service's own metadata"
    )]
    TooLong,
    /// It is not plain XML.
    #[error(
        "the document is not well-formed XML in UTF-8; check the address, and what answers there: a sign-in page is no metadata"
    )]
    NotXml,
    /// It has a document type or a processing instruction.
    #[error(
        "the document has a document type or a processing instruction; metadata has none, so it is not read"
    )]
    DocumentType,
    /// There is more of something than any honest document has.
    #[error("the document has more {0} than metadata has; check the address")]
    TooMuch(&'static str),
    /// It is many services' metadata.
    #[error(
        "the document describes many services (`EntitiesDescriptor`); use the address of the service's own metadata"
    )]
    Aggregate,
    /// It is something else.
    #[error("the document is not SAML metadata (`EntityDescriptor`); check the address")]
    NotMetadata,
    /// It names no issuer.
    #[error(
        "`entityID` is missing, empty, or longer than 1024 characters; see to it at the sign-in server"
    )]
    NoName,
    /// No certificate can be used.
    #[error(
        "the document has no certificate for signatures that can be used, so it replaces nothing: {0}"
    )]
    NoCertificate(String),
}

/// Reads metadata: the certificates for signatures of the `IDPSSODescriptor` and of the role
/// `SecurityTokenServiceType`. One that cannot be used is left out, and said.
pub fn read(document: &[u8]) -> Result<Metadata, MetadataError> {
    if document.len() > MAX_DOCUMENT {
        return Err(MetadataError::TooLong);
    }
    let text = std::str::from_utf8(document).map_err(|_| MetadataError::NotXml)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_ascii_start());
    reader.config_mut().check_comments = true;
    let mut walk = Walk::default();
    loop {
        match reader.read_event().map_err(|_| MetadataError::NotXml)? {
            Event::Start(start) => walk.enter(&start)?,
            Event::Empty(start) => {
                walk.enter(&start)?;
                walk.leave()?;
            }
            Event::End(_) => walk.leave()?,
            Event::Text(piece) => walk.add(&piece.xml10_content())?,
            Event::CData(piece) if !walk.open.is_empty() => walk.add(&piece.xml10_content())?,
            // Neither base64 nor anything else that is read here has references in it.
            Event::GeneralRef(_) if !walk.open.is_empty() => walk.add("&")?,
            Event::Comment(_) => {}
            Event::Decl(declaration) => {
                let utf8 = declaration
                    .encoding()
                    .is_none_or(|name| name.is_ok_and(|name| name.eq_ignore_ascii_case("utf-8")));
                if walk.elements > 0 || !utf8 {
                    return Err(MetadataError::NotXml);
                }
            }
            Event::DocType(_) | Event::PI(_) => return Err(MetadataError::DocumentType),
            Event::Eof if walk.closed => return walk.finish(),
            Event::Eof | Event::CData(_) | Event::GeneralRef(_) => {
                return Err(MetadataError::NotXml);
            }
        }
    }
}

/// What an element is, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Entity,
    /// A role that issues tokens.
    Role,
    /// Keys of a role that sign.
    Key,
    KeyInfo,
    X509Data,
    X509Certificate,
    Other,
}

#[derive(Default)]
struct Walk {
    spaces: NamespaceResolver,
    open: Vec<Step>,
    /// Namespace declarations of each open element.
    declarations: Vec<usize>,
    elements: usize,
    closed: bool,
    entity_id: Option<String>,
    /// Text of the certificate that is open.
    text: String,
    /// Whether the open `X509Data` has given its certificate: those behind it are a chain, and sign no tokens.
    taken: bool,
    seen: usize,
    certificates: Vec<Certificate>,
    left_out: Vec<(usize, KeyError)>,
}

impl Walk {
    fn enter(&mut self, start: &BytesStart<'_>) -> Result<(), MetadataError> {
        self.elements += 1;
        if self.closed {
            return Err(MetadataError::NotXml);
        }
        if self.elements > MAX_ELEMENTS {
            return Err(MetadataError::TooMuch("elements"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(MetadataError::TooMuch("depth"));
        }
        let mut declared = 0;
        // Comparing attributes with each other is quadratic, so the count is bounded on the way.
        for (count, attribute) in start.attributes().enumerate() {
            if count == MAX_ATTRIBUTES {
                return Err(MetadataError::TooMuch("attributes"));
            }
            let attribute = attribute.map_err(|_| MetadataError::NotXml)?;
            declared += usize::from(is_declaration(attribute.key));
        }
        self.declarations.push(declared);
        if self.declarations.iter().sum::<usize>() > MAX_DECLARATIONS {
            return Err(MetadataError::TooMuch("namespaces"));
        }
        self.spaces.push(start).map_err(|_| MetadataError::NotXml)?;
        let step = self.step(start)?;
        match step {
            Step::X509Data => self.taken = false,
            Step::X509Certificate => self.text.clear(),
            _ => {}
        }
        self.open.push(step);
        Ok(())
    }

    /// What an element is, where it stands.
    fn step(&mut self, start: &BytesStart<'_>) -> Result<Step, MetadataError> {
        let (space, local) = self.spaces.resolve_element(start.name());
        let space = match space {
            ResolveResult::Bound(Namespace(uri)) => uri,
            ResolveResult::Unbound => "",
            ResolveResult::Unknown(_) => return Err(MetadataError::NotXml),
        };
        Ok(match (self.open.last(), space, local.as_ref()) {
            (None, METADATA, "EntityDescriptor") => {
                self.entity_id = value(start, "entityID")?;
                Step::Entity
            }
            (None, METADATA, "EntitiesDescriptor") => return Err(MetadataError::Aggregate),
            (None, ..) => return Err(MetadataError::NotMetadata),
            (Some(Step::Entity), METADATA, "IDPSSODescriptor") => Step::Role,
            (Some(Step::Entity), METADATA, "RoleDescriptor") if self.is_token_service(start)? => {
                Step::Role
            }
            (Some(Step::Role), METADATA, "KeyDescriptor") => {
                match value(start, "use")?.as_deref() {
                    None | Some("signing") => Step::Key,
                    Some(_) => Step::Other,
                }
            }
            (Some(Step::Key), SIGNATURE, "KeyInfo") => Step::KeyInfo,
            (Some(Step::KeyInfo), SIGNATURE, "X509Data") => Step::X509Data,
            (Some(Step::X509Data), SIGNATURE, "X509Certificate") => Step::X509Certificate,
            _ => Step::Other,
        })
    }

    /// Whether `xsi:type` says so, whatever the prefixes are.
    fn is_token_service(&self, start: &BytesStart<'_>) -> Result<bool, MetadataError> {
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| MetadataError::NotXml)?;
            let (space, local) = self.spaces.resolve_attribute(attribute.key);
            if !is_bound(&space, INSTANCE) || local.as_ref() != "type" {
                continue;
            }
            let text = attribute.normalized_value(XmlVersion::Explicit1_0);
            let text = text.map_err(|_| MetadataError::NotXml)?;
            let (space, local) = self.spaces.resolve_element(QName(text.trim_ascii()));
            return Ok(is_bound(&space, FEDERATION) && local.as_ref() == "SecurityTokenServiceType");
        }
        Ok(false)
    }

    fn leave(&mut self) -> Result<(), MetadataError> {
        let step = self.open.pop();
        self.declarations.pop();
        self.spaces.pop();
        self.closed = self.open.is_empty();
        if step != Some(Step::X509Certificate) || self.taken {
            return Ok(());
        }
        self.taken = true;
        if self.seen == MAX_CERTIFICATES {
            return Err(MetadataError::TooMuch("certificates"));
        }
        match Certificate::from_base64(&self.text) {
            Ok(certificate) if self.certificates.contains(&certificate) => {}
            Ok(certificate) => self.certificates.push(certificate),
            Err(why) => self.left_out.push((self.seen, why)),
        }
        self.seen += 1;
        Ok(())
    }

    fn add(&mut self, piece: &str) -> Result<(), MetadataError> {
        match self.open.last() {
            Some(Step::X509Certificate) => self.text.push_str(piece),
            Some(_) => {}
            None if piece.trim_ascii().is_empty() => {}
            None => return Err(MetadataError::NotXml),
        }
        Ok(())
    }

    fn finish(self) -> Result<Metadata, MetadataError> {
        let named = |name: &String| !name.trim().is_empty() && name.chars().count() <= MAX_NAME;
        let entity_id = self.entity_id.filter(named).ok_or(MetadataError::NoName)?;
        if self.certificates.is_empty() {
            let why = self.left_out.first().map_or_else(
                || "no role that issues tokens has one".to_owned(),
                |(place, why)| format!("certificate {place}: {why}"),
            );
            return Err(MetadataError::NoCertificate(why));
        }
        Ok(Metadata {
            entity_id,
            certificates: self.certificates,
            left_out: self.left_out,
        })
    }
}

fn is_declaration(name: QName<'_>) -> bool {
    matches!(
        name.as_namespace_binding(),
        Some(PrefixDeclaration::Default | PrefixDeclaration::Named(_))
    )
}

fn is_bound(space: &ResolveResult<'_>, uri: &str) -> bool {
    matches!(space, ResolveResult::Bound(Namespace(bound)) if *bound == uri)
}

/// The value of an attribute without a namespace.
fn value(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, MetadataError> {
    let attribute = start
        .try_get_attribute(name)
        .map_err(|_| MetadataError::NotXml)?;
    let value = attribute.map(|found| found.normalized_value(XmlVersion::Explicit1_0));
    Ok(value
        .transpose()
        .map_err(|_| MetadataError::NotXml)?
        .map(Cow::into_owned))
}

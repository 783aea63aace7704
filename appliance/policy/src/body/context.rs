//! Asks for a class of authentication in a SAML 2.0 request that nobody has signed (core 3.3.2.2.1).
//!
//! The rest of the message stays as it is, to the byte. A request that is signed, or that cannot be read for
//! certain, is never changed.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

use super::saml::{Binding, document};
use super::xml::{Space, is_at, walk};

/// What a request asks for, or how it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// It asks for that class already, and for nothing else.
    Asked,
    /// The message that does, encoded as the one that was given.
    With(String),
}

/// A request cannot be made to ask for a class of authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAsked {
    /// Whatever is changed in it would break its signature.
    #[error("the application signs its request")]
    Signed,
    /// It is no request to sign in, or can be read in more than one way.
    #[error("the request of the application cannot be read")]
    Unreadable,
}

/// Makes a request ask for one class of authentication, in place of those that it asks for: `message` is the
/// decoded parameter `SAMLRequest`. Whether a signature travels beside it, in other parameters, is for the
/// caller to look at.
pub fn ask_for_context(message: &str, binding: Binding, class: &str) -> Result<Context, NotAsked> {
    let request = document(message, binding).ok_or(NotAsked::Unreadable)?;
    let survey = Survey::of(&request)?;
    let text = std::str::from_utf8(&request).map_err(|_| NotAsked::Unreadable)?;
    let place = Place::of(text).ok_or(NotAsked::Unreadable)?;
    if place.is_exact && survey.classes == [class] {
        return Ok(Context::Asked);
    }
    let wanted = element(class).map_err(|_| NotAsked::Unreadable)?;
    let (before, after) = (&text[..place.from], &text[place.to..]);
    let changed = [before, &wanted, after].concat();
    let encoded = match binding {
        Binding::Post => BASE64_STANDARD.encode(changed),
        Binding::Redirect => {
            let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
            let packed = packed
                .write_all(changed.as_bytes())
                .and_then(|()| packed.finish());
            BASE64_STANDARD.encode(packed.map_err(|_| NotAsked::Unreadable)?)
        }
    };
    Ok(Context::With(encoded))
}

const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
const CONTEXT: &str = "RequestedAuthnContext";
const SCOPING: &str = "Scoping";

/// What a request says of classes: each that it asks for, and nothing in the place of whatever else it asks for.
#[derive(Debug, Default)]
struct Survey {
    classes: Vec<String>,
}

impl Survey {
    fn of(request: &[u8]) -> Result<Self, NotAsked> {
        let mut survey = Self::default();
        let (mut is_request, mut is_signed) = (false, false);
        let (mut found, mut in_place, mut others) = (0, 0, 0);
        walk(request, &["AuthnContextClassRef"], |path| {
            let Some(element) = path.last() else { return };
            match element.name.as_str() {
                "Signature" => is_signed = true,
                name @ (CONTEXT | SCOPING) => {
                    found += 1;
                    in_place += usize::from(is_at(path, &[ROOT, (Space::SamlProtocol, name)]));
                    others += usize::from(name == SCOPING);
                }
                name if path.get(1).is_some_and(|parent| parent.name == CONTEXT) => {
                    let is_class = name == "AuthnContextClassRef"
                        && path.len() == 3
                        && element.namespace == Space::Saml
                        && !element.has_children;
                    let class = if is_class { element.text.trim() } else { "" };
                    survey.classes.push(class.to_owned());
                }
                _ => {}
            }
            if path.len() == 1 {
                is_request = is_at(path, &[ROOT]);
            }
        })
        .map_err(|_| NotAsked::Unreadable)?;
        if is_signed {
            return Err(NotAsked::Signed);
        }
        let once = others <= 1 && found - others <= 1;
        if is_request && found == in_place && once {
            Ok(survey)
        } else {
            Err(NotAsked::Unreadable)
        }
    }
}

const ROOT: (Space, &str) = (Space::SamlProtocol, "AuthnRequest");

/// Where the element stands, or belongs: in front of `Scoping`, else at the end.
#[derive(Debug)]
struct Place {
    from: usize,
    to: usize,
    /// It stands there, and asks for exactly its classes.
    is_exact: bool,
}

impl Place {
    /// `text` was surveyed, so that each name stands once, where it belongs.
    fn of(text: &str) -> Option<Self> {
        let document = text.trim_start_matches('\u{feff}').trim_ascii_start();
        let skipped = text.len() - document.len();
        let mut reader = Reader::from_str(document);
        let position = |reader: &Reader<&[u8]>| {
            let read = usize::try_from(reader.buffer_position()).ok()?;
            Some(skipped + read)
        };
        let (mut depth, mut scoping, mut context) = (0_usize, None, None);
        loop {
            let from = position(&reader)?;
            let event = reader.read_event().ok()?;
            let to = position(&reader)?;
            match event {
                Event::Start(start) => {
                    if depth == 1 && is(&start, CONTEXT) {
                        context = Some((from, is_exact(&start)));
                    } else if depth == 1 && is(&start, SCOPING) {
                        scoping = Some(from);
                    }
                    depth += 1;
                }
                Event::Empty(start) if depth == 1 && is(&start, CONTEXT) => {
                    return Some(Self {
                        from,
                        to,
                        is_exact: false,
                    });
                }
                Event::Empty(start) if depth == 1 && is(&start, SCOPING) => scoping = Some(from),
                Event::End(_) => {
                    depth = depth.checked_sub(1)?;
                    match (depth, context) {
                        (1, Some((from, is_exact))) => {
                            return Some(Self { from, to, is_exact });
                        }
                        (0, _) => {
                            let from = scoping.unwrap_or(from);
                            return Some(Self {
                                from,
                                to: from,
                                is_exact: false,
                            });
                        }
                        _ => {}
                    }
                }
                Event::Eof => return None,
                _ => {}
            }
        }
    }
}

fn is(start: &BytesStart<'_>, name: &str) -> bool {
    start.local_name().as_ref() == name
}

/// Without a word, `Comparison` is exact.
fn is_exact(start: &BytesStart<'_>) -> bool {
    let mut all = start.attributes().flatten();
    all.find(|attribute| attribute.key.as_ref() == "Comparison")
        .is_none_or(|attribute| attribute.value == "exact")
}

fn element(class: &str) -> Result<String, std::io::Error> {
    let mut writer = Writer::new(Vec::new());
    writer
        .create_element("samlp:RequestedAuthnContext")
        .with_attributes([("xmlns:samlp", PROTOCOL), ("Comparison", "exact")])
        .write_inner_content(|inner| {
            let reference = inner.create_element("saml:AuthnContextClassRef");
            let reference = reference.with_attribute(("xmlns:saml", ASSERTION));
            reference.write_text_content(BytesText::new(class))?;
            Ok(())
        })?;
    String::from_utf8(writer.into_inner()).map_err(std::io::Error::other)
}

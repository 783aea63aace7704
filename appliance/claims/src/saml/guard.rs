//! Bounds, in one pass without a tree: what is beyond them costs no more than reading it once.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};

use crate::Refused;

/// Largest document, in bytes.
const MOST_BYTES: usize = 1 << 20;
/// Deepest nesting. A signature in an assertion in a WS-Trust collection in an envelope needs twelve.
const MOST_DEPTH: usize = 32;
/// Most elements: four times the groups that one sign-in can carry (1,015).
const MOST_ELEMENTS: usize = 4_096;
/// Most comments and CDATA sections. Services write none.
const MOST_PIECES: usize = 256;
/// Most references to characters and to XML's own entities: a few for each element.
const MOST_REFERENCES: usize = 16_384;
/// Most attributes of one element, declarations of namespaces among them.
const MOST_ATTRIBUTES: usize = 32;
/// Most attributes in all: two declarations and a type on each value of a long list.
const MOST_ATTRIBUTES_IN_ALL: usize = 16_384;
/// Most declarations of namespaces that hold at one place. Canonicalisation looks at all of them for each
/// element; an assertion in a WS-Trust collection in an envelope has a dozen.
const MOST_NAMESPACES: usize = 24;
/// Most declarations of namespaces in all.
const MOST_NAMESPACES_IN_ALL: usize = 8_192;

/// Refuses what is larger, deeper or wider than tokens are, and documents with a document type, references
/// to entities that are not XML's own, or processing instructions.
pub(super) fn within_bounds(document: &str) -> Result<(), Refused> {
    if document.len() > MOST_BYTES {
        return Err(Refused::TooLarge);
    }
    let mut reader = Reader::from_str(document);
    let mut seen = Seen::default();
    // Declarations that the elements around this place bring, one entry for each.
    let mut open: Vec<usize> = Vec::new();
    loop {
        match reader.read_event().map_err(|_| Refused::Malformed)? {
            Event::Start(tag) => {
                open.push(seen.element(&tag)?);
                if open.len() > MOST_DEPTH {
                    return Err(Refused::TooDeep);
                }
            }
            Event::Empty(tag) => seen.in_scope -= seen.element(&tag)?,
            Event::End(_) => seen.in_scope -= open.pop().ok_or(Refused::Malformed)?,
            Event::DocType(_) => return Err(Refused::DocumentType),
            Event::PI(_) => return Err(Refused::Instruction),
            Event::GeneralRef(name) => {
                let known = resolve_predefined_entity(&name).is_some();
                if !known && !name.is_char_ref() {
                    return Err(Refused::Entity);
                }
                seen.references += 1;
                if seen.references > MOST_REFERENCES {
                    return Err(Refused::TooManyElements);
                }
            }
            Event::CData(_) | Event::Comment(_) => {
                seen.pieces += 1;
                if seen.pieces > MOST_PIECES {
                    return Err(Refused::TooManyElements);
                }
            }
            Event::Eof => break,
            Event::Text(_) | Event::Decl(_) => {}
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(Refused::Malformed)
    }
}

#[derive(Default)]
struct Seen {
    elements: usize,
    pieces: usize,
    references: usize,
    attributes: usize,
    namespaces: usize,
    in_scope: usize,
}

impl Seen {
    /// Counts an element, and returns how many namespaces it declares.
    fn element(&mut self, tag: &BytesStart<'_>) -> Result<usize, Refused> {
        self.elements += 1;
        if self.elements > MOST_ELEMENTS {
            return Err(Refused::TooManyElements);
        }
        let (mut attributes, mut declarations) = (0, 0);
        for attribute in tag.attributes().with_checks(false) {
            let attribute = attribute.map_err(|_| Refused::Malformed)?;
            attributes += 1;
            if attributes > MOST_ATTRIBUTES {
                return Err(Refused::TooManyAttributes);
            }
            declarations += usize::from(attribute.key.as_namespace_binding().is_some());
        }
        self.attributes += attributes;
        self.namespaces += declarations;
        self.in_scope += declarations;
        if self.attributes > MOST_ATTRIBUTES_IN_ALL {
            return Err(Refused::TooManyAttributes);
        }
        if self.in_scope > MOST_NAMESPACES || self.namespaces > MOST_NAMESPACES_IN_ALL {
            return Err(Refused::TooManyNamespaces);
        }
        Ok(declarations)
    }
}

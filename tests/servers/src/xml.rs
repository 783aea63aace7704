//! A document as a small tree, for what the servers are sent: SOAP envelopes, SAML requests, tokens.
//!
//! Namespaces are resolved, text is read whole across comments and CDATA, document types are refused, and size is
//! bounded by [`crate::http::MAX_BODY`] and [`MAX_DEPTH`].

use std::ops::Range;

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 64;

/// An element.
#[derive(Debug, Clone, Default)]
pub struct Element {
    /// Namespace URI; empty when there is none.
    pub namespace: String,
    /// Name without prefix.
    pub name: String,
    /// Attributes by their name as written (prefix included), values unescaped.
    pub attributes: Vec<(String, String)>,
    /// Child elements in order.
    pub children: Vec<Element>,
    /// Character data directly inside, joined.
    pub text: String,
    /// Where the element stands in the document's bytes, tags included.
    pub span: Range<usize>,
}

/// The document is not one that the servers read.
#[derive(Debug, thiserror::Error)]
#[error("not a usable XML document: {0}")]
pub struct NotXml(String);

impl Element {
    /// Reads a document.
    pub fn parse(document: &str) -> Result<Self, NotXml> {
        let bad = |error: &dyn std::fmt::Display| NotXml(error.to_string());
        let mut reader = NsReader::from_str(document);
        let mut open: Vec<Element> = Vec::new();
        let mut root = None;
        loop {
            let before = position(&reader);
            let (resolved, event) = reader.read_resolved_event().map_err(|error| bad(&error))?;
            match event {
                Event::Start(start) => {
                    if open.len() >= MAX_DEPTH || (root.is_some() && open.is_empty()) {
                        return Err(NotXml(
                            "nested too deeply, or more than one root".to_owned(),
                        ));
                    }
                    let element = Self::begin(&resolved, &start, before)?;
                    open.push(element);
                }
                Event::Empty(start) => {
                    let mut element = Self::begin(&resolved, &start, before)?;
                    element.span.end = position(&reader);
                    close(element, &mut open, &mut root)?;
                }
                Event::End(_) => {
                    let mut element = open.pop().ok_or_else(|| NotXml("unbalanced".to_owned()))?;
                    element.span.end = position(&reader);
                    close(element, &mut open, &mut root)?;
                }
                Event::Text(text) => append(&mut open, &text.xml10_content()),
                Event::CData(data) => append(&mut open, &data.into_inner()),
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(|error| bad(&error))?;
                    let name = reference.xml10_content();
                    match (
                        character,
                        quick_xml::escape::resolve_predefined_entity(&name),
                    ) {
                        (Some(character), _) => {
                            append(&mut open, character.encode_utf8(&mut [0; 4]));
                        }
                        (None, Some(text)) => append(&mut open, text),
                        (None, None) => return Err(NotXml(format!("unknown entity {name}"))),
                    }
                }
                Event::DocType(_) => {
                    return Err(NotXml("a document type is not accepted".to_owned()));
                }
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        match root {
            Some(root) if open.is_empty() => Ok(root),
            _ => Err(NotXml("it ends too early".to_owned())),
        }
    }

    /// The first child with that local name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Follows local names downwards, first match at each step.
    pub fn path(&self, names: &[&str]) -> Option<&Element> {
        names
            .iter()
            .try_fold(self, |element, name| element.child(name))
    }

    /// The attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every element below (itself included) that `keep` accepts, in document order.
    pub fn all<'a>(&'a self, keep: &dyn Fn(&Element) -> bool) -> Vec<&'a Element> {
        let mut found = Vec::new();
        if keep(self) {
            found.push(self);
        }
        for child in &self.children {
            found.extend(child.all(keep));
        }
        found
    }

    fn begin(
        resolved: &ResolveResult<'_>,
        start: &BytesStart<'_>,
        at: usize,
    ) -> Result<Self, NotXml> {
        let namespace = match resolved {
            ResolveResult::Bound(namespace) => namespace.0.to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(prefix) => {
                return Err(NotXml(format!("prefix {prefix} is not declared")));
            }
        };
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| NotXml(error.to_string()))?;
            let value = quick_xml::escape::unescape(&attribute.value)
                .map_err(|error| NotXml(error.to_string()))?
                .into_owned();
            attributes.push((attribute.key.0.to_owned(), value));
        }
        Ok(Self {
            namespace,
            name: start.local_name().as_ref().to_owned(),
            attributes,
            span: at..at,
            ..Self::default()
        })
    }
}

fn position(reader: &NsReader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).expect("documents fit in memory")
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), NotXml> {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None if root.is_none() => *root = Some(element),
        None => return Err(NotXml("more than one root".to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_whole_across_comments_and_references() {
        let root = Element::parse("<a xmlns='u'>x<!-- c -->&amp;&#65;<![CDATA[<b>]]></a>")
            .expect("well-formed");
        assert_eq!(
            (root.namespace.as_str(), root.text.as_str()),
            ("u", "x&A<b>")
        );
    }

    #[test]
    fn spans_cut_an_element_out() {
        let document = "<a><p:b xmlns:p='u' q='1'><c/></p:b></a>";
        let root = Element::parse(document).expect("well-formed");
        assert_eq!(
            &document[root.children[0].span.clone()],
            "<p:b xmlns:p='u' q='1'><c/></p:b>"
        );
        assert_eq!(&document[root.children[0].children[0].span.clone()], "<c/>");
    }

    #[test]
    fn document_types_and_second_roots_are_refused() {
        for document in [
            "<!DOCTYPE a><a/>",
            "<a/><b/>",
            "<a><b></a>",
            "<a>",
            "",
            "<p:a/>",
        ] {
            assert!(Element::parse(document).is_err(), "{document}");
        }
    }
}

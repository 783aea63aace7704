//! XML, walked within bounds. A document with a DTD, a processing instruction, a foreign encoding, or
//! more of anything than an honest message has, is unreadable as a whole.

use quick_xml::errors::SyntaxError;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, NamespaceResolver, ResolveResult};
use quick_xml::{Error, Reader};

const MAX_DEPTH: usize = 48;
const MAX_ELEMENTS: usize = 4096;
const MAX_ATTRIBUTES: usize = 64;

/// The document cannot be read for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl From<Error> for Unreadable {
    fn from(_: Error) -> Self {
        Self
    }
}

impl From<SyntaxError> for Unreadable {
    fn from(_: SyntaxError) -> Self {
        Self
    }
}

/// An element on the way from the root to where the walk stands.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) namespace: Space,
    pub(super) name: String,
    /// Its own text, read whole across comments and CDATA, when it was wanted.
    pub(super) text: String,
    pub(super) has_children: bool,
}

/// The namespaces that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    Soap,
    Soap11,
    Security,
    Trust,
    Trust13,
    Policy,
    Addressing,
    SamlProtocol,
    Saml,
    Other,
}

/// Walks a document and calls `closed` at the end of every element, with the elements from the root
/// to it. Text is collected only for elements named in `wanted`, so that passwords are never copied.
pub(super) fn walk(
    document: &[u8],
    wanted: &[&str],
    mut closed: impl FnMut(&[Element]),
) -> Result<(), Unreadable> {
    let text = std::str::from_utf8(document).map_err(|_| Unreadable)?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}').trim_ascii_start());
    reader.config_mut().check_comments = true;
    let mut spaces = NamespaceResolver::default();
    let mut open: Vec<Element> = Vec::new();
    let mut elements = 0;
    let mut root_closed = false;
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                elements += 1;
                if elements > MAX_ELEMENTS || open.len() == MAX_DEPTH || root_closed {
                    return Err(Unreadable);
                }
                enter(&start, &mut spaces, &mut open)?;
            }
            Event::Empty(start) => {
                elements += 1;
                if elements > MAX_ELEMENTS || open.len() == MAX_DEPTH || root_closed {
                    return Err(Unreadable);
                }
                enter(&start, &mut spaces, &mut open)?;
                leave(&mut spaces, &mut open, &mut closed);
                root_closed = open.is_empty();
            }
            Event::End(_) => {
                leave(&mut spaces, &mut open, &mut closed);
                root_closed = open.is_empty();
            }
            Event::Text(piece) => add(&mut open, wanted, &piece.xml10_content())?,
            Event::CData(piece) if !open.is_empty() => {
                add(&mut open, wanted, &piece.xml10_content())?;
            }
            Event::GeneralRef(reference) if !open.is_empty() => {
                let mut buffer = [0; 4];
                let piece = match reference.resolve_char_ref()? {
                    Some(character) => &*character.encode_utf8(&mut buffer),
                    None => {
                        resolve_predefined_entity(&reference.xml10_content()).ok_or(Unreadable)?
                    }
                };
                add(&mut open, wanted, piece)?;
            }
            Event::Comment(_) => {}
            Event::Decl(declaration) => {
                let utf8 = declaration
                    .encoding()
                    .is_none_or(|name| name.is_ok_and(|name| name.eq_ignore_ascii_case("utf-8")));
                let version = declaration.version().is_ok_and(|version| version == "1.0");
                if elements > 0 || !utf8 || !version {
                    return Err(Unreadable);
                }
            }
            Event::Eof if root_closed => return Ok(()),
            Event::Eof
            | Event::DocType(_)
            | Event::PI(_)
            | Event::CData(_)
            | Event::GeneralRef(_) => return Err(Unreadable),
        }
    }
}

fn enter(
    start: &BytesStart<'_>,
    spaces: &mut NamespaceResolver,
    open: &mut Vec<Element>,
) -> Result<(), Unreadable> {
    // Comparing attributes with each other is quadratic, so the count is bounded on the way.
    for (count, attribute) in start.attributes().enumerate() {
        if count == MAX_ATTRIBUTES || attribute.is_err() {
            return Err(Unreadable);
        }
    }
    let name = start.name();
    if !name
        .0
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    {
        return Err(Unreadable);
    }
    spaces.push(start).map_err(|_| Unreadable)?;
    let (space, local) = spaces.resolve_element(name);
    let namespace = match space {
        ResolveResult::Bound(Namespace(uri)) => Space::of(uri),
        ResolveResult::Unbound => Space::Other,
        ResolveResult::Unknown(_) => return Err(Unreadable),
    };
    if let Some(parent) = open.last_mut() {
        parent.has_children = true;
    }
    let name = local.as_ref().to_owned();
    open.push(Element {
        namespace,
        name,
        text: String::new(),
        has_children: false,
    });
    Ok(())
}

fn leave(
    spaces: &mut NamespaceResolver,
    open: &mut Vec<Element>,
    closed: &mut impl FnMut(&[Element]),
) {
    closed(open);
    open.pop();
    spaces.pop();
}

fn add(open: &mut [Element], wanted: &[&str], piece: &str) -> Result<(), Unreadable> {
    match open.last_mut() {
        Some(element) if wanted.contains(&element.name.as_str()) => element.text.push_str(piece),
        Some(_) => {}
        None if piece.trim_ascii().is_empty() => {}
        None => return Err(Unreadable),
    }
    Ok(())
}

impl Space {
    fn of(uri: &str) -> Self {
        match uri {
            "http://www.w3.org/2003/05/soap-envelope" => Self::Soap,
            "http://schemas.xmlsoap.org/soap/envelope/" => Self::Soap11,
            "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" => {
                Self::Security
            }
            "http://schemas.xmlsoap.org/ws/2005/02/trust" => Self::Trust,
            "http://docs.oasis-open.org/ws-sx/ws-trust/200512" => Self::Trust13,
            "http://schemas.xmlsoap.org/ws/2004/09/policy" | "http://www.w3.org/ns/ws-policy" => {
                Self::Policy
            }
            "http://www.w3.org/2005/08/addressing"
            | "http://schemas.xmlsoap.org/ws/2004/08/addressing" => Self::Addressing,
            "urn:oasis:names:tc:SAML:2.0:protocol" => Self::SamlProtocol,
            "urn:oasis:names:tc:SAML:2.0:assertion" => Self::Saml,
            _ => Self::Other,
        }
    }
}

/// Whether `path` is exactly these elements, from the root on.
pub(super) fn is_at(path: &[Element], steps: &[(Space, &str)]) -> bool {
    path.len() == steps.len()
        && path
            .iter()
            .zip(steps)
            .all(|(element, (space, name))| element.namespace == *space && element.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(document: &str) -> Result<Vec<String>, Unreadable> {
        let mut found = Vec::new();
        walk(document.as_bytes(), &["b"], |path| {
            let element = path.last().expect("a closed element is on the path");
            if element.name == "b" {
                found.push(element.text.clone());
            }
        })?;
        Ok(found)
    }

    #[test]
    fn text_is_read_whole_across_comments_cdata_and_references() {
        let text = "<a><b>ad<!-- x -->min<![CDATA[@cor]]>p&#46;ex&amp;</b><b/></a>";
        assert_eq!(
            texts(text),
            Ok(vec!["admin@corp.ex&".to_owned(), String::new()])
        );
        assert_eq!(
            texts("\u{feff}\n <?xml version='1.0' encoding='UTF-8'?><a><b>x</b></a>\n")
                .map(|t| t.len()),
            Ok(1)
        );
    }

    #[test]
    fn what_is_not_plain_xml_is_unreadable() {
        for document in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>junk",
            "<a/>&amp;",
            "<x:a/>",
            "<a b='1' b='2'/>",
            "<a b=1/>",
            "<a>&unknown;</a>",
            "<a>&#0;</a>",
            "<a><?pi?></a>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
            "<a><!-- -- --></a>",
            "<?xml version='1.0' encoding='utf-16'?><a/>",
            "<?xml version='1.0' encoding='utf-7'?><a/>",
            "<?xml version='1.1'?><a/>",
        ] {
            assert_eq!(texts(document), Err(Unreadable), "{document}");
        }
        assert_eq!(walk(b"\xff\xfe<\0a\0/\0>\0", &[], |_| ()), Err(Unreadable));
    }

    #[test]
    fn depth_width_and_attributes_are_bounded() {
        let deep = "<a>".repeat(100_000) + &"</a>".repeat(100_000);
        assert_eq!(texts(&deep), Err(Unreadable));
        let wide = format!("<a>{}</a>", "<b/>".repeat(100_000));
        assert_eq!(texts(&wide), Err(Unreadable));
        let attributes = (0..10_000)
            .map(|n| format!(" a{n}='1'"))
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(texts(&format!("<a{attributes}/>")), Err(Unreadable));
        let spaces = (0..10_000)
            .map(|n| format!(" xmlns:a{n}='u'"))
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(texts(&format!("<a{spaces}/>")), Err(Unreadable));
        // Every element looks through all declarations around it.
        let around = (0..40)
            .map(|level| {
                let spaces = (0..60).map(|n| format!(" xmlns:a{level}-{n}='u'"));
                format!("<a{}>", spaces.collect::<String>())
            })
            .collect::<Vec<_>>()
            .concat();
        let many = format!("{around}{}{}", "<b/>".repeat(4000), "</a>".repeat(40));
        assert_eq!(texts(&many), Err(Unreadable));
    }
}

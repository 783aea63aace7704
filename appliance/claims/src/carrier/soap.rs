//! What an endpoint for applications answers: WS-Trust, and the SAML protocol over SOAP (ECP).

use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;

use super::fields::xml;
use super::{By, Carried, Found, Kind, unreadable};

/// SOAP 1.1 and 1.2.
const SOAP: [&str; 2] = [
    "http://schemas.xmlsoap.org/soap/envelope/",
    "http://www.w3.org/2003/05/soap-envelope",
];
/// WS-Trust of February 2005 and 1.3.
const TRUST: [&str; 2] = [
    "http://schemas.xmlsoap.org/ws/2005/02/trust",
    "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
];
/// The SAML protocol, whose response stands in the body as it is (SAML 2.0 profiles, section 4.2).
const PROTOCOL: [&str; 1] = ["urn:oasis:names:tc:SAML:2.0:protocol"];
/// Most declarations of namespaces: each is compared with what elements are called.
const MAX_NAMESPACES: usize = 512;
/// What elements with a token in them are called, whatever their namespace.
const TOKENS: [&str; 5] = [
    "Assertion",
    "BinarySecurityToken",
    "EncryptedAssertion",
    "EncryptedData",
    "RequestedSecurityToken",
];

pub(super) fn read(status: u16, body: &[u8]) -> Carried {
    if body.trim_ascii().is_empty() {
        return Carried::Nothing;
    }
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| "the message is not UTF-8")
        .and_then(xml);
    let seen = text.as_deref().map_err(|_| ()).and_then(look);
    match (text, seen) {
        (Ok(text), Ok(seen)) if seen.answers == 1 && seen.others == 0 && seen.tokens > 0 => {
            Carried::Token(Found {
                kind: Kind::WsTrust,
                text,
                by: By::Soap,
                others: Vec::new(),
            })
        }
        (_, Ok(seen)) if seen.tokens > 0 => {
            unreadable("a token is not where WS-Trust or ECP has it")
        }
        (_, Ok(seen)) if seen.faults == 1 && seen.answers + seen.others == 1 => Carried::Nothing,
        // Not SOAP, and not read to its end: a page of a server that is out of order, if it says so.
        _ if (200..300).contains(&status) || may_hold(body) => {
            unreadable("the answer is neither a SOAP fault nor a WS-Trust answer with a token")
        }
        _ => Carried::Nothing,
    }
}

/// What stands in a message.
#[derive(Default)]
struct Seen {
    /// Answers of WS-Trust and of ECP that are children of the body.
    answers: usize,
    /// Faults that are.
    faults: usize,
    /// Children of the body that are not answers.
    others: usize,
    /// Elements with a token in them, wherever.
    tokens: usize,
}

fn look(text: &str) -> Result<Seen, ()> {
    if text.matches("xmlns").nth(MAX_NAMESPACES).is_some() {
        return Err(());
    }
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let (mut seen, mut depth, mut bodies, mut in_body) = (Seen::default(), 0_usize, 0, false);
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| ())?;
        let within = |known: &[&str]| match &namespace {
            ResolveResult::Bound(bound) => known.contains(&bound.as_ref()),
            _ => false,
        };
        match event {
            Event::Start(element) => {
                let local = element.local_name();
                let name = local.as_ref();
                seen.tokens += usize::from(TOKENS.contains(&name));
                match depth {
                    0 if !(within(&SOAP) && name == "Envelope") => return Err(()),
                    1 => {
                        in_body = within(&SOAP) && name == "Body";
                        bodies += usize::from(in_body);
                    }
                    2 if in_body => {
                        let answer = name == "RequestSecurityTokenResponse"
                            || name == "RequestSecurityTokenResponseCollection";
                        let response = name == "Response" && within(&PROTOCOL);
                        if answer && within(&TRUST) || response {
                            seen.answers += 1;
                        } else {
                            seen.others += 1;
                            seen.faults += usize::from(within(&SOAP) && name == "Fault");
                        }
                    }
                    _ => {}
                }
                depth += 1;
            }
            Event::End(_) => depth = depth.checked_sub(1).ok_or(())?,
            Event::DocType(_) => return Err(()),
            Event::Eof => break,
            _ => {}
        }
    }
    if depth == 0 && bodies == 1 {
        Ok(seen)
    } else {
        Err(())
    }
}

/// Whether the bytes name something that holds a token, in any encoding of ASCII.
fn may_hold(body: &[u8]) -> bool {
    let bytes: Vec<u8> = body.iter().copied().filter(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&bytes);
    TOKENS.iter().any(|name| text.contains(name))
}

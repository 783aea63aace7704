//! SAML 2.0 messages in the Redirect and POST bindings: what they are and who sends them.

use std::io::Read;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::DeflateDecoder;

use super::xml::{Space, is_at, walk};

/// Largest message that is read, in bytes.
const MAX_MESSAGE: u64 = 1 << 20;
/// Largest message that is inflated, in bytes: those that travel in a query are a few kilobytes, and a
/// kilobyte of DEFLATE may hold a thousand.
const MAX_INFLATED: u64 = 128 << 10;

/// A SAML message, as far as policy cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// A request to sign in, by the service provider of that name when it says so once.
    SignIn {
        /// Text of the one `Issuer`.
        issuer: Option<String>,
    },
    /// A request or an answer about signing out.
    SignOut,
}

/// How a SAML message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// In the query: base64 of raw DEFLATE (SAML bindings 3.4.4.1).
    Redirect,
    /// In a form: base64 (SAML bindings 3.5.4).
    Post,
}

/// Reads a decoded parameter `SAMLRequest` or `SAMLResponse`; `None` when it is unreadable or something
/// else.
pub(crate) fn read(value: &str, binding: Binding) -> Option<Message> {
    read_message(&document(value, binding)?)
}

/// The document in such a parameter, while it is not too large.
pub(super) fn document(value: &str, binding: Binding) -> Option<Vec<u8>> {
    let bytes = decode_base64(value)?;
    match binding {
        Binding::Post => (bytes.len() as u64 <= MAX_MESSAGE).then_some(bytes),
        Binding::Redirect => {
            let mut inflated = Vec::new();
            DeflateDecoder::new(bytes.as_slice())
                .take(MAX_INFLATED + 1)
                .read_to_end(&mut inflated)
                .ok()?;
            (inflated.len() as u64 <= MAX_INFLATED).then_some(inflated)
        }
    }
}

fn read_message(document: &[u8]) -> Option<Message> {
    let mut issuers = Vec::new();
    let mut root = None;
    walk(document, &["Issuer"], |path| {
        let Some(element) = path.last() else { return };
        if path.len() == 1 {
            root = Some((element.namespace, element.name.clone()));
        }
        if path.len() == 2 && element.name == "Issuer" {
            let in_place = is_at(&path[1..], &[(Space::Saml, "Issuer")]) && !element.has_children;
            issuers.push(in_place.then(|| element.text.trim().to_owned()));
        }
    })
    .ok()?;
    match root {
        Some((Space::SamlProtocol, name)) if name == "AuthnRequest" => {
            let issuer = match issuers.as_slice() {
                [Some(issuer)] => Some(issuer.clone()),
                _ => None,
            };
            Some(Message::SignIn { issuer })
        }
        Some((Space::SamlProtocol, name))
            if name == "LogoutRequest" || name == "LogoutResponse" =>
        {
            Some(Message::SignOut)
        }
        _ => None,
    }
}

/// Standard or URL-safe, with or without padding, broken into lines. A value with a space is unreadable:
/// some servers take it for a `+` that was decoded once too often, .NET passes over it, and one value can
/// be a good message to each.
fn decode_base64(value: &str) -> Option<Vec<u8>> {
    if value.len() as u64 > MAX_MESSAGE * 2 || value.contains(' ') {
        return None;
    }
    let clean: Vec<u8> = value
        .bytes()
        .filter(|byte| !matches!(byte, b'\r' | b'\n' | b'\t'))
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config).decode(clean).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use flate2::Compression;
    use flate2::write::DeflateEncoder;

    use super::*;

    const REQUEST: &str = r#"<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_1" Version="2.0" IssueInstant="2024-01-01T00:00:00Z"><Issuer xmlns="urn:oasis:names:tc:SAML:2.0:assertion">urn:federation:MicrosoftOnline</Issuer><samlp:NameIDPolicy Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"/></samlp:AuthnRequest>"#;

    fn deflated(document: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder
            .write_all(document)
            .expect("memory takes every byte");
        encoder.finish().expect("memory takes every byte")
    }

    #[test]
    fn the_issuer_is_read_from_both_bindings_however_base64_is_written() {
        let issuer = Some("urn:federation:MicrosoftOnline".to_owned());
        let expected = Some(Message::SignIn { issuer });
        let packed = deflated(REQUEST.as_bytes());
        let standard = BASE64_STANDARD.encode(&packed);
        assert_eq!(read(&standard, Binding::Redirect), expected);
        assert_eq!(
            read(&BASE64_URL_SAFE_NO_PAD.encode(&packed), Binding::Redirect),
            expected
        );
        let posted = BASE64_STANDARD.encode(REQUEST);
        let lines = posted.as_bytes().chunks(76).map(String::from_utf8_lossy);
        assert_eq!(
            read(&lines.collect::<Vec<_>>().join("\r\n"), Binding::Post),
            expected
        );
    }

    #[test]
    fn signing_out_is_told_apart() {
        let logout = REQUEST.replace("AuthnRequest", "LogoutRequest");
        assert_eq!(
            read(&BASE64_STANDARD.encode(logout), Binding::Post),
            Some(Message::SignOut)
        );
    }

    #[test]
    fn an_issuer_that_is_not_plain_is_not_believed() {
        let second = REQUEST.replace(
            "<samlp:NameIDPolicy",
            "<Issuer xmlns='urn:oasis:names:tc:SAML:2.0:assertion'>b</Issuer><samlp:NameIDPolicy",
        );
        let foreign = REQUEST.replace("SAML:2.0:assertion", "SAML:9.0:assertion");
        let nested = REQUEST.replace(
            "urn:federation:MicrosoftOnline</",
            "<x/>urn:federation:MicrosoftOnline</",
        );
        for document in [second, foreign, nested] {
            let found = read(&BASE64_STANDARD.encode(document), Binding::Post);
            assert_eq!(found, Some(Message::SignIn { issuer: None }));
        }
    }

    #[test]
    fn bombs_and_junk_are_unreadable() {
        let bomb = deflated(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(read(&BASE64_STANDARD.encode(bomb), Binding::Redirect), None);
        // Good to the last byte, and two hundred times larger than what it travels as.
        let padded = REQUEST.to_owned() + &" ".repeat(256 << 10);
        let packed = deflated(padded.as_bytes());
        assert!(packed.len() < 1300);
        assert_eq!(
            read(&BASE64_STANDARD.encode(packed), Binding::Redirect),
            None
        );
        assert!(read(&BASE64_STANDARD.encode(padded), Binding::Post).is_some());
        for junk in ["", "%%%", "AAAA", "PGE+"] {
            assert_eq!(read(junk, Binding::Redirect), None, "{junk}");
            assert_eq!(read(junk, Binding::Post), None, "{junk}");
        }
        let doctype = format!("<!DOCTYPE x>{REQUEST}");
        assert_eq!(read(&BASE64_STANDARD.encode(doctype), Binding::Post), None);
        let cut = &deflated(REQUEST.as_bytes())[..60];
        assert_eq!(read(&BASE64_STANDARD.encode(cut), Binding::Redirect), None);
    }
}

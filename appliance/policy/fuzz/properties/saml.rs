//! What holds for every SAML message in the Redirect and POST bindings.
//!
//! The input is a line, `redirect`, `post` or `raw`, and then the message, which is packed as that
//! binding packs it; a raw one is the parameter itself.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use weir_policy::{Binding, Context, Flow, Said, ask_for_context};

use crate::one::{judge, tags};

/// An issuer that is certain is named in a request to sign in; only a message about signing out signs
/// out; what is read by one binding is read by the other; a request that is made to ask for more asks for
/// it, and is otherwise read as before.
pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (binding, message) = input.split_at(end.unwrap_or(0));
    let message = message.strip_prefix(b"\n").unwrap_or(message);
    if binding == b"raw" {
        redirected(message);
        posted(message);
        return;
    }
    let found = if binding == b"post" {
        posted(BASE64_STANDARD.encode(message).as_bytes())
    } else {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(message).expect("memory takes every byte");
        let packed = packed.finish().expect("memory takes every byte");
        redirected(BASE64_STANDARD.encode(packed).as_bytes())
    };
    let names = tags(std::str::from_utf8(message).unwrap_or_default());
    let root = names.first().copied().unwrap_or_default();
    match found {
        (Flow::SignOut, _) => {
            assert!(matches!(root, "LogoutRequest" | "LogoutResponse"), "{root}");
        }
        (_, Said::Bound(issuer)) => {
            assert_eq!(root, "AuthnRequest");
            assert!(
                names.contains(&"Issuer") && !names.contains(&"!"),
                "{issuer}"
            );
        }
        _ => {}
    }
}

fn redirected(parameter: &[u8]) -> (Flow, Said) {
    asks_for_more(parameter, Binding::Redirect);
    in_query(parameter)
}

fn posted(parameter: &[u8]) -> (Flow, Said) {
    asks_for_more(parameter, Binding::Post);
    in_form(parameter)
}

fn asks_for_more(parameter: &[u8], binding: Binding) {
    const CLASS: &str = "urn:a<b&c";
    let Ok(parameter) = std::str::from_utf8(parameter) else {
        return;
    };
    let Ok(Context::With(changed)) = ask_for_context(parameter, binding, CLASS) else {
        return;
    };
    let asked = ask_for_context(&changed, binding, CLASS);
    assert_eq!(asked, Ok(Context::Asked));
    let read = match binding {
        Binding::Redirect => in_query,
        Binding::Post => in_form,
    };
    assert_eq!(read(changed.as_bytes()), read(parameter.as_bytes()));
}

fn in_query(parameter: &[u8]) -> (Flow, Said) {
    let target = format!("/adfs/ls/?SAMLRequest={}", escaped(parameter));
    let (facts, _) = judge(&target, "", b"");
    (facts.flow, facts.relying_party)
}

fn in_form(parameter: &[u8]) -> (Flow, Said) {
    const TYPE: &str = "application/x-www-form-urlencoded";
    let body = format!("SAMLRequest={}", escaped(parameter));
    let (facts, _) = judge("/adfs/ls/", TYPE, body.as_bytes());
    (facts.flow, facts.relying_party)
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(*byte));
        } else {
            write!(text, "%{byte:02x}").expect("a string takes every write");
        }
        text
    })
}

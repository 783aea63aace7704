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
use weir_policy::{Flow, Said};

use crate::one::{judge, tags};

/// An issuer that is certain is named in a request to sign in; only a message about signing out signs
/// out; what is read by one binding is read by the other.
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
    let (facts, _) = judge(
        &format!("/adfs/ls/?SAMLRequest={}", escaped(parameter)),
        "",
        b"",
    );
    (facts.flow, facts.relying_party)
}

fn posted(parameter: &[u8]) -> (Flow, Said) {
    let body = format!("SAMLRequest={}", escaped(parameter));
    let (facts, _) = judge(
        "/adfs/ls/",
        "application/x-www-form-urlencoded",
        body.as_bytes(),
    );
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

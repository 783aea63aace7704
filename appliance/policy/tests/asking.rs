//! SAML requests that are made to ask for multi-factor authentication.

use std::io::{Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use weir_policy::{Binding, Context, NotAsked, ask_for_context};

const MFA: &str = "https://refeds.org/profile/mfa";
const WANTED: &str = "<samlp:RequestedAuthnContext xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" Comparison=\"exact\">\
    <saml:AuthnContextClassRef xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\">https://refeds.org/profile/mfa\
    </saml:AuthnContextClassRef></samlp:RequestedAuthnContext>";
const HEAD: &str = "<?xml version=\"1.0\"?>\n<p:AuthnRequest xmlns:p='urn:oasis:names:tc:SAML:2.0:protocol' ID=\"_1\" \
    Version='2.0' ForceAuthn = \"true\" ><Issuer xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\">urn:app&amp;x</Issuer>\
    <!-- kept --><p:NameIDPolicy AllowCreate='1'/>";

fn encode(document: &str, binding: Binding) -> String {
    match binding {
        Binding::Post => BASE64_STANDARD.encode(document),
        Binding::Redirect => {
            let mut packed = DeflateEncoder::new(Vec::new(), Compression::fast());
            packed
                .write_all(document.as_bytes())
                .expect("memory takes every byte");
            BASE64_STANDARD.encode(packed.finish().expect("memory takes every byte"))
        }
    }
}

fn decode(message: &str, binding: Binding) -> String {
    let bytes = BASE64_STANDARD.decode(message).expect("base64");
    let mut text = String::new();
    match binding {
        Binding::Post => text = String::from_utf8(bytes).expect("text"),
        Binding::Redirect => {
            let mut inflated = DeflateDecoder::new(&bytes[..]);
            inflated.read_to_string(&mut text).expect("packed text");
        }
    }
    text
}

/// The document that comes of it by both bindings; nothing when it asks already.
fn asked(document: &str) -> Result<Option<String>, NotAsked> {
    let [first, second] = [Binding::Post, Binding::Redirect].map(|binding| {
        let found = ask_for_context(&encode(document, binding), binding, MFA)?;
        Ok(match found {
            Context::Asked => None,
            Context::With(message) => {
                let again = ask_for_context(&message, binding, MFA);
                assert_eq!(again, Ok(Context::Asked), "once is enough");
                Some(decode(&message, binding))
            }
        })
    });
    assert_eq!(first, second);
    first
}

#[test]
fn the_class_is_asked_for_and_nothing_else_is_changed() {
    let context = |inside: &str| {
        format!("<p:RequestedAuthnContext Comparison='minimum'>{inside}</p:RequestedAuthnContext>")
    };
    let password = "<a:AuthnContextClassRef xmlns:a='urn:oasis:names:tc:SAML:2.0:assertion'>urn:password\
                    </a:AuthnContextClassRef>";
    let scoping = "<p:Scoping ProxyCount=\"0\"/>";
    let end = "</p:AuthnRequest >\n";
    for (before, after) in [
        (String::new(), String::new()),
        (String::new(), scoping.to_owned()),
        (context(password), String::new()),
        (context(&password.repeat(2)), scoping.to_owned()),
        ("<p:RequestedAuthnContext/>".to_owned(), String::new()),
    ] {
        let document = [HEAD, &before, &after, end].concat();
        let expected = [HEAD, WANTED, &after, end].concat();
        assert_eq!(asked(&document), Ok(Some(expected)), "{document}");
    }
}

#[test]
fn who_asks_for_it_alone_is_not_asked_to_ask() {
    let context = |comparison: &str, class: &str| {
        format!(
            "{HEAD}<p:RequestedAuthnContext{comparison}><a:AuthnContextClassRef \
             xmlns:a='urn:oasis:names:tc:SAML:2.0:assertion'>{class}</a:AuthnContextClassRef>\
             </p:RequestedAuthnContext></p:AuthnRequest>"
        )
    };
    for comparison in ["", " Comparison='exact'"] {
        assert_eq!(asked(&context(comparison, &format!(" {MFA} "))), Ok(None));
    }
    for (comparison, class) in [
        (" Comparison='minimum'", MFA),
        (" Comparison='better'", MFA),
        ("", "urn:password"),
    ] {
        assert!(
            asked(&context(comparison, class))
                .expect("it can")
                .is_some()
        );
    }
}

#[test]
fn what_is_signed_or_unclear_is_never_changed() {
    let request = |inside: &str| format!("{HEAD}{inside}</p:AuthnRequest>");
    let signature = "<d:Signature xmlns:d='http://www.w3.org/2000/09/xmldsig#'/>";
    let context = "<p:RequestedAuthnContext/>";
    for (document, why) in [
        (request(signature), NotAsked::Signed),
        (
            request(&format!("<p:Extensions>{signature}</p:Extensions>")),
            NotAsked::Signed,
        ),
        (request(&context.repeat(2)), NotAsked::Unreadable),
        (
            request(&format!("<p:Extensions>{context}</p:Extensions>")),
            NotAsked::Unreadable,
        ),
        (
            request("<RequestedAuthnContext xmlns='urn:other'/>"),
            NotAsked::Unreadable,
        ),
        (
            request("").replace("AuthnRequest", "LogoutRequest"),
            NotAsked::Unreadable,
        ),
        (
            request("").replace("SAML:2.0:protocol", "SAML:9.0:protocol"),
            NotAsked::Unreadable,
        ),
        (format!("<!DOCTYPE x>{}", request("")), NotAsked::Unreadable),
        (
            "<p:AuthnRequest xmlns:p='urn:oasis:names:tc:SAML:2.0:protocol'/>".to_owned(),
            NotAsked::Unreadable,
        ),
        (String::new(), NotAsked::Unreadable),
    ] {
        assert_eq!(asked(&document), Err(why), "{document}");
    }
    let bomb = encode(&request(&" ".repeat(1 << 20)), Binding::Redirect);
    let answer = ask_for_context(&bomb, Binding::Redirect, MFA);
    assert_eq!(answer, Err(NotAsked::Unreadable));
    for junk in ["%%%", "PGE+", "a b"] {
        let answer = ask_for_context(junk, Binding::Post, MFA);
        assert_eq!(answer, Err(NotAsked::Unreadable));
    }
}

proptest! {
    #[test]
    fn whatever_stands_around_it_stays(
        inside in prop::collection::vec(prop::sample::select(vec![
            "<p:Conditions NotBefore='2026-01-01T00:00:00Z'/>", "text", "<!-- a -->", "<![CDATA[<]]>", "&#65;",
            "<p:Extensions><x xmlns='urn:x'><AuthnContextClassRef>urn:c</AuthnContextClassRef></x></p:Extensions>",
        ]), 0..5),
        tail in prop::collection::vec(prop::sample::select(vec!["<p:Scoping/>", "<!-- b -->", "\n"]), 0..2),
        given in prop::option::of("[a-z]{0,8}"),
    ) {
        let given = given.map_or_else(String::new, |class| {
            format!("<p:RequestedAuthnContext>{class}</p:RequestedAuthnContext>")
        });
        let (inside, tail) = (inside.concat(), tail.concat());
        let document = [HEAD, &inside, &given, &tail, "</p:AuthnRequest>"].concat();
        match asked(&document) {
            Ok(Some(changed)) => {
                prop_assert_eq!(changed.matches(WANTED).count(), 1);
                let without = changed.replacen(WANTED, "", 1);
                prop_assert_eq!(without, [HEAD, &inside, &tail, "</p:AuthnRequest>"].concat());
            }
            other => prop_assert_eq!(other, Err(NotAsked::Unreadable)),
        }
    }
}

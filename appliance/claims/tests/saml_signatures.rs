//! Signatures that must not be believed, each really made.

mod support;

use bergshamra_dsig::{DsigContext, sign};
use bergshamra_keys::{KeysManager, loader};
use support::{
    EXCLUSIVE, FORMS, ID, RESPONSE, SERVICE, STRANGER, SUBJECT, judge, outer, refused, response,
    signed, template, unsigned, with,
};
use weir_claims::{Form, Refused, Token};

const EVIL: &str = "_evil";

/// The parts that wrapping attacks put together anew.
struct Parts {
    /// The signed assertion.
    good: String,
    /// The same without its signature.
    bare: String,
    /// Its signature.
    signature: String,
    /// An assertion that says something else, with a place for a signature.
    evil: String,
}

impl Parts {
    fn of(form: Form) -> Self {
        let good = signed(form);
        let start = good.find("<ds:Signature ").expect("a signature");
        let end = good.find("</ds:Signature>").expect("its end") + "</ds:Signature>".len();
        Self {
            bare: [&good[..start], &good[end..]].concat(),
            signature: good[start..end].to_owned(),
            evil: unsigned(form)
                .replace(ID, EVIL)
                .replace(SUBJECT, "somebody-else"),
            good,
        }
    }

    /// The signature with something inside it, at its end.
    fn around(&self, inside: &str) -> String {
        self.signature
            .replace("</ds:Signature>", &format!("{inside}</ds:Signature>"))
    }

    /// The assertion with something inside it, at its end.
    fn evil_with(&self, signature: &str, inside: &str) -> String {
        let end = self.evil.rfind("</").expect("an end");
        with(
            &[&self.evil[..end], inside, &self.evil[end..]].concat(),
            signature,
        )
    }
}

/// Somorovsky and others, "On Breaking SAML: Be Whoever You Want to Be" (2012): where the signed original
/// goes, and where what is to be believed instead of it.
fn wrapped(form: Form, variant: u32) -> String {
    let parts = Parts::of(form);
    let evil = with(&parts.evil, "");
    let object = format!("<ds:Object>{}</ds:Object>", parts.bare);
    match (variant, form) {
        (1 | 2, Form::Saml20) => {
            let original = SERVICE.sign(&response(&parts.bare, &template(RESPONSE)));
            let start = original.find("<ds:Signature ").expect("a signature");
            let end = original.find("</ds:Signature>").expect("its end");
            let signature = &original[start..end];
            let bare = original.replace(&format!("{signature}</ds:Signature>"), "");
            let signature = if variant == 1 {
                format!("{signature}{bare}</ds:Signature>")
            } else {
                format!("{bare}{signature}</ds:Signature>")
            };
            response(&evil, &signature).replacen(RESPONSE, "_evil-response", 1)
        }
        (1, _) => outer(form, &evil).replace(
            "<t:Lifetime>",
            &format!("{}<t:Lifetime>", parts.around(&outer(form, &parts.bare))),
        ),
        (2, _) => outer(form, &evil).replace(
            "<t:Lifetime>",
            &format!(
                "{}{}<t:Lifetime>",
                outer(form, &parts.bare),
                parts.signature
            ),
        ),
        (3, _) => outer(form, &[evil, parts.good].concat()),
        (4, _) => outer(form, &parts.evil_with("", &parts.good)),
        (5, _) => outer(
            form,
            &[with(&parts.evil, &parts.signature), parts.bare].concat(),
        ),
        (6, _) => outer(form, &parts.evil_with(&parts.around(&parts.bare), "")),
        (7, _) => {
            let extensions = format!("<Extensions>{evil}</Extensions>");
            outer(form, &[extensions, parts.good].concat())
        }
        _ => outer(form, &parts.evil_with(&parts.around(&object), "")),
    }
}

#[test]
fn wrapping_1_to_8() {
    for form in FORMS {
        for variant in 1..=8 {
            let document = wrapped(form, variant);
            assert!(document.contains("somebody-else"), "{variant}");
            assert!(document.contains(SUBJECT), "{variant}");
            assert_eq!(
                refused(&document),
                Refused::SeveralAssertions,
                "{form:?} {variant}"
            );
        }
    }
}

#[test]
fn wrapping_where_no_second_assertion_is_seen() {
    // The original hides under another name, whose signature still verifies by its id.
    for form in FORMS {
        let parts = Parts::of(form);
        let (name, prefix) = match form {
            Form::Saml20 => ("Assertion", ""),
            _ => ("saml:Assertion", "saml:"),
        };
        let covered = unsigned(form)
            .replace(&format!("<{name} "), &format!("<{prefix}Advice "))
            .replace(&format!("</{name}>"), &format!("</{prefix}Advice>"));
        let covered = SERVICE.sign(&with(&covered, &template(ID)));
        let document = outer(form, &parts.evil_with("", &covered));
        assert_eq!(refused(&document), Refused::SignatureElsewhere);

        let start = covered.find("<ds:Signature ").expect("a signature");
        let end = covered.find("</ds:Signature>").expect("its end") + "</ds:Signature>".len();
        let bare = [&covered[..start], &covered[end..]].concat();
        let document = outer(form, &parts.evil_with(&covered[start..end], &bare));
        assert_eq!(refused(&document), Refused::OtherReference);
    }
}

#[test]
fn a_signed_response_does_not_vouch_for_another_assertion() {
    // Signed by the service: the response alone. Inside it, the assertion of somebody else.
    let foreign = STRANGER.sign(&with(&unsigned(Form::Saml20), &template(ID)));
    let document = SERVICE.sign(&response(
        &with(&unsigned(Form::Saml20), ""),
        &template(RESPONSE),
    ));
    let swapped = document.replace(&with(&unsigned(Form::Saml20), ""), &foreign);
    assert_ne!(document, swapped);
    assert_eq!(refused(&swapped), Refused::BadSignature);
    // Even when the service signed a response with that in it: both must verify.
    let both = SERVICE.sign(&response(&foreign, &template(RESPONSE)));
    assert_eq!(refused(&both), Refused::BadSignature);
}

#[test]
fn signatures_that_are_not_the_tokens_own() {
    for form in FORMS {
        assert_eq!(refused(&with(&unsigned(form), "")), Refused::Unsigned);
        assert_eq!(
            refused(&outer(form, &with(&unsigned(form), ""))),
            Refused::Unsigned
        );
        let parts = Parts::of(form);
        let twice = with(&unsigned(form), &parts.signature.repeat(2));
        assert_eq!(refused(&twice), Refused::SeveralSignatures);
        // Next to the assertion.
        let beside = outer(form, &parts.bare).replace(
            "<wsp:AppliesTo",
            &format!("{}<wsp:AppliesTo", parts.signature),
        );
        let beside = beside.replace(
            "<samlp:Status>",
            &format!(
                "<samlp:Extensions>{}</samlp:Extensions><samlp:Status>",
                parts.signature
            ),
        );
        assert_eq!(refused(&beside), Refused::SignatureElsewhere);
        // Deeper in the assertion.
        let deeper = unsigned(form).replace("anna@corp.example", &parts.signature);
        assert_eq!(refused(&with(&deeper, "")), Refused::SignatureElsewhere);
    }
}

#[test]
fn signatures_over_another_node() {
    for form in FORMS {
        // Over the attribute statement, by the assertion's own signature.
        let part = unsigned(form).replace("AttributeStatement>", "AttributeStatement Id='_part'>");
        let part = part.replace("/AttributeStatement Id='_part'>", "/AttributeStatement>");
        let part = part.replace(
            "/saml:AttributeStatement Id='_part'>",
            "/saml:AttributeStatement>",
        );
        let document = SERVICE.sign(&with(&part, &template("_part")));
        assert_eq!(refused(&document), Refused::OtherReference);
        for uri in ["", "#xpointer(/)", &format!("#xpointer(id('{ID}'))")] {
            let template = template(ID).replace(&format!("#{ID}"), uri);
            let document = SERVICE.sign(&with(&unsigned(form), &template));
            assert_eq!(refused(&document), Refused::OtherReference, "{uri}");
        }
    }
}

#[test]
fn references_to_files_open_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, "secret").expect("a file");
    for form in FORMS {
        for uri in [
            "Cargo.toml",
            "file:///etc/hostname",
            &file.to_string_lossy(),
            "cid:1",
        ] {
            let document =
                signed(form).replace(&format!("URI=\"#{ID}\""), &format!("URI=\"{uri}\""));
            assert_eq!(refused(&document), Refused::OtherReference, "{uri}");
        }
    }
}

#[test]
fn more_than_one_reference() {
    for form in FORMS {
        let one = template(ID);
        let start = one.find("<ds:Reference ").expect("a reference");
        let end = one.find("</ds:SignedInfo>").expect("the end");
        let two = [&one[..end], &one[start..]].concat();
        let document = SERVICE.sign(&with(&unsigned(form), &two));
        assert_eq!(refused(&document), Refused::SeveralReferences);
        let none = [&one[..start], &one[end..]].concat();
        let document = with(&unsigned(form), &none);
        assert_eq!(refused(&document), Refused::SignatureForm);
    }
}

#[test]
fn detached_and_empty_signed_info() {
    for form in FORMS {
        let good = signed(form);
        let start = good.find("<ds:SignedInfo>").expect("a part");
        let end = good.find("</ds:SignedInfo>").expect("its end") + "</ds:SignedInfo>".len();
        let info = &good[start..end];
        let emptied = good.replace(info, "<ds:SignedInfo/>");
        assert_eq!(refused(&emptied), Refused::SignatureForm);
        // The signed one hides behind another, or in an object.
        let forged = info.replacen("<ds:DigestValue>", "<ds:DigestValue>AAAA", 1);
        let both = [forged.as_str(), info].concat();
        assert_eq!(refused(&good.replace(info, &both)), Refused::SignatureForm);
        let both = [info, forged.as_str()].concat();
        assert_eq!(refused(&good.replace(info, &both)), Refused::SignatureForm);
        let object = format!("<ds:Object>{info}</ds:Object></ds:Signature>");
        let detached = good
            .replace(info, &forged)
            .replace("</ds:Signature>", &object);
        assert_eq!(refused(&detached), Refused::SignatureForm);
        let emptied = good.replace(
            "<ds:SignatureValue>",
            "<ds:SignatureValue></ds:SignatureValue><ds:SignatureValue>",
        );
        assert_eq!(refused(&emptied), Refused::SignatureForm);
    }
}

#[test]
fn comments_and_attributes_inside_the_signature() {
    for form in FORMS {
        let good = signed(form);
        for (part, why) in [
            ("<ds:DigestValue>", Refused::Interrupted),
            ("<ds:SignatureValue>", Refused::Interrupted),
            ("<ds:SignedInfo>", Refused::SignatureForm),
            ("<ds:Transforms>", Refused::SignatureForm),
        ] {
            let document = good.replace(part, &format!("{part}<!-- x -->"));
            assert_eq!(refused(&document), why, "{part}");
        }
        let document = good.replace(
            "<ds:SignatureMethod ",
            "<ds:SignatureMethod xmlns:x='urn:x' x:Algorithm='urn:x' ",
        );
        assert_eq!(refused(&document), Refused::SignatureForm);
    }
}

#[test]
fn keys_that_the_token_brings() {
    for form in FORMS {
        let certificate: String = STRANGER
            .certificate_pem
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        let brought = template(ID).replace(
            "<ds:X509Certificate>",
            &format!("<ds:X509Certificate>{certificate}"),
        );
        let document = STRANGER.sign(&with(&unsigned(form), &brought));
        assert!(document.contains(&certificate));
        assert_eq!(refused(&document), Refused::BadSignature);
        // What the service signed is believed, whatever certificate stands beside it.
        let document = SERVICE.sign(&with(&unsigned(form), &brought));
        assert!(matches!(judge(&document), Token::Verified(_)));
    }
}

#[test]
fn weak_and_confused_algorithms() {
    for form in FORMS {
        for (accepted, other) in [
            (
                "http://www.w3.org/2001/04/xmlenc#sha256",
                "http://www.w3.org/2000/09/xmldsig#sha1",
            ),
            (
                "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"",
                "<ds:CanonicalizationMethod Algorithm=\"http://www.w3.org/TR/2001/REC-xml-c14n-20010315\"",
            ),
        ] {
            let template = template(ID).replace(accepted, other);
            assert!(template.contains(other));
            let document = SERVICE.sign(&with(&unsigned(form), &template));
            assert_eq!(refused(&document), Refused::Algorithm, "{other}");
        }
        // The public key as a shared secret.
        let mut keys = KeysManager::new();
        let secret = loader::load_hmac_key(SERVICE.certificate_pem.as_bytes());
        keys.add_key(secret.expect("any bytes"));
        let template = template(ID).replace("#rsa-sha256", "#hmac-sha256");
        let document = sign::sign(&DsigContext::new(keys), &with(&unsigned(form), &template));
        assert_eq!(refused(&document.expect("a key")), Refused::Algorithm);
    }
}

#[test]
fn forbidden_transforms() {
    let exclusive = format!("<ds:Transform Algorithm=\"{EXCLUSIVE}\"/>");
    for form in FORMS {
        for other in [
            "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xpath-19991116\"><ds:XPath>\
             not(ancestor-or-self::ds:Signature)</ds:XPath></ds:Transform>",
            "<ds:Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"/>",
            "<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#base64\"/>",
            "<ds:Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#WithComments\"/>",
            "",
        ] {
            // Left as it was signed by the accepted ones: what matters is that none of these is run.
            let inner = format!("{other}</ds:Transforms>");
            let good = signed(form);
            let document = good.replace(&format!("{exclusive}</ds:Transforms>"), &inner);
            assert_ne!(document, good);
            assert_eq!(refused(&document), Refused::Transform, "{other}");
            if other.is_empty() || other.contains("WithComments") {
                let template =
                    template(ID).replace(&format!("{exclusive}</ds:Transforms>"), &inner);
                let document = SERVICE.sign(&with(&unsigned(form), &template));
                assert_eq!(refused(&document), Refused::Transform, "{other}");
            }
        }
    }
}

#[test]
fn tampered_text_and_wrong_keys() {
    for form in FORMS {
        for (before, after) in [
            ("anna@corp.example", "boss@corp.example"),
            (SUBJECT, "AAAA"),
            ("Finance", "Finance2"),
            ("10:15:00", "23:15:00"),
            ("09:14:58.123", "09:14:59.123"),
            ("urn:federation:MicrosoftOnline", "urn:x"),
        ] {
            let document = signed(form).replace(before, after);
            assert_eq!(refused(&document), Refused::BadSignature, "{before}");
        }
        let document = STRANGER.sign(&with(&unsigned(form), &template(ID)));
        assert_eq!(refused(&document), Refused::BadSignature);
    }
}

#[test]
fn ids_that_are_there_twice() {
    for form in FORMS {
        for name in ["ID", "Id", "id", "AssertionID", "x:Id"] {
            let document = outer(form, &signed(form)).replacen(
                " xmlns",
                &format!(" xmlns:x='urn:x' {name}='{ID}' xmlns"),
                1,
            );
            let document = match (form, name) {
                // An element has an attribute once.
                (Form::Saml20, "ID") => document.replacen(&format!("ID=\"{RESPONSE}\""), "", 1),
                _ => document,
            };
            assert_eq!(refused(&document), Refused::SameId, "{name}");
        }
    }
}

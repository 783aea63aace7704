//! Assertions that are believed, and what they say.

mod support;

use std::collections::BTreeSet;

use support::{
    AUDIENCE, EXCLUSIVE, FORMS, GROUP, ID, ISSUER, NOW, RESPONSE, SERVICE, SUBJECT, Service,
    believed, expected, judge, judge_with, outer, response, signed, template, unsigned, with,
};
use time::macros::utc_datetime;
use weir_claims::saml::look;
use weir_claims::{Expected, Form, Keys, Refused, Token, Trust};

#[test]
fn says_what_both_versions_say() {
    for form in FORMS {
        let claims = believed(&outer(form, &signed(form)));
        assert_eq!(claims.form, form);
        assert_eq!(claims.issuer, ISSUER);
        assert_eq!(claims.id, ID);
        assert_eq!(claims.audiences, [AUDIENCE]);
        assert_eq!(claims.subject.as_deref(), Some(SUBJECT));
        assert_eq!(claims.issued, Some(utc_datetime!(2026-03-02 09:15:00)));
        assert_eq!(claims.not_before, Some(utc_datetime!(2026-03-02 09:15:00)));
        assert_eq!(claims.not_after, utc_datetime!(2026-03-02 10:15:00));
        assert_eq!(
            claims.authenticated,
            Some(utc_datetime!(2026-03-02 09:14:58.123))
        );
        let values = &claims.values;
        assert_eq!(
            values["http://schemas.xmlsoap.org/claims/UPN"],
            ["anna@corp.example"]
        );
        assert_eq!(values[GROUP], ["Finance", "Staff"]);
        assert_eq!(values.len(), 2);
        assert!(claims.missing.is_empty());
        let method = match form {
            Form::Saml20 => "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            _ => "urn:oasis:names:tc:SAML:1.0:am:password",
        };
        assert_eq!(claims.methods, [method]);
    }
}

#[test]
fn finds_the_assertion_in_what_it_travels_in() {
    for form in FORMS {
        let assertion = signed(form);
        let requested = format!("<RequestedSecurityToken>{assertion}</RequestedSecurityToken>");
        let namespaces = [
            "http://schemas.xmlsoap.org/ws/2005/02/trust",
            "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
        ];
        let mut wholes = vec![assertion.clone()];
        for trust in namespaces {
            let name = "RequestSecurityTokenResponse";
            wholes.push(format!("<{name} xmlns='{trust}'>{requested}</{name}>"));
            wholes.push(format!(
                "<{name}Collection xmlns='{trust}'><{name}>{requested}</{name}></{name}Collection>"
            ));
        }
        if form == Form::Saml20 {
            wholes.push(response(&assertion, ""));
        }
        let inner = wholes.clone();
        for soap in [
            "http://schemas.xmlsoap.org/soap/envelope/",
            "http://www.w3.org/2003/05/soap-envelope",
        ] {
            for inner in &inner {
                wholes.push(format!(
                    "<s:Envelope xmlns:s='{soap}'><s:Header/><s:Body>{inner}</s:Body></s:Envelope>"
                ));
            }
        }
        let plain = believed(&assertion);
        for whole in wholes {
            assert_eq!(believed(&whole), plain);
            assert_eq!(
                believed(&format!("<?xml version='1.0'?>\n{whole}\n")),
                plain
            );
        }
    }
}

#[test]
fn believes_a_signed_response_with_and_without_a_signed_assertion() {
    let bare = with(&unsigned(Form::Saml20), "");
    let alone = SERVICE.sign(&response(&bare, &template(RESPONSE)));
    assert_eq!(believed(&alone), believed(&signed(Form::Saml20)));
    let both = SERVICE.sign(&response(&signed(Form::Saml20), &template(RESPONSE)));
    assert_eq!(believed(&both), believed(&signed(Form::Saml20)));
}

#[test]
fn believes_each_key_that_is_published() {
    let elliptic = Service::elliptic();
    let certificates = vec![SERVICE.certificate.clone(), elliptic.certificate.clone()];
    let keys = Keys {
        certificates,
        ..SERVICE.keys()
    };
    let trust = Trust::new(&keys).expect("usable keys");
    for form in FORMS {
        let template = template(ID).replace("rsa-sha256", "ecdsa-sha256");
        let token = elliptic.sign(&with(&unsigned(form), &template));
        assert!(matches!(judge_with(&trust, &token), Token::Verified(_)));
        assert!(matches!(
            judge_with(&trust, &signed(form)),
            Token::Verified(_)
        ));
        let strange = judge(&token);
        assert!(matches!(
            strange,
            Token::Refused {
                why: Refused::BadSignature,
                said: Some(_)
            }
        ));
    }
}

#[test]
fn keeps_prefixes_that_the_signature_names() {
    for form in FORMS {
        let kept = format!(
            "<ds:Transform Algorithm=\"{EXCLUSIVE}\"><ec:InclusiveNamespaces xmlns:ec=\"{EXCLUSIVE}\" \
             PrefixList=\"xs\"/></ds:Transform></ds:Transforms>"
        );
        let plain = format!("<ds:Transform Algorithm=\"{EXCLUSIVE}\"/></ds:Transforms>");
        let template = template(ID).replace(&plain, &kept);
        assert!(template.contains("PrefixList"));
        let template = with(&unsigned(form), &template).replacen(
            " xmlns",
            " xmlns:xs='http://www.w3.org/2001/XMLSchema' xmlns",
            1,
        );
        assert_eq!(believed(&SERVICE.sign(&template)).id, ID);
    }
}

/// Signs the usual assertion with other attributes.
fn saying(form: Form, attributes: &[(&str, &str, &str)]) -> weir_claims::Claims {
    let written = attributes.iter().map(|(namespace, name, values)| match form {
        Form::Saml20 => format!("<Attribute Name=\"{namespace}/{name}\">{values}</Attribute>"),
        _ => format!(
            "<saml:Attribute AttributeName=\"{name}\" AttributeNamespace=\"{namespace}\">{}</saml:Attribute>",
            values.replace("AttributeValue", "saml:AttributeValue")
        ),
    });
    let text: String = written.collect();
    let end = match form {
        Form::Saml20 => "</AttributeStatement>",
        _ => "</saml:AttributeStatement>",
    };
    let document = unsigned(form).replace(end, &format!("{text}{end}"));
    believed(&SERVICE.sign(&with(&document, &template(ID))))
}

#[test]
fn values_are_whole_and_in_their_order() {
    for form in FORMS {
        let claims = saying(
            form,
            &[
                (
                    "urn:x",
                    "a",
                    "<AttributeValue>one &amp; &#x31;</AttributeValue>",
                ),
                (
                    "urn:x",
                    "b",
                    "<AttributeValue> <![CDATA[<b>]]> </AttributeValue>",
                ),
                (
                    "urn:x",
                    "a",
                    "<AttributeValue/><AttributeValue>two</AttributeValue>",
                ),
                (
                    "urn:x",
                    "nil",
                    "<AttributeValue xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:nil=\"true\"/>",
                ),
                ("urn:x", "none", ""),
            ],
        );
        assert_eq!(claims.values["urn:x/a"], ["one & 1", "", "two"]);
        assert_eq!(claims.values["urn:x/b"], [" <b> "]);
        assert!(!claims.values.contains_key("urn:x/nil"));
        assert!(!claims.values.contains_key("urn:x/none"));
        assert!(claims.missing.is_empty());
    }
}

#[test]
fn what_cannot_be_told_is_missing_and_not_nothing() {
    for form in FORMS {
        let link =
            "<AttributeValue>https://graph.example/users/1/getMemberObjects</AttributeValue>";
        let claims = saying(
            form,
            &[
                ("http://schemas.microsoft.com/claims", "groups.link", link),
                (
                    "urn:x",
                    "complex",
                    "<AttributeValue><x xmlns='urn:x'>1</x></AttributeValue>",
                ),
            ],
        );
        let groups = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups";
        assert!(claims.missing.contains(groups));
        assert!(claims.missing.contains("urn:x/complex"));
        assert!(!claims.values.contains_key("urn:x/complex"));
    }
}

#[test]
fn claims_about_the_sign_in_count_as_such() {
    let (old, new) = (
        "http://schemas.microsoft.com/ws/2008/06/identity/claims",
        "http://schemas.microsoft.com/claims",
    );
    for form in FORMS {
        let mut methods = believed(&signed(form)).methods;
        methods.extend(["urn:m:mfa", "urn:m:tls"].map(str::to_owned));
        let claims = saying(
            form,
            &[
                (
                    new,
                    "authnmethodsreferences",
                    "<AttributeValue>urn:m:mfa</AttributeValue>",
                ),
                (
                    old,
                    "authenticationmethod",
                    "<AttributeValue>urn:m:tls</AttributeValue>",
                ),
                (
                    old,
                    "authenticationinstant",
                    "<AttributeValue>2026-03-02T08:00:00.5+00:00</AttributeValue>",
                ),
            ],
        );
        let told: BTreeSet<_> = claims.methods.into_iter().collect();
        assert_eq!(told, methods.into_iter().collect());
        // The earliest of what is told: nobody is taken for fresher than they are.
        assert_eq!(
            claims.authenticated,
            Some(utc_datetime!(2026-03-02 08:00:00.5))
        );
    }
}

#[test]
fn audiences_are_those_that_every_restriction_allows() {
    let one = "<AudienceRestriction><Audience>urn:a</Audience><Audience> urn:federation:MicrosoftOnline </Audience>\
               </AudienceRestriction>";
    let document = unsigned(Form::Saml20).replace("<Conditions ", "<Conditions x='' ");
    let document = document.replace(
        "<AudienceRestriction>",
        &format!("{one}<AudienceRestriction>"),
    );
    let claims = believed(&SERVICE.sign(&with(&document, &template(ID))));
    assert_eq!(claims.audiences, [AUDIENCE]);
}

#[test]
fn whoever_does_not_know_the_audience_takes_the_tokens_word() {
    let nothing = Expected {
        audiences: None,
        recipient: None,
        ..expected(&[])
    };
    assert_eq!(nothing.now, NOW);
    for form in FORMS {
        let token = look(&signed(form), &SERVICE.trust(), &nothing);
        let Token::Verified(claims) = token else {
            panic!("{token:?}");
        };
        assert_eq!(claims.audiences, [AUDIENCE]);
    }
}

#[test]
fn encrypted_tokens_are_opaque() {
    let data = "<EncryptedData xmlns='http://www.w3.org/2001/04/xmlenc#'/>";
    let encrypted = format!(
        "<EncryptedAssertion xmlns='urn:oasis:names:tc:SAML:2.0:assertion'>{data}</EncryptedAssertion>"
    );
    assert_eq!(judge(&response(&encrypted, "")), Token::Opaque);
    assert_eq!(judge(&outer(Form::Saml11, data)), Token::Opaque);
    assert_eq!(judge(&outer(Form::Saml11, &encrypted)), Token::Opaque);
    let part = unsigned(Form::Saml20).replace(
        "</AttributeStatement>",
        &format!("<EncryptedAttribute>{data}</EncryptedAttribute></AttributeStatement>"),
    );
    let part = SERVICE.sign(&with(&part, &template(ID)));
    assert_eq!(judge(&part), Token::Opaque);
}

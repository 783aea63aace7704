//! Documents that are refused for their shape, and assertions that do not hold.

mod support;

use std::time::Duration;

use support::{
    ADDRESS, AUDIENCE, FORMS, ID, ISSUER, NOW, SERVICE, SUBJECT, believed, expected, judge, outer,
    refused, response, signed, template, unsigned, with,
};
use weir_claims::saml::look;
use weir_claims::{Expected, Form, Refused, Token};

/// Why the usual assertion, changed and then signed, is refused.
#[track_caller]
fn changed(form: Form, before: &str, after: &str) -> Refused {
    let document = unsigned(form).replace(before, after);
    assert_ne!(document, unsigned(form), "{before}");
    refused(&outer(form, &SERVICE.sign(&with(&document, &template(ID)))))
}

#[test]
fn document_types_entities_and_instructions() {
    for form in FORMS {
        let good = signed(form);
        let declared = format!("<!DOCTYPE x [<!ENTITY e 'anna'>]>{good}");
        assert_eq!(refused(&declared), Refused::DocumentType);
        let external = format!("<!DOCTYPE x SYSTEM 'file:///etc/hostname'>{good}");
        assert_eq!(refused(&external), Refused::DocumentType);
        assert_eq!(refused(&good.replace("anna@", "&e;")), Refused::Entity);
        assert_eq!(
            refused(&good.replace(ISSUER, "&e;")),
            match form {
                Form::Saml20 => Refused::Entity,
                _ => Refused::Malformed,
            }
        );
        assert_eq!(
            refused(&good.replace("anna@", "anna<?x?>@")),
            Refused::Instruction
        );
    }
}

#[test]
fn comments_in_names_and_values() {
    for form in FORMS {
        // Exclusive canonicalisation leaves comments out: the signature holds all the same.
        for text in ["anna@corp", SUBJECT, AUDIENCE, "Finance"] {
            let (half, rest) = text.split_at(4);
            let document = signed(form).replace(text, &format!("{half}<!-- x -->{rest}"));
            assert_eq!(refused(&document), Refused::Interrupted, "{text}");
        }
        let between = signed(form).replace("<Conditions", "<!-- x --><Conditions");
        let between = between.replace("<saml:Conditions", "<!-- x --><saml:Conditions");
        assert_eq!(believed(&between), believed(&signed(form)));
    }
}

#[test]
fn shapes_that_no_service_issues() {
    use std::fmt::Write as _;
    let mut attributes = String::new();
    let mut namespaces = String::new();
    for number in 0..10_000 {
        write!(attributes, " a{number}='1'").expect("a string takes every write");
        write!(namespaces, " xmlns:a{number}='urn:{number}'").expect("a string takes every write");
    }
    for form in FORMS {
        let good = signed(form);
        let element = |attributes: &str| {
            let text = format!("<x xmlns='urn:x'{attributes}/>");
            good.replace("anna@corp.example", &text)
        };
        assert_eq!(refused(&element(&attributes)), Refused::TooManyAttributes);
        assert_eq!(refused(&element(&namespaces)), Refused::TooManyAttributes);
        let inside = good.replace("anna@corp.example", &"<x>".repeat(100_000));
        assert_eq!(refused(&inside), Refused::TooDeep);
        let closed = ["<x>".repeat(5_000), "</x>".repeat(5_000)].concat();
        let inside = good.replace("anna@corp.example", &closed);
        assert_eq!(refused(&inside), Refused::TooDeep);
        let wide = good.replace("anna@corp.example", &"<x/>".repeat(5_000));
        assert_eq!(refused(&wide), Refused::TooManyElements);
        let many = format!("<x{}/>", " b='1'".repeat(20));
        assert_eq!(
            refused(&element("").replace("<x ", &format!("{many}<x "))),
            Refused::Malformed
        );
        let twenty: String = (0..20).fold(String::new(), |mut text, number| {
            write!(text, " xmlns:b{number}='urn:b'").expect("a string takes every write");
            text
        });
        let nested = format!("<x{twenty}><x{twenty}/></x>");
        let nested = good.replace("anna@corp.example", &nested);
        assert_eq!(refused(&nested), Refused::TooManyNamespaces);
        let twenty = twenty.replace("xmlns:", "");
        let many = format!("<x{twenty}/>").repeat(1_000);
        let many = good.replace("anna@corp.example", &many);
        assert_eq!(refused(&many), Refused::TooManyAttributes);
        for piece in ["<!-- x -->", "<![CDATA[x]]>"] {
            let pieces = good.replace("anna@corp.example", &piece.repeat(300));
            assert_eq!(refused(&pieces), Refused::TooManyElements);
        }
        let references = good.replace("anna@corp.example", &"&amp;".repeat(20_000));
        assert_eq!(refused(&references), Refused::TooManyElements);
        let large = good.replace("anna@corp.example", &"a".repeat(1 << 20));
        assert_eq!(refused(&large), Refused::TooLarge);
    }
}

#[test]
fn documents_without_one_assertion() {
    for document in [
        "",
        "x",
        "<a>",
        "<a></b>",
        "</a>",
        "<a/><b/>",
        "<a b='1' b='2'/>",
    ] {
        assert_eq!(refused(document), Refused::Malformed, "{document}");
    }
    assert_eq!(refused("<a/>"), Refused::NoAssertion);
    for form in FORMS {
        let good = signed(form);
        assert_eq!(refused(&outer(form, "")), Refused::NoAssertion);
        assert_eq!(refused(&format!("<a>{good}</a>")), Refused::NoAssertion);
        assert_eq!(
            refused(&outer(form, &good.repeat(2).replacen(ID, "_other", 2))),
            Refused::SeveralAssertions
        );
        assert_eq!(refused(&outer(form, &good.repeat(2))), Refused::SameId);
    }
}

#[test]
fn versions_that_are_not_known() {
    for (form, before, after) in [
        (Form::Saml11, "MinorVersion=\"1\"", "MinorVersion=\"0\""),
        (Form::Saml11, "MajorVersion=\"1\"", "MajorVersion=\"2\""),
        (Form::Saml20, "Version=\"2.0\"", "Version=\"2.1\""),
    ] {
        assert_eq!(changed(form, before, after), Refused::Version);
    }
}

#[test]
fn responses_that_did_not_succeed() {
    let good = response(&signed(Form::Saml20), "");
    let failed = good.replace("status:Success", "status:Responder");
    assert_eq!(refused(&failed), Refused::Status);
    let status = "<samlp:Status><samlp:StatusCode \
                  Value=\"urn:oasis:names:tc:SAML:2.0:status:Success\"/></samlp:Status>";
    assert!(good.contains(status));
    assert_eq!(refused(&good.replace(status, "")), Refused::Status);
    assert_eq!(
        refused(&good.replace(status, &status.repeat(2))),
        Refused::Repeated
    );
    let old = good.replacen("Version=\"2.0\"", "Version=\"1.1\"", 1);
    assert_eq!(refused(&old), Refused::Version);
}

#[test]
fn what_a_refused_token_says_is_told_as_such() {
    for form in FORMS {
        let document = signed(form).replace("anna@corp.example", "boss@corp.example");
        let Token::Refused { why, said } = judge(&document) else {
            panic!("believed");
        };
        assert_eq!(why, Refused::BadSignature);
        let said = said.expect("it can be read");
        assert_eq!(
            said.values["http://schemas.xmlsoap.org/claims/UPN"],
            ["boss@corp.example"]
        );
    }
}

#[test]
fn time_is_now() {
    let look_at = |form, now, skew| {
        let audiences = [AUDIENCE.to_owned()];
        let skew = Duration::from_secs(skew);
        let expected = Expected {
            now,
            skew,
            ..expected(&audiences)
        };
        match look(&signed(form), &SERVICE.trust(), &expected) {
            Token::Verified(_) => None,
            Token::Refused { why, .. } => Some(why),
            Token::Opaque => panic!("nothing is encrypted"),
        }
    };
    for form in FORMS {
        // The confirmation of a bearer ends before the conditions do.
        let end = match form {
            Form::Saml20 => time::macros::utc_datetime!(2026-03-02 09:21:00),
            _ => time::macros::utc_datetime!(2026-03-02 10:15:00),
        };
        let begin = time::macros::utc_datetime!(2026-03-02 09:15:00);
        let second = time::Duration::SECOND;
        assert_eq!(look_at(form, begin, 0), None);
        assert_eq!(look_at(form, begin - second, 0), Some(Refused::NotYetValid));
        assert_eq!(look_at(form, begin - second, 1), None);
        assert_eq!(look_at(form, end - second, 0), None);
        assert_eq!(look_at(form, end, 0), Some(Refused::Expired));
        assert_eq!(look_at(form, end, 1), None);
        assert_eq!(look_at(form, end + second, 1), Some(Refused::Expired));
        assert_eq!(look_at(form, NOW, u64::MAX), None);
    }
}

#[test]
fn instants_that_cannot_be_read_or_are_not_there() {
    for form in FORMS {
        for bad in [
            "2026-03-02",
            "2026-03-02T09:15:00.000",
            "2026-02-30T09:15:00Z",
            "",
            "soon",
        ] {
            let before = "NotBefore=\"2026-03-02T09:15:00.000Z\"";
            let why = changed(form, before, &format!("NotBefore=\"{bad}\""));
            assert_eq!(why, Refused::Moment, "{bad}");
        }
        assert_eq!(
            changed(form, "IssueInstant=\"2026-03-02T09:15:00.000Z\"", ""),
            Refused::Incomplete
        );
    }
    let no_end = " NotOnOrAfter=\"2026-03-02T10:15:00.000Z\"";
    assert_eq!(changed(Form::Saml11, no_end, ""), Refused::NoExpiry);
    let no_end = " NotOnOrAfter=\"2026-03-02T09:21:00.000Z\"";
    assert_eq!(changed(Form::Saml20, no_end, ""), Refused::NoExpiry);
}

#[test]
fn somebody_elses_tokens() {
    for form in FORMS {
        assert_eq!(
            changed(form, ISSUER, "http://other.example/"),
            Refused::WrongIssuer
        );
        assert_eq!(changed(form, AUDIENCE, "urn:other"), Refused::WrongAudience);
        let restriction = match form {
            Form::Saml20 => {
                "<AudienceRestriction><Audience>urn:federation:MicrosoftOnline</Audience></AudienceRestriction>"
            }
            _ => {
                "<saml:AudienceRestrictionCondition><saml:Audience>urn:federation:MicrosoftOnline</saml:Audience></saml:AudienceRestrictionCondition>"
            }
        };
        assert_eq!(changed(form, restriction, ""), Refused::WrongAudience);
        // For both, and so for neither.
        let both = [restriction, &restriction.replace(AUDIENCE, "urn:other")].concat();
        assert_eq!(changed(form, restriction, &both), Refused::WrongAudience);
        let unknown = format!("{restriction}<x xmlns='urn:x'/>");
        assert_eq!(
            changed(form, restriction, &unknown),
            Refused::UnknownCondition
        );
    }
    let sender = response(&signed(Form::Saml20), "").replacen(ISSUER, "http://other.example/", 1);
    assert_eq!(refused(&sender), Refused::WrongIssuer);
}

#[test]
fn tokens_sent_elsewhere() {
    let form = Form::Saml20;
    let recipient = format!(" Recipient=\"{ADDRESS}\"");
    assert_eq!(changed(form, &recipient, ""), Refused::WrongRecipient);
    let other = " Recipient=\"https://other.example/\"";
    assert_eq!(changed(form, &recipient, other), Refused::WrongRecipient);
    let destination = format!("Destination=\"{ADDRESS}\"");
    let elsewhere =
        response(&signed(form), "").replace(&destination, "Destination=\"https://other.example/\"");
    assert_eq!(refused(&elsewhere), Refused::WrongRecipient);
    let nowhere = response(&signed(form), "").replace(&destination, "");
    assert_eq!(believed(&nowhere).id, ID);
}

#[test]
fn only_bearers() {
    for form in FORMS {
        assert_eq!(
            changed(form, "cm:bearer", "cm:holder-of-key"),
            Refused::NotBearer
        );
    }
    let other = "<saml:NameIdentifier \
                 Format=\"urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified\">AAAA</saml:NameIdentifier>";
    let usual = other.replace("AAAA", SUBJECT);
    let document = unsigned(Form::Saml11).replacen(&usual, other, 1);
    let document = SERVICE.sign(&with(&document, &template(ID)));
    assert_eq!(refused(&document), Refused::Repeated);
}

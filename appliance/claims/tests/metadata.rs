//! Federation metadata of real services, and what is not read.

mod signing;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use signing::{NOW, P256, P384, RSA, published};
use weir_claims::metadata::{MetadataError, read};
use weir_claims::{Certificate, KeyError, Keys, Trust, Warning};

const ADFS: &str = include_str!("documents/adfs.xml");
const SHIBBOLETH: &str = include_str!("documents/shibboleth.xml");
const OKTA: &str = include_str!("documents/okta.xml");
const SIMPLESAMLPHP: &str = include_str!("documents/simplesamlphp.xml");

struct Certificates {
    first: Certificate,
    second: Certificate,
    foreign: Certificate,
}

impl Certificates {
    fn new() -> Self {
        Self {
            first: RSA.certificate(2020, 2040),
            second: P256.certificate(2020, 2040),
            foreign: P384.certificate(2020, 2040),
        }
    }

    fn fill(&self, document: &str) -> String {
        let wrapped = |certificate: &Certificate| {
            let text = BASE64_STANDARD.encode(certificate.der());
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(76)
                .filter_map(|line| std::str::from_utf8(line).ok())
                .collect();
            lines.join("\n")
        };
        document
            .replace("{FIRST}", &wrapped(&self.first))
            .replace("{SECOND}", &wrapped(&self.second))
            .replace("{FOREIGN}", &wrapped(&self.foreign))
    }
}

fn why(document: &str) -> MetadataError {
    read(document.as_bytes()).expect_err("it is refused")
}

#[test]
fn services_name_themselves_and_the_certificates_that_sign() {
    let made = Certificates::new();
    let both = vec![made.first.clone(), made.second.clone()];
    let one = vec![made.first.clone()];
    for (document, name, certificates) in [
        (ADFS, "http://sts.corp.example/adfs/services/trust", &both),
        (SHIBBOLETH, "https://idp.corp.example/idp/shibboleth", &both),
        (OKTA, "http://www.okta.com/exk1fxphMdaq6V8Hk4x7", &one),
        (
            SIMPLESAMLPHP,
            "https://idp.corp.example/simplesaml/saml2/idp/metadata.php",
            &one,
        ),
    ] {
        let document = made.fill(document);
        for document in [document.clone(), format!("\u{feff}{document}")] {
            let found = read(document.as_bytes()).expect("good metadata");
            assert_eq!(found.entity_id, name);
            assert_eq!(&found.certificates, certificates);
            assert_eq!(found.left_out, []);
        }
    }
}

#[test]
fn only_the_names_of_the_standards_count() {
    let made = Certificates::new();
    for (from, to) in [
        // The prefix is the same and means something else, and the other way round.
        (
            "xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\"",
            "xmlns:md=\"urn:other\"",
        ),
        (
            "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"",
            "xmlns:ds=\"urn:other\"",
        ),
    ] {
        assert!(
            read(made.fill(&OKTA.replace(from, to)).as_bytes()).is_err(),
            "{to}"
        );
    }
    let renamed = OKTA.replace("md:", "q:").replace("xmlns:md", "xmlns:q");
    assert!(read(made.fill(&renamed).as_bytes()).is_ok());
    // Without the role of the WS-Federation side, the SAML side has the same certificates; and without both
    // there are none, though the signature of the document and other roles have some.
    let fed = "xmlns:fed=\"http://docs.oasis-open.org/wsfed/federation/200706\"";
    let without = ADFS.replace(fed, "xmlns:fed=\"urn:other\"");
    assert_eq!(
        read(made.fill(&without).as_bytes())
            .expect("good")
            .certificates
            .len(),
        2
    );
    let neither = without.replace("IDPSSODescriptor", "PDPDescriptor");
    assert!(matches!(
        why(&made.fill(&neither)),
        MetadataError::NoCertificate(_)
    ));
    let only_federation = ADFS.replace("IDPSSODescriptor", "PDPDescriptor");
    assert_eq!(
        read(made.fill(&only_federation).as_bytes())
            .expect("good")
            .certificates
            .len(),
        2
    );
}

#[test]
fn of_a_chain_only_the_first_certificate_signs() {
    let made = Certificates::new();
    let chain = "{FIRST}</ds:X509Certificate><ds:X509Certificate>{FOREIGN}";
    let found = read(made.fill(&OKTA.replace("{FIRST}", chain)).as_bytes()).expect("good");
    assert_eq!(found.certificates, std::slice::from_ref(&made.first));
}

#[test]
fn certificates_that_cannot_be_used_are_left_out_and_said() {
    let made = Certificates::new();
    let weak: Value = serde_json::from_str(include_str!("documents/weak.json")).expect("JSON");
    let weak = weak["certificate"].as_str().expect("a certificate");
    // Not every parser looks into the names.
    let mut nameless = made.foreign.der().to_vec();
    let mut places = nameless.windows(5);
    let name = places.position(|bytes| bytes == [6, 3, 0x55, 4, 3]);
    nameless[name.expect("a common name") - 2] = 8;
    let nameless = BASE64_STANDARD.encode(nameless);
    for (text, refused) in [
        (weak, KeyError::Weak(1024)),
        (&nameless, KeyError::Unreadable),
        ("", KeyError::Unreadable),
        ("AAAA", KeyError::Unreadable),
        ("not base64!", KeyError::Unreadable),
        ("&#65;", KeyError::Unreadable),
    ] {
        let found = read(made.fill(&ADFS.replace("{SECOND}", text)).as_bytes()).expect("good");
        assert_eq!(found.certificates, std::slice::from_ref(&made.first));
        assert_eq!(found.left_out, [(1, refused.clone()), (3, refused.clone())]);
        let keys = Keys::published(Some(&found), None, None);
        assert!(Trust::new(&keys).is_ok(), "the others are trusted");
        let none = why(&made.fill(&OKTA.replace("{FIRST}", text)));
        let words = format!("certificate 0: {refused}");
        assert_eq!(none, MetadataError::NoCertificate(words));
    }
}

#[test]
fn what_is_not_metadata_is_refused() {
    let made = Certificates::new();
    let okta = made.fill(OKTA);
    let doctype = "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>";
    let root = okta.find("<md:EntityDescriptor").expect("a root");
    let (head, body) = okta.split_at(root);
    for (document, refused) in [
        (String::new(), MetadataError::NotXml),
        (
            "<html><body>Sign in</body></html>".to_owned(),
            MetadataError::NotMetadata,
        ),
        ("{\"issuer\":\"x\"}".to_owned(), MetadataError::NotXml),
        (
            okta.replace("EntityDescriptor", "EntitiesDescriptor"),
            MetadataError::Aggregate,
        ),
        (
            format!("{head}{doctype}{body}"),
            MetadataError::DocumentType,
        ),
        (format!("{head}<?x y?>{body}"), MetadataError::DocumentType),
        (okta.replace("UTF-8", "utf-16"), MetadataError::NotXml),
        (format!("{okta}{body}"), MetadataError::NotXml),
        (format!("{okta}junk"), MetadataError::NotXml),
        (okta[..okta.len() - 9].to_owned(), MetadataError::NotXml),
        (okta.replace("entityID", "entityId"), MetadataError::NoName),
        (
            okta.replace("http://www.okta.com/exk1fxphMdaq6V8Hk4x7", " "),
            MetadataError::NoName,
        ),
        (
            okta.replace("http://www.okta.com/", &"x".repeat(1100)),
            MetadataError::NoName,
        ),
        (
            okta.replace("entityID=", "entityID='a' entityID="),
            MetadataError::NotXml,
        ),
    ] {
        assert_eq!(
            why(&document),
            refused,
            "{}",
            &document[..document.len().min(80)]
        );
    }
    assert_eq!(read(b"\xff\xfe<\0a\0/\0>\0"), Err(MetadataError::NotXml));
}

fn numbered(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().concat()
}

#[test]
fn more_than_any_service_publishes_is_refused() {
    let inside = |text: &str| {
        let made = Certificates::new().fill(OKTA);
        made.replace(
            "<md:IDPSSODescriptor",
            &format!("{text}<md:IDPSSODescriptor"),
        )
    };
    let attributes = numbered(10_000, |n| format!(" a{n}='1'"));
    let spaces = numbered(30, |n| format!(" xmlns:a{n}='u'"));
    let around = format!("<a{spaces}>").repeat(3) + &"</a>".repeat(3);
    let key = "<ds:X509Data><ds:X509Certificate/></ds:X509Data>";
    let keys = Certificates::new()
        .fill(OKTA)
        .replace("<ds:X509Data>", &(key.repeat(40) + "<ds:X509Data>"));
    for (document, refused) in [
        (inside(&" ".repeat(1024 * 1024)), MetadataError::TooLong),
        (
            inside(&"<a>".repeat(100_000)),
            MetadataError::TooMuch("depth"),
        ),
        (
            inside(&"<a/>".repeat(100_000)),
            MetadataError::TooMuch("elements"),
        ),
        (
            inside(&format!("<a{attributes}/>")),
            MetadataError::TooMuch("attributes"),
        ),
        (inside(&around), MetadataError::TooMuch("namespaces")),
        (keys, MetadataError::TooMuch("certificates")),
    ] {
        assert_eq!(why(&document), refused);
    }
}

#[test]
fn keys_travel_as_json_and_are_trusted_as_they_were() {
    let made = Certificates::new();
    let metadata = read(made.fill(ADFS).as_bytes()).expect("good");
    let keys = Keys {
        jwks: published(&[RSA.jwk(), P256.jwk()]).jwks,
        ..Keys::published(Some(&metadata), None, None)
    };
    let text = serde_json::to_string(&keys).expect("JSON");
    let read: Keys = serde_json::from_str(&text).expect("the same keys");
    assert_eq!(read, keys);
    assert!(Trust::new(&read).is_ok());
    let nobody = Keys {
        issuers: vec![],
        ..keys
    };
    assert_eq!(Trust::new(&nobody).err(), Some(KeyError::NoIssuer));
    let cut = text.replace("MII", "MIA");
    assert!(serde_json::from_str::<Keys>(&cut).is_err());
}

#[test]
fn an_operator_is_told_of_what_is_odd_about_keys_in_use() {
    let (old, next) = (RSA.certificate(2020, 2024), P256.certificate(2030, 2040));
    let keys = Keys {
        issuers: vec!["x".to_owned()],
        certificates: vec![old.clone(), next.clone(), RSA.certificate(2025, 2040)],
        jwks: published(&[RSA.jwk()]).jwks,
    };
    let day = |year| time::Date::from_calendar_date(year, time::Month::January, 1).expect("a day");
    let ended = Warning::Ended(old.fingerprint(), day(2024));
    let next = Warning::NotBegun(next.fingerprint(), day(2030));
    assert_eq!(keys.warnings(NOW), [ended, next]);
    let apart = Keys {
        jwks: published(&[P384.jwk()]).jwks,
        ..keys
    };
    assert_eq!(apart.warnings(NOW).last(), Some(&Warning::Apart));
}

//! Tokens verify with an independent program, and do not when one byte differs.

mod support;

use support::sign_in::xmlsec1;
use time::{Duration, OffsetDateTime};
use weir_lab_servers::plan::{MICROSOFT_ONLINE, Plan};
use weir_lab_servers::saml::assertion::{Claim, Method, Statement};
use weir_lab_servers::saml::response::WsTrust;
use weir_lab_servers::saml::sign::Signer;
use weir_lab_servers::saml::verify::{Refusal, Verifier};
use weir_lab_servers::{idp, pki};

const ISSUER: &str = "http://sts.corp.example/adfs/services/trust";

struct Bench {
    plan: Plan,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        if !Verifier::available() {
            println!("skipped: {test}: xmlsec1 is not installed");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let plan = Plan::new(directory.path());
        pki::create(&plan).expect("key material");
        Some(Self {
            plan,
            _directory: directory,
        })
    }

    fn signer(&self, service: &str) -> Signer {
        let files = self.plan.files();
        Signer::load(
            &files.signing_key(service),
            &files.signing_certificate(service),
        )
        .expect("a signer")
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(vec![(
            ISSUER.to_owned(),
            self.plan.files().signing_certificate("sts"),
        )])
    }

    /// A signed SAML 1.1 assertion.
    fn saml11(&self, id: &str) -> String {
        self.signer("sts")
            .sign(&statement().saml11(id))
            .expect("signed")
    }

    async fn refusal(&self, document: &str) -> Refusal {
        self.verifier()
            .verify(document, MICROSOFT_ONLINE, OffsetDateTime::now_utc())
            .await
            .expect_err("the document must be refused")
    }
}

fn statement() -> Statement {
    let now = OffsetDateTime::now_utc();
    Statement {
        issuer: ISSUER.to_owned(),
        audience: MICROSOFT_ONLINE.to_owned(),
        subject: "aW1tdXRhYmxl".to_owned(),
        method: Method::Password,
        authenticated: now,
        issued: now,
        lifetime: Duration::hours(1),
        claims: vec![Claim {
            kind: idp::claims::UPN.to_owned(),
            values: vec!["o'brien&co@mex.corp.example".to_owned()],
        }],
    }
}

#[test]
fn both_kinds_of_assertion_verify_with_xmlsec1_and_a_flipped_byte_does_not() {
    let Some(bench) =
        Bench::new("both_kinds_of_assertion_verify_with_xmlsec1_and_a_flipped_byte_does_not")
    else {
        return;
    };
    let certificate = bench.plan.files().signing_certificate("sts");
    let signer = bench.signer("sts");
    let saml2 = signer
        .sign(&statement().saml2("_two", "https://app.cloud.example/saml/acs", Some("_q")))
        .expect("signed");
    let kinds = [
        (
            bench.saml11("_one"),
            "AssertionID",
            "urn:oasis:names:tc:SAML:1.0:assertion:Assertion",
        ),
        (
            saml2,
            "ID",
            "urn:oasis:names:tc:SAML:2.0:assertion:Assertion",
        ),
    ];
    for (document, id, element) in kinds {
        assert!(xmlsec1(&document, &certificate, id, element), "{document}");
        let flipped = document.replacen("brien", "brieo", 1);
        assert_ne!(flipped, document);
        assert!(!xmlsec1(&flipped, &certificate, id, element), "{flipped}");
        assert!(
            !xmlsec1(
                &document,
                &bench.plan.files().signing_certificate("adfs"),
                id,
                element
            ),
            "another key"
        );
    }
}

#[tokio::test]
async fn a_token_in_either_envelope_is_accepted_and_read() {
    let Some(bench) = Bench::new("a_token_in_either_envelope_is_accepted_and_read") else {
        return;
    };
    let now = OffsetDateTime::now_utc();
    for version in [WsTrust::V2005, WsTrust::V13] {
        let assertion = bench.saml11("_a");
        let document = version.response(
            &assertion,
            "_a",
            MICROSOFT_ONLINE,
            now,
            now + Duration::hours(1),
        );
        assert!(
            document.contains(&assertion),
            "the assertion's bytes must not change"
        );
        let accepted = bench
            .verifier()
            .verify(&document, MICROSOFT_ONLINE, now)
            .await
            .expect("accepted");
        assert_eq!(
            accepted.claim(idp::claims::UPN),
            Some("o'brien&co@mex.corp.example")
        );
        assert_eq!(
            (accepted.id.as_str(), accepted.subject.as_str()),
            ("_a", "aW1tdXRhYmxl")
        );
    }
}

#[tokio::test]
async fn the_wrong_time_audience_issuer_and_key_are_told_apart() {
    let Some(bench) = Bench::new("the_wrong_time_audience_issuer_and_key_are_told_apart") else {
        return;
    };
    let (verifier, token, now) = (
        bench.verifier(),
        bench.saml11("_a"),
        OffsetDateTime::now_utc(),
    );
    let late = verifier
        .verify(&token, MICROSOFT_ONLINE, now + Duration::hours(2))
        .await;
    assert_eq!(late.expect_err("late"), Refusal::Time("it has expired"));
    let early = verifier
        .verify(&token, MICROSOFT_ONLINE, now - Duration::hours(1))
        .await;
    assert_eq!(
        early.expect_err("early"),
        Refusal::Time("it is not valid yet")
    );
    let other = verifier.verify(&token, "urn:other", now).await;
    assert_eq!(
        other.expect_err("audience"),
        Refusal::Audience(MICROSOFT_ONLINE.to_owned())
    );

    let mut stranger = statement();
    stranger.issuer = "http://evil.example/adfs/services/trust".to_owned();
    let stranger = bench
        .signer("sts")
        .sign(&stranger.saml11("_a"))
        .expect("signed");
    assert!(matches!(bench.refusal(&stranger).await, Refusal::Issuer(_)));
    // The right issuer's name over another service's key, whose certificate is in KeyInfo.
    let forged = bench
        .signer("adfs")
        .sign(&statement().saml11("_a"))
        .expect("signed");
    assert!(matches!(
        bench.refusal(&forged).await,
        Refusal::Signature(_)
    ));
}

#[tokio::test]
async fn wrapped_doubled_and_unsigned_assertions_are_refused() {
    let Some(bench) = Bench::new("wrapped_doubled_and_unsigned_assertions_are_refused") else {
        return;
    };
    let signed = bench.saml11("_a");
    let evil = signed.replace("o&#39;brien&amp;co@", "admin@");
    assert_ne!(evil, signed);

    let doubled = format!("<r>{signed}{evil}</r>");
    assert_eq!(bench.refusal(&doubled).await, Refusal::NotOne(2));

    // The good assertion moved into the evil one's signature.
    let wrapped = evil.replace(
        "<ds:KeyInfo>",
        &format!("<ds:Object>{signed}</ds:Object><ds:KeyInfo>"),
    );
    assert_eq!(bench.refusal(&wrapped).await, Refusal::NotOne(2));

    let start = signed.find("<ds:Signature ").expect("a signature");
    let end = signed.find("</ds:Signature>").expect("a signature") + "</ds:Signature>".len();
    let unsigned = format!("{}{}", &signed[..start], &signed[end..]);
    assert!(matches!(bench.refusal(&unsigned).await, Refusal::Form(_)));

    let elsewhere = signed.replace("URI=\"#_a\"", "URI=\"#_b\"");
    assert!(matches!(bench.refusal(&elsewhere).await, Refusal::Form(_)));

    let weak = signed.replace(
        "http://www.w3.org/2001/04/xmlenc#sha256",
        "http://www.w3.org/2000/09/xmldsig#sha1",
    );
    assert!(matches!(bench.refusal(&weak).await, Refusal::Form(_)));

    let doctype = format!("<!DOCTYPE r [<!ENTITY e \"x\">]>{signed}");
    assert!(matches!(
        bench.refusal(&doctype).await,
        Refusal::Malformed(_)
    ));
}

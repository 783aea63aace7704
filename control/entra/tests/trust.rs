//! Whom the tenant lets sign its users in, held against what a service publishes.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;
use weir_claims::{Certificate, Keys};
use weir_entra::health::State;
use weir_entra::trust::{self, About, Fronted, Known, Remark};

const NOW: OffsetDateTime = datetime!(2026-11-22 8:00 UTC);
const ISSUER: &str = "http://sts.fabrik.example/adfs/services/trust";

/// A certificate of a key of its own, valid until the end of a year.
fn certificate(year: i32) -> Certificate {
    renewed(&KeyPair::generate().expect("a key"), year)
}

fn renewed(key: &KeyPair, year: i32) -> Certificate {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 12, 31);
    let made = params.self_signed(key).expect("a certificate");
    Certificate::from_der(made.der()).expect("a certificate")
}

fn base64(certificate: &Certificate) -> String {
    STANDARD.encode(certificate.der())
}

/// The settings of a domain whose users sign in at `sts.fabrik.example`, with these changes.
fn settings(signing: &Certificate, changes: &Value) -> Value {
    let mut settings = json!({
        "id": "6601d14b-0000-4000-8000-000000000001", "displayName": "Fabrik STS", "issuerUri": ISSUER,
        "metadataExchangeUri": "https://sts.fabrik.example/adfs/services/trust/mex",
        "passiveSignInUri": "https://sts.fabrik.example/adfs/ls/",
        "activeSignInUri": "https://sts.fabrik.example/adfs/services/trust/2005/usernamemixed",
        "signingCertificate": base64(signing), "nextSigningCertificate": null,
        "preferredAuthenticationProtocol": "wsFed", "federatedIdpMfaBehavior": "acceptIfMfaDoneByFederatedIdp",
        "signingCertificateUpdateStatus": { "certificateUpdateResult": "Success", "lastRunDateTime": null },
    });
    let members = settings.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        members.insert(name.clone(), value.clone());
    }
    settings
}

/// Domains as the store keeps them: name, kind, settings.
fn domains(all: &[(&str, &str, Option<Value>)]) -> Vec<Known> {
    let mut documents = Vec::new();
    for (name, kind, settings) in all {
        let domain = json!({ "id": name, "authenticationType": kind, "isVerified": true,
            "isInitial": name.ends_with(".onmicrosoft.example") });
        documents.push((format!("domain:{name}"), domain.to_string()));
        if let Some(settings) = settings {
            documents.push((format!("federation:{name}"), settings.to_string()));
        }
    }
    let documents = documents.iter();
    trust::read(documents.map(|(name, text)| (name.as_str(), text.as_bytes()))).expect("documents")
}

fn one(settings: Value) -> Vec<Known> {
    domains(&[("fabrik.example", "Federated", Some(settings))])
}

fn publishing(certificates: &[&Certificate]) -> Keys {
    Keys {
        issuers: vec![ISSUER.to_owned()],
        certificates: certificates.iter().copied().cloned().collect(),
        jwks: Vec::new(),
    }
}

/// What is said when one service has these keys.
fn said(domains: &[Known], keys: Option<&Keys>) -> Vec<Remark> {
    let hosts = ["sts.fabrik.example".to_owned()];
    let service = Fronted {
        name: "sts",
        hosts: &hosts,
        keys,
    };
    trust::check(domains, &[service], &BTreeSet::new(), NOW)
}

fn about(remarks: &[Remark]) -> Vec<About> {
    remarks.iter().map(|remark| remark.about).collect()
}

#[test]
fn nothing_is_said_of_a_tenant_that_points_here() {
    let signing = certificate(2028);
    let domains = domains(&[
        (
            "fabrik.example",
            "Federated",
            Some(settings(&signing, &json!({}))),
        ),
        ("north.fabrik.example", "Federated", None),
        ("fabrik.onmicrosoft.example", "Managed", None),
    ]);
    assert_eq!(said(&domains, Some(&publishing(&[&signing]))), []);
    assert_eq!(said(&domains, None), [], "what nobody knows is not judged");
}

#[test]
fn sign_ins_that_go_elsewhere_are_told_by_host() {
    let signing = certificate(2028);
    let keys = publishing(&[&signing]);
    let elsewhere = |changes: Value| said(&one(settings(&signing, &changes)), Some(&keys));
    for (member, who) in [
        ("passiveSignInUri", "browsers are sent to"),
        ("activeSignInUri", "applications ask for tokens at"),
        ("metadataExchangeUri", "applications look for the server at"),
    ] {
        let remarks = elsewhere(json!({ member: "https://LOGIN.other.example:8443/ls?x=1" }));
        assert_eq!(about(&remarks), [About::SignsInElsewhere], "{member}");
        assert_eq!(remarks[0].state, State::NeedsAttention);
        let words = format!("{who} login.other.example, which is no host of a service here");
        assert_eq!(remarks[0].words, words);
        assert_eq!(remarks[0].domains, ["fabrik.example"]);
    }
    let plain = elsewhere(json!({ "passiveSignInUri": "http://sts.fabrik.example/adfs/ls/" }));
    assert_eq!(
        about(&plain),
        [About::SignsInElsewhere],
        "without TLS it is not here"
    );
    let none = elsewhere(json!({ "activeSignInUri": null, "metadataExchangeUri": "" }));
    assert_eq!(none, [], "a server may have no such endpoint");
}

#[test]
fn a_domain_that_is_meant_to_be_elsewhere_is_left_alone() {
    let passive = json!({ "passiveSignInUri": "https://login.other.example/ls" });
    let domains = domains(&[
        (
            "Other.example",
            "Federated",
            Some(settings(&certificate(2020), &passive)),
        ),
        (
            "fabrik.example",
            "Federated",
            Some(settings(&certificate(2028), &passive)),
        ),
    ]);
    let elsewhere = BTreeSet::from(["other.example".to_owned()]);
    let remarks = trust::check(&domains, &[], &elsewhere, NOW);
    assert!(!remarks.is_empty());
    assert!(
        remarks
            .iter()
            .all(|remark| remark.domains == ["fabrik.example"]),
        "{remarks:?}"
    );
}

#[test]
fn a_domain_that_is_not_federated_is_named() {
    let signing = certificate(2028);
    let federated = (
        "fabrik.example",
        "Federated",
        Some(settings(&signing, &json!({}))),
    );
    let remarks = said(
        &domains(&[
            federated,
            ("cloud.example", "Managed", None),
            ("dark.example", "Federated", None),
        ]),
        None,
    );
    assert_eq!(about(&remarks), [About::SettingsUnread, About::Managed]);
    assert_eq!(remarks[0].domains, ["dark.example"]);
    assert_eq!(
        (remarks[1].state, remarks[1].domains.as_slice()),
        (State::Healthy, &["cloud.example".to_owned()][..])
    );

    let nobody = said(&domains(&[("cloud.example", "Managed", None)]), None);
    assert_eq!(about(&nobody), [About::NothingFederated]);
    assert_eq!(nobody[0].state, State::NeedsAttention);
    assert_eq!(said(&[], None), [], "nothing was read yet");
}

#[test]
fn certificates_are_compared_by_their_keys() {
    let key = KeyPair::generate().expect("a key");
    let (signing, again) = (renewed(&key, 2028), renewed(&key, 2029));
    let (next, other) = (certificate(2029), certificate(2029));
    let next_is = |next: &Certificate| json!({ "nextSigningCertificate": base64(next) });
    let told = |changes: &Value, published: &[&Certificate]| {
        said(
            &one(settings(&signing, changes)),
            Some(&publishing(published)),
        )
    };
    assert_eq!(
        told(&json!({}), &[&again]),
        [],
        "the same key, in a certificate of its own"
    );
    assert_eq!(
        told(&next_is(&next), &[&signing, &next]),
        [],
        "the tenant knows both"
    );

    let untold = told(&json!({}), &[&signing, &next]);
    assert_eq!(about(&untold), [About::CertificateUntold]);
    assert!(
        untold[0].words.contains(&next.fingerprint().to_string()),
        "{}",
        untold[0].words
    );

    let strange = told(&next_is(&other), &[&signing]);
    assert_eq!(about(&strange), [About::CertificateStrange]);
    assert!(strange[0].words.contains(&other.fingerprint().to_string()));
    assert!(strange[0].step.contains("sign in as anybody"));

    let drifted = told(&json!({}), &[&next]);
    assert_eq!(about(&drifted), [About::CertificateUnknown]);
    for one in [&signing, &next] {
        assert!(drifted[0].words.contains(&one.fingerprint().to_string()));
    }
    let none = told(&json!({ "signingCertificate": null }), &[&next]);
    assert_eq!(about(&none), [About::CertificateUnknown]);
}

#[test]
fn a_certificate_that_cannot_be_read_is_told_and_nothing_is_guessed() {
    let (signing, next) = (certificate(2028), certificate(2029));
    for damaged in ["no base64!", "TUlJRA==", &"A".repeat(70_000)] {
        let settings = settings(&signing, &json!({ "nextSigningCertificate": damaged }));
        let remarks = said(&one(settings), Some(&publishing(&[&next])));
        assert_eq!(
            about(&remarks),
            [About::CertificateUnreadable],
            "{damaged:.20}"
        );
        assert!(!remarks[0].words.contains(damaged), "{}", remarks[0].words);
    }
}

#[test]
fn an_end_is_told_unless_something_follows() {
    let next = certificate(2029);
    let follows = json!({ "nextSigningCertificate": base64(&next) });
    for (year, now, changes, words) in [
        (2026, NOW, json!({}), None),
        (
            2026,
            datetime!(2026-12-10 8:00 UTC),
            json!({}),
            Some("expires on 2026-12-31"),
        ),
        (2026, datetime!(2026-12-10 8:00 UTC), follows.clone(), None),
        (2025, NOW, json!({}), Some("expired on 2025-12-31")),
        (2025, NOW, follows, None),
    ] {
        let remarks = trust::check(
            &one(settings(&certificate(year), &changes)),
            &[],
            &BTreeSet::new(),
            now,
        );
        let ends: Vec<_> = remarks
            .iter()
            .filter(|remark| remark.about == About::CertificateEnds)
            .collect();
        assert_eq!(ends.len(), usize::from(words.is_some()), "{year} {now}");
        if let (Some(words), [end]) = (words, ends.as_slice()) {
            assert!(end.words.contains(words), "{}", end.words);
        }
    }
}

#[test]
fn issuers_renewals_and_second_factors_are_told() {
    let signing = certificate(2028);
    let keys = publishing(&[&signing]);
    for (changes, expected) in [
        (
            json!({ "issuerUri": "http://other.example/adfs/services/trust" }),
            Some(About::OtherIssuer),
        ),
        (
            json!({ "issuerUri": "http://fabrik.example/adfs/services/trust/" }),
            None,
        ),
        (json!({ "issuerUri": null }), None),
        (
            json!({ "signingCertificateUpdateStatus": { "certificateUpdateResult": "MetadataUnreachable" } }),
            Some(About::RenewalFailed),
        ),
        (json!({ "signingCertificateUpdateStatus": null }), None),
        (
            json!({ "federatedIdpMfaBehavior": "rejectMfaByFederatedIdp" }),
            Some(About::SecondFactor),
        ),
        (
            json!({ "federatedIdpMfaBehavior": "enforceMfaByFederatedIdp" }),
            None,
        ),
        (
            json!({ "federatedIdpMfaBehavior": null }),
            Some(About::SecondFactor),
        ),
    ] {
        let remarks = said(&one(settings(&signing, &changes)), Some(&keys));
        assert_eq!(
            about(&remarks),
            expected.into_iter().collect::<Vec<_>>(),
            "{changes}"
        );
    }
}

#[test]
fn what_is_true_of_many_domains_is_said_once_and_the_worst_first() {
    let signing = certificate(2028);
    let rejects = json!({ "federatedIdpMfaBehavior": "rejectMfaByFederatedIdp" });
    let names: Vec<_> = (0..40).map(|n| format!("d{n:02}.example")).collect();
    let all: Vec<_> = names
        .iter()
        .map(|name| {
            (
                name.as_str(),
                "Federated",
                Some(settings(&signing, &rejects)),
            )
        })
        .collect();
    let remarks = said(&domains(&all), Some(&publishing(&[&certificate(2028)])));
    assert_eq!(
        about(&remarks),
        [About::CertificateUnknown, About::SecondFactor]
    );
    assert!(remarks.iter().all(|remark| remark.domains == names));
}

#[test]
fn the_tenant_vouches_for_the_service_at_which_its_users_sign_in() {
    let (signing, next, other) = (certificate(2028), certificate(2029), certificate(2028));
    let next_is = json!({ "nextSigningCertificate": base64(&next) });
    let elsewhere = json!({ "passiveSignInUri": "https://sts.other.example/ls" });
    let all = [
        (
            "fabrik.example",
            "Federated",
            Some(settings(&signing, &next_is)),
        ),
        (
            "other.example",
            "Federated",
            Some(settings(&other, &elsewhere)),
        ),
        ("dark.example", "Federated", None),
    ];
    let known = domains(&all);
    let mut expected = vec![signing, next];
    expected.sort();
    assert_eq!(
        trust::vouched(&known, &["sts.fabrik.example".to_owned()]),
        expected
    );
    // Half of the other domain's sign-ins pass there: it is not the word of the whole.
    assert_eq!(
        trust::vouched(&known, &["sts.other.example".to_owned()]),
        []
    );
    assert_eq!(trust::vouched(&known, &[]), []);
}

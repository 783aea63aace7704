//! From a failure to the next step.

use std::collections::BTreeSet;

use serde_json::json;
use time::Duration;
use time::macros::datetime;
use weir_entra::cloud::Cloud;
use weir_entra::credential::{Credential, Registration, Secret};
use weir_entra::graph::{Failure, Kind};
use weir_entra::health::{Finding, Reason, State, worst};
use weir_entra::model::{Id, Part};
use weir_entra::network::NetworkError;
use weir_entra::token::{By, Refusal, Said, TokenError};

const TENANT: Id = Id::from_u128(1);
const CLIENT: Id = Id::from_u128(2);

fn registration() -> Registration {
    let expires = datetime!(2026-10-01 00:00 UTC);
    Registration {
        cloud: Cloud::global(),
        tenant: TENANT,
        client: CLIENT,
        credential: Credential::Secret(Secret::new(b"s~cR3t", Some(expires)).expect("a secret")),
    }
}

fn refusal(code: Option<u32>, error: &str) -> TokenError {
    let codes: Vec<_> = code.into_iter().collect();
    let body = json!({ "error": error, "error_description": "No.", "error_codes": codes, "trace_id": "t1" });
    let read = Refusal::read(By::Entra, 401, body.to_string().as_bytes(), &[]);
    TokenError::Refused(Box::new(read.expect("a refusal")))
}

fn of_token(error: &TokenError) -> Finding {
    Finding::of_token(error, &registration())
}

fn of_kind(kind: Kind) -> Finding {
    let failure = Failure {
        part: Part::ConditionalAccess,
        kind,
        status: Some(403),
        code: Some("SomeCode".into()),
        words: "No.".to_owned(),
        request_id: Some("r1".into()),
        tries: 1,
        retry_after: None,
    };
    Finding::of_failure(&failure, &registration())
}

#[test]
fn each_number_of_entra_has_a_reason() {
    let cases = [
        (65001, Reason::ConsentMissing),
        (90094, Reason::ConsentMissing),
        (65004, Reason::ConsentDeclined),
        (650_057, Reason::AppMisconfigured),
        (650_052, Reason::ServiceAbsent),
        (700_016, Reason::AppNotFound),
        (7_000_112, Reason::AppDisabled),
        (700_027, Reason::CertificateNotRegistered),
        (7_000_215, Reason::SecretWrong),
        (7_000_222, Reason::SecretExpired),
        (90002, Reason::TenantNotFound),
        (900_382, Reason::WrongCloud),
        (700_024, Reason::ClockWrong),
        (53003, Reason::Blocked),
        (530_035, Reason::Blocked),
        (50173, Reason::Delegated),
        (50196, Reason::Loop),
        (90055, Reason::Throttled),
        (90033, Reason::Unavailable),
    ];
    for (code, reason) in cases {
        // The number counts, whatever stands beside it.
        let finding = of_token(&refusal(Some(code), "invalid_grant"));
        assert_eq!(finding.reason, reason, "{code}");
        assert_eq!(finding.code, Some(format!("AADSTS{code}")));
        assert_eq!(finding.request_id.as_deref(), Some("t1"));
        assert!(
            finding.step.len() > 20 && finding.step.ends_with('.'),
            "{}",
            finding.step
        );
    }
}

#[test]
fn a_number_that_is_not_known_is_judged_by_its_error() {
    let cases = [
        ("invalid_client", Reason::CredentialRefused),
        ("unauthorized_client", Reason::AppNotFound),
        ("consent_required", Reason::ConsentMissing),
        ("access_denied", Reason::Blocked),
        ("temporarily_unavailable", Reason::Unavailable),
        ("something_new", Reason::Fault),
    ];
    for (error, reason) in cases {
        assert_eq!(
            of_token(&refusal(Some(99_999_999), error)).reason,
            reason,
            "{error}"
        );
        assert_eq!(of_token(&refusal(None, error)).reason, reason, "{error}");
    }
}

#[test]
fn the_next_step_names_what_to_look_at() {
    let step = |code| of_token(&refusal(Some(code), "x")).step;
    assert!(step(700_016).contains(&CLIENT.to_string()));
    assert!(step(90002).contains(&TENANT.to_string()));
    assert!(step(90002).contains("another cloud"));
    assert!(step(7_000_215).contains("not its ID"));
    let mistaken = Registration {
        credential: Credential::Secret(
            Secret::new(CLIENT.to_string().as_bytes(), None).expect("a secret"),
        ),
        ..registration()
    };
    let finding = Finding::of_token(&refusal(Some(7_000_215), "x"), &mistaken);
    assert!(
        finding.step.contains("looks like the ID"),
        "{}",
        finding.step
    );

    let network = |error| of_token(&TokenError::Network(error)).step;
    let proxy = network(NetworkError::Proxy("407".to_owned()));
    assert!(
        proxy.contains("CONNECT") && proxy.contains("login.microsoftonline.com"),
        "{proxy}"
    );
    let tls = network(NetworkError::Tls("unknown issuer".to_owned()));
    assert!(tls.contains("authority"), "{tls}");

    let denied = of_kind(Kind::NotPermitted);
    assert_eq!(denied.reason, Reason::ConsentMissing);
    assert!(denied.step.contains("Policy.Read.All"), "{}", denied.step);
    assert_eq!(
        (denied.code.as_deref(), denied.request_id.as_deref()),
        (Some("SomeCode"), Some("r1"))
    );
    assert_eq!(denied.part, Some(Part::ConditionalAccess));
}

#[test]
fn what_the_tenant_lacks_is_no_alarm_and_what_a_person_must_do_is() {
    let state = |kind| of_kind(kind).state;
    for kind in [
        Kind::NotLicensed,
        Kind::NotOffered,
        Kind::Throttled,
        Kind::Unavailable,
        Kind::Resync,
        Kind::PageGone,
        Kind::Missing,
        Kind::NotYet,
    ] {
        assert_eq!(state(kind.clone()), State::Degraded, "{kind:?}");
    }
    for kind in [
        Kind::NotPermitted,
        Kind::Unauthorized,
        Kind::NoTenant,
        Kind::NotGraph,
        Kind::BadRequest,
        Kind::Challenged,
    ] {
        assert_eq!(state(kind.clone()), State::NeedsAttention, "{kind:?}");
    }
    let registration = registration();
    let held = Finding::of_hold(Part::Users, "340 of 900 users would vanish", &registration);
    let licence = of_kind(Kind::NotLicensed);
    assert_eq!(worst([]), State::Healthy);
    assert_eq!(worst([&licence]), State::Degraded);
    assert_eq!(worst([&licence, &held]), State::Held);
    let gone = Finding::disconnected(&registration);
    let denied = of_kind(Kind::NotPermitted);
    assert_eq!(worst([&held, &denied]), State::NeedsAttention);
    assert_eq!(worst([&gone, &denied]), State::Disconnected);
}

#[test]
fn a_token_proves_nothing_by_itself() {
    let registration = registration();
    let parts = [Part::Users, Part::Groups, Part::ConditionalAccess];
    let reasons = |said: &Said| {
        let findings = Finding::of_claims(said, &registration, &parts);
        findings
            .into_iter()
            .map(|finding| finding.reason)
            .collect::<BTreeSet<_>>()
    };
    let roles = |roles: &[&str]| {
        roles
            .iter()
            .map(|&role| role.to_owned())
            .collect::<Vec<_>>()
    };
    let good = Said {
        aud: Some("https://graph.microsoft.com".to_owned()),
        tid: Some(TENANT),
        roles: roles(&["User.Read.All", "GroupMember.Read.All", "Policy.Read.All"]),
        ..Said::default()
    };
    assert!(reasons(&good).is_empty());
    // A token that nobody consented to has no roles at all.
    let nothing = Said {
        roles: Vec::new(),
        ..good.clone()
    };
    assert_eq!(reasons(&nothing), [Reason::ConsentMissing].into());
    let findings = Finding::of_claims(&nothing, &registration, &parts);
    let wanted = "GroupMember.Read.All, Policy.Read.All, User.Read.All";
    assert!(findings[0].step.contains(wanted), "{}", findings[0].step);
    let wide = Said {
        roles: roles(&["Directory.Read.All", "Policy.Read.All"]),
        ..good.clone()
    };
    assert!(reasons(&wide).is_empty());
    let writes = Said {
        roles: roles(&[
            "Directory.Read.All",
            "Policy.Read.All",
            "User.ReadWrite.All",
            "AppRegistration.Create",
        ]),
        ..good.clone()
    };
    assert_eq!(reasons(&writes), [Reason::TooMuch].into());
    let other = Said {
        tid: Some(Id::from_u128(9)),
        ..good.clone()
    };
    assert_eq!(reasons(&other), [Reason::OtherTenant].into());
    let cloud = Said {
        aud: Some("https://graph.microsoft.us".to_owned()),
        ..good
    };
    assert_eq!(reasons(&cloud), [Reason::WrongCloud].into());
}

#[test]
fn a_credential_is_told_of_before_it_ends() {
    let registration = registration();
    let ends = datetime!(2026-10-01 00:00 UTC);
    let at = |left: Duration| Finding::of_expiry(&registration, ends - left);
    assert_eq!(at(Duration::days(31)), None);
    let state = |left| at(left).expect("told").state;
    assert_eq!(state(Duration::days(30)), State::Degraded);
    assert_eq!(state(Duration::days(6)), State::NeedsAttention);
    assert_eq!(state(Duration::ZERO), State::NeedsAttention);
    assert!(
        at(-Duration::days(1))
            .expect("told")
            .words
            .contains("has expired")
    );
    let old = Finding::of_age(&registration, ends - Duration::days(91), ends);
    assert_eq!(old.expect("told").reason, Reason::CredentialOld);
    assert_eq!(
        Finding::of_age(&registration, ends - Duration::days(80), ends),
        None
    );
}

#[test]
fn what_is_old_is_stale() {
    let registration = registration();
    let now = datetime!(2026-08-22 08:00 UTC);
    let stale =
        |read| Finding::of_staleness(Part::Users, read, Duration::minutes(30), &registration, now);
    assert_eq!(stale(Some(now - Duration::minutes(30))), None);
    let finding = stale(Some(now - Duration::minutes(31))).expect("told");
    assert_eq!(
        (finding.state, finding.part),
        (State::Stale, Some(Part::Users))
    );
    assert!(finding.words.contains("31 minutes"));
    assert_eq!(stale(None).expect("told").state, State::Stale);
}

#[test]
fn clocks_may_differ_a_little() {
    let registration = registration();
    let of = |seconds| Finding::of_skew(Duration::seconds(seconds), &registration);
    assert_eq!((of(59), of(-59)), (None, None));
    assert_eq!(of(60).expect("told").state, State::Degraded);
    let ahead = of(-400).expect("told");
    assert_eq!(ahead.state, State::NeedsAttention);
    assert!(ahead.words.contains("400 s ahead of"), "{}", ahead.words);
}

//! Profiles that an administrator writes.

mod common;

use common::{Request, UNMANAGED, compile, strict};
use weir_policy::{
    Flow, Policy, PolicySpec, Profile, ProfileChoice, ProfileError, ProfileSpec, Said,
};

fn spec(json: &str) -> ProfileSpec {
    serde_json::from_str(json).expect("a profile")
}

fn choice(json: &str) -> ProfileChoice {
    ProfileChoice::Own(Box::new(spec(json)))
}

fn policy(json: &str) -> Policy {
    compile(&PolicySpec {
        profile: choice(json),
        ..strict()
    })
}

fn flow(policy: &Policy, request: &Request) -> Flow {
    request
        .facts(policy, UNMANAGED)
        .expect("a readable request")
        .flow
}

fn errors(json: &str) -> Vec<ProfileError> {
    Profile::compile(&choice(json)).expect_err("a profile with a mistake")
}

const SSO: &str = r#"{
    "rows": [
        { "methods": ["GET", "POST"], "path": "/sso/login", "flow": "passive", "reads": ["sign-out"] },
        { "path": "/sso/apps/*/start", "flow": "passive", "reads": ["application"] },
        { "methods": ["POST"], "path": "/sso/trust", "flow": "active", "reads": ["password"] },
        { "path": "/sso/pages/**", "flow": "asset" },
        { "path": "/sso/pages/admin/**", "flow": "internal" }
    ],
    "users": ["login"],
    "relying_parties": ["sp"],
    "steps": ["turn"],
    "sign_out": "/sso/logout?all=1"
}"#;

#[test]
fn rows_say_what_requests_are_and_nothing_else_is_known() {
    let policy = policy(SSO);
    for (target, expected) in [
        ("/sso/login", Flow::Passive),
        ("/SSO/Login/", Flow::Passive),
        ("/sso/login?wa=wsignout1.0", Flow::SignOut),
        ("/sso/login?wa=wsignout1.0&turn=2", Flow::Passive),
        ("/sso/apps/payroll/start", Flow::Passive),
        ("/sso/apps/start", Flow::Other),
        ("/sso/apps/a/b/start", Flow::Other),
        ("/sso/pages/a.css", Flow::Asset),
        ("/sso/pages/a/b.css", Flow::Asset),
        ("/sso/pages", Flow::Other),
        // What is internal comes first, wherever it stands.
        ("/sso/pages/admin/users", Flow::Internal),
        ("/sso/trust", Flow::Other),
        ("/adfs/ls/", Flow::Other),
    ] {
        assert_eq!(flow(&policy, &Request::get(target)), expected, "{target}");
    }
    assert_eq!(
        flow(&policy, &Request::soap("/sso/trust", "<x/>")),
        Flow::Active
    );
    let places = policy.profile().places();
    assert_eq!(places.sign_out.as_deref(), Some("/sso/logout?all=1"));
    assert_eq!(places.metadata, None);
}

#[test]
fn its_names_tell_users_and_relying_parties() {
    let policy = policy(SSO);
    let facts = |request: &Request| request.facts(&policy, UNMANAGED).expect("readable");
    let login = facts(&Request::get("/sso/login?sp=urn:hr&login=alice"));
    assert_eq!(login.relying_party, Said::Bound("urn:hr".into()));
    assert_eq!(login.user, Said::Stated(vec!["alice".into()]));
    let both = facts(&Request::get("/sso/login?sp=urn:hr&wtrealm=urn:pay"));
    assert!(matches!(both.relying_party, Said::Unknown(_)));
    let step = facts(&Request::get("/sso/login?sp=urn:hr&turn=2"));
    assert!(matches!(step.relying_party, Said::Unknown(_)));
    let app = facts(&Request::get("/sso/apps/PayRoll/start?sp=urn:hr"));
    assert_eq!(app.relying_party, Said::Bound("/sso/apps/payroll".into()));
}

#[test]
fn a_profile_like_a_preset_begins_with_its_own_rows_and_keeps_the_presets_closed() {
    let policy = policy(
        r#"{
            "like": "adfs",
            "rows": [
                { "path": "/adfs/**", "flow": "asset" },
                { "path": "/adfs/oauth2/token", "flow": "internal" }
            ],
            "users": ["badge"],
            "mfa": { "acr_values": "urn:mfa" }
        }"#,
    );
    for (target, expected) in [
        ("/adfs/anything", Flow::Asset),
        ("/adfs/ls/", Flow::Asset),
        ("/adfs/proxy/GetConfiguration", Flow::Internal),
        ("/adfs/services/trust/proxymex", Flow::Internal),
        ("/adfs/oauth2/token", Flow::Internal),
        ("/.well-known/webfinger", Flow::Metadata),
    ] {
        assert_eq!(flow(&policy, &Request::get(target)), expected, "{target}");
    }
    let mfa = policy.profile().mfa();
    assert_eq!(mfa.acr_values.as_deref(), Some("urn:mfa"));
    assert!(mfa.wauth.is_some());
}

#[test]
fn a_profile_travels_as_json() {
    for choice in [choice(SSO), ProfileChoice::from("okta")] {
        let written = serde_json::to_string(&choice).expect("JSON");
        let read: ProfileChoice = serde_json::from_str(&written).expect("a choice");
        assert_eq!(read, choice);
    }
}

#[test]
fn patterns_that_would_never_match_or_match_too_much_are_refused() {
    let long = format!("/{}", "a".repeat(600));
    for (path, suggestion) in [
        ("sso/login", Some("/sso/login")),
        ("https://sso.corp.example/login", Some("/login")),
        ("/SSO/Login", Some("/sso/login")),
        ("/sso/login/", Some("/sso/login")),
        ("/sso//login", None),
        ("/sso/../login", None),
        ("/sso/%6cogin", None),
        ("/sso/login;x", None),
        ("/sso/login?x=1", None),
        ("/sso/log in", None),
        ("/sso/log*", None),
        ("/sso/**/login", None),
        ("/**", None),
        ("/*", None),
        ("/*/login", None),
        ("", Some("/")),
        (long.as_str(), None),
    ] {
        let json = serde_json::json!({ "rows": [{ "path": path, "flow": "passive" }] });
        let found = errors(&json.to_string());
        assert_eq!(found.len(), 1, "{path}: {found:?}");
        assert_eq!((found[0].row, found[0].field), (Some(0), "path"), "{path}");
        assert_eq!(found[0].suggestion.as_deref(), suggestion, "{path}");
    }
    // To close everything is safe.
    let closed = policy(r#"{ "rows": [{ "path": "/**", "flow": "internal" }] }"#);
    assert_eq!(flow(&closed, &Request::get("/a/b")), Flow::Internal);
}

#[test]
fn every_mistake_is_told_with_the_word_that_was_meant() {
    let found = errors(
        r#"{
            "like": "adsf",
            "rows": [
                { "methods": ["get"], "path": "/a", "flow": "pasive" },
                { "path": "/b", "flow": "asset", "reads": ["password", "singout"] },
                { "path": "/c", "flow": "passive", "reads": ["application"] }
            ],
            "users": [""],
            "metadata": "//evil",
            "mfa": { "wauth": "two words" }
        }"#,
    );
    let told: Vec<_> = found
        .iter()
        .map(|error| (error.row, error.field, error.suggestion.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (None, "like", Some("adfs")),
            (Some(0), "methods", Some("GET")),
            (Some(0), "flow", Some("passive")),
            (Some(1), "reads", Some("sign-out")),
            (Some(1), "reads", None),
            (Some(2), "reads", None),
            (None, "users", None),
            (None, "metadata", None),
            (None, "mfa", None),
        ]
    );
    assert_eq!(errors("{}")[0].field, "rows");
    let spec = PolicySpec {
        profile: choice(r#"{ "rows": [{ "path": "/a", "flow": "pasive" }] }"#),
        ..strict()
    };
    let wrong = Policy::compile(&spec).expect_err("a mistake");
    assert_eq!(wrong[0].field, "profile.rows.0.flow");
}

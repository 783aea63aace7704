//! Conditions that need examples: hours, methods, step-up, grants, locations, and the words that explain
//! them.

mod common;

use common::{FIREFOX, Known, PASSIVE, Request, UNMANAGED, compile, msal, people, with};
use time::UtcDateTime;
use time::macros::utc_datetime;
use weir_policy::{
    DecisionKind, Facts, LocationSpec, Method, Policy, Resident, Ruling, TokenFacts, Told,
};

const NOW: UtcDateTime = utc_datetime!(2026-11-20 12:30:00);

fn policy(rules: &[&str]) -> Policy {
    let mut spec = with(rules);
    spec.decide_at_token = true;
    let office = LocationSpec {
        prefixes: vec![
            "203.0.113.0/25".into(),
            "203.0.113.0/24".into(),
            "2001:db8::/32".into(),
        ],
        countries: Vec::new(),
    };
    spec.locations.insert("office".into(), office);
    compile(&spec)
}

fn facts(policy: &Policy, request: &Request, token: Told) -> Facts {
    let mut facts = request.facts(policy, UNMANAGED).expect("readable");
    facts.token = token;
    facts.moment = Some(NOW);
    facts
}

fn token(methods: &[&str], claims: &[(&str, &str)]) -> Told {
    let mut told = TokenFacts {
        methods: methods.iter().map(|word| Method::of(word)).collect(),
        authenticated: Some(utc_datetime!(2026-11-20 11:00:00)),
        ..TokenFacts::default()
    };
    for (name, value) in claims {
        let values = told.values.entry((*name).to_owned()).or_default();
        values.push((*value).to_owned());
    }
    Told::Verified(told)
}

fn browser() -> Request {
    Request::get(PASSIVE).agent(FIREFOX)
}

fn rule_at(policy: &Policy, request: &Request, token: Told) -> String {
    let ruling = policy.decide(&facts(policy, request, token), &Known);
    match ruling {
        Ruling::Now(decision) => format!("{} {}", decision.kind.name(), decision.rule),
        Ruling::AtToken {
            pending, step_up, ..
        } => {
            let asks = step_up.map_or("", |_| " after step-up");
            format!("at the token{asks}, for {pending}")
        }
    }
}

#[test]
fn hours_are_those_of_clocks_on_the_wall() {
    let policy = policy(&[
        r#"{"name":"night","when":{"time":{"days":"sat","from":"22:00","to":"06:00","zone":"Europe/Berlin"}},"then":{"decision":"block"}}"#,
    ]);
    for (moment, blocked) in [
        // Saturday evening in winter, and the hours of Sunday that belong to it.
        (utc_datetime!(2026-11-21 20:59:59), false),
        (utc_datetime!(2026-11-21 21:00:00), true),
        (utc_datetime!(2026-11-22 04:59:59), true),
        (utc_datetime!(2026-11-22 05:00:00), false),
        // Friday's night belongs to Friday.
        (utc_datetime!(2026-11-21 01:00:00), false),
        // In summer, and in the nights in which clocks change.
        (utc_datetime!(2026-07-18 20:00:00), true),
        (utc_datetime!(2026-03-29 03:59:59), true),
        (utc_datetime!(2026-03-29 04:00:00), false),
        (utc_datetime!(2026-10-25 04:59:59), true),
        (utc_datetime!(2026-10-25 05:00:00), false),
    ] {
        let mut facts = facts(&policy, &browser(), Told::default());
        facts.moment = Some(moment);
        let decision = policy.decide(&facts, &Known).without_token();
        assert_eq!(&*decision.rule == "rule/night", blocked, "{moment}");
    }
}

#[test]
fn words_of_tokens_mean_methods() {
    for (word, name) in [
        ("urn:oasis:names:tc:SAML:1.0:am:password", "password"),
        (
            "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            "password",
        ),
        ("urn:federation:authentication:windows", "windows"),
        ("urn:oasis:names:tc:SAML:2.0:ac:classes:X509", "certificate"),
        ("http://schemas.microsoft.com/claims/multipleauthn", "mfa"),
        ("pwd", "password"),
        ("PWD", "password"),
        ("ngcmfa", "mfa"),
        ("wia", "windows"),
        ("fed", "federated"),
        // A URI that differs in case is another.
        (
            "HTTP://schemas.microsoft.com/claims/multipleauthn",
            "HTTP://schemas.microsoft.com/claims/multipleauthn",
        ),
        ("c1", "c1"),
    ] {
        assert_eq!(Method::of(word).name(), name, "{word}");
    }
    let policy = policy(&[
        r#"{"name":"weak","when":{"method":"password"},"then":{"decision":"block"}}"#,
        r#"{"name":"strong","when":{"method":"certificate"},"then":{"decision":"pass"}}"#,
    ]);
    for (word, expected) in [
        ("pwd", "block rule/weak"),
        ("x509", "pass rule/strong"),
        // Nobody knows what it means: it may be a password, and it opens nothing.
        ("urn:own", "block rule/weak"),
    ] {
        assert_eq!(rule_at(&policy, &browser(), token(&[word], &[])), expected);
    }
}

#[test]
fn a_step_up_asks_browsers_and_believes_only_the_token() {
    let policy =
        policy(&[r#"{"name":"more","when":{"class":"unmanaged"},"then":{"decision":"step-up"}}"#]);
    for (request, told, expected) in [
        (
            browser(),
            Told::Ahead,
            "at the token after step-up, for rule/more",
        ),
        (browser(), token(&["mfa"], &[]), "pass rule/more"),
        (browser(), token(&["pwd"], &[]), "step-up rule/more"),
        (
            browser(),
            Told::Unbelieved("it is encrypted".into()),
            "block rule/more",
        ),
        (browser(), Told::default(), "block rule/more"),
        // WS-Trust cannot ask for more.
        (
            msal("13", "alice@corp.example"),
            Told::Ahead,
            "block rule/more",
        ),
        (
            msal("13", "alice@corp.example"),
            token(&["mfa"], &[]),
            "block rule/more",
        ),
    ] {
        assert_eq!(rule_at(&policy, &request, told), expected);
    }
    let recent = self::policy(&[r#"{"name":"more","then":{"decision":"step-up","within":"1h"}}"#]);
    assert_eq!(
        rule_at(&recent, &browser(), token(&["mfa"], &[])),
        "step-up rule/more"
    );
}

#[test]
fn a_rule_waits_for_the_token_only_where_that_can_open_something() {
    let admin = r#"{"name":"admins","when":{"group":"Admins"},"then":{"decision":"pass"}}"#;
    let contractor =
        r#"{"name":"contractors","when":{"group":"Contractors"},"then":{"decision":"block"}}"#;
    let redirect = "redirect office365-strict/browser-unmanaged";
    for (rules, expected) in [
        (&[admin][..], "at the token, for rule/admins"),
        (&[contractor], redirect),
        (&[contractor, admin], "at the token, for rule/contractors"),
    ] {
        assert_eq!(rule_at(&policy(rules), &browser(), Told::Ahead), expected);
    }
    let both = policy(&[contractor, admin]);
    for (group, expected) in [
        ("Admins", "pass rule/admins"),
        ("Contractors", "block rule/contractors"),
        ("Others", redirect),
    ] {
        let told = token(&[], &[("groups", group)]);
        assert_eq!(rule_at(&both, &browser(), told), expected);
    }
    // Nobody signs in by a style sheet.
    let asset = Request::get("/adfs/portal/css/style.css");
    assert_eq!(
        rule_at(&both, &asset, Told::Ahead),
        "pass office365-strict/asset"
    );
}

#[test]
fn a_grant_needs_a_verified_token() {
    let policy = policy(&[
        r#"{"name":"earns","then":{"decision":"pass","grant":{"class":"managed","for":"30m","kernel":true}}}"#,
    ]);
    let earned = facts(&policy, &browser(), token(&[], &[]));
    let decision = policy.decide(&earned, &Known).without_token();
    assert_eq!(&*decision.rule, "rule/earns");
    let grant = decision.grant.expect("it is granted");
    assert_eq!(
        (grant.class.name(), grant.lasts.as_secs(), grant.kernel),
        ("managed", 1800, true)
    );
    assert_eq!(policy.granted_by("rule/earns"), Some(&*grant));
    assert_eq!(policy.granted_by("office365-strict/browser-managed"), None);
    for told in [Told::default(), Told::Unbelieved("no".into())] {
        let decision = policy
            .decide(&facts(&policy, &browser(), told), &Known)
            .without_token();
        assert_eq!(
            (decision.kind, decision.grant),
            (DecisionKind::Redirect, None)
        );
    }
}

#[test]
fn a_rule_in_front_that_may_hold_leaves_nothing_of_a_larger_grant() {
    let granted = |front: &str, groups: &[(&str, &str)]| {
        let front = format!(r#"{{"name":"front","when":{{"group":"Staff"}},"then":{front}}}"#);
        let policy = policy(&[
            &front,
            r#"{"name":"earns","then":{"decision":"pass","grant":{"class":"bypass","for":"30m"}}}"#,
        ]);
        let facts = facts(&policy, &browser(), token(&["mfa"], groups));
        let (ruling, tried) = policy.explain(&facts, &Known);
        let decision = ruling.without_token();
        assert_eq!(decision.kind, DecisionKind::Pass);
        assert_eq!(policy.decide(&facts, &Known).without_token(), decision);
        let last = tried.last().expect("a rule matched").why.clone();
        (decision.grant.map(|it| it.class.name()), last)
    };
    let elsewhere = [("groups", "Others")];
    for (front, may_hold) in [
        (r#"{"decision":"pass"}"#, None),
        (r#"{"decision":"step-up"}"#, None),
        (
            r#"{"decision":"pass","grant":{"class":"bypass","for":"10m"}}"#,
            None,
        ),
        (
            r#"{"decision":"pass","grant":{"class":"managed","for":"30m"}}"#,
            Some("bypass"),
        ),
    ] {
        assert_eq!(granted(front, &elsewhere).0, Some("bypass"), "{front}");
        // A token that names no groups leaves it open whether the rule in front holds.
        let (class, why) = granted(front, &[]);
        assert_eq!(class, may_hold, "{front}");
        let told = why.ends_with("it grants nothing, because rule/front may hold");
        assert_eq!(told, may_hold.is_none(), "{why}");
    }
}

#[test]
fn a_location_is_found_in_overlapping_networks() {
    let policy =
        policy(&[r#"{"name":"office","when":{"location":"office"},"then":{"decision":"pass"}}"#]);
    for (peer, is_there) in [
        ("203.0.113.0", true),
        ("203.0.113.200", true),
        ("203.0.114.0", false),
        ("203.0.112.255", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::", false),
        ("::ffff:203.0.113.9", true),
    ] {
        let facts = browser().facts(&policy, peer).expect("readable");
        let decision = policy.decide(&facts, &Known).without_token();
        assert_eq!(&*decision.rule == "rule/office", is_there, "{peer}");
    }
}

#[test]
fn what_is_known_to_have_no_value_is_false_and_what_is_not_there_is_unknown() {
    let policy = policy(&[
        r#"{"name":"role","when":{"role":"Admin"},"then":{"decision":"block"}}"#,
        r#"{"name":"group","when":{"group":"Admins"},"then":{"decision":"block"}}"#,
        r#"{"name":"it","when":{"claim":{"department":"it"}},"then":{"decision":"block"}}"#,
        r#"{"name":"all","then":{"decision":"pass"}}"#,
    ]);
    let told = |none: &[&str]| {
        let values = none.iter().map(|name| ((*name).to_owned(), Vec::new()));
        Told::Verified(TokenFacts {
            values: values.collect(),
            ..TokenFacts::default()
        })
    };
    for (none, expected) in [
        (&[][..], "block rule/role"),
        (&["roles"], "block rule/group"),
        (&["roles", "groups"], "block rule/it"),
        (&["roles", "groups", "department"], "pass rule/all"),
    ] {
        assert_eq!(rule_at(&policy, &browser(), told(none)), expected);
    }
}

#[test]
fn explain_says_what_the_token_tells() {
    let policy = policy(&[
        r#"{"name":"a","when":{"group":"Admins"},"then":{"decision":"pass"}}"#,
        r#"{"name":"b","when":{"claim":{"department":"it"}},"then":{"decision":"pass"}}"#,
        r#"{"name":"c","when":{"device":"compliant"},"then":{"decision":"pass"}}"#,
        r#"{"name":"d","when":{"country":"DE"},"then":{"decision":"pass"}}"#,
        r#"{"name":"e","when":{"service":"other"},"then":{"decision":"block"}}"#,
        r#"{"name":"f","when":{"time":{"days":"mon"}},"then":{"decision":"block"}}"#,
        r#"{"name":"g","when":{"user":"@corp.example"},"then":{"decision":"step-up"}}"#,
    ]);
    let told = token(
        &["pwd"],
        &[
            ("groups", "Staff"),
            ("upn", "alice@corp.example"),
            ("department", "hr"),
        ],
    );
    let why = |told| -> Vec<String> {
        let (_, tried) = policy.explain(&facts(&policy, &browser(), told), &Known);
        tried.into_iter().skip(3).map(|step| step.why).collect()
    };
    assert_eq!(
        why(told),
        [
            "the user is not in group Admins",
            "department is hr",
            "the token does not say device_compliant: unknown never passes",
            "nobody knows the country of the source: unknown never passes",
            "the rule is for another service",
            "it is fri 12:30 in UTC",
            "upn is alice@corp.example; the server is asked for multi-factor authentication",
        ]
    );
    assert_eq!(
        why(Told::Ahead)[0],
        "the token is on its way: the token will tell"
    );
    assert_eq!(
        why(Told::Unbelieved("it is encrypted".into()))[0],
        "the token is not believed, it is encrypted: unknown never passes"
    );
}

#[test]
fn the_directory_completes_what_the_token_leaves_out() {
    let policy = policy(&[
        r#"{"name":"staff","when":{"group":"Staff"},"then":{"decision":"pass"}}"#,
        r#"{"name":"guests","when":{"not":{"group":"Staff"}},"then":{"decision":"block"}}"#,
    ]);
    let overage = |claims: &[(&str, &str)]| match token(&[], claims) {
        Told::Verified(mut told) => {
            told.missing.insert("groups".into());
            Told::Verified(told)
        }
        other => other,
    };
    let alice = || msal("13", "Alice@corp.example");
    let tenant = people::tenant(&[
        (7, "alice@corp.example", &["Staff"][..]),
        (8, "bob@corp.example", &[]),
    ]);
    let resolved = policy.resolve(&tenant);
    let view = tenant.at(NOW.unix_timestamp(), people::MAX_AGE);
    let directory = Resident::new(None, Some((view, &resolved)));
    let (seven, eight) = (people::id(7).to_string(), people::id(8).to_string());
    let decided = |request: &Request, told| {
        let facts = facts(&policy, request, told);
        policy
            .decide(&facts, &directory)
            .without_token()
            .rule
            .to_string()
    };
    for (request, told, expected) in [
        (browser(), overage(&[("object_id", &seven)]), "rule/staff"),
        (
            browser(),
            overage(&[("upn", "ALICE@corp.example")]),
            "rule/staff",
        ),
        (browser(), overage(&[("object_id", &eight)]), "rule/guests"),
        // The token names groups by id, and says nothing of names.
        (
            browser(),
            token(
                &[],
                &[
                    ("object_id", &seven),
                    ("groups", "9d10aa11-0000-4000-8000-00000000a001"),
                ],
            ),
            "rule/staff",
        ),
        (browser(), overage(&[]), "rule/guests"),
        // Without a token, who is merely stated is nobody the directory could be asked about.
        (browser(), Told::default(), "rule/guests"),
        (alice(), Told::default(), "rule/staff"),
        (
            msal("13", "bob@corp.example"),
            Told::default(),
            "rule/guests",
        ),
    ] {
        assert_eq!(decided(&request, told), expected);
    }
    let unknown = facts(&policy, &browser(), overage(&[("object_id", &seven)]));
    let decision = policy.decide(&unknown, &Known).without_token();
    assert_eq!(&*decision.rule, "rule/guests");
}

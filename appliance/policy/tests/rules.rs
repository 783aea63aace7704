//! The administrator's rules: order, three-valued conditions, and what the compiler says of mistakes.

mod common;

use common::{
    BLOCKED, FIREFOX, Known, MANAGED, MICROSOFT_ONLINE, PASSIVE, RELAY, Request, UNMANAGED,
    compile, msal, rule, strict, with,
};
use proptest::prelude::*;
use weir_policy::{Client, DecisionKind, Flow, PolicySpec, RuleSpec, Values};

fn decided(spec: &PolicySpec, request: &Request, peer: &str) -> String {
    let policy = compile(spec);
    let facts = request.facts(&policy, peer).expect("a readable request");
    let decision = policy.decide(&facts, &Known).without_token();
    assert_eq!(policy.explain(&facts, &Known).0.without_token(), decision);
    format!("{} {}", decision.kind.name(), decision.rule)
}

const BUILT_IN: &str = "block office365-strict/native-unmanaged";

#[test]
fn the_first_rule_that_matches_decides_and_built_in_rules_come_last() {
    let spec = with(&[
        r#"{"name":"one","when":{"flow":"active","client":["native","outlook"]},"then":{"decision":"pass"}}"#,
        r#"{"name":"two","when":{"flow":"active"},"then":{"decision":"block"}}"#,
    ]);
    let active = msal("13", "alice@corp.example");
    assert_eq!(decided(&spec, &active, UNMANAGED), "pass rule/one");
    let mut spec = spec;
    spec.switched_off = vec!["rule/one".into()];
    assert_eq!(decided(&spec, &active, UNMANAGED), "block rule/two");
    spec.switched_off.push("rule/two".into());
    assert_eq!(decided(&spec, &active, UNMANAGED), BUILT_IN);
}

#[test]
fn no_rule_opens_internal_paths_unknown_paths_or_a_blocked_source() {
    let spec = with(&[r#"{"name":"all","then":{"decision":"pass"}}"#]);
    for (target, peer, expected) in [
        (
            "/adfs/proxy/EstablishTrust",
            MANAGED,
            "block office365-strict/internal-path",
        ),
        ("/x", MANAGED, "block office365-strict/unknown-path"),
        (PASSIVE, BLOCKED, "block office365-strict/blocked-source"),
        (PASSIVE, UNMANAGED, "pass rule/all"),
    ] {
        assert_eq!(decided(&spec, &Request::get(target), peer), expected);
    }
}

#[test]
fn where_no_rule_matches_the_request_is_blocked() {
    let mut spec = strict();
    for name in [
        "browser-unmanaged",
        "native-unmanaged",
        "server-unmanaged",
        "metadata",
        "asset",
        "sign-out",
    ] {
        spec.switched_off.push(format!("office365-strict/{name}"));
    }
    for request in [
        Request::get(PASSIVE).agent(FIREFOX),
        msal("13", "alice@corp.example"),
        Request::get("/adfs/discovery/keys"),
        Request::get("/adfs/ls/?wa=wsignout1.0"),
    ] {
        assert_eq!(
            decided(&spec, &request, UNMANAGED),
            "block office365-strict/no-rule"
        );
    }
}

#[test]
fn a_certain_user_may_be_let_through_and_may_be_blocked() {
    let pass = with(&[
        r#"{"name":"staff","when":{"flow":"active","user":"@corp.example"},"then":{"decision":"pass"}}"#,
    ]);
    let block = with(&[
        r#"{"name":"guests","when":{"flow":"active","user":["@partner.example","bob@corp.example"]},"then":{"decision":"block"}}"#,
    ]);
    for (user, peer, by_pass, by_block) in [
        ("alice@corp.example", UNMANAGED, "pass rule/staff", BUILT_IN),
        ("ALICE@Corp.Example", UNMANAGED, "pass rule/staff", BUILT_IN),
        (
            "x@partner.example",
            MANAGED,
            "pass office365-strict/native-managed",
            "block rule/guests",
        ),
        (
            "Bob@corp.example",
            MANAGED,
            "pass rule/staff",
            "block rule/guests",
        ),
        // An account name may be anybody's.
        (
            "CORP\\bob",
            MANAGED,
            "pass office365-strict/native-managed",
            "block rule/guests",
        ),
        ("CORP\\bob", UNMANAGED, BUILT_IN, "block rule/guests"),
        (
            "bob@corp.example.",
            UNMANAGED,
            BUILT_IN,
            "block rule/guests",
        ),
        (
            "b\u{f6}b@corp.example",
            UNMANAGED,
            BUILT_IN,
            "block rule/guests",
        ),
    ] {
        assert_eq!(decided(&pass, &msal("13", user), peer), by_pass, "{user}");
        assert_eq!(decided(&block, &msal("13", user), peer), by_block, "{user}");
    }
}

#[test]
fn what_somebody_says_of_himself_neither_opens_nor_escapes() {
    let states = |user: &str| {
        Request::get(&format!(
            "/adfs/ls/?wa=wsignin1.0&wtrealm=a&username={user}"
        ))
        .agent(FIREFOX)
    };
    let silent = Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=a").agent(FIREFOX);
    let pass =
        with(&[r#"{"name":"staff","when":{"user":"@corp.example"},"then":{"decision":"pass"}}"#]);
    let escape = with(&[
        r#"{"name":"guests","when":{"user":"@partner.example"},"then":{"decision":"block"}}"#,
    ]);
    let others = with(&[
        r#"{"name":"others","when":{"not":{"user":"@corp.example"}},"then":{"decision":"block"}}"#,
    ]);
    let not_pass = with(&[
        r#"{"name":"rest","when":{"not":{"user":"@partner.example"}},"then":{"decision":"pass"}}"#,
    ]);
    for request in [
        states("alice%40corp.example"),
        states("x%40partner.example"),
        silent,
    ] {
        let redirect = "redirect office365-strict/browser-unmanaged";
        assert_eq!(decided(&pass, &request, UNMANAGED), redirect);
        assert_eq!(decided(&not_pass, &request, UNMANAGED), redirect);
        assert_eq!(decided(&escape, &request, MANAGED), "block rule/guests");
        assert_eq!(decided(&others, &request, MANAGED), "block rule/others");
    }
    // Where nobody signs in, there is no user to be unknown.
    let asset = Request::get("/adfs/portal/css/style.css");
    assert_eq!(
        decided(&escape, &asset, MANAGED),
        "pass office365-strict/asset"
    );
}

#[test]
fn applications_and_relying_parties_are_compared_to_the_byte() {
    let pass =
        with(&[r#"{"name":"m365","when":{"application":"m365"},"then":{"decision":"pass"}}"#]);
    let block = with(&[
        r#"{"name":"m365","when":{"relying_party":"urn:federation:MicrosoftOnline"},"then":{"decision":"block"}}"#,
    ]);
    let redirect = "redirect office365-strict/browser-unmanaged";
    let managed = "pass office365-strict/browser-managed";
    for (realm, by_pass, by_block) in [
        (
            "urn%3afederation%3aMicrosoftOnline",
            "pass rule/m365",
            "block rule/m365",
        ),
        (
            "urn:federation:microsoftonline",
            redirect,
            "block rule/m365",
        ),
        (
            "urn:federation:MicrosoftOnline/",
            redirect,
            "block rule/m365",
        ),
        (
            "+urn:federation:MicrosoftOnline",
            redirect,
            "block rule/m365",
        ),
        ("urn:federation:other", redirect, managed),
        (
            "a&wtrealm=urn:federation:MicrosoftOnline",
            redirect,
            "block rule/m365",
        ),
    ] {
        let request =
            Request::get(&format!("/adfs/ls/?wa=wsignin1.0&wtrealm={realm}")).agent(FIREFOX);
        assert_eq!(decided(&pass, &request, UNMANAGED), by_pass, "{realm}");
        assert_eq!(decided(&block, &request, MANAGED), by_block, "{realm}");
    }
    let policy = compile(&pass);
    let facts = Request::get(PASSIVE)
        .facts(&policy, UNMANAGED)
        .expect("a readable request");
    assert_eq!(facts.applications, ["m365"]);
}

#[test]
fn sources_lists_classes_and_hosts() {
    for (when, peer, matches) in [
        (r#"{"source":"203.0.113.0/24"}"#, MANAGED, true),
        (
            r#"{"source":["203.0.113.77/24","2001:db8::/32"]}"#,
            MANAGED,
            true,
        ),
        (r#"{"source":"::ffff:203.0.113.0/120"}"#, MANAGED, true),
        (r#"{"source":"203.0.113.11"}"#, MANAGED, false),
        (r#"{"list":"hq-egress"}"#, MANAGED, true),
        (r#"{"list":"hq-egress"}"#, UNMANAGED, false),
        (r#"{"class":"managed"}"#, MANAGED, true),
        (r#"{"class":["bypass","unmanaged"]}"#, MANAGED, false),
        (r#"{"class":"relay"}"#, RELAY, true),
        (r#"{"class":"unmanaged"}"#, RELAY, true),
        // The relay does not say who stands behind it: unknown.
        (r#"{"source":"203.0.113.0/24"}"#, RELAY, true),
        (r#"{"not":{"source":"203.0.113.0/24"}}"#, RELAY, true),
        (r#"{"host":"STS.corp.example."}"#, MANAGED, true),
        (r#"{"host":"other.example"}"#, MANAGED, false),
        (
            r#"{"not":{"class":"managed","flow":"mex"}}"#,
            MANAGED,
            false,
        ),
        (
            r#"{"not":{"class":"managed","flow":"active"}}"#,
            MANAGED,
            true,
        ),
    ] {
        let json = format!(r#"{{"name":"it","when":{when},"then":{{"decision":"block"}}}}"#);
        let spec = with(&[&json]);
        let found = decided(&spec, &Request::get("/adfs/services/trust/mex"), peer);
        assert_eq!(found == "block rule/it", matches, "{when} {peer}: {found}");
    }
}

#[test]
fn a_rule_that_redirects_has_its_own_target_and_never_sends_an_application_anywhere() {
    let spec = with(&[
        r#"{"name":"there","then":{"decision":"redirect","target":"https://other.example/go?{query}"}}"#,
    ]);
    let policy = compile(&spec);
    let browser = Request::get(PASSIVE)
        .agent(FIREFOX)
        .facts(&policy, MANAGED)
        .expect("readable");
    let decision = policy.decide(&browser, &Known).without_token();
    let answer =
        weir_policy::answer::redirect(&browser, &decision, Some("a=b")).expect("a redirect");
    assert!(
        answer
            .headers
            .contains(&("location", "https://other.example/go?a=b".to_owned()))
    );
    for request in [
        msal("13", "alice@corp.example"),
        Request::get("/adfs/services/trust/mex").agent(FIREFOX),
        Request::get(PASSIVE).agent("Mozilla/4.0 ms-office"),
        Request::get("/adfs/ls/?wa=wsignout1.0").agent(FIREFOX),
    ] {
        assert_eq!(decided(&spec, &request, MANAGED), "block rule/there");
    }
}

#[test]
fn explain_says_why() {
    let spec = with(&[
        r#"{"name":"off","then":{"decision":"pass"}}"#,
        r#"{"name":"class","when":{"class":["managed","bypass"]},"then":{"decision":"pass"}}"#,
        r#"{"name":"staff","when":{"user":"@corp.example"},"then":{"decision":"pass"}}"#,
        r#"{"name":"guests","when":{"flow":"passive","user":"@partner.example"},"then":{"decision":"block"}}"#,
    ]);
    let spec = PolicySpec {
        switched_off: vec!["rule/off".into()],
        ..spec
    };
    let policy = compile(&spec);
    let facts = Request::get(PASSIVE)
        .agent(FIREFOX)
        .facts(&policy, UNMANAGED)
        .expect("readable");
    let (decision, tried) = policy.explain(&facts, &Known);
    let decision = decision.without_token();
    assert_eq!(&*decision.rule, "rule/guests");
    let why: Vec<&str> = tried.iter().skip(3).map(|step| step.why.as_str()).collect();
    assert_eq!(
        why,
        [
            "switched off",
            "class is unmanaged, not managed or bypass",
            "user is said to be alice@corp.example, which proves nothing: unknown never passes",
            "user is said to be alice@corp.example, which proves nothing: unknown is enough for a rule that restricts",
        ]
    );
}

fn any_rule() -> impl Strategy<Value = RuleSpec> {
    let words = |all: Vec<&'static str>| {
        prop_oneof![
            3 => Just(Values::Absent),
            1 => prop::sample::subsequence(all.clone(), 1..all.len())
                .prop_map(|some| Values::Many(some.into_iter().map(str::to_owned).collect())),
        ]
    };
    let when = (
        words(vec!["managed", "bypass", "unmanaged", "relay", "blocked"]),
        words(Flow::ALL.iter().map(|flow| flow.name()).collect()),
        words(Client::ALL.iter().map(|client| client.name()).collect()),
        words(vec!["@corp.example", "x@partner.example", "y@corp.example"]),
        words(vec![MICROSOFT_ONLINE, "a", "b"]),
        words(vec!["203.0.113.0/24", "40.0.0.0/8", "2001:db8::/32"]),
        any::<bool>(),
    );
    (when, prop::sample::select(vec!["pass", "block"])).prop_map(|(when, decision)| {
        let mut rule = rule(r#"{"name":"r","then":{"decision":"pass"}}"#);
        decision.clone_into(&mut rule.then.decision);
        let (class, flow, client, user, relying_party, source, negated) = when;
        let inner = weir_policy::WhenSpec {
            class,
            flow,
            client,
            user,
            relying_party,
            source,
            ..Default::default()
        };
        rule.when = if negated {
            weir_policy::WhenSpec {
                not: Some(Box::new(inner)),
                ..Default::default()
            }
        } else {
            inner
        };
        rule
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    prop::sample::select(vec![
        Request::get(PASSIVE).agent(FIREFOX),
        Request::get("/adfs/ls/").agent(FIREFOX),
        Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=a&username=x%40partner.example"),
        Request::get(PASSIVE).agent("ms-office"),
        Request::form("/adfs/ls/?wtrealm=b", "UserName=y%40corp.example"),
        msal("13", "alice@corp.example"),
        msal("2005", "x@partner.example"),
        msal("2005", "CORP\\x"),
        Request::soap("/adfs/services/trust/13/usernamemixed", "<junk"),
        Request::get("/adfs/services/trust/mex"),
        Request::form(
            "/adfs/oauth2/token",
            "grant_type=refresh_token&client_id=a&client_secret=s",
        ),
        Request::form("/adfs/oauth2/token", "grant_type=password&username=x"),
        Request::get("/adfs/portal/css/style.css"),
        Request::get("/adfs/proxy/x"),
        Request::get("/x"),
    ])
}

proptest! {
    #[test]
    fn decide_and_explain_are_the_same_and_nothing_internal_or_blocked_passes(
        rules in prop::collection::vec(any_rule(), 0..6),
        request in any_request(),
        peer in prop::sample::select(vec![MANAGED, UNMANAGED, BLOCKED, RELAY, "2001:db8:a::10"]),
    ) {
        let mut spec = strict();
        for (index, mut rule) in rules.into_iter().enumerate() {
            rule.name = format!("r{index}");
            spec.rules.push(rule);
        }
        let policy = compile(&spec);
        let facts = request.facts(&policy, peer).expect("a readable request");
        let decision = policy.decide(&facts, &Known).without_token();
        let (explained, tried) = policy.explain(&facts, &Known);
    let explained = explained.without_token();
        prop_assert_eq!(&explained, &decision);
        prop_assert_eq!(tried.iter().filter(|step| step.matched).count(), 1);
        if peer == BLOCKED || matches!(facts.flow, Flow::Internal | Flow::Other) {
            prop_assert_eq!(decision.kind, DecisionKind::Block);
        }
        if decision.kind == DecisionKind::Redirect {
            prop_assert_eq!(facts.client, Client::Browser);
        }
    }

    #[test]
    fn stating_a_user_never_turns_a_block_into_a_pass(
        rules in prop::collection::vec(any_rule(), 0..6),
        user in prop::sample::select(vec!["x%40partner.example", "y%40corp.example", "z%40z", ""]),
    ) {
        let mut spec = strict();
        for (index, mut rule) in rules.into_iter().enumerate() {
            rule.name = format!("r{index}");
            spec.rules.push(rule);
        }
        let policy = compile(&spec);
        let silent = Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=a");
        let stated = Request::get(&format!("/adfs/ls/?wa=wsignin1.0&wtrealm=a&username={user}"));
        let kind = |request: &Request| {
            policy
                .decide(&request.facts(&policy, UNMANAGED).expect("readable"), &Known).without_token()
                .kind
        };
        if kind(&silent) != DecisionKind::Pass {
            prop_assert_ne!(kind(&stated), DecisionKind::Pass);
        }
    }
}

#[test]
fn of_a_thousand_rules_on_one_user_or_relying_party_each_the_right_one_is_found() {
    let rules: Vec<String> = (0..1000)
        .map(|number| {
            let when = if number % 2 == 0 {
                format!(r#"{{"flow":"active","user":"user{number}@corp.example"}}"#)
            } else {
                format!(r#"{{"flow":"passive","relying_party":"urn:app:{number}"}}"#)
            };
            format!(r#"{{"name":"r{number}","when":{when},"then":{{"decision":"block"}}}}"#)
        })
        .collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let policy = compile(&with(&rules));
    let decided = |request: &Request| {
        let facts = request.facts(&policy, MANAGED).expect("readable");
        let decision = policy.decide(&facts, &Known).without_token();
        format!("{} {}", decision.kind.name(), decision.rule)
    };
    for number in (0..1000).step_by(7) {
        let request = if number % 2 == 0 {
            msal("13", &format!("User{number}@Corp.Example"))
        } else {
            Request::get(&format!("/adfs/ls/?wa=wsignin1.0&wtrealm=urn:app:{number}"))
        };
        let expected = format!("block rule/r{number}");
        assert_eq!(decided(&request), expected);
    }
    for (request, expected) in [
        (
            msal("13", "user1000@corp.example"),
            "pass office365-strict/native-managed",
        ),
        // Not sure enough for any of them, so the first restricts.
        (msal("13", "CORP\\user998"), "block rule/r0"),
        (
            Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=URN:app:999"),
            "block rule/r999",
        ),
        (Request::get("/adfs/ls/?wa=wsignin1.0"), "block rule/r1"),
        (
            Request::get("/adfs/ls/?wa=wsignin1.0&wtrealm=urn:app:1001"),
            "pass office365-strict/browser-managed",
        ),
    ] {
        assert_eq!(decided(&request), expected);
    }
}

//! Profiles of relying parties: reply URLs, and what stands in front of every rule there.

mod common;

use common::{Known, MANAGED, Request, UNMANAGED, compile, strict};
use weir_policy::{
    DecisionKind, Facts, Flow, Policy, PolicySpec, Profile, ProfileChoice, Ruling, Said, Told,
};

const APP: &str = r#"{
    "rows": [
        { "methods": ["POST"], "path": "/saml/acs", "flow": "passive", "reads": ["reply"] },
        { "path": "/slo", "flow": "sign-out" },
        { "path": "/**", "flow": "asset" }
    ]
}"#;

fn choice(json: &str) -> ProfileChoice {
    ProfileChoice::Own(Box::new(serde_json::from_str(json).expect("a profile")))
}

fn app() -> Policy {
    compile(&PolicySpec {
        profile: choice(APP),
        decide_at_token: true,
        applications: [(
            "portal".to_owned(),
            serde_json::from_str(r#"{ "relying_parties": ["urn:portal"] }"#).expect("one"),
        )]
        .into(),
        rules: serde_json::from_str(
            r#"[{ "name": "all", "when": {}, "then": { "decision": "pass" } }]"#,
        )
        .expect("a rule"),
        ..strict()
    })
}

fn decided(policy: &Policy, facts: &Facts) -> (DecisionKind, String) {
    let Ruling::Now(decision) = policy.decide(facts, &Known) else {
        panic!("nothing waits where a token is posted");
    };
    (decision.kind, decision.rule.to_string())
}

#[test]
fn a_token_that_is_not_believed_is_blocked_in_front_of_every_rule() {
    let policy = app();
    for target in ["/saml/acs", "/home"] {
        let request = Request::form(target, "SAMLResponse=x");
        let mut facts = request.facts(&policy, MANAGED).expect("readable");
        assert_eq!(
            decided(&policy, &facts),
            (DecisionKind::Pass, "rule/all".to_owned())
        );
        facts.token = Told::Unbelieved("the token is not signed".into());
        assert_eq!(
            decided(&policy, &facts),
            (
                DecisionKind::Block,
                "office365-strict/unbelieved-token".to_owned()
            ),
            "{target}"
        );
        let (_, tried) = policy.explain(&facts, &Known);
        let last = tried.last().expect("rules were tried");
        assert!(last.why.contains("is not signed"), "{}", last.why);
    }
    let other = compile(&PolicySpec {
        decide_at_token: true,
        ..strict()
    });
    assert!(!other.rule_names().any(|name| name.contains("unbelieved")));
}

#[test]
fn nobody_can_switch_that_off() {
    let spec = PolicySpec {
        profile: choice(APP),
        switched_off: vec!["office365-strict/unbelieved-token".to_owned()],
        ..strict()
    };
    let errors = Policy::compile(&spec).expect_err("it cannot be");
    assert!(errors[0].message.contains("cannot be switched off"));
}

#[test]
fn the_token_says_for_which_relying_party_it_is() {
    let policy = app();
    let request = Request::form("/saml/acs", "SAMLResponse=x&wtrealm=urn:other");
    let mut facts = request.facts(&policy, UNMANAGED).expect("readable");
    assert_eq!(facts.flow, Flow::Passive);
    assert!(matches!(facts.relying_party, Said::Unknown(_)));
    assert!(facts.applications.is_empty());
    policy.received(&mut facts, "urn:portal");
    assert_eq!(facts.relying_party, Said::Bound("urn:portal".to_owned()));
    assert_eq!(facts.applications, ["portal"]);
}

#[test]
fn beside_reply_urls_nobody_signs_in() {
    assert!(
        Profile::compile(&choice(APP))
            .expect("a good one")
            .replies()
    );
    let adfs = Profile::compile(&"adfs".into()).expect("a preset");
    assert!(!adfs.replies());
    for (json, field, says) in [
        (
            APP.replace("\"sign-out\"", "\"oauth-token\""),
            "flow",
            "nobody signs in by another path",
        ),
        (
            APP.replace("\"sign-out\"", "\"device\""),
            "flow",
            "nobody signs in by another path",
        ),
        (
            APP.replace("\"rows\"", "\"like\": \"adfs\", \"rows\""),
            "like",
            "like no sign-in server",
        ),
        (
            APP.replace("[\"reply\"]", "[\"reply\", \"step\"]"),
            "reads",
            "write `reply` alone",
        ),
        (
            APP.replace("\"flow\": \"passive\"", "\"flow\": \"asset\""),
            "reads",
            "`reply` says nothing on flow `asset`",
        ),
        (
            APP.replace(", \"reads\": [\"reply\"]", ""),
            "path",
            "would let everything through",
        ),
    ] {
        let errors = Profile::compile(&choice(&json)).expect_err("a mistake");
        let said = |error: &weir_policy::ProfileError| {
            error.field == field && error.message.contains(says)
        };
        assert!(errors.iter().any(said), "{errors:?}");
    }
}

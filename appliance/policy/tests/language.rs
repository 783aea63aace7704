//! The whole rule language against a slow evaluator that knows nothing of how rules are compiled, and what
//! must hold whatever the rules say: a fact that becomes unknown never opens anything, and what is
//! decided before a token comes holds whatever it says.

mod common;
mod model;

use common::{
    FIREFOX, Known, MANAGED, MICROSOFT_ONLINE, PASSIVE, Request, UNMANAGED, compile, msal, rule,
    strict,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::macros::utc_datetime;
use weir_abi::Class;
use weir_policy::{
    DecisionKind, Facts, LocationSpec, Method, PolicySpec, RuleSpec, Ruling, TokenFacts, Told,
};

const NOW: UtcDateTime = utc_datetime!(2026-11-20 12:30:00);
const IT: &str = "9d10aa11-0000-4000-8000-00000000a001";

fn spec(rules: Vec<RuleSpec>) -> PolicySpec {
    let mut spec = strict();
    for (index, mut rule) in rules.into_iter().enumerate() {
        rule.name = format!("r{index}");
        spec.rules.push(rule);
    }
    spec.decide_at_token = true;
    let office = LocationSpec {
        prefixes: vec!["203.0.113.0/24".into()],
        countries: vec!["DE".into()],
    };
    spec.locations.insert("office".into(), office);
    spec
}

/// One condition: the key, and its value.
fn any_condition() -> impl Strategy<Value = (String, Value)> {
    prop::sample::select(vec![
        ("class", json!("managed")),
        ("class", json!(["unmanaged", "bypass"])),
        ("flow", json!(["passive", "oauth-browser"])),
        ("flow", json!("active")),
        ("client", json!("browser")),
        ("service", json!("sts")),
        ("service", json!(["other"])),
        ("source", json!("203.0.113.0/24")),
        ("relying_party", json!(MICROSOFT_ONLINE)),
        ("user", json!("@corp.example")),
        ("user", json!(["alice@corp.example", "x@partner.example"])),
        ("user", json!("alice@mail.example")),
        ("group", json!(IT.to_uppercase())),
        ("group", json!(["Staff", IT])),
        ("group", json!("Staff")),
        ("role", json!("Admin")),
        ("claim", json!({"department": ["it", "hr"]})),
        ("claim", json!({"department": "hr", "access_level": "high"})),
        ("device", json!("compliant")),
        ("device", json!(["registered", "joined"])),
        ("method", json!("mfa")),
        ("method", json!(["password", "windows"])),
        ("authenticated_within", json!("1h")),
        ("country", json!(["DE", "AT"])),
        ("location", json!("office")),
        ("inside_network", json!(true)),
        ("inside_network", json!(false)),
        (
            "time",
            json!({"days": ["fri"], "from": "08:00", "to": "18:00"}),
        ),
        ("time", json!({"from": "22:00", "to": "06:00"})),
    ])
    .prop_map(|(key, value)| (key.to_owned(), value))
}

fn any_rule() -> impl Strategy<Value = RuleSpec> {
    let some = || prop::collection::vec(any_condition(), 0..4);
    let then = prop::sample::select(vec![
        json!({"decision": "pass"}),
        json!({"decision": "pass", "grant": {"class": "managed", "for": "30m"}}),
        json!({"decision": "pass", "grant": {"class": "managed", "for": "10m", "kernel": true}}),
        json!({"decision": "pass", "grant": {"class": "bypass", "for": "30m"}}),
        json!({"decision": "block"}),
        json!({"decision": "redirect"}),
        json!({"decision": "step-up"}),
        json!({"decision": "step-up", "within": "1h"}),
    ]);
    (some(), prop::option::weighted(0.3, some()), then).prop_filter_map(
        "nobody is redirected on flow active",
        |(when, not, then)| {
            let is_page = !when.contains(&("flow".to_owned(), json!("active")));
            let mut when: Map<String, Value> = when.into_iter().collect();
            if let Some(not) = not {
                let not: Map<String, Value> = not.into_iter().collect();
                when.insert("not".into(), not.into());
            }
            let text = json!({"name": "r", "when": when, "then": then}).to_string();
            (is_page || then["decision"] != "redirect").then(|| rule(&text))
        },
    )
}

fn any_token() -> impl Strategy<Value = TokenFacts> {
    let claim = |name: &'static str, values: Vec<Vec<&'static str>>| {
        let absent = Just((name, None, false));
        let there = (prop::sample::select(values), prop::bool::weighted(0.2))
            .prop_map(move |(values, missing)| (name, Some(values), missing));
        prop_oneof![1 => absent, 3 => there]
    };
    let claims = (
        claim(
            "upn",
            vec![
                vec!["Alice@corp.example"],
                vec!["x@partner.example"],
                vec!["a@a", "b@b"],
                vec!["odd"],
            ],
        ),
        claim(
            "groups",
            vec![
                vec![],
                vec![IT],
                vec!["Staff"],
                vec![IT, "Staff"],
                vec!["Other"],
            ],
        ),
        claim("roles", vec![vec!["Admin"], vec!["admin"], vec![]]),
        claim(
            "department",
            vec![vec!["it"], vec!["sales", "hr"], vec!["IT"]],
        ),
        claim("access_level", vec![vec!["high"], vec!["low"]]),
        claim(
            "device_compliant",
            vec![
                vec!["true"],
                vec!["False"],
                vec!["maybe"],
                vec!["true", "false"],
            ],
        ),
        claim("device_registered", vec![vec!["1"], vec!["0"]]),
        claim(
            "device_trust",
            vec![vec!["AzureAd"], vec!["Workplace"], vec!["x"]],
        ),
        claim("inside_network", vec![vec!["true"], vec!["false"]]),
    );
    let methods = prop::sample::subsequence(
        vec![
            Method::Password,
            Method::Mfa,
            Method::Windows,
            Method::Other("urn:x".into()),
        ],
        0..3,
    );
    let age = prop::option::of(prop::sample::select(vec![-3600, -60, 60, 1800, 7200]));
    (claims, methods, age).prop_map(|(claims, methods, age)| {
        let mut told = TokenFacts {
            methods,
            authenticated: age.map(|age: i64| NOW - time::Duration::seconds(age)),
            ..TokenFacts::default()
        };
        let (user, groups, roles, department, level, compliant, registered, trust, inside) = claims;
        for (name, values, missing) in [
            user, groups, roles, department, level, compliant, registered, trust, inside,
        ] {
            if let Some(values) = values {
                let values = values.into_iter().map(str::to_owned).collect();
                told.values.insert(name.to_owned(), values);
            }
            if missing {
                told.missing.insert(name.to_owned());
            }
        }
        told
    })
}

fn any_told() -> impl Strategy<Value = Told> {
    prop_oneof![
        1 => Just(Told::default()),
        1 => Just(Told::Unbelieved("it is encrypted".into())),
        4 => any_token().prop_map(Told::Verified),
    ]
}

/// Facts of a request; the token is put in later.
fn any_facts() -> impl Strategy<Value = Facts> {
    let requests = vec![
        Request::get(PASSIVE).agent(FIREFOX),
        Request::get("/adfs/ls/?wa=wsignin1.0").agent(FIREFOX),
        Request::get(PASSIVE).agent("ms-office"),
        msal("13", "alice@corp.example"),
        msal("13", "alice@mail.example"),
        msal("2005", "CORP\\alice"),
        Request::get("/adfs/portal/css/style.css"),
        Request::get("/adfs/ls/?wa=wsignout1.0"),
    ];
    let country = prop::sample::select(vec![None, Some("DE"), Some("FR")]);
    let moment = prop::sample::select(vec![
        None,
        Some(NOW),
        Some(utc_datetime!(2026-11-21 03:00:00)),
    ]);
    let peer = prop::sample::select(vec![MANAGED, UNMANAGED]);
    (prop::sample::select(requests), peer, country, moment).prop_map(
        |(request, peer, country, moment)| {
            let mut facts = request.facts(&compile(&strict()), peer).expect("readable");
            facts.country = country.map(|it| it.parse().expect("a country"));
            facts.moment = moment;
            facts
        },
    )
}

fn with_token(facts: &Facts, token: Told) -> Facts {
    Facts {
        token,
        ..facts.clone()
    }
}

fn any_rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    prop::collection::vec(any_rule(), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn the_compiled_rules_do_what_the_slow_ones_do(rules in any_rules(), facts in any_facts(), told in any_told()) {
        let spec = spec(rules);
        let policy = compile(&spec);
        let facts = with_token(&facts, told);
        let Ruling::Now(decision) = policy.decide(&facts, &Known) else {
            return Err(TestCaseError::fail("no token is ahead"));
        };
        let (explained, tried) = policy.explain(&facts, &Known);
        prop_assert_eq!(explained, Ruling::Now(decision.clone()));
        prop_assert_eq!(tried.iter().filter(|step| step.matched).count(), 1);
        match model::first(&spec, &facts, &model::People::default()) {
            Some((index, kind)) => {
                prop_assert_eq!(&*decision.rule, format!("rule/r{index}"));
                prop_assert_eq!(decision.kind, kind);
                let granted = model::grants(&spec, index, &facts, &model::People::default());
                prop_assert_eq!(decision.grant.is_some(), granted);
            }
            None => prop_assert!(!decision.rule.starts_with("rule/"), "{}", decision.rule),
        }
        if decision.grant.is_some() {
            prop_assert!(matches!(facts.token, Told::Verified(_)));
            prop_assert_eq!(policy.granted_by(&decision.rule), decision.grant.as_deref());
        }
    }

    #[test]
    fn recorded_facts_are_judged_again_alike(rules in any_rules(), facts in any_facts(), told in any_told()) {
        let policy = compile(&spec(rules));
        let facts = with_token(&facts, told);
        let recorded = serde_json::to_string(&facts).expect("facts are plain");
        let read: Facts = serde_json::from_str(&recorded).expect("what was written");
        prop_assert_eq!(policy.decide(&read, &Known), policy.decide(&facts, &Known));
    }

    #[test]
    fn what_becomes_unknown_opens_nothing(
        rules in any_rules(), facts in any_facts(), told in any_told(), loses in 0..9usize, name in any::<prop::sample::Index>(),
    ) {
        let policy = compile(&spec(rules));
        let facts = with_token(&facts, told);
        let mut poorer = facts.clone();
        match (loses, &mut poorer.token) {
            (0, _) => poorer.country = None,
            (1, _) => poorer.moment = None,
            (2, token) => *token = Told::Unbelieved("it cannot be read".into()),
            (3, Told::Verified(told)) => told.methods.clear(),
            (4, Told::Verified(told)) => told.authenticated = None,
            (_, Told::Verified(told)) if !told.values.is_empty() => {
                let names: Vec<String> = told.values.keys().cloned().collect();
                let name = name.get(&names);
                told.values.remove(name);
                told.missing.insert(name.clone());
            }
            _ => {}
        }
        let [before, after] = [&facts, &poorer].map(|it| policy.decide(it, &Known).without_token());
        if before.kind != DecisionKind::Pass {
            prop_assert_ne!(after.kind, DecisionKind::Pass, "{} then {}", before.rule, after.rule);
        }
        if let Some(grant) = &after.grant {
            let before = before.grant.as_deref().expect("there was a grant before");
            prop_assert!(before.class == Class::Managed || grant.class == Class::Bypass);
            prop_assert!(before.lasts >= grant.lasts);
            prop_assert!(before.kernel || !grant.kernel);
        }
    }

    #[test]
    fn what_is_decided_before_the_token_holds_whatever_it_says(rules in any_rules(), facts in any_facts(), told in any_token()) {
        let policy = compile(&spec(rules));
        let (ahead, _) = policy.explain(&with_token(&facts, Told::Ahead), &Known);
        prop_assert_eq!(&policy.decide(&with_token(&facts, Told::Ahead), &Known), &ahead);
        let [verified, unbelieved] = [Told::Verified(told), Told::Unbelieved("x".into())]
            .map(|told| policy.decide(&with_token(&facts, told), &Known).without_token());
        match ahead {
            Ruling::Now(decision) => {
                let passes = decision.kind == DecisionKind::Pass;
                prop_assert_eq!(verified.kind == DecisionKind::Pass, passes, "{}", verified.rule);
                prop_assert_eq!(unbelieved.kind == DecisionKind::Pass, passes, "{}", unbelieved.rule);
            }
            Ruling::AtToken { otherwise, step_up, .. } => {
                prop_assert_eq!(otherwise, unbelieved);
                prop_assert!(step_up.is_none_or(|asks| asks.kind == DecisionKind::StepUp));
            }
        }
    }

    #[test]
    fn a_rule_that_is_said_never_to_match_never_does(rules in any_rules(), facts in any_facts(), told in any_told()) {
        let policy = compile(&spec(rules));
        let decision = policy.decide(&with_token(&facts, told), &Known).without_token();
        for warning in policy.warnings().iter().filter(|it| it.message.contains("never matches")) {
            let name = format!("rule/r{}", warning.rule.expect("it is about a rule"));
            prop_assert_ne!(&*decision.rule, name);
        }
    }
}

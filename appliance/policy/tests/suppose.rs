//! Requests that are described: judged as the proxy would, with words for where each fact comes from.

mod common;

use common::{Lists, UNMANAGED};
use time::UtcDateTime;
use weir_policy::{
    Described, Facts, Head, Origin, Policy, PolicySpec, Ruling, Said, Target, TokenFacts, Told,
    Uncounted,
};

fn policy(decide: bool) -> Policy {
    let spec = serde_json::json!({
        "service": "sts", "profile": "adfs", "rule_set": "office365-strict", "decide_at_token": decide,
        "applications": { "wiki": { "relying_parties": ["urn:wiki"] } },
        "rules": [
            { "name": "admins", "when": { "user": "admin@corp.example" }, "then": { "decision": "pass" } },
            { "name": "off", "when": { "source": "192.0.2.0/24" }, "then": { "decision": "block" } },
        ],
    });
    let spec: PolicySpec = serde_json::from_value(spec).expect("a policy");
    Policy::compile(&spec).expect("good rules")
}

fn described(query: &str, token: Option<TokenFacts>) -> Described<'_> {
    Described {
        head: Head {
            method: "GET",
            host: "sts.corp.example",
            path: "/adfs/ls/",
            query: Some(query),
            headers: &[],
        },
        body: b"",
        source: UNMANAGED.parse().expect("an address"),
        moment: UtcDateTime::UNIX_EPOCH,
        token,
    }
}

fn admin() -> TokenFacts {
    TokenFacts {
        values: [("upn".to_owned(), vec!["admin@corp.example".to_owned()])].into(),
        missing: ["groups".to_owned()].into(),
        ..TokenFacts::default()
    }
}

fn from<'o>(origins: &'o [Origin], fact: &str) -> &'o Origin {
    let mut all = origins.iter();
    all.find(|origin| origin.fact == fact)
        .unwrap_or_else(|| panic!("no {fact}"))
}

#[test]
fn without_a_token_it_is_still_to_come_where_tokens_decide() {
    let query = "wa=wsignin1.0";
    let ahead = policy(true)
        .suppose(&described(query, None), &Lists)
        .expect("a page");
    assert_eq!(ahead.token, Told::Ahead);
    let never = policy(false)
        .suppose(&described(query, None), &Lists)
        .expect("a page");
    assert_eq!(never.token, Told::default());
    let mut head = described(query, None);
    head.head.method = "HEAD";
    let head = policy(true).suppose(&head, &Lists).expect("a page");
    assert_eq!(head.token, Told::default());
}

#[test]
fn what_a_token_told_has_no_say_where_tokens_do_not_decide() {
    let told = described("wa=wsignin1.0", Some(admin()));
    for decide in [true, false] {
        let policy = policy(decide);
        let facts = policy.suppose(&told, &Lists).expect("a page");
        let (ruling, _) = policy.explain(&policy.as_judged(&facts), &Uncounted(None));
        let Ruling::Now(decision) = ruling else {
            panic!("{ruling:?}")
        };
        assert_eq!(&*decision.rule == "rule/admins", decide, "{decision:?}");
    }
}

#[test]
fn every_fact_says_where_it_comes_from() {
    let query = "wa=wsignin1.0&wtrealm=urn:wiki&login_hint=alice@corp.example";
    let policy = policy(true);
    let facts = policy
        .suppose(&described(query, Some(admin())), &Lists)
        .expect("a page");
    let origins = facts.origins(&|name| match name {
        "upn" => vec!["urn:upn".to_owned()],
        _ => Vec::new(),
    });
    assert_eq!(from(&origins, "claim upn").from, "token claim urn:upn");
    assert_eq!(from(&origins, "claim groups").value, "missing");
    assert!(from(&origins, "user").from.contains("proves nothing"));
    assert!(
        from(&origins, "application")
            .from
            .contains("[application.wiki]")
    );
    assert_eq!(from(&origins, "time").value, "1970-01-01T00:00:00Z");
    assert_eq!(from(&origins, "class").from, "it is on no list");
    let text = serde_json::to_string(&facts).expect("facts");
    let again: Facts = serde_json::from_str(&text).expect("the same");
    assert_eq!(again.origins(&|_| Vec::new()).len(), origins.len());
}

#[test]
fn what_follows_from_facts_is_worked_out_again() {
    let policy = policy(false);
    let mut facts = policy
        .suppose(&described("wa=wsignin1.0", None), &Lists)
        .expect("a page");
    assert!(facts.applications.is_empty());
    facts.relying_party = Said::Bound("urn:wiki".to_owned());
    policy.settle(&mut facts);
    assert_eq!(facts.applications, ["wiki"]);
}

#[test]
fn rules_say_which_claims_they_ask_for() {
    let policy = policy(true);
    let asks = policy.asks();
    let admins = asks.iter().find(|(rule, _)| *rule == "rule/admins");
    assert!(
        admins.is_some_and(|(_, names)| names.iter().eq(["upn"].iter())),
        "{asks:?}"
    );
    assert!(asks.iter().all(|(rule, _)| *rule != "rule/off"), "{asks:?}");
}

#[test]
fn targets_are_paths_and_urls() {
    let target = |url| Target::parse(url).map(|it| (it.host, it.path, it.query));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(target("/a?b#c"), Some((None, "/a".into(), text("b"))));
    assert_eq!(
        target("https://h:8443?b"),
        Some((text("h:8443"), "/".into(), text("b")))
    );
    assert_eq!(target("https://h/a"), Some((text("h"), "/a".into(), None)));
    assert_eq!(target("adfs/ls"), None);
    assert_eq!(target(""), None);
}

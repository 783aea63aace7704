//! Users who sign in by a name that is not that of their account: by mail address, where the sign-in server
//! takes one.

mod common;

use std::sync::{Arc, Mutex};

use common::{FIREFOX, Known, MANAGED, PASSIVE, Request, compile, msal, people, with};
use proptest::prelude::*;
use weir_policy::{
    Answers, DecisionKind, Directory, Facts, Policy, Resident, Ruling, Said, SignIn, TokenFacts,
    Told, Wanted, Who,
};

const BLOCKS: &str =
    r#"{"name":"no-alice","when":{"user":"alice@corp.example"},"then":{"decision":"block"}}"#;
const PASSES: &str =
    r#"{"name":"alice","when":{"user":"alice@corp.example"},"then":{"decision":"pass"}}"#;

fn policy(rules: &[&str]) -> Policy {
    let mut spec = with(rules);
    spec.decide_at_token = true;
    compile(&spec)
}

fn token(claims: &[(&str, &str)]) -> Told {
    let claims = claims.iter();
    Told::Verified(TokenFacts {
        values: claims
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
            .collect(),
        ..TokenFacts::default()
    })
}

fn upn(name: &str) -> Told {
    token(&[("upn", name)])
}

fn unbelieved() -> Told {
    Told::Unbelieved("it is encrypted".into())
}

fn facts(policy: &Policy, request: &Request, peer: &str, told: Told) -> Facts {
    let mut facts = request.facts(policy, peer).expect("readable");
    facts.token = told;
    facts
}

fn ruled(policy: &Policy, facts: &Facts, directory: &dyn Directory) -> String {
    let ruling = policy.decide(facts, directory);
    assert_eq!(policy.explain(facts, directory).0, ruling);
    match ruling {
        Ruling::Now(decision) => format!("{} {}", decision.kind.name(), decision.rule),
        Ruling::AtToken { pending, .. } => format!("waits {pending}"),
    }
}

#[test]
fn a_rule_is_not_walked_round_by_another_name() {
    const BUILT_IN: &str = "pass office365-strict/native-managed";
    let blocks = policy(&[BLOCKS]);
    for (named, told, expected) in [
        // The name that the rule has is enough, now.
        ("alice@corp.example", Told::Ahead, "block rule/no-alice"),
        ("a.smith@mail.example", Told::Ahead, "waits rule/no-alice"),
        (
            "a.smith@mail.example",
            upn("Alice@corp.example"),
            "block rule/no-alice",
        ),
        ("a.smith@mail.example", upn("bob@corp.example"), BUILT_IN),
        // Whoever says to be her is treated like her.
        (
            "alice@corp.example",
            upn("bob@corp.example"),
            "block rule/no-alice",
        ),
        // Nobody can say who it is.
        ("a.smith@mail.example", unbelieved(), "block rule/no-alice"),
        (
            "a.smith@mail.example",
            token(&[("email", "a.smith@mail.example")]),
            "block rule/no-alice",
        ),
        // No token is looked at: the request's word is all that there is.
        ("a.smith@mail.example", Told::default(), BUILT_IN),
        ("alice@corp.example", Told::default(), "block rule/no-alice"),
    ] {
        let facts = facts(&blocks, &msal("13", named), MANAGED, told);
        assert_eq!(ruled(&blocks, &facts, &Known), expected, "{facts:?}");
    }
}

#[test]
fn only_the_token_opens_where_one_is_looked_at() {
    const BUILT_IN: &str = "block office365-strict/native-unmanaged";
    let passes = policy(&[PASSES]);
    for (named, told, expected) in [
        ("alice@corp.example", Told::Ahead, "waits rule/alice"),
        ("a.smith@mail.example", Told::Ahead, "waits rule/alice"),
        (
            "a.smith@mail.example",
            upn("alice@corp.example"),
            "pass rule/alice",
        ),
        ("alice@corp.example", upn("bob@corp.example"), BUILT_IN),
        ("alice@corp.example", unbelieved(), BUILT_IN),
        ("alice@corp.example", token(&[]), BUILT_IN),
        ("alice@corp.example", Told::default(), "pass rule/alice"),
    ] {
        let facts = facts(&passes, &msal("13", named), common::UNMANAGED, told);
        assert_eq!(ruled(&passes, &facts, &Known), expected, "{facts:?}");
    }
    // Whoever says to be somebody whom the rule leaves out is left out.
    let others = policy(&[
        r#"{"name":"others","when":{"not":{"user":"alice@corp.example"}},"then":{"decision":"pass"}}"#,
    ]);
    let request = msal("13", "alice@corp.example");
    let facts = facts(
        &others,
        &request,
        common::UNMANAGED,
        upn("bob@corp.example"),
    );
    assert_eq!(ruled(&others, &facts, &Known), BUILT_IN);
}

/// A directory that notes whom it was asked about.
struct Noting<'a> {
    resident: Resident<'a>,
    asked: Mutex<Vec<String>>,
}

impl Directory for Noting<'_> {
    fn knows(&self, user: &str) -> Option<bool> {
        self.resident.knows(user)
    }

    fn admit(&self, _: &SignIn<'_>) -> bool {
        true
    }

    fn would_admit(&self, _: &SignIn<'_>) -> bool {
        true
    }

    fn look_up(&self, who: &Who<'_>, wanted: &Arc<Wanted>) -> Answers {
        let words = format!(
            "{} {}",
            who.upn.unwrap_or("-"),
            who.object_id.unwrap_or("-")
        );
        self.asked
            .lock()
            .expect("no test panics with it")
            .push(words);
        self.resident.look_up(who, wanted)
    }
}

#[test]
fn the_directory_is_asked_about_one_principal_at_a_time() {
    let staff = r#"{"name":"staff","when":{"group":"Staff"},"then":{"decision":"pass"}}"#;
    let no_staff = r#"{"name":"no-staff","when":{"group":"Staff"},"then":{"decision":"block"}}"#;
    let alice = "alice@corp.example";
    let [seven, eight] = [7, 8].map(|number| people::id(number).to_string());
    let tenant = people::tenant(&[(7, alice, &["Staff"][..]), (8, "bob@corp.example", &[])]);
    let bob = [("upn", "bob@corp.example"), ("object_id", &*eight)];
    let mail = "a.smith@mail.example";
    let object = [("object_id", &*seven)];
    for (named, told, passes, blocks) in [
        // She is staff by her own word: that closes, and opens nothing before the token comes.
        (
            alice,
            Told::Ahead,
            "waits rule/staff",
            "block rule/no-staff",
        ),
        (
            alice,
            token(&bob),
            "block office365-strict/native-unmanaged",
            "block rule/no-staff",
        ),
        (mail, Told::Ahead, "waits rule/staff", "waits rule/no-staff"),
        (
            mail,
            token(&object),
            "pass rule/staff",
            "block rule/no-staff",
        ),
        (
            mail,
            token(&bob),
            "block office365-strict/native-unmanaged",
            "pass office365-strict/native-managed",
        ),
        (
            alice,
            unbelieved(),
            "block office365-strict/native-unmanaged",
            "block rule/no-staff",
        ),
        (
            alice,
            Told::default(),
            "pass rule/staff",
            "block rule/no-staff",
        ),
    ] {
        for (rule, peer, expected) in [
            (staff, common::UNMANAGED, passes),
            (no_staff, MANAGED, blocks),
        ] {
            let policy = policy(&[rule]);
            let resolved = policy.resolve(&tenant);
            let view = tenant.at(people::TAKEN_AT, people::MAX_AGE);
            let directory = Noting {
                resident: Resident::new(None, Some((view, &resolved))),
                asked: Mutex::default(),
            };
            let facts = facts(&policy, &msal("13", named), peer, told.clone());
            assert_eq!(ruled(&policy, &facts, &directory), expected, "{facts:?}");
            let asked = directory
                .asked
                .into_inner()
                .expect("no test panics with it");
            let mixed = asked
                .iter()
                .find(|who| who.starts_with(named) && !who.ends_with(" -"));
            assert_eq!(mixed, None, "{asked:?}");
        }
    }
}

#[test]
fn explain_tells_both_names() {
    let policy = policy(&[BLOCKS]);
    let why = |told| {
        let request = msal("13", "a.smith@mail.example");
        let facts = facts(&policy, &request, MANAGED, told);
        let (_, tried) = policy.explain(&facts, &Known);
        tried[3].why.clone()
    };
    assert_eq!(
        why(Told::Ahead),
        "user is a.smith@mail.example: the token will tell"
    );
    assert_eq!(
        why(upn("bob@corp.example")),
        "upn is bob@corp.example, and the request names a.smith@mail.example"
    );
    assert_eq!(
        why(unbelieved()),
        "user is a.smith@mail.example, but the token is not believed, it is encrypted: unknown is enough \
         for a rule that restricts"
    );
}

fn any_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "alice@corp.example",
        "a.smith@mail.example",
        "CORP\\alice",
        "bob@corp.example",
    ])
}

fn any_rules() -> impl Strategy<Value = Vec<String>> {
    let user = prop::sample::select(vec![
        "alice@corp.example",
        "a.smith@mail.example",
        "@mail.example",
    ]);
    let one = (
        user,
        any::<bool>(),
        prop::sample::select(vec!["pass", "block"]),
    );
    prop::collection::vec(one, 1..4).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        rules
            .map(|(number, (user, negated, decision))| {
                let when = format!(r#"{{"user":"{user}"}}"#);
                let when = if negated {
                    format!(r#"{{"not":{when}}}"#)
                } else {
                    when
                };
                format!(
                    r#"{{"name":"r{number}","when":{when},"then":{{"decision":"{decision}"}}}}"#
                )
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_name_in_the_request_opens_nothing_that_the_token_alone_would_not(
        rules in any_rules(), named in any_name(), proved in any_name(), managed in any::<bool>(),
    ) {
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let policy = policy(&rules);
        let peer = if managed { MANAGED } else { common::UNMANAGED };
        for told in [upn(proved), unbelieved()] {
            let named = facts(&policy, &msal("13", named), peer, told);
            let mut silent = named.clone();
            silent.user = Said::Unknown("the request names no user".into());
            let [silent, named] = [&silent, &named].map(|facts| policy.decide(facts, &Known).without_token());
            if silent.kind != DecisionKind::Pass {
                prop_assert_ne!(named.kind, DecisionKind::Pass, "{} then {}", silent.rule, named.rule);
            }
        }
    }

    #[test]
    fn whom_a_rule_blocks_is_blocked_by_whatever_name_they_sign_in(named in any_name()) {
        let policy = policy(&[BLOCKS]);
        let told = upn("alice@corp.example");
        let facts = facts(&policy, &msal("13", named), MANAGED, told);
        prop_assert_eq!(ruled(&policy, &facts, &Known), "block rule/no-alice");
    }
}

#[test]
fn a_hint_in_a_page_restricts_nobody_once_the_token_tells() {
    let policy = policy(&[BLOCKS]);
    let request = Request::get(&format!("{PASSIVE}&login_hint=alice%40corp.example"));
    let request = request.agent(FIREFOX);
    for (told, expected) in [
        (Told::Ahead, "waits rule/no-alice"),
        (
            upn("bob@corp.example"),
            "pass office365-strict/browser-managed",
        ),
        (upn("alice@corp.example"), "block rule/no-alice"),
    ] {
        let facts = facts(&policy, &request, MANAGED, told);
        assert_eq!(ruled(&policy, &facts, &Known), expected);
    }
}

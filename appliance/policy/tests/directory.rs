//! Rules on what the directory of the tenant knows: against a slow one that is asked name by name, and what is
//! recorded of it.

mod common;
mod model;

use std::time::Duration;

use common::{
    FIREFOX, MANAGED, PASSIVE, Request, UNMANAGED, compile, msal, people, rule, strict, with,
};
use model::people::{Group, MAX_AGE, People, Person};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use uuid::Uuid;
use weir_directory::Snapshot;
use weir_policy::{
    DecisionKind, Directory, Facts, Policy, Resident, Resolved, RuleSpec, Ruling, Sought,
    TokenFacts, Told, Unclear, Uncounted, Users,
};

const NOW: i64 = people::TAKEN_AT;
const AGE: Duration = Duration::from_secs(MAX_AGE.cast_unsigned());
const GLOBAL_ADMIN: &str = "62e90394-69f5-4237-9190-012177145e10";

/// Six groups: two share a name, and of one not all members can be read.
fn groups() -> Vec<Group> {
    let names = ["Staff", "Leavers", "Hidden", "Twin", "twin", "\u{c4}rzte"];
    (1..)
        .zip(names)
        .map(|(number, name)| Group {
            id: people::id(0xa000 + number),
            name: name.to_owned(),
            complete: name != "Hidden",
        })
        .collect()
}

fn any_person() -> impl Strategy<Value = Person> {
    let groups = prop::sample::subsequence(vec![0, 1, 2, 3, 4, 5], 0..6);
    let roles = prop::sample::subsequence(vec![role(), people::id(0xf1)], 0..3);
    let department = prop::sample::select(vec![None, Some("Sales"), Some("IT")]);
    let upn = prop::sample::select(vec![
        "Alice@corp.example",
        "bob@corp.example",
        "carol@corp.example",
    ]);
    let enabled = prop::option::of(any::<bool>());
    (upn, groups, roles, department, enabled).prop_map(
        |(upn, groups, roles, department, enabled)| Person {
            id: Uuid::nil(),
            upn: upn.to_owned(),
            immutable_id: String::new(),
            groups,
            roles,
            department: department.map(str::to_owned),
            enabled,
        },
    )
}

fn role() -> Uuid {
    GLOBAL_ADMIN.parse().expect("an id")
}

fn any_people() -> impl Strategy<Value = People> {
    let age = || prop::sample::select(vec![Some(60), Some(60), Some(60), Some(MAX_AGE + 1), None]);
    let users = prop::collection::vec(any_person(), 0..4);
    (users, age(), age(), age()).prop_map(|(mut users, one, two, three)| {
        for (number, user) in (0..).zip(&mut users) {
            user.id = people::id(number + 1);
            user.immutable_id = format!("imm{number}==");
        }
        People {
            users,
            groups: groups(),
            roles: vec![
                (role(), "Global Administrator".into()),
                (people::id(0xf1), "Auditors".into()),
            ],
            ages: [one, two, three],
        }
    })
}

fn any_condition() -> impl Strategy<Value = (String, Value)> {
    prop::sample::select(vec![
        ("class", json!("unmanaged")),
        ("flow", json!("active")),
        ("group", json!("staff")),
        ("group", json!(["Leavers", "Hidden"])),
        ("group", json!("Twin")),
        ("group", json!("\u{e4}rzte")),
        ("group", json!(people::id(0xa001).to_string())),
        ("group", json!([people::id(0xa004).to_string(), "Nobody"])),
        ("group", json!("Nobody")),
        ("role", json!("global administrator")),
        ("role", json!([GLOBAL_ADMIN, "Auditors"])),
        ("role", json!("Admin")),
        ("attribute", json!({"department": ["sales", "HR"]})),
        ("attribute", json!({"enabled": "true"})),
        ("attribute", json!({"enabled": "false", "department": "it"})),
        ("user", json!("alice@corp.example")),
    ])
    .prop_map(|(key, value)| (key.to_owned(), value))
}

fn any_rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    let some = || prop::collection::vec(any_condition(), 0..3);
    let then = prop::sample::select(vec!["pass", "block"]);
    let one = (some(), prop::option::weighted(0.3, some()), then).prop_map(|(when, not, then)| {
        let mut when: Map<String, Value> = when.into_iter().collect();
        if let Some(not) = not {
            let not: Map<String, Value> = not.into_iter().collect();
            when.insert("not".into(), not.into());
        }
        rule(&json!({"name": "r", "when": when, "then": {"decision": then}}).to_string())
    });
    prop::collection::vec(one, 1..6).prop_map(|mut rules| {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = format!("r{number}");
        }
        rules
    })
}

fn any_token() -> impl Strategy<Value = TokenFacts> {
    let claim = |name: &'static str, values: Vec<Vec<String>>| {
        let there = (prop::sample::select(values), prop::bool::weighted(0.2));
        prop::option::weighted(0.6, there).prop_map(move |found| (name, found))
    };
    let texts = |all: &[&[&str]]| {
        all.iter()
            .map(|one| one.iter().map(|it| (*it).to_owned()).collect())
            .collect()
    };
    let id = |number| vec![people::id(number).to_string()];
    let claims = (
        claim(
            "upn",
            texts(&[
                &["ALICE@corp.example"],
                &["bob@corp.example"],
                &["x@partner.example"],
            ]),
        ),
        claim("object_id", vec![id(1), id(2), id(9)]),
        claim(
            "immutable_id",
            texts(&[&["imm0=="], &["imm1=="], &["IMM0=="]]),
        ),
        claim("groups", texts(&[&[], &["Staff"], &["0000-"], &["Other"]])),
        claim("roles", texts(&[&["Admin"], &["Auditors"], &[]])),
    );
    claims.prop_map(|(one, two, three, four, five)| {
        let mut told = TokenFacts::default();
        for (name, found) in [one, two, three, four, five] {
            let Some((values, missing)) = found else {
                continue;
            };
            told.values.insert(name.to_owned(), values);
            if missing {
                told.missing.insert(name.to_owned());
            }
        }
        told
    })
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let requests = vec![
        Request::get(PASSIVE).agent(FIREFOX),
        msal("13", "alice@corp.example"),
        msal("13", "bob@corp.example"),
        Request::get("/adfs/portal/css/style.css"),
    ];
    let told = prop_oneof![
        1 => Just(Told::default()),
        1 => Just(Told::Unbelieved("it is encrypted".into())),
        4 => any_token().prop_map(Told::Verified),
    ];
    let peer = prop::sample::select(vec![MANAGED, UNMANAGED]);
    (prop::sample::select(requests), peer, told).prop_map(|(request, peer, token)| {
        let facts = request.facts(&compile(&strict()), peer).expect("readable");
        Facts { token, ..facts }
    })
}

fn policy(rules: Vec<RuleSpec>) -> (weir_policy::PolicySpec, Policy) {
    let mut spec = strict();
    spec.rules = rules;
    spec.decide_at_token = true;
    let policy = compile(&spec);
    (spec, policy)
}

fn resident<'a>(snapshot: &'a Snapshot<Vec<u8>>, resolved: &'a Resolved) -> Resident<'a> {
    Resident::new(None, Some((snapshot.at(NOW, AGE), resolved)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn rules_say_what_a_directory_says_that_is_asked_name_by_name(
        rules in any_rules(), people in any_people(), facts in any_facts(), later in any_people(),
    ) {
        let (spec, policy) = policy(rules);
        let snapshot = people.snapshot(7, NOW);
        let resolved = policy.resolve(&snapshot);
        let directory = resident(&snapshot, &resolved);
        let ruling = policy.decide(&facts, &directory);
        prop_assert_eq!(&policy.explain(&facts, &directory).0, &ruling);
        let Ruling::Now(decision) = &ruling else {
            return Err(TestCaseError::fail("no token is ahead"));
        };
        match model::first(&spec, &facts, &people) {
            Some((index, kind)) => {
                prop_assert_eq!(&*decision.rule, format!("rule/r{index}"));
                prop_assert_eq!(decision.kind, kind);
            }
            None => prop_assert!(!decision.rule.starts_with("rule/"), "{}", decision.rule),
        }

        // What was recorded decides again alike, whatever the directory has become.
        let mut judged = facts.clone();
        prop_assert_eq!(&policy.judge(&mut judged, &directory), &ruling);
        let recorded = serde_json::to_string(&judged).expect("facts are plain");
        let judged: Facts = serde_json::from_str(&recorded).expect("what was written");
        let snapshot = later.snapshot(8, NOW);
        let resolved = policy.resolve(&snapshot);
        for directory in [&resident(&snapshot, &resolved) as &dyn Directory, &Uncounted(None)] {
            prop_assert_eq!(&policy.decide(&judged, directory), &ruling, "{}", recorded);
        }
    }

    #[test]
    fn what_is_decided_before_the_token_holds_whatever_it_and_the_directory_say(
        rules in any_rules(), people in any_people(), facts in any_facts(), told in any_token(),
    ) {
        let (_, policy) = policy(rules);
        let snapshot = people.snapshot(7, NOW);
        let resolved = policy.resolve(&snapshot);
        let directory = resident(&snapshot, &resolved);
        let mut ahead = Facts { token: Told::Ahead, ..facts };
        let ruling = policy.judge(&mut ahead, &directory);
        prop_assert_eq!(&policy.explain(&ahead, &directory).0, &ruling);
        let after = Facts { token: Told::Verified(told), ..ahead };
        let after = policy.decide(&after, &directory).without_token();
        if let Ruling::Now(decision) = ruling {
            let passes = [decision.kind, after.kind].map(|kind| kind == DecisionKind::Pass);
            prop_assert_eq!(passes[0], passes[1], "{} then {}", decision.rule, after.rule);
        }
    }
}

fn overage(claims: &[(&str, &str)]) -> Told {
    let values = claims.iter();
    Told::Verified(TokenFacts {
        values: values
            .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
            .collect(),
        missing: ["groups".to_owned()].into(),
        ..TokenFacts::default()
    })
}

fn corp() -> People {
    let person = |number: u128, upn: &str, groups: &[usize], department: Option<&str>| Person {
        id: people::id(number),
        upn: upn.to_owned(),
        immutable_id: format!("imm{number}=="),
        groups: groups.to_vec(),
        roles: Vec::new(),
        department: department.map(str::to_owned),
        enabled: Some(number == 1),
    };
    let mut corp = People {
        users: vec![
            person(1, "alice@corp.example", &[0, 2], Some("Sales")),
            person(2, "bob@corp.example", &[3], None),
        ],
        groups: groups(),
        roles: Vec::new(),
        ages: [Some(60); 3],
    };
    corp.users[0].roles.push(role());
    corp
}

#[test]
fn explain_says_what_each_was_and_where_it_came_from() {
    let mut spec = with(&[
        r#"{"name":"a","when":{"group":"Leavers"},"then":{"decision":"block"}}"#,
        r#"{"name":"b","when":{"group":["Hidden","Nobody"]},"then":{"decision":"pass"}}"#,
        r#"{"name":"c","when":{"role":"Global Administrator","class":"managed"},"then":{"decision":"block"}}"#,
        r#"{"name":"d","when":{"attribute":{"department":"IT"}},"then":{"decision":"pass"}}"#,
        r#"{"name":"e","when":{"not":{"role":"Global Administrator"}},"then":{"decision":"block"}}"#,
        r#"{"name":"f","when":{"group":"Twin"},"then":{"decision":"block"}}"#,
    ]);
    spec.decide_at_token = true;
    let policy = compile(&spec);
    let snapshot = corp().snapshot(7, NOW);
    let resolved = policy.resolve(&snapshot);
    let directory = resident(&snapshot, &resolved);
    let tried = |told| {
        let mut facts = Request::get(PASSIVE)
            .agent(FIREFOX)
            .facts(&policy, UNMANAGED)
            .expect("readable");
        facts.token = told;
        facts.moment = time::UtcDateTime::from_unix_timestamp(NOW + 240).ok();
        let (_, tried) = policy.explain_noting(&mut facts, &directory);
        let why: Vec<String> = tried.into_iter().skip(3).map(|step| step.why).collect();
        (facts, why)
    };
    let (facts, why) = tried(overage(&[("immutable_id", "imm2==")]));
    assert_eq!(
        why,
        [
            "the user is not in group Leavers",
            "the token leaves out groups; Hidden has members that cannot be read; Nobody is not known to the \
             directory: unknown never passes",
            "class is unmanaged, not managed",
            "department is not written in the directory",
            "not (the user does not hold role Global Administrator)",
        ]
    );
    let told = facts.directory.of_token.as_ref().expect("it was asked");
    assert_eq!(
        (told.epoch, told.user, told.id),
        (7, Sought::Found, Some(people::id(2)))
    );
    let groups = told.groups.as_ref().expect("they are known");
    assert!(groups.of.is_empty(), "{groups:?}");
    assert_eq!(groups.unclear["Twin"], Unclear::Ambiguous);
    assert_eq!(told.attributes["department"], None);
    let origins = facts.origins(&|_| Vec::new());
    let from = |fact: &str| {
        let found = origins.iter().find(|origin| origin.fact == fact);
        let found = found.unwrap_or_else(|| panic!("no {fact}: {origins:#?}"));
        format!("{}, {}", found.value, found.from)
    };
    let place = "the directory, epoch 7, seen 5m before, of the user whom the token names";
    assert_eq!(
        from("directory user"),
        format!("{}, {place}", people::id(2))
    );
    assert_eq!(from("attribute department"), format!("nothing, {place}"));
    assert_eq!(
        from("group Nobody"),
        format!("unknown, {place}: it is not known to the directory")
    );

    let (facts, why) = tried(overage(&[("upn", "alice@corp.example")]));
    assert_eq!(why[1], "the user is in group Hidden or Nobody");
    let told = facts.directory.of_token.as_ref().expect("it was asked");
    let roles = told.roles.as_ref().expect("they are known");
    assert_eq!(roles.of, ["Global Administrator".to_owned()].into());
    let (_, why) = tried(overage(&[("upn", "eve@corp.example")]));
    assert_eq!(
        why[0],
        "the token leaves out groups; the directory has no user of these names: unknown is enough for a rule \
         that restricts"
    );
}

#[test]
fn a_rule_that_came_later_asks_the_directory_of_now_what_nobody_asked_then() {
    let old = r#"{"name":"a","when":{"group":"Leavers"},"then":{"decision":"block"}}"#;
    let new = r#"{"name":"b","when":{"group":"Staff"},"then":{"decision":"block"}}"#;
    let [old, both] = [&[old][..], &[old, new]].map(|rules| {
        let mut spec = with(rules);
        spec.decide_at_token = true;
        compile(&spec)
    });
    let mut facts = Request::get(PASSIVE)
        .agent(FIREFOX)
        .facts(&old, MANAGED)
        .expect("readable");
    facts.token = overage(&[("upn", "alice@corp.example")]);
    let then = corp().snapshot(7, NOW);
    let resolved = old.resolve(&then);
    let ruling = old
        .judge(&mut facts, &resident(&then, &resolved))
        .without_token();
    assert_eq!(&*ruling.rule, "office365-strict/browser-managed");
    // Since then she has become a leaver; that she was none stands, and that she is staff is news.
    let mut corp = corp();
    corp.users[0].groups = vec![0, 1];
    let now = corp.snapshot(8, NOW);
    let resolved = both.resolve(&now);
    let ruling = both
        .decide(&facts, &resident(&now, &resolved))
        .without_token();
    assert_eq!(&*ruling.rule, "rule/b");
    let resolved = old.resolve(&now);
    let ruling = old
        .judge(&mut facts, &resident(&now, &resolved))
        .without_token();
    assert_eq!(&*ruling.rule, "rule/a");
}

#[test]
fn a_file_and_a_tenant_know_users_together() {
    let users = Users::parse("carol@corp.example\n").expect("names");
    let policy = compile(&strict());
    let fresh = corp().snapshot(7, NOW);
    let resolved = policy.resolve(&fresh);
    let at = |now| Some((fresh.at(now, AGE), &resolved));
    let (now, late) = (at(NOW), at(NOW + 2 * MAX_AGE));
    for (users, tenant, alice, carol, eve) in [
        (None, None, None, None, None),
        (None, now, Some(true), Some(false), Some(false)),
        (None, late, None, None, None),
        (Some(&users), None, Some(false), Some(true), Some(false)),
        (Some(&users), now, Some(true), Some(true), Some(false)),
        (Some(&users), late, Some(false), Some(true), Some(false)),
    ] {
        let resident = Resident::new(users, tenant);
        let known =
            ["alice", "carol", "eve"].map(|name| resident.knows(&format!("{name}@corp.example")));
        assert_eq!(known, [alice, carol, eve]);
        assert_eq!(resident.is_there(), eve.is_some());
    }
}

#[test]
fn numbers_of_another_policy_or_snapshot_mean_nothing() {
    let rules = |name: &str| {
        let rule =
            format!(r#"{{"name":"a","when":{{"group":"{name}"}},"then":{{"decision":"pass"}}}}"#);
        let mut spec = with(&[&rule]);
        spec.decide_at_token = true;
        compile(&spec)
    };
    let (staff, leavers) = (rules("Staff"), rules("Leavers"));
    let [one, other] = [7, 8].map(|epoch| corp().snapshot(epoch, NOW));
    let mut facts = Request::get(PASSIVE)
        .agent(FIREFOX)
        .facts(&staff, UNMANAGED)
        .expect("readable");
    facts.token = overage(&[("upn", "alice@corp.example")]);
    for (resolved, snapshot, passes) in [
        (staff.resolve(&one), &one, true),
        (leavers.resolve(&one), &one, false),
        (staff.resolve(&other), &one, false),
    ] {
        let decision = staff
            .decide(&facts, &resident(snapshot, &resolved))
            .without_token();
        assert_eq!(&*decision.rule == "rule/a", passes, "{}", decision.rule);
    }
}

#[test]
fn names_are_held_against_the_directory() {
    let policy = compile(&with(&[
        r#"{"name":"a","when":{"group":["Staff","Twin"]},"then":{"decision":"block"}}"#,
        r#"{"name":"b","when":{"not":{"group":"Leaverz"}},"then":{"decision":"block"}}"#,
        r#"{"name":"c","when":{"group":["Hidden","00000000-0000-0000-0000-00000000a001"]},"then":{"decision":"block"}}"#,
        r#"{"name":"d","when":{"role":["Global Administrater","Global Administrator"]},"then":{"decision":"block"}}"#,
        r#"{"name":"e","when":{"service":"other","group":"Nowhere"},"then":{"decision":"block"}}"#,
    ]));
    let doubts = policy.check_names(&corp().snapshot(7, NOW));
    let told = |all: &[weir_policy::RuleError]| -> Vec<(usize, String, Option<String>)> {
        let all = all.iter();
        all.map(|it| {
            (
                it.rule.expect("a rule"),
                it.field.clone(),
                it.suggestion.clone(),
            )
        })
        .collect()
    };
    assert_eq!(told(&doubts.errors), [(0, "when.group".to_owned(), None)]);
    for id in [0xa004, 0xa005] {
        assert!(
            doubts.errors[0]
                .message
                .contains(&people::id(id).to_string())
        );
    }
    assert_eq!(
        told(&doubts.warnings),
        [
            (1, "when.not.group".to_owned(), Some("Leavers".to_owned())),
            (2, "when.group".to_owned(), None),
            (
                3,
                "when.role".to_owned(),
                Some("Global Administrator".to_owned())
            ),
        ]
    );
    let mut unsynced = corp();
    unsynced.ages[1] = None;
    let doubts = policy.check_names(&unsynced.snapshot(7, NOW));
    assert!(doubts.errors.is_empty(), "nobody can say: {doubts:?}");
}

//! Who belongs to what, and through which groups.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use weir_entra::guard::{Guard, Limits, Share};
use weir_entra::model::{Edge, Id, Item, MemberKind, Part};
use weir_entra::review::export::Format;
use weir_entra::review::{Access, Moment, ReviewError, What, access, user};

use crate::stores::{Scene, at, finish, id, member, no_member};
use crate::tenant::{
    BREAK_GLASS, EVERYBODY, JON, OMAR, STAFF, VERA, access_of, account, as_of, documents, golden,
    group, group_in, head_of, now, people, tenant,
};

fn rows(moment: &Moment) -> Vec<Access> {
    let mut rows = Vec::new();
    access(moment, |row| {
        rows.push(row.clone());
        Ok::<_, ReviewError>(())
    })
    .expect("it reads");
    rows
}

#[test]
fn a_small_tenant_is_written_as_it_always_was() {
    let scene = tenant();
    let moment = now(&scene, 30);
    let (csv, _) = access_of(&scene, &moment, Format::Csv);
    golden("access.csv", &csv);
    let (json, content) = access_of(&scene, &moment, Format::Json);
    golden("access.json", &json);
    let parsed: BTreeMap<String, Value> = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(content.rows, 7);
    assert_eq!(parsed["rows"].as_array().map(Vec::len), Some(7));
    assert!(
        csv.lines()
            .all(|line| line.starts_with("tenant,") || line.starts_with("00000000-"))
    );
}

#[test]
fn members_of_an_object_stand_in_the_order_of_their_names() {
    fn is_sorted(text: &str) -> bool {
        // Keys of one row, read as text: a parser would sort them.
        let keys = text
            .split(",\"")
            .filter_map(|piece| piece.split_once("\":"));
        let keys: Vec<&str> = keys
            .map(|(key, _)| key.trim_start_matches(['{', '"']))
            .collect();
        keys.is_sorted() && keys.len() > 10
    }
    let scene = people();
    let (json, _) = access_of(&scene, &now(&scene, 30), Format::Json);
    let (_, rows) = json.split_once("\"rows\":[").expect("it has rows");
    assert!(is_sorted(rows.split("},{").next().expect("there is one")));
}

#[test]
fn what_was_then_is_what_was_written_then() {
    let scene = tenant();
    let then = rows(&now(&scene, 30));
    scene.groups(
        40,
        vec![
            group(STAFF, "staff; all", vec![no_member(VERA)]),
            group(EVERYBODY, "everybody", vec![member(BREAK_GLASS)]),
        ],
    );
    documents(&scene, 41, Part::Registrations, vec![]);
    scene.users(
        42,
        vec![
            account(JON, "jon@new.example", "Member", true),
            Item::Gone(id(OMAR)),
        ],
    );
    assert_ne!(rows(&now(&scene, 50)), then);
    assert_eq!(rows(&as_of(&scene, 30)), then);
    let vera = |moment: &Moment| {
        user(moment, id(VERA))
            .expect("it reads")
            .expect("she is there")
    };
    assert_eq!(
        vera(&as_of(&scene, 30)).groups.map(|groups| groups.len()),
        Some(2)
    );
    assert_eq!(vera(&as_of(&scene, 40)).groups, Some(Vec::new()));
}

#[test]
fn unknown_is_not_none() {
    let scene = people();
    scene
        .store
        .failed(
            Part::SignIns,
            "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
            at(20),
        )
        .expect("there is room");
    scene
        .store
        .failed(Part::Users, "AADSTS7000222", at(25))
        .expect("there is room");
    let moment = now(&scene, 30);
    let (csv, _) = access_of(&scene, &moment, Format::Csv);
    assert!(
        csv.lines()
            .skip(1)
            .all(|line| line.ends_with(",unknown,unknown,unknown,unknown,unknown,unknown")),
        "{csv}"
    );
    let (json, _) = access_of(&scene, &moment, Format::Json);
    assert!(json.contains("\"last_sign_in\":null") && json.contains("\"roles_active\":null"));

    let head = head_of(&scene, &moment, What::Access);
    let unknown: BTreeMap<Part, &str> = head
        .unknown
        .iter()
        .map(|unread| (unread.part, unread.why.as_str()))
        .collect();
    assert_eq!(unknown.get(&Part::Roles), Some(&"never read"));
    assert_eq!(
        unknown.get(&Part::SignIns),
        Some(&"never read: Authentication_RequestFromNonPremiumTenantOrB2CTenant")
    );
    assert!(!unknown.contains_key(&Part::Users) && !unknown.contains_key(&Part::Groups));
    let gap = head
        .gaps
        .iter()
        .find(|gap| gap.part == Part::Users)
        .expect("it is a gap");
    assert_eq!(
        (gap.reason.as_str(), gap.until.as_deref()),
        ("AADSTS7000222", None)
    );
    assert!(head.journal.is_some());

    // Before the first round nobody is known, which is said.
    let early = as_of(&scene, 5);
    assert_eq!(rows(&early), []);
    let head = head_of(&scene, &early, What::Access);
    assert!(head.unknown.iter().any(|unread| unread.part == Part::Users));
    // Between that of users and that of groups, users are, and their groups are not.
    let between = as_of(&scene, 10);
    assert_eq!(rows(&between).len(), 5);
    assert!(rows(&between).iter().all(|row| !row.are_groups_known));
}

#[test]
fn a_document_that_is_not_understood_is_no_less_evidence() {
    let scene = people();
    documents(
        &scene,
        20,
        Part::ConditionalAccess,
        vec![("x", serde_json::json!({"id": "x"}))],
    );
    let error =
        access(&now(&scene, 30), |_| Ok::<_, ReviewError>(())).expect_err("it cannot be read");
    assert!(
        matches!(
            error,
            ReviewError::Document {
                part: Part::ConditionalAccess,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_user_is_told_every_group_and_why() {
    let scene = tenant();
    let moment = now(&scene, 30);
    let vera = user(&moment, id(VERA))
        .expect("it reads")
        .expect("she is there");
    let groups = vera.groups.expect("groups are known");
    let paths: Vec<Vec<String>> = groups.into_iter().map(|group| group.via.path).collect();
    assert_eq!(paths, [vec!["staff; all"], vec!["staff; all", "everybody"]]);
    assert_eq!(user(&moment, id(77)).expect("it reads"), None);
}

const USERS: u128 = 4;
const GROUPS: u128 = 5;

/// An edge that is there or not: group, member, whether the member is a group.
fn edges() -> impl Strategy<Value = BTreeSet<(u128, u128, bool)>> {
    let edge = (0..GROUPS, 0..GROUPS.max(USERS), any::<bool>());
    prop::collection::btree_set(edge, 0..18)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn rows_are_a_naive_closure(edges in edges(), gone in prop::collection::btree_set(0..USERS, 0..2)) {
        let edges: BTreeSet<_> = edges.into_iter()
            .filter(|(_, member, nested)| *member < if *nested { GROUPS } else { USERS })
            .collect();
        let scene = Scene::new();
        let people = (0..USERS).map(|number| account(1 + number, "a", "Member", true));
        scene.users(10, people.collect());
        let groups = (0..GROUPS).map(|number| {
            let members = edges.iter().filter(|(of, ..)| *of == number);
            let members = members.map(|(_, member, nested)| match nested {
                true => group_in(100 + member),
                false => Edge { kind: MemberKind::User, ..crate::stores::member(1 + member) },
            });
            group(100 + number, &(100 + number).to_string(), members.collect())
        });
        scene.groups(11, groups.collect());
        let any = Limits { users: Share { floor: 9, percent: 100 }, ..Limits::default() };
        let mut round = scene.next(Part::Users);
        round.users(gone.iter().map(|number| Item::Gone(id(1 + number))).collect()).expect("it fits");
        finish(round, 12, &Guard { limits: any, ..Guard::default() });

        // Who is in what, by looking at all edges until nothing is found any more.
        let mut inside: BTreeSet<(u128, u128)> = edges.iter()
            .filter(|(.., nested)| !nested)
            .map(|(group, member, _)| (*member, *group))
            .filter(|(member, _)| !gone.contains(member))
            .collect();
        loop {
            let more: Vec<_> = inside.iter().flat_map(|(user, within)| {
                let above = edges.iter().filter(move |(_, member, nested)| *nested && member == within);
                above.map(move |(group, ..)| (*user, *group))
            }).collect();
            let before = inside.len();
            inside.extend(more);
            if inside.len() == before {
                break;
            }
        }
        let expected: BTreeSet<(Id, Id)> = inside.iter().map(|(user, group)| (id(1 + user), id(100 + group))).collect();
        let found = rows(&now(&scene, 20));
        let pairs: Vec<(Id, Id)> = found.iter().filter_map(|row| Some((row.person.id, row.group.as_ref()?.id))).collect();
        prop_assert!(pairs.is_sorted_by(|a, b| a < b));
        prop_assert_eq!(pairs.into_iter().collect::<BTreeSet<_>>(), expected);
        let everybody: BTreeSet<Id> = found.iter().map(|row| row.person.id).collect();
        prop_assert_eq!(everybody.len(), usize::try_from(USERS).expect("few") - gone.len());
        // Every way is one along edges, and begins where the user is directly.
        for row in &found {
            let Some(via) = &row.group else { continue };
            let way: Vec<u128> = via.path.iter().map(|name| name.parse::<u128>().expect("a number") - 100).collect();
            let user = row.person.id.as_u128() - 1;
            prop_assert!(edges.contains(&(way[0], user, false)));
            prop_assert!(way.windows(2).all(|step| edges.contains(&(step[1], step[0], true))));
            prop_assert_eq!(via.is_direct(), edges.contains(&(way[way.len() - 1], user, false)));
        }
    }
}

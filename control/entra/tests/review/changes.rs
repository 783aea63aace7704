//! Who came, who left, between which rounds, and by whom.

use std::collections::BTreeMap;

use serde_json::json;
use weir_entra::model::{GroupPatch, Held, Id, Item, Part, Text};
use weir_entra::review::export::Format;
use weir_entra::review::{Event, Known, Move, ReviewError, What, head_between, joiners, leavers};

use crate::stores::{Scene, TENANT, at, disabled, id, member, no_member};
use crate::tenant::{
    GLOBAL_ADMINISTRATOR, HELPDESK, JON, OMAR, STAFF, VERA, account, assignment, documents, golden,
    group, people, rfc3339, steady, written,
};

const NEW: u128 = 21;
const SHORT: u128 = 22;

type Told = (Event, Id, Option<Id>, i64, i64);

fn minutes(found: &Move) -> Told {
    let minute = |time: time::OffsetDateTime| (time - at(0)).whole_minutes();
    (
        found.event,
        found.member,
        found.group.as_ref().map(|(id, _)| *id),
        minute(found.after),
        minute(found.seen),
    )
}

fn came(scene: &Scene, from: i64, until: i64) -> Vec<Move> {
    let mut found = Vec::new();
    joiners(&scene.store, at(from), at(until), |one| {
        found.push(one.clone());
        Ok::<_, ReviewError>(())
    })
    .expect("it reads");
    found
}

fn left(scene: &Scene, from: i64, until: i64) -> Vec<Move> {
    let mut found = Vec::new();
    leavers(&scene.store, at(from), at(until), |one| {
        found.push(one.clone());
        Ok::<_, ReviewError>(())
    })
    .expect("it reads");
    found
}

/// A month in a tenant.
fn month() -> Scene {
    let scene = people();
    scene.users(
        20,
        vec![
            account(NEW, "new@fabrik.example", "Member", true),
            account(SHORT, "short@fabrik.example", "Member", true),
        ],
    );
    scene.groups(
        21,
        vec![group(
            HELPDESK,
            "helpdesk",
            vec![member(SHORT), member(NEW)],
        )],
    );
    scene.groups(
        30,
        vec![group(HELPDESK, "helpdesk", vec![no_member(SHORT)])],
    );
    scene.users(31, vec![Item::Purged(id(SHORT)), disabled(VERA)]);
    scene.users(
        40,
        vec![
            Item::Gone(id(OMAR)),
            account(JON, "jon@fabrik.example", "Member", true),
        ],
    );
    scene.groups(41, vec![group(STAFF, "staff; all", vec![no_member(VERA)])]);
    scene
}

#[test]
fn everybody_is_told_between_the_rounds_that_saw_it() {
    let scene = month();
    let told: Vec<Told> = came(&scene, 15, 50).iter().map(minutes).collect();
    assert_eq!(
        told,
        [
            (Event::AccountEnabled, id(JON), None, 31, 40),
            (Event::AccountCame, id(NEW), None, 15, 20),
            (Event::AccountCame, id(SHORT), None, 15, 20),
            (Event::MembershipBegan, id(NEW), Some(id(HELPDESK)), 15, 21),
            (
                Event::MembershipBegan,
                id(SHORT),
                Some(id(HELPDESK)),
                15,
                21
            ),
        ]
    );
    let told: Vec<Told> = left(&scene, 15, 50).iter().map(minutes).collect();
    assert_eq!(
        told,
        [
            (Event::AccountDisabled, id(VERA), None, 20, 31),
            (Event::AccountDeleted, id(OMAR), None, 31, 40),
            (Event::AccountPurged, id(SHORT), None, 20, 31),
            (Event::MembershipEnded, id(VERA), Some(id(STAFF)), 30, 41),
            (
                Event::MembershipEnded,
                id(SHORT),
                Some(id(HELPDESK)),
                21,
                30
            ),
        ]
    );
    // A period ends with its last minute, and begins after its first.
    let told: Vec<Told> = left(&scene, 30, 31).iter().map(minutes).collect();
    assert_eq!(
        told,
        [
            (Event::AccountDisabled, id(VERA), None, 30, 31),
            (Event::AccountPurged, id(SHORT), None, 30, 31),
        ]
    );
    assert_eq!(came(&scene, 41, 50), []);
}

#[test]
fn those_who_are_gone_keep_their_names() {
    let left = left(&month(), 15, 50);
    let short = left
        .iter()
        .find(|one| one.event == Event::AccountPurged)
        .expect("it was purged");
    assert_eq!(short.upn, "short@fabrik.example");
    assert!(left.iter().all(|one| !one.upn.is_empty()));
}

#[test]
fn the_audit_log_tells_by_whom() {
    let scene = month();
    assert!(
        came(&scene, 15, 50)
            .iter()
            .all(|one| one.actor == Known::Unknown)
    );
    let audit = |name: &str, minute, targets: serde_json::Value| {
        json!({
            "id": name, "activityDateTime": rfc3339(at(minute)), "activityDisplayName": name, "result": "success",
            "initiatedBy": {"user": {"id": id(VERA), "userPrincipalName": "vera@fabrik.example"}},
            "targetResources": targets,
        })
    };
    let in_group = |property: &str| {
        json!([{
            "id": id(SHORT), "type": "User",
            "modifiedProperties": [{"displayName": "Group.ObjectID", property: format!("\"{}\"", id(HELPDESK))}],
        }])
    };
    documents(
        &scene,
        60,
        Part::Audits,
        vec![
            (
                "a",
                audit("Add user", 18, json!([{"id": id(NEW), "type": "User"}])),
            ),
            // Long before, and of another group.
            (
                "b",
                audit("Add user", 1, json!([{"id": id(SHORT), "type": "User"}])),
            ),
            ("c", audit("Add member to group", 20, in_group("newValue"))),
            (
                "d",
                audit("Remove member from group", 29, in_group("oldValue")),
            ),
        ],
    );
    let who = |found: Vec<Move>| -> Vec<(Event, Id, Option<i64>)> {
        let told = found.into_iter().filter_map(|one| match one.actor {
            Known::Is(actor) => Some((
                one.event,
                one.member,
                Some((actor.at - at(0)).whole_minutes()),
            )),
            Known::No => None,
            Known::Unknown => Some((one.event, one.member, None)),
        });
        told.collect()
    };
    assert_eq!(
        who(came(&scene, 15, 50)),
        [
            (Event::AccountCame, id(NEW), Some(18)),
            (Event::MembershipBegan, id(SHORT), Some(20)),
        ]
    );
    assert_eq!(
        who(left(&scene, 15, 50)),
        [(Event::MembershipEnded, id(SHORT), Some(29))]
    );
}

#[test]
fn joiners_are_written_as_they_always_were() {
    let scene = month();
    let mut head = head_between(
        &scene.store,
        [at(15), at(50)],
        TENANT,
        What::Joiners,
        at(100),
    )
    .expect("it reads");
    steady(&mut head);
    for (format, name) in [(Format::Csv, "joiners.csv"), (Format::Json, "joiners.json")] {
        let (text, _) = written(&head, format, |take| {
            joiners(&scene.store, at(15), at(50), take)
        });
        golden(name, &text);
    }
}

#[test]
fn a_period_has_to_be_known_and_to_go_forward() {
    let scene = people();
    let backwards = joiners(&scene.store, at(20), at(10), |_| Ok::<_, ReviewError>(()));
    assert!(matches!(backwards, Err(ReviewError::Backwards)));
    let head = head_between(
        &scene.store,
        [at(5), at(50)],
        TENANT,
        What::Leavers,
        at(100),
    )
    .expect("it reads");
    let why = |part| {
        head.unknown
            .iter()
            .find(|unread| unread.part == part)
            .map(|unread| unread.why.clone())
    };
    assert!(why(Part::Users).is_some_and(|why| why.starts_with("no evidence at the beginning")));
    assert_eq!(why(Part::Audits).as_deref(), Some("never read"));
    // The first round is no crowd of joiners: who came when is not known.
    assert_eq!(came(&scene, 5, 50), []);
}

#[test]
fn a_time_without_data_is_named_with_its_reason() {
    let scene = people();
    scene
        .store
        .failed(Part::Users, "AADSTS7000222", at(20))
        .expect("there is room");
    scene.users(30, vec![account(NEW, "new@fabrik.example", "Member", true)]);
    let head = |from, until| {
        let period = [at(from), at(until)];
        head_between(&scene.store, period, TENANT, What::Joiners, at(100)).expect("it reads")
    };
    let found = head(15, 50);
    let gaps: Vec<_> = found
        .gaps
        .iter()
        .map(|gap| {
            (
                gap.part,
                gap.from.clone(),
                gap.until.clone(),
                gap.reason.as_str(),
            )
        })
        .collect();
    let expected = (
        Part::Users,
        Some(rfc3339(at(10))),
        Some(rfc3339(at(30))),
        "AADSTS7000222",
    );
    assert_eq!(gaps, [expected]);
    assert_eq!(head(31, 50).gaps, []);
}

#[test]
fn groups_that_hide_their_members_are_named() {
    let scene = people();
    let patch = GroupPatch {
        texts: BTreeMap::from([(Text::Visibility, Some("HiddenMembership".to_owned()))]),
        ..GroupPatch::default()
    };
    scene.groups(20, vec![Item::Live(id(HELPDESK), patch)]);
    let why = |minute| {
        let period = [at(15), at(minute)];
        let head =
            head_between(&scene.store, period, TENANT, What::Joiners, at(100)).expect("it reads");
        let unread = head
            .unknown
            .into_iter()
            .find(|unread| unread.part == Part::Groups);
        unread.map(|unread| unread.why)
    };
    assert_eq!(why(19), None);
    assert!(why(20).is_some_and(|why| why.starts_with("groups that hide their members: 1;")));
}

#[test]
fn roles_that_began_and_ended_are_told() {
    let scene = people();
    let role = (
        "ga",
        json!({"id": GLOBAL_ADMINISTRATOR, "displayName": "Global Administrator"}),
    );
    let omar = (
        "2",
        assignment(OMAR, GLOBAL_ADMINISTRATOR, "/", Held::Eligible),
    );
    documents(&scene, 20, Part::Roles, vec![role.clone(), omar]);
    let vera = (
        "1",
        assignment(VERA, GLOBAL_ADMINISTRATOR, "/", Held::Active),
    );
    documents(&scene, 30, Part::Roles, vec![role, vera]);
    let told = |found: Vec<Move>| {
        let told = found.into_iter().map(|one| (one.event, one.upn, one.role));
        told.collect::<Vec<_>>()
    };
    let expected = |event, upn: &str, role: &str| (event, upn.to_owned(), Some(role.to_owned()));
    assert_eq!(
        told(came(&scene, 25, 50)),
        [expected(
            Event::RoleBegan,
            "vera@fabrik.example",
            "Global Administrator in /"
        )]
    );
    assert_eq!(
        told(left(&scene, 25, 50)),
        [expected(
            Event::RoleEnded,
            "omar@partner.example",
            "Global Administrator (eligible) in /"
        )]
    );
    assert_eq!(came(&scene, 25, 29), []);
}

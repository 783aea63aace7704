//! Groups, roles and what is written of people.

mod common;

use std::time::Duration;

use common::{ALICE, BOB, CAROL, OTHER_TEAM, SECRET, STAFF, TAKEN_AT, TEAM, head, id, tenant};
use uuid::{Uuid, uuid};
use weir_directory::{
    Attribute, BuildError, Builder, GroupFound, GroupRef, Head, NewGroup, NewUser, Part,
};
use weir_directory::{Snapshot, UserRef, Who};

const HOUR: Duration = Duration::from_hours(1);
const GLOBAL_ADMINISTRATOR: Uuid = uuid!("62e90394-69f5-4237-9190-012177145e10");

fn user(snapshot: &Snapshot<Vec<u8>>, user: Uuid, now: i64) -> UserRef<'_> {
    let id = user.to_string();
    let who = Who {
        object_id: Some(&id),
        ..Who::default()
    };
    snapshot.at(now, HOUR).find(&who).user().expect("a user")
}

fn group(snapshot: &Snapshot<Vec<u8>>, words: &str) -> GroupRef {
    match snapshot.group(words) {
        GroupFound::One(group) => group,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn members_are_told_by_id_and_by_name() {
    let snapshot = tenant(head(1));
    let staff = group(&snapshot, "sTAFF");
    assert_eq!(group(&snapshot, &STAFF.to_string()), staff);
    assert_eq!(snapshot.group_id(staff), Some(STAFF));
    let team = group(&snapshot, &TEAM.to_string());
    let members =
        |group| [ALICE, BOB, CAROL].map(|who| user(&snapshot, who, TAKEN_AT).is_member(group));
    assert_eq!(members(staff), [Some(true), Some(true), Some(false)]);
    assert_eq!(members(team), [Some(true), Some(false), Some(false)]);
    let alice: Vec<Uuid> = user(&snapshot, ALICE, TAKEN_AT)
        .groups()
        .expect("known")
        .collect();
    assert_eq!(alice, [STAFF, TEAM, SECRET]);
}

#[test]
fn a_name_that_two_groups_bear_is_neither() {
    let snapshot = tenant(head(1));
    let GroupFound::Ambiguous(mut both) = snapshot.group("Team") else {
        panic!("two are called so");
    };
    both.sort_unstable();
    assert_eq!(both, [TEAM, OTHER_TEAM]);
    assert_eq!(snapshot.group("Staf"), GroupFound::None);
    assert_eq!(snapshot.group(""), GroupFound::None);
    assert_eq!(snapshot.group(&id(99).to_string()), GroupFound::None);
}

#[test]
fn nobody_is_outside_of_a_group_whose_members_may_not_be_read() {
    let snapshot = tenant(head(1));
    let secret = group(&snapshot, "secret");
    assert_eq!(
        user(&snapshot, ALICE, TAKEN_AT).is_member(secret),
        Some(true)
    );
    assert_eq!(user(&snapshot, BOB, TAKEN_AT).is_member(secret), None);
}

#[test]
fn a_group_of_another_snapshot_means_nothing() {
    let (before, after) = (tenant(head(1)), tenant(head(2)));
    let staff = group(&before, "Staff");
    assert_eq!(user(&after, ALICE, TAKEN_AT).is_member(staff), None);
    assert_eq!(after.group_id(staff), None);
}

#[test]
fn groups_that_are_too_old_say_nothing() {
    let mut old = head(1);
    old.checked[Part::Groups as usize] = Some(TAKEN_AT - 7200);
    let snapshot = tenant(old);
    let alice = user(&snapshot, ALICE, TAKEN_AT);
    assert_eq!(alice.is_member(group(&snapshot, "Staff")), None);
    assert!(alice.groups().is_none());
    assert_eq!(
        alice.has_role(GLOBAL_ADMINISTRATOR),
        None,
        "it may be held through a group"
    );
    assert_eq!(alice.enabled(), Some(true), "users are fresh");
    let mut never = head(1);
    never.checked[Part::Groups as usize] = None;
    assert_eq!(tenant(never).group("Staff"), GroupFound::Unknown);
}

#[test]
fn what_is_written_of_people() {
    let snapshot = tenant(head(1));
    let people = [ALICE, BOB, CAROL].map(|who| user(&snapshot, who, TAKEN_AT));
    let department = people.map(|user| user.attribute(Attribute::Department));
    assert_eq!(department, [Some("Lab"), Some("Lab"), None]);
    assert_eq!(
        people[0].attribute(Attribute::Upn),
        Some("Alice@Corp.example")
    );
    assert_eq!(
        people.map(|user| user.enabled()),
        [Some(true), Some(false), None]
    );
    assert_eq!(
        people.map(|user| user.is_guest()),
        [Some(false), Some(true), None]
    );
    let text = "Lab";
    let bytes = snapshot.bytes();
    let times = bytes
        .windows(text.len())
        .filter(|part| *part == text.as_bytes())
        .count();
    assert_eq!(times, 1, "what many have is written once");
}

#[test]
fn roles_are_told_by_id_and_name_for_as_long_as_they_are_held() {
    let [own, other] = [id(0x501), id(0x502)];
    let mut builder = Builder::new(head(1));
    let groups = builder.set(&[]).expect("no groups");
    builder.holds(BOB, own, Some(TAKEN_AT + 10), Some(TAKEN_AT + 20));
    builder.holds(BOB, own, Some(TAKEN_AT + 30), None);
    builder.holds(ALICE, GLOBAL_ADMINISTRATOR, None, None);
    builder.holds(ALICE, GLOBAL_ADMINISTRATOR, None, None);
    builder.holds(id(0x99), other, None, None);
    builder.role(own, "Door Keeper").expect("a name");
    builder.role(other, "Bellringer").expect("a name");
    builder.role(id(0x503), "bellringer").expect("a name");
    for id in [ALICE, BOB] {
        let user = NewUser {
            id,
            enabled: None,
            groups,
        };
        builder.user(user, []).expect("in order");
    }
    let snapshot = Snapshot::parse(builder.finish().expect("small")).expect("written");
    assert_eq!(
        snapshot.role("global administrator"),
        Some(GLOBAL_ADMINISTRATOR)
    );
    assert_eq!(snapshot.role(&own.to_string()), Some(own));
    assert_eq!(snapshot.role("door KEEPER"), Some(own));
    assert_eq!(snapshot.role("Bellringer"), None, "two roles are called so");
    assert_eq!(snapshot.role("Door"), None);
    assert_eq!(
        user(&snapshot, ALICE, TAKEN_AT).has_role(GLOBAL_ADMINISTRATOR),
        Some(true)
    );
    let holds = |second| user(&snapshot, BOB, TAKEN_AT + second).has_role(own);
    let seconds = [9, 10, 19, 20, 29, 30, 999];
    let held = [false, true, true, false, false, true, true];
    assert_eq!(seconds.map(holds), held.map(Some));
    let of_alice: Vec<Uuid> = user(&snapshot, ALICE, TAKEN_AT)
        .held_roles()
        .expect("known")
        .collect();
    assert_eq!(of_alice, [GLOBAL_ADMINISTRATOR]);
}

#[test]
fn roles_that_were_never_synced_say_nothing() {
    let mut never = head(1);
    never.checked[Part::Roles as usize] = None;
    let snapshot = tenant(never);
    assert_eq!(
        user(&snapshot, ALICE, TAKEN_AT).has_role(GLOBAL_ADMINISTRATOR),
        None
    );
    let snapshot = tenant(head(1));
    assert_eq!(
        user(&snapshot, ALICE, TAKEN_AT).has_role(GLOBAL_ADMINISTRATOR),
        Some(false)
    );
}

#[test]
fn what_does_not_fit_together_is_not_written() {
    let new = |number| NewGroup {
        id: id(number),
        name: None,
        complete: true,
    };
    let mut builder = Builder::new(head(1));
    assert_eq!(builder.group(new(5)), Ok(0));
    assert_eq!(
        builder.group(new(5)),
        Err(BuildError::OutOfOrder { what: "groups" })
    );
    assert_eq!(
        builder.group(new(4)),
        Err(BuildError::OutOfOrder { what: "groups" })
    );
    assert_eq!(builder.set(&[1]), Err(BuildError::NoSuchGroup));
    assert_eq!(
        builder.set(&[0, 0]),
        Err(BuildError::OutOfOrder { what: "groups" })
    );
    let groups = builder.set(&[0]).expect("it is there");
    let user = NewUser {
        id: BOB,
        enabled: None,
        groups,
    };
    assert_eq!(builder.user(user, []), Ok(()));
    assert_eq!(
        builder.user(user, []),
        Err(BuildError::OutOfOrder { what: "users" })
    );
}

#[test]
fn names_of_people_are_not_shown() {
    let shown = format!("{:?}", tenant(head(7)));
    assert!(
        shown.contains("users: 3") && !shown.to_lowercase().contains("alice"),
        "{shown}"
    );
    let head: &Head = &head(7);
    assert_eq!(tenant(*head).head(), head);
}

//! What is drawn for the planes, from the whole store and from the picture before.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use time::OffsetDateTime;
use weir_directory::{Attribute, Found, GroupFound, Head, Snapshot, Who};
use weir_entra::closure::{Closure, DraftError, Roles, Since, Watch, Watched, redraw};
use weir_entra::model::{Changes, Group, Held, Id, MemberKind, RoleAssignment, Text, User};

use crate::naive::{Naive, group_id, hidden_group, user, user_id};
use crate::random::round;

const MINUTE: Duration = Duration::from_mins(1);

fn head(epoch: u64) -> Head {
    Head {
        tenant: Id::from_u128(7),
        epoch,
        taken_at: 1000,
        checked: [Some(1000); 3],
    }
}

fn draw(naive: &Naive, closure: &Closure, epoch: u64, roles: &Roles<'_>) -> Vec<u8> {
    let drawn: Result<_, DraftError> = closure.draw(head(epoch), |draft| {
        for (id, group) in &naive.groups {
            draft.group(*id, group)?;
        }
        for (id, user) in &naive.users {
            draft.user(*id, user)?;
        }
        draft.roles(roles)
    });
    drawn.expect("all of it came")
}

fn named(name: &str, enabled: bool) -> User {
    let texts = [
        (Text::Upn, format!("{name}@corp.example")),
        (Text::Mail, format!("{name}@corp.example")),
        (Text::Department, "Lab".to_owned()),
        (Text::ImmutableId, format!("{name}Q==")),
    ];
    User {
        texts: texts.into(),
        ..user(Some(enabled))
    }
}

fn titled(name: &str) -> Group {
    Group {
        texts: BTreeMap::from([(Text::DisplayName, name.to_owned())]),
        ..Group::default()
    }
}

fn assignment(principal: Id, role: Id, held: Held, scope: &str) -> RoleAssignment {
    RoleAssignment {
        principal,
        role,
        scope: scope.to_owned(),
        held,
        from: None,
        until: None,
    }
}

#[test]
fn a_picture_tells_of_people_what_the_store_does() {
    let [alice, bob] = [user_id(1), user_id(2)];
    let [team, staff, secret] = [group_id(1), group_id(2), group_id(3)];
    let naive = Naive {
        users: [(alice, named("Alice", true)), (bob, named("bob", false))].into(),
        groups: [
            (team, titled("Team")),
            (staff, titled("Staff")),
            (secret, hidden_group()),
        ]
        .into(),
        edges: [
            ((team, alice), MemberKind::User),
            ((staff, team), MemberKind::Group),
            ((secret, alice), MemberKind::User),
        ]
        .into(),
    };
    let [admin, own, reader] = [101, 102, 103].map(Id::from_u128);
    let limited = RoleAssignment {
        until: Some(OffsetDateTime::from_unix_timestamp(1030).expect("a time")),
        ..assignment(alice, own, Held::Active, "/")
    };
    let assignments = [
        assignment(staff, admin, Held::Active, "/"),
        limited,
        assignment(bob, admin, Held::Eligible, "/"),
        assignment(bob, reader, Held::Active, "/administrativeUnits/1"),
    ];
    let names = BTreeMap::from([(own, "Door Keeper".to_owned())]);
    let roles = Roles {
        assignments: &assignments,
        names: Some(&names),
    };
    let bytes = draw(&naive, &naive.closure(), 1, &roles);
    let snapshot = Snapshot::parse(bytes).expect("what was drawn");
    let view = snapshot.at(1010, MINUTE);
    let find = |upn| {
        let who = Who {
            upn: Some(upn),
            ..Who::default()
        };
        view.find(&who).user().expect("a user")
    };
    let (a, b) = (find("alice@corp.example"), find("BOB@corp.example"));
    assert_eq!((a.id(), b.id()), (alice, bob));
    assert_eq!((a.enabled(), b.enabled()), (Some(true), Some(false)));
    assert_eq!(a.attribute(Attribute::Department), Some("Lab"));
    assert_eq!(a.attribute(Attribute::JobTitle), None);
    let group = |name| match snapshot.group(name) {
        GroupFound::One(group) => group,
        other => panic!("{name}: {other:?}"),
    };
    let hidden = secret.to_string();
    let of = |user: weir_directory::UserRef<'_>| {
        ["team", "Staff", &hidden].map(|name| user.is_member(group(name)))
    };
    assert_eq!(of(a), [Some(true); 3]);
    assert_eq!(of(b), [Some(false), Some(false), None]);
    assert_eq!(snapshot.role("door keeper"), Some(own));
    assert_eq!(
        [admin, own, reader].map(|role| a.has_role(role)),
        [Some(true), Some(true), Some(false)]
    );
    assert_eq!(
        [admin, own, reader].map(|role| b.has_role(role)),
        [Some(false); 3]
    );
    let later = snapshot.at(1030, MINUTE);
    let again = Who {
        immutable_id: Some("AliceQ=="),
        ..Who::default()
    };
    let Found::One(a) = later.find(&again) else {
        panic!("Alice by her immutable id");
    };
    assert_eq!(
        (a.has_role(admin), a.has_role(own)),
        (Some(true), Some(false))
    );
}

#[test]
fn what_does_not_come_is_missed() {
    let naive = Naive {
        users: [(user_id(1), user(None)), (user_id(2), user(None))].into(),
        ..Naive::default()
    };
    let drawn = naive
        .closure()
        .draw(head(1), |draft| draft.user(user_id(2), &user(None)));
    let error = DraftError::Incomplete {
        what: "users",
        missing: 1,
    };
    assert_eq!(drawn, Err(error));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// What is drawn says what the model says, and so does what is drawn from the picture before.
    #[test]
    fn a_picture_drawn_from_the_one_before_is_the_same(rounds in prop::collection::vec(round(), 1..5)) {
        let mut naive = Naive::default();
        let mut closure = Closure::default();
        let watch = Watch { groups: Watched::All, most: 0 };
        let mut bytes = draw(&naive, &closure, 0, &Roles::default());
        for (epoch, round) in (1..).zip(&rounds) {
            let round = described(round);
            naive.apply(&round);
            let applied = closure.apply(&round, &watch);
            let assignments: Vec<RoleAssignment> = naive.groups.keys().chain(naive.users.keys())
                .map(|principal| assignment(*principal, Id::from_u128(5), Held::Active, "/"))
                .collect();
            let roles = Roles { assignments: &assignments, names: None };
            let before = Snapshot::parse(bytes).expect("what was drawn");
            let since = Since { changes: &round, touched: &applied.touched };
            let redrawn = redraw(&closure, head(epoch), &before, since, &roles).expect("all of it came");
            bytes = draw(&naive, &closure, epoch, &roles);
            // Loaded anew, groups have other numbers; the picture is the same.
            prop_assert_eq!(&bytes, &draw(&naive, &naive.closure(), epoch, &roles));
            prop_assert_eq!(told(&redrawn), told(&bytes));
            bytes = redrawn;
            let snapshot = Snapshot::parse(bytes.as_slice()).expect("what was drawn");
            let live: Vec<Id> = naive.users.keys().copied().filter(|user| naive.is_live_user(*user)).collect();
            prop_assert_eq!(snapshot.users().map(|user| user.id()).collect::<Vec<_>>(), live);
            for user in snapshot.users() {
                let groups: Vec<Id> = user.groups().expect("they are known").collect();
                prop_assert_eq!(Some(groups), naive.groups_of(user.id()));
                prop_assert_eq!(user.enabled(), naive.users[&user.id()].enabled);
                prop_assert_eq!(user.has_role(Id::from_u128(5)), Some(true));
            }
        }
    }
}

/// Everything that a picture tells.
fn told(bytes: &[u8]) -> Vec<String> {
    let snapshot = Snapshot::parse(bytes).expect("what was drawn");
    let groups = snapshot.groups().map(|group| format!("{group:?}"));
    let users = snapshot.users().map(|user| {
        let texts = Attribute::ALL.map(|attribute| user.attribute(attribute));
        let groups: Vec<Id> = user.groups().expect("they are known").collect();
        let roles: Vec<Id> = user.held_roles().expect("they are known").collect();
        format!(
            "{} {:?} {texts:?} {groups:?} {roles:?}",
            user.id(),
            user.enabled()
        )
    });
    groups.chain(users).collect()
}

/// The same with names, some of which people share.
fn described(round: &Changes) -> Changes {
    let mut round = round.clone();
    for (id, user) in &mut round.users {
        if let Some(user) = user {
            let other = user.enabled == Some(true);
            user.texts = named(&format!("u{}", id.as_u128() % 3), other).texts;
        }
    }
    for (id, group) in &mut round.groups {
        if let Some(group) = group {
            group.texts = titled(&format!("g{}", id.as_u128() % 4)).texts;
        }
    }
    round
}

//! What waits for a person, and what does not.

mod stores;

use std::collections::BTreeSet;

use stores::{
    Scene, World, at, disabled, finish, gone, group, id, member, named, no_member, user, users,
};
use weir_entra::guard::{Guard, Limits, Reason, Watched};
use weir_entra::model::{Changes, Edge, Item, MemberKind, Part, Told, UserPatch};
use weir_entra::round::{Kind, Outcome};
use weir_entra::store::{Held, Loses, StoreError};

fn held(outcome: Outcome) -> (Held, Changes) {
    match outcome {
        Outcome::Held { held, applied } => (*held, applied),
        outcome => panic!("it is not held: {outcome:?}"),
    }
}

fn is_committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}

fn watching(groups: impl IntoIterator<Item = u128>) -> Guard {
    Guard {
        limits: Limits::default(),
        watched: Watched {
            groups: groups.into_iter().map(id).collect(),
            denying: BTreeSet::new(),
        },
    }
}

#[test]
fn what_was_removed_and_who_was_disabled_in_masses_waits_until_a_person_approves() {
    let scene = Scene::new();
    assert!(is_committed(&scene.users(0, users(0..100))));
    let before = World::of(&scene.view()).expect("it reads");

    let mut page = gone(0..11);
    page.push(disabled(50));
    page.push(user(200));
    let (round, applied) = held(scene.users(1, page));
    assert_eq!(
        round.reasons,
        [Reason::UsersRemoved {
            removed: 11,
            of: 100
        }]
    );
    assert_eq!(round.examples.len(), 11);
    assert_eq!(
        (round.examples[0].name.as_str(), &round.examples[0].loses),
        ("user 0", &Loses::User)
    );
    assert_eq!((round.counts.users, round.counts.users_purged), (12, 0));
    // The one who was disabled is so at once. Nobody else changes, and nobody comes.
    assert_eq!(applied.users.keys().copied().collect::<Vec<_>>(), [id(50)]);
    let mut expected = before.clone();
    expected
        .users
        .get_mut(&id(50))
        .expect("it is there")
        .enabled = Some(false);
    assert_eq!(World::of(&scene.view()).expect("it reads"), expected);
    assert_eq!(
        scene.store.link(Part::Users).expect("it reads").as_deref(),
        Some("link of 0")
    );
    let state = &scene.store.parts().expect("it reads")[&Part::Users];
    assert_eq!(state.held.as_ref(), Some(&round));
    assert_eq!(
        (state.last_success, state.last_attempt),
        (Some(at(0)), Some(at(1)))
    );

    let shown = scene.store.held_changes(round.digest).expect("it is held");
    let approved = scene
        .store
        .approve(round.digest, "ann", at(2))
        .expect("it is held");
    assert_eq!(approved.changes, shown);
    assert_eq!(approved.changes.users.len(), 12);
    let users = World::of(&scene.view()).expect("it reads").users;
    assert_eq!(
        users
            .values()
            .filter(|user| user.gone == Some(at(1)))
            .count(),
        11
    );
    assert!(users.contains_key(&id(200)));
    assert_eq!(
        scene.store.link(Part::Users).expect("it reads").as_deref(),
        Some("link of 1")
    );
    let again = scene.store.approve(round.digest, "ann", at(3));
    assert!(matches!(again, Err(StoreError::NotHeld { .. })));
}

#[test]
fn a_mass_of_disabled_accounts_is_held_and_a_deleted_one_goes_through() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    assert!(is_committed(
        &scene.users(1, (0..10).map(disabled).collect())
    ));

    let mut page: Vec<_> = (10..21).map(disabled).collect();
    page.push(Item::Purged(id(90)));
    page.push(Item::Gone(id(91)));
    let (round, applied) = held(scene.users(2, page));
    assert_eq!(
        round.reasons,
        [Reason::UsersDisabled {
            disabled: 11,
            of: 100
        }]
    );
    assert_eq!(
        applied.users.keys().copied().collect::<Vec<_>>(),
        [id(90), id(91)]
    );
    assert_eq!(scene.user(90), None);
    assert_eq!(scene.user(91).expect("it is kept").gone, Some(at(2)));
    assert_eq!(scene.user(10).expect("it is there").enabled, Some(true));
}

#[test]
fn sessions_that_are_revoked_end_also_while_a_round_is_held() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    let patch = UserPatch {
        sessions_valid_from: Told::Is(at(1)),
        texts: named("renamed"),
        ..UserPatch::default()
    };
    let mut page = gone(0..20);
    page.push(Item::Live(id(50), patch));
    let (round, _) = held(scene.users(2, page));
    let user = scene.user(50).expect("it is there");
    assert_eq!(user.sessions_valid_from, Some(at(1)));
    assert_eq!(
        user.texts.values().next().map(String::as_str),
        Some("user 50")
    );
    scene
        .store
        .approve(round.digest, "ann", at(3))
        .expect("it is held");
    let user = scene.user(50).expect("it is there");
    assert_eq!(
        user.texts.values().next().map(String::as_str),
        Some("renamed")
    );
}

#[test]
fn who_is_only_missing_from_a_full_round_waits() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    // Few are missing, and too many are disabled.
    let page = (0..11).map(disabled).chain(users(12..100)).collect();
    let (round, applied) = held(scene.all_users(1, page, &Guard::default()));
    assert_eq!(applied, Changes::default());
    assert_eq!(round.counts.users_purged, 1);
    assert!(scene.user(11).is_some());
}

#[test]
fn an_answer_that_is_empty_takes_nothing_away() {
    let scene = Scene::new();
    scene.users(0, users(0..20));
    scene.groups(
        0,
        (100..120)
            .map(|number| group(number, (0..20).map(member)))
            .collect(),
    );
    scene.documents(0, Part::ConditionalAccess, &["a", "b"]);
    let before = World::of(&scene.view()).expect("it reads");

    held(scene.all_users(1, Vec::new(), &Guard::default()));
    let (groups, _) = held(finish(scene.full(Part::Groups), 1, &Guard::default()));
    assert_eq!(
        groups.reasons,
        [
            Reason::GroupsRemoved {
                removed: 20,
                of: 20
            },
            Reason::EdgesRemoved {
                removed: 400,
                of: 400
            },
        ]
    );
    let (policies, _) = held(scene.documents(1, Part::ConditionalAccess, &[]));
    assert_eq!(policies.reasons, [Reason::Emptied { before: 2 }]);

    assert_eq!(World::of(&scene.view()).expect("it reads"), before);
    let documents = |minute| {
        let view = scene.store.as_of(at(minute)).expect("it reads");
        view.documents(Part::ConditionalAccess)
            .expect("there is evidence")
            .len()
    };
    assert_eq!(documents(1), 2);
    scene
        .store
        .approve(policies.digest, "ann", at(2))
        .expect("it is held");
    assert_eq!((documents(1), documents(2)), (2, 0));
}

#[test]
fn a_watched_group_is_looked_at_closely() {
    let scene = Scene::new();
    let guard = watching([100]);
    scene.users(0, users(0..100));
    scene.groups(
        0,
        vec![
            group(100, (0..10).map(member)),
            group(101, (0..10).map(member)),
        ],
    );

    let lost = |members: std::ops::Range<u128>| members.map(no_member).collect::<Vec<_>>();
    assert!(is_committed(&scene.groups_judged(
        1,
        vec![group(100, lost(0..3))],
        &guard
    )));
    assert!(is_committed(&scene.groups_judged(
        2,
        vec![group(101, lost(0..9))],
        &guard
    )));
    // 3 of 7. What is lost elsewhere is few, and is applied.
    let page = vec![group(100, lost(3..6)), group(101, lost(9..10))];
    let (round, applied) = held(scene.groups_judged(3, page, &guard));
    assert_eq!(
        round.reasons,
        [Reason::Watched {
            group: id(100),
            name: "group 100".to_owned(),
            lost: 3,
            before: 7,
            after: 4,
        }]
    );
    assert_eq!(
        applied.edges.keys().copied().collect::<Vec<_>>(),
        [(id(101), id(9))]
    );
    let loses = Loses::Membership {
        group: id(100),
        name: "group 100".to_owned(),
    };
    assert_eq!(
        (
            round.examples.len(),
            round.examples[0].name.as_str(),
            &round.examples[0].loses
        ),
        (3, "user 3", &loses)
    );
    // One person leaves at once.
    assert!(is_committed(&scene.groups_judged(
        4,
        vec![group(100, lost(3..4))],
        &guard
    )));
}

#[test]
fn users_who_are_deleted_are_missing_from_their_watched_groups() {
    let scene = Scene::new();
    let guard = watching([100]);
    scene.users(0, users(0..100));
    // Nobody knows 900, who counts as no member.
    scene.groups(
        0,
        vec![group(100, [member(0), member(1), member(2), member(900)])],
    );

    let mut page = gone(0..3);
    page.push(Item::Gone(id(50)));
    let (round, applied) = held(scene.users_judged(1, page, &guard));
    assert!(matches!(
        round.reasons[..],
        [Reason::Watched {
            lost: 3,
            before: 3,
            after: 0,
            ..
        }]
    ));
    // Who is not in the group may go.
    assert_eq!(applied.users.keys().copied().collect::<Vec<_>>(), [id(50)]);
    assert!(is_committed(&scene.users_judged(
        2,
        vec![Item::Gone(id(0))],
        &guard
    )));
}

#[test]
fn a_nested_group_that_leaves_is_no_single_person() {
    let scene = Scene::new();
    let guard = watching([100]);
    let nested = Edge {
        kind: MemberKind::Group,
        ..member(101)
    };
    scene.groups(0, vec![group(100, [nested]), group(101, [])]);
    for (minute, item) in [
        group(
            100,
            [Edge {
                is_member: false,
                ..nested
            }],
        ),
        Item::Gone(id(101)),
        Item::Gone(id(100)),
    ]
    .into_iter()
    .enumerate()
    {
        let minute = i64::try_from(minute).expect("it is small");
        let (round, applied) = held(scene.groups_judged(1 + minute, vec![item], &guard));
        assert!(matches!(
            round.reasons[..],
            [Reason::Watched {
                before: 1,
                after: 0,
                ..
            }]
        ));
        assert_eq!(applied, Changes::default());
    }
}

#[test]
fn who_is_denied_something_does_not_wait() {
    let scene = Scene::new();
    let mut guard = watching([100, 101]);
    guard.watched.denying = BTreeSet::from([id(101)]);
    scene.users(0, users(0..100));
    scene.groups(
        0,
        vec![
            group(100, (0..10).map(member)),
            group(101, (0..10).map(member)),
        ],
    );

    let page = vec![
        group(100, (0..5).map(no_member).chain([member(60)])),
        group(101, [member(70), no_member(0)]),
    ];
    let (_, applied) = held(scene.groups_judged(1, page, &guard));
    assert_eq!(
        applied.edges.into_iter().collect::<Vec<_>>(),
        [((id(101), id(70)), Some(MemberKind::User))]
    );
}

#[test]
fn the_same_changes_told_again_are_held_under_the_same_digest() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    let (first, _) = held(scene.users(1, gone(0..20)));
    let (second, _) = held(scene.users(2, gone(0..20)));
    assert_eq!(second.digest, first.digest);
    assert_eq!((second.since, second.at), (at(1), at(2)));

    let (third, _) = held(scene.users(3, gone(0..21)));
    assert_ne!(third.digest, first.digest);
    let replaced = scene.store.approve(first.digest, "ann", at(4));
    assert!(matches!(replaced, Err(StoreError::NotHeld { .. })));
    assert_eq!(
        World::of(&scene.view())
            .expect("it reads")
            .users
            .values()
            .filter(|user| user.gone.is_some())
            .count(),
        0
    );
    scene
        .store
        .approve(third.digest, "ann", at(5))
        .expect("it is held");
    assert_eq!(
        scene.store.link(Part::Users).expect("it reads").as_deref(),
        Some("link of 3")
    );
}

#[test]
fn a_round_that_can_pass_takes_the_place_of_one_that_waits() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    let (round, _) = held(scene.users(1, gone(0..20)));
    assert_eq!(scene.users(2, users(0..20)), Outcome::Unchanged);
    assert_eq!(
        scene.store.parts().expect("it reads")[&Part::Users].held,
        None
    );
    let late = scene.store.approve(round.digest, "ann", at(3));
    assert!(matches!(late, Err(StoreError::NotHeld { .. })));
}

#[test]
fn what_is_discarded_is_read_in_full_next() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    let (round, _) = held(scene.users(1, gone(0..20)));
    let running = scene.next(Part::Users);
    assert_eq!(
        scene
            .store
            .discard(round.digest, "ann", at(2))
            .expect("it is held"),
        Part::Users
    );

    assert_eq!(scene.store.link(Part::Users).expect("it reads"), None);
    let delta = Kind::Delta {
        link: "link of 1".to_owned(),
    };
    let refused = scene.store.begin(Part::Users, delta).err();
    assert!(matches!(
        refused,
        Some(StoreError::NeedsFull { part: Part::Users })
    ));
    let late = running.finish(None, &Guard::default(), at(3));
    assert!(matches!(
        late,
        Err(StoreError::Overtaken { part: Part::Users })
    ));
    let (again, _) = held(scene.users(4, users(20..100)));
    assert_eq!(again.counts.users_purged, 20);
}

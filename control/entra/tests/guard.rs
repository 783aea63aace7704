//! How much is too much.

use std::collections::BTreeSet;

use weir_entra::guard::{Limits, Loss, Reason, Share, WatchedLoss, judge};
use weir_entra::model::Id;

#[test]
fn few_are_as_many_as_the_floor_or_the_share_whichever_is_more() {
    let share = Share {
        floor: 10,
        percent: 5,
    };
    for (count, before, is_too_many) in [
        (0, 0, false),
        (10, 10, false),
        (11, 11, true),
        (11, 200, true),
        (10, 200, false),
        (15, 300, false),
        (16, 300, true),
        (15_000, 300_000, false),
        (15_001, 300_000, true),
        (u64::MAX, u64::MAX, true),
        (u64::MAX / 20, u64::MAX, false),
    ] {
        assert_eq!(
            share.is_exceeded(count, before),
            is_too_many,
            "{count} of {before}"
        );
    }
}

#[test]
fn each_kind_of_loss_is_judged_by_its_own_limit() {
    let calm = Loss {
        users: 1_000,
        users_removed: 50,
        users_disabled: 50,
        groups: 100,
        groups_removed: 10,
        edges: 10_000,
        edges_removed: 1_000,
        watched: Vec::new(),
        documents: 5,
        documents_after: 1,
    };
    let limits = Limits::default();
    assert_eq!(judge(&limits, &calm), []);
    let one_too_many = Loss {
        users_removed: 51,
        users_disabled: 51,
        groups_removed: 11,
        edges_removed: 1_001,
        documents_after: 0,
        ..calm
    };
    assert_eq!(
        judge(&limits, &one_too_many),
        [
            Reason::UsersRemoved {
                removed: 51,
                of: 1_000
            },
            Reason::UsersDisabled {
                disabled: 51,
                of: 1_000
            },
            Reason::GroupsRemoved {
                removed: 11,
                of: 100
            },
            Reason::EdgesRemoved {
                removed: 1_001,
                of: 10_000
            },
            Reason::Emptied { before: 5 },
        ]
    );
    assert_eq!(
        judge(
            &Limits::none(),
            &Loss {
                documents: 0,
                ..one_too_many
            }
        ),
        []
    );
}

fn loses(people: std::ops::Range<u128>, before: u64, after: u64) -> WatchedLoss {
    let people: BTreeSet<Id> = people.map(Id::from_u128).collect();
    WatchedLoss {
        group: Id::from_u128(500),
        name: "admins".to_owned(),
        before,
        after,
        lost: people.len() as u64,
        people,
        more_than_people: false,
    }
}

#[test]
fn a_watched_group_is_judged_by_its_share_unless_one_person_leaves() {
    let held = |watched: Vec<WatchedLoss>| {
        let loss = Loss {
            watched,
            ..Loss::default()
        };
        !judge(&Limits::default(), &loss).is_empty()
    };
    assert!(!held(vec![loses(0..3, 10, 7)]));
    assert!(held(vec![loses(0..4, 10, 6)]));
    assert!(held(vec![loses(0..2, 2, 0)]));
    // One person is urgent, whatever share they are, of however many groups.
    assert!(!held(vec![loses(0..1, 1, 0)]));
    assert!(!held(vec![loses(0..1, 1, 0), loses(0..1, 2, 1)]));
    assert!(held(vec![loses(0..1, 1, 0), loses(1..2, 2, 1)]));
    // A nested group is more than a person.
    let nested = WatchedLoss {
        more_than_people: true,
        ..loses(0..1, 1, 0)
    };
    assert!(held(vec![nested]));
    // Others may come in the place of those who leave; that many leave is still told.
    assert!(held(vec![loses(0..10, 10, 10)]));
}

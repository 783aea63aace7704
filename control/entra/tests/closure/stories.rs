//! What happens to people and groups, one story each.

use std::collections::BTreeSet;

use weir_entra::closure::{Applied, Closure, Counts, Member, Move, Moves, Watch, Watched};
use weir_entra::model::{Changes, Group, Id, MemberKind};

use crate::naive::{gone_group, gone_user, group_id, hidden_group, user, user_id};

const ALL: Watch<'_> = Watch {
    groups: Watched::All,
    most: 1000,
};

/// Alice is in the team, the team in staff, staff in everyone; Bob, who may not sign in, is in staff.
fn company() -> (Closure, [Id; 2], [Id; 3]) {
    let people = [user_id(1), user_id(2)];
    let groups = [group_id(1), group_id(2), group_id(3)];
    let [alice, bob] = people;
    let [team, staff, everyone] = groups;
    let closure = Closure::of(
        [(alice, user(Some(true))), (bob, user(Some(false)))],
        groups.map(|group| (group, Group::default())),
        [
            (team, alice, MemberKind::User),
            (staff, bob, MemberKind::User),
            (staff, team, MemberKind::Group),
            (everyone, staff, MemberKind::Group),
        ],
    );
    (closure, people, groups)
}

fn edge(group: Id, member: Id, kind: Option<MemberKind>) -> Changes {
    Changes {
        edges: [((group, member), kind)].into(),
        ..Changes::default()
    }
}

fn moves(applied: &Applied) -> &[Move] {
    match &applied.moves {
        Moves::Each(moves) => moves,
        Moves::Many => panic!("so few can be told one by one"),
    }
}

#[test]
fn members_of_a_group_are_members_of_every_group_around_it() {
    let (closure, [alice, bob], [team, staff, everyone]) = company();
    assert_eq!(closure.groups_of(alice), Some(vec![team, staff, everyone]));
    assert_eq!(closure.groups_of(bob), Some(vec![staff, everyone]));
    let member = |id, enabled, direct| Member {
        id,
        kind: MemberKind::User,
        enabled: Some(enabled),
        direct,
    };
    let of_staff = vec![member(alice, true, false), member(bob, false, true)];
    assert_eq!(closure.members(staff), Some(of_staff));
    assert_eq!(
        closure.why(alice, everyone),
        Some(vec![team, staff, everyone])
    );
    assert_eq!(closure.why(bob, team), None);
    let counts = Counts {
        users: 2,
        disabled: 1,
        groups: 3,
        edges: 4,
    };
    assert_eq!(closure.counts(), counts);
}

#[test]
fn of_two_ways_the_shorter_is_told() {
    let (mut closure, [alice, _], [team, staff, everyone]) = company();
    closure.apply(&edge(everyone, team, Some(MemberKind::Group)), &ALL);
    assert_eq!(closure.why(alice, everyone), Some(vec![team, everyone]));
    assert_eq!(closure.why(alice, staff), Some(vec![team, staff]));
}

#[test]
fn whoever_is_soft_deleted_is_in_no_group_until_they_come_back() {
    let (mut closure, [alice, _], [team, staff, everyone]) = company();
    let gone = Changes {
        users: [(alice, Some(gone_user()))].into(),
        ..Changes::default()
    };
    let applied = closure.apply(&gone, &ALL);
    assert_eq!(applied.gone, [alice]);
    let out = Move {
        user: alice,
        added: vec![],
        removed: vec![team, staff, everyone],
    };
    assert_eq!(moves(&applied), [out]);
    assert_eq!(closure.groups_of(alice), None);
    assert_eq!(closure.members(team), Some(vec![]));
    // Told again, it is no news.
    assert_eq!(closure.apply(&gone, &ALL), Applied::default());

    let back = Changes {
        users: [(alice, Some(user(Some(true))))].into(),
        ..Changes::default()
    };
    let applied = closure.apply(&back, &ALL);
    assert_eq!(applied.back, [alice]);
    assert_eq!(moves(&applied)[0].added, [team, staff, everyone]);
}

#[test]
fn a_group_that_is_gone_gives_nothing_and_passes_nothing_on() {
    let (mut closure, [alice, bob], [team, staff, everyone]) = company();
    let gone = Changes {
        groups: [(staff, Some(gone_group()))].into(),
        ..Changes::default()
    };
    let applied = closure.apply(&gone, &ALL);
    let out = |user| Move {
        user,
        added: vec![],
        removed: vec![staff, everyone],
    };
    assert_eq!(moves(&applied), [out(alice), out(bob)]);
    assert_eq!(closure.groups_of(alice), Some(vec![team]));
    assert_eq!(closure.groups_of(bob), Some(vec![]));
    assert_eq!(closure.members(staff), None);
    assert_eq!(closure.members(everyone), Some(vec![]));
}

#[test]
fn what_was_purged_comes_back_with_the_edges_that_nobody_took_away() {
    let (mut closure, [alice, bob], [team, staff, everyone]) = company();
    let mut purged = edge(staff, bob, None);
    purged.groups.insert(staff, None);
    purged.users.insert(bob, None);
    let applied = closure.apply(&purged, &ALL);
    assert_eq!(applied.gone, [bob]);
    assert_eq!(closure.groups_of(alice), Some(vec![team]));
    let again = Changes {
        groups: [(staff, Some(Group::default()))].into(),
        users: [(bob, Some(user(None)))].into(),
        ..Changes::default()
    };
    closure.apply(&again, &ALL);
    let all = vec![team, staff, everyone];
    assert_eq!(closure.groups_of(alice), Some(all));
    assert_eq!(closure.groups_of(bob), Some(vec![]));
}

#[test]
fn whoever_may_not_sign_in_stays_a_member_and_is_told() {
    let (mut closure, [alice, bob], [_, staff, _]) = company();
    let switched = Changes {
        users: [
            (alice, Some(user(Some(false)))),
            (bob, Some(user(Some(true)))),
        ]
        .into(),
        ..Changes::default()
    };
    let applied = closure.apply(&switched, &ALL);
    assert_eq!(
        (applied.disabled.as_slice(), applied.back.as_slice()),
        (&[alice][..], &[bob][..])
    );
    assert_eq!(moves(&applied), []);
    let members = closure.members(staff).expect("it is there");
    let enabled: Vec<_> = members.iter().map(|member| member.enabled).collect();
    assert_eq!(enabled, [Some(false), Some(true)]);
}

#[test]
fn only_watched_groups_are_told_however_far_they_are() {
    let (mut closure, [alice, bob], [team, _, everyone]) = company();
    let watched = BTreeSet::from([everyone, group_id(77)]);
    let watch = Watch {
        groups: Watched::Only(&watched),
        most: 10,
    };
    let applied = closure.apply(&edge(team, bob, Some(MemberKind::User)), &watch);
    assert_eq!(moves(&applied), [], "Bob was in everyone before");
    let applied = closure.apply(&edge(team, alice, None), &watch);
    let out = Move {
        user: alice,
        added: vec![],
        removed: vec![everyone],
    };
    assert_eq!(moves(&applied), [out]);
}

#[test]
fn too_many_moves_are_not_told_one_by_one_and_happen_all_the_same() {
    let (mut closure, [alice, _], [team, staff, everyone]) = company();
    let watch = Watch {
        groups: Watched::All,
        most: 3,
    };
    let applied = closure.apply(&edge(everyone, staff, None), &watch);
    assert_eq!(moves(&applied).len(), 2);
    let gone = Changes {
        groups: [(staff, None), (team, None)].into(),
        ..Changes::default()
    };
    let two = Watch { most: 2, ..watch };
    assert_eq!(closure.apply(&gone, &two).moves, Moves::Many);
    assert_eq!(closure.groups_of(alice), Some(vec![]));
}

#[test]
fn groups_that_contain_each_other_have_the_same_members() {
    let (mut closure, [alice, bob], [team, staff, everyone]) = company();
    assert_eq!(closure.cycles(), Vec::<Vec<Id>>::new());
    closure.apply(&edge(team, everyone, Some(MemberKind::Group)), &ALL);
    // A group in itself is no news to anybody.
    closure.apply(&edge(team, team, Some(MemberKind::Group)), &ALL);
    assert_eq!(closure.cycles(), [[team, staff, everyone]]);
    for person in [alice, bob] {
        assert_eq!(closure.groups_of(person), Some(vec![team, staff, everyone]));
    }
    assert_eq!(closure.why(bob, team), Some(vec![staff, everyone, team]));
}

#[test]
fn devices_and_applications_are_members_that_nothing_is_known_of() {
    let (mut closure, [alice, _], [team, staff, _]) = company();
    let device = Id::from_u128(0x3000);
    for kind in [
        MemberKind::Device,
        MemberKind::ServicePrincipal,
        MemberKind::Other,
    ] {
        let applied = closure.apply(&edge(team, device, Some(kind)), &ALL);
        assert_eq!(applied, Applied::default());
        let members = closure.members(staff).expect("it is there");
        let of_device: Vec<_> = members
            .iter()
            .filter(|member| member.id == device)
            .collect();
        assert_eq!(of_device.len(), 1, "the kind that was told last");
        assert_eq!((of_device[0].kind, of_device[0].enabled), (kind, None));
    }
    // The same id as a user is somebody else, who was never told of.
    closure.apply(&edge(team, device, Some(MemberKind::User)), &ALL);
    let members = closure.members(team).expect("it is there");
    assert_eq!(
        members.iter().map(|member| member.id).collect::<Vec<_>>(),
        [alice]
    );
}

#[test]
fn nobody_is_outside_of_a_group_whose_members_may_not_be_read() {
    let (mut closure, _, [team, staff, everyone]) = company();
    let hidden = Changes {
        groups: [(staff, Some(hidden_group()))].into(),
        ..Changes::default()
    };
    closure.apply(&hidden, &ALL);
    let complete =
        |closure: &Closure| [team, staff, everyone].map(|group| closure.is_complete(group));
    assert_eq!(complete(&closure), [Some(true), Some(false), Some(false)]);
    closure.set_hidden_is_told(true);
    assert_eq!(complete(&closure), [Some(true); 3]);
    assert_eq!(closure.is_complete(group_id(77)), None);
}

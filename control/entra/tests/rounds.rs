//! What a round makes of what is told.

mod stores;

use stores::{Scene, World, at, disabled, finish, group, id, member, no_member, user, users};
use weir_entra::guard::Guard;
use weir_entra::model::{Item, Part, Told, UserPatch};
use weir_entra::round::Outcome;
use weir_entra::store::StoreError;

fn is_committed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Committed(_))
}

#[test]
fn a_page_that_fails_leaves_all_as_it_was() {
    let scene = Scene::new();
    scene.users(0, users(0..5));
    let before = World::of(&scene.view()).expect("it reads");

    let mut round = scene.next(Part::Users);
    round
        .users(vec![Item::Purged(id(1)), disabled(2)])
        .expect("it is a page");
    drop(round);

    assert_eq!(World::of(&scene.view()).expect("it reads"), before);
    assert_eq!(
        scene.store.link(Part::Users).expect("it reads").as_deref(),
        Some("link of 0")
    );
}

#[test]
fn unsaid_is_not_null_and_deleted_is_not_forgotten() {
    let scene = Scene::new();
    scene.users(0, vec![user(1), user(2), user(3)]);
    let nothing = UserPatch {
        enabled: Told::Null,
        ..UserPatch::default()
    };
    let outcome = scene.users(
        1,
        vec![
            Item::Live(id(1), nothing),
            Item::Gone(id(2)),
            Item::Purged(id(3)),
            Item::Gone(id(90)),
            Item::Purged(id(91)),
        ],
    );
    let Outcome::Committed(changes) = outcome else {
        panic!("it is not committed: {outcome:?}");
    };
    assert_eq!(
        changes.users.keys().copied().collect::<Vec<_>>(),
        [id(1), id(2), id(3)]
    );

    let first = scene.user(1).expect("it is there");
    assert_eq!((first.enabled, first.texts.len()), (None, 1));
    let second = scene.user(2).expect("it is kept");
    assert_eq!((second.gone, second.enabled), (Some(at(1)), Some(true)));
    assert_eq!(scene.user(3), None);

    // Told once more it keeps its time; told of as an object, it is back.
    assert_eq!(scene.users(2, vec![Item::Gone(id(2))]), Outcome::Unchanged);
    scene.users(3, vec![Item::Live(id(2), UserPatch::default())]);
    let back = scene.user(2).expect("it is back");
    assert_eq!((back.gone, back.enabled), (None, Some(true)));
}

#[test]
fn a_full_round_tells_all_there_is() {
    let scene = Scene::new();
    scene.users(0, users(0..4));
    let bare = Item::Live(id(1), UserPatch::default());
    let outcome = scene.all_users(1, vec![user(0), bare, Item::Gone(id(2))], &Guard::default());
    assert!(is_committed(&outcome));

    let now = World::of(&scene.view()).expect("it reads").users;
    assert_eq!(
        now.keys().copied().collect::<Vec<_>>(),
        [id(0), id(1), id(2)]
    );
    assert_eq!(now[&id(1)].texts.len(), 0);
    assert_eq!(
        (now[&id(2)].gone, now[&id(2)].texts.len()),
        (Some(at(1)), 1)
    );
}

#[test]
fn a_group_is_gathered_from_all_its_pages() {
    let scene = Scene::new();
    let mut round = scene.next(Part::Groups);
    for member_number in (0..40).rev() {
        round
            .groups(vec![group(100, [member(member_number)])])
            .expect("it is a page");
    }
    round
        .groups(vec![group(100, [no_member(7)])])
        .expect("it is a page");
    round
        .groups(vec![Item::Purged(id(101)), group(101, [member(1)])])
        .expect("it is a page");
    finish(round, 0, &Guard::default());

    let view = scene.view();
    let members = view.members(id(100)).expect("it reads").count();
    assert_eq!(members, 39);
    assert_eq!(view.groups_of(id(1)).expect("it reads"), [id(100), id(101)]);
    assert!(view.groups_of(id(7)).expect("it reads").is_empty());

    // Soft-deleted it keeps them, purged it does not.
    scene.groups(1, vec![Item::Gone(id(100)), Item::Purged(id(101))]);
    let view = scene.view();
    assert_eq!(view.members(id(100)).expect("it reads").count(), 39);
    assert_eq!(view.groups_of(id(1)).expect("it reads"), [id(100)]);
}

#[test]
fn of_two_rounds_of_a_part_the_later_one_begins_anew() {
    let scene = Scene::new();
    scene.users(0, users(0..3));
    let slow = scene.full(Part::Users);
    scene.users(1, vec![disabled(1)]);
    let late = slow.finish(None, &Guard::default(), at(2));
    assert!(matches!(
        late,
        Err(StoreError::Overtaken { part: Part::Users })
    ));
    assert_eq!(scene.user(1).expect("it is there").enabled, Some(false));
}

#[test]
fn a_page_of_another_part_is_refused() {
    let scene = Scene::new();
    let mut round = scene.next(Part::Roles);
    assert!(matches!(
        round.users(users(0..1)),
        Err(StoreError::Misplaced { part: Part::Roles })
    ));
    assert!(matches!(
        round.groups(Vec::new()),
        Err(StoreError::Misplaced { part: Part::Roles })
    ));
    let mut round = scene.next(Part::Users);
    assert!(matches!(
        round.documents(Vec::new()),
        Err(StoreError::Misplaced { part: Part::Users })
    ));
}

#[test]
fn a_log_grows_by_delta_rounds_and_is_replaced_by_full_ones() {
    let scene = Scene::new();
    scene.documents(0, Part::SignIns, &["1", "2"]);
    let mut round = scene.next(Part::SignIns);
    round
        .documents(vec![("3".to_owned(), b"3".to_vec())])
        .expect("it is a page");
    round
        .remove_documents(vec!["1".to_owned(), "9".to_owned()])
        .expect("it is a page");
    assert!(is_committed(&finish(round, 1, &Guard::default())));
    let names = || -> Vec<String> {
        let documents = scene.view().documents(Part::SignIns).expect("it reads");
        documents.into_keys().collect()
    };
    assert_eq!(names(), ["2", "3"]);
    assert_eq!(
        scene.documents(2, Part::SignIns, &["2", "3"]),
        Outcome::Unchanged
    );
    scene.documents(3, Part::SignIns, &["4"]);
    assert_eq!(names(), ["4"]);
    assert_eq!(
        scene.view().documents(Part::Roles).expect("it reads").len(),
        0
    );
}

//! What was: at any time, and since when nobody knows.

mod stores;

use redb::{Database, TableDefinition};
use stores::{Scene, TENANT, at, disabled, id, user, users};
use weir_entra::model::{Id, Item, Part};
use weir_entra::round::Outcome;
use weir_entra::store::{Chain, Failure, Gap, Store, StoreError, What};

#[test]
fn the_past_is_known_since_the_first_complete_sync() {
    let scene = Scene::new();
    scene.users(10, users(0..3));
    scene.users(20, vec![disabled(1), user(3)]);
    scene.users(30, vec![Item::Purged(id(1))]);
    let then = |minute| scene.store.as_of(at(minute)).expect("it reads");
    let names = |minute| -> Vec<Id> {
        let view = then(minute);
        let users = view.users().expect("there is evidence");
        users.map(|user| user.expect("it reads").0).collect()
    };
    assert_eq!(names(10), [id(0), id(1), id(2)]);
    assert_eq!(names(29), [id(0), id(1), id(2), id(3)]);
    assert_eq!(names(30), [id(0), id(2), id(3)]);
    let enabled = |minute| {
        then(minute)
            .user(id(1))
            .expect("there is evidence")
            .map(|user| user.enabled)
    };
    assert_eq!(
        (enabled(19), enabled(20), enabled(30)),
        (Some(Some(true)), Some(Some(false)), None)
    );

    let too_early = then(9).users().err().expect("nobody knows");
    assert!(
        matches!(too_early, StoreError::NoEvidence { part: Part::Users, since: Some(since) } if since == at(10))
    );
    let never = then(30).groups().err().expect("nobody knows");
    assert!(matches!(
        never,
        StoreError::NoEvidence {
            part: Part::Groups,
            since: None
        }
    ));
}

#[test]
fn what_is_pruned_is_not_known_any_more_and_the_chain_holds() {
    let scene = Scene::new();
    scene.users(10, users(0..3));
    scene.users(20, vec![disabled(1)]);
    scene.users(30, vec![disabled(2)]);
    assert_eq!(scene.store.prune(at(5), at(40)).expect("it is written"), 0);
    let pruned = scene.store.prune(at(25), at(40)).expect("it is written");
    assert_eq!(pruned, 3);
    assert!(matches!(
        scene.store.verify().expect("it reads"),
        Chain::Whole { entries: 3, .. }
    ));
    let since = |minute| {
        let view = scene.store.as_of(at(minute)).expect("it reads");
        view.user(id(2))
            .map(|user| user.and_then(|user| user.enabled))
    };
    assert!(
        matches!(since(19), Err(StoreError::NoEvidence { since: Some(since), .. }) if since == at(20))
    );
    assert_eq!(since(20).expect("there is evidence"), Some(true));
    assert_eq!(since(30).expect("there is evidence"), Some(false));
}

#[test]
fn an_entry_that_was_altered_or_taken_away_is_found() {
    let scene = Scene::new();
    scene.users(10, users(0..3));
    for minute in 20..25 {
        scene.users(minute, vec![user(u128::from(minute.unsigned_abs()))]);
    }
    let path = scene.path();
    let Chain::Whole { entries, head } = scene.store.verify().expect("it reads") else {
        panic!("nobody touched it");
    };
    let last = scene
        .store
        .journal(at(0), at(99))
        .expect("it reads")
        .last()
        .expect("there are some");
    assert_eq!((last.expect("it reads").hash, entries), (head, 11));
    let _directory = scene.close();

    let journal: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
    let row = |number: u64| {
        let database = Database::create(&path).expect("nobody else has it");
        let transaction = database.begin_write().expect("nobody else writes");
        let table = transaction.open_table(journal).expect("it is there");
        redb::ReadableTable::get(&table, number)
            .expect("it reads")
            .map(|row| row.value().to_vec())
            .expect("it is there")
    };
    let edit = |number: u64, row: Option<&[u8]>| {
        {
            let database = Database::create(&path).expect("nobody else has it");
            let transaction = database.begin_write().expect("nobody else writes");
            let mut table = transaction.open_table(journal).expect("it is there");
            match row {
                Some(row) => drop(table.insert(number, row).expect("there is room")),
                None => drop(table.remove(number).expect("it is there")),
            }
            drop(table);
            transaction.commit().expect("there is room");
        }
        let store = Store::open(&path, TENANT).expect("the file is whole");
        store.store.verify().expect("it reads")
    };
    for number in [1, 4, 11] {
        let whole = row(number);
        let mut altered = whole.clone();
        *altered.last_mut().expect("it is long") ^= 1;
        assert_eq!(edit(number, Some(&altered)), Chain::Broken { number });
        assert_eq!(edit(number, None), Chain::Broken { number });
        assert_eq!(edit(number, Some(&whole)), Chain::Whole { entries, head });
    }
    assert_eq!(edit(12, Some(&row(11))), Chain::Broken { number: 12 });
}

#[test]
fn failures_are_kept_and_leave_a_gap() {
    let scene = Scene::new();
    let state = || {
        scene
            .store
            .parts()
            .expect("it reads")
            .remove(&Part::Users)
            .expect("it was tried")
    };
    let failed = |minute, code| {
        scene
            .store
            .failed(Part::Users, code, at(minute))
            .expect("it is written");
    };
    scene.users(0, users(0..3));
    failed(10, "AADSTS7000222");
    failed(15, "AADSTS7000222");
    failed(20, "timeout: secret=hunter2\n");
    assert_eq!(
        state().failure,
        Some(Failure {
            code: "timeoutsecrethunter2".to_owned(),
            since: at(10)
        })
    );
    assert_eq!(
        (state().last_success, state().last_attempt),
        (Some(at(0)), Some(at(20)))
    );
    assert_eq!(scene.view().users().expect("it reads").count(), 3);
    let open = Gap {
        part: Part::Users,
        from: Some(at(0)),
        until: None,
        code: "timeoutsecrethunter2".to_owned(),
    };
    assert_eq!(
        scene.store.gaps(at(0), at(30)).expect("it reads"),
        std::slice::from_ref(&open)
    );

    assert_eq!(scene.users(30, vec![]), Outcome::Unchanged);
    assert_eq!(
        (state().failure, state().last_success),
        (None, Some(at(30)))
    );
    let closed = Gap {
        until: Some(at(30)),
        ..open
    };
    assert_eq!(
        scene.store.gaps(at(25), at(26)).expect("it reads"),
        [closed]
    );
    assert_eq!(scene.store.gaps(at(31), at(40)).expect("it reads"), []);
    let entries = scene.store.journal(at(1), at(29)).expect("it reads");
    let failing = entries
        .filter(|entry| matches!(entry.as_ref().expect("it reads").what, What::Failing { .. }));
    assert_eq!(failing.count(), 2);
}

#[test]
fn a_clock_that_goes_back_does_not_turn_the_journal_round() {
    let scene = Scene::new();
    scene.users(10, users(0..3));
    scene.users(5, vec![disabled(1)]);
    let enabled = |minute| {
        let view = scene.store.as_of(at(minute)).expect("it reads");
        view.user(id(1))
            .expect("there is evidence")
            .and_then(|user| user.enabled)
    };
    assert_eq!(enabled(10), Some(false));
    let times: Vec<_> = scene
        .store
        .journal(at(0), at(99))
        .expect("it reads")
        .map(|entry| entry.expect("it reads").at)
        .collect();
    assert!(times.is_sorted() && times[0] == at(10), "{times:?}");
}

#[test]
fn a_clock_that_was_far_ahead_does_not_hide_what_came_after() {
    let scene = Scene::new();
    scene.users(10_000_000, users(0..3));
    scene.users(10, vec![disabled(0)]);
    scene.users(20_000_000, vec![disabled(1)]);
    scene.users(20, vec![disabled(2)]);
    let enabled = |minute| -> Vec<bool> {
        let view = scene.store.as_of(at(minute)).expect("it reads");
        let users = view.users().expect("there is evidence");
        users
            .map(|user| user.expect("it reads").1.enabled == Some(true))
            .collect()
    };
    assert_eq!(enabled(15), [false, true, true]);
    assert_eq!(enabled(20), [false, false, false]);
    scene.store.prune(at(15), at(30)).expect("it is written");
    assert_eq!(enabled(15), [false, true, true]);
    let chain = scene.store.verify().expect("it reads");
    // What the last two rounds left, and that entries were taken away.
    assert!(
        matches!(chain, Chain::Whole { entries: 5, .. }),
        "{chain:?}"
    );
}

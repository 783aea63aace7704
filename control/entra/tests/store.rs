//! The file: whose it is, what it remembers, and what becomes of it.

mod stores;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use redb::{Database, TableDefinition};
use stores::{Scene, TENANT, World, at, gone, group, id, member, user, users};
use weir_entra::guard::Guard;
use weir_entra::model::{Id, Item, Part};
use weir_entra::round::{Kind, Outcome};
use weir_entra::store::{Chain, Store, StoreError, What};

fn refused(path: &std::path::Path, tenant: Id) -> StoreError {
    Store::open(path, tenant).err().expect("it is refused")
}

#[test]
fn a_store_is_its_owners_alone_and_outlives_its_process() {
    let scene = Scene::new();
    scene.users(0, users(0..3));
    scene.groups(0, vec![group(100, [member(1)])]);
    let before = World::of(&scene.view()).expect("it reads");
    let path = scene.path();
    let mode = |path| {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&path), 0o600);
    assert!(matches!(refused(&path, TENANT), StoreError::InUse { .. }));

    let _directory = scene.close();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let opened = Store::open(&path, TENANT).expect("it is whole");
    assert_eq!(opened.moved_aside, None);
    assert_eq!(mode(&path), 0o600);
    let view = opened.store.read().expect("it reads");
    assert_eq!(World::of(&view).expect("it reads"), before);
    assert_eq!(
        opened
            .store
            .link(Part::Groups)
            .expect("it reads")
            .as_deref(),
        Some("link of 0")
    );
}

#[test]
fn a_store_of_another_tenant_is_refused_with_what_to_do() {
    let scene = Scene::new();
    let path = scene.path();
    let _directory = scene.close();
    let error = refused(&path, id(9));
    assert!(matches!(error, StoreError::OtherTenant { theirs, .. } if theirs == TENANT));
    let words = error.to_string();
    assert!(
        words.contains(&TENANT.to_string()) && words.contains("`tenant`"),
        "{words}"
    );
    Store::open(&path, TENANT).expect("it is as it was");
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let scene = Scene::new();
    scene.users(0, users(0..3));
    let path = scene.path();
    let _directory = scene.close();
    put_version(&path, 2);
    let error = refused(&path, TENANT);
    assert!(matches!(error, StoreError::Newer { found: 2, .. }));
    assert!(
        error.to_string().contains("start the newer version again"),
        "{error}"
    );

    put_version(&path, 1);
    let store = Store::open(&path, TENANT).expect("it is as it was").store;
    assert_eq!(
        store
            .read()
            .expect("it reads")
            .users()
            .expect("it reads")
            .count(),
        3
    );
}

fn put_version(path: &std::path::Path, version: u8) {
    let database = Database::create(path).expect("nobody else has it");
    let transaction = database.begin_write().expect("nobody else writes");
    let meta: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    transaction
        .open_table(meta)
        .expect("it is there")
        .insert("version", [version].as_slice())
        .expect("there is room");
    transaction.commit().expect("there is room");
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("theirs");
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    {
        let database = Database::create(&path).expect("it is new");
        let transaction = database.begin_write().expect("nobody else writes");
        transaction
            .open_table(table)
            .expect("it is new")
            .insert(1, 2)
            .expect("there is room");
        transaction.commit().expect("there is room");
    }
    assert!(matches!(refused(&path, TENANT), StoreError::Foreign { .. }));
}

#[test]
fn a_damaged_store_is_moved_aside_and_kept() {
    let scene = Scene::new();
    scene.users(0, users(0..50));
    let before = World::of(&scene.view()).expect("it reads");
    let path = scene.path();
    let directory = scene.close();
    let whole = fs::read(&path).expect("it is there");
    let mut moved = 0;
    let places = (0..whole.len()).step_by(whole.len() / 53);
    for place in places.chain(0..32) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x41;
        fs::write(&path, &damaged).expect("there is room");
        match Store::open(&path, TENANT) {
            Ok(opened) if opened.moved_aside.is_none() => {
                // The place held nothing that is in use.
                let view = opened.store.read().expect("it reads");
                assert_eq!(World::of(&view).expect("it reads"), before, "{place}");
            }
            Ok(opened) => {
                let aside = opened.moved_aside.expect("it was moved");
                assert!(aside.to_string().contains("read in full"), "{aside}");
                // An open may have marked it as open before it found the damage.
                assert_eq!(
                    fs::read(&aside.to).expect("it is kept").len(),
                    damaged.len(),
                    "{place}"
                );
                assert_eq!(opened.store.link(Part::Users).expect("it reads"), None);
                assert_eq!(
                    opened
                        .store
                        .read()
                        .expect("it reads")
                        .users()
                        .expect("it reads")
                        .count(),
                    0
                );
                moved += 1;
            }
            Err(error) => panic!("{place}: {error}"),
        }
    }
    assert!(moved > 10, "{moved}");
    for bytes in [
        b"no database at all".as_slice(),
        &whole[..whole.len() / 2],
        &whole[..100],
    ] {
        fs::write(&path, bytes).expect("there is room");
        let opened = Store::open(&path, TENANT).expect("it is moved aside");
        assert!(opened.moved_aside.is_some());
    }
    let files = fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(files, 1 + moved + 3);
}

#[test]
fn who_disconnects_ends_the_links_and_keeps_what_is_known() {
    let scene = Scene::new();
    scene.users(0, users(0..100));
    scene.groups(0, vec![group(100, [member(1)])]);
    let Outcome::Held { held, .. } = scene.users(1, gone(0..50)) else {
        panic!("it is much");
    };
    let running = scene.next(Part::Groups);
    scene
        .store
        .disconnect(false, "ann", at(2))
        .expect("it is written");

    assert!(matches!(
        running.finish(None, &Guard::default(), at(3)),
        Err(StoreError::Overtaken { .. })
    ));
    assert_eq!(scene.store.link(Part::Users).expect("it reads"), None);
    assert!(matches!(
        scene.store.approve(held.digest, "ann", at(3)),
        Err(StoreError::NotHeld { .. })
    ));
    assert_eq!(scene.view().users().expect("it reads").count(), 100);
    let entries = scene.store.journal(at(2), at(2)).expect("it reads");
    let last = entries.last().expect("it is noted").expect("it reads");
    assert_eq!(
        last.what,
        What::Disconnected {
            by: "ann".to_owned(),
            purged: false
        }
    );
    // What is read next is judged by what is known.
    let outcome = scene.users(4, users(50..100));
    assert!(matches!(outcome, Outcome::Held { .. }), "{outcome:?}");
}

#[test]
fn who_purges_leaves_only_the_word_that_it_was() {
    let scene = Scene::new();
    scene.users(0, users(0..2000));
    scene.users(1, vec![Item::Purged(id(1))]);
    scene.groups(0, vec![group(100, [member(1)])]);
    scene.documents(0, Part::Roles, &["owner"]);
    let size = || fs::metadata(scene.path()).expect("it is there").len();
    let before = size();
    scene
        .store
        .disconnect(true, "ann", at(2))
        .expect("it is written");

    assert_eq!(
        World::of(&scene.view()).expect("it reads"),
        World::default()
    );
    assert!(
        scene
            .view()
            .documents(Part::Roles)
            .expect("it reads")
            .is_empty()
    );
    let entries: Vec<_> = scene
        .store
        .journal(at(0), at(9))
        .expect("it reads")
        .map(|entry| entry.expect("it reads").what)
        .collect();
    assert_eq!(
        entries,
        [What::Disconnected {
            by: "ann".to_owned(),
            purged: true
        }]
    );
    assert!(matches!(
        scene.store.verify().expect("it reads"),
        Chain::Whole { entries: 1, .. }
    ));
    let then = scene.store.as_of(at(1)).expect("it reads").users().err();
    assert!(matches!(
        then,
        Some(StoreError::NoEvidence { since: None, .. })
    ));
    assert!(size() < before, "{} of {before}", size());
    let path = scene.path();
    assert!(!holds(&path, b"user 1999"));
    assert!(matches!(
        scene
            .store
            .begin(
                Part::Users,
                Kind::Delta {
                    link: "link of 1".to_owned()
                }
            )
            .err(),
        Some(StoreError::NeedsFull { .. })
    ));
    assert!(matches!(scene.users(3, users(0..3)), Outcome::Committed(_)));
}

fn holds(path: &std::path::Path, word: &[u8]) -> bool {
    let bytes = fs::read(path).expect("it is there");
    bytes.windows(word.len()).any(|piece| piece == word)
}

#[test]
fn who_reads_while_others_write_sees_one_moment() {
    let scene = Scene::new();
    let round = |number: i64| {
        let page = (0..30).map(|who| match user(who) {
            Item::Live(id, mut patch) => {
                patch.texts = stores::named(&format!("round {number}"));
                Item::Live(id, patch)
            }
            other => other,
        });
        scene.users(number, page.collect());
    };
    round(0);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::SeqCst;
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = std::collections::BTreeSet::new();
            let mut last = false;
            while !last {
                last = is_over.load(order);
                let view = scene.view();
                let names: Vec<String> = view
                    .users()
                    .expect("it reads")
                    .flat_map(|user| user.expect("it reads").1.texts.into_values())
                    .collect();
                assert_eq!(names.len(), 30);
                assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
                seen.insert(names[0].clone());
            }
            seen
        });
        let old = scene.view();
        for number in 1..30 {
            round(number);
        }
        is_over.store(true, order);
        let first = old.user(id(0)).expect("it reads").expect("it is there");
        assert_eq!(
            first.texts.values().next().map(String::as_str),
            Some("round 0")
        );
        reader.join().expect("it saw whole rounds")
    });
    assert!(seen.contains("round 29"), "{seen:?}");
}

//! The first format is still read. When this fails, what is kept has changed its shape: write the step that makes
//! the new format out of the old one, and a file like this one for the new.
//!
//! `fixtures/store-1.txt` has one row a line: table, key, and what stands there in hexadecimal.

mod stores;

use redb::{Database, Key, TableDefinition, WriteTransaction};
use stores::{Scene, TENANT, World, at, disabled, gone, group, id, member, no_member, user, users};
use weir_entra::model::{Item, Part, Text, Told, UserPatch};
use weir_entra::round::Outcome;
use weir_entra::store::{Chain, Store};

const ROWS: &str = include_str!("fixtures/store-1.txt");

/// What the rows were written by, when they were new.
fn story() -> Scene {
    let scene = Scene::new();
    let every_text = UserPatch {
        enabled: Told::Is(true),
        texts: Text::OF_USERS
            .iter()
            .map(|(text, name)| (*text, Some((*name).to_owned())))
            .collect(),
        addresses: Told::Is(["SMTP:vera@fabrik.example".to_owned()].into()),
        created: Told::Is(at(-5)),
        sessions_valid_from: Told::Is(at(-4)),
    };
    let mut first = users(2..40);
    first.push(Item::Live(id(1), every_text));
    scene.users(1, first);
    scene.groups(2, vec![group(100, [member(1), member(2)]), group(101, [])]);
    scene.documents(3, Part::ConditionalAccess, &["mfa for all"]);
    scene.users(
        4,
        vec![
            disabled(2),
            Item::Gone(id(3)),
            Item::Purged(id(4)),
            user(50),
        ],
    );
    scene.groups(
        5,
        vec![group(100, [no_member(2), member(5)]), Item::Gone(id(101))],
    );
    scene
        .store
        .failed(Part::Roles, "Authorization_RequestDenied", at(6))
        .expect("it is written");
    let held = scene.users(7, gone(10..30));
    assert!(matches!(held, Outcome::Held { .. }), "{held:?}");
    scene
}

#[test]
fn a_store_of_the_first_format_is_read() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("entra.store");
    let transaction_of = |database: &Database| database.begin_write().expect("nobody else writes");
    {
        let database = Database::create(&path).expect("it is new");
        let transaction = transaction_of(&database);
        for line in ROWS.lines() {
            let [table, key, value]: [&str; 3] = line
                .split('\t')
                .collect::<Vec<_>>()
                .try_into()
                .expect("three words");
            put(&transaction, table, key, &bytes(value));
        }
        for table in ["held", "held-changes"] {
            let any = ROWS.lines().any(|line| line.starts_with(table));
            assert!(any, "the rows tell of every table, also {table}");
        }
        transaction.commit().expect("there is room");
    }
    let store = Store::open(&path, TENANT).expect("it is read").store;

    let now = story();
    let world = |store: &Store| World::of(&store.read().expect("it reads")).expect("it reads");
    assert_eq!(world(&store), world(&now.store));
    assert_eq!(world(&store).users.len(), 39);
    assert_eq!(
        store.parts().expect("it reads"),
        now.store.parts().expect("it reads")
    );
    let then = |store: &Store| {
        World::of(&store.as_of(at(3)).expect("it reads")).expect("there is evidence")
    };
    assert_eq!(then(&store), then(&now.store));
    assert_ne!(then(&store), world(&store));
    let policies = |store: &Store| {
        store
            .read()
            .expect("it reads")
            .documents(Part::ConditionalAccess)
            .expect("it reads")
    };
    assert_eq!(policies(&store), policies(&now.store));
    let chain = store.verify().expect("it reads");
    assert!(matches!(chain, Chain::Whole { .. }), "{chain:?}");
    assert_eq!(chain, now.store.verify().expect("it reads"));
    let digest = |store: &Store| {
        store.parts().expect("it reads")[&Part::Users]
            .held
            .as_ref()
            .expect("it is held")
            .digest
    };
    assert_eq!(digest(&store), digest(&now.store));
    store
        .approve(digest(&store), "ann", at(8))
        .expect("it is held");
    assert_eq!(
        store.link(Part::Users).expect("it reads").as_deref(),
        Some("link of 7")
    );
}

fn put(transaction: &WriteTransaction, table: &str, key: &str, value: &[u8]) {
    let number = |text: &str| text.parse().expect("it is a number");
    let pair = || key.split_once(' ').expect("two keys");
    match table {
        "meta" => insert::<&str>(transaction, table, key, value),
        "users" | "groups" => insert::<u128>(transaction, table, number(key), value),
        "parts" | "held" => {
            insert::<u8>(transaction, table, key.parse().expect("it is small"), value);
        }
        "journal" => insert::<u64>(
            transaction,
            table,
            key.parse().expect("it is a number"),
            value,
        ),
        "documents" => {
            let (part, id) = pair();
            insert::<(u8, &str)>(
                transaction,
                table,
                (part.parse().expect("it is small"), id),
                value,
            );
        }
        "held-changes" => {
            let (part, place) = pair();
            let key = (
                part.parse().expect("it is small"),
                place.parse().expect("it is small"),
            );
            insert::<(u8, u32)>(transaction, table, key, value);
        }
        "edges" => {
            let (group, member) = pair();
            let edges: TableDefinition<'_, (u128, u128), u8> = TableDefinition::new("edges");
            let mut edges = transaction.open_table(edges).expect("it opens");
            edges
                .insert((number(group), number(member)), value[0])
                .expect("there is room");
        }
        other => panic!("there is no table {other}"),
    }
}

fn insert<K: Key + 'static>(
    transaction: &WriteTransaction,
    table: &str,
    key: K::SelfType<'_>,
    value: &[u8],
) {
    let table: TableDefinition<'_, K, &[u8]> = TableDefinition::new(table);
    let mut table = transaction.open_table(table).expect("it opens");
    table.insert(key, value).expect("there is room");
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digit =
        |place| u8::from_str_radix(&hexadecimal[place..place + 2], 16).expect("it is hexadecimal");
    (0..hexadecimal.len()).step_by(2).map(digit).collect()
}

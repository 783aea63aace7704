//! The process is killed at any moment: what it finds afterwards is all of a round, link and data together, or
//! nothing of it.

mod stores;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use stores::{TENANT, World, at, id, member, named, no_member};
use weir_entra::guard::{Guard, Limits};
use weir_entra::model::{Group, GroupPatch, Item, MemberKind, Part, Text, Told, User, UserPatch};
use weir_entra::round::{Kind, Round};
use weir_entra::store::{Chain, Store};

/// Tells the child where the store is.
const PATH: &str = "WEIR_TEST_STORE";
const PEOPLE: u128 = 60;

/// What round `number` tells of users: each has a name of that round; some are disabled, deleted and back.
fn user_page(number: i64) -> Vec<Item<UserPatch>> {
    (0..PEOPLE)
        .map(|who| match (i128::from(number) + who.cast_signed()) % 7 {
            0 => Item::Gone(id(who)),
            1 => Item::Purged(id(who)),
            kind => Item::Live(
                id(who),
                UserPatch {
                    enabled: Told::Is(kind == 2),
                    texts: named(&format!("round {number}")),
                    ..UserPatch::default()
                },
            ),
        })
        .collect()
}

/// What round `number` tells of groups: one member leaves each, another one comes.
fn group_page(number: i64) -> Vec<Item<GroupPatch>> {
    let (old, new) = ((number - 1).rem_euclid(7), number.rem_euclid(7));
    (100..120)
        .map(|group| {
            let edges = [
                no_member(old.cast_unsigned().into()),
                member(new.cast_unsigned().into()),
            ];
            stores::group(group, edges)
        })
        .collect()
}

fn number_of(link: Option<String>) -> i64 {
    link.map_or(0, |link| link.parse().expect("it is a round's number"))
}

fn begin(store: &Store, part: Part) -> (Round, i64) {
    let link = store.link(part).expect("it reads");
    let number = number_of(link.clone()) + 1;
    let kind = link.map_or(Kind::Full, |link| Kind::Delta { link });
    (store.begin(part, kind).expect("it goes on there"), number)
}

fn finish(round: Round, number: i64) {
    let guard = Guard {
        limits: Limits::none(),
        ..Guard::default()
    };
    round
        .finish(Some(number.to_string()), &guard, at(number))
        .expect("it can be written");
}

fn users_round(store: &Store) -> i64 {
    let (mut round, number) = begin(store, Part::Users);
    round.users(user_page(number)).expect("it is a page");
    finish(round, number);
    number
}

fn groups_round(store: &Store) -> i64 {
    let (mut round, number) = begin(store, Part::Groups);
    round.groups(group_page(number)).expect("it is a page");
    finish(round, number);
    number
}

/// The child: does round after round, and says of each that it is done.
#[test]
#[ignore = "the test below runs it as a process of its own"]
fn writes_until_it_is_killed() {
    let path = PathBuf::from(std::env::var_os(PATH).expect("the test says where"));
    let store = Store::open(&path, TENANT).expect("it is whole").store;
    println!("\nopen");
    for turn in 0.. {
        println!("users {}", users_round(&store));
        println!("groups {}", groups_round(&store));
        if turn % 4 == 3 {
            store
                .prune(
                    at(number_of(store.link(Part::Users).expect("it reads")) - 40),
                    at(0),
                )
                .expect("it can be written");
        }
    }
}

fn spawn(path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().expect("it runs"))
        .args([
            "--exact",
            "writes_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs once more");
    let said = child.stdout.take().expect("it is a pipe");
    (child, BufReader::new(said))
}

/// What the store should hold after so many rounds of each part.
fn expected(users: i64, groups: i64) -> World {
    let mut world = World::default();
    let text = |name: String| BTreeMap::from([(Text::DisplayName, name)]);
    for who in 0..PEOPLE {
        let (gone, round, kind) = match (i128::from(users) + who.cast_signed()) % 7 {
            // Deleted by the last round, as the round before it left them.
            0 => (Some(at(users)), users - 1, 6),
            kind => (None, users, kind),
        };
        if round > 0 && kind != 1 {
            let user = User {
                enabled: Some(kind == 2),
                gone,
                texts: text(format!("round {round}")),
                ..User::default()
            };
            world.users.insert(id(who), user);
        }
    }
    for group in (100..120).filter(|_| groups > 0) {
        let texts = text(format!("group {group}"));
        world.groups.insert(
            id(group),
            Group {
                texts,
                ..Group::default()
            },
        );
        let member = id(groups.rem_euclid(7).cast_unsigned().into());
        world.edges.insert((id(group), member), MemberKind::User);
    }
    world
}

#[test]
fn a_store_whose_process_is_killed_holds_whole_rounds() {
    let directory = tempfile::tempdir().expect("there is room");
    let path = directory.path().join("entra.store");
    let mut runner = TestRunner::default();
    let mut done: BTreeMap<String, i64> = BTreeMap::new();
    for _ in 0..25 {
        let delay = (0..90_000_u64).prop_map(Duration::from_micros);
        let delay = delay
            .new_tree(&mut runner)
            .expect("it is a range")
            .current();
        let from_the_start = any::<bool>()
            .new_tree(&mut runner)
            .expect("it is a choice")
            .current();
        let (mut child, mut said) = spawn(&path);
        if !from_the_start {
            let is_open = said
                .by_ref()
                .lines()
                .any(|line| line.expect("it is text") == "open");
            assert!(is_open, "the child did not come so far");
        }
        std::thread::sleep(delay);
        child.kill().expect("it runs for ever");
        child.wait().expect("it was ours");
        for line in said.lines() {
            let line = line.expect("it is text");
            if let Some((part @ ("users" | "groups"), number)) = line.split_once(' ') {
                done.insert(part.to_owned(), number.parse().expect("it is a number"));
            }
        }

        let opened = Store::open(&path, TENANT).expect("it opens");
        assert_eq!(opened.moved_aside, None);
        let store = opened.store;
        let [users, groups] =
            [(Part::Users, "users"), (Part::Groups, "groups")].map(|(part, name)| {
                let number = number_of(store.link(part).expect("it reads"));
                let said = done.get(name).copied().unwrap_or_default();
                // What was said to be done is done; one more may be.
                assert!(
                    number == said || number == said + 1,
                    "{name}: {number} after {said}"
                );
                done.insert(name.to_owned(), number);
                number
            });
        let world = World::of(&store.read().expect("it reads")).expect("it reads");
        assert_eq!(world, expected(users, groups), "after {users} and {groups}");
        let chain = store.verify().expect("it reads");
        assert!(matches!(chain, Chain::Whole { .. }), "{chain:?}");
    }
    assert!(done.values().all(|number| *number > 0), "{done:?}");
}

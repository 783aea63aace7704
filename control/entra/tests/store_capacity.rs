//! A large tenant, by hand:
//! `/usr/bin/time -v cargo test --release -p weir-entra --test store_capacity -- --ignored --nocapture`.

mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use stores::{Scene, finish, id};
use weir_entra::guard::{Guard, Watched};
use weir_entra::model::{Edge, GroupPatch, Item, MemberKind, Part, Text, Told, UserPatch};
use weir_entra::round::Outcome;
use weir_entra::store::Chain;

const USERS: u128 = 300_000;
const GROUPS: u128 = 100_000;
const MEMBERS: u128 = 30;
const FIRST_GROUP: u128 = 1 << 64;
const PAGE: u128 = 200;

/// An id that has no order, as the tenant's have none.
fn mixed(number: u128) -> weir_entra::model::Id {
    id(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn user(number: u128) -> Item<UserPatch> {
    let texts = Text::OF_USERS
        .iter()
        .take(10)
        .map(|(text, name)| (*text, Some(format!("{name} of somebody {number}"))));
    let patch = UserPatch {
        enabled: Told::Is(true),
        texts: texts.collect::<BTreeMap<_, _>>(),
        addresses: Told::Is(BTreeSet::from([format!(
            "SMTP:somebody.{number}@fabrik.example"
        )])),
        ..UserPatch::default()
    };
    Item::Live(mixed(number), patch)
}

fn group(number: u128) -> Item<GroupPatch> {
    let members = (0..MEMBERS).map(|place| Edge {
        member: mixed((number * 7919 + place * 104_729) % USERS),
        kind: MemberKind::User,
        is_member: true,
    });
    let patch = GroupPatch {
        texts: stores::named(&format!("group {number}")),
        security: Told::Is(true),
        members: members.collect(),
        ..GroupPatch::default()
    };
    Item::Live(mixed(FIRST_GROUP + number), patch)
}

struct Clock(Instant);

impl Clock {
    fn tell(&mut self, what: &str) {
        println!(
            "{what}: {:.2} s, {}",
            self.0.elapsed().as_secs_f64(),
            memory()
        );
        self.0 = Instant::now();
    }
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let of = |name| {
        status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .to_owned()
    };
    format!("{} {}", of("VmRSS"), of("VmHWM")).replace('\t', " ")
}

fn full(scene: &Scene, clock: &mut Clock, minute: i64, is_as_expected: fn(&Outcome) -> bool) {
    let mut round = scene.full(Part::Users);
    for page in 0..USERS / PAGE {
        round
            .users((page * PAGE..(page + 1) * PAGE).map(user).collect())
            .expect("it fits");
    }
    clock.tell("users staged");
    let users = finish(round, minute, &Guard::default());
    clock.tell("users finished");
    assert!(is_as_expected(&users));
    drop(users);
    let mut round = scene.full(Part::Groups);
    for page in 0..GROUPS / PAGE {
        round
            .groups((page * PAGE..(page + 1) * PAGE).map(group).collect())
            .expect("it fits");
    }
    clock.tell("groups staged");
    let groups = finish(round, minute, &Guard::default());
    clock.tell("groups finished");
    assert!(is_as_expected(&groups));
}

#[test]
#[ignore = "it takes a minute, and shows numbers for a person to read"]
fn a_large_tenant() {
    let mut clock = Clock(Instant::now());
    let scene = Scene::new();
    full(&scene, &mut clock, 0, |outcome| {
        matches!(outcome, Outcome::Committed(_))
    });
    full(&scene, &mut clock, 1, |outcome| {
        *outcome == Outcome::Unchanged
    });
    let watched = (0..50).map(|number| mixed(FIRST_GROUP + number)).collect();
    let guard = Guard {
        watched: Watched {
            groups: watched,
            ..Watched::default()
        },
        ..Guard::default()
    };
    let disabled = UserPatch {
        enabled: Told::Is(false),
        ..UserPatch::default()
    };
    let outcome = scene.users_judged(2, vec![Item::Live(mixed(1), disabled)], &guard);
    assert!(matches!(outcome, Outcome::Committed(_)));
    clock.tell("one user disabled");
    let outcome = scene.users_judged(
        3,
        (0..USERS / 2)
            .map(|number| Item::Gone(mixed(number)))
            .collect(),
        &guard,
    );
    let Outcome::Held { held, .. } = outcome else {
        panic!("it is much");
    };
    clock.tell("half the users held");
    scene
        .store
        .approve(held.digest, "ann", stores::at(4))
        .expect("it is held");
    clock.tell("half the users approved");
    let then = scene.store.as_of(stores::at(2)).expect("it reads");
    let live = then
        .users()
        .expect("there is evidence")
        .filter(|user| user.as_ref().is_ok_and(|(_, user)| user.gone.is_none()));
    assert_eq!(live.count() as u128, USERS);
    clock.tell("users as of before");
    assert_eq!(
        scene.view().edges().expect("it reads").count() as u128,
        GROUPS * MEMBERS
    );
    clock.tell("memberships read");
    assert!(matches!(
        scene.store.verify().expect("it reads"),
        Chain::Whole { .. }
    ));
    clock.tell("journal verified");
    let path = scene.path();
    println!(
        "file: {} MB",
        std::fs::metadata(&path).expect("it is there").len() >> 20
    );
    let _directory = scene.close();
    let opened = weir_entra::store::Store::open(&path, stores::TENANT).expect("it is whole");
    clock.tell("opened again");
    drop(opened);
}

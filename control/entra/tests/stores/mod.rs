//! A store in a directory of its own, and short words for what a tenant tells.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use weir_entra::guard::Guard;
use weir_entra::model::{
    Edge, Group, GroupPatch, Id, Item, MemberKind, Part, Text, Told, User, UserPatch,
};
use weir_entra::round::{Kind, Outcome, Round};
use weir_entra::store::{Store, StoreError, View};

pub const TENANT: Id = Id::from_u128(0x7d3c_1a52);

pub struct Scene {
    directory: TempDir,
    pub store: Store,
}

impl Scene {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("entra.store");
        let opened = Store::open(&path, TENANT).expect("it is new");
        assert_eq!(opened.moved_aside, None);
        Self {
            directory,
            store: opened.store,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.store.path().to_owned()
    }

    /// What is left when the process ends.
    pub fn close(self) -> TempDir {
        self.directory
    }

    pub fn users(&self, minute: i64, page: Vec<Item<UserPatch>>) -> Outcome {
        self.users_judged(minute, page, &Guard::default())
    }

    pub fn users_judged(&self, minute: i64, page: Vec<Item<UserPatch>>, guard: &Guard) -> Outcome {
        let mut round = self.next(Part::Users);
        round.users(page).expect("it is a round of users");
        finish(round, minute, guard)
    }

    pub fn all_users(&self, minute: i64, page: Vec<Item<UserPatch>>, guard: &Guard) -> Outcome {
        let mut round = self.full(Part::Users);
        round.users(page).expect("it is a round of users");
        finish(round, minute, guard)
    }

    pub fn groups(&self, minute: i64, page: Vec<Item<GroupPatch>>) -> Outcome {
        self.groups_judged(minute, page, &Guard::default())
    }

    pub fn groups_judged(
        &self,
        minute: i64,
        page: Vec<Item<GroupPatch>>,
        guard: &Guard,
    ) -> Outcome {
        let mut round = self.next(Part::Groups);
        round.groups(page).expect("it is a round of groups");
        finish(round, minute, guard)
    }

    pub fn documents(&self, minute: i64, part: Part, names: &[&str]) -> Outcome {
        let mut round = self.full(part);
        let page = names
            .iter()
            .map(|name| ((*name).to_owned(), name.as_bytes().to_vec()));
        round
            .documents(page.collect())
            .expect("it is a round of documents");
        finish(round, minute, &Guard::default())
    }

    /// A round that goes on where the last one ended; the first one is full.
    pub fn next(&self, part: Part) -> Round {
        let kind = match self.store.link(part).expect("it reads") {
            Some(link) => Kind::Delta { link },
            None => Kind::Full,
        };
        self.store.begin(part, kind).expect("it goes on there")
    }

    pub fn full(&self, part: Part) -> Round {
        self.store
            .begin(part, Kind::Full)
            .expect("that is always possible")
    }

    pub fn view(&self) -> View {
        self.store.read().expect("it reads")
    }

    pub fn user(&self, number: u128) -> Option<User> {
        self.view().user(id(number)).expect("it reads")
    }
}

pub fn finish(round: Round, minute: i64, guard: &Guard) -> Outcome {
    round
        .finish(Some(format!("link of {minute}")), guard, at(minute))
        .expect("it can be written")
}

pub fn id(number: u128) -> Id {
    Id::from_u128(number)
}

pub fn at(minute: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::minutes(minute)
}

pub fn named(name: &str) -> BTreeMap<Text, Option<String>> {
    BTreeMap::from([(Text::DisplayName, Some(name.to_owned()))])
}

/// A user who is enabled.
pub fn user(number: u128) -> Item<UserPatch> {
    let patch = UserPatch {
        enabled: Told::Is(true),
        texts: named(&format!("user {number}")),
        ..UserPatch::default()
    };
    Item::Live(id(number), patch)
}

pub fn users(numbers: std::ops::Range<u128>) -> Vec<Item<UserPatch>> {
    numbers.map(user).collect()
}

pub fn disabled(number: u128) -> Item<UserPatch> {
    let patch = UserPatch {
        enabled: Told::Is(false),
        ..UserPatch::default()
    };
    Item::Live(id(number), patch)
}

pub fn gone<P>(numbers: std::ops::Range<u128>) -> Vec<Item<P>> {
    numbers.map(|number| Item::Gone(id(number))).collect()
}

pub fn member(number: u128) -> Edge {
    Edge {
        member: id(number),
        kind: MemberKind::User,
        is_member: true,
    }
}

pub fn no_member(number: u128) -> Edge {
    Edge {
        is_member: false,
        ..member(number)
    }
}

pub fn group(number: u128, members: impl IntoIterator<Item = Edge>) -> Item<GroupPatch> {
    let patch = GroupPatch {
        texts: named(&format!("group {number}")),
        members: members.into_iter().collect(),
        ..GroupPatch::default()
    };
    Item::Live(id(number), patch)
}

/// All that a view shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    pub users: BTreeMap<Id, User>,
    pub groups: BTreeMap<Id, Group>,
    pub edges: BTreeMap<(Id, Id), MemberKind>,
}

impl World {
    pub fn of(view: &View) -> Result<Self, StoreError> {
        Ok(Self {
            users: view.users()?.collect::<Result<_, _>>()?,
            groups: view.groups()?.collect::<Result<_, _>>()?,
            edges: view
                .edges()?
                .map(|edge| edge.map(|(group, member, kind)| ((group, member), kind)))
                .collect::<Result<_, _>>()?,
        })
    }
}

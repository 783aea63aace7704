//! Any rounds, in any order, against a model that does one thing after the other.

mod stores;

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use stores::{Scene, World, at, id};
use time::OffsetDateTime;
use weir_entra::guard::{Guard, Limits};
use weir_entra::model::{
    Changes, Edge, GroupPatch, Id, Item, MemberKind, Part, Text, Told, UserPatch,
};
use weir_entra::round::{Kind, Outcome};
use weir_entra::store::{Chain, StoreError};

/// What a round tells, page by page, and how it ends.
#[derive(Clone, Debug)]
struct Script {
    pages: Pages,
    is_full: bool,
    end: End,
}

#[derive(Clone, Debug)]
enum Pages {
    Users(Vec<Vec<Item<UserPatch>>>),
    Groups(Vec<Vec<Item<GroupPatch>>>),
    Documents(Vec<Vec<(String, Vec<u8>)>>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Finished,
    /// The connection broke after the last page that is told here.
    Broken,
    /// As broken, and the failure was told.
    Failed,
    /// Finished, and told once more from the same link by a server that forgot.
    Replayed,
}

impl Pages {
    const fn part(&self) -> Part {
        match self {
            Self::Users(_) => Part::Users,
            Self::Groups(_) => Part::Groups,
            Self::Documents(_) => Part::Roles,
        }
    }
}

fn told<T: std::fmt::Debug + Clone + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Told<T>> {
    prop_oneof![
        Just(Told::Unsaid),
        Just(Told::Null),
        some.prop_map(Told::Is)
    ]
}

fn texts() -> impl Strategy<Value = BTreeMap<Text, Option<String>>> {
    btree_map(
        select(vec![Text::Upn, Text::DisplayName, Text::Department]),
        option::of("[ab]"),
        0..3,
    )
}

fn time() -> impl Strategy<Value = OffsetDateTime> {
    (0..4_i64).prop_map(at)
}

fn user_patch() -> impl Strategy<Value = UserPatch> {
    let set = btree_set("[ab]", 0..2);
    (
        told(any::<bool>()),
        texts(),
        told(set),
        told(time()),
        told(time()),
    )
        .prop_map(
            |(enabled, texts, addresses, created, sessions_valid_from)| UserPatch {
                enabled,
                texts,
                addresses,
                created,
                sessions_valid_from,
            },
        )
}

fn edge() -> impl Strategy<Value = Edge> {
    let kinds = vec![MemberKind::User, MemberKind::Group, MemberKind::Other];
    (0..8_u128, select(kinds), any::<bool>()).prop_map(|(member, kind, is_member)| Edge {
        member: id(member),
        kind,
        is_member,
    })
}

fn group_patch() -> impl Strategy<Value = GroupPatch> {
    let types = told(btree_set("[ab]", 0..2));
    (texts(), told(any::<bool>()), types, vec(edge(), 0..5)).prop_map(
        |(texts, security, types, members)| GroupPatch {
            texts,
            security,
            mail_enabled: security,
            types,
            role_assignable: Told::Unsaid,
            members,
        },
    )
}

fn pages<P: Clone + std::fmt::Debug + 'static>(
    ids: std::ops::Range<u128>,
    patch: impl Strategy<Value = P> + 'static,
) -> impl Strategy<Value = Vec<Vec<Item<P>>>> {
    let fate = prop_oneof![
        4 => patch.prop_map(Some).prop_map(Ok),
        1 => Just(Err(true)),
        1 => Just(Err(false)),
    ];
    let item = (ids, fate).prop_map(|(number, fate)| match fate {
        Ok(patch) => Item::Live(id(number), patch.expect("it is one")),
        Err(true) => Item::Gone(id(number)),
        Err(false) => Item::Purged(id(number)),
    });
    vec(vec(item, 0..6), 0..4)
}

fn round() -> impl Strategy<Value = Script> {
    let document = ("[abc]", vec(any::<u8>(), 0..2));
    let pages = prop_oneof![
        3 => pages(0..6, user_patch()).prop_map(Pages::Users),
        3 => pages(4..10, group_patch()).prop_map(Pages::Groups),
        1 => vec(vec(document, 0..3), 0..3).prop_map(Pages::Documents),
    ];
    let end = select(vec![
        End::Finished,
        End::Finished,
        End::Replayed,
        End::Broken,
        End::Failed,
    ]);
    (pages, any::<bool>(), end).prop_map(|(pages, is_full, end)| Script {
        pages,
        is_full,
        end,
    })
}

/// The tenant as whoever takes one item after the other would have it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Naive {
    world: World,
    documents: BTreeMap<String, Vec<u8>>,
}

impl Naive {
    fn take(&mut self, pages: &Pages, is_full: bool, now: OffsetDateTime) {
        match pages {
            Pages::Users(pages) => self.users(&pages.concat(), is_full, now),
            Pages::Groups(pages) => self.groups(&pages.concat(), is_full, now),
            Pages::Documents(pages) => {
                if is_full {
                    self.documents.clear();
                }
                self.documents.extend(pages.concat());
            }
        }
    }

    fn users(&mut self, items: &[Item<UserPatch>], is_full: bool, now: OffsetDateTime) {
        let old = self.world.users.clone();
        let users = &mut self.world.users;
        let (mut begun, mut purged) = (BTreeSet::new(), BTreeSet::new());
        if is_full {
            users.clear();
        }
        for item in items {
            match item {
                Item::Live(id, patch) => {
                    if is_full && begun.insert(*id) {
                        users.remove(id);
                    }
                    let user = users.entry(*id).or_default();
                    user.gone = None;
                    patch.enabled.put(&mut user.enabled);
                    patch.created.put(&mut user.created);
                    patch.sessions_valid_from.put(&mut user.sessions_valid_from);
                    for (text, value) in &patch.texts {
                        user.texts.remove(text);
                        user.texts.extend(value.clone().map(|value| (*text, value)));
                    }
                    match &patch.addresses {
                        Told::Unsaid => (),
                        Told::Null => user.addresses.clear(),
                        Told::Is(addresses) => user.addresses.clone_from(addresses),
                    }
                }
                Item::Gone(id) => {
                    if is_full && !purged.contains(id) && !users.contains_key(id) {
                        users.extend(old.get(id).map(|user| (*id, user.clone())));
                    }
                    if let Some(user) = users.get_mut(id) {
                        user.gone = old.get(id).and_then(|user| user.gone).or(Some(now));
                    }
                }
                Item::Purged(id) => {
                    users.remove(id);
                    begun.remove(id);
                    purged.insert(*id);
                }
            }
        }
    }

    fn groups(&mut self, items: &[Item<GroupPatch>], is_full: bool, now: OffsetDateTime) {
        let old = self.world.clone();
        let World { groups, edges, .. } = &mut self.world;
        let (mut begun, mut purged) = (BTreeSet::new(), BTreeSet::new());
        let mut spoken: BTreeSet<(Id, Id)> = BTreeSet::new();
        if is_full {
            groups.clear();
            edges.clear();
        }
        for item in items {
            match item {
                Item::Live(id, patch) => {
                    if is_full && begun.insert(*id) {
                        groups.remove(id);
                    }
                    let group = groups.entry(*id).or_default();
                    group.gone = None;
                    patch.security.put(&mut group.security);
                    patch.mail_enabled.put(&mut group.mail_enabled);
                    for (text, value) in &patch.texts {
                        group.texts.remove(text);
                        group
                            .texts
                            .extend(value.clone().map(|value| (*text, value)));
                    }
                    match &patch.types {
                        Told::Unsaid => (),
                        Told::Null => group.types.clear(),
                        Told::Is(types) => group.types.clone_from(types),
                    }
                    for edge in &patch.members {
                        let key = (*id, edge.member);
                        spoken.insert(key);
                        edges.remove(&key);
                        edges.extend(edge.is_member.then_some((key, edge.kind)));
                    }
                }
                Item::Gone(id) => {
                    if is_full && !purged.contains(id) && !groups.contains_key(id) {
                        groups.extend(old.groups.get(id).map(|group| (*id, group.clone())));
                    }
                    if let Some(group) = groups.get_mut(id) {
                        group.gone = old
                            .groups
                            .get(id)
                            .and_then(|group| group.gone)
                            .or(Some(now));
                    }
                }
                Item::Purged(id) => {
                    groups.remove(id);
                    edges.retain(|(group, _), _| group != id);
                    spoken.retain(|(group, _)| group != id);
                    begun.remove(id);
                    purged.insert(*id);
                }
            }
        }
        if is_full {
            // Who is soft-deleted at last keeps the members that nothing was said of.
            for (key, kind) in old.edges {
                let is_gone = groups.get(&key.0).is_some_and(|group| group.gone.is_some());
                if is_gone && !purged.contains(&key.0) && !spoken.contains(&key) {
                    edges.insert(key, kind);
                }
            }
        }
    }
}

fn put_all<K: Ord + Clone, V: Clone>(into: &mut BTreeMap<K, V>, changes: &BTreeMap<K, Option<V>>) {
    for (key, value) in changes {
        into.remove(key);
        into.extend(value.clone().map(|value| (key.clone(), value)));
    }
}

fn apply(changes: &Changes, to: &mut World) {
    put_all(&mut to.users, &changes.users);
    put_all(&mut to.groups, &changes.groups);
    put_all(&mut to.edges, &changes.edges);
}

fn lenient() -> Guard {
    Guard {
        limits: Limits::none(),
        ..Guard::default()
    }
}

/// Runs a round, and gives what it changed; nothing if it did not end well.
fn run(scene: &Scene, told: &Script, kind: Kind, minute: i64) -> Option<Changes> {
    let part = told.pages.part();
    let mut round = scene
        .store
        .begin(part, kind)
        .expect("the link is the one that is kept");
    match told.pages.clone() {
        Pages::Users(pages) => pages.into_iter().try_for_each(|page| round.users(page)),
        Pages::Groups(pages) => pages.into_iter().try_for_each(|page| round.groups(page)),
        Pages::Documents(pages) => pages.into_iter().try_for_each(|page| round.documents(page)),
    }
    .expect("it is a page of this part");
    if matches!(told.end, End::Broken | End::Failed) {
        drop(round);
        if told.end == End::Failed {
            scene
                .store
                .failed(part, "truncated", at(minute))
                .expect("it can be written");
        }
        return None;
    }
    let link = Some(format!("{part:?} {minute}"));
    match round
        .finish(link, &lenient(), at(minute))
        .expect("it can be written")
    {
        Outcome::Committed(changes) => Some(changes),
        Outcome::Unchanged => Some(Changes::default()),
        Outcome::Held { .. } => panic!("nothing is held by these limits"),
    }
}

// The documents of a policy that is held back would need limits; `Emptied` has none, so no page empties one here.
fn empties(told: &Script, naive: &Naive) -> bool {
    let Pages::Documents(pages) = &told.pages else {
        return false;
    };
    told.is_full && pages.concat().is_empty() && !naive.documents.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn rounds_have_the_tenant_right_or_unchanged(rounds in vec(round(), 1..12)) {
        let scene = Scene::new();
        let mut naive = Naive::default();
        let mut mirror = World::default();
        let mut since: BTreeMap<Part, i64> = BTreeMap::new();
        let mut history = Vec::new();
        for (told, minute) in rounds.into_iter().zip(1_i64..) {
            let part = told.pages.part();
            let link = scene.store.link(part).expect("it reads");
            let told = Script { is_full: told.is_full || link.is_none(), ..told };
            if empties(&told, &naive) {
                continue;
            }
            let kind = match link {
                Some(link) if !told.is_full => Kind::Delta { link },
                _ => Kind::Full,
            };
            let before = naive.clone();
            if let Some(changes) = run(&scene, &told, kind, minute) {
                naive.take(&told.pages, told.is_full, at(minute));
                apply(&changes, &mut mirror);
                apply(&changes, &mut mirror);
                since.entry(part).or_insert(minute);
                let link = scene.store.link(part).expect("it reads");
                prop_assert_eq!(link, Some(format!("{part:?} {minute}")));
                prop_assert_eq!(changes.documents.contains(&part), naive.documents != before.documents);
            }
            if told.end == End::Replayed {
                let link = scene.store.link(part).expect("it reads").expect("it was kept");
                let kind = if told.is_full { Kind::Full } else { Kind::Delta { link } };
                prop_assert_eq!(run(&scene, &told, kind, minute), Some(Changes::default()));
            }
            let now = World::of(&scene.view()).expect("it reads");
            prop_assert_eq!(&now, &naive.world);
            prop_assert_eq!(&mirror, &naive.world);
            history.push((minute, since.clone(), naive.clone()));
        }
        // Every moment is still known, between the rounds too.
        for (minute, since, then) in &history {
            for after in [0, 30] {
                let view = scene.store.as_of(at(*minute) + time::Duration::seconds(after)).expect("it reads");
                let is_known = |part: &Part| since.contains_key(part);
                match World::of(&view) {
                    Ok(world) => prop_assert_eq!(&world, &then.world),
                    Err(StoreError::NoEvidence { .. }) => {
                        prop_assert!(!is_known(&Part::Users) || !is_known(&Part::Groups));
                    }
                    Err(error) => panic!("{error}"),
                }
                match view.documents(Part::Roles) {
                    Ok(documents) => prop_assert_eq!(&documents, &then.documents),
                    Err(StoreError::NoEvidence { .. }) => prop_assert!(!is_known(&Part::Roles)),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let chain = scene.store.verify().expect("it reads");
        let is_whole = matches!(chain, Chain::Whole { .. });
        prop_assert!(is_whole, "{:?}", chain);
        for (id, user) in &naive.world.users {
            prop_assert_eq!(scene.view().user(*id).expect("it reads"), Some(user.clone()));
        }
    }
}

//! What the tenant says of principals, against a model that knows the tenant itself and every way in which what
//! nobody knows could be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;
use weir_abi::Class;
use weir_config::GroupClass;
use weir_control::ledger::Reach;
use weir_control::witness::{Account, Later, Witness};
use weir_directory::{Builder, Head, NewGroup, NewUser, Snapshot};
use weir_entra::closure::{Applied, Move, Moves};
use weir_entra::sync::Revision;
use weir_link::PrincipalId;
use weir_policy::Lean;

const TENANT: Uuid = Uuid::from_u128(0x7e_0a07);
const USERS: usize = 3;
/// The last two bear one name; the second shows not all of its members.
const NAMES: [&str; 5] = ["staff", "hidden", "contractors", "twins", "twins"];
const HIDDEN: usize = 1;
const MAX_AGE: Duration = Duration::from_secs(1000);
const STALE: i64 = 2000;

/// Something that happens in the tenant, or to what is known of it.
#[derive(Clone, Debug)]
enum Act {
    Join(usize, usize),
    Leave(usize, usize),
    Disable(usize),
    Enable(usize),
    Delete(usize),
    Create(usize),
    /// Too much to tell one by one: somebody joins, and that is all that is told.
    Storm(usize, usize),
    /// A picture is drawn; it comes with the next one.
    Draw,
    Wait(i64),
}

/// How a group is bound: by name or by id, or a word for no group at all.
#[derive(Clone, Debug)]
struct Bound {
    group: usize,
    by_id: bool,
    class: Class,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (user, group) = (0..USERS, 0..NAMES.len());
    let act = prop_oneof![
        5 => (user.clone(), group.clone()).prop_map(|(user, group)| Act::Join(user, group)),
        4 => (user.clone(), group.clone()).prop_map(|(user, group)| Act::Leave(user, group)),
        1 => user.clone().prop_map(Act::Disable),
        1 => user.clone().prop_map(Act::Enable),
        1 => user.clone().prop_map(Act::Delete),
        1 => user.clone().prop_map(Act::Create),
        1 => (user, group).prop_map(|(user, group)| Act::Storm(user, group)),
        4 => Just(Act::Draw),
        3 => prop_oneof![8 => 0..3_i64, 1 => Just(STALE)].prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 1..40)
}

fn bindings() -> impl Strategy<Value = Vec<Bound>> {
    let class = prop_oneof![
        Just(Class::Managed),
        Just(Class::Bypass),
        Just(Class::Unmanaged),
        Just(Class::Blocked)
    ];
    let bound = (0..=NAMES.len(), any::<bool>(), class);
    let bound = bound.prop_map(|(group, by_id, class)| Bound {
        group,
        by_id,
        class,
    });
    proptest::collection::vec(bound, 0..4)
}

/// The tenant as it is.
#[derive(Clone, Default)]
struct World {
    members: BTreeSet<(usize, usize)>,
    disabled: BTreeSet<usize>,
    gone: BTreeSet<usize>,
}

impl World {
    fn draw(&self, at: i64) -> Snapshot<Vec<u8>> {
        let mut builder = Builder::new(Head {
            tenant: TENANT,
            epoch: 1,
            taken_at: at,
            checked: [Some(at); 3],
        });
        let built = "they come in order";
        for (number, name) in NAMES.iter().enumerate() {
            let group = NewGroup {
                id: group_id(number),
                name: Some(name),
                complete: number != HIDDEN,
            };
            builder.group(group).expect(built);
        }
        for user in (0..USERS).filter(|user| !self.gone.contains(user)) {
            let groups = (0_u32..).zip(0..NAMES.len());
            let groups = groups.filter(|(_, group)| self.members.contains(&(user, *group)));
            let groups: Vec<u32> = groups.map(|(number, _)| number).collect();
            let set = builder.set(&groups).expect(built);
            let user = NewUser {
                id: user_id(user),
                enabled: Some(!self.disabled.contains(&user)),
                groups: set,
            };
            builder.user(user, []).expect(built);
        }
        Snapshot::parse(builder.finish().expect(built)).expect("as it was written")
    }

    /// Changes it; what is told of that.
    fn act(&mut self, act: &Act) -> Option<Revision> {
        let mut applied = Applied::default();
        let moved = |user: usize, added: Vec<usize>, removed: Vec<usize>| {
            let ids = |groups: Vec<usize>| groups.into_iter().map(group_id).collect();
            Moves::Each(vec![Move {
                user: user_id(user),
                added: ids(added),
                removed: ids(removed),
            }])
        };
        match *act {
            Act::Join(user, _) | Act::Leave(user, _) | Act::Storm(user, _)
                if self.gone.contains(&user) =>
            {
                return None;
            }
            Act::Join(user, group) if self.members.insert((user, group)) => {
                applied.moves = moved(user, vec![group], vec![]);
            }
            Act::Leave(user, group) if self.members.remove(&(user, group)) => {
                applied.moves = moved(user, vec![], vec![group]);
            }
            Act::Storm(user, group) => {
                self.members.insert((user, group));
                applied.moves = Moves::Many;
            }
            Act::Disable(user) if !self.gone.contains(&user) && self.disabled.insert(user) => {
                applied.disabled.push(user_id(user));
            }
            Act::Enable(user) if !self.gone.contains(&user) && self.disabled.remove(&user) => {
                applied.back.push(user_id(user));
            }
            Act::Delete(user) if self.gone.insert(user) => {
                let groups = (0..NAMES.len()).filter(|group| self.members.remove(&(user, *group)));
                applied.moves = moved(user, vec![], groups.collect());
                applied.gone.push(user_id(user));
                self.disabled.remove(&user);
            }
            Act::Create(user) if self.gone.remove(&user) => {
                applied.back.push(user_id(user));
            }
            _ => return None,
        }
        Some(Revision {
            applied,
            ..Revision::default()
        })
    }

    /// Every class that somebody could have, if those who may be in these groups are or are not.
    fn reaches(
        &self,
        user: usize,
        bound: &[Bound],
        unsure: &dyn Fn(usize) -> bool,
    ) -> BTreeSet<Class> {
        let doubtful: Vec<_> = bound.iter().filter(|one| unsure(one.group)).collect();
        let ways = 0_u32..1 << doubtful.len();
        let classes = ways.map(|way| {
            let sure = bound.iter().filter(|one| !unsure(one.group));
            let sure = sure.filter(|one| self.members.contains(&(user, one.group)));
            let maybe = doubtful.iter().enumerate();
            let maybe = maybe
                .filter(|(bit, _)| way & 1 << bit != 0)
                .map(|(_, one)| *one);
            let all = sure.chain(maybe).map(|one| one.class);
            all.max_by_key(|class| limits(*class))
                .unwrap_or(Class::Managed)
        });
        classes.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn what_is_known_is_so_and_what_is_not_known_opens_nothing(acts in acts(), bound in bindings()) {
        let config: Vec<GroupClass> = bound.iter().map(config).collect();
        let mut world = World::default();
        let mut later = Later::default();
        let mut picture: Option<(i64, World)> = None;
        let mut drawing: Option<(i64, World)> = None;
        let mut blind: Option<i64> = None;
        let mut now = 10_000;
        // What was told of whom, since the picture: who is in a group is known even where it hides.
        let mut told: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        for act in &acts {
            let before = world.members.clone();
            match act {
                Act::Wait(time) => now += time,
                Act::Draw => {
                    if let Some(drawn) = drawing.replace((now, world.clone())) {
                        later.forget(drawn.0.unsigned_abs());
                        picture = Some(drawn);
                    }
                }
                act => {
                    if let Some(mut revision) = world.act(act) {
                        revision.epoch = now.unsigned_abs();
                        if revision.applied.moves == Moves::Many {
                            blind = Some(now);
                            told.clear();
                        } else {
                            for one in before.symmetric_difference(&world.members) {
                                told.insert(*one, now);
                            }
                        }
                        later.add(&revision);
                    }
                }
            }
            let snapshot = picture.as_ref().map(|(at, world)| world.draw(*at));
            let view = snapshot.as_ref().map(|snapshot| (snapshot, snapshot.at(now, MAX_AGE)));
            let asked = NAMES.iter().map(|name| Lean::Group(name));
            let witness = Witness::new(TENANT, &config, asked, view, &later);
            let drawn = picture.as_ref().map(|(at, _)| *at);
            let fresh = drawn.is_some_and(|at| now - at <= 1000);
            let blind = blind.is_some_and(|at| drawn.is_none_or(|drawn| at >= drawn));
            for user in 0..USERS {
                let who = PrincipalId::new(TENANT.as_u128(), user_id(user).as_u128());
                let there = picture.as_ref().is_some_and(|(_, world)| !world.gone.contains(&user));
                let unsure = |group: usize, by_id: bool| {
                    // No name is known where there is no picture, and that of several is nobody's.
                    let named = group < NAMES.len() && (by_id || picture.is_some() && NAMES[group] != "twins");
                    let was_told = told.get(&(user, group)).is_some_and(|at| drawn.is_none_or(|drawn| *at >= drawn));
                    let hides = group == HIDDEN && !world.members.contains(&(user, group));
                    !(named && (was_told || fresh && !blind && there && !hides))
                };
                let unsure_of: Vec<bool> = bound.iter().map(|one| unsure(one.group, one.by_id)).collect();
                // By which binding, since the same group may be bound by its name and by its id.
                let numbered: Vec<Bound> = bound.iter().enumerate()
                    .map(|(number, one)| Bound { group: number, ..one.clone() }).collect();
                let as_bound = World {
                    members: (0..bound.len()).filter(|number| world.members.contains(&(user, bound[*number].group)))
                        .map(|number| (user, number)).collect(),
                    ..World::default()
                };
                let possible = as_bound.reaches(user, &numbered, &|number| unsure_of[number]);
                let effects: BTreeSet<u8> = possible.iter().map(|class| opens(*class)).collect();
                let (reach, because) = witness.reach(who);
                match reach {
                    Reach::Unknown => prop_assert!(effects.len() > 1, "{because} though it is certain: {possible:?}"),
                    Reach::UpTo(class) => {
                        prop_assert_eq!(effects.len(), 1, "{}: {:?}", because, &possible);
                        prop_assert!(effects.contains(&opens(class)), "{class:?}: {because}: {possible:?}");
                        // In doubt it is told as what it is at least.
                        prop_assert!(possible.len() > 1 || possible.contains(&class));
                    }
                }
                for (asked, answer) in witness.answers(who) {
                    let group = NAMES.iter().position(|name| asked == format!("group = \"{name}\""));
                    let group = group.expect("one that was asked");
                    if let Some(answer) = answer {
                        prop_assert_eq!(answer, world.members.contains(&(user, group)), "{}", asked);
                    } else {
                        prop_assert!(unsure(group, false), "{asked} is known");
                    }
                }
                let account = witness.account(who);
                let is_so = match account {
                    Account::Live => !world.gone.contains(&user) && !world.disabled.contains(&user),
                    Account::Disabled => !world.gone.contains(&user) && world.disabled.contains(&user),
                    Account::Gone => world.gone.contains(&user),
                    Account::Absent => fresh && world.gone.contains(&user),
                    Account::Unknown => !fresh,
                };
                prop_assert!(is_so, "{account:?}");
            }
            let stranger = PrincipalId::new(1, user_id(0).as_u128());
            prop_assert_eq!(witness.account(stranger), Account::Unknown);
            let limited = bound.iter().any(|one| opens(one.class) > 0);
            let certain = !bound.iter().any(|one| one.class != Class::Managed);
            prop_assert_eq!(witness.reach(stranger).0 == Reach::Unknown, limited && !certain);
        }
    }
}

#[test]
fn of_several_groups_the_one_counts_that_limits_most() {
    let world = World {
        members: [(0, 0), (0, 2), (1, 0)].into(),
        ..World::default()
    };
    let bound = |group: &str, class| GroupClass {
        group: group.to_owned(),
        class,
        line: 1,
    };
    let limits = [
        bound("staff", Class::Bypass),
        bound("Contractors", Class::Unmanaged),
        bound(&group_id(HIDDEN).to_string(), Class::Managed),
    ];
    let snapshot = world.draw(0);
    let later = Later::default();
    let picture = Some((&snapshot, snapshot.at(0, MAX_AGE)));
    let witness = Witness::new(TENANT, &limits, [], picture, &later);
    let reach = |user| {
        let who = PrincipalId::new(TENANT.as_u128(), user_id(user).as_u128());
        let (reach, because) = witness.reach(who);
        (reach, because.to_string())
    };
    let so = |class, why: &str| (Reach::UpTo(class), why.to_owned());
    assert_eq!(
        reach(0),
        so(Class::Unmanaged, "it is in group `Contractors`")
    );
    assert_eq!(reach(1), so(Class::Bypass, "it is in group `staff`"));
    let none = "it is in no group of [[entra.group]] that limits it";
    assert_eq!(reach(2), so(Class::Managed, none));
    assert!(witness.doubts().is_empty());

    let limits = [
        bound("twins", Class::Blocked),
        bound("stuff", Class::Bypass),
    ];
    let witness = Witness::new(TENANT, &limits, [], picture, &later);
    let doubts = witness.doubts().join("\n");
    assert!(doubts.contains("several groups bear that name"), "{doubts}");
    assert!(doubts.contains("knows no such group"), "{doubts}");
}

fn config(bound: &Bound) -> GroupClass {
    let group = match NAMES.get(bound.group) {
        Some(name) if !bound.by_id => (*name).to_owned(),
        Some(_) => group_id(bound.group).to_string(),
        None => "nobody".to_owned(),
    };
    GroupClass {
        group,
        class: bound.class,
        line: 1,
    }
}

fn user_id(user: usize) -> Uuid {
    Uuid::from_u128(0xa0 + user as u128)
}

fn group_id(group: usize) -> Uuid {
    Uuid::from_u128(0xb0 + group as u128)
}

/// How much of what grants open is closed.
fn opens(class: Class) -> u8 {
    match class {
        Class::Managed => 0,
        Class::Bypass => 1,
        _ => 2,
    }
}

/// How much a class limits.
fn limits(class: Class) -> usize {
    let order = [
        Class::Managed,
        Class::Bypass,
        Class::Unmanaged,
        Class::Blocked,
    ];
    order
        .iter()
        .position(|one| *one == class)
        .expect("one of these")
}

//! A tenant that does not exist, the same for the same seed. Its objects are made when they are asked for, so that
//! memory is Weir's alone.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use time::OffsetDateTime;
use weir_entra::model::{Changes, Group, Id, MemberKind, Text, User};

/// How large it is.
#[derive(Clone, Copy)]
pub struct Shape {
    users: u32,
    groups: u32,
    /// Members of all groups together, people and groups.
    edges: u32,
}

impl Shape {
    /// What the target speaks of.
    pub const LARGE: Self = Self {
        users: 300_000,
        groups: 100_000,
        edges: 3_000_000,
    };
    /// A hundredth of it.
    pub const SMALL: Self = Self {
        users: 3_000,
        groups: 1_000,
        edges: 30_000,
    };
}

/// See the module. Users and groups are numbered in the order of their ids.
pub struct Tenant {
    users: Vec<Id>,
    groups: Vec<Id>,
    /// How many people are directly in each group.
    sizes: Vec<u32>,
    /// Where in the circle of people each group begins, and how far it goes from one to the next.
    circles: Vec<(u32, u32)>,
    /// Outer group, inner group.
    nested: Vec<(u32, u32)>,
}

/// Two of so many groups have to do with others.
const NESTED: usize = 5;
/// Rounds of groups that contain each other.
const ROUNDS: usize = 50;
/// How fast sizes of groups fall, from the largest on.
const ZIPF: f64 = 0.85;

impl Tenant {
    /// Draws one.
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let nested = nested(&mut random, shape.groups);
        let people = shape.edges - u32::try_from(nested.len()).expect("a part of the groups");
        let circles = (0..shape.groups)
            .map(|_| {
                let start = random.random_range(0..shape.users);
                // Without a common divisor nobody is met twice.
                let step = loop {
                    let step = random.random_range(1..shape.users);
                    if gcd(step, shape.users) == 1 {
                        break step;
                    }
                };
                (start, step)
            })
            .collect();
        let mut sizes = sizes(shape, people);
        sizes.shuffle(&mut random);
        Self {
            users: ids(&mut random, shape.users),
            groups: ids(&mut random, shape.groups),
            sizes,
            circles,
            nested,
        }
    }

    /// How many groups are members of groups.
    pub fn nested(&self) -> usize {
        self.nested.len()
    }

    /// Every user, in the order of their ids, as the store would hand them over.
    pub fn users(&self) -> impl Iterator<Item = (Id, User)> {
        (0..)
            .zip(&self.users)
            .map(|(number, id)| (*id, user(number, *id)))
    }

    /// Every group, in the order of their ids.
    pub fn groups(&self) -> impl Iterator<Item = (Id, Group)> {
        (0..)
            .zip(&self.groups)
            .map(|(number, id)| (*id, group(number)))
    }

    /// Every edge: group, member, kind.
    pub fn edges(&self) -> impl Iterator<Item = (Id, Id, MemberKind)> {
        let nested = self.nested.iter().map(|(outer, inner)| {
            (
                self.groups[*outer as usize],
                self.groups[*inner as usize],
                MemberKind::Group,
            )
        });
        (0..self.groups.len())
            .flat_map(|group| self.people_in(group))
            .chain(nested)
    }

    /// The largest groups.
    pub fn largest(&self, count: usize) -> Vec<Id> {
        self.by_size()
            .into_iter()
            .take(count)
            .map(|group| self.groups[group])
            .collect()
    }

    /// One of the largest groups, and somebody who is in it.
    pub fn somebody(&self) -> (Id, Id) {
        let group = self.by_size()[3];
        let mut people = self.people_in(group);
        let (group, member, _) = people.next().expect("a large group has people");
        (group, member)
    }

    /// Changes of several kinds, each of them so often; every second one takes the one before back.
    pub fn changes(&self, count: usize) -> Vec<(&'static str, Vec<Changes>)> {
        let large = self.by_size();
        let edge = |group: usize, member: Id, kind: MemberKind, back: bool| Changes {
            edges: [((self.groups[group], member), (!back).then_some(kind))].into(),
            ..Changes::default()
        };
        let each = |make: &dyn Fn(usize, bool) -> Changes| -> Vec<Changes> {
            (0..count)
                .map(|number| make(number / 2, number % 2 == 1))
                .collect()
        };
        let person = |number: usize| self.users[(number * 7919 + 100) % self.users.len()];
        vec![
            (
                "one membership",
                each(&|number, back| edge(large[number], person(number), MemberKind::User, back)),
            ),
            (
                "one account disabled",
                each(&|number, back| {
                    let number = (number * 7919 + 100) % self.users.len();
                    let id = self.users[number];
                    let mut user = user(u32::try_from(number).expect("one of the users"), id);
                    user.enabled = Some(back);
                    Changes {
                        users: [(id, Some(user))].into(),
                        ..Changes::default()
                    }
                }),
            ),
            (
                "the largest group into another",
                each(&|number, back| {
                    let inner = self.groups[large[0]];
                    edge(large[number + 10], inner, MemberKind::Group, back)
                }),
            ),
        ]
    }

    fn people_in(&self, group: usize) -> impl Iterator<Item = (Id, Id, MemberKind)> {
        let count = u64::try_from(self.users.len()).expect("a number of people");
        let (start, step) = self.circles[group];
        (0..self.sizes[group]).map(move |at| {
            let number = (u64::from(start) + u64::from(at) * u64::from(step)) % count;
            let id = self.users[usize::try_from(number).expect("one of the people")];
            if at % 100 == 99 {
                (
                    self.groups[group],
                    Id::from_u128(!id.as_u128()),
                    MemberKind::Device,
                )
            } else {
                (self.groups[group], id, MemberKind::User)
            }
        })
    }

    fn by_size(&self) -> Vec<usize> {
        let mut groups: Vec<usize> = (0..self.groups.len()).collect();
        groups.sort_by_key(|group| std::cmp::Reverse(self.sizes[*group]));
        groups
    }
}

/// Puts things in another order, always the same one.
pub fn shuffle<T>(things: &mut [T]) {
    things.shuffle(&mut StdRng::seed_from_u64(1));
}

/// Trees of groups, from three to ten deep, with some groups that are in two trees, and some rounds.
fn nested(random: &mut StdRng, groups: u32) -> Vec<(u32, u32)> {
    let mut numbers: Vec<u32> = (0..groups).collect();
    numbers.shuffle(random);
    numbers.truncate(2 * numbers.len() / NESTED);
    let mut nested = Vec::new();
    let mut rounds = 0;
    let mut next = 0;
    while next + 30 < numbers.len() {
        let depth = random.random_range(3..=10);
        let tree = &numbers[next..next + 3 * depth];
        let spine = &tree[..depth];
        nested.extend(spine.windows(2).map(|pair| (pair[0], pair[1])));
        for branch in &tree[depth..] {
            nested.push((spine[random.random_range(0..depth - 1)], *branch));
            if next > 0 && random.random_bool(0.1) {
                nested.push((numbers[random.random_range(0..next)], *branch));
            }
        }
        if rounds < ROUNDS {
            rounds += 1;
            nested.push((spine[depth - 1], spine[depth - 3]));
        }
        next += 3 * depth;
    }
    nested
}

/// How many people are in each group, the largest first: by Zipf's law.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of the people is a number of people"
)]
fn sizes(shape: Shape, people: u32) -> Vec<u32> {
    let weight = |rank: u32| f64::from(rank + 1).powf(-ZIPF);
    let all: f64 = (0..shape.groups).map(weight).sum();
    let mut sizes: Vec<u32> = (0..shape.groups)
        .map(|rank| ((f64::from(people) * weight(rank) / all) as u32).min(shape.users))
        .collect();
    // What rounding left over, one for each of the largest.
    let left = people.saturating_sub(sizes.iter().sum());
    for rank in 0..left as usize {
        sizes[rank % shape.groups as usize] += 1;
    }
    sizes
}

fn ids(random: &mut StdRng, count: u32) -> Vec<Id> {
    let mut ids: Vec<Id> = (0..count)
        .map(|_| uuid::Builder::from_random_bytes(random.random()).into_uuid())
        .collect();
    ids.sort_unstable();
    ids
}

fn user(number: u32, id: Id) -> User {
    let upn = format!("person.number{number}@corp.example");
    let texts = [
        (Text::Upn, upn.clone()),
        (Text::DisplayName, format!("Person Number{number}")),
        (Text::Mail, upn),
        (Text::Department, format!("Department {}", number % 211)),
        (Text::Company, format!("Company {}", number % 5)),
        (Text::JobTitle, format!("Title {}", number % 499)),
        (Text::EmployeeId, format!("E{number:07}")),
        (
            Text::UserType,
            if number.is_multiple_of(33) {
                "Guest"
            } else {
                "Member"
            }
            .to_owned(),
        ),
        (Text::ImmutableId, format!("{:022x}==", id.as_u128() >> 40)),
        (Text::SamAccountName, format!("p{number}")),
        (Text::OnPremisesDomain, "corp.example".to_owned()),
        (
            Text::Sid,
            format!("S-1-5-21-1004336348-1177238915-682003330-{number}"),
        ),
    ];
    User {
        enabled: Some(!number.is_multiple_of(31)),
        gone: (number.is_multiple_of(101)).then_some(OffsetDateTime::UNIX_EPOCH),
        texts: texts.into(),
        ..User::default()
    }
}

fn group(number: u32) -> Group {
    Group {
        gone: (number.is_multiple_of(211)).then_some(OffsetDateTime::UNIX_EPOCH),
        texts: BTreeMap::from([(Text::DisplayName, format!("sg-group-{number}"))]),
        security: Some(true),
        ..Group::default()
    }
}

fn gcd(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

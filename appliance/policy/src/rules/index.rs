//! Which rules can match a request at all: a thousand rules, each about one user, group, relying party or
//! claim, are a few words of bits and a few look-ups.
//!
//! A rule is filed under one of its conditions. It is left out only when that condition is false for
//! certain; whatever else it asks is tried by the rule itself.

use super::Rule;
use super::asked::{Asked, Who};
use super::condition::{Condition, When};
use super::groups::{self, Kind};
use super::truth::Truth;
use crate::Said;

/// One bit for each rule, in their order.
type Set = Vec<u64>;

/// The rules, filed by what they ask.
#[derive(Debug)]
pub(crate) struct Index {
    classes: [Set; 8],
    flows: [Set; 16],
    clients: [Set; 8],
    /// Rules that are filed under nothing.
    always: Set,
    drawers: Vec<Drawer>,
}

/// The rules that are filed under conditions of one kind.
#[derive(Debug)]
struct Drawer {
    about: About,
    all: Set,
    /// Hash and rule, in order.
    entries: Vec<(u64, usize)>,
    /// Bits of all hashes: most that are looked up are not there.
    filter: Box<[u64; 64]>,
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    User,
    Party,
    Group(Kind),
    Claim(String),
}

/// What a request says about that.
enum Keys {
    /// The condition may be true, whatever it names.
    Any,
    /// It is false unless it names one of these.
    These(Vec<u64>),
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let words = rules.len().div_ceil(64);
        let empty = || vec![0; words];
        let mut index = Self {
            classes: std::array::from_fn(|_| empty()),
            flows: std::array::from_fn(|_| empty()),
            clients: std::array::from_fn(|_| empty()),
            always: empty(),
            drawers: Vec::new(),
        };
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.off) {
            let bits = rule.when.bits;
            mark(&mut index.classes, u16::from(bits.classes), at);
            mark(&mut index.flows, bits.flows, at);
            mark(&mut index.clients, u16::from(bits.clients), at);
            let Some((about, hashes)) = filed_under(&rule.when) else {
                set(&mut index.always, at);
                continue;
            };
            let found = index.drawers.iter().position(|it| it.about == about);
            let place = found.unwrap_or_else(|| {
                index.drawers.push(Drawer {
                    about,
                    all: empty(),
                    entries: Vec::new(),
                    filter: Box::new([0; 64]),
                });
                index.drawers.len() - 1
            });
            let drawer = &mut index.drawers[place];
            set(&mut drawer.all, at);
            for hash in hashes {
                drawer.entries.push((hash, at));
                set(&mut drawer.filter[..], filter_bit(hash));
            }
        }
        for drawer in &mut index.drawers {
            drawer.entries.sort_unstable();
        }
        index
    }

    /// The rules that may match, in their order.
    pub(crate) fn candidates(&self, asked: &Asked<'_>) -> impl Iterator<Item = usize> {
        let mut found = self.always.clone();
        for drawer in &self.drawers {
            match drawer.about.keys(asked) {
                Keys::Any => join(&mut found, &drawer.all),
                Keys::These(hashes) => {
                    for hash in hashes {
                        drawer.mark_found(hash, &mut found);
                    }
                }
            }
        }
        let flow = &self.flows[asked.flow.trailing_zeros() as usize];
        let client = &self.clients[asked.client.trailing_zeros() as usize];
        let classes = self.classes.iter().enumerate();
        let classes: Vec<&Set> = classes
            .filter(|(bit, _)| asked.classes & 1 << bit != 0)
            .map(|(_, set)| set)
            .collect();
        for (at, word) in found.iter_mut().enumerate() {
            *word &= flow[at] & client[at];
            *word &= classes.iter().fold(0, |bits, set| bits | set[at]);
        }
        found.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

impl Drawer {
    fn mark_found(&self, hash: u64, found: &mut Set) {
        let bit = filter_bit(hash);
        if self.filter[bit / 64] & 1 << (bit % 64) == 0 {
            return;
        }
        let first = self.entries.partition_point(|(known, _)| *known < hash);
        for (_, rule) in self.entries[first..]
            .iter()
            .take_while(|(known, _)| *known == hash)
        {
            set(found, *rule);
        }
    }
}

impl About {
    fn keys(&self, asked: &Asked<'_>) -> Keys {
        match self {
            Self::User => match &asked.user {
                Who::Nobody => Keys::These(Vec::new()),
                Who::Certain(name, domain) => Keys::These(vec![hash(name), hash(domain)]),
                Who::Unknown | Who::Unsure(_) => Keys::Any,
            },
            Self::Party => match &asked.party {
                Some((_, folded)) => Keys::These(vec![hash(folded)]),
                None if asked.facts.relying_party == Said::None => Keys::These(Vec::new()),
                None => Keys::Any,
            },
            Self::Group(kind) => match asked.told() {
                Err(Truth::FALSE) => Keys::These(Vec::new()),
                Ok(told) if !asked.directory.has_groups() && groups::is_complete(told, *kind) => {
                    let values = told.values.get(groups::CLAIM).into_iter().flatten();
                    Keys::These(values.map(|group| hash(group)).collect())
                }
                _ => Keys::Any,
            },
            Self::Claim(name) => match asked.told() {
                Err(Truth::FALSE) => Keys::These(Vec::new()),
                Ok(told) if !told.missing.contains(name) => match told.values.get(name) {
                    Some(values) => Keys::These(values.iter().map(|value| hash(value)).collect()),
                    None => Keys::Any,
                },
                _ => Keys::Any,
            },
        }
    }
}

/// The condition under which a rule is filed: the first that names something of its own.
fn filed_under(when: &When) -> Option<(About, Vec<u64>)> {
    when.rest.iter().find_map(|condition| match condition {
        Condition::User { names, domains } => {
            let all = names.iter().chain(domains);
            Some((About::User, all.map(|name| hash(name)).collect()))
        }
        Condition::RelyingParty(parties) => {
            let folded = parties.folded.iter();
            Some((About::Party, folded.map(|party| hash(party)).collect()))
        }
        Condition::Group(wanted) => {
            let kind = wanted.first()?.kind;
            let one_kind = wanted.iter().all(|group| group.kind == kind);
            let hashes = wanted.iter().map(|group| hash(&group.folded));
            one_kind.then(|| (About::Group(kind), hashes.collect()))
        }
        Condition::Claim(claim) => {
            let values = claim.values.iter();
            let hashes = values.map(|value| hash(value)).collect();
            Some((About::Claim(claim.name.clone()), hashes))
        }
        _ => None,
    })
}

fn mark(sets: &mut [Set], bits: u16, at: usize) {
    for (bit, all) in sets.iter_mut().enumerate() {
        if bits & 1 << bit != 0 {
            set(all, at);
        }
    }
}

fn set(set: &mut [u64], at: usize) {
    set[at / 64] |= 1 << (at % 64);
}

fn join(set: &mut Set, other: &Set) {
    for (word, other) in set.iter_mut().zip(other) {
        *word |= other;
    }
}

const fn filter_bit(hash: u64) -> usize {
    (hash >> 52) as usize
}

/// Whatever its case, a text has one hash. Two texts with one hash cost time, and nothing else: the rule
/// itself compares.
fn hash(text: &str) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    const LOWER: u64 = 0x2020_2020_2020_2020;
    // Of other letters some have a lower case in ASCII.
    let lower = (!text.is_ascii()).then(|| text.to_lowercase());
    let text = lower.as_deref().unwrap_or(text);
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    let mixed = words.fold(text.len() as u64, |hash, word| {
        let mixed = (hash ^ (u64::from_le_bytes(*word) | LOWER)).wrapping_mul(MIX);
        mixed ^ mixed >> 29
    });
    mixed.wrapping_mul(MIX)
}

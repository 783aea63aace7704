//! Which rules can match a request at all: a thousand rules, each about one user, group, relying party or
//! claim, are a few words of bits and a few look-ups.
//!
//! A rule is filed under one of its conditions. It is left out when that condition is false for certain, or
//! unknown and the rule one that passes; and when it can do nothing but wait for the token, once that makes no
//! difference any more. Whatever else it asks is tried by the rule itself.

use super::Rule;
use super::asked::{Asked, Known, Who};
use super::condition::{Condition, When};
use super::groups::{Kind, Named};
use super::hash::{end, hash};
use super::truth::Truth;
use super::walk::Walked;
use crate::{DecisionKind, Said};

/// One bit for each rule, in their order.
type Set = Vec<u64>;

/// The rules, filed by what they ask.
#[derive(Debug)]
pub(crate) struct Index {
    classes: [Set; 8],
    flows: [Set; 16],
    clients: [Set; 8],
    /// Rules that pass.
    passing: Set,
    /// Rules that restrict, whatever the token says.
    restricting: Set,
    /// Rules that are filed under nothing.
    always: Set,
    drawers: Vec<Drawer>,
}

/// The rules that may match a request, in their order.
pub(crate) struct Candidates<'i> {
    index: &'i Index,
    /// Those that are still to be tried.
    found: Set,
    /// Those that can do nothing but wait for the token.
    waiting: Set,
    /// Where to look next.
    word: usize,
}

/// The rules that are filed under conditions of one kind.
#[derive(Debug)]
struct Drawer {
    about: About,
    all: Set,
    /// Hash and rule, in order.
    entries: Vec<(u64, usize)>,
    /// Bits of the ends of all texts: most that are looked up are not there.
    filter: Box<[u64; 256]>,
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
struct Keys<'k> {
    /// A condition that names one of these may have any truth.
    texts: Texts<'k>,
    /// The truth of all others, where they have one in common.
    others: Option<Truth>,
}

/// Names of one kind, or values.
enum Texts<'k> {
    Few(Vec<&'k str>),
    Values(&'k [String]),
    Groups(&'k Named<'k>),
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let words = rules.len().div_ceil(64);
        let empty = || vec![0; words];
        let mut index = Self {
            classes: std::array::from_fn(|_| empty()),
            flows: std::array::from_fn(|_| empty()),
            clients: std::array::from_fn(|_| empty()),
            passing: empty(),
            restricting: empty(),
            always: empty(),
            drawers: Vec::new(),
        };
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| !rule.off) {
            let bits = rule.when.bits;
            mark(&mut index.classes, u16::from(bits.classes), at);
            mark(&mut index.flows, bits.flows, at);
            mark(&mut index.clients, u16::from(bits.clients), at);
            match rule.kind {
                DecisionKind::Pass => set(&mut index.passing, at),
                DecisionKind::Block | DecisionKind::Redirect => set(&mut index.restricting, at),
                DecisionKind::StepUp => {}
            }
            let Some((about, texts)) = filed_under(&rule.when) else {
                set(&mut index.always, at);
                continue;
            };
            let found = index.drawers.iter().position(|it| it.about == about);
            let place = found.unwrap_or_else(|| {
                index.drawers.push(Drawer {
                    about,
                    all: empty(),
                    entries: Vec::new(),
                    filter: Box::new([0; 256]),
                });
                index.drawers.len() - 1
            });
            let drawer = &mut index.drawers[place];
            set(&mut drawer.all, at);
            for text in texts {
                drawer.entries.push((hash(text), at));
                set(&mut drawer.filter[..], filter_bit(end(text)));
            }
        }
        for drawer in &mut index.drawers {
            drawer.entries.sort_unstable();
        }
        index
    }

    /// The rules that may match.
    pub(crate) fn candidates(&self, asked: &Asked<'_>) -> Candidates<'_> {
        let mut found = self.always.clone();
        let mut waiting = vec![0; found.len()];
        for drawer in &self.drawers {
            let keys = drawer.about.keys(asked);
            match keys.others {
                Some(Truth::FALSE) => {}
                Some(Truth::UNKNOWN) => join(&mut found, &drawer.all, Some(&self.passing)),
                others => {
                    join(&mut found, &drawer.all, None);
                    if others == Some(Truth::OPEN) {
                        join(&mut waiting, &drawer.all, None);
                    }
                }
            }
            keys.texts.each(|end, text| {
                for rule in drawer.rules_on(end, text) {
                    set(&mut found, rule);
                    clear(&mut waiting, rule);
                }
            });
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
        Candidates {
            index: self,
            found,
            waiting,
            word: 0,
        }
    }
}

impl Candidates<'_> {
    /// The next rule that may make a difference.
    pub(crate) fn next(&mut self, so_far: &Walked<'_>) -> Option<usize> {
        let restricting = &self.index.restricting;
        loop {
            let at = self.word;
            let left = self.found.get_mut(at)?;
            // The first rule that waits is known, and whether one that waits may pass.
            *left &= match so_far.waits {
                Some(_) if so_far.may_pass => !self.waiting[at],
                Some(_) => !(self.waiting[at] & restricting[at]),
                None => u64::MAX,
            };
            if *left != 0 {
                let bit = left.trailing_zeros() as usize;
                *left &= *left - 1;
                return Some(at * 64 + bit);
            }
            self.word += 1;
        }
    }
}

impl Drawer {
    /// The rules that are filed under a text; now and then others.
    fn rules_on(&self, end: u64, text: &str) -> impl Iterator<Item = usize> {
        let bit = filter_bit(end);
        let entries = if self.filter[bit / 64] & 1 << (bit % 64) == 0 {
            &[]
        } else {
            let hash = hash(text);
            let first = self.entries.partition_point(|(known, _)| *known < hash);
            let entries = &self.entries[first..];
            let count = entries.iter().take_while(|(known, _)| *known == hash);
            &entries[..count.count()]
        };
        entries.iter().map(|(_, rule)| *rule)
    }
}

impl About {
    fn keys<'k>(&self, asked: &'k Asked<'_>) -> Keys<'k> {
        match self {
            Self::User => user_keys(asked),
            Self::Party => match &asked.party {
                Some((_, folded)) => Keys::of(vec![folded], Truth::FALSE),
                None if asked.facts.relying_party == Said::None => Keys::none(Truth::FALSE),
                None => Keys::none(Truth::UNKNOWN),
            },
            Self::Group(_) if asked.directory.has_groups() => Keys {
                texts: Texts::Few(Vec::new()),
                others: None,
            },
            Self::Group(kind) => match asked.told() {
                Err(others) => Keys::none(others),
                Ok(told) => Keys {
                    texts: Texts::Groups(asked.named(told)),
                    others: Some(unless(asked.named(told).has_all(*kind))),
                },
            },
            Self::Claim(name) => match asked.told().map(|told| (told, told.values.get(name))) {
                Err(others) => Keys::none(others),
                Ok((_, None)) => Keys::none(Truth::UNKNOWN),
                Ok((told, Some(values))) => Keys {
                    texts: Texts::Values(values),
                    others: Some(unless(!told.missing.contains(name))),
                },
            },
        }
    }
}

/// The truth of conditions that name nothing of what was told.
fn unless(all_was_told: bool) -> Truth {
    if all_was_told {
        Truth::FALSE
    } else {
        Truth::UNKNOWN
    }
}

/// A rule on users may hold of the one whom the token proves, and of the one whom the request names.
fn user_keys<'k>(asked: &'k Asked<'_>) -> Keys<'k> {
    let certain = |who: &Who| unless(matches!(who, Who::Certain(..)));
    let others = match asked.token {
        _ if matches!(asked.user, Who::Nobody) => return Keys::none(Truth::FALSE),
        Known::Unbelieved => return Keys::none(Truth::UNKNOWN),
        Known::Nothing => certain(&asked.user),
        Known::Verified(_) => certain(&asked.proved),
        Known::Ahead => Truth::OPEN,
    };
    let mut texts = Vec::with_capacity(4);
    for who in [&asked.user, &asked.proved] {
        match who {
            Who::Certain(name, domain) => texts.extend([name.as_str(), domain]),
            Who::Unsure(name) => texts.push(name),
            Who::Nobody | Who::Unknown => {}
        }
    }
    Keys::of(texts, others)
}

impl<'k> Keys<'k> {
    fn of(texts: Vec<&'k str>, others: Truth) -> Self {
        Self {
            texts: Texts::Few(texts),
            others: Some(others),
        }
    }

    /// All conditions have one truth.
    fn none(truth: Truth) -> Self {
        Self::of(Vec::new(), truth)
    }
}

impl Texts<'_> {
    /// Tells each, after the number of its end.
    fn each(&self, mut tell: impl FnMut(u64, &str)) {
        match self {
            Self::Few(texts) => texts.iter().for_each(|text| tell(end(text), text)),
            Self::Values(values) => values.iter().for_each(|value| tell(end(value), value)),
            Self::Groups(named) => named.each(tell),
        }
    }
}

/// The condition under which a rule is filed, and what it names: the first that names something of its own.
fn filed_under(when: &When) -> Option<(About, Vec<&str>)> {
    when.rest.iter().find_map(|condition| match condition {
        Condition::User { names, domains } => {
            let all = names.iter().chain(domains).map(String::as_str);
            Some((About::User, all.collect()))
        }
        Condition::RelyingParty(parties) => {
            let folded = parties.folded.iter().map(String::as_str);
            Some((About::Party, folded.collect()))
        }
        Condition::Group(wanted) => {
            let kind = wanted.first()?.kind;
            let one_kind = wanted.iter().all(|group| group.kind == kind);
            let names = wanted.iter().map(|group| group.folded.as_str());
            one_kind.then(|| (About::Group(kind), names.collect()))
        }
        Condition::Claim(claim) => {
            let values = claim.values.iter().map(String::as_str);
            Some((About::Claim(claim.name.clone()), values.collect()))
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

fn clear(set: &mut [u64], at: usize) {
    set[at / 64] &= !(1 << (at % 64));
}

/// Adds all of `other`, but not those of `without`.
fn join(set: &mut Set, other: &Set, without: Option<&Set>) {
    for (at, word) in set.iter_mut().enumerate() {
        *word |= other[at] & !without.map_or(0, |without| without[at]);
    }
}

fn filter_bit(end: u64) -> usize {
    (end >> 50) as usize
}

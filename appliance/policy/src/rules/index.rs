//! Which rules can match a request at all: a thousand rules, each about one user, group, relying party or
//! claim, are a few words of bits and a few look-ups.
//!
//! A rule is filed under one of its conditions. It is left out when that condition is false for certain, or
//! unknown and the rule one that passes; and when it can do nothing but wait for the token, once that makes no
//! difference any more. Whatever else it asks is tried by the rule itself.

use super::Rule;
use super::asked::{Asked, Known, Person};
use super::condition::{Condition, When};
use super::groups::{Kind, Named};
use super::hash::{end, hash};
use super::truth::Truth;
use super::walk::Walked;
use crate::resident::{By, Several, Value};
use crate::{DecisionKind, Said, TokenFacts};

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
    /// Number for the directory and rule, in order.
    numbers: Vec<(u32, usize)>,
}

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    User,
    Party,
    Group(Kind),
    Role,
    Claim(String),
    /// By its number for the directory.
    Attribute(usize),
}

/// A condition under which a rule is filed: what it names, as text and by number for the directory.
struct Filed<'w> {
    about: About,
    texts: Vec<&'w str>,
    numbers: Vec<u32>,
}

/// What a request says about that.
struct Keys<'k> {
    /// A condition that names one of these may have any truth.
    texts: Texts<'k>,
    /// The truth of all others.
    others: Truth,
    /// Conditions on what the directory says yes to may have any truth, too.
    yes: [Option<&'k Several>; 2],
    /// Those on what it cannot answer are unknown.
    unclear: Option<&'k Several>,
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
            let Some(filed) = filed_under(&rule.when) else {
                set(&mut index.always, at);
                continue;
            };
            let found = index.drawers.iter().position(|it| it.about == filed.about);
            let place = found.unwrap_or_else(|| {
                index.drawers.push(Drawer {
                    about: filed.about,
                    all: empty(),
                    entries: Vec::new(),
                    filter: Box::new([0; 256]),
                    numbers: Vec::new(),
                });
                index.drawers.len() - 1
            });
            let drawer = &mut index.drawers[place];
            set(&mut drawer.all, at);
            drawer
                .numbers
                .extend(filed.numbers.iter().map(|number| (*number, at)));
            for text in filed.texts {
                drawer.entries.push((hash(text), at));
                set(&mut drawer.filter[..], filter_bit(end(text)));
            }
        }
        for drawer in &mut index.drawers {
            drawer.entries.sort_unstable();
            drawer.numbers.sort_unstable();
        }
        index
    }

    /// The rules that may match.
    pub(crate) fn candidates(&self, asked: &Asked<'_>) -> Candidates<'_> {
        let fits = self.fitting(asked);
        let mut found = self.always.clone();
        let mut waiting = vec![0; found.len()];
        for drawer in &self.drawers {
            // Nobody is looked up for rules that do not match anyway.
            if drawer
                .all
                .iter()
                .zip(&fits)
                .any(|(all, fits)| all & fits != 0)
            {
                self.open(drawer, &drawer.about.keys(asked), &mut found, &mut waiting);
            }
        }
        for (word, fits) in found.iter_mut().zip(&fits) {
            *word &= fits;
        }
        Candidates {
            index: self,
            found,
            waiting,
            word: 0,
        }
    }

    /// The rules that are for this class, flow and client.
    fn fitting(&self, asked: &Asked<'_>) -> Set {
        let flow = &self.flows[asked.flow.trailing_zeros() as usize];
        let client = &self.clients[asked.client.trailing_zeros() as usize];
        let mut fits = vec![0; flow.len()];
        for (bit, class) in self.classes.iter().enumerate() {
            if asked.classes & 1 << bit != 0 {
                join(&mut fits, class, None);
            }
        }
        let both = flow.iter().zip(client).map(|(flow, client)| flow & client);
        fits.iter_mut()
            .zip(both)
            .for_each(|(fits, both)| *fits &= both);
        fits
    }

    /// Takes the rules out of a drawer that may match.
    fn open(&self, drawer: &Drawer, keys: &Keys<'_>, found: &mut Set, waiting: &mut Set) {
        match keys.others {
            Truth::FALSE => {}
            Truth::UNKNOWN => join(found, &drawer.all, Some(&self.passing)),
            others => {
                join(found, &drawer.all, None);
                if others == Truth::OPEN {
                    join(waiting, &drawer.all, None);
                }
            }
        }
        for number in keys.unclear.iter().flat_map(|all| all.unclear()) {
            for rule in drawer.rules_numbered(number) {
                if !has(&self.passing, rule) {
                    set(found, rule);
                }
            }
        }
        let mut take = |rule| {
            set(found, rule);
            clear(waiting, rule);
        };
        for number in keys.yes.iter().flatten().flat_map(|all| all.yes()) {
            drawer.rules_numbered(number).for_each(&mut take);
        }
        keys.texts
            .each(|end, text| drawer.rules_on(end, text).for_each(&mut take));
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

    /// The rules that are filed under a number for the directory.
    fn rules_numbered(&self, number: u32) -> impl Iterator<Item = usize> {
        let first = self.numbers.partition_point(|(known, _)| *known < number);
        let same = self.numbers[first..].iter();
        same.take_while(move |(known, _)| *known == number)
            .map(|(_, rule)| *rule)
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
            Self::Group(kind) => {
                let by_token = |told| {
                    let named = asked.named(told);
                    (Texts::Groups(named), unless(named.has_all(*kind)))
                };
                member_keys(asked, |by| asked.groups_of(by), by_token)
            }
            Self::Role => {
                let by_token = |told| claim_keys(told, "roles");
                member_keys(asked, |by| asked.roles_of(by), by_token)
            }
            Self::Claim(name) => match asked.told() {
                Err(others) => Keys::none(others),
                Ok(told) => {
                    let (texts, others) = claim_keys(told, name);
                    Keys {
                        texts,
                        ..Keys::none(others)
                    }
                }
            },
            Self::Attribute(number) => attribute_keys(asked, *number),
        }
    }
}

/// The values of a claim, and the truth of conditions that name none of them.
fn claim_keys<'k>(told: &'k TokenFacts, name: &str) -> (Texts<'k>, Truth) {
    match told.values.get(name) {
        None => (Texts::Few(Vec::new()), Truth::UNKNOWN),
        Some(values) => (Texts::Values(values), unless(!told.missing.contains(name))),
    }
}

/// What the directory says, and what the token says, with the truth of conditions on what it does not name where
/// the directory cannot answer.
fn member_keys<'k, 'a>(
    asked: &'k Asked<'a>,
    by_directory: impl Fn(By) -> Option<&'k Several>,
    by_token: impl FnOnce(&'a TokenFacts) -> (Texts<'k>, Truth),
) -> Keys<'k> {
    match asked.token {
        _ if matches!(asked.user, Person::Nobody) => Keys::none(Truth::FALSE),
        Known::Unbelieved => Keys::none(Truth::UNKNOWN),
        Known::Ahead => Keys {
            yes: [by_directory(By::Request), None],
            ..Keys::none(Truth::OPEN)
        },
        Known::Nothing => match by_directory(By::Request) {
            None => Keys::none(Truth::UNKNOWN),
            Some(all) => Keys {
                yes: [Some(all), None],
                unclear: Some(all),
                ..Keys::none(Truth::FALSE)
            },
        },
        Known::Verified(told) => {
            let (texts, silent) = by_token(told);
            let all = by_directory(By::Token);
            Keys {
                texts,
                others: if all.is_some() { Truth::FALSE } else { silent },
                yes: [all, by_directory(By::Request)],
                unclear: all.filter(|_| silent == Truth::UNKNOWN),
            }
        }
    }
}

fn attribute_keys<'k>(asked: &'k Asked<'_>, number: usize) -> Keys<'k> {
    let value = |by| {
        asked
            .answers(by)
            .map_or(&Value::Unknown, |all| all.attribute(number))
    };
    let by_request = || value(By::Request);
    let (values, others) = match asked.token {
        _ if matches!(asked.user, Person::Nobody) => return Keys::none(Truth::FALSE),
        Known::Unbelieved => return Keys::none(Truth::UNKNOWN),
        Known::Ahead => ([by_request(), &Value::Unknown], Truth::OPEN),
        Known::Nothing => ([by_request(), &Value::Unknown], known(by_request())),
        Known::Verified(_) => {
            let proved = value(By::Token);
            ([proved, by_request()], known(proved))
        }
    };
    let texts = values.into_iter().filter_map(|value| match value {
        Value::Is(value) => Some(value.as_str()),
        Value::Nothing | Value::Unknown => None,
    });
    Keys::of(texts.collect(), others)
}

/// The truth of conditions that do not name this value.
fn known(value: &Value) -> Truth {
    unless(*value != Value::Unknown)
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
    let certain = |who: &Person| unless(matches!(who, Person::Certain(..)));
    let others = match asked.token {
        _ if matches!(asked.user, Person::Nobody) => return Keys::none(Truth::FALSE),
        Known::Unbelieved => return Keys::none(Truth::UNKNOWN),
        Known::Nothing => certain(&asked.user),
        Known::Verified(_) => certain(&asked.proved),
        Known::Ahead => Truth::OPEN,
    };
    let mut texts = Vec::with_capacity(4);
    for who in [&asked.user, &asked.proved] {
        match who {
            Person::Certain(name, domain) => texts.extend([name.as_str(), domain]),
            Person::Unsure(name) => texts.push(name),
            Person::Nobody | Person::Unknown => {}
        }
    }
    Keys::of(texts, others)
}

impl<'k> Keys<'k> {
    fn of(texts: Vec<&'k str>, others: Truth) -> Self {
        Self {
            texts: Texts::Few(texts),
            others,
            yes: [None; 2],
            unclear: None,
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

/// The condition under which a rule is filed: the first that names something of its own.
fn filed_under(when: &When) -> Option<Filed<'_>> {
    let filed = |about, texts| Filed {
        about,
        texts,
        numbers: Vec::new(),
    };
    when.rest.iter().find_map(|condition| match condition {
        Condition::User { names, domains } => {
            let all = names.iter().chain(domains).map(String::as_str);
            Some(filed(About::User, all.collect()))
        }
        Condition::RelyingParty(parties) => {
            let folded = parties.folded.iter().map(String::as_str);
            Some(filed(About::Party, folded.collect()))
        }
        Condition::Group(wanted) => {
            let kind = wanted.first()?.kind;
            let one_kind = wanted.iter().all(|group| group.kind == kind);
            let names = wanted.iter().map(|group| group.folded.as_str());
            one_kind.then(|| Filed {
                numbers: wanted.iter().map(|group| group.number).collect(),
                ..filed(About::Group(kind), names.collect())
            })
        }
        Condition::Role(wanted) => {
            let names = wanted.iter().map(|role| role.written.as_str());
            Some(Filed {
                numbers: wanted.iter().map(|role| role.number).collect(),
                ..filed(About::Role, names.collect())
            })
        }
        Condition::Claim(claim) => {
            let values = claim.values.iter().map(String::as_str);
            Some(filed(About::Claim(claim.name.clone()), values.collect()))
        }
        Condition::Attribute(wanted) => {
            let values = wanted.values.iter().map(String::as_str);
            Some(filed(About::Attribute(wanted.number), values.collect()))
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

fn has(set: &[u64], at: usize) -> bool {
    set[at / 64] & 1 << (at % 64) != 0
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

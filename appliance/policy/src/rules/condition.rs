//! Conditions, and the truths they can have.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use weir_abi::Class;

use super::asked::{Asked, Known, Parties, Person};
use super::groups::Group;
use super::places::{Location, Networks, is_in};
use super::schedule::Schedule;
use super::truth::Truth;
use crate::profile::matches;
use crate::resident::Value;
use crate::{Client, Country, Flow, Method, Said, TokenFacts, UserAttribute, Word};

/// All conditions of a rule.
#[derive(Clone, Debug)]
pub(crate) struct When {
    pub(crate) bits: Bits,
    pub(crate) rest: Vec<Condition>,
}

/// Class, flow and client as bit sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits {
    pub(crate) flows: u16,
    pub(crate) classes: u8,
    pub(crate) clients: u8,
}

/// Everything that is not a bit set.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// Whether the rule is for this service at all.
    Service(bool),
    List(HashSet<String>),
    Source(Networks),
    Host(HashSet<String>),
    RelyingParty(Parties),
    Application(Vec<Application>),
    User {
        names: Vec<String>,
        domains: Vec<String>,
    },
    Group(Vec<Group>),
    Role(Vec<Role>),
    Claim(Claim),
    /// Something that the directory has written of the user.
    Attribute(Written),
    Device(Vec<Device>),
    Method(Vec<Method>),
    AuthenticatedWithin(Duration),
    InsideNetwork(bool),
    Country(Vec<Country>),
    Location(Vec<Arc<Location>>),
    Time(Schedule),
    /// The path is one of those that these patterns stand for.
    Path(Vec<String>),
    /// There is a directory.
    Directory,
    /// The user is certain by the request itself, and the directory knows them.
    KnownUser,
    /// A token was verified.
    Verified,
    /// A token is there, and cannot be believed.
    Unbelieved,
    Not(Box<When>),
}

/// A claim, and the values of which it must have one.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) name: String,
    /// Folded when `any_case`.
    pub(crate) values: Vec<String>,
    pub(crate) any_case: bool,
}

/// A role, as a token may name it.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// As the rule has it.
    pub(crate) written: String,
    pub(crate) claim: Claim,
    /// Its number for the directory.
    pub(crate) number: u32,
}

/// An attribute, and the values of which it must have one.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) attribute: UserAttribute,
    /// In lower case.
    pub(crate) values: Vec<String>,
    /// Its number for the directory.
    pub(crate) number: usize,
}

/// What a token may say of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    Registered,
    Managed,
    Compliant,
    Joined,
}

/// A named set of relying parties and host names.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) relying_parties: Parties,
    pub(crate) hosts: HashSet<String>,
}

/// So far clocks may differ.
const SKEW: Duration = Duration::from_mins(5);

impl When {
    /// Conditions that everything meets.
    pub(crate) const fn always() -> Self {
        Self {
            bits: Bits {
                flows: u16::MAX,
                classes: u8::MAX,
                clients: u8::MAX,
            },
            rest: Vec::new(),
        }
    }

    pub(crate) fn classes(mut self, classes: &[Class]) -> Self {
        self.bits.classes = classes
            .iter()
            .fold(0, |bits, class| bits | 1 << *class as u8);
        self
    }

    pub(crate) fn flows(mut self, flows: &[Flow]) -> Self {
        self.bits.flows = flows.iter().fold(0, |bits, flow| bits | 1 << *flow as u16);
        self
    }

    pub(crate) fn clients(mut self, clients: &[Client]) -> Self {
        self.bits.clients = clients
            .iter()
            .fold(0, |bits, client| bits | 1 << *client as u8);
        self
    }

    pub(crate) fn and(mut self, condition: Condition) -> Self {
        self.rest.push(condition);
        self
    }

    pub(crate) fn truth(&self, asked: &Asked<'_>) -> Truth {
        if self.bits.classes & asked.classes == 0
            || self.bits.flows & asked.flow == 0
            || self.bits.clients & asked.client == 0
        {
            return Truth::FALSE;
        }
        let mut truth = Truth::TRUE;
        for condition in &self.rest {
            truth = truth.and(condition.truth(asked));
            if truth == Truth::FALSE {
                break;
            }
        }
        truth
    }
}

impl Condition {
    pub(crate) fn truth(&self, asked: &Asked<'_>) -> Truth {
        let facts = asked.facts;
        match self {
            Self::Service(is_this) => Truth::of(*is_this),
            Self::List(lists) => Truth::of(
                facts
                    .source
                    .list
                    .as_ref()
                    .is_some_and(|list| lists.contains(list)),
            ),
            Self::Source(networks) => match facts.source.effective {
                Some(source) => Truth::of(networks.contains(source)),
                None => Truth::UNKNOWN,
            },
            Self::Host(hosts) => Truth::of(hosts.contains(&facts.host)),
            Self::RelyingParty(parties) => party_truth(parties, asked),
            Self::Application(all) => Truth::any(all.iter().map(|one| one.truth(asked))),
            Self::User { names, domains } => asked.is_user(names, domains),
            Self::Group(wanted) => asked.is_in_group(wanted),
            Self::Role(wanted) => asked.holds_role(wanted),
            Self::Claim(claim) => by_token(asked, |told| claim.truth(told)),
            Self::Attribute(wanted) => asked.is_written(wanted),
            Self::Device(states) => by_token(asked, |told| {
                Truth::any(states.iter().map(|state| state.truth(told)))
            }),
            Self::Method(wanted) => by_token(asked, |told| methods_truth(wanted, told)),
            Self::AuthenticatedWithin(within) => by_token(asked, |told| {
                is_recent(told, asked, *within).map_or(Truth::UNKNOWN, Truth::of)
            }),
            Self::InsideNetwork(wanted) => by_token(asked, |told| {
                let inside = flag(told, "inside_network");
                if *wanted { inside } else { inside.not() }
            }),
            Self::Country(countries) => is_in(countries, facts),
            Self::Location(all) => Truth::any(all.iter().map(|location| location.truth(facts))),
            Self::Time(schedule) => facts
                .moment
                .and_then(|moment| schedule.holds(moment))
                .map_or(Truth::UNKNOWN, Truth::of),
            Self::Path(patterns) => {
                let path = facts.path.trim_end_matches('/');
                Truth::of(patterns.iter().any(|pattern| matches(pattern, path)))
            }
            Self::Directory => Truth::of(asked.has_directory()),
            Self::KnownUser => match asked.is_known() {
                Some(Word::Yes) => Truth::TRUE,
                Some(Word::No) => Truth::FALSE,
                None if matches!(asked.user, Person::Nobody) => Truth::FALSE,
                Some(Word::Unknown) | None => Truth::UNKNOWN,
            },
            Self::Verified => match asked.token {
                Known::Verified(_) => Truth::TRUE,
                Known::Ahead => Truth::OPEN,
                Known::Nothing | Known::Unbelieved => Truth::UNKNOWN,
            },
            Self::Unbelieved => Truth::of(matches!(asked.token, Known::Unbelieved)),
            Self::Not(inner) => inner.truth(asked).not(),
        }
    }
}

impl Application {
    pub(crate) fn truth(&self, asked: &Asked<'_>) -> Truth {
        if self.hosts.contains(&asked.facts.host) {
            return Truth::TRUE;
        }
        if self.relying_parties.exact.is_empty() {
            return Truth::FALSE;
        }
        party_truth(&self.relying_parties, asked)
    }
}

impl Claim {
    pub(crate) fn new(name: &str, values: &[String], any_case: bool) -> Self {
        Self {
            name: name.to_owned(),
            values: values.iter().map(|value| folded(value, any_case)).collect(),
            any_case,
        }
    }

    /// A claim that is not there is unknown: nobody can say whether the issuer would have named it.
    pub(super) fn truth(&self, told: &TokenFacts) -> Truth {
        let Some(values) = told.values.get(&self.name) else {
            return Truth::UNKNOWN;
        };
        let is_wanted = |value: &String| {
            if self.any_case {
                self.values.contains(&value.to_lowercase())
            } else {
                self.values.contains(value)
            }
        };
        if values.iter().any(is_wanted) {
            Truth::TRUE
        } else if told.missing.contains(&self.name) {
            Truth::UNKNOWN
        } else {
            Truth::FALSE
        }
    }
}

impl Written {
    /// Values are the same whatever their case, as in the tenant.
    pub(super) fn truth(&self, value: &Value) -> Truth {
        match value {
            Value::Unknown => Truth::UNKNOWN,
            Value::Nothing => Truth::FALSE,
            Value::Is(value) => Truth::of(self.values.contains(&value.to_lowercase())),
        }
    }
}

impl Device {
    pub(crate) const ALL: [Self; 4] = [
        Self::Registered,
        Self::Managed,
        Self::Compliant,
        Self::Joined,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Managed => "managed",
            Self::Compliant => "compliant",
            Self::Joined => "joined",
        }
    }

    /// The claim that tells.
    pub(crate) const fn claim(self) -> &'static str {
        match self {
            Self::Registered => "device_registered",
            Self::Managed => "device_managed",
            Self::Compliant => "device_compliant",
            Self::Joined => "device_trust",
        }
    }

    fn truth(self, told: &TokenFacts) -> Truth {
        match self {
            Self::Registered | Self::Managed | Self::Compliant => flag(told, self.claim()),
            // Entra's trust types: joined to it, to a domain and it, or merely registered.
            Self::Joined => match word(told, self.claim()).as_deref() {
                Some("azuread" | "serverad") => Truth::TRUE,
                Some("workplace") => Truth::FALSE,
                _ => Truth::UNKNOWN,
            },
        }
    }
}

/// How a value of a claim is compared.
fn folded(value: &str, any_case: bool) -> String {
    if any_case {
        value.to_lowercase()
    } else {
        value.to_owned()
    }
}

/// Whether the user proved who they are so recently; nothing when nobody can say.
pub(super) fn is_recent(told: &TokenFacts, asked: &Asked<'_>, within: Duration) -> Option<bool> {
    let (now, then) = (asked.facts.moment?, told.authenticated?);
    // Of the future nobody can say anything.
    (then <= now + SKEW).then(|| now - then <= within)
}

/// What the token tells, where one was verified.
fn by_token(asked: &Asked<'_>, truth: impl Fn(&TokenFacts) -> Truth) -> Truth {
    asked.told().map_or_else(|otherwise| otherwise, truth)
}

/// A method that is not known may be any.
fn methods_truth(wanted: &[Method], told: &TokenFacts) -> Truth {
    let foreign = |method: &Method| matches!(method, Method::Other(_));
    if told.methods.iter().any(|method| wanted.contains(method)) {
        Truth::TRUE
    } else if told.methods.is_empty() || told.methods.iter().any(foreign) {
        Truth::UNKNOWN
    } else {
        Truth::FALSE
    }
}

/// A claim that is true or false.
fn flag(told: &TokenFacts, name: &str) -> Truth {
    match word(told, name).as_deref() {
        Some("true" | "1") => Truth::TRUE,
        Some("false" | "0") => Truth::FALSE,
        _ => Truth::UNKNOWN,
    }
}

/// The one value of a claim, in lower case.
fn word(told: &TokenFacts, name: &str) -> Option<String> {
    let values = told.values.get(name)?;
    let first = values.first()?.trim().to_lowercase();
    let same = values
        .iter()
        .all(|value| value.trim().to_lowercase() == first);
    (same && !told.missing.contains(name)).then_some(first)
}

/// Identifiers are compared to the byte. One that differs in case, blanks or a slash at its end alone
/// may be the same to the server, so it is unknown.
fn party_truth(wanted: &Parties, asked: &Asked<'_>) -> Truth {
    match &asked.party {
        Some((exact, _)) if wanted.exact.iter().any(|known| known == exact) => Truth::TRUE,
        Some((_, folded)) if wanted.folded.contains(folded) => Truth::UNKNOWN,
        Some(_) => Truth::FALSE,
        None if asked.facts.relying_party == Said::None => Truth::FALSE,
        None => Truth::UNKNOWN,
    }
}

//! Conditions, and the three truths they can have.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use super::asked::{Asked, Names, Parties, Who};
use crate::{Client, Flow, Said};
use weir_abi::Class;

/// True, false, or nobody can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    fn of(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// All conditions of a rule.
#[derive(Clone, Debug)]
pub(crate) struct When {
    pub(crate) bits: Bits,
    pub(crate) rest: Vec<Condition>,
}

/// Class, flow and client as bit sets, users and relying parties as one bit of a hash each: most rules
/// are dismissed by these alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits {
    pub(crate) users: u64,
    pub(crate) parties: u64,
    pub(crate) flows: u16,
    pub(crate) classes: u8,
    pub(crate) clients: u8,
}

impl Bits {
    /// Nothing meets these.
    pub(crate) const NEVER: Self = Self {
        users: 0,
        parties: 0,
        flows: 0,
        classes: 0,
        clients: 0,
    };

    /// Whether the conditions that are bit sets hold, and those on users and relying parties are not
    /// false for certain.
    pub(crate) fn hold(self, asked: &Asked<'_>) -> bool {
        self.classes & asked.classes != 0
            && self.flows & asked.flow != 0
            && self.clients & asked.client != 0
            && self.users & asked.users != 0
            && self.parties & asked.parties != 0
    }
}

/// Everything that is not a bit set.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    List(HashSet<String>),
    Source(Vec<IpNet>),
    Host(HashSet<String>),
    RelyingParty(Parties),
    Application(Vec<Application>),
    User {
        names: Names,
        domains: Names,
    },
    Path(&'static [&'static str]),
    /// There is a directory.
    Directory,
    /// The user is certain, and the directory knows them.
    KnownUser,
    Not(Box<When>),
}

/// A named set of relying parties and host names.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    pub(crate) name: String,
    pub(crate) relying_parties: Parties,
    pub(crate) hosts: HashSet<String>,
}

impl When {
    /// Conditions that everything meets.
    pub(crate) const fn always() -> Self {
        Self {
            bits: Bits {
                users: u64::MAX,
                parties: u64::MAX,
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
        match &condition {
            Condition::User { names, domains } => {
                self.bits.users = names.bits() | domains.bits();
            }
            Condition::RelyingParty(parties) => self.bits.parties = parties.folded.bits(),
            _ => {}
        }
        self.rest.push(condition);
        self
    }

    pub(crate) fn truth(&self, asked: &Asked<'_>) -> Truth {
        if !self.bits.hold(asked) {
            return Truth::False;
        }
        let mut truth = Truth::True;
        for condition in &self.rest {
            match condition.truth(asked) {
                Truth::True => {}
                Truth::False => return Truth::False,
                Truth::Unknown => truth = Truth::Unknown,
            }
        }
        truth
    }

    /// In words: the first condition that does not hold, else those that are unknown, else all.
    pub(crate) fn why(&self, asked: &Asked<'_>, restricts: bool) -> String {
        let facts = asked.facts;
        let mut held = Vec::new();
        if self.bits.classes != u8::MAX {
            let relayed = if facts.source.relayed {
                " behind a relay"
            } else {
                ""
            };
            let words = format!("class is {}{relayed}", facts.class.name());
            if self.bits.classes & asked.classes == 0 {
                let wanted = names(u16::from(self.bits.classes), &Class::ALL.map(Class::name));
                return format!("{words}, not {wanted}");
            }
            held.push(words);
        }
        if self.bits.flows != u16::MAX {
            let words = format!("flow is {}", facts.flow.name());
            if self.bits.flows & asked.flow == 0 {
                return format!(
                    "{words}, not {}",
                    names(self.bits.flows, &Flow::ALL.map(Flow::name))
                );
            }
            held.push(words);
        }
        if self.bits.clients != u8::MAX {
            let words = format!("client is {}", facts.client.name());
            if self.bits.clients & asked.client == 0 {
                let wanted = names(u16::from(self.bits.clients), &Client::ALL.map(Client::name));
                return format!("{words}, not {wanted}");
            }
            held.push(words);
        }
        let mut unknown = Vec::new();
        for condition in &self.rest {
            let words = condition.words(asked);
            match condition.truth(asked) {
                Truth::True => held.push(words),
                Truth::False => return words,
                Truth::Unknown => unknown.push(words),
            }
        }
        if !unknown.is_empty() {
            let mut text = unknown.join("; ");
            let effect = if restricts {
                ": unknown is enough for a rule that restricts"
            } else {
                ": unknown never passes"
            };
            let _ = write!(text, "{effect}");
            return text;
        }
        if held.is_empty() {
            "no conditions".to_owned()
        } else {
            held.join(", ")
        }
    }
}

impl Condition {
    pub(crate) fn truth(&self, asked: &Asked<'_>) -> Truth {
        let facts = asked.facts;
        match self {
            Self::List(lists) => Truth::of(
                facts
                    .source
                    .list
                    .as_ref()
                    .is_some_and(|list| lists.contains(list)),
            ),
            Self::Source(prefixes) => facts
                .source
                .effective
                .map_or(Truth::Unknown, |source| Truth::of(holds(prefixes, source))),
            Self::Host(hosts) => Truth::of(hosts.contains(&facts.host)),
            Self::RelyingParty(parties) => party_truth(parties, asked),
            Self::Application(applications) => {
                let mut truth = Truth::False;
                for application in applications {
                    match application.truth(asked) {
                        Truth::True => return Truth::True,
                        Truth::Unknown => truth = Truth::Unknown,
                        Truth::False => {}
                    }
                }
                truth
            }
            Self::User { names, domains } => user_truth(names, domains, &asked.user),
            Self::Path(paths) => Truth::of(paths.contains(&facts.path.trim_end_matches('/'))),
            Self::Directory => Truth::of(asked.directory.is_there()),
            Self::KnownUser => match asked.user.certain() {
                Some(user) => asked
                    .directory
                    .knows(user)
                    .map_or(Truth::Unknown, Truth::of),
                None if matches!(asked.user, Who::Nobody) => Truth::False,
                None => Truth::Unknown,
            },
            Self::Not(inner) => inner.truth(asked).not(),
        }
    }

    fn words(&self, asked: &Asked<'_>) -> String {
        let facts = asked.facts;
        match self {
            Self::List(_) => match &facts.source.list {
                Some(list) => format!("list is {list}"),
                None => "the source is on no list".to_owned(),
            },
            Self::Source(_) => match facts.source.effective {
                Some(source) => format!("source is {source}"),
                None => "the relay does not say who stands behind it".to_owned(),
            },
            Self::Host(_) => format!("host is {}", facts.host),
            Self::Application(_) if !facts.applications.is_empty() => {
                format!("application is {}", facts.applications.join(", "))
            }
            Self::Application(_) | Self::RelyingParty(_) => {
                said("relying party", &facts.relying_party)
            }
            Self::User { .. } => said("user", &facts.user),
            Self::Directory => if asked.directory.is_there() {
                "there is a directory of users"
            } else {
                "there is no directory of users"
            }
            .to_owned(),
            Self::KnownUser => {
                let words = said("user", &facts.user);
                match asked.user.certain().map(|user| asked.directory.knows(user)) {
                    Some(Some(true)) => format!("{words}, whom the directory knows"),
                    Some(Some(false)) => format!("{words}, whom the directory does not know"),
                    Some(None) => format!("{words}, and there is no directory of users"),
                    None => words,
                }
            }
            Self::Path(_) => format!("path is {}", facts.path),
            Self::Not(inner) => format!("not ({})", inner.why(asked, true)),
        }
    }
}

impl Application {
    pub(crate) fn truth(&self, asked: &Asked<'_>) -> Truth {
        if self.hosts.contains(&asked.facts.host) {
            return Truth::True;
        }
        if self.relying_parties.exact.is_empty() {
            return Truth::False;
        }
        party_truth(&self.relying_parties, asked)
    }
}

/// Identifiers are compared to the byte. One that differs in case, blanks or a slash at its end alone
/// may be the same to the server, so it is unknown.
fn party_truth(wanted: &Parties, asked: &Asked<'_>) -> Truth {
    match &asked.party {
        Some((exact, _)) if wanted.exact.contains(exact) => Truth::True,
        Some((_, folded)) if wanted.folded.contains(folded) => Truth::Unknown,
        Some(_) => Truth::False,
        None if asked.facts.relying_party == Said::None => Truth::False,
        None => Truth::Unknown,
    }
}

/// A stated user proves nothing, whoever it is: whether the rule is about the one who signs in stays
/// unknown. So a statement can neither earn a pass nor talk a request out of a block. `CORP\name`, a
/// name alone or a look-alike may be an account that the rule names otherwise.
fn user_truth(names: &Names, domains: &Names, user: &Who) -> Truth {
    match user {
        Who::Nobody => Truth::False,
        Who::Certain(name, _) if names.contains(name) => Truth::True,
        Who::Certain(_, Some(domain)) => Truth::of(domains.contains(domain)),
        Who::Unknown | Who::Certain(_, None) => Truth::Unknown,
    }
}

fn holds(prefixes: &[IpNet], source: IpAddr) -> bool {
    prefixes.iter().any(|prefix| prefix.contains(&source))
}

fn said(what: &str, said: &Said) -> String {
    match said {
        Said::None => format!("nobody signs in by this flow: no {what}"),
        Said::Unknown(why) => format!("{what} is unknown, {why}"),
        Said::Stated(values) => {
            format!(
                "{what} is said to be {}, which proves nothing",
                values.join(", ")
            )
        }
        Said::Bound(value) => format!("{what} is {value}"),
    }
}

fn names(bits: u16, all: &[&str]) -> String {
    let set: Vec<&str> = (0..)
        .zip(all)
        .filter(|(bit, _)| bits & 1 << bit != 0)
        .map(|(_, name)| *name)
        .collect();
    set.join(" or ")
}

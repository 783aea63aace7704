//! What a request asks, worked out once for all rules.

use std::cell::OnceCell;
use std::sync::Arc;

use weir_directory::Who;

use super::class_bits;
use super::condition::{Role, Written};
use super::groups;
use super::truth::Truth;
use crate::resident::{By, Ear, Hearing, Several};
use crate::{Answers, Directory, Facts, Said, TokenFacts, Told, Wanted, Word};

/// What is asked, worked out once for all rules.
#[derive(Clone)]
pub(crate) struct Asked<'a> {
    pub(super) facts: &'a Facts,
    pub(super) directory: &'a dyn Directory,
    ear: Ear<'a>,
    pub(super) token: Known<'a>,
    pub(super) classes: u8,
    pub(super) flow: u16,
    pub(super) client: u8,
    /// The user, by the word of the request.
    pub(super) user: Person,
    /// The user in lower case, by the word of the request, when that is certain.
    pub(super) bound: Option<String>,
    /// The user, by the word of a verified token.
    pub(super) proved: Person,
    /// The groups that a verified token names, once somebody asks.
    groups: OnceCell<groups::Named<'a>>,
    /// Relying party to the byte, and folded, when it is certain.
    pub(super) party: Option<(&'a str, String)>,
}

/// What the token told, as far as rules care.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'a> {
    /// No token that could be believed, now or later.
    Nothing,
    Ahead,
    /// As [`Known::Nothing`]; the request was let through, and counted, before.
    Unbelieved,
    Verified(&'a TokenFacts),
}

/// The user, as far as that is certain.
#[derive(Clone, Debug)]
pub(super) enum Person {
    Nobody,
    Unknown,
    /// A name in lower case that may stand for an account which has another.
    Unsure(String),
    /// Name and domain, in lower case.
    Certain(String, String),
}

/// Identifiers of relying parties: to the byte, and folded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parties {
    pub(super) exact: Vec<String>,
    pub(super) folded: Vec<String>,
}

impl Parties {
    pub(crate) fn new(parties: &[String]) -> Self {
        Self {
            exact: parties.to_vec(),
            folded: parties.iter().map(|party| fold_party(party)).collect(),
        }
    }
}

impl<'a> Asked<'a> {
    pub(crate) fn new(
        facts: &'a Facts,
        directory: &'a dyn Directory,
        wanted: &'a Arc<Wanted>,
        hearing: &'a Hearing,
    ) -> Self {
        let token = match &facts.token {
            Told::Nothing(_) => Known::Nothing,
            Told::Ahead => Known::Ahead,
            Told::Verified(told) => Known::Verified(told),
            Told::Unbelieved(_) => Known::Unbelieved,
        };
        let party = match &facts.relying_party {
            Said::Bound(party) => Some((party.as_str(), fold_party(party))),
            Said::None | Said::Unknown(_) | Said::Stated(_) => None,
        };
        let (user, bound) = match &facts.user {
            Said::None => (Person::Nobody, None),
            Said::Unknown(_) | Said::Stated(_) => (Person::Unknown, None),
            Said::Bound(user) => {
                let user = user.trim().to_lowercase();
                (Person::of(user.clone()), Some(user))
            }
        };
        let upn = match token {
            Known::Verified(told) => only(told, "upn"),
            _ => None,
        };
        Self {
            facts,
            directory,
            ear: Ear {
                hearing,
                recorded: &facts.directory,
                directory,
                wanted,
            },
            token,
            classes: class_bits(facts),
            flow: 1 << facts.flow as u16,
            client: 1 << facts.client as u8,
            user,
            bound,
            proved: upn.map_or(Person::Unknown, |upn| Person::of(upn.trim().to_lowercase())),
            groups: OnceCell::new(),
            party,
        }
    }

    /// The same, if the token on its way cannot be believed.
    pub(super) fn without_token(&self) -> Self {
        Self {
            token: Known::Unbelieved,
            proved: Person::Unknown,
            groups: OnceCell::new(),
            ..self.clone()
        }
    }

    /// What the token told, where somebody signs in and it was verified; else the truth of every
    /// condition about it.
    pub(super) fn told(&self) -> Result<&'a TokenFacts, Truth> {
        match self.token {
            _ if matches!(self.user, Person::Nobody) => Err(Truth::FALSE),
            Known::Verified(told) => Ok(told),
            Known::Ahead => Err(Truth::OPEN),
            Known::Nothing | Known::Unbelieved => Err(Truth::UNKNOWN),
        }
    }

    /// Whether the user is one of these names, or of one of these domains. A stated user proves
    /// nothing, whoever it is: whether the rule is about the one who signs in stays unknown. So a
    /// statement can neither earn a pass nor talk a request out of a block. `CORP\name`, a name alone or
    /// a look-alike may be an account that the rule names otherwise.
    pub(super) fn is_user(&self, names: &[String], domains: &[String]) -> Truth {
        if matches!(self.user, Person::Nobody) {
            return Truth::FALSE;
        }
        self.is_who(
            || self.user.is_one_of(names, domains),
            |_| self.proved.is_one_of(names, domains),
        )
    }

    /// Whether the user is in one of these groups.
    pub(super) fn is_in_group(&self, wanted: &[groups::Group]) -> Truth {
        if matches!(self.user, Person::Nobody) {
            return Truth::FALSE;
        }
        Truth::any(wanted.iter().map(|group| {
            let says = |by| truth(self.groups_of(by).and_then(|all| all.get(group.number)));
            self.is_who(
                || says(By::Request),
                |told| {
                    let named = self.named(told);
                    if named.has(group) {
                        return Truth::TRUE;
                    }
                    match says(By::Token) {
                        Truth::UNKNOWN if named.has_all(group.kind) => Truth::FALSE,
                        truth => truth,
                    }
                },
            )
        }))
    }

    /// Whether the user holds one of these roles: the token may name it, or the directory.
    pub(super) fn holds_role(&self, wanted: &[Role]) -> Truth {
        if matches!(self.user, Person::Nobody) {
            return Truth::FALSE;
        }
        Truth::any(wanted.iter().map(|role| {
            let says = |by| truth(self.roles_of(by).and_then(|all| all.get(role.number)));
            self.is_who(
                || says(By::Request),
                |told| match (role.claim.truth(told), says(By::Token)) {
                    (Truth::TRUE, _) => Truth::TRUE,
                    (by_token, Truth::UNKNOWN) => by_token,
                    (_, truth) => truth,
                },
            )
        }))
    }

    /// Whether what is written of the user is one of these values.
    pub(super) fn is_written(&self, wanted: &Written) -> Truth {
        if matches!(self.user, Person::Nobody) {
            return Truth::FALSE;
        }
        let says = |by| {
            let answers = self.answers(by);
            answers.map_or(Truth::UNKNOWN, |all| {
                wanted.truth(all.attribute(wanted.number))
            })
        };
        self.is_who(|| says(By::Request), |_| says(By::Token))
    }

    /// What the directory says of the user by one word; nothing when that names nobody.
    pub(super) fn answers(&self, by: By) -> Option<&'a Answers> {
        self.ear.answers(by, || match (by, self.token) {
            (By::Request, _) => self.principal_of_request(),
            (By::Token, Known::Verified(told)) => self.principal_of_token(told),
            (By::Token, _) => Who::default(),
        })
    }

    /// The groups of the user by one word; nothing when nobody can say.
    pub(super) fn groups_of(&self, by: By) -> Option<&'a Several> {
        self.answers(by)?.groups.as_ref()
    }

    /// The roles of the user, in the same way.
    pub(super) fn roles_of(&self, by: By) -> Option<&'a Several> {
        self.answers(by)?.roles.as_ref()
    }

    /// Whether there is a directory of users.
    pub(super) fn has_directory(&self) -> bool {
        self.ear.is_there()
    }

    /// Whether the user whom the request names for certain is known; nothing when it names nobody.
    pub(super) fn is_known(&self) -> Option<Word> {
        let user = self.bound.as_deref()?;
        Some(Word::of(self.ear.knows(user)))
    }

    /// The groups that the token names.
    pub(super) fn named(&self, told: &'a TokenFacts) -> &groups::Named<'a> {
        self.groups.get_or_init(|| groups::Named::new(told))
    }

    /// What holds of the user, by the request's own word and by the token's. Where no token is looked at
    /// the request's counts. Else the token says who it is, because one may sign in by a name that is not
    /// that of the account; and whoever says to be somebody else is, for a rule that restricts, that one
    /// too.
    fn is_who(
        &self,
        by_request: impl Fn() -> Truth,
        by_token: impl FnOnce(&'a TokenFacts) -> Truth,
    ) -> Truth {
        match self.token {
            Known::Nothing => by_request(),
            Known::Ahead if by_request() == Truth::TRUE => Truth::RESTRICTS,
            Known::Ahead => Truth::OPEN,
            Known::Unbelieved => Truth::UNKNOWN,
            Known::Verified(told) => match by_token(told) {
                Truth::FALSE if by_request() == Truth::TRUE => Truth::UNKNOWN,
                truth => truth,
            },
        }
    }

    /// Who it is by the word of the request alone.
    fn principal_of_request(&self) -> Who<'_> {
        let upn = match &self.user {
            Person::Certain(name, _) => Some(name.as_str()),
            Person::Nobody | Person::Unknown | Person::Unsure(_) => None,
        };
        Who {
            upn,
            ..Who::default()
        }
    }

    /// Who it is by the word of the token alone.
    fn principal_of_token(&self, told: &'a TokenFacts) -> Who<'_> {
        Who {
            upn: self.proved.name(),
            object_id: only(told, "object_id"),
            tenant_id: only(told, "tenant_id"),
            immutable_id: only(told, "immutable_id"),
            sid: only(told, "sid"),
        }
    }
}

/// What the directory says, or nothing when nobody can say.
fn truth(said: Option<bool>) -> Truth {
    said.map_or(Truth::UNKNOWN, Truth::of)
}

impl Person {
    fn of(user: String) -> Self {
        match user.split_once('@') {
            Some((name, domain)) if is_sure(name) && is_sure(domain) => {
                let domain = domain.to_owned();
                Self::Certain(user, domain)
            }
            _ => Self::Unsure(user),
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Certain(name, _) | Self::Unsure(name) => Some(name),
            Self::Nobody | Self::Unknown => None,
        }
    }

    /// Whether it is one of these names, or of one of these domains.
    fn is_one_of(&self, names: &[String], domains: &[String]) -> Truth {
        match self {
            Self::Nobody => Truth::FALSE,
            Self::Certain(name, domain) => {
                Truth::of(names.contains(name) || domains.contains(domain))
            }
            Self::Unsure(name) if names.contains(name) => Truth::TRUE,
            Self::Unsure(_) | Self::Unknown => Truth::UNKNOWN,
        }
    }
}

/// The value of a claim that has one.
fn only<'a>(told: &'a TokenFacts, name: &str) -> Option<&'a str> {
    match told.values.get(name)?.as_slice() {
        [value] if !told.missing.contains(name) => Some(value),
        _ => None,
    }
}

fn fold_party(party: &str) -> String {
    party.trim().trim_end_matches('/').to_lowercase()
}

fn is_sure(part: &str) -> bool {
    !part.is_empty()
        && !part.ends_with('.')
        && part
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"@\\\"".contains(&byte))
}

//! What a request asks, worked out once for all rules.

use std::cell::OnceCell;

use super::class_bits;
use super::groups;
use super::truth::Truth;
use crate::{Directory, Facts, Principal, Said, TokenFacts, Told};

/// What is asked, worked out once for all rules.
#[derive(Clone)]
pub(crate) struct Asked<'a> {
    pub(super) facts: &'a Facts,
    pub(super) directory: &'a dyn Directory,
    pub(super) token: Known<'a>,
    pub(super) classes: u8,
    pub(super) flow: u16,
    pub(super) client: u8,
    /// The user, by the word of the request.
    pub(super) user: Who,
    /// The user in lower case, by the word of the request, when that is certain.
    pub(super) bound: Option<String>,
    /// The user, by the word of a verified token.
    pub(super) proved: Who,
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
pub(super) enum Who {
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
    pub(crate) fn new(facts: &'a Facts, directory: &'a dyn Directory) -> Self {
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
            Said::None => (Who::Nobody, None),
            Said::Unknown(_) | Said::Stated(_) => (Who::Unknown, None),
            Said::Bound(user) => {
                let user = user.trim().to_lowercase();
                (Who::of(user.clone()), Some(user))
            }
        };
        let upn = match token {
            Known::Verified(told) => only(told, "upn"),
            _ => None,
        };
        Self {
            facts,
            directory,
            token,
            classes: class_bits(facts),
            flow: 1 << facts.flow as u16,
            client: 1 << facts.client as u8,
            user,
            bound,
            proved: upn.map_or(Who::Unknown, |upn| Who::of(upn.trim().to_lowercase())),
            groups: OnceCell::new(),
            party,
        }
    }

    /// The same, if the token on its way cannot be believed.
    pub(super) fn without_token(&self) -> Self {
        Self {
            token: Known::Unbelieved,
            proved: Who::Unknown,
            groups: OnceCell::new(),
            ..self.clone()
        }
    }

    /// What the token told, where somebody signs in and it was verified; else the truth of every
    /// condition about it.
    pub(super) fn told(&self) -> Result<&'a TokenFacts, Truth> {
        match self.token {
            _ if matches!(self.user, Who::Nobody) => Err(Truth::FALSE),
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
        if matches!(self.user, Who::Nobody) {
            return Truth::FALSE;
        }
        self.is_who(
            || self.user.is_one_of(names, domains),
            |_| self.proved.is_one_of(names, domains),
        )
    }

    /// Whether the user is in one of these groups.
    pub(super) fn is_in_group(&self, wanted: &[groups::Group]) -> Truth {
        if matches!(self.user, Who::Nobody) {
            return Truth::FALSE;
        }
        Truth::any(wanted.iter().map(|group| {
            let by_request = || self.member(&self.principal_of_request(), group);
            self.is_who(by_request, |told| {
                let named = self.named(told);
                if named.has(group) {
                    return Truth::TRUE;
                }
                match self.member(&self.principal_of_token(told), group) {
                    Truth::UNKNOWN if named.has_all(group.kind) => Truth::FALSE,
                    truth => truth,
                }
            })
        }))
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

    /// What the directory says of a group and of somebody.
    fn member(&self, who: &Principal<'_>, group: &groups::Group) -> Truth {
        let asks = *who != Principal::default() && self.directory.has_groups();
        let found = asks.then(|| self.directory.is_member(who, &group.written));
        found.flatten().map_or(Truth::UNKNOWN, Truth::of)
    }

    /// Who it is by the word of the request alone.
    fn principal_of_request(&self) -> Principal<'_> {
        let upn = match &self.user {
            Who::Certain(name, _) => Some(name.as_str()),
            Who::Nobody | Who::Unknown | Who::Unsure(_) => None,
        };
        Principal {
            upn,
            ..Principal::default()
        }
    }

    /// Who it is by the word of the token alone.
    fn principal_of_token(&self, told: &'a TokenFacts) -> Principal<'_> {
        Principal {
            upn: self.proved.name(),
            object_id: only(told, "object_id"),
            tenant_id: only(told, "tenant_id"),
            immutable_id: only(told, "immutable_id"),
            sid: only(told, "sid"),
        }
    }
}

impl Who {
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

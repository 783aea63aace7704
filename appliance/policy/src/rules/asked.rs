//! What a request asks, worked out once for all rules.

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
    pub(super) user: Who,
    /// The user in lower case, by the word of the request alone, when that is certain.
    pub(super) bound: Option<String>,
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
        let (mut user, bound) = match &facts.user {
            Said::None => (Who::Nobody, None),
            Said::Unknown(_) | Said::Stated(_) => (Who::Unknown, None),
            Said::Bound(user) => {
                let user = user.trim().to_lowercase();
                (Who::of(user.clone()), Some(user))
            }
        };
        // The request's own word stays where it is certain; else the token's counts.
        if let (Who::Unknown | Who::Unsure(_), Known::Verified(told)) = (&user, token)
            && let Some(upn) = only(told, "upn")
        {
            user = Who::of(upn.trim().to_lowercase());
        }
        Self {
            facts,
            directory,
            token,
            classes: class_bits(facts),
            flow: 1 << facts.flow as u16,
            client: 1 << facts.client as u8,
            user,
            bound,
            party,
        }
    }

    /// The same, if the token on its way cannot be believed.
    pub(super) fn without_token(&self) -> Self {
        Self {
            token: Known::Unbelieved,
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
        match &self.user {
            Who::Nobody => Truth::FALSE,
            Who::Certain(name, domain) => {
                Truth::of(names.contains(name) || domains.contains(domain))
            }
            Who::Unsure(name) if names.contains(name) => Truth::TRUE,
            Who::Unsure(_) | Who::Unknown => self.told().err().unwrap_or(Truth::UNKNOWN),
        }
    }

    /// Whether the user is in one of these groups.
    pub(super) fn is_in_group(&self, wanted: &[groups::Group]) -> Truth {
        Truth::any(wanted.iter().map(|group| {
            let (by_token, complete) = match self.told() {
                Ok(told) => groups::of(told, group),
                Err(Truth::FALSE) => return Truth::FALSE,
                Err(_) => (false, false),
            };
            if by_token {
                return Truth::TRUE;
            }
            match self.member(&group.written) {
                Some(true) => Truth::TRUE,
                _ if matches!(self.token, Known::Ahead) => Truth::OPEN,
                Some(false) => Truth::FALSE,
                None if complete => Truth::FALSE,
                None => Truth::UNKNOWN,
            }
        }))
    }

    /// What the directory says of a group and of the user, when the user is certain.
    fn member(&self, group: &str) -> Option<bool> {
        if !self.directory.has_groups() {
            return None;
        }
        let mut who = Principal::default();
        if let Ok(told) = self.told() {
            who = Principal {
                upn: only(told, "upn"),
                object_id: only(told, "object_id"),
                tenant_id: only(told, "tenant_id"),
                immutable_id: only(told, "immutable_id"),
                sid: only(told, "sid"),
            };
        }
        let upn = match (&self.user, who.upn) {
            (Who::Certain(name, _), _) => Some(name.clone()),
            (_, upn) => upn.map(str::to_lowercase),
        };
        who.upn = upn.as_deref();
        (who != Principal::default()).then(|| self.directory.is_member(&who, group))?
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

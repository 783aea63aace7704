//! What a request asks, worked out once for all rules.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::class_bits;
use crate::{Directory, Facts, Said};

/// What is asked, worked out once for all rules.
#[derive(Clone)]
pub(crate) struct Asked<'a> {
    pub(super) facts: &'a Facts,
    pub(super) directory: &'a dyn Directory,
    pub(super) classes: u8,
    pub(super) flow: u16,
    pub(super) client: u8,
    /// Bits of the user's name and domain; all of them when the user may be anybody.
    pub(super) users: u64,
    /// Bit of the relying party; all of them when it may be any.
    pub(super) parties: u64,
    pub(super) user: Who,
    /// Relying party to the byte, and folded, when it is certain.
    pub(super) party: Option<(Name, Name)>,
}

/// The user, as far as that is certain.
#[derive(Clone, Debug)]
pub(super) enum Who {
    Nobody,
    Unknown,
    /// Folded name; its domain when the name can stand for one account only.
    Certain(Name, Option<Name>),
}

/// A text and its hash, so that most comparisons are one of two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    hash: u64,
    text: String,
}

/// A set of texts. Rules have few of them each, and there are many rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Vec<Name>);

/// Identifiers of relying parties: to the byte, and folded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parties {
    pub(super) exact: Names,
    pub(super) folded: Names,
}

impl Name {
    fn new(text: String) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            text,
        }
    }

    /// One bit of 64, by the hash.
    fn bit(&self) -> u64 {
        1 << (self.hash >> 58)
    }
}

impl Names {
    /// The bits of all of them: a name whose bit is not there is none of them.
    pub(super) fn bits(&self) -> u64 {
        self.0.iter().fold(0, |bits, name| bits | name.bit())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, name: &Name) -> bool {
        self.0.iter().any(|known| known == name)
    }
}

impl FromIterator<String> for Names {
    fn from_iter<T: IntoIterator<Item = String>>(names: T) -> Self {
        Self(names.into_iter().map(Name::new).collect())
    }
}

impl Parties {
    pub(crate) fn new(parties: &[String]) -> Self {
        Self {
            exact: parties.iter().cloned().collect(),
            folded: parties.iter().map(|party| fold_party(party)).collect(),
        }
    }
}

impl<'a> Asked<'a> {
    pub(crate) fn new(facts: &'a Facts, directory: &'a dyn Directory) -> Self {
        let party = match &facts.relying_party {
            Said::Bound(party) => Some((Name::new(party.clone()), Name::new(fold_party(party)))),
            Said::None | Said::Unknown(_) | Said::Stated(_) => None,
        };
        let user = Who::of(&facts.user);
        let users = match &user {
            Who::Nobody => 1,
            Who::Certain(name, Some(domain)) => name.bit() | domain.bit(),
            Who::Certain(_, None) | Who::Unknown => u64::MAX,
        };
        let parties = match &party {
            Some((_, folded)) => folded.bit(),
            None if facts.relying_party == Said::None => 1,
            None => u64::MAX,
        };
        Self {
            facts,
            directory,
            users,
            parties,
            classes: class_bits(facts),
            flow: 1 << facts.flow as u16,
            client: 1 << facts.client as u8,
            user,
            party,
        }
    }
}

impl Who {
    /// The name in lower case, when it is certain.
    pub(super) fn certain(&self) -> Option<&str> {
        match self {
            Self::Certain(name, _) => Some(&name.text),
            Self::Nobody | Self::Unknown => None,
        }
    }

    fn of(user: &Said) -> Self {
        match user {
            Said::None => Self::Nobody,
            Said::Unknown(_) | Said::Stated(_) => Self::Unknown,
            Said::Bound(user) => {
                let user = user.trim().to_lowercase();
                let domain = match user.split_once('@') {
                    Some((name, domain)) if is_sure(name) && is_sure(domain) => {
                        Some(Name::new(domain.to_owned()))
                    }
                    _ => None,
                };
                Self::Certain(Name::new(user), domain)
            }
        }
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

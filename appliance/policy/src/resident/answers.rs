//! What a directory says of somebody: yes, no, or that nobody can say.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use weir_directory::{Found, Head, UserRef};

use super::UserAttribute;

/// Everything that a directory says of somebody to one policy, by the numbers of [`super::Wanted`].
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub(crate) epoch: u64,
    /// When users, groups and roles were last seen to be so.
    pub(crate) checked: [Option<i64>; 3],
    pub(crate) user: Sought,
    /// Object id of the user.
    pub(crate) id: Option<Uuid>,
    /// `None`: nobody can say of any.
    pub(crate) groups: Option<Several>,
    pub(crate) roles: Option<Several>,
    /// Empty: nobody can say.
    pub(crate) attributes: Vec<Value>,
}

/// Whether the directory has the one who is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sought {
    /// It has, by every name.
    Found,
    /// It has by the strongest name; a weaker one is not that user's.
    FoundDespite,
    /// It has nobody of these names. There may be somebody all the same: an account may be younger.
    NotFound,
    /// Several bear the strongest name.
    Ambiguous,
    /// A stronger name rules out whom a weaker one names.
    Contradictory,
    /// The names are those of another tenant.
    OtherTenant,
    /// Users were never synced, or are too old.
    TooOld,
    /// There is no directory of a tenant.
    #[default]
    NoDirectory,
}

/// Why nobody can say whether somebody is in a group, or holds a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unclear {
    /// The directory has nothing of that name.
    Unnamed,
    /// Several are called so.
    Ambiguous,
    /// Not all members can be read.
    Hidden,
    /// It was never synced, or is too old.
    Unsynced,
}

/// Answers to one kind of question, a bit for each.
#[derive(Clone, Debug)]
pub(crate) struct Several {
    yes: Vec<u64>,
    unclear: Arc<Unclears>,
}

/// The questions that have no answer, unless it is yes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unclears {
    bits: Vec<u64>,
    why: BTreeMap<u32, Unclear>,
}

/// What is written of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Unknown,
    Nothing,
    Is(String),
}

impl Answers {
    pub(super) fn of(head: &Head) -> Self {
        Self {
            epoch: head.epoch,
            checked: head.checked,
            user: Sought::TooOld,
            ..Self::default()
        }
    }

    /// What is written of an attribute, by its number.
    pub(crate) fn attribute(&self, number: usize) -> &Value {
        self.attributes.get(number).unwrap_or(&Value::Unknown)
    }
}

impl Sought {
    pub(super) fn of(found: Found<'_>) -> Self {
        match found {
            Found::One(_) => Self::Found,
            Found::Despite(..) => Self::FoundDespite,
            Found::None => Self::NotFound,
            Found::Ambiguous(_) => Self::Ambiguous,
            Found::Contradictory { .. } => Self::Contradictory,
            Found::OtherTenant => Self::OtherTenant,
            Found::Unknown => Self::TooOld,
        }
    }

    /// In words for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Found => "the directory has the user",
            Self::FoundDespite => {
                "the directory has the user by the strongest name, and a weaker one is not theirs"
            }
            Self::NotFound => "the directory has no user of these names",
            Self::Ambiguous => "several users of the directory bear this name",
            Self::Contradictory => "the names are those of different users of the directory",
            Self::OtherTenant => "the names are those of another tenant",
            Self::TooOld => "the users of the directory are too old, or were never synced",
            Self::NoDirectory => "there is no directory of a tenant",
        }
    }
}

impl Unclear {
    /// In words for people, after the name of a group or role.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Unnamed => "is not known to the directory",
            Self::Ambiguous => "is the name of several in the directory",
            Self::Hidden => "has members that cannot be read",
            Self::Unsynced => "is too old in the directory, or was never synced",
        }
    }
}

impl Several {
    pub(super) fn new(yes: Vec<u64>, unclear: &Arc<Unclears>) -> Self {
        let unclear = Arc::clone(unclear);
        Self { yes, unclear }
    }

    /// The answer; `None` when nobody can say.
    pub(crate) fn get(&self, number: u32) -> Option<bool> {
        if bit::get(&self.yes, number) {
            Some(true)
        } else {
            (!bit::get(&self.unclear.bits, number)).then_some(false)
        }
    }

    /// What is so.
    pub(crate) fn yes(&self) -> impl Iterator<Item = u32> {
        bit::all(&self.yes)
    }

    /// What nobody can say.
    pub(crate) fn unclear(&self) -> impl Iterator<Item = u32> {
        let of = bit::all(&self.unclear.bits);
        of.filter(|number| !bit::get(&self.yes, *number))
    }

    /// Why nobody can.
    pub(crate) fn why(&self, number: u32) -> Option<Unclear> {
        self.unclear.why.get(&number).copied()
    }
}

impl Extend<(u32, Unclear)> for Unclears {
    fn extend<T: IntoIterator<Item = (u32, Unclear)>>(&mut self, more: T) {
        for (number, why) in more {
            let words = number as usize / 64 + 1;
            if self.bits.len() < words {
                self.bits.resize(words, 0);
            }
            bit::set(&mut self.bits, number);
            self.why.insert(number, why);
        }
    }
}

impl Value {
    pub(super) fn of(attribute: UserAttribute, user: UserRef<'_>) -> Self {
        match attribute.of(user) {
            Some(value) => Self::Is(value.to_owned()),
            None if attribute.may_be_unsaid() => Self::Unknown,
            None => Self::Nothing,
        }
    }
}

/// Sets of numbers, as bits.
pub(super) mod bit {
    pub(in super::super) fn none(count: usize) -> Vec<u64> {
        vec![0; count.div_ceil(64)]
    }

    pub(in super::super) fn set(bits: &mut [u64], number: u32) {
        bits[number as usize / 64] |= 1 << (number % 64);
    }

    pub(in super::super) fn get(bits: &[u64], number: u32) -> bool {
        let word = bits.get(number as usize / 64);
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    pub(in super::super) fn all(bits: &[u64]) -> impl Iterator<Item = u32> {
        (0..).zip(bits).flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

//! What the directory said when a request was judged, so that the decision can be explained and tried again when
//! the directory says something else.
//!
//! Written are the names that rules have, not the directory's: groups that the user is in, those of which nobody
//! could say, and a mark of all that were asked, so that the rest is known to be a no.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use weir_directory::Who;

use super::answers::{Unclears, Value, bit};
use super::wanted::{Mark, What, marks_of};
use super::{Answers, Several, Sought, Unclear, Wanted};
use crate::Directory;

/// What the directory said when a request was judged; nothing of what it was not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Heard {
    /// Whether there was a directory of users.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_there: Option<bool>,
    /// Whether the user whom the request names was known to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knows: Option<Word>,
    /// What it said of the user whom the request names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_request: Option<Box<Answered>>,
    /// What it said of the user whom the token names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_token: Option<Box<Answered>>,
}

/// Yes, no, or that nobody could say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nobody could say.
    Unknown,
}

impl Word {
    pub(crate) const fn of(said: Option<bool>) -> Self {
        match said {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unknown,
        }
    }

    const fn said(self) -> Option<bool> {
        match self {
            Self::Yes => Some(true),
            Self::No => Some(false),
            Self::Unknown => None,
        }
    }

    /// The word used in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// What the directory of the tenant said of somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answered {
    /// Number of the snapshot; 0 when there was none.
    pub epoch: u64,
    /// When users, groups and roles were last seen to be so: seconds since 1970, UTC.
    pub checked: [Option<i64>; 3],
    /// Whether it had the user.
    pub user: Sought,
    /// Object id of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Groups; `None` when nobody could say of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Named>,
    /// Roles, in the same way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Named>,
    /// What was written of attributes: nothing, where there is no text. Those of which nobody could say are left out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Option<String>>,
    /// Marks of everything that the rules of then could ask.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub asked: String,
}

/// Groups or roles, by the names that rules have for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Those that the user is in, or holds.
    pub of: BTreeSet<String>,
    /// Those of which nobody could say, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unclear: BTreeMap<String, Unclear>,
}

impl Heard {
    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn by(&self, by: By) -> Option<&Answered> {
        match by {
            By::Request => self.of_request.as_deref(),
            By::Token => self.of_token.as_deref(),
        }
    }
}

/// By whose word somebody is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Request,
    Token,
}

/// What the directory says while a request is judged: asked once, and only if a rule wants to know.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    is_there: OnceCell<bool>,
    knows: OnceCell<Option<bool>>,
    /// Nothing when nobody is named.
    by: [OnceCell<Option<Answers>>; 2],
}

/// What is asked while a request is judged: what was recorded first, else the directory.
#[derive(Clone, Copy)]
pub(crate) struct Ear<'a> {
    pub(crate) hearing: &'a Hearing,
    pub(crate) recorded: &'a Heard,
    pub(crate) directory: &'a dyn Directory,
    pub(crate) wanted: &'a Arc<Wanted>,
}

impl<'a> Ear<'a> {
    pub(crate) fn is_there(&self) -> bool {
        let ask = || self.directory.is_there();
        let recorded = self.recorded.is_there;
        let cell = &self.hearing.is_there;
        *cell.get_or_init(|| recorded.unwrap_or_else(ask))
    }

    pub(crate) fn knows(&self, user: &str) -> Option<bool> {
        let recorded = self.recorded.knows;
        let cell = &self.hearing.knows;
        *cell.get_or_init(|| match recorded {
            Some(word) => word.said(),
            None => self.directory.knows(user),
        })
    }

    /// What is said of somebody; nothing when nobody is named.
    pub(crate) fn answers<'w>(&self, by: By, who: impl FnOnce() -> Who<'w>) -> Option<&'a Answers> {
        let cell = &self.hearing.by[by as usize];
        let ask = || {
            let who = who();
            if who == Who::default() {
                return None;
            }
            let look_up = || self.directory.look_up(&who, self.wanted);
            Some(match self.recorded.by(by) {
                Some(answered) => answered.answers(self.wanted, look_up),
                None => look_up(),
            })
        };
        cell.get_or_init(ask).as_ref()
    }
}

impl Hearing {
    /// What was said, for the record; what was recorded before stands.
    pub(crate) fn tell(self, before: &Heard, wanted: &Wanted) -> Heard {
        let [of_request, of_token] = self.by.map(|cell| {
            let answers = cell.into_inner().flatten();
            answers.map(|answers| Box::new(Answered::new(&answers, wanted)))
        });
        let knows = self.knows.into_inner().map(Word::of);
        Heard {
            is_there: before.is_there.or(self.is_there.into_inner()),
            knows: before.knows.or(knows),
            of_request: before.of_request.clone().or(of_request),
            of_token: before.of_token.clone().or(of_token),
        }
    }
}

impl Answered {
    fn new(answers: &Answers, wanted: &Wanted) -> Self {
        let attributes = wanted.attributes().iter().zip(&answers.attributes);
        let attributes = attributes.filter_map(|(attribute, value)| {
            let value = match value {
                Value::Unknown => return None,
                Value::Nothing => None,
                Value::Is(value) => Some(value.clone()),
            };
            Some((attribute.name().to_owned(), value))
        });
        let named = |several: &Several, names| Named::new(several, names);
        Self {
            epoch: answers.epoch,
            checked: answers.checked,
            user: answers.user,
            id: answers.id,
            groups: (answers.groups.as_ref()).map(|it| named(it, wanted.groups())),
            roles: (answers.roles.as_ref()).map(|it| named(it, wanted.roles())),
            attributes: attributes.collect(),
            asked: wanted.marks().to_owned(),
        }
    }

    /// The same answers to what a policy asks, which may be another one; what was not asked then is asked now.
    fn answers(&self, wanted: &Wanted, ask: impl FnOnce() -> Answers) -> Answers {
        let marks = (self.asked != wanted.marks()).then(|| marks_of(&self.asked));
        let was_asked = |mark: &Mark| {
            let mut marks = marks.iter();
            marks.all(|marks| marks.binary_search(mark).is_ok())
        };
        let kinds = [What::Group, What::Role, What::Attribute];
        let all_were = kinds
            .into_iter()
            .all(|what| wanted.marks_of(what).iter().all(was_asked));
        let now = if all_were { Answers::default() } else { ask() };
        let several = |what, named: &Option<Named>, now: &Option<Several>| {
            let mut of = Replayed::new(wanted.marks_of(what).len());
            for (number, mark) in (0..).zip(wanted.marks_of(what)) {
                match (was_asked(mark), named, now) {
                    (true, Some(_), _) => {}
                    (false, _, Some(now)) => of.add(number, now.get(number).ok_or(now.why(number))),
                    (true, None, _) | (false, _, None) => of.add(number, Err(None)),
                }
            }
            for (number, answer) in named.iter().flat_map(|named| named.by_number(what, wanted)) {
                of.add(number, answer);
            }
            Some(of.finish())
        };
        let groups = several(What::Group, &self.groups, &now.groups);
        let roles = several(What::Role, &self.roles, &now.roles);
        let attributes = wanted.attributes().iter().enumerate();
        let attributes = attributes.map(|(number, attribute)| {
            if !was_asked(&wanted.marks_of(What::Attribute)[number]) {
                return now.attribute(number).clone();
            }
            match self.attributes.get(attribute.name()) {
                None => Value::Unknown,
                Some(None) => Value::Nothing,
                Some(Some(value)) => Value::Is(value.clone()),
            }
        });
        Answers {
            epoch: self.epoch,
            checked: self.checked,
            user: self.user,
            id: self.id,
            attributes: attributes.collect(),
            groups,
            roles,
        }
    }
}

impl Named {
    fn new(several: &Several, names: &[String]) -> Self {
        let name = |number: u32| names.get(number as usize).cloned();
        let unclear = several
            .unclear()
            .filter_map(|number| Some((name(number)?, several.why(number)?)));
        Self {
            of: several.yes().filter_map(name).collect(),
            unclear: unclear.collect(),
        }
    }

    /// What was said of names that a policy has too, by its numbers.
    fn by_number(
        &self,
        what: What,
        wanted: &Wanted,
    ) -> impl Iterator<Item = (u32, Result<bool, Option<Unclear>>)> {
        let yes = self.of.iter().map(|name| (name, Ok(true)));
        let unclear = self
            .unclear
            .iter()
            .map(|(name, why)| (name, Err(Some(*why))));
        let all = yes.chain(unclear);
        all.filter_map(move |(name, answer)| Some((wanted.number(what, name)?, answer)))
    }
}

/// Answers that are put together again.
struct Replayed {
    yes: Vec<u64>,
    unclear: Unclears,
}

impl Replayed {
    fn new(count: usize) -> Self {
        Self {
            yes: bit::none(count),
            unclear: Unclears::default(),
        }
    }

    /// An answer, or why there is none.
    fn add(&mut self, number: u32, answer: Result<bool, Option<Unclear>>) {
        match answer {
            Ok(true) => bit::set(&mut self.yes, number),
            Ok(false) => {}
            Err(why) => self
                .unclear
                .extend([(number, why.unwrap_or(Unclear::Unsynced))]),
        }
    }

    fn finish(self) -> Several {
        Several::new(self.yes, &Arc::new(self.unclear))
    }
}

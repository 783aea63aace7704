//! What the tenant says of principals, as far as grants turn on it: whether the account may sign in, how far its
//! groups let its grants open, and whether what rules ask for is so. Pure: no I/O, no clock.
//!
//! In: the picture in force, as it may speak now, and what was told after it ([`Later`]); the groups of
//! `[[entra.group]]`; what the rules ask. Out: an answer, or that nobody can say, which is not a no: where a group
//! limits somebody and nobody knows who is in it, it limits everybody ([`Reach::Unknown`]).

mod later;

use std::fmt;

use uuid::Uuid;
use weir_abi::Class;
use weir_config::GroupClass;
use weir_directory::{Found, GroupFound, GroupRef, Part, Snapshot, UserRef, View, Who};
use weir_link::PrincipalId;
use weir_policy::{Lean, UserAttribute};

use crate::ledger::Reach;
pub use later::Later;

/// See the module.
pub struct Witness<'a> {
    tenant: Uuid,
    view: Option<View<'a>>,
    later: &'a Later,
    /// What limits most comes first.
    limits: Vec<Limit<'a>>,
    questions: Vec<(String, Question)>,
}

/// What became of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// It is there, and nothing says that it may not sign in.
    Live,
    /// It may not sign in.
    Disabled,
    /// It was there, and is not any more.
    Gone,
    /// It is not there; it may be younger than the picture.
    Absent,
    /// Nobody can say.
    Unknown,
}

/// Why grants of somebody open so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because<'a> {
    /// They are in this group.
    Group(&'a str),
    /// They are in none of the groups.
    None,
    /// Nobody can say whether they are in this one.
    Unsure(&'a str, Doubt),
}

/// Why nobody can say who is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// There is no picture, or it has no groups, or it is too old.
    Silent,
    /// There is no such group in it.
    NoGroup,
    /// Several bear the name.
    Ambiguous,
    /// Of more changes than are told one by one, no picture was drawn yet.
    Blind,
    /// The principal is of another tenant.
    OtherTenant,
    /// There is no such account in it.
    NoAccount,
    /// Not all of its members can be read.
    Incomplete,
}

/// A group that limits its members.
struct Limit<'a> {
    bound: &'a GroupClass,
    group: Group,
}

/// A group as somebody named it.
struct Group {
    id: Option<Uuid>,
    found: GroupFound,
}

/// What a rule asks.
enum Question {
    Group(Group),
    Role(Uuid),
    Attribute(UserAttribute, String),
}

impl<'a> Witness<'a> {
    /// Who speaks of this tenant by a picture of it, if there is one, at a time.
    pub fn new<B: AsRef<[u8]>>(
        tenant: Uuid,
        bound: &'a [GroupClass],
        leans: impl IntoIterator<Item = Lean<'a>>,
        picture: Option<(&'a Snapshot<B>, View<'a>)>,
        later: &'a Later,
    ) -> Self {
        let snapshot = picture.map(|(snapshot, _)| snapshot);
        let limits = bound.iter().map(|bound| Limit {
            bound,
            group: Group::new(snapshot, &bound.group),
        });
        let mut limits: Vec<_> = limits.collect();
        limits.sort_by_key(|limit| std::cmp::Reverse(rank(limit.bound.class)));
        let questions = leans.into_iter().filter_map(|lean| {
            let question = Question::new(snapshot, lean)?;
            Some((asked(lean), question))
        });
        Self {
            tenant,
            view: picture.map(|(_, view)| view),
            later,
            limits,
            questions: questions.collect(),
        }
    }

    /// What became of the account of a principal.
    pub fn account(&self, who: PrincipalId) -> Account {
        let Some(user) = self.object(who) else {
            return Account::Unknown;
        };
        if let Some(account) = self.later.account(user) {
            return account;
        }
        match self.find(user) {
            Some(Found::One(user)) if user.enabled() == Some(false) => Account::Disabled,
            Some(Found::One(_)) => Account::Live,
            Some(Found::None) => Account::Absent,
            _ => Account::Unknown,
        }
    }

    /// How far the grants of a principal open, and why: as far as the group lets them that limits most. Where no
    /// group limits anybody, nobody has to be known.
    pub fn reach(&self, who: PrincipalId) -> (Reach, Because<'a>) {
        let mut doubt = None;
        for limit in &self.limits {
            // What is beyond doubt by one group, another that limits no more does not make doubtful.
            let doubted = |(class, _): &(Class, _)| closes(*class) > closes(limit.bound.class);
            if doubt.as_ref().is_some_and(doubted) {
                break;
            }
            let name = limit.bound.group.as_str();
            match self.is_member(who, &limit.group) {
                Ok(true) => return (Reach::UpTo(limit.bound.class), Because::Group(name)),
                Ok(false) => {}
                Err(why) => {
                    doubt.get_or_insert((limit.bound.class, Because::Unsure(name, why)));
                }
            }
        }
        match doubt {
            // A group that limits nothing may have anybody.
            Some((class, because)) if closes(class) > 0 => (Reach::Unknown, because),
            _ => (Reach::UpTo(Class::Managed), Because::None),
        }
    }

    /// Whether some group limits its members.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// What it answers to each question of the rules about a principal; the questions are as
    /// [`asked`] writes them.
    pub fn answers(&self, who: PrincipalId) -> impl Iterator<Item = (&str, Option<bool>)> {
        let user = self.object(who).and_then(|user| self.find(user));
        let user = user.and_then(Found::user);
        self.questions.iter().map(move |(asked, question)| {
            let answer = match question {
                Question::Group(group) => self.is_member(who, group).ok(),
                Question::Role(role) => user.and_then(|user: UserRef<'_>| user.has_role(*role)),
                Question::Attribute(attribute, value) => {
                    user.and_then(|user| match attribute.of(user) {
                        Some(is) => Some(is.to_lowercase() == *value),
                        None => (!attribute.may_be_unsaid()).then_some(false),
                    })
                }
            };
            (asked.as_str(), answer)
        })
    }

    /// The groups that limit and of which nobody can say who is in them, in words.
    pub fn doubts(&self) -> Vec<String> {
        let limits = self
            .limits
            .iter()
            .filter(|limit| closes(limit.bound.class) > 0);
        let doubts = limits.filter_map(|limit| {
            let GroupClass { group, line, .. } = limit.bound;
            let why = self.sure(&limit.group).err()?;
            Some(format!("[[entra.group]] `{group}` (line {line}): {why}"))
        });
        doubts.collect()
    }

    fn is_member(&self, who: PrincipalId, group: &Group) -> Result<bool, Doubt> {
        let user = self.object(who).ok_or(Doubt::OtherTenant)?;
        if let Some(told) = group.id.and_then(|group| self.later.is_member(user, group)) {
            return Ok(told);
        }
        let group = self.sure(group)?;
        match self.find(user) {
            Some(Found::One(user)) => user.is_member(group).ok_or(Doubt::Incomplete),
            Some(Found::None) => Err(Doubt::NoAccount),
            _ => Err(Doubt::Silent),
        }
    }

    /// The group, where somebody can say who is in it.
    fn sure(&self, group: &Group) -> Result<GroupRef, Doubt> {
        match group.found {
            _ if !self.view.is_some_and(|view| view.is_known(Part::Groups)) => Err(Doubt::Silent),
            GroupFound::Unknown => Err(Doubt::Silent),
            GroupFound::None => Err(Doubt::NoGroup),
            GroupFound::Ambiguous(_) => Err(Doubt::Ambiguous),
            GroupFound::One(_) if self.later.is_blind() => Err(Doubt::Blind),
            GroupFound::One(group) => Ok(group),
        }
    }

    /// The id of a principal of this tenant.
    fn object(&self, who: PrincipalId) -> Option<Uuid> {
        (Uuid::from_u128(who.tenant()) == self.tenant).then(|| Uuid::from_u128(who.object()))
    }

    fn find(&self, user: Uuid) -> Option<Found<'a>> {
        let mut text = Uuid::encode_buffer();
        let object_id = &*user.hyphenated().encode_lower(&mut text);
        Some(self.view?.find(&Who {
            object_id: Some(object_id),
            ..Who::default()
        }))
    }
}

impl Group {
    fn new<B: AsRef<[u8]>>(snapshot: Option<&Snapshot<B>>, words: &str) -> Self {
        let found = snapshot.map_or(GroupFound::Unknown, |snapshot| snapshot.group(words));
        let id = match found {
            GroupFound::One(group) => snapshot.and_then(|snapshot| snapshot.group_id(group)),
            _ => Uuid::try_parse(words).ok(),
        };
        Self { id, found }
    }
}

impl Question {
    /// Nothing when no directory tells of it.
    fn new<B: AsRef<[u8]>>(snapshot: Option<&Snapshot<B>>, lean: Lean<'_>) -> Option<Self> {
        match lean {
            Lean::Group(group) => Some(Self::Group(Group::new(snapshot, group))),
            Lean::Role(role) => snapshot?.role(role).map(Self::Role),
            Lean::Attribute(attribute, value) => Some(Self::Attribute(attribute, value.to_owned())),
        }
    }
}

/// A question as people read it, and as it is remembered.
pub fn asked(lean: Lean<'_>) -> String {
    match lean {
        Lean::Group(group) => format!("group = \"{group}\""),
        Lean::Role(role) => format!("role = \"{role}\""),
        Lean::Attribute(attribute, value) => format!("{} = \"{value}\"", attribute.name()),
    }
}

/// How much a class limits: what opens less limits more.
pub const fn rank(class: Class) -> u8 {
    match class {
        Class::Managed => 0,
        Class::Bypass => 1,
        Class::Relay => 2,
        Class::Unmanaged => 3,
        Class::Blocked => 4,
    }
}

/// How much of what grants open a class closes.
const fn closes(class: Class) -> u8 {
    match class {
        Class::Managed => 0,
        Class::Bypass => 1,
        Class::Relay | Class::Unmanaged | Class::Blocked => 2,
    }
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(group) => write!(f, "it is in group `{group}`"),
            Self::None => f.write_str("it is in no group of [[entra.group]] that limits it"),
            Self::Unsure(group, why) => {
                write!(f, "nobody can say whether it is in group `{group}`: {why}")
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "the directory has no groups yet, or is too old (`weir entra status`)",
            Self::NoGroup => "the directory knows no such group",
            Self::Ambiguous => "several groups bear that name",
            Self::Blind => "much changed at once, and the next picture is not drawn yet",
            Self::OtherTenant => "it is of another tenant",
            Self::NoAccount => "the directory does not know the account",
            Self::Incomplete => "not all of its members can be read",
        })
    }
}

//! Who is meant by the names in a token.

use crate::fold::{Index, id};
use crate::layout::{Part, Section};
use crate::view::{UserRef, View};

/// The names that are certain of somebody. What is empty is not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// Id of the tenant that the other names are of.
    pub tenant_id: Option<&'a str>,
    /// Object id in that tenant.
    pub object_id: Option<&'a str>,
    /// What joins an account to the organisation's own directory.
    pub immutable_id: Option<&'a str>,
    /// Security identifier in the organisation's own directory.
    pub sid: Option<&'a str>,
    /// User principal name.
    pub upn: Option<&'a str>,
}

/// By what somebody is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Object id: never given to anybody else.
    ObjectId,
    /// What joins an account to the organisation's own directory.
    ImmutableId,
    /// Security identifier.
    Sid,
    /// User principal name: people are renamed, and names are given again.
    Upn,
}

/// Who is meant.
#[derive(Clone, Copy)]
pub enum Found<'a> {
    /// This user.
    One(UserRef<'a>),
    /// This user by the strongest name, although a weaker one is not its own.
    Despite(UserRef<'a>, Key),
    /// Nobody in this tenant. That is no proof that there is nobody: an account may be younger than the snapshot.
    None,
    /// Several users bear the strongest name that anybody bears.
    Ambiguous(Key),
    /// A weaker name is that of a user whom a stronger one rules out: a name that was given again.
    Contradictory {
        /// The name that somebody bears.
        named_by: Key,
        /// The stronger one, which is not theirs.
        ruled_out_by: Key,
    },
    /// The names are those of another tenant.
    OtherTenant,
    /// Users were never synced, or are too old: nobody can say.
    Unknown,
}

impl<'a> Found<'a> {
    /// The user, if it is certain who it is.
    pub fn user(self) -> Option<UserRef<'a>> {
        match self {
            Self::One(user) | Self::Despite(user, _) => Some(user),
            _ => None,
        }
    }
}

impl Key {
    /// The strongest first.
    pub const ALL: [Self; 4] = [Self::ObjectId, Self::ImmutableId, Self::Sid, Self::Upn];

    fn of<'a>(self, who: &Who<'a>) -> Option<&'a str> {
        let name = match self {
            Self::ObjectId => who.object_id,
            Self::ImmutableId => who.immutable_id,
            Self::Sid => who.sid,
            Self::Upn => who.upn,
        };
        name.filter(|name| !name.is_empty())
    }

    /// `None` for ids, which have no index of their own.
    fn index(self) -> Option<Index> {
        match self {
            Self::ObjectId => None,
            Self::ImmutableId => Some(Index::ImmutableId),
            Self::Sid => Some(Index::Sid),
            Self::Upn => Some(Index::Upn),
        }
    }

    /// Whether a user bears another name than this one.
    fn denies(self, user: UserRef<'_>, name: &str) -> bool {
        let Some(index) = self.index() else {
            return id(name) != Some(user.id());
        };
        let own = user.view.raw.full_name(index, user.index);
        own.is_some_and(|own| !index.same(own, name))
    }
}

/// By the strongest name that anybody bears; then every other name is held against that user.
pub(crate) fn find<'a>(view: View<'a>, who: &Who<'_>) -> Found<'a> {
    if !view.is_known(Part::Users) {
        return Found::Unknown;
    }
    let tenant = who.tenant_id.filter(|tenant| !tenant.is_empty());
    if tenant.is_some_and(|tenant| id(tenant) != Some(view.raw.head.tenant)) {
        return Found::OtherTenant;
    }
    for key in Key::ALL {
        let Some(name) = key.of(who) else {
            continue;
        };
        let (first, more) = match key.index() {
            None => {
                let found = id(name).and_then(|id| view.raw.find_id(Section::UserIds, id));
                (found, false)
            }
            Some(index) => {
                let mut named = view.raw.named(index, name);
                (named.next(), named.next().is_some())
            }
        };
        if let Some(index) = first {
            return if more {
                Found::Ambiguous(key)
            } else {
                judged(UserRef { view, index }, key, who)
            };
        }
    }
    Found::None
}

fn judged<'a>(user: UserRef<'a>, named_by: Key, who: &Who<'_>) -> Found<'a> {
    let other = Key::ALL
        .into_iter()
        .find(|key| key.of(who).is_some_and(|name| key.denies(user, name)));
    match other {
        None => Found::One(user),
        Some(ruled_out_by) if ruled_out_by < named_by => Found::Contradictory {
            named_by,
            ruled_out_by,
        },
        Some(weaker) => Found::Despite(user, weaker),
    }
}

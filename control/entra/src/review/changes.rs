//! Who came and who left, between which two rounds, and by whom.
//!
//! A delta tells neither when something happened nor who did it. What is honest is: it was not so yet at the round
//! before, and it was so at this one. The tenant's audit log tells the rest, where it may be read.

mod actors;
mod granted;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use time::OffsetDateTime;

pub use actors::Actor;

use super::person::Status;
use super::row::{Cell, Known, Row, written};
use super::{Moment, ReviewError};
use crate::model::{Id, MemberKind, Part, RoleAssignment, Text, User};
use crate::store::{Change, Store, What};
use actors::Actors;

/// Somebody came or left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// What happened.
    pub event: Event,
    /// To whom.
    pub member: Id,
    /// Of what kind.
    pub kind: MemberKind,
    /// Its name to sign in with, of a user; the last that was known.
    pub upn: String,
    /// Its name; the last that was known.
    pub name: String,
    /// Into or out of which group, with its name.
    pub group: Option<(Id, String)>,
    /// Which role, with its scope.
    pub role: Option<String>,
    /// It was not so yet then.
    pub after: OffsetDateTime,
    /// It was so then: the round that told it, or the approval of one that was held.
    pub seen: OffsetDateTime,
    /// Who did it, as the tenant's log tells.
    pub actor: Known<Actor>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// An account is there, or is there again.
    AccountCame,
    /// An account may sign in that might not.
    AccountEnabled,
    /// Somebody is directly in a group.
    MembershipBegan,
    /// An account is deleted; it may come back for some days.
    AccountDeleted,
    /// An account is gone for good.
    AccountPurged,
    /// An account may sign in no more.
    AccountDisabled,
    /// Somebody is directly in a group no more.
    MembershipEnded,
    /// Somebody holds a role, or may take it.
    RoleBegan,
    /// Somebody holds a role no more, or may take it no more.
    RoleEnded,
}

impl Event {
    /// As it is written in exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountCame => "account-came",
            Self::AccountEnabled => "account-enabled",
            Self::MembershipBegan => "membership-began",
            Self::AccountDeleted => "account-deleted",
            Self::AccountPurged => "account-purged",
            Self::AccountDisabled => "account-disabled",
            Self::MembershipEnded => "membership-ended",
            Self::RoleBegan => "role-began",
            Self::RoleEnded => "role-ended",
        }
    }

    /// Whether somebody comes by it.
    pub const fn is_joining(self) -> bool {
        matches!(
            self,
            Self::AccountCame | Self::AccountEnabled | Self::MembershipBegan | Self::RoleBegan
        )
    }
}

impl Row for Move {
    const COLUMNS: &'static [&'static str] = &[
        "event",
        "member_id",
        "kind",
        "upn",
        "name",
        "group_id",
        "group",
        "role",
        "not_before",
        "seen",
        "by",
        "by_at",
    ];

    fn cells(&self) -> Vec<Cell<'_>> {
        let group = self.group.as_ref();
        let actor = self.actor.as_ref();
        vec![
            Cell::text(self.event.as_str()),
            Cell::made(&self.member),
            Cell::text(written_kind(self.kind)),
            Cell::text(&self.upn),
            Cell::text(&self.name),
            Cell::maybe(group.map(|(id, _)| id)),
            Cell::maybe(group.map(|(_, name)| name)),
            Cell::maybe(self.role.as_ref()),
            Cell::made(&written(self.after)),
            Cell::made(&written(self.seen)),
            Cell::known(&actor.map(|actor| &actor.name)),
            Cell::known(&actor.map(|actor| written(actor.at))),
        ]
    }
}

const fn written_kind(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::User => "user",
        MemberKind::Group => "group",
        MemberKind::Device => "device",
        MemberKind::ServicePrincipal => "service-principal",
        MemberKind::Other => "other",
    }
}

/// Everybody who came after one time and up to another, in the order of accounts, then groups and members, then
/// roles. Also those
/// who left again meanwhile.
pub fn joiners<E: From<ReviewError>>(
    store: &Store,
    from: OffsetDateTime,
    until: OffsetDateTime,
    take: impl FnMut(&Move) -> Result<(), E>,
) -> Result<(), E> {
    moves(store, [from, until], true, take)
}

/// Everybody who left after one time and up to another, likewise. Also those who came back meanwhile.
pub fn leavers<E: From<ReviewError>>(
    store: &Store,
    from: OffsetDateTime,
    until: OffsetDateTime,
    take: impl FnMut(&Move) -> Result<(), E>,
) -> Result<(), E> {
    moves(store, [from, until], false, take)
}

/// How something was before a round changed it, and between which rounds that was.
struct Before<T> {
    was: T,
    after: OffsetDateTime,
    seen: OffsetDateTime,
}

/// What evidence needs of a user who changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Account {
    None,
    Gone,
    There(Status),
}

/// What changed in a period, of each thing in the order of time.
#[derive(Default)]
struct Changed {
    users: BTreeMap<Id, Vec<Before<Account>>>,
    edges: BTreeMap<(Id, Id), Vec<Before<Option<MemberKind>>>>,
    /// By the ids of their documents.
    roles: BTreeMap<String, Vec<Before<BTreeSet<RoleAssignment>>>>,
    /// Names of users who are gone for good since.
    names: BTreeMap<Id, (String, String)>,
}

fn moves<E: From<ReviewError>>(
    store: &Store,
    [from, until]: [OffsetDateTime; 2],
    joining: bool,
    mut take: impl FnMut(&Move) -> Result<(), E>,
) -> Result<(), E> {
    if until < from {
        return Err(ReviewError::Backwards.into());
    }
    let moment = Moment::as_of(store, until)?;
    let changed = Changed::between(store, from, until)?;
    let mut found = Vec::new();
    if moment.is_known(Part::Users) {
        changed.accounts(&moment, &mut found)?;
    }
    if moment.is_known(Part::Groups) {
        changed.memberships(&moment, &mut found)?;
    }
    if moment.is_known(Part::Roles) {
        changed.roles(&moment, &mut found)?;
    }
    found.retain(|found| found.event.is_joining() == joining);
    let members: HashSet<Id> = found.iter().map(|found| found.member).collect();
    let actors = Actors::of(store, &members, until)?;
    for mut found in found {
        if let Some(actors) = &actors {
            found.actor = actors.of_move(&found).into();
        }
        changed.name(&moment, &mut found)?;
        take(&found)?;
    }
    Ok(())
}

impl Changed {
    fn between(
        store: &Store,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Self, ReviewError> {
        let mut changed = Self::default();
        // The round before, of each part.
        let mut rounds: BTreeMap<Part, OffsetDateTime> = BTreeMap::new();
        for entry in store.journal(from, until)? {
            let entry = entry?;
            let Some(part) = entry.part.filter(|_| entry.at > from) else {
                continue;
            };
            let after = rounds.get(&part).copied().unwrap_or(from);
            let seen = entry.at;
            match entry.what {
                What::Former(former) => changed.put(part, former, [after, seen])?,
                What::Baseline { .. } | What::Committed { .. } => {
                    rounds.insert(part, seen);
                }
                _ => (),
            }
        }
        Ok(changed)
    }

    fn put(
        &mut self,
        part: Part,
        former: Vec<Change<'static>>,
        [after, seen]: [OffsetDateTime; 2],
    ) -> Result<(), ReviewError> {
        for change in former {
            match change {
                Change::User(id, user) => {
                    let was = account(user.as_deref());
                    if let Some(user) = user {
                        self.names.insert(id, names(&user));
                    }
                    let befores = self.users.entry(id).or_default();
                    befores.push(Before { was, after, seen });
                }
                Change::Edge(group, member, was) => {
                    let befores = self.edges.entry((group, member)).or_default();
                    befores.push(Before { was, after, seen });
                }
                Change::Document(id, document) if part == Part::Roles => {
                    let was = granted::assignments(document.as_deref())?;
                    let befores = self.roles.entry(id.into_owned()).or_default();
                    befores.push(Before { was, after, seen });
                }
                Change::Group(..) | Change::Document(..) => (),
            }
        }
        Ok(())
    }

    fn accounts(&self, moment: &Moment, found: &mut Vec<Move>) -> Result<(), ReviewError> {
        for (id, befores) in &self.users {
            let now = account(moment.view().user(*id)?.as_ref());
            for (before, then) in with_next(befores, now) {
                if let Some(event) = account_event(before.was, then) {
                    found.push(Move::new(event, *id, MemberKind::User, None, before));
                }
            }
        }
        Ok(())
    }

    fn memberships(&self, moment: &Moment, found: &mut Vec<Move>) -> Result<(), ReviewError> {
        let mut group = None;
        let mut members: BTreeMap<Id, MemberKind> = BTreeMap::new();
        for ((of, member), befores) in &self.edges {
            if group != Some(*of) {
                group = Some(*of);
                members = moment.view().members(*of)?.collect::<Result<_, _>>()?;
            }
            let now = members.get(member).copied();
            for (before, then) in with_next(befores, now) {
                let (event, kind) = match (before.was, then) {
                    (None, Some(kind)) => (Event::MembershipBegan, kind),
                    (Some(kind), None) => (Event::MembershipEnded, kind),
                    _ => continue,
                };
                found.push(Move::new(event, *member, kind, Some(*of), before));
            }
        }
        Ok(())
    }

    /// Puts the names in, as they were last known.
    fn name(&self, moment: &Moment, found: &mut Move) -> Result<(), ReviewError> {
        if found.kind == MemberKind::User && moment.is_known(Part::Users) {
            let user = moment.view().user(found.member)?;
            let names = user.as_ref().map(names);
            let names = names.or_else(|| self.names.get(&found.member).cloned());
            (found.upn, found.name) = names.unwrap_or_default();
        }
        if found.kind == MemberKind::Group {
            found.name = group_name(moment, found.member)?;
        }
        if let Some((id, name)) = &mut found.group {
            *name = group_name(moment, *id)?;
        }
        Ok(())
    }
}

impl Move {
    fn new<T>(
        event: Event,
        member: Id,
        kind: MemberKind,
        group: Option<Id>,
        before: &Before<T>,
    ) -> Self {
        Self {
            event,
            member,
            kind,
            upn: String::new(),
            name: String::new(),
            group: group.map(|group| (group, String::new())),
            role: None,
            after: before.after,
            seen: before.seen,
            actor: Known::Unknown,
        }
    }
}

/// Each of what was, with what came after it.
fn with_next<T: Copy>(befores: &[Before<T>], now: T) -> impl Iterator<Item = (&Before<T>, T)> {
    let next = befores.iter().skip(1).map(|before| before.was);
    befores.iter().zip(next.chain([now]))
}

fn account(user: Option<&User>) -> Account {
    match user {
        None => Account::None,
        Some(user) if user.gone.is_some() => Account::Gone,
        Some(user) => Account::There(Status::of(user)),
    }
}

fn account_event(was: Account, is: Account) -> Option<Event> {
    use Account::{Gone, None as Nothing, There};
    Some(match (was, is) {
        (Nothing | Gone, There(_)) => Event::AccountCame,
        (There(_), Gone) => Event::AccountDeleted,
        (There(_) | Gone, Nothing) => Event::AccountPurged,
        (There(Status::Disabled), There(Status::Enabled)) => Event::AccountEnabled,
        (There(Status::Enabled | Status::Unknown), There(Status::Disabled)) => {
            Event::AccountDisabled
        }
        _ => return None,
    })
}

fn names(user: &User) -> (String, String) {
    let text = |text| user.texts.get(&text).cloned().unwrap_or_default();
    (text(Text::Upn), text(Text::DisplayName))
}

fn group_name(moment: &Moment, id: Id) -> Result<String, ReviewError> {
    let group = moment.view().group(id)?;
    let name = group.and_then(|mut group| group.texts.remove(&Text::DisplayName));
    Ok(name.unwrap_or_default())
}

//! What a round would do, or what was before it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::digest::{Digest, Hashing};
use super::tables::encode;
use crate::model::{Changes, Group, Id, MemberKind, Part, User};

/// One thing that changes. Of a held round this is what it will be, in the journal what it was before;
/// `None` is: it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change<'a> {
    /// A user.
    User(Id, Option<Cow<'a, User>>),
    /// A group.
    Group(Id, Option<Cow<'a, Group>>),
    /// A membership: group, member.
    Edge(Id, Id, Option<MemberKind>),
    /// A document of the part.
    Document(Cow<'a, str>, Option<Cow<'a, [u8]>>),
}

/// All that changes, as it will be; `None` is: it is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) users: BTreeMap<Id, Option<User>>,
    pub(crate) groups: BTreeMap<Id, Option<Group>>,
    pub(crate) edges: BTreeMap<(Id, Id), Option<MemberKind>>,
    pub(crate) documents: BTreeMap<String, Option<Vec<u8>>>,
}

impl Plan {
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.groups.is_empty()
            && self.edges.is_empty()
            && self.documents.is_empty()
    }

    /// Each change, in an order that only the changes decide.
    pub(crate) fn each(&self) -> impl Iterator<Item = Change<'_>> {
        let users = self.users.iter();
        let users = users.map(|(id, user)| Change::User(*id, user.as_ref().map(Cow::Borrowed)));
        let groups = self.groups.iter();
        let groups =
            groups.map(|(id, group)| Change::Group(*id, group.as_ref().map(Cow::Borrowed)));
        let edges = self.edges.iter();
        let edges = edges.map(|((group, member), kind)| Change::Edge(*group, *member, *kind));
        let documents = self.documents.iter().map(|(id, document)| {
            Change::Document(id.into(), document.as_deref().map(Cow::Borrowed))
        });
        users.chain(groups).chain(edges).chain(documents)
    }

    pub(crate) fn put(&mut self, change: Change<'_>) {
        match change {
            Change::User(id, user) => {
                self.users.insert(id, user.map(Cow::into_owned));
            }
            Change::Group(id, group) => {
                self.groups.insert(id, group.map(Cow::into_owned));
            }
            Change::Edge(group, member, kind) => {
                self.edges.insert((group, member), kind);
            }
            Change::Document(id, document) => {
                self.documents
                    .insert(id.into_owned(), document.map(Cow::into_owned));
            }
        }
    }

    /// What the changes are known by. When an object was found deleted is no part of it: the same changes,
    /// told again, have the same digest.
    pub(crate) fn digest(&self, part: Part) -> Digest {
        const SOME_TIME: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
        let mut hashing = Hashing::default();
        hashing.add(&encode(&part));
        for mut change in self.each() {
            match &mut change {
                Change::User(_, Some(user)) if user.gone.is_some() => {
                    user.to_mut().gone = Some(SOME_TIME);
                }
                Change::Group(_, Some(group)) if group.gone.is_some() => {
                    group.to_mut().gone = Some(SOME_TIME);
                }
                _ => (),
            }
            hashing.add(&encode(&change));
        }
        hashing.finish()
    }

    pub(crate) fn into_changes(self, part: Part) -> Changes {
        Changes {
            users: self.users,
            groups: self.groups,
            edges: self.edges,
            documents: (!self.documents.is_empty())
                .then_some(part)
                .into_iter()
                .collect(),
        }
    }
}

/// How much changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Users that came, or changed.
    pub users: u64,
    /// Users that are gone for good.
    pub users_purged: u64,
    /// Groups that came, or changed.
    pub groups: u64,
    /// Groups that are gone for good.
    pub groups_purged: u64,
    /// Memberships that came, or changed.
    pub edges: u64,
    /// Memberships that ended.
    pub edges_ended: u64,
    /// Documents that came, or changed.
    pub documents: u64,
    /// Documents that are gone.
    pub documents_gone: u64,
}

impl Counts {
    pub(crate) fn of(plan: &Plan) -> Self {
        let (users, users_purged) = count(plan.users.values());
        let (groups, groups_purged) = count(plan.groups.values());
        let (edges, edges_ended) = count(plan.edges.values());
        let (documents, documents_gone) = count(plan.documents.values());
        Self {
            users,
            users_purged,
            groups,
            groups_purged,
            edges,
            edges_ended,
            documents,
            documents_gone,
        }
    }
}

/// How many there are, and how many there are no more.
fn count<'a, T: 'a>(values: impl Iterator<Item = &'a Option<T>>) -> (u64, u64) {
    values.fold((0, 0), |(there, gone), value| match value {
        Some(_) => (there + 1, gone),
        None => (there, gone + 1),
    })
}

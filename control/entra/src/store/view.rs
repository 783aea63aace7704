//! The directory at one moment: now, or then. What is committed meanwhile does not show in it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::RangeBounds;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::StoreError;
use super::change::{Change, Plan};
use super::journal::{self, What};
use super::tables::{
    DOCUMENTS, EDGES, GROUPS, JOURNAL, META, META_ANCHOR, PARTS, PartRow, Place, USERS, decode,
    get, member_kind,
};
use super::writer::object;
use crate::model::{Group, Id, MemberKind, Part, User};

/// The directory as it is, or was.
pub struct View {
    transaction: ReadTransaction,
    then: Option<Then>,
}

/// What differs from now.
struct Then {
    at: OffsetDateTime,
    /// Before it nothing is known any more.
    floor: OffsetDateTime,
    /// All but documents.
    objects: Plan,
    documents: BTreeMap<(u8, String), Option<Vec<u8>>>,
}

impl View {
    pub(crate) const fn now(transaction: ReadTransaction) -> Self {
        Self {
            transaction,
            then: None,
        }
    }

    /// Goes back through the journal; takes as long, and as much memory, as there were changes since.
    pub(crate) fn as_of(
        transaction: ReadTransaction,
        at: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let anchor: Option<Place> = get(&transaction.open_table(META)?, "the anchor", META_ANCHOR)?;
        let mut then = Then {
            at,
            floor: anchor.unwrap_or_default().at,
            objects: Plan::default(),
            documents: BTreeMap::new(),
        };
        for row in transaction.open_table(JOURNAL)?.iter()?.rev() {
            let (number, row) = row?;
            let entry = journal::read(number.value(), row.value())?;
            if entry.at <= at {
                break;
            }
            if let (Some(part), What::Former(changes)) = (entry.part, entry.what) {
                for change in changes {
                    then.put(part, change);
                }
            }
        }
        Ok(Self {
            transaction,
            then: Some(then),
        })
    }

    /// Every user, also those that are gone; in the order of their ids.
    pub fn users(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Id, User), StoreError>> + '_, StoreError> {
        self.check(Part::Users)?;
        let then = self.then.as_ref().map(|then| &then.objects.users);
        objects(&self.transaction.open_table(USERS)?, then)
    }

    /// Every group, also those that are gone; in the order of their ids.
    pub fn groups(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Id, Group), StoreError>> + '_, StoreError> {
        self.check(Part::Groups)?;
        let then = self.then.as_ref().map(|then| &then.objects.groups);
        objects(&self.transaction.open_table(GROUPS)?, then)
    }

    /// Every membership: group, member, kind; in the order of groups, then members.
    pub fn edges(
        &self,
    ) -> Result<impl Iterator<Item = Result<(Id, Id, MemberKind), StoreError>> + '_, StoreError>
    {
        self.edges_in(..)
    }

    /// The direct members of a group.
    pub fn members(
        &self,
        group: Id,
    ) -> Result<impl Iterator<Item = Result<(Id, MemberKind), StoreError>> + '_, StoreError> {
        let edges = self.edges_in((group, Id::nil())..=(group, Id::max()))?;
        Ok(edges.map(|edge| edge.map(|(_, member, kind)| (member, kind))))
    }

    /// One user.
    pub fn user(&self, id: Id) -> Result<Option<User>, StoreError> {
        self.check(Part::Users)?;
        match self
            .then
            .as_ref()
            .and_then(|then| then.objects.users.get(&id))
        {
            Some(user) => Ok(user.clone()),
            None => object(&self.transaction.open_table(USERS)?, id),
        }
    }

    /// One group.
    pub fn group(&self, id: Id) -> Result<Option<Group>, StoreError> {
        self.check(Part::Groups)?;
        match self
            .then
            .as_ref()
            .and_then(|then| then.objects.groups.get(&id))
        {
            Some(group) => Ok(group.clone()),
            None => object(&self.transaction.open_table(GROUPS)?, id),
        }
    }

    /// The groups of which somebody is a direct member. Reads every membership.
    pub fn groups_of(&self, member: Id) -> Result<Vec<Id>, StoreError> {
        let mut groups = Vec::new();
        for edge in self.edges()? {
            let (group, who, _) = edge?;
            if who == member {
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// The documents of a part, by id.
    pub fn documents(&self, part: Part) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let mut documents = BTreeMap::new();
        self.each_document(part, |id, document| {
            documents.insert(id.to_owned(), document);
            Ok::<_, StoreError>(())
        })?;
        Ok(documents)
    }

    /// Hands over the documents of a part one at a time, in no order.
    pub fn each_document<E: From<StoreError>>(
        &self,
        part: Part,
        mut take: impl FnMut(&str, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.check(part)?;
        let then = self.then.iter().flat_map(|then| &then.documents);
        let then = then.filter(|((of, _), _)| *of == part as u8);
        let then: BTreeMap<&str, _> = then
            .map(|((_, id), document)| (id.as_str(), document))
            .collect();
        let table = self
            .transaction
            .open_table(DOCUMENTS)
            .map_err(StoreError::from)?;
        for row in documents_of(&table, part)? {
            let (id, document) = row?;
            if !then.contains_key(id.as_str()) {
                take(&id, document)?;
            }
        }
        for (id, document) in then {
            if let Some(document) = document {
                take(id, document.clone())?;
            }
        }
        Ok(())
    }

    /// Whether there is evidence of a part at the view's time. Of now there always is.
    pub fn is_evident(&self, part: Part) -> Result<bool, StoreError> {
        match self.check(part) {
            Ok(()) => Ok(true),
            Err(StoreError::NoEvidence { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The names of the documents of a part, in order; for a view of now.
    pub(crate) fn names(&self, part: Part) -> Result<Vec<String>, StoreError> {
        let table = self.transaction.open_table(DOCUMENTS)?;
        let rows = documents_of(&table, part)?;
        rows.map(|row| Ok(row?.0)).collect()
    }

    /// Whether there is evidence of the part at the view's time. Of now there always is.
    fn check(&self, part: Part) -> Result<(), StoreError> {
        let Some(then) = &self.then else {
            return Ok(());
        };
        let row: Option<PartRow> = get(&self.transaction.open_table(PARTS)?, "a part", part as u8)?;
        let since = row
            .and_then(|row| row.since)
            .map(|since| since.max(then.floor));
        match since {
            Some(since) if since <= then.at => Ok(()),
            since => Err(StoreError::NoEvidence { part, since }),
        }
    }

    fn edges_in(
        &self,
        range: impl RangeBounds<(Id, Id)>,
    ) -> Result<impl Iterator<Item = Result<(Id, Id, MemberKind), StoreError>> + '_, StoreError>
    {
        self.check(Part::Groups)?;
        let number = |(group, member): &(Id, Id)| (group.as_u128(), member.as_u128());
        let numbers = (
            range.start_bound().map(number),
            range.end_bound().map(number),
        );
        let table = self.transaction.open_table(EDGES)?;
        let now = table.range::<(u128, u128)>(numbers)?.map(|row| {
            let (key, kind) = row?;
            let (group, member) = key.value();
            let key = (Id::from_u128(group), Id::from_u128(member));
            Ok((key, member_kind(kind.value())?))
        });
        let then = self
            .then
            .as_ref()
            .map(|then| then.objects.edges.range(range));
        let merged = Merged {
            now: now.peekable(),
            then: then.into_iter().flatten().peekable(),
        };
        Ok(merged.map(|edge| edge.map(|((group, member), kind)| (group, member, kind))))
    }
}

/// The objects of a table, with what was then put over them.
fn objects<'a, T: DeserializeOwned + Clone + 'a>(
    table: &ReadOnlyTable<u128, &'static [u8]>,
    then: Option<&'a BTreeMap<Id, Option<T>>>,
) -> Result<impl Iterator<Item = Result<(Id, T), StoreError>> + use<'a, T>, StoreError> {
    let now = table.range::<u128>(..)?.map(|row| {
        let (id, object) = row?;
        let id = Id::from_u128(id.value());
        Ok((id, decode("a user or group", object.value())?))
    });
    Ok(Merged {
        now: now.peekable(),
        then: then.into_iter().flatten().peekable(),
    })
}

impl Then {
    fn put(&mut self, part: Part, change: Change<'static>) {
        match change {
            Change::Document(id, document) => {
                let key = (part as u8, id.into_owned());
                self.documents.insert(key, document.map(Cow::into_owned));
            }
            other => self.objects.put(other),
        }
    }
}

/// The documents of a part as they stand in the table.
pub(crate) fn documents_of(
    table: &impl ReadableTable<(u8, &'static str), &'static [u8]>,
    part: Part,
) -> Result<impl Iterator<Item = Result<(String, Vec<u8>), StoreError>>, StoreError> {
    let part = part as u8;
    let rows = table.range((part, "")..)?;
    let rows = rows.map(|row| {
        let (key, document) = row?;
        let (of, id) = key.value();
        Ok((of, id.to_owned(), document.value().to_vec()))
    });
    Ok(rows
        .take_while(move |row| !matches!(row, Ok((of, ..)) if *of != part))
        .map(|row| row.map(|(_, id, document)| (id, document))))
}

/// What is now, with what was then put over it; both in the order of their keys.
struct Merged<'a, N, T, K, V>
where
    N: Iterator<Item = Result<(K, V), StoreError>>,
    T: Iterator<Item = (&'a K, &'a Option<V>)>,
    K: 'a,
    V: 'a,
{
    now: Peekable<N>,
    then: Peekable<T>,
}

impl<'a, N, T, K, V> Iterator for Merged<'a, N, T, K, V>
where
    N: Iterator<Item = Result<(K, V), StoreError>>,
    T: Iterator<Item = (&'a K, &'a Option<V>)>,
    K: Ord + Copy,
    V: Clone,
{
    type Item = Result<(K, V), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.now.peek(), self.then.peek()) {
                (Some(Err(_)), _) | (_, None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(Ok((now, _))), Some((then, _))) => now.cmp(then),
            };
            if order == Ordering::Less {
                return self.now.next();
            }
            if order == Ordering::Equal {
                self.now.next();
            }
            if let (key, Some(value)) = self.then.next()? {
                return Some(Ok((*key, value.clone())));
            }
        }
    }
}

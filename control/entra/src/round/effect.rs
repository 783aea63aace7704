//! What a round comes to: what changes of what is kept, and what is taken away by it.

use std::collections::{BTreeMap, BTreeSet};

use redb::{ReadableTable, ReadableTableMetadata, Table};
use time::OffsetDateTime;

use super::Staged;
use super::staged::{Fate, Kept, Memberships, Objects, Patch};
use crate::guard::{Guard, Loss, WatchedLoss};
use crate::model::{Group, GroupPatch, Id, MemberKind, Part, Text, User};
use crate::store::{
    DOCUMENTS, EDGES, Example, GROUPS, Loses, Plan, StoreError, USERS, Writer, documents_of,
    member_kind, object,
};

/// So many examples are shown of those who would lose something.
const EXAMPLES: usize = 20;

/// So many users and groups are looked for one by one among the members of a group.
const FEW: usize = 100;

/// What a round comes to.
pub(super) struct Effect {
    pub(super) plan: Plan,
    /// Users of whom a full round told nothing.
    pub(super) vanished: BTreeSet<Id>,
    pub(super) is_full: bool,
    /// Documents before a full round, and after.
    documents: (u64, u64),
}

impl Effect {
    pub(super) fn of(
        writer: &Writer,
        part: Part,
        staged: Staged,
        is_full: bool,
        now: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let mut effect = Self {
            plan: Plan::default(),
            vanished: BTreeSet::new(),
            is_full,
            documents: (0, 0),
        };
        match staged {
            Staged::Users(mut users) => {
                let table = writer.transaction.open_table(USERS)?;
                (effect.plan.users, effect.vanished) = objects(&table, &mut users, is_full, now)?;
            }
            Staged::Groups(mut groups, memberships) => {
                let table = writer.transaction.open_table(GROUPS)?;
                (effect.plan.groups, _) = objects(&table, &mut groups, is_full, now)?;
                let table = writer.transaction.open_table(EDGES)?;
                effect.plan.edges = if is_full {
                    all_edges(&table, &groups, memberships)?
                } else {
                    edges(&table, &groups, memberships)?
                };
            }
            Staged::Documents(told, _) => effect.documents(writer, part, told)?,
        }
        Ok(effect)
    }

    fn documents(
        &mut self,
        writer: &Writer,
        part: Part,
        mut told: BTreeMap<String, Option<Vec<u8>>>,
    ) -> Result<(), StoreError> {
        if self.is_full {
            self.documents.1 = told.values().flatten().count() as u64;
        }
        for row in documents_of(&writer.transaction.open_table(DOCUMENTS)?, part)? {
            let (id, former) = row?;
            if self.is_full {
                self.documents.0 += 1;
                told.entry(id.clone()).or_insert(None);
            }
            match told.get(&id) {
                Some(Some(now)) if *now == former => told.remove(&id),
                Some(None) => self
                    .plan
                    .documents
                    .insert(id.clone(), None)
                    .and(told.remove(&id)),
                _ => None,
            };
        }
        told.retain(|_, document| document.is_some());
        self.plan.documents.append(&mut told);
        Ok(())
    }
}

type Objective<T> = (BTreeMap<Id, Option<T>>, BTreeSet<Id>);

/// The objects that change, and those of which a full round told nothing.
fn objects<P: Patch>(
    table: &impl ReadableTable<u128, &'static [u8]>,
    staged: &mut Objects<P>,
    is_full: bool,
    now: OffsetDateTime,
) -> Result<Objective<P::Kept>, StoreError>
where
    P::Kept: Kept,
{
    let mut changed = BTreeMap::new();
    let mut vanished = BTreeSet::new();
    for id in staged.ids() {
        let former: Option<P::Kept> = object(table, id)?;
        let after = staged.settle(&id, former.as_ref(), is_full, now);
        if after != former {
            changed.insert(id, after);
        }
    }
    if is_full {
        for row in table.iter()? {
            let id = Id::from_u128(row?.0.value());
            if staged.get(&id).is_none() {
                changed.insert(id, None);
                vanished.insert(id);
            }
        }
    }
    Ok((changed, vanished))
}

type Edges = BTreeMap<(Id, Id), Option<MemberKind>>;

/// Whether the memberships of a group count no more that are not told anew.
fn ends(groups: &Objects<GroupPatch>, group: &Id, is_full: bool) -> bool {
    match groups.get(group) {
        None => is_full,
        Some(object) => object.is_anew || (is_full && object.fate == Fate::Live),
    }
}

/// What a delta round changes of memberships.
fn edges(
    table: &impl ReadableTable<(u128, u128), u8>,
    groups: &Objects<GroupPatch>,
    told: Memberships,
) -> Result<Edges, StoreError> {
    let mut changed = Edges::new();
    for group in groups.ids() {
        if ends(groups, &group, false) {
            for row in table.range((group.as_u128(), 0)..=(group.as_u128(), u128::MAX))? {
                changed.insert(key(row?.0.value()), None);
            }
        }
    }
    for ((group, member), kind) in told.into_sorted() {
        let former = table.get((group.as_u128(), member.as_u128()))?;
        let former = former.map(|kind| member_kind(kind.value())).transpose()?;
        if kind == former {
            changed.remove(&(group, member));
        } else {
            changed.insert((group, member), kind);
        }
    }
    Ok(changed)
}

/// What a full round changes of memberships.
fn all_edges(
    table: &impl ReadableTable<(u128, u128), u8>,
    groups: &Objects<GroupPatch>,
    told: Memberships,
) -> Result<Edges, StoreError> {
    let mut changed = Edges::new();
    let mut told = told.into_sorted().peekable();
    for row in table.iter()? {
        let (stored, former) = row?;
        let stored = key(stored.value());
        while let Some(((group, member), kind)) = told.next_if(|(told, _)| *told < stored) {
            if kind.is_some() {
                changed.insert((group, member), kind);
            }
        }
        match told.next_if(|(told, _)| *told == stored) {
            Some((_, kind)) if kind == Some(member_kind(former.value())?) => (),
            Some((_, kind)) => {
                changed.insert(stored, kind);
            }
            None if ends(groups, &stored.0, true) => {
                changed.insert(stored, None);
            }
            None => (),
        }
    }
    changed.extend(told.filter(|(_, kind)| kind.is_some()));
    Ok(changed)
}

fn key((group, member): (u128, u128)) -> (Id, Id) {
    (Id::from_u128(group), Id::from_u128(member))
}

/// What is kept, as it was before the round.
pub(super) struct Before<'t> {
    pub(super) users: Table<'t, u128, &'static [u8]>,
    pub(super) groups: Table<'t, u128, &'static [u8]>,
    pub(super) edges: Table<'t, (u128, u128), u8>,
}

impl<'t> Before<'t> {
    pub(super) fn of(writer: &'t Writer) -> Result<Self, StoreError> {
        Ok(Self {
            users: writer.transaction.open_table(USERS)?,
            groups: writer.transaction.open_table(GROUPS)?,
            edges: writer.transaction.open_table(EDGES)?,
        })
    }

    pub(super) fn user(&self, id: Id) -> Result<Option<User>, StoreError> {
        object(&self.users, id)
    }

    pub(super) fn group(&self, id: Id) -> Result<Option<Group>, StoreError> {
        object(&self.groups, id)
    }

    pub(super) fn edge(&self, group: Id, member: Id) -> Result<Option<MemberKind>, StoreError> {
        let kind = self.edges.get((group.as_u128(), member.as_u128()))?;
        kind.map(|kind| member_kind(kind.value())).transpose()
    }

    /// The live members of a live group, before the plan.
    fn members(&self, group: Id) -> Result<BTreeMap<Id, MemberKind>, StoreError> {
        let mut members = BTreeMap::new();
        if self.group(group)?.is_none_or(|group| group.gone.is_some()) {
            return Ok(members);
        }
        for row in self
            .edges
            .range((group.as_u128(), 0)..=(group.as_u128(), u128::MAX))?
        {
            let (edge, kind) = row?;
            let ((_, member), kind) = (key(edge.value()), member_kind(kind.value())?);
            if self.is_live(&Plan::default(), member, kind)? {
                members.insert(member, kind);
            }
        }
        Ok(members)
    }

    /// Of these members, those that are so no more after the plan; and how many there are then.
    fn after(
        &self,
        plan: &Plan,
        group: Id,
        before: &BTreeMap<Id, MemberKind>,
    ) -> Result<(Vec<Id>, u64), StoreError> {
        if !self.is_live(plan, group, MemberKind::Group)? {
            return Ok((before.keys().copied().collect(), 0));
        }
        let (mut lost, mut count) = (Vec::new(), 0);
        for (member, kind) in before {
            let kind = match plan.edges.get(&(group, *member)) {
                Some(kind) => *kind,
                None => Some(*kind),
            };
            match kind {
                Some(kind) if self.is_live(plan, *member, kind)? => count += 1,
                _ => lost.push(*member),
            }
        }
        for ((_, member), kind) in plan.edges.range((group, Id::nil())..=(group, Id::max())) {
            let Some(kind) = kind else { continue };
            count += u64::from(!before.contains_key(member) && self.is_live(plan, *member, *kind)?);
        }
        Ok((lost, count))
    }

    /// Whether a member of a group counts, after the plan.
    fn is_live(&self, plan: &Plan, id: Id, kind: MemberKind) -> Result<bool, StoreError> {
        Ok(match kind {
            MemberKind::User => match plan.users.get(&id) {
                Some(user) => user.as_ref().is_some_and(|user| user.gone.is_none()),
                None => self.user(id)?.is_some_and(|user| user.gone.is_none()),
            },
            MemberKind::Group => match plan.groups.get(&id) {
                Some(group) => group.as_ref().is_some_and(|group| group.gone.is_none()),
                None => self.group(id)?.is_some_and(|group| group.gone.is_none()),
            },
            _ => true,
        })
    }
}

/// What the round takes away.
pub(super) fn loss(writer: &Writer, effect: &Effect, guard: &Guard) -> Result<Loss, StoreError> {
    let before = Before::of(writer)?;
    let plan = &effect.plan;
    let mut loss = Loss {
        edges: before.edges.len()?,
        edges_removed: plan.edges.values().filter(|kind| kind.is_none()).count() as u64,
        documents: effect.documents.0,
        documents_after: effect.documents.1,
        ..Loss::default()
    };
    // Who is live before and not after.
    let mut removed = Vec::new();
    for (id, after) in &plan.users {
        let Some(former) = before.user(*id)?.filter(|user| user.gone.is_none()) else {
            continue;
        };
        match after.as_ref().filter(|user| user.gone.is_none()) {
            None => removed.push(*id),
            Some(user) if is_disabled(&former, user) => loss.users_disabled += 1,
            Some(_) => (),
        }
    }
    loss.users_removed = removed.len() as u64;
    for (id, after) in &plan.groups {
        let was_live = before.group(*id)?.is_some_and(|group| group.gone.is_none());
        if was_live && after.as_ref().is_none_or(|group| group.gone.is_some()) {
            removed.push(*id);
            loss.groups_removed += 1;
        }
    }
    let watched: BTreeSet<Id> = guard
        .watched
        .groups
        .union(&guard.watched.denying)
        .copied()
        .collect();
    for group in watched {
        loss.watched
            .extend(watched_loss(&before, plan, &removed, group)?);
    }
    drop(before);
    let live = writer.live()?;
    (loss.users, loss.groups) = (live.users, live.groups);
    Ok(loss)
}

/// Whether somebody who was enabled, or nobody knew, is disabled.
pub(super) fn is_disabled(before: &User, after: &User) -> bool {
    before.enabled != Some(false) && after.enabled == Some(false)
}

fn watched_loss(
    before: &Before<'_>,
    plan: &Plan,
    removed: &[Id],
    group: Id,
) -> Result<Option<WatchedLoss>, StoreError> {
    let mut edges = plan.edges.range((group, Id::nil())..=(group, Id::max()));
    let mut is_touched = plan.groups.contains_key(&group)
        || edges.any(|(_, kind)| kind.is_none())
        || removed.len() > FEW;
    for member in removed {
        is_touched = is_touched || before.edge(group, *member)?.is_some();
    }
    if !is_touched {
        return Ok(None);
    }
    let members = before.members(group)?;
    let (lost, after) = before.after(plan, group, &members)?;
    let (groups, people): (Vec<Id>, Vec<Id>) = lost
        .iter()
        .partition(|member| members.get(member) == Some(&MemberKind::Group));
    Ok((!lost.is_empty()).then_some(WatchedLoss {
        group,
        name: before
            .group(group)?
            .map(|group| name(&group.texts))
            .unwrap_or_default(),
        before: members.len() as u64,
        after,
        more_than_people: !groups.is_empty() || removed.contains(&group),
        people: people.into_iter().collect(),
        lost: lost.len() as u64,
    }))
}

/// Some of those who would lose something by the plan.
pub(super) fn examples(writer: &Writer, plan: &Plan) -> Result<Vec<Example>, StoreError> {
    let before = Before::of(writer)?;
    let mut examples = Vec::new();
    for (id, after) in &plan.users {
        let Some(former) = before.user(*id)?.filter(|user| user.gone.is_none()) else {
            continue;
        };
        let loses = match after.as_ref().filter(|user| user.gone.is_none()) {
            None => Loses::User,
            Some(user) if is_disabled(&former, user) => Loses::Account,
            Some(_) => continue,
        };
        let name = name(&former.texts);
        examples.push(Example {
            id: *id,
            name,
            loses,
        });
        if examples.len() == EXAMPLES {
            return Ok(examples);
        }
    }
    for (id, after) in &plan.groups {
        let former = before.group(*id)?.filter(|group| group.gone.is_none());
        if let Some(former) = former
            && after.as_ref().is_none_or(|group| group.gone.is_some())
        {
            let name = name(&former.texts);
            examples.push(Example {
                id: *id,
                name,
                loses: Loses::Group,
            });
        }
        if examples.len() == EXAMPLES {
            return Ok(examples);
        }
    }
    let ended = plan.edges.iter().filter(|(_, kind)| kind.is_none());
    for ((group, member), _) in ended.take(EXAMPLES - examples.len()) {
        let named = match before.edge(*group, *member)? {
            Some(MemberKind::User) => before.user(*member)?.map(|user| name(&user.texts)),
            Some(MemberKind::Group) => before.group(*member)?.map(|group| name(&group.texts)),
            _ => None,
        };
        let of = before.group(*group)?.map(|group| name(&group.texts));
        examples.push(Example {
            id: *member,
            name: named.unwrap_or_default(),
            loses: Loses::Membership {
                group: *group,
                name: of.unwrap_or_default(),
            },
        });
    }
    Ok(examples)
}

fn name(texts: &BTreeMap<Text, String>) -> String {
    let name = texts
        .get(&Text::Upn)
        .or_else(|| texts.get(&Text::DisplayName));
    name.cloned().unwrap_or_default()
}

//! Writes everything for the planes: users with all of their groups, names, roles.

use std::collections::{BTreeMap, HashMap};

use weir_directory::{Attribute, BuildError, Builder, Head, NewGroup, NewUser, Set, Snapshot};

use super::Closure;
use super::condense::{Climb, Condensed, NONE};
use crate::model::{Changes, Group, Held, Id, MemberKind, RoleAssignment, Text, User};

/// A snapshot in the making: groups first, then users, each in the order of their ids; then roles.
pub struct Draft<'a> {
    closure: &'a Closure,
    condensed: &'a Condensed,
    climb: Climb<'a>,
    builder: Builder,
    /// The number in the snapshot of each group; [`NONE`] of one that is not in it.
    numbers: Vec<u32>,
    /// Groups whose members are not all known.
    incomplete: Vec<bool>,
    /// Sets of groups that were written, by the few components that lead to them.
    sets: HashMap<[u32; FEW], Set>,
    /// Where a user's components and groups are put together.
    components: Vec<u32>,
    row: Vec<u32>,
    /// Groups that were drawn, in order.
    groups: Vec<Id>,
    users: usize,
}

/// What changed since a snapshot was drawn: all of it, in as many rounds as there were.
#[derive(Clone, Copy, Debug)]
pub struct Since<'a> {
    /// Users and groups, as they are now.
    pub changes: &'a Changes,
    /// Users whose groups may have changed, in order ([`super::Applied::touched`]).
    pub touched: &'a [Id],
}

/// So many components are few: whoever is directly in no more is often not alone with them.
const FEW: usize = 4;

/// Roles, and who holds them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Roles<'a> {
    /// Who holds which.
    pub assignments: &'a [RoleAssignment],
    /// Names of definitions, where they are known.
    pub names: Option<&'a BTreeMap<Id, String>>,
}

/// Why a snapshot cannot be drawn. The one before stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// It cannot be written.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Something that is known to be there did not come.
    #[error(
        "{missing} {what} are missing from what was kept of the tenant: draw the directory anew from the store; if \
         that does not help, have it synchronised in full"
    )]
    Incomplete {
        /// Of what.
        what: &'static str,
        /// How many.
        missing: usize,
    },
}

impl Closure {
    /// Draws a snapshot: `draw` hands over all groups and users, from wherever they are kept. Whoever is gone may come
    /// too, and is left out.
    pub fn draw<E: From<DraftError>>(
        &self,
        head: Head,
        draw: impl FnOnce(&mut Draft<'_>) -> Result<(), E>,
    ) -> Result<Vec<u8>, E> {
        let condensed = Condensed::of(&self.graph);
        let nodes = self.graph.nodes();
        let hiding = (0..).zip(nodes).filter(|(_, node)| self.hides(node));
        let hiding: Vec<u32> = hiding.map(|(group, _)| group).collect();
        let mut incomplete = vec![false; nodes.len()];
        for group in self.graph.with_live_above(&hiding) {
            incomplete[group as usize] = true;
        }
        let mut draft = Draft {
            closure: self,
            condensed: &condensed,
            climb: condensed.climb(),
            builder: Builder::new(head),
            numbers: vec![NONE; nodes.len()],
            incomplete,
            sets: HashMap::new(),
            components: Vec::new(),
            row: Vec::new(),
            groups: Vec::new(),
            users: 0,
        };
        draw(&mut draft)?;
        Ok(draft.finish()?)
    }
}

impl Draft<'_> {
    /// The next group.
    pub fn group(&mut self, id: Id, group: &Group) -> Result<(), DraftError> {
        let name = group.texts.get(&Text::DisplayName);
        self.named_group(id, name.map(String::as_str))
    }

    /// The next user.
    pub fn user(&mut self, id: Id, user: &User) -> Result<(), DraftError> {
        let texts = user.texts.iter();
        let texts = texts.filter_map(|(text, value)| Some((attribute(*text)?, value.as_str())));
        self.described_user(id, user.enabled, texts)
    }

    /// All roles. Those that count are held now or at a time of their own, in the whole tenant, by a user or by a
    /// group that the user is in.
    pub fn roles(&mut self, roles: &Roles<'_>) -> Result<(), DraftError> {
        for (role, name) in roles.names.into_iter().flatten() {
            self.builder.role(*role, name)?;
        }
        for assignment in roles.assignments {
            if assignment.held != Held::Active || assignment.scope != "/" {
                continue;
            }
            let [from, until] = [assignment.from, assignment.until]
                .map(|time| time.map(time::OffsetDateTime::unix_timestamp));
            let (principal, role) = (assignment.principal, assignment.role);
            let members = self.closure.members(principal).unwrap_or_default();
            let members = members.into_iter();
            let users = members.filter(|member| member.kind == MemberKind::User);
            for user in users.map(|member| member.id).chain([principal]) {
                self.builder.holds(user, role, from, until);
            }
        }
        Ok(())
    }

    fn named_group(&mut self, id: Id, name: Option<&str>) -> Result<(), DraftError> {
        let graph = &self.closure.graph;
        let group = graph.find_group(id);
        let Some(group) = group.filter(|group| graph.node(*group).live) else {
            return Ok(());
        };
        self.groups.push(id);
        self.numbers[group as usize] = self.builder.group(NewGroup {
            id,
            name,
            complete: !self.incomplete[group as usize],
        })?;
        Ok(())
    }

    fn described_user<'t>(
        &mut self,
        id: Id,
        enabled: Option<bool>,
        texts: impl IntoIterator<Item = (Attribute, &'t str)>,
    ) -> Result<(), DraftError> {
        let graph = &self.closure.graph;
        let user = graph.find_user(id);
        if let Some(user) = user.filter(|user| graph.leaf(*user).live) {
            let groups = self.set(user)?;
            self.written_user(id, enabled, groups, texts)?;
        }
        Ok(())
    }

    fn written_user<'t>(
        &mut self,
        id: Id,
        enabled: Option<bool>,
        groups: Set,
        texts: impl IntoIterator<Item = (Attribute, &'t str)>,
    ) -> Result<(), DraftError> {
        self.users += 1;
        let user = NewUser {
            id,
            enabled,
            groups,
        };
        Ok(self.builder.user(user, texts)?)
    }

    /// All groups of a user; who is directly in the same few ones shares them.
    fn set(&mut self, user: u32) -> Result<Set, DraftError> {
        let direct = &self.closure.graph.leaf(user).groups;
        self.condensed.of_groups(direct, &mut self.components);
        let mut few = [NONE; FEW];
        let are_few = self.components.len() <= FEW;
        if are_few {
            few[..self.components.len()].copy_from_slice(&self.components);
            if let Some(set) = self.sets.get(&few) {
                return Ok(*set);
            }
        }
        self.climb.groups(&self.components, &mut self.row);
        for group in &mut self.row {
            *group = self.numbers[*group as usize];
        }
        // Those that did not come are missed at the end.
        self.row.retain(|group| *group != NONE);
        self.row.sort_unstable();
        let set = self.builder.set(&self.row)?;
        if are_few {
            self.sets.insert(few, set);
        }
        Ok(set)
    }

    fn finish(self) -> Result<Vec<u8>, DraftError> {
        let counts = self.closure.counts();
        for (what, there, drawn) in [
            ("groups", counts.groups, self.groups.len()),
            ("users", counts.users, self.users),
        ] {
            if drawn < there {
                let missing = there - drawn;
                return Err(DraftError::Incomplete { what, missing });
            }
        }
        Ok(self.builder.finish()?)
    }
}

/// Draws a snapshot from the one before and what changed since, which `closure` has taken up already: nothing has to be
/// read from the store. What comes out says the same as what [`Closure::draw`] makes of the whole store.
pub fn redraw<B: AsRef<[u8]>>(
    closure: &Closure,
    head: Head,
    previous: &Snapshot<B>,
    since: Since<'_>,
    roles: &Roles<'_>,
) -> Result<Vec<u8>, DraftError> {
    closure.draw(head, |draft| {
        let groups = previous.groups().map(|(id, name, _)| (id, name));
        merge(groups, &since.changes.groups, |id, group| match group {
            Either::Kept(name) => draft.named_group(id, name),
            Either::Changed(group) => draft.group(id, group),
        })?;
        // Then sets can be taken over as they are, by whoever is not touched.
        let same_numbers = previous
            .groups()
            .map(|(id, ..)| id)
            .eq(draft.groups.iter().copied());
        let mut taken: HashMap<u32, Set> = HashMap::new();
        let users = previous.users().map(|user| (user.id(), user));
        merge(users, &since.changes.users, |id, user| match user {
            Either::Kept(user) => {
                let texts = Attribute::ALL.into_iter();
                let texts =
                    texts.filter_map(|attribute| Some((attribute, user.attribute(attribute)?)));
                if !same_numbers || since.touched.binary_search(&id).is_ok() {
                    return draft.described_user(id, user.enabled(), texts);
                }
                let (number, groups) = user.set();
                let set = if let Some(set) = taken.get(&number) {
                    *set
                } else {
                    draft.row.clear();
                    draft.row.extend(groups);
                    let set = draft.builder.set(&draft.row)?;
                    taken.insert(number, set);
                    set
                };
                draft.written_user(id, user.enabled(), set, texts)
            }
            Either::Changed(user) => draft.user(id, user),
        })?;
        draft.roles(roles)
    })
}

/// What is kept as it was, or what came in its place.
enum Either<K, C> {
    Kept(K),
    Changed(C),
}

/// Goes through both in the order of ids; what changed comes in place of what was kept.
fn merge<K, T>(
    kept: impl Iterator<Item = (Id, K)>,
    changed: &BTreeMap<Id, Option<T>>,
    mut each: impl FnMut(Id, Either<K, &T>) -> Result<(), DraftError>,
) -> Result<(), DraftError> {
    let mut changed = changed.iter().peekable();
    let mut put = |upto: Option<Id>, each: &mut dyn FnMut(Id, &T) -> Result<(), DraftError>| {
        let mut replaced = false;
        while let Some((id, now)) = changed.next_if(|(id, _)| upto.is_none_or(|upto| **id <= upto))
        {
            replaced = Some(*id) == upto;
            if let Some(now) = now {
                each(*id, now)?;
            }
        }
        Ok::<_, DraftError>(replaced)
    };
    for (id, kept) in kept {
        if !put(Some(id), &mut |id, now| each(id, Either::Changed(now)))? {
            each(id, Either::Kept(kept))?;
        }
    }
    put(None, &mut |id, now| each(id, Either::Changed(now)))?;
    Ok(())
}

/// `None` for what is written of groups alone.
fn attribute(text: Text) -> Option<Attribute> {
    Some(match text {
        Text::Upn => Attribute::Upn,
        Text::DisplayName => Attribute::DisplayName,
        Text::Mail => Attribute::Mail,
        Text::Department => Attribute::Department,
        Text::Company => Attribute::Company,
        Text::JobTitle => Attribute::JobTitle,
        Text::EmployeeId => Attribute::EmployeeId,
        Text::EmployeeType => Attribute::EmployeeType,
        Text::UserType => Attribute::UserType,
        Text::ExternalState => Attribute::ExternalState,
        Text::ImmutableId => Attribute::ImmutableId,
        Text::SamAccountName => Attribute::SamAccountName,
        Text::OnPremisesDomain => Attribute::OnPremisesDomain,
        Text::Sid => Attribute::Sid,
        Text::Visibility | Text::MembershipRule => return None,
    })
}

//! Roles that began and ended.

use std::collections::{BTreeMap, BTreeSet};

use super::super::documents::{OfRoles, read};
use super::super::{Moment, ReviewError};
use super::{Before, Changed, Event, Move};
use crate::model::{Held, Id, MemberKind, Part, RoleAssignment};

impl Changed {
    /// What became of the roles whose documents changed.
    pub(super) fn roles(&self, moment: &Moment, found: &mut Vec<Move>) -> Result<(), ReviewError> {
        if self.roles.is_empty() {
            return Ok(());
        }
        let documents = moment.view().documents(Part::Roles)?;
        let names = names(&documents)?;
        for (id, befores) in &self.roles {
            let now = assignments(documents.get(id).map(Vec::as_slice))?;
            let next = befores.iter().skip(1).map(|before| &before.was);
            for (before, then) in befores.iter().zip(next.chain([&now])) {
                let mut tell = |event, assignments: BTreeSet<&RoleAssignment>| {
                    for assignment in assignments {
                        let told = Move::of_role(moment, event, assignment, &names, before)?;
                        found.push(told);
                    }
                    Ok::<_, ReviewError>(())
                };
                tell(Event::RoleEnded, before.was.difference(then).collect())?;
                tell(Event::RoleBegan, then.difference(&before.was).collect())?;
            }
        }
        Ok(())
    }
}

impl Move {
    fn of_role<T>(
        moment: &Moment,
        event: Event,
        assignment: &RoleAssignment,
        names: &BTreeMap<Id, String>,
        before: &Before<T>,
    ) -> Result<Self, ReviewError> {
        let principal = assignment.principal;
        let is_group = moment.is_known(Part::Groups) && moment.view().group(principal)?.is_some();
        let is_user = moment.is_known(Part::Users) && moment.view().user(principal)?.is_some();
        let kind = match (is_group, is_user) {
            (true, _) => MemberKind::Group,
            (false, true) => MemberKind::User,
            (false, false) => MemberKind::Other,
        };
        let held = match assignment.held {
            Held::Active => "",
            Held::Eligible => " (eligible)",
        };
        let name = names.get(&assignment.role).cloned();
        let name = name.unwrap_or_else(|| assignment.role.to_string());
        let mut told = Self::new(event, principal, kind, None, before);
        told.role = Some(format!("{name}{held} in {}", assignment.scope));
        Ok(told)
    }
}

/// The assignments of a document; none when it is not there.
pub(super) fn assignments(
    document: Option<&[u8]>,
) -> Result<BTreeSet<RoleAssignment>, ReviewError> {
    let several = document.map_or(Ok(Vec::new()), |bytes| read(Part::Roles, bytes))?;
    let assignments = several.into_iter().filter_map(|one| match one {
        OfRoles::Assignment(assignment) => Some(assignment),
        OfRoles::Definition(_) => None,
    });
    Ok(assignments.collect())
}

/// The names of roles.
fn names(documents: &BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<Id, String>, ReviewError> {
    let mut names = BTreeMap::new();
    for document in documents.values() {
        for one in read(Part::Roles, document)? {
            if let OfRoles::Definition(role) = one {
                let id = role.known_as();
                names.extend(role.display_name.map(|name| (id, name)));
            }
        }
    }
    Ok(names)
}

//! Who holds which role at a moment, and who may take it.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::documents::{OfRoles, each};
use super::facts::Facts;
use super::row::written;
use super::{Moment, ReviewError};
use crate::model::{Held, Id, Part, RoleAssignment};

/// Roles of a tenant.
pub(super) struct Roles {
    by_principal: HashMap<Id, Vec<RoleAssignment>>,
    names: HashMap<Id, String>,
}

/// A role of a user, and the group that it comes through, if it does.
pub(super) struct Holding<'a> {
    assignment: &'a RoleAssignment,
    through: Option<Id>,
}

impl Roles {
    /// None where nobody knows.
    pub(super) fn of_moment(moment: &Moment) -> Result<Option<Self>, ReviewError> {
        let mut roles = Self {
            by_principal: HashMap::new(),
            names: HashMap::new(),
        };
        each(moment, Part::Roles, |_, document| {
            match document {
                OfRoles::Definition(role) => {
                    let id = role.known_as();
                    roles.names.extend(role.display_name.map(|name| (id, name)));
                }
                OfRoles::Assignment(assignment) if is_running(&assignment, moment.at()) => {
                    let of_principal = roles.by_principal.entry(assignment.principal);
                    of_principal.or_default().push(assignment);
                }
                OfRoles::Assignment(_) => (),
            }
            Ok::<_, ReviewError>(())
        })?;
        for assignments in roles.by_principal.values_mut() {
            assignments.sort_unstable();
            assignments.dedup();
        }
        Ok(moment.is_known(Part::Roles).then_some(roles))
    }

    /// The roles of a user who is in these groups.
    pub(super) fn of(&self, user: Id, groups: &[Id]) -> Vec<Holding<'_>> {
        let through = groups.iter().map(|group| (*group, Some(*group)));
        let principals = std::iter::once((user, None)).chain(through);
        let holdings = principals.flat_map(|(principal, through)| {
            let assignments = self.by_principal.get(&principal);
            let assignments = assignments.into_iter().flatten();
            assignments.map(move |assignment| Holding {
                assignment,
                through,
            })
        });
        holdings.collect()
    }

    /// The name of a role, where it is known.
    pub(super) fn name(&self, role: Id) -> Option<&str> {
        self.names.get(&role).map(String::as_str)
    }

    /// Everything that is held or may be taken, by whom, in the order of roles and principals.
    pub(super) fn all(&self) -> Vec<&RoleAssignment> {
        let mut all: Vec<_> = self.by_principal.values().flatten().collect();
        all.sort_unstable_by_key(|assignment| (assignment.role, *assignment));
        all
    }
}

impl Holding<'_> {
    pub(super) const fn held(&self) -> Held {
        self.assignment.held
    }

    pub(super) const fn role(&self) -> Id {
        self.assignment.role
    }

    /// Whether it is in the whole tenant.
    pub(super) fn is_everywhere(&self) -> bool {
        self.assignment.scope == "/"
    }

    /// With its scope, unless that is the whole tenant.
    pub(super) fn written(&self, facts: &Facts) -> String {
        let mut text = facts.role_name(self.role());
        if !self.is_everywhere() {
            text = format!("{text} in {}", self.assignment.scope);
        }
        if let Some(group) = self.through {
            text = format!("{text} through {}", facts.group_name(group));
        }
        match self.assignment.until {
            Some(until) => format!("{text} until {}", written(until)),
            None => text,
        }
    }
}

/// Whether it has begun, and has not ended.
fn is_running(assignment: &RoleAssignment, at: OffsetDateTime) -> bool {
    assignment.from.is_none_or(|from| from <= at) && assignment.until.is_none_or(|until| at < until)
}

//! Whom Conditional Access policies leave out, made ready to be asked of many users.

use std::collections::HashSet;

use super::facts::Facts;
use super::roles::Holding;
use crate::decode::conditional_access::{Policy, State};
use crate::model::{Held, Id};

/// Whom one policy leaves out.
pub(super) struct Exclusion {
    /// The policy's name, and its state where it is not in force.
    pub(super) policy: String,
    users: HashSet<Id>,
    groups: HashSet<Id>,
    roles: HashSet<Id>,
    guests: Guests,
}

/// Which guests a policy leaves out.
#[derive(PartialEq, Eq)]
enum Guests {
    None,
    All,
    Some,
}

impl Exclusion {
    /// Of a policy, unless it is disabled.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        let state = match &policy.state {
            State::Disabled => return None,
            State::Enabled => "",
            State::ReportOnly => " (report-only)",
            State::Other(_) => " (state not known)",
        };
        let users = &policy.conditions.users;
        let kinds = users.exclude_guests_or_external_users.as_ref();
        let is_all = |name: &String| name.eq_ignore_ascii_case("GuestsOrExternalUsers");
        let guests = if users.exclude_users.iter().any(is_all) {
            Guests::All
        } else if kinds.is_some_and(|kinds| !kinds.is_null()) {
            Guests::Some
        } else {
            Guests::None
        };
        Some(Self {
            policy: format!("{}{state}", policy.display_name),
            users: ids(&users.exclude_users),
            groups: ids(&users.exclude_groups),
            roles: ids(&users.exclude_roles),
            guests,
        })
    }

    /// By what a user is left out. Roles in a part of the tenant leave nobody out, and neither do those that may only
    /// be taken.
    pub(super) fn why(
        &self,
        facts: &Facts,
        id: Id,
        is_guest: bool,
        groups: &[Id],
        holdings: &[Holding<'_>],
    ) -> Vec<String> {
        let mut why = Vec::new();
        if self.users.contains(&id) {
            why.push("by user".to_owned());
        }
        if !self.groups.is_empty() {
            let groups = groups.iter().filter(|group| self.groups.contains(group));
            why.extend(groups.map(|group| format!("by group {}", facts.group_name(*group))));
        }
        let held = holdings.iter().filter(|holding| {
            holding.held() == Held::Active
                && holding.is_everywhere()
                && self.roles.contains(&holding.role())
        });
        why.extend(held.map(|holding| format!("by role {}", facts.role_name(holding.role()))));
        match self.guests {
            Guests::All if is_guest => why.push("as guest".to_owned()),
            Guests::Some if is_guest => {
                why.push("perhaps as guest: it leaves out some kinds of them".to_owned());
            }
            _ => (),
        }
        why.dedup();
        why
    }
}

fn ids(list: &[String]) -> HashSet<Id> {
    list.iter()
        .filter_map(|text| Id::try_parse(text).ok())
        .collect()
}

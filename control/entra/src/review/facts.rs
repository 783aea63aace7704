//! What rows about users are made of, read once.

use std::collections::HashMap;

use time::OffsetDateTime;

use super::documents::{all, each};
use super::exclusions::Exclusion;
use super::person::Mfa;
use super::roles::Roles;
use super::row::Known;
use super::{Moment, ReviewError};
use crate::closure::{Closure, Loader};
use crate::decode::conditional_access::Policy;
use crate::decode::registrations::Registration;
use crate::decode::sign_ins::SignIn;
use crate::model::{Id, Part, Text};

/// The tenant at a moment, made ready to be asked of many users; of what is `None`, nothing is known.
pub(super) struct Facts {
    pub(super) closure: Closure,
    pub(super) roles: Option<Roles>,
    pub(super) policies: Option<Vec<Policy>>,
    pub(super) exclusions: Option<Vec<Exclusion>>,
    groups: HashMap<Id, String>,
    /// Names of the users that policies leave out.
    users: HashMap<Id, String>,
    mfa: Option<HashMap<Id, Mfa>>,
    sign_ins: Option<HashMap<Id, OffsetDateTime>>,
}

impl Facts {
    pub(super) fn of(moment: &Moment) -> Result<Self, ReviewError> {
        let mut loader = Loader::default();
        let mut groups = HashMap::new();
        if moment.is_known(Part::Users) {
            for user in moment.view().users()? {
                let (id, user) = user?;
                loader.user(id, &user);
            }
        }
        if moment.is_known(Part::Groups) {
            for group in moment.view().groups()? {
                let (id, group) = group?;
                loader.group(id, &group);
                groups.extend(
                    group
                        .texts
                        .get(&Text::DisplayName)
                        .map(|name| (id, name.clone())),
                );
            }
            for edge in moment.view().edges()? {
                let (group, member, kind) = edge?;
                loader.edge(group, member, kind);
            }
        }
        let policies: Option<Vec<(_, Policy)>> = all(moment, Part::ConditionalAccess)?;
        let policies = policies.map(|policies| {
            let mut policies: Vec<Policy> =
                policies.into_iter().map(|(_, policy)| policy).collect();
            policies.sort_by(|a, b| (&a.display_name, &a.id).cmp(&(&b.display_name, &b.id)));
            policies
        });
        let users = excluded_users(moment, policies.as_deref().unwrap_or_default())?;
        let exclusions = policies
            .as_ref()
            .map(|policies| policies.iter().filter_map(Exclusion::of).collect());
        Ok(Self {
            closure: loader.finish(),
            roles: Roles::of_moment(moment)?,
            policies,
            exclusions,
            groups,
            users,
            mfa: registrations(moment)?,
            sign_ins: sign_ins(moment)?,
        })
    }

    /// What a user has for a second factor; none when nobody knows.
    pub(super) fn mfa(&self, user: Id) -> Option<Mfa> {
        self.mfa.as_ref()?.get(&user).copied()
    }

    /// Whether it is known at all who has a second factor.
    pub(super) const fn is_mfa_known(&self) -> bool {
        self.mfa.is_some()
    }

    pub(super) fn last_sign_in(&self, user: Id) -> Known<OffsetDateTime> {
        match &self.sign_ins {
            Some(sign_ins) => sign_ins.get(&user).copied().into(),
            None => Known::Unknown,
        }
    }

    /// The name of a group, or else its id.
    pub(super) fn group_name(&self, group: Id) -> String {
        let name = self.groups.get(&group).cloned();
        name.unwrap_or_else(|| group.to_string())
    }

    /// The name of a user that a policy leaves out, or else what the policy says.
    pub(super) fn user_name(&self, text: &str) -> String {
        let id = Id::try_parse(text).ok();
        let name = id.and_then(|id| self.users.get(&id).cloned());
        name.unwrap_or_else(|| text.to_owned())
    }

    /// The name of a role, or else its id.
    pub(super) fn role_name(&self, role: Id) -> String {
        let name = self.roles.as_ref().and_then(|roles| roles.name(role));
        name.map_or_else(|| role.to_string(), str::to_owned)
    }

    /// The groups that a user is in.
    pub(super) fn groups_of(&self, user: Id) -> Vec<Id> {
        self.closure.groups_of(user).unwrap_or_default()
    }
}

fn excluded_users(
    moment: &Moment,
    policies: &[Policy],
) -> Result<HashMap<Id, String>, ReviewError> {
    let mut names = HashMap::new();
    let excluded = policies
        .iter()
        .flat_map(|policy| &policy.conditions.users.exclude_users);
    for id in excluded.filter_map(|text| Id::try_parse(text).ok()) {
        if moment.is_known(Part::Users)
            && let Some(mut user) = moment.view().user(id)?
        {
            names.extend(user.texts.remove(&Text::Upn).map(|upn| (id, upn)));
        }
    }
    Ok(names)
}

fn registrations(moment: &Moment) -> Result<Option<HashMap<Id, Mfa>>, ReviewError> {
    let mut registrations = HashMap::new();
    each(moment, Part::Registrations, |_, read: Registration| {
        let mfa = Mfa {
            registered: read.is_mfa_registered,
            capable: read.is_mfa_capable,
        };
        registrations.insert(read.id, mfa);
        Ok::<_, ReviewError>(())
    })?;
    Ok(moment
        .is_known(Part::Registrations)
        .then_some(registrations))
}

/// The last sign-in of each user that succeeded, up to the moment.
fn sign_ins(moment: &Moment) -> Result<Option<HashMap<Id, OffsetDateTime>>, ReviewError> {
    let mut last: HashMap<Id, OffsetDateTime> = HashMap::new();
    each(moment, Part::SignIns, |_, read: SignIn| {
        let status = read.status.as_ref();
        let is_success = status.and_then(|status| status.error_code) == Some(0);
        let (user, at) = (Id::try_parse(&read.user_id), read.created_date_time);
        if let (Ok(user), true, true) = (user, is_success, at <= moment.at()) {
            let known = last.entry(user).or_insert(at);
            *known = at.max(*known);
        }
        Ok::<_, ReviewError>(())
    })?;
    Ok(moment.is_known(Part::SignIns).then_some(last))
}

//! Parts a round that is held: what takes rights from few people, and does not wait; and the rest.
//!
//! The rule is written down in [`crate::guard`].

use std::collections::BTreeSet;

use super::effect::{Before, Effect, is_disabled};
use crate::guard::{Guard, Loss, Reason};
use crate::model::{Id, MemberKind, User};
use crate::store::{Plan, StoreError, Writer};

/// What is applied at once, and what waits.
pub(super) fn split(
    writer: &Writer,
    effect: Effect,
    guard: &Guard,
    reasons: &[Reason],
    loss: &Loss,
) -> Result<(Plan, Plan), StoreError> {
    let judged = Judged {
        before: Before::of(writer)?,
        effect: &effect,
        guard,
        reasons,
        tripped: reasons.iter().filter_map(watched).collect(),
        users: loss.users,
    };
    let mut urgent = Plan::default();
    judged.users(&mut urgent)?;
    judged.edges(&mut urgent)?;
    drop(judged);
    let mut waits = effect.plan;
    waits
        .users
        .retain(|id, user| urgent.users.get(id) != Some(user));
    waits
        .edges
        .retain(|edge, kind| urgent.edges.get(edge) != Some(kind));
    Ok((urgent, waits))
}

struct Judged<'a> {
    before: Before<'a>,
    effect: &'a Effect,
    guard: &'a Guard,
    reasons: &'a [Reason],
    /// Watched groups for which the round is held.
    tripped: BTreeSet<Id>,
    /// Users that are live.
    users: u64,
}

impl Judged<'_> {
    fn users(&self, urgent: &mut Plan) -> Result<(), StoreError> {
        let may_remove = !self.has(|reason| matches!(reason, Reason::UsersRemoved { .. }));
        let may_disable = !self.has(|reason| matches!(reason, Reason::UsersDisabled { .. }));
        let mut ended = Vec::new();
        for (id, after) in &self.effect.plan.users {
            let Some(before) = self.before.user(*id)?.filter(|user| user.gone.is_none()) else {
                continue;
            };
            let gone = after.as_ref().is_none_or(|user| user.gone.is_some());
            if gone && may_remove && self.is_told(id) && !self.is_member_of_tripped(*id)? {
                // Of somebody who is gone nothing else matters.
                urgent.users.insert(*id, after.clone());
                continue;
            }
            let Some(after) = after else { continue };
            let mut now = before.clone();
            if may_disable && is_disabled(&before, after) {
                now.enabled = after.enabled;
            }
            if after.sessions_valid_from > before.sessions_valid_from {
                ended.push((*id, after.sessions_valid_from));
            }
            if now != before {
                urgent.users.insert(*id, Some(now));
            }
        }
        if self.is_few(ended.len()) {
            for (id, sessions_valid_from) in ended {
                let now = match urgent.users.remove(&id) {
                    Some(now) => now,
                    None => self.before.user(id)?,
                };
                let now = now.map(|user| User {
                    sessions_valid_from,
                    ..user
                });
                urgent.users.insert(id, now);
            }
        }
        Ok(())
    }

    fn edges(&self, urgent: &mut Plan) -> Result<(), StoreError> {
        let plan = &self.effect.plan;
        let denying = &self.guard.watched.denying;
        let may_end = !self.effect.is_full
            && !self.has(|reason| matches!(reason, Reason::EdgesRemoved { .. }));
        let mut denied = Vec::new();
        for ((group, member), after) in &plan.edges {
            let edge = (*group, *member);
            if after.is_some() {
                denied.extend(denying.contains(group).then_some((edge, *after)));
                continue;
            }
            let stays = !matches!(plan.groups.get(group), Some(None));
            let may_end =
                may_end && stays && !denying.contains(group) && !self.tripped.contains(group);
            if may_end && self.before.edge(*group, *member)? != Some(MemberKind::Group) {
                urgent.edges.insert(edge, None);
            }
        }
        if self.is_few(denied.len()) {
            urgent.edges.extend(denied);
        }
        Ok(())
    }

    fn has(&self, is: fn(&Reason) -> bool) -> bool {
        self.reasons.iter().any(is)
    }

    /// Whether the tenant spoke of the user.
    fn is_told(&self, id: &Id) -> bool {
        !self.effect.vanished.contains(id)
    }

    fn is_member_of_tripped(&self, id: Id) -> Result<bool, StoreError> {
        for group in &self.tripped {
            if self.before.edge(*group, id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_few(&self, count: usize) -> bool {
        !self
            .guard
            .limits
            .disabled
            .is_exceeded(count as u64, self.users)
    }
}

fn watched(reason: &Reason) -> Option<Id> {
    match reason {
        Reason::Watched { group, .. } => Some(*group),
        _ => None,
    }
}

//! Who did it, as the tenant's audit log tells.

use std::collections::{HashMap, HashSet};

use time::{Duration, OffsetDateTime};

use super::super::documents::each;
use super::super::{Moment, ReviewError};
use super::{Event, Move};
use crate::decode::audits::{Audit, Initiator};
use crate::model::{Id, Part};
use crate::store::Store;

/// Who changed something, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Actor {
    /// When, as the tenant's log says.
    pub at: OffsetDateTime,
    /// The name that a person signs in with, or the name of an application; or else its id.
    pub name: String,
}

/// Clocks here and there may differ by so much.
const SKEW: Duration = Duration::minutes(5);

/// What the audit log tells of some members: by what was done, and to whom.
pub(super) struct Actors(HashMap<Done, Vec<(Option<Id>, Actor)>>);

/// What was done, and to whom.
type Done = (&'static str, Id);

impl Actors {
    /// None where the log was never read. What the log says is taken as it is now, because it comes late.
    pub(super) fn of(
        store: &Store,
        members: &HashSet<Id>,
        until: OffsetDateTime,
    ) -> Result<Option<Self>, ReviewError> {
        let moment = Moment::now(store, until)?;
        let mut actors: HashMap<_, Vec<_>> = HashMap::new();
        each(&moment, Part::Audits, |_, audit: Audit| {
            let Some(activity) = activity(&audit) else {
                return Ok(());
            };
            let Some(name) = audit.initiated_by.as_ref().and_then(name) else {
                return Ok(());
            };
            let actor = Actor {
                at: audit.activity_date_time,
                name,
            };
            let (targets, groups) = targets(&audit);
            let mut known = targets.iter().filter(|target| members.contains(target));
            let groups: Vec<Option<Id>> = match activity {
                ADD_MEMBER | REMOVE_MEMBER => groups.into_iter().map(Some).collect(),
                _ => vec![None],
            };
            known.try_for_each(|target| {
                let of_target = actors.entry((activity, *target)).or_default();
                of_target.extend(groups.iter().map(|group| (*group, actor.clone())));
                Ok::<_, ReviewError>(())
            })
        })?;
        Ok(moment.is_known(Part::Audits).then_some(Self(actors)))
    }

    /// The last who did it between the two rounds.
    pub(super) fn of_move(&self, found: &Move) -> Option<Actor> {
        let period = found.after - SKEW..=found.seen + SKEW;
        let group = found.group.as_ref().map(|(id, _)| *id);
        let done = activities(found.event).iter();
        let actors = done.filter_map(|activity| self.0.get(&(*activity, found.member)));
        let actors = actors
            .flatten()
            .filter(|(of, actor)| *of == group && period.contains(&actor.at));
        actors.map(|(_, actor)| actor).max().cloned()
    }
}

const ADD_MEMBER: &str = "add member to group";
const REMOVE_MEMBER: &str = "remove member from group";
const ADD_ROLE: &str = "add member to role";
const REMOVE_ROLE: &str = "remove member from role";
const KNOWN: [&str; 10] = [
    ADD_ROLE,
    REMOVE_ROLE,
    ADD_MEMBER,
    REMOVE_MEMBER,
    "add user",
    "restore user",
    "delete user",
    "hard delete user",
    "enable account",
    "disable account",
];

/// Names in the log of what leads to an event.
const fn activities(event: Event) -> &'static [&'static str] {
    match event {
        Event::AccountCame => &["add user", "restore user"],
        Event::AccountEnabled => &["enable account"],
        Event::MembershipBegan => &[ADD_MEMBER],
        Event::AccountDeleted => &["delete user"],
        Event::AccountPurged => &["hard delete user", "delete user"],
        Event::AccountDisabled => &["disable account"],
        Event::MembershipEnded => &[REMOVE_MEMBER],
        Event::RoleBegan => &[ADD_ROLE],
        Event::RoleEnded => &[REMOVE_ROLE],
    }
}

/// What was done, if it is known here and was done.
fn activity(audit: &Audit) -> Option<&'static str> {
    let result = audit.result.as_deref().unwrap_or("success");
    let is_done = result.eq_ignore_ascii_case("success");
    let mut known = KNOWN.into_iter();
    known.find(|name| is_done && audit.activity_display_name.eq_ignore_ascii_case(name))
}

/// What was changed, and the groups among it.
fn targets(audit: &Audit) -> (Vec<Id>, Vec<Id>) {
    let (mut targets, mut groups) = (Vec::new(), Vec::new());
    for target in &audit.target_resources {
        let id = target.id.as_deref().and_then(|id| Id::try_parse(id).ok());
        targets.extend(id);
        if target.kind.as_deref() == Some(KIND_GROUP) {
            groups.extend(id);
        }
        // The group stands in a property of the member, as JSON in a text.
        let named = target.modified_properties.iter();
        let named = named.filter(|named| named.display_name.as_deref() == Some("Group.ObjectID"));
        let values = named.flat_map(|named| [&named.old_value, &named.new_value]);
        let values = values.flatten().map(|value| value.trim_matches('"'));
        groups.extend(values.filter_map(|value| Id::try_parse(value).ok()));
    }
    groups.sort_unstable();
    groups.dedup();
    (targets, groups)
}

const KIND_GROUP: &str = "Group";

fn name(initiator: &Initiator) -> Option<String> {
    let user = initiator.user.as_ref();
    let user = user.and_then(|user| user.user_principal_name.as_ref().or(user.id.as_ref()));
    let app = initiator.app.as_ref();
    let app = app.and_then(|app| app.display_name.as_ref().or(app.app_id.as_ref()));
    user.or(app).cloned()
}

//! One user: every group, and why.

use super::access::{LONGEST, Via, ends};
use super::facts::Facts;
use super::person::Person;
use super::{Moment, ReviewError};
use crate::model::{Group, Id, Part, Text};
use crate::store::StoreError;

/// All that is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Who.
    pub person: Person,
    /// Every group, in the order of their ids; nobody knows where there is no list.
    pub groups: Option<Vec<InGroup>>,
}

/// A group of a user, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InGroup {
    /// Which, and the way into it.
    pub via: Via,
    /// The rule by which the tenant put the user into the first group of the way, if it has one.
    pub rule: Option<String>,
}

/// Everything about one user. None when there is no such user, or it is gone, or nobody knows.
pub fn user(moment: &Moment, id: Id) -> Result<Option<Explained>, ReviewError> {
    if !moment.is_known(Part::Users) {
        return Ok(None);
    }
    let Some(user) = moment.view().user(id)? else {
        return Ok(None);
    };
    let facts = Facts::of(moment)?;
    let Some(ways) = facts.closure.ways(id, LONGEST) else {
        return Ok(None);
    };
    let person = Person::of(&facts, id, &user, &ends(&ways));
    let explained = ways.iter().filter_map(|way| {
        let via = Via::of(&facts, way)?;
        let first = way.groups.first().filter(|_| !way.is_cut);
        let first = first.map_or(Ok(None), |first| moment.view().group(*first));
        Some(first.map(|first| InGroup {
            via,
            rule: first.and_then(rule),
        }))
    });
    let explained = if moment.is_known(Part::Groups) {
        Some(explained.collect::<Result<_, StoreError>>()?)
    } else {
        None
    };
    Ok(Some(Explained {
        person,
        groups: explained,
    }))
}

/// The rule of a dynamic group.
fn rule(mut group: Group) -> Option<String> {
    let is_dynamic = group.types.contains("DynamicMembership");
    let rule = group.texts.remove(&Text::MembershipRule);
    rule.filter(|_| is_dynamic)
}

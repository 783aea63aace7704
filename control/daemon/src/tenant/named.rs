//! The groups that the configuration names: which they are in the tenant, and which are watched.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_abi::Class;
use weir_api::entra::NamedGroup;
use weir_config::{Config, closest};
use weir_directory::{GroupFound, Snapshot};
use weir_entra::guard::{Guard, Limits, Watched};
use weir_entra::model::{Id, MemberKind};
use weir_entra::store::{Store, StoreError};
use weir_policy::{Values, WhenSpec};

/// So many groups are watched, with those that are nested in them.
const MOST: usize = 10_000;

/// A group that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    /// As it is written.
    pub(crate) written: String,
    /// Whether its members are denied something.
    pub(crate) denies: bool,
}

/// The groups that bindings and rules name.
pub(crate) fn named(config: &Config) -> BTreeSet<Named> {
    let mut all = BTreeSet::new();
    let Some(entra) = &config.entra else {
        return all;
    };
    all.extend(entra.groups.iter().map(|bound| Named {
        written: bound.group.clone(),
        // Whatever is bound takes away: to become a member never waits, to be one no more does.
        denies: bound.class != Class::Managed,
    }));
    for rule in &config.rules {
        let mut when = Some(&rule.when);
        let mut is_negated = false;
        while let Some(conditions) = when {
            let denies = (rule.then.decision == "block") != is_negated;
            let groups = groups(conditions);
            all.extend(groups.map(|written| Named { written, denies }));
            is_negated = !is_negated;
            when = conditions.not.as_deref();
        }
    }
    all
}

fn groups(when: &WhenSpec) -> impl Iterator<Item = String> {
    let groups = match &when.group {
        Values::Absent => &[],
        Values::One(group) => std::slice::from_ref(group),
        Values::Many(groups) => groups,
    };
    groups.iter().cloned()
}

/// What the tenant knows of them.
pub(crate) fn found(named: &BTreeSet<Named>, snapshot: &Snapshot<Arc<[u8]>>) -> Vec<NamedGroup> {
    let mut all: Vec<NamedGroup> = Vec::new();
    for Named { written, .. } in named {
        if all.iter().any(|one| one.group == *written) {
            continue;
        }
        let (id, trouble) = match snapshot.group(written) {
            GroupFound::One(group) => (snapshot.group_id(group), None),
            GroupFound::None => (None, Some(unknown(written, snapshot))),
            GroupFound::Ambiguous([one, other]) => {
                let words = format!(
                    "several groups bear this name, {one} and {other} among them: write the id of the one that is meant"
                );
                (None, Some(words))
            }
            GroupFound::Unknown => (None, None),
        };
        all.push(NamedGroup {
            group: written.clone(),
            id: id.map(|id| id.to_string()),
            trouble,
        });
    }
    all
}

fn unknown(written: &str, snapshot: &Snapshot<Arc<[u8]>>) -> String {
    let names: Vec<&str> = snapshot.groups().filter_map(|(_, name, _)| name).collect();
    let near = closest(written, &names);
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!("the tenant has no such group{near}")
}

/// What rounds are judged by: the groups that are named, and those that are nested in them. Blocks.
pub(crate) fn guard(
    limits: Limits,
    named: &BTreeSet<Named>,
    snapshot: &Snapshot<Arc<[u8]>>,
    store: &Store,
) -> Result<Guard, StoreError> {
    let ids = |only_denying: bool| {
        let wanted = named.iter().filter(move |one| one.denies || !only_denying);
        wanted.filter_map(|one| match snapshot.group(&one.written) {
            GroupFound::One(group) => snapshot.group_id(group),
            _ => None,
        })
    };
    let view = store.read()?;
    let with_nested = |top: BTreeSet<Id>| {
        let mut all = top.clone();
        let mut next: Vec<Id> = top.into_iter().collect();
        while let Some(group) = next.pop().filter(|_| all.len() < MOST) {
            for member in view.members(group)? {
                let (member, kind) = member?;
                if kind == MemberKind::Group && all.insert(member) {
                    next.push(member);
                }
            }
        }
        Ok::<_, StoreError>(all)
    };
    Ok(Guard {
        limits,
        watched: Watched {
            groups: with_nested(ids(false).collect())?,
            denying: with_nested(ids(true).collect())?,
        },
    })
}

//! Roles: definitions, who holds which, and who may take one.
//!
//! Graph tells of roles in force twice: plainly, and with the times of Privileged Identity Management, which not every
//! tenant has and not every application may read. Both become one: with times where there are some.

use std::collections::{BTreeMap, BTreeSet};

use super::broken::Broken;
use super::documents::{Documents, document, is_lasting};
use super::read::Reader;
use crate::decode::Malformed;
use crate::decode::roles::{Definition, assignments, definitions, eligibilities};
use crate::graph::{Ask, Failure};
use crate::model::{Held, Id, Page, Part, RoleAssignment};
use crate::store::{Store, StoreError};

const ASSIGNMENT: &str = "assignment:";
const DEFINITION: &str = "definition:";

/// Who holds which role, and what roles are called, as they are kept.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) assignments: Vec<RoleAssignment>,
    pub(super) names: BTreeMap<Id, String>,
}

impl Kept {
    /// Reads them; what this version cannot read is not there.
    pub(super) fn read(store: &Store) -> Result<Self, StoreError> {
        let mut kept = Self::default();
        for (name, bytes) in store.read()?.documents(Part::Roles)? {
            if name.starts_with(ASSIGNMENT) {
                let read = serde_json::from_slice::<Vec<RoleAssignment>>(&bytes);
                kept.assignments.extend(read.unwrap_or_default());
            } else if let Ok(definition) = serde_json::from_slice::<Definition>(&bytes)
                && let Some(name) = definition.display_name.clone()
            {
                kept.names.insert(definition.known_as(), name);
            }
        }
        Ok(kept)
    }
}

impl Reader {
    /// Everything about roles. What may not be read of it is named in `without`.
    pub(super) async fn roles(&self, without: &mut Vec<Failure>) -> Result<Documents, Broken> {
        let definitions = self.all(&Ask::RoleDefinitions, definitions).await?;
        let plain = self.all(&Ask::RoleAssignments, assignments).await?;
        let timed = self
            .maybe(&Ask::RoleAssignmentSchedules, assignments)
            .await?;
        let eligible = self
            .maybe(&Ask::RoleEligibilitySchedules, eligibilities)
            .await?;
        let mut all = plain;
        match timed {
            Ok(timed) => merge(&mut all, timed),
            Err(failure) => without.push(*failure),
        }
        let mut documents = Documents::new();
        match eligible {
            Ok(eligible) => all.extend(eligible),
            Err(failure) => {
                // Not to be told of them is not to hear that there are none.
                let held = format!(":{:?}:", Held::Eligible);
                documents = self.kept(Part::Roles, ASSIGNMENT)?;
                documents.retain(|(name, _)| name.contains(&held));
                without.push(*failure);
            }
        }
        let templates: BTreeMap<Id, Id> = definitions
            .iter()
            .map(|definition| (definition.id, definition.known_as()))
            .collect();
        let mut grouped: BTreeMap<String, BTreeSet<RoleAssignment>> = BTreeMap::new();
        for mut one in all {
            if let Some(template) = templates.get(&one.role) {
                one.role = *template;
            }
            let RoleAssignment {
                principal,
                role,
                held,
                scope,
                ..
            } = &one;
            let name = format!("{ASSIGNMENT}{principal}:{role}:{held:?}:{scope}");
            grouped.entry(name).or_default().insert(one);
        }
        for (name, assignments) in grouped {
            documents.push(document(name, &assignments)?);
        }
        for definition in &definitions {
            documents.push(document(
                format!("{DEFINITION}{}", definition.id),
                definition,
            )?);
        }
        Ok(documents)
    }

    /// All pages of what not everybody has or may read.
    async fn maybe<T>(
        &self,
        ask: &Ask,
        decode: fn(&[u8]) -> Result<Page<T>, Malformed>,
    ) -> Result<Result<Vec<T>, Box<Failure>>, Broken> {
        match self.all(ask, decode).await {
            Ok(all) => Ok(Ok(all)),
            Err(Broken::Graph(failure)) if is_lasting(&failure) => Ok(Err(failure)),
            Err(broken) => Err(broken),
        }
    }
}

/// Those with times take the place of those that are told plainly.
fn merge(plain: &mut Vec<RoleAssignment>, timed: Vec<RoleAssignment>) {
    let key = |one: &RoleAssignment| (one.principal, one.role, one.scope.clone());
    let known: BTreeSet<_> = timed.iter().map(key).collect();
    plain.retain(|one| !known.contains(&key(one)));
    plain.extend(timed);
}

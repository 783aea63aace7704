//! Role definitions, who has a role, and who may take one.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::{Guid, id, or_default};
use super::{Malformed, envelope};
use crate::model::{Held, Id, Page, RoleAssignment};

/// A role that there is in the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Of a built-in one the same in all tenants.
    #[serde(deserialize_with = "id")]
    pub id: Id,
    /// Its name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Whether Microsoft made it.
    #[serde(default, deserialize_with = "or_default")]
    pub is_built_in: bool,
    /// Whether it can be assigned.
    #[serde(default)]
    pub is_enabled: Option<bool>,
    /// The template that it was made from.
    #[serde(default)]
    pub template_id: Option<String>,
}

impl Definition {
    /// By which id the role is known everywhere: a built-in one by its template's, which tokens and assignments say.
    pub fn known_as(&self) -> Id {
        let told = self.template_id.as_deref().filter(|_| self.is_built_in);
        let told = told.and_then(|id| Id::try_parse(id).ok());
        told.unwrap_or(self.id)
    }
}

/// A page of definitions.
pub fn definitions(body: &[u8]) -> Result<Page<Definition>, Malformed> {
    envelope::list(body)
}

/// A page of `roleAssignments` or of `roleAssignmentScheduleInstances`.
pub fn assignments(body: &[u8]) -> Result<Page<RoleAssignment>, Malformed> {
    page(body, Held::Active)
}

/// A page of `roleEligibilityScheduleInstances`.
pub fn eligibilities(body: &[u8]) -> Result<Page<RoleAssignment>, Malformed> {
    page(body, Held::Eligible)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Assignment {
    principal_id: Guid,
    role_definition_id: Guid,
    #[serde(default)]
    directory_scope_id: Option<String>,
    #[serde(default)]
    app_scope_id: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    start_date_time: Option<OffsetDateTime>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    end_date_time: Option<OffsetDateTime>,
}

fn page(body: &[u8], held: Held) -> Result<Page<RoleAssignment>, Malformed> {
    let Page { items, next } = envelope::list::<Assignment>(body)?;
    let items = items.into_iter().map(|read| {
        // Nothing must not be read as everything.
        let scope = read.directory_scope_id.or(read.app_scope_id);
        let scope = scope.ok_or_else(|| Malformed::new("a role assignment has no scope"))?;
        Ok(RoleAssignment {
            principal: read.principal_id.0,
            role: read.role_definition_id.0,
            scope,
            held,
            from: read.start_date_time,
            until: read.end_date_time,
        })
    });
    let items = items.collect::<Result<_, Malformed>>()?;
    Ok(Page { items, next })
}

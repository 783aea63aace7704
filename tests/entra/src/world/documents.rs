//! What of a tenant is kept as Graph shows it: policies, locations, roles, domains, logs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A collection of documents, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// `/organization`
    Organization,
    /// `/domains`
    Domains,
    /// `/roleManagement/directory/roleDefinitions`
    RoleDefinitions,
    /// `/roleManagement/directory/roleAssignments`
    RoleAssignments,
    /// `/roleManagement/directory/roleAssignmentScheduleInstances`
    RoleAssignmentSchedules,
    /// `/roleManagement/directory/roleEligibilityScheduleInstances`
    RoleEligibilities,
    /// `/identity/conditionalAccess/policies`
    ConditionalAccess,
    /// `/identity/conditionalAccess/namedLocations`
    NamedLocations,
    /// `/policies/authenticationMethodsPolicy`
    AuthenticationMethods,
    /// `/policies/identitySecurityDefaultsEnforcementPolicy`
    SecurityDefaults,
    /// `/policies/authorizationPolicy`
    Authorization,
    /// `/policies/authenticationStrengthPolicies`
    AuthenticationStrengths,
    /// `/auditLogs/signIns`
    SignIns,
    /// `/auditLogs/directoryAudits`
    Audits,
}

impl Section {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Organization,
        Self::Domains,
        Self::RoleDefinitions,
        Self::RoleAssignments,
        Self::RoleAssignmentSchedules,
        Self::RoleEligibilities,
        Self::ConditionalAccess,
        Self::NamedLocations,
        Self::AuthenticationMethods,
        Self::SecurityDefaults,
        Self::Authorization,
        Self::AuthenticationStrengths,
        Self::SignIns,
        Self::Audits,
    ];

    /// Its path below `/v1.0`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Domains => "domains",
            Self::RoleDefinitions => "roleManagement/directory/roleDefinitions",
            Self::RoleAssignments => "roleManagement/directory/roleAssignments",
            Self::RoleAssignmentSchedules => {
                "roleManagement/directory/roleAssignmentScheduleInstances"
            }
            Self::RoleEligibilities => "roleManagement/directory/roleEligibilityScheduleInstances",
            Self::ConditionalAccess => "identity/conditionalAccess/policies",
            Self::NamedLocations => "identity/conditionalAccess/namedLocations",
            Self::AuthenticationMethods => "policies/authenticationMethodsPolicy",
            Self::SecurityDefaults => "policies/identitySecurityDefaultsEnforcementPolicy",
            Self::Authorization => "policies/authorizationPolicy",
            Self::AuthenticationStrengths => "policies/authenticationStrengthPolicies",
            Self::SignIns => "auditLogs/signIns",
            Self::Audits => "auditLogs/directoryAudits",
        }
    }

    /// Whether it is one document, shown without `value` around it.
    pub fn is_single(self) -> bool {
        matches!(
            self,
            Self::AuthenticationMethods | Self::SecurityDefaults | Self::Authorization
        )
    }
}

/// The documents of a tenant.
#[derive(Debug, Default)]
pub struct Documents {
    sections: BTreeMap<Section, Vec<Value>>,
    /// Federation settings by domain.
    pub federation: BTreeMap<String, Value>,
}

impl Documents {
    /// Those of a section, in order.
    pub fn of(&self, section: Section) -> &[Value] {
        self.sections.get(&section).map_or(&[], Vec::as_slice)
    }

    /// Puts a document in, in the place of the one with its id if there is one. In a section of one document there is
    /// never another.
    pub fn put(&mut self, section: Section, document: Value) {
        let documents = self.sections.entry(section).or_default();
        // Logs only grow, and are long.
        if matches!(section, Section::SignIns | Section::Audits) {
            return documents.push(document);
        }
        let id = &document["id"];
        let same = |known: &Value| section.is_single() || known["id"] == *id;
        match documents.iter_mut().find(|known| same(known)) {
            Some(known) => *known = document,
            None => documents.push(document),
        }
    }

    /// Takes a document away; says whether it was there.
    pub fn remove(&mut self, section: Section, id: &str) -> bool {
        let documents = self.sections.entry(section).or_default();
        let before = documents.len();
        documents.retain(|document| document["id"] != id);
        documents.len() != before
    }

    /// Changes a document of a section; says whether it was there.
    pub fn change(&mut self, section: Section, id: &str, change: impl FnOnce(&mut Value)) -> bool {
        let documents = self.sections.entry(section).or_default();
        match documents.iter_mut().find(|document| document["id"] == id) {
            Some(document) => {
                change(document);
                true
            }
            None => false,
        }
    }
}

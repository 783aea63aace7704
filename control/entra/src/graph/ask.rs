//! What Weir asks of Graph: for each question its path, the properties that it selects, the permissions that suffice,
//! and the lane that it goes in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use time::macros::format_description;
use url::Url;

use crate::model::{Id, Part, Text};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// All users, and from then on what changes.
    UserChanges,
    /// Nothing, but what changes among users from now on.
    UserChangesFromNow,
    /// All users, as they are.
    Users,
    /// Users that can still be restored.
    DeletedUsers,
    /// All groups with their members, and from then on what changes.
    GroupChanges,
    /// Nothing, but what changes among groups from now on.
    GroupChangesFromNow,
    /// All groups, as they are, without members.
    Groups,
    /// Groups that can still be restored.
    DeletedGroups,
    /// Who stands in a group itself.
    Members(Id),
    /// Which of at most 20 groups a user is in, nested ones too: the tenant's own word on the matter.
    CheckMemberGroups(Id, Vec<Id>),
    /// What roles there are.
    RoleDefinitions,
    /// Who has a role.
    RoleAssignments,
    /// Who has a role, since when and until when.
    RoleAssignmentSchedules,
    /// Who may take a role.
    RoleEligibilitySchedules,
    /// Conditional Access policies.
    ConditionalAccess,
    /// Named locations.
    Locations,
    /// Which authentication methods the tenant allows.
    Methods,
    /// Security defaults.
    SecurityDefaults,
    /// The organisation.
    Organisation,
    /// Its domains.
    Domains,
    /// The federation settings of a domain.
    Federation(String),
    /// The credentials of an application.
    Credentials(Id),
    /// Who has registered which authentication methods.
    Registrations,
    /// Sign-ins from then on.
    SignIns(OffsetDateTime),
    /// Entries of the audit log from then on.
    Audits(OffsetDateTime),
}

/// Requests that are counted, slowed down and stopped together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Users, groups, roles.
    Identity,
    /// Conditional Access and named locations: one a second for the whole tenant.
    ConditionalAccess,
    /// Audit and report logs: five in ten seconds.
    Audit,
    /// The rest.
    Other,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Identity,
        Self::ConditionalAccess,
        Self::Audit,
        Self::Other,
    ];
}

/// Properties of users besides their texts.
const OF_USERS: [&str; 5] = [
    "id",
    "accountEnabled",
    "proxyAddresses",
    "createdDateTime",
    "signInSessionsValidFromDateTime",
];
/// Properties of groups besides their texts.
const OF_GROUPS: [&str; 5] = [
    "id",
    "securityEnabled",
    "mailEnabled",
    "groupTypes",
    "isAssignableToRole",
];

/// Any one of these lets Weir read users; the first is what to ask an administrator for.
const USERS: &[&str] = &["User.Read.All", "Directory.Read.All"];
const GROUPS: &[&str] = &[
    "GroupMember.Read.All",
    "Group.Read.All",
    "Directory.Read.All",
];
const DELETED_GROUPS: &[&str] = &["Group.Read.All", "Directory.Read.All"];
const ROLES: &[&str] = &["RoleManagement.Read.Directory", "Directory.Read.All"];
const ASSIGNED: &[&str] = &[
    "RoleManagement.Read.Directory",
    "RoleAssignmentSchedule.Read.Directory",
    "RoleManagement.Read.All",
];
const ELIGIBLE: &[&str] = &[
    "RoleManagement.Read.Directory",
    "RoleEligibilitySchedule.Read.Directory",
    "RoleManagement.Read.All",
];
const POLICIES: &[&str] = &["Policy.Read.All"];
const METHODS: &[&str] = &["Policy.Read.All", "Policy.Read.AuthenticationMethod"];
const ORGANISATION: &[&str] = &[
    "User.Read.All",
    "Organization.Read.All",
    "Directory.Read.All",
];
const DOMAINS: &[&str] = &["Domain.Read.All", "Directory.Read.All"];
const FEDERATION: &[&str] = &["Domain-InternalFederation.Read.All"];
const APPLICATIONS: &[&str] = &["Application.Read.All", "Directory.Read.All"];
const LOGS: &[&str] = &["AuditLog.Read.All"];
const AUDITS: &[&str] = &["AuditLog.Read.All", "Directory.Read.All"];

impl Ask {
    /// The questions of a part, as they are first asked; those about one object or one span of time stand with a
    /// made-up one. What needs more permissions than the part itself is left out: deleted groups.
    pub fn of(part: Part) -> Vec<Self> {
        match part {
            Part::Users => vec![Self::UserChanges, Self::Users, Self::DeletedUsers],
            Part::Groups => vec![
                Self::GroupChanges,
                Self::Groups,
                Self::Members(Id::nil()),
                Self::CheckMemberGroups(Id::nil(), Vec::new()),
            ],
            Part::Roles => vec![
                Self::RoleDefinitions,
                Self::RoleAssignments,
                Self::RoleAssignmentSchedules,
                Self::RoleEligibilitySchedules,
            ],
            Part::ConditionalAccess => vec![Self::ConditionalAccess],
            Part::Locations => vec![Self::Locations],
            Part::Methods => vec![Self::Methods],
            Part::SecurityDefaults => vec![Self::SecurityDefaults],
            Part::Organisation => vec![Self::Organisation],
            Part::Domains => vec![Self::Domains, Self::Federation("example.org".to_owned())],
            Part::Credentials => vec![Self::Credentials(Id::nil())],
            Part::Registrations => vec![Self::Registrations],
            Part::SignIns => vec![Self::SignIns(OffsetDateTime::UNIX_EPOCH)],
            Part::Audits => vec![Self::Audits(OffsetDateTime::UNIX_EPOCH)],
        }
    }

    /// The permissions that an administrator must consent to for some parts; sorted, each once.
    pub fn permissions(parts: impl IntoIterator<Item = Part>) -> Vec<&'static str> {
        let asks = parts.into_iter().flat_map(Self::of);
        let mut all: Vec<_> = asks.map(|ask| ask.suffices()[0]).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whose question it is.
    pub fn part(&self) -> Part {
        match self {
            Self::UserChanges | Self::UserChangesFromNow | Self::Users | Self::DeletedUsers => {
                Part::Users
            }
            Self::GroupChanges
            | Self::GroupChangesFromNow
            | Self::Groups
            | Self::DeletedGroups
            | Self::Members(_)
            | Self::CheckMemberGroups(..) => Part::Groups,
            Self::RoleDefinitions
            | Self::RoleAssignments
            | Self::RoleAssignmentSchedules
            | Self::RoleEligibilitySchedules => Part::Roles,
            Self::ConditionalAccess => Part::ConditionalAccess,
            Self::Locations => Part::Locations,
            Self::Methods => Part::Methods,
            Self::SecurityDefaults => Part::SecurityDefaults,
            Self::Organisation => Part::Organisation,
            Self::Domains | Self::Federation(_) => Part::Domains,
            Self::Credentials(_) => Part::Credentials,
            Self::Registrations => Part::Registrations,
            Self::SignIns(_) => Part::SignIns,
            Self::Audits(_) => Part::Audits,
        }
    }

    /// What it goes in.
    pub fn lane(&self) -> Lane {
        match self.part() {
            Part::Users | Part::Groups | Part::Roles | Part::Credentials => Lane::Identity,
            Part::ConditionalAccess | Part::Locations => Lane::ConditionalAccess,
            Part::Registrations | Part::SignIns | Part::Audits => Lane::Audit,
            Part::Methods | Part::SecurityDefaults | Part::Organisation | Part::Domains => {
                Lane::Other
            }
        }
    }

    /// Any one of these permissions suffices; the first is what to ask an administrator for.
    pub fn suffices(&self) -> &'static [&'static str] {
        match self {
            Self::UserChanges | Self::UserChangesFromNow | Self::Users | Self::DeletedUsers => {
                USERS
            }
            Self::GroupChanges
            | Self::GroupChangesFromNow
            | Self::Groups
            | Self::Members(_)
            | Self::CheckMemberGroups(..) => GROUPS,
            Self::DeletedGroups => DELETED_GROUPS,
            Self::RoleDefinitions | Self::RoleAssignments => ROLES,
            Self::RoleAssignmentSchedules => ASSIGNED,
            Self::RoleEligibilitySchedules => ELIGIBLE,
            Self::ConditionalAccess | Self::Locations | Self::SecurityDefaults => POLICIES,
            Self::Methods => METHODS,
            Self::Organisation => ORGANISATION,
            Self::Domains => DOMAINS,
            Self::Federation(_) => FEDERATION,
            Self::Credentials(_) => APPLICATIONS,
            Self::Registrations | Self::SignIns(_) => LOGS,
            Self::Audits(_) => AUDITS,
        }
    }

    /// The properties that it selects; all that there are when there are none here.
    pub fn selects(&self) -> Vec<&'static str> {
        let texts = |texts: &[(Text, &'static str)]| -> Vec<_> {
            texts.iter().map(|(_, name)| *name).collect()
        };
        match self {
            Self::UserChanges | Self::UserChangesFromNow | Self::Users => {
                [&OF_USERS[..], &texts(&Text::OF_USERS)].concat()
            }
            Self::GroupChanges | Self::GroupChangesFromNow => {
                [&OF_GROUPS[..], &texts(&Text::OF_GROUPS), &["members"]].concat()
            }
            Self::Groups => [&OF_GROUPS[..], &texts(&Text::OF_GROUPS)].concat(),
            Self::DeletedUsers | Self::DeletedGroups => vec!["id", "deletedDateTime"],
            Self::Members(_) => vec!["id"],
            Self::RoleDefinitions => {
                vec!["id", "displayName", "isBuiltIn", "isEnabled", "templateId"]
            }
            Self::Credentials(_) => vec![
                "id",
                "appId",
                "displayName",
                "passwordCredentials",
                "keyCredentials",
            ],
            _ => Vec::new(),
        }
    }

    /// The path below the version, from the slash on.
    pub fn path(&self) -> String {
        match self {
            Self::UserChanges | Self::UserChangesFromNow => "/users/delta",
            Self::Users => "/users",
            Self::DeletedUsers => "/directory/deletedItems/microsoft.graph.user",
            Self::GroupChanges | Self::GroupChangesFromNow => "/groups/delta",
            Self::Groups => "/groups",
            Self::DeletedGroups => "/directory/deletedItems/microsoft.graph.group",
            Self::Members(group) => return format!("/groups/{group}/members"),
            Self::CheckMemberGroups(user, _) => return format!("/users/{user}/checkMemberGroups"),
            Self::RoleDefinitions => "/roleManagement/directory/roleDefinitions",
            Self::RoleAssignments => "/roleManagement/directory/roleAssignments",
            Self::RoleAssignmentSchedules => {
                "/roleManagement/directory/roleAssignmentScheduleInstances"
            }
            Self::RoleEligibilitySchedules => {
                "/roleManagement/directory/roleEligibilityScheduleInstances"
            }
            Self::ConditionalAccess => "/identity/conditionalAccess/policies",
            Self::Locations => "/identity/conditionalAccess/namedLocations",
            Self::Methods => "/policies/authenticationMethodsPolicy",
            Self::SecurityDefaults => "/policies/identitySecurityDefaultsEnforcementPolicy",
            Self::Organisation => "/organization",
            Self::Domains => "/domains",
            Self::Federation(domain) => {
                return format!("/domains/{}/federationConfiguration", segment(domain));
            }
            Self::Credentials(_) => "/applications",
            Self::Registrations => "/reports/authenticationMethods/userRegistrationDetails",
            Self::SignIns(_) => "/auditLogs/signIns",
            Self::Audits(_) => "/auditLogs/directoryAudits",
        }
        .to_owned()
    }

    /// What stands behind the question mark.
    fn query(&self) -> String {
        let mut query = Vec::new();
        let selects = self.selects();
        if !selects.is_empty() {
            query.push(format!("$select={}", selects.join(",")));
        }
        match self {
            Self::UserChangesFromNow | Self::GroupChangesFromNow => {
                query.push("$deltatoken=latest".to_owned());
            }
            Self::Users
            | Self::Groups
            | Self::DeletedUsers
            | Self::DeletedGroups
            | Self::Members(_) => query.push("$top=999".to_owned()),
            Self::Credentials(client) => query.push(format!("$filter=appId eq '{client}'")),
            Self::SignIns(from) => {
                query.push(format!("$filter=createdDateTime ge {}", moment(*from)));
                query.push("$top=1000".to_owned());
            }
            Self::Audits(from) => {
                query.push(format!("$filter=activityDateTime ge {}", moment(*from)));
                query.push("$top=1000".to_owned());
            }
            _ => (),
        }
        query.join("&")
    }

    /// Where it is first asked.
    pub(crate) fn url(&self, graph: &Url) -> Url {
        let mut url = graph.clone();
        url.set_path(&format!("/v1.0{}", self.path()));
        let query = self.query();
        url.set_query(Some(&*query).filter(|query| !query.is_empty()));
        url
    }

    /// What it sends along, when it asks by sending.
    pub(crate) fn body(&self) -> Option<serde_json::Value> {
        match self {
            Self::CheckMemberGroups(_, groups) => Some(serde_json::json!({ "groupIds": groups })),
            _ => None,
        }
    }
}

/// One segment of a path, whatever stands in it.
fn segment(text: &str) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
    utf8_percent_encode(text, ENCODED).to_string()
}

fn moment(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let time = time.to_offset(time::UtcOffset::UTC);
    let written = time.format(format);
    written.expect("the format asks for nothing that a time lacks")
}

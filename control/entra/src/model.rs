//! What is kept of a tenant: only what policy, its evidence and its health need.
//!
//! Graph's delta pages tell of an object only what changed, so what is told ([`UserPatch`], [`GroupPatch`]) and
//! what is kept ([`User`], [`Group`]) are two things. In a patch *unsaid* is not *null*: the first leaves a
//! property as it was, the second takes it away (`return=minimal`, delta-query overview).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Id of an object in the tenant.
pub type Id = uuid::Uuid;

/// A text of a user or a group, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Text {
    /// `userPrincipalName`
    Upn,
    /// `displayName`
    DisplayName,
    /// `mail`
    Mail,
    /// `department`
    Department,
    /// `companyName`
    Company,
    /// `jobTitle`
    JobTitle,
    /// `employeeId`
    EmployeeId,
    /// `employeeType`
    EmployeeType,
    /// `userType`: `Member` or `Guest`; absent for some old synchronised accounts.
    UserType,
    /// `externalUserState`
    ExternalState,
    /// `onPremisesImmutableId`: what joins an account to the organisation's own directory.
    ImmutableId,
    /// `onPremisesSamAccountName`
    SamAccountName,
    /// `onPremisesDomainName`
    OnPremisesDomain,
    /// `onPremisesSecurityIdentifier`
    Sid,
    /// `visibility` of a group: `Public`, `Private` or `HiddenMembership`.
    Visibility,
    /// `membershipRule` of a dynamic group.
    MembershipRule,
}

impl Text {
    /// Those of users, with their names in Graph.
    pub const OF_USERS: [(Self, &'static str); 14] = [
        (Self::Upn, "userPrincipalName"),
        (Self::DisplayName, "displayName"),
        (Self::Mail, "mail"),
        (Self::Department, "department"),
        (Self::Company, "companyName"),
        (Self::JobTitle, "jobTitle"),
        (Self::EmployeeId, "employeeId"),
        (Self::EmployeeType, "employeeType"),
        (Self::UserType, "userType"),
        (Self::ExternalState, "externalUserState"),
        (Self::ImmutableId, "onPremisesImmutableId"),
        (Self::SamAccountName, "onPremisesSamAccountName"),
        (Self::OnPremisesDomain, "onPremisesDomainName"),
        (Self::Sid, "onPremisesSecurityIdentifier"),
    ];

    /// Those of groups, with their names in Graph.
    pub const OF_GROUPS: [(Self, &'static str); 6] = [
        (Self::DisplayName, "displayName"),
        (Self::SamAccountName, "onPremisesSamAccountName"),
        (Self::OnPremisesDomain, "onPremisesDomainName"),
        (Self::Sid, "onPremisesSecurityIdentifier"),
        (Self::Visibility, "visibility"),
        (Self::MembershipRule, "membershipRule"),
    ];
}

/// A property as a patch tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told<T> {
    /// Nothing is said of it: it stays as it is.
    #[default]
    Unsaid,
    /// It has no value any more.
    Null,
    /// Its value.
    Is(T),
}

impl<T> Told<T> {
    /// Puts what is told into `kept`.
    pub fn put(self, kept: &mut Option<T>) {
        match self {
            Self::Unsaid => (),
            Self::Null => *kept = None,
            Self::Is(value) => *kept = Some(value),
        }
    }
}

/// A user as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `accountEnabled`; nobody knows when absent.
    pub enabled: Option<bool>,
    /// Since when it is soft-deleted. It keeps its edges, and counts in none of them.
    pub gone: Option<OffsetDateTime>,
    /// What is written of it.
    pub texts: BTreeMap<Text, String>,
    /// `proxyAddresses`
    pub addresses: BTreeSet<String>,
    /// `createdDateTime`
    pub created: Option<OffsetDateTime>,
    /// `signInSessionsValidFromDateTime`: sessions from before are void.
    pub sessions_valid_from: Option<OffsetDateTime>,
}

/// A group as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Since when it is soft-deleted.
    pub gone: Option<OffsetDateTime>,
    /// What is written of it.
    pub texts: BTreeMap<Text, String>,
    /// `securityEnabled`
    pub security: Option<bool>,
    /// `mailEnabled`
    pub mail_enabled: Option<bool>,
    /// `groupTypes`: `Unified`, `DynamicMembership`.
    pub types: BTreeSet<String>,
    /// `isAssignableToRole`
    pub role_assignable: Option<bool>,
}

/// What is told of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPatch {
    /// `accountEnabled`
    pub enabled: Told<bool>,
    /// Texts; `None` is null.
    pub texts: BTreeMap<Text, Option<String>>,
    /// `proxyAddresses`
    pub addresses: Told<BTreeSet<String>>,
    /// `createdDateTime`
    pub created: Told<OffsetDateTime>,
    /// `signInSessionsValidFromDateTime`
    pub sessions_valid_from: Told<OffsetDateTime>,
}

/// What is told of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPatch {
    /// Texts; `None` is null.
    pub texts: BTreeMap<Text, Option<String>>,
    /// `securityEnabled`
    pub security: Told<bool>,
    /// `mailEnabled`
    pub mail_enabled: Told<bool>,
    /// `groupTypes`
    pub types: Told<BTreeSet<String>>,
    /// `isAssignableToRole`
    pub role_assignable: Told<bool>,
    /// `members@delta`: edges that came, and edges that went.
    pub members: Vec<Edge>,
}

/// One change of a member list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Edge {
    /// Who.
    pub member: Id,
    /// Of what kind.
    pub kind: MemberKind,
    /// Whether it is a member now, or is one no more.
    pub is_member: bool,
}

/// What a member of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberKind {
    /// A person's account.
    User,
    /// A group in a group.
    Group,
    /// A device.
    Device,
    /// An application's account in the tenant.
    ServicePrincipal,
    /// What this version knows no better: kept, counted, and followed no further.
    Other,
}

/// One object of a delta page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item<P> {
    /// It is there, and this is told of it.
    Live(Id, P),
    /// Soft-deleted: it can come back for 30 days (`@removed`, reason `changed`).
    Gone(Id),
    /// Deleted for good (`@removed`, reason `deleted`).
    Purged(Id),
}

/// A role that somebody has, or may take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoleAssignment {
    /// A user, a group or a service principal.
    pub principal: Id,
    /// Id of the definition; of a built-in role its template's, which is what `wids` in a token says.
    pub role: Id,
    /// `/` for the whole tenant, else a part of it.
    pub scope: String,
    /// Held now, or there to be taken.
    pub held: Held,
    /// When it begins, if it does.
    pub from: Option<OffsetDateTime>,
    /// When it ends, if it does.
    pub until: Option<OffsetDateTime>,
}

/// How somebody has a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Held {
    /// In force.
    Active,
    /// Privileged Identity Management lets them take it.
    Eligible,
}

/// A part of the directory, with a cadence and a health of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Users, by delta.
    Users,
    /// Groups and their members, by delta.
    Groups,
    /// Role definitions and assignments, and which roles may be taken.
    Roles,
    /// Conditional Access policies.
    ConditionalAccess,
    /// Named locations.
    Locations,
    /// Which authentication methods the tenant allows.
    Methods,
    /// Security defaults.
    SecurityDefaults,
    /// The organisation itself.
    Organisation,
    /// Domains and their federation settings.
    Domains,
    /// The credentials of Weir's own application.
    Credentials,
    /// Who has registered which authentication methods.
    Registrations,
    /// The sign-in log.
    SignIns,
    /// The audit log of the tenant: who changed whom.
    Audits,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Users,
        Self::Groups,
        Self::Roles,
        Self::ConditionalAccess,
        Self::Locations,
        Self::Methods,
        Self::SecurityDefaults,
        Self::Organisation,
        Self::Domains,
        Self::Credentials,
        Self::Registrations,
        Self::SignIns,
        Self::Audits,
    ];

    /// Its word in the configuration, on the command line and in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
            Self::Roles => "roles",
            Self::ConditionalAccess => "conditional-access",
            Self::Locations => "locations",
            Self::Methods => "methods",
            Self::SecurityDefaults => "security-defaults",
            Self::Organisation => "organisation",
            Self::Domains => "domains",
            Self::Credentials => "credentials",
            Self::Registrations => "registrations",
            Self::SignIns => "sign-ins",
            Self::Audits => "audits",
        }
    }
}

/// A page of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What it holds; may be nothing, also when more follows.
    pub items: Vec<T>,
    /// How it goes on.
    pub next: Next,
}

/// How an answer goes on after a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more behind this link (`@odata.nextLink`), which is taken as it is.
    More(String),
    /// This was all; from here on changes are told behind the link, where there is one (`@odata.deltaLink`).
    Done(Option<String>),
}

/// What a round changed, as it is afterwards; may be applied twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Users; `None` is gone for good.
    pub users: BTreeMap<Id, Option<User>>,
    /// Groups; `None` is gone for good.
    pub groups: BTreeMap<Id, Option<Group>>,
    /// Members of groups, by group and member; `None` is a member no more.
    pub edges: BTreeMap<(Id, Id), Option<MemberKind>>,
    /// Parts that are kept as documents, and changed.
    pub documents: BTreeSet<Part>,
}

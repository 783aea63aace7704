//! Which path means what.

use crate::throttle::Lane;
use crate::world::documents::Section;
use crate::world::object::Kind;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// All objects of a kind.
    List(Kind),
    /// How many there are.
    Count(Kind),
    /// An object of a kind by its id; a user also by name.
    One(Kind, String),
    /// What changed of a kind.
    Delta(Kind),
    /// Members of a group.
    Members(Reach, String),
    /// What an object is a member of.
    MemberOf(Reach, Kind, String),
    /// Ids of what a user is a member of, however deep.
    Ask(Question, String),
    /// Objects by their ids.
    GetByIds,
    /// Soft-deleted objects of a kind.
    Deleted(Kind),
    /// The documents of a section.
    Documents(Section),
    /// A document of a section.
    Document(Section, String),
    /// Federation settings of a domain, or one of them by id.
    Federation(String, Option<String>),
    /// Roles that somebody has.
    DirectoryRoles,
    /// Who has a role: by its id or its template.
    RoleMembers(String),
    /// Registered applications.
    Applications,
    /// One of them by its object's id.
    Application(String),
    /// One of them by its client id.
    ApplicationByAppId(String),
    /// Who registered which methods.
    Registrations,
    /// Many requests in one.
    Batch,
}

/// How far members are followed, and which of them are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Through groups in groups.
    pub transitive: bool,
    /// Only those of a kind.
    pub only: Option<Kind>,
    /// Only how many.
    pub count: bool,
}

/// A question about a user's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `getMemberGroups`
    Groups,
    /// `getMemberObjects`
    Objects,
    /// `checkMemberGroups`
    Check,
}

impl Route {
    /// Of a path below `/v1.0`, without a query.
    pub fn of(path: &str) -> Option<Self> {
        let decoded = percent_encoding::percent_decode_str(path)
            .decode_utf8()
            .ok()?;
        let segments: Vec<&str> = decoded.trim_matches('/').split('/').collect();
        if segments == ["$batch"] {
            return Some(Self::Batch);
        }
        if segments == ["directoryObjects", "getByIds"] {
            return Some(Self::GetByIds);
        }
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.path() == segments[0]);
        match kind {
            Some(kind) => Self::object(kind, &segments[1..]),
            None => Self::other(&segments),
        }
    }

    /// Its name in the table of permissions.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Self::List(Kind::User) | Self::Count(Kind::User) => "/users",
            Self::List(Kind::Group) | Self::Count(Kind::Group) => "/groups",
            Self::List(Kind::Device) | Self::Count(Kind::Device) | Self::One(Kind::Device, _) => {
                "/devices"
            }
            Self::List(Kind::ServicePrincipal) | Self::Count(Kind::ServicePrincipal) => {
                "/serviceprincipals"
            }
            Self::One(Kind::User, _) => "/users/{id}",
            Self::One(Kind::Group, _) => "/groups/{id}",
            Self::One(Kind::ServicePrincipal, _) => "/serviceprincipals/{id}",
            Self::Delta(Kind::Group) => "/groups/delta",
            Self::Delta(_) => "/users/delta",
            Self::Members(reach, _) if reach.transitive => "/groups/{id}/transitivemembers",
            Self::Members(..) => "/groups/{id}/members",
            Self::MemberOf(reach, Kind::Group, _) if reach.transitive => {
                "/groups/{id}/transitivememberof"
            }
            Self::MemberOf(reach, ..) if reach.transitive => "/users/{id}/transitivememberof",
            Self::MemberOf(..) => "/users/{id}/memberof",
            Self::Ask(Question::Check, _) => "/users/{id}/checkmembergroups",
            Self::Ask(..) => "/users/{id}/getmembergroups",
            Self::GetByIds => "/directoryobjects/getbyids",
            Self::Deleted(Kind::Group) => "/directory/deleteditems/microsoft.graph.group",
            Self::Deleted(_) => "/directory/deleteditems/microsoft.graph.user",
            Self::Documents(section) | Self::Document(section, _) => section_endpoint(*section),
            Self::Federation(..) => "/domains/{id}/federationconfiguration",
            Self::DirectoryRoles => "/directoryroles",
            Self::RoleMembers(_) => "/directoryroles/{id}/members",
            Self::Applications => "/applications",
            Self::Application(_) | Self::ApplicationByAppId(_) => "/applications/{id}",
            Self::Registrations => "/reports/authenticationmethods/userregistrationdetails",
            Self::Batch => "/$batch",
        }
    }

    /// With what it is counted.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Documents(Section::ConditionalAccess | Section::NamedLocations)
            | Self::Document(Section::ConditionalAccess | Section::NamedLocations, _) => {
                Lane::ConditionalAccess
            }
            Self::Documents(Section::SignIns | Section::Audits)
            | Self::Document(Section::SignIns | Section::Audits, _)
            | Self::Registrations => Lane::Logs,
            _ => Lane::Directory,
        }
    }

    /// What it costs, before `$select` and the like.
    pub fn cost(&self) -> u32 {
        match self {
            Self::List(Kind::User)
            | Self::MemberOf(..)
            | Self::Applications
            | Self::Application(_)
            | Self::ApplicationByAppId(_)
            | Self::Ask(Question::Groups | Question::Objects, _) => 2,
            Self::Members(reach, _) if reach.transitive => 5,
            Self::Members(..) | Self::GetByIds => 3,
            Self::Ask(Question::Check, _) => 4,
            Self::Delta(_) => 5,
            _ => 1,
        }
    }

    /// Whether it is asked with POST.
    pub fn is_post(&self) -> bool {
        matches!(self, Self::Ask(..) | Self::GetByIds | Self::Batch)
    }

    fn object(kind: Kind, rest: &[&str]) -> Option<Self> {
        let own = |id: &&str| (*id).to_owned();
        Some(match rest {
            [] => Self::List(kind),
            ["$count"] => Self::Count(kind),
            ["delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"]
                if matches!(kind, Kind::User | Kind::Group) =>
            {
                Self::Delta(kind)
            }
            [id] => Self::One(kind, own(id)),
            [id, question] if kind == Kind::User => match *question {
                "getMemberGroups" => Self::Ask(Question::Groups, own(id)),
                "getMemberObjects" => Self::Ask(Question::Objects, own(id)),
                "checkMemberGroups" => Self::Ask(Question::Check, own(id)),
                _ => Self::members(kind, id, rest)?,
            },
            [id, ..] => Self::members(kind, id, rest)?,
        })
    }

    fn members(kind: Kind, id: &str, rest: &[&str]) -> Option<Self> {
        let (&name, tail) = rest[1..].split_first()?;
        let (tail, count) = match tail {
            [head @ .., "$count"] => (head, true),
            tail => (tail, false),
        };
        let only = match tail {
            [] => None,
            [cast] => Some(cast_of(cast)?),
            _ => return None,
        };
        let reach = |transitive| Reach {
            transitive,
            only,
            count,
        };
        Some(match (kind, name) {
            (Kind::Group, "members") => Self::Members(reach(false), id.to_owned()),
            (Kind::Group, "transitiveMembers") => Self::Members(reach(true), id.to_owned()),
            (_, "memberOf") => Self::MemberOf(reach(false), kind, id.to_owned()),
            (_, "transitiveMemberOf") => Self::MemberOf(reach(true), kind, id.to_owned()),
            _ => return None,
        })
    }

    fn other(segments: &[&str]) -> Option<Self> {
        let quoted = |text: &str, before: &str| {
            let inner = text.strip_prefix(before)?.strip_suffix("')")?;
            Some(inner.to_owned())
        };
        match segments {
            ["applications"] => return Some(Self::Applications),
            ["applications", id] => return Some(Self::Application((*id).to_owned())),
            ["directoryRoles"] => return Some(Self::DirectoryRoles),
            ["directoryRoles", id, "members"] => {
                return Some(Self::RoleMembers((*id).to_owned()));
            }
            [one] if one.starts_with("applications(") => {
                return quoted(one, "applications(appId='").map(Self::ApplicationByAppId);
            }
            [one, "members"] if one.starts_with("directoryRoles(") => {
                return quoted(one, "directoryRoles(roleTemplateId='").map(Self::RoleMembers);
            }
            ["directory", "deletedItems", cast] => return cast_of(cast).map(Self::Deleted),
            ["domains", name, "federationConfiguration"] => {
                return Some(Self::Federation((*name).to_owned(), None));
            }
            ["domains", name, "federationConfiguration", id] => {
                return Some(Self::Federation((*name).to_owned(), Some((*id).to_owned())));
            }
            [
                "reports",
                "authenticationMethods",
                "userRegistrationDetails",
            ] => {
                return Some(Self::Registrations);
            }
            _ => {}
        }
        let path = segments.join("/");
        let whole = |section: &Section| section.path() == path;
        if let Some(section) = Section::ALL.into_iter().find(whole) {
            return Some(Self::Documents(section));
        }
        let (parent, id) = path.rsplit_once('/')?;
        let section = Section::ALL
            .into_iter()
            .find(|section| section.path() == parent)?;
        (!section.is_single()).then(|| Self::Document(section, id.to_owned()))
    }
}

fn cast_of(segment: &str) -> Option<Kind> {
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|kind| kind.odata().strip_prefix('#') == Some(segment))
}

fn section_endpoint(section: Section) -> &'static str {
    match section {
        Section::Organization => "/organization",
        Section::Domains => "/domains",
        Section::RoleDefinitions => "/rolemanagement/directory/roledefinitions",
        Section::RoleAssignments => "/rolemanagement/directory/roleassignments",
        Section::RoleAssignmentSchedules => {
            "/rolemanagement/directory/roleassignmentscheduleinstances"
        }
        Section::RoleEligibilities => "/rolemanagement/directory/roleeligibilityscheduleinstances",
        Section::ConditionalAccess => "/identity/conditionalaccess/policies",
        Section::NamedLocations => "/identity/conditionalaccess/namedlocations",
        Section::AuthenticationMethods => "/policies/authenticationmethodspolicy",
        Section::SecurityDefaults => "/policies/identitysecuritydefaultsenforcementpolicy",
        Section::Authorization => "/policies/authorizationpolicy",
        Section::AuthenticationStrengths => "/policies/authenticationstrengthpolicies",
        Section::SignIns => "/auditlogs/signins",
        Section::Audits => "/auditlogs/directoryaudits",
    }
}

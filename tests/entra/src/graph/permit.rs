//! Which application permissions a request needs.

/// An endpoint, and the permissions of which one is enough.
pub type Row = (&'static str, &'static [&'static str]);

/// The permissions that are accepted at an endpoint.
pub fn accepted(endpoint: &str) -> &'static [&'static str] {
    let found = TABLE.iter().find(|(known, _)| *known == endpoint);
    found.map_or(&[], |(_, accepted)| accepted)
}

/// Whether a refusal comes from the policy services, which word it in their own way.
pub fn is_policy(endpoint: &str) -> bool {
    endpoint.starts_with("/policies/") || endpoint.starts_with("/identity/")
}

/// What shows only a few properties of users.
pub const BASIC: &str = "User.ReadBasic.All";

const MEMBERS: &[&str] = &[
    "GroupMember.ReadBasic.All",
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Group.ReadBasic.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
];

const MEMBER_GROUPS: &[&str] = &[
    "User.Read.All",
    "GroupMember.ReadBasic.All",
    "GroupMember.Read.All",
    "Group.ReadBasic.All",
    "Group.Read.All",
    "Application.Read.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

const ROLES: &[&str] = &[
    "RoleManagement.Read.Directory",
    "RoleManagement.ReadWrite.Directory",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

const APPLICATIONS: &[&str] = &[
    "Application.Read.All",
    "Application.ReadWrite.All",
    "Application.ReadWrite.OwnedBy",
    "Directory.Read.All",
];

const METHODS: &[&str] = &["Policy.Read.AuthenticationMethod", "Policy.Read.All"];

/// The whole table; `/directory/deleteditems` and `/$batch` are not in Microsoft's published one.
pub const TABLE: &[Row] = &[
    (
        "/users",
        &[
            BASIC,
            "User.Read.All",
            "User.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/users/{id}",
        &[
            BASIC,
            "User.Read.All",
            "User.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/users/delta",
        &[
            "User.Read.All",
            "User.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/groups",
        &[
            "Group.ReadBasic.All",
            "GroupMember.Read.All",
            "Group.Read.All",
            "Group.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/groups/{id}",
        &[
            "Group.ReadBasic.All",
            "GroupMember.Read.All",
            "Group.Read.All",
            "Group.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/groups/delta",
        &[
            "Group.ReadBasic.All",
            "GroupMember.Read.All",
            "Group.Read.All",
            "Group.ReadWrite.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    ("/groups/{id}/members", MEMBERS),
    ("/groups/{id}/transitivemembers", MEMBERS),
    (
        "/groups/{id}/transitivememberof",
        &[
            "GroupMember.ReadBasic.All",
            "Group.ReadBasic.All",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/users/{id}/memberof",
        &[
            "Directory.Read.All",
            "Directory.ReadWrite.All",
            "Group.ReadBasic.All",
            "GroupMember.ReadBasic.All",
        ],
    ),
    (
        "/users/{id}/transitivememberof",
        &[
            "User.Read.All",
            "GroupMember.ReadBasic.All",
            "GroupMember.Read.All",
            "Group.ReadBasic.All",
            "Group.Read.All",
            "Directory.Read.All",
        ],
    ),
    ("/users/{id}/getmembergroups", MEMBER_GROUPS),
    ("/users/{id}/checkmembergroups", MEMBER_GROUPS),
    ("/directoryobjects/getbyids", &["Directory.Read.All"]),
    (
        "/directory/deleteditems/microsoft.graph.user",
        &["User.Read.All"],
    ),
    (
        "/directory/deleteditems/microsoft.graph.group",
        &["Group.Read.All"],
    ),
    ("/devices", &["Directory.Read.All", "Device.Read.All"]),
    ("/serviceprincipals", APPLICATIONS),
    ("/serviceprincipals/{id}", APPLICATIONS),
    ("/applications", APPLICATIONS),
    ("/applications/{id}", APPLICATIONS),
    ("/directoryroles", ROLES),
    ("/directoryroles/{id}/members", ROLES),
    ("/rolemanagement/directory/roleassignments", ROLES),
    (
        "/rolemanagement/directory/roledefinitions",
        &[
            "RoleManagement.Read.Directory",
            "RoleManagement.Read.All",
            "RoleManagement.ReadWrite.Directory",
            "Directory.Read.All",
            "Directory.ReadWrite.All",
        ],
    ),
    (
        "/rolemanagement/directory/roleassignmentscheduleinstances",
        &[
            "RoleAssignmentSchedule.Read.Directory",
            "RoleAssignmentSchedule.ReadWrite.Directory",
            "RoleManagement.Read.Directory",
            "RoleManagement.Read.All",
        ],
    ),
    (
        "/rolemanagement/directory/roleeligibilityscheduleinstances",
        &[
            "RoleEligibilitySchedule.Read.Directory",
            "RoleEligibilitySchedule.ReadWrite.Directory",
            "RoleManagement.Read.Directory",
            "RoleManagement.Read.All",
        ],
    ),
    ("/policies/authenticationmethodspolicy", METHODS),
    ("/policies/authenticationstrengthpolicies", METHODS),
    ("/policies/authorizationpolicy", &["Policy.Read.All"]),
    (
        "/policies/identitysecuritydefaultsenforcementpolicy",
        &["Policy.Read.All"],
    ),
    ("/identity/conditionalaccess/policies", &["Policy.Read.All"]),
    (
        "/identity/conditionalaccess/namedlocations",
        &["Policy.Read.All"],
    ),
    (
        "/organization",
        &[
            "Organization.Read.All",
            "User.Read.All",
            "Directory.Read.All",
        ],
    ),
    ("/domains", &["Domain.Read.All", "Directory.Read.All"]),
    (
        "/domains/{id}/federationconfiguration",
        &["Domain-InternalFederation.Read.All"],
    ),
    ("/auditlogs/signins", &["AuditLog.Read.All"]),
    (
        "/auditlogs/directoryaudits",
        &["AuditLog.Read.All", "Directory.Read.All"],
    ),
    (
        "/reports/authenticationmethods/userregistrationdetails",
        &["AuditLog.Read.All"],
    ),
];

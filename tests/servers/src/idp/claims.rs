//! What is claimed about users: as attributes of assertions, and as members of JSON tokens.
//!
//! In: a user, how they signed in, who asks. Out: claims in AD FS's order and spelling; other products rename some.

use serde_json::{Map, Value, json};

use crate::control::Twist;
use crate::idp::product::MULTIPLE;
use crate::idp::session::Session;
use crate::idp::users::Asker;
use crate::people::User;
use crate::saml::assertion::Claim;
use crate::saml::moment;

/// Everything that is claimed, for an assertion.
pub fn attributes(
    user: &User,
    session: &Session,
    asker: &Asker,
    tenant: &str,
    audience: &str,
) -> Vec<Claim> {
    let one = |kind: &str, value: &str| Claim {
        kind: kind.to_owned(),
        values: vec![value.to_owned()],
    };
    let mut claims = vec![
        one(UPN, &user.upn),
        one(IMMUTABLE_ID, &user.immutable_id),
        one(IDENTITY_UPN, &user.upn),
        one(MAIL, &user.upn),
        one(ACCOUNT, &user.account),
        one(SID, &user.sid),
        one(TENANT, tenant),
        one(OBJECT, &user.object_id),
        one(DEPARTMENT, &user.department),
        one(ACCESS_LEVEL, &user.access_level),
    ];
    if user.groups.len() > GROUPS_IN_ASSERTION {
        claims.push(one(GROUPS_LINK, &members_of(user, tenant)));
    } else {
        claims.push(Claim {
            kind: GROUP.to_owned(),
            values: user.groups.clone(),
        });
        claims.push(Claim {
            kind: GROUP_IDS.to_owned(),
            values: user.group_ids(),
        });
    }
    if !user.roles.is_empty() {
        claims.push(Claim {
            kind: ROLE.to_owned(),
            values: user.roles.clone(),
        });
    }
    claims.push(one(INSIDE, if asker.inside() { "true" } else { "false" }));
    let mut methods = vec![session.method.saml2().to_owned()];
    if let Some(at) = session.second {
        methods.push(MULTIPLE.to_owned());
        claims.push(one(SECOND_FACTOR_AT, &moment(at)));
    }
    claims.push(Claim {
        kind: METHODS.to_owned(),
        values: methods,
    });
    claims.extend(
        device(user, asker)
            .into_iter()
            .map(|(kind, value)| one(kind, &value)),
    );
    for (name, value) in asker.context() {
        claims.push(one(&format!("{REQUEST_CONTEXT}{name}"), value));
    }
    claims.push(one(
        &format!("{REQUEST_CONTEXT}relyingpartytrustid"),
        audience,
    ));
    claims
}

/// The same, for a JSON token. A token that goes through the browser says of too many groups only that there are some.
pub fn members(
    user: &User,
    session: &Session,
    asker: &Asker,
    tenant: &str,
    through_browser: bool,
) -> Map<String, Value> {
    let mut amr = vec![session.method.amr()];
    if session.second.is_some() {
        amr.push("mfa");
    }
    let acr = if session.second.is_some() {
        MULTIPLE
    } else {
        session.method.saml2()
    };
    let mut claims = json!({
        "sub": user.immutable_id, "upn": user.upn, "unique_name": user.account, "name": user.display_name,
        "email": user.upn, "oid": user.object_id, "tid": tenant, "onprem_sid": user.sid,
        "department": user.department, "access_level": user.access_level, "roles": user.roles, "amr": amr, "acr": acr,
        INSIDE: asker.inside(),
    });
    let claims = claims.as_object_mut().expect("it is written as one");
    if let Some(at) = session.second {
        claims.insert("mfa_auth_time".to_owned(), at.unix_timestamp().into());
    }
    if user.groups.len() <= GROUPS_IN_JSON {
        claims.insert("groups".to_owned(), user.group_ids().into());
        claims.insert("group".to_owned(), user.groups.clone().into());
    } else if through_browser {
        claims.insert("hasgroups".to_owned(), true.into());
    } else {
        claims.insert("_claim_names".to_owned(), json!({ "groups": "src1" }));
        claims.insert(
            "_claim_sources".to_owned(),
            json!({ "src1": { "endpoint": members_of(user, tenant) } }),
        );
    }
    for (kind, value) in device(user, asker) {
        claims.insert(kind.to_owned(), value.into());
    }
    std::mem::take(claims)
}

fn device(user: &User, asker: &Asker) -> Vec<(&'static str, String)> {
    let Some(device) = user
        .device
        .as_ref()
        .filter(|_| !asker.has(Twist::NoDevice, user))
    else {
        return Vec::new();
    };
    vec![
        (REGISTERED, device.registered.to_string()),
        (
            "http://schemas.microsoft.com/2012/01/devicecontext/claims/identifier",
            device.id.clone(),
        ),
        (
            "http://schemas.microsoft.com/2012/01/devicecontext/claims/displayname",
            device.name.clone(),
        ),
        (
            "http://schemas.microsoft.com/2012/01/devicecontext/claims/ostype",
            device.system.clone(),
        ),
        (MANAGED, device.managed.to_string()),
        (COMPLIANT, device.compliant.to_string()),
        (TRUST, device.trust.clone()),
    ]
}

fn members_of(user: &User, tenant: &str) -> String {
    format!(
        "https://graph.windows.net/{tenant}/users/{}/getMemberObjects",
        user.object_id
    )
}

/// User principal name, as Microsoft 365 takes it.
pub const UPN: &str = "http://schemas.xmlsoap.org/claims/UPN";
/// The same, as everybody else takes it.
pub const IDENTITY_UPN: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn";
/// Mail address.
pub const MAIL: &str = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress";
/// `DOMAIN\name`.
pub const ACCOUNT: &str =
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/windowsaccountname";
/// Security identifier.
pub const SID: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims/primarysid";
/// The tenant's id.
pub const TENANT: &str = "http://schemas.microsoft.com/identity/claims/tenantid";
/// The cloud user's id.
pub const OBJECT: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";
/// The anchor that joins to the cloud user.
pub const IMMUTABLE_ID: &str = "http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID";
/// Department: there is no standard type for it.
pub const DEPARTMENT: &str = "http://schemas.corp.example/claims/department";
/// Access level: there is none for it either.
pub const ACCESS_LEVEL: &str = "http://schemas.corp.example/claims/access_level";
/// Group names.
pub const GROUP: &str = "http://schemas.xmlsoap.org/claims/Group";
/// Group ids.
pub const GROUP_IDS: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups";
/// Where groups are to be asked for that are too many.
pub const GROUPS_LINK: &str = "http://schemas.microsoft.com/claims/groups.link";
/// Roles.
pub const ROLE: &str = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role";
/// Whether the request came from inside.
pub const INSIDE: &str = "http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork";
/// How the user authenticated.
pub const METHODS: &str = "http://schemas.microsoft.com/claims/authnmethodsreferences";
/// When the second factor was given.
pub const SECOND_FACTOR_AT: &str =
    "http://schemas.microsoft.com/ws/2017/04/identity/claims/multifactorauthenticationinstant";
/// Whether the device is registered for the user.
pub const REGISTERED: &str =
    "http://schemas.microsoft.com/2012/01/devicecontext/claims/isregistereduser";
/// Whether it is managed.
pub const MANAGED: &str = "http://schemas.microsoft.com/2012/01/devicecontext/claims/ismanaged";
/// Whether it is compliant.
pub const COMPLIANT: &str = "http://schemas.microsoft.com/2014/09/devicecontext/claims/iscompliant";
/// How it is joined.
pub const TRUST: &str = "http://schemas.microsoft.com/2014/09/devicecontext/claims/trusttype";
/// Prefix of the claims about the request.
pub const REQUEST_CONTEXT: &str = "http://schemas.microsoft.com/2012/01/requestcontext/claims/";

/// More groups than this are left out of an assertion.
const GROUPS_IN_ASSERTION: usize = 150;
/// More groups than this are left out of a JSON token.
const GROUPS_IN_JSON: usize = 200;

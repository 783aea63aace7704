//! Claim types that sign-in servers use as they come.

use std::collections::BTreeSet;

/// Names of the presets.
pub const PRESETS: [&str; 7] = [
    "adfs",
    "entra",
    "oidc",
    "okta",
    "pingfederate",
    "shibboleth",
    "simplesamlphp",
];

/// A name for rules, and its claim types.
pub(super) type Entry = (&'static str, &'static [&'static str]);

/// What a preset is made of.
pub(super) fn named(preset: &str) -> Option<&'static [&'static [Entry]]> {
    Some(match preset {
        "adfs" => &[EVERYWHERE, WINDOWS, OFFICE, DEVICE],
        "entra" => &[EVERYWHERE, ENTRA, CONNECT],
        "oidc" => &[EVERYWHERE, CONNECT],
        "okta" => &[EVERYWHERE, CONNECT, OFFICE, CHOSEN],
        "pingfederate" => &[EVERYWHERE, CONNECT, OFFICE, IDENTITY, CHOSEN],
        "shibboleth" | "simplesamlphp" => &[EVERYWHERE, OFFICE, EDUCATION],
        _ => return None,
    })
}

/// Every name that a preset has.
pub(super) fn names() -> BTreeSet<&'static str> {
    let layers = PRESETS.iter().filter_map(|preset| named(preset));
    let entries = layers.flat_map(|layers| layers.iter().copied().flatten());
    entries.map(|(name, _)| *name).collect()
}

const EVERYWHERE: &[Entry] = &[
    ("authenticated", &["@authenticated"]),
    ("issuer", &["@issuer"]),
    ("method", &["@methods"]),
    ("name_id", &["@subject"]),
];

/// WS-Federation's identity claims, and those of Windows.
const WINDOWS: &[Entry] = &[
    (
        "upn",
        &[
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
            "upn",
        ],
    ),
    (
        "email",
        &[
            "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
            "email",
        ],
    ),
    (
        "groups",
        &[
            "http://schemas.xmlsoap.org/claims/Group",
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/groupsid",
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid",
            "group",
            "groups",
        ],
    ),
    (
        "roles",
        &[
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
            "role",
            "roles",
        ],
    ),
    (
        "sid",
        &[
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/primarysid",
            "sid",
        ],
    ),
    (
        "inside_network",
        &["http://schemas.microsoft.com/ws/2012/01/insidecorporatenetwork"],
    ),
];

/// What federations with Microsoft 365 send.
const OFFICE: &[Entry] = &[
    (
        "immutable_id",
        &["http://schemas.microsoft.com/LiveID/Federation/2008/05/ImmutableID"],
    ),
    ("upn", &["http://schemas.xmlsoap.org/claims/UPN"]),
];

/// Device registration of AD FS.
const DEVICE: &[Entry] = &[
    (
        "device_registered",
        &["http://schemas.microsoft.com/2012/01/devicecontext/claims/isregistereduser"],
    ),
    (
        "device_managed",
        &["http://schemas.microsoft.com/2012/01/devicecontext/claims/ismanaged"],
    ),
    (
        "device_compliant",
        &["http://schemas.microsoft.com/2014/09/devicecontext/claims/iscompliant"],
    ),
    (
        "device_trust",
        &["http://schemas.microsoft.com/2014/09/devicecontext/claims/trusttype"],
    ),
];

/// Entra's own tokens. `wids` are the templates of directory roles.
const ENTRA: &[Entry] = &[
    (
        "tenant_id",
        &[
            "http://schemas.microsoft.com/identity/claims/tenantid",
            "tid",
        ],
    ),
    (
        "object_id",
        &[
            "http://schemas.microsoft.com/identity/claims/objectidentifier",
            "oid",
        ],
    ),
    ("upn", &["upn"]),
    ("sid", &["onprem_sid"]),
    (
        "groups",
        &["http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"],
    ),
    (
        "roles",
        &[
            "http://schemas.microsoft.com/ws/2008/06/identity/claims/role",
            "wids",
        ],
    ),
    ("inside_network", &["in_corp"]),
];

/// OpenID Connect, and what servers commonly add.
const CONNECT: &[Entry] = &[
    ("email", &["email"]),
    ("groups", &["groups"]),
    ("roles", &["roles"]),
    ("department", &["department"]),
];

/// Attributes as administrators of Okta and PingFederate commonly call them.
const CHOSEN: &[Entry] = &[("upn", &["upn"]), ("access_level", &["access_level"])];

const IDENTITY: &[Entry] = &[(
    "email",
    &["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress"],
)];

/// eduPerson and inetOrgPerson, by the names that SAML 2.0 has for them.
const EDUCATION: &[Entry] = &[
    ("upn", &["urn:oid:1.3.6.1.4.1.5923.1.1.1.6"]),
    ("email", &["urn:oid:0.9.2342.19200300.100.1.3"]),
    ("groups", &["urn:oid:1.3.6.1.4.1.5923.1.5.1.1"]),
    (
        "roles",
        &[
            "urn:oid:1.3.6.1.4.1.5923.1.1.1.7",
            "urn:oid:1.3.6.1.4.1.5923.1.1.1.9",
        ],
    ),
    ("department", &["urn:oid:2.5.4.11"]),
];

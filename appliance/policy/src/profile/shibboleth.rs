//! Shibboleth Identity Provider 4 and 5 under `/idp`, with its `OpenID Connect` plugin where it is in use.
//!
//! The pages of a sign-in are steps of one flow: they come back to the path that began it with
//! `execution=e1s1`, and the server goes on with whatever that names, on whatever path it arrives. So a
//! request with `execution` is a step of a sign-in, also where one would sign out, and its relying party
//! is unknown.
//!
//! An application signs in by ECP: a SAML request in SOAP 1.1, with the user's name and password as HTTP
//! Basic. Status, administration and the back-channels of SAML stay inside. Not established: signing out
//! of `OpenID Connect`, of CAS which service a sign-in is for, and whether the server takes a SAML request a
//! second time, where a sign-in begins again to ask for more.

use super::presets::{ANY, CALL, CROSS, NOTHING, OWNER, PAGE, POST, Preset, READ, Row};
use super::table::Reads;
use crate::Flow;

pub(super) const SHIBBOLETH: Preset = Preset {
    name: "shibboleth",
    rows: ROWS,
    users: &["j_username", "username", "login_hint"],
    passwords: &["j_password", "password"],
    relying_parties: &["providerId"],
    steps: &["execution"],
    exact_names: true,
    sign_out: Some("/idp/profile/Logout"),
    metadata: Some("/idp/shibboleth"),
    jwks: Some("/idp/profile/oidc/keyset"),
    discovery: Some("/.well-known/openid-configuration"),
    health: Some("/idp/status"),
    wauth: None,
    authn_context: Some("https://refeds.org/profile/mfa"),
    acr_values: Some("https://refeds.org/profile/mfa"),
    upstream: None,
};

const ROWS: &[Row] = &[
    (ANY, "/idp/status", Flow::Internal, NOTHING),
    (ANY, "/idp/profile/status", Flow::Internal, NOTHING),
    (ANY, "/idp/profile/admin", Flow::Internal, NOTHING),
    (ANY, "/idp/profile/admin/**", Flow::Internal, NOTHING),
    (ANY, "/idp/profile/saml1/**", Flow::Internal, NOTHING),
    (
        ANY,
        "/idp/profile/saml2/soap/attributequery",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/idp/profile/saml2/soap/artifactresolution",
        Flow::Internal,
        NOTHING,
    ),
    (ANY, "/idp/profile/saml2/soap/slo", Flow::Internal, NOTHING),
    (ANY, "/idp/profile/idwsf/**", Flow::Internal, NOTHING),
    (
        PAGE,
        "/idp/profile/saml2/redirect/sso",
        Flow::Passive,
        NOTHING,
    ),
    (PAGE, "/idp/profile/saml2/post/sso", Flow::Passive, NOTHING),
    (
        PAGE,
        "/idp/profile/saml2/post-simplesign/sso",
        Flow::Passive,
        NOTHING,
    ),
    (
        PAGE,
        "/idp/profile/saml2/unsolicited/sso",
        Flow::Passive,
        NOTHING,
    ),
    (PAGE, "/idp/profile/shibboleth/sso", Flow::Passive, NOTHING),
    (
        PAGE,
        "/idp/profile/cas/login",
        Flow::Passive,
        &[Reads::Step],
    ),
    (
        POST,
        "/idp/profile/saml2/soap/ecp",
        Flow::Active,
        &[Reads::Basic],
    ),
    (
        PAGE,
        "/idp/profile/saml2/redirect/slo",
        Flow::SignOut,
        NOTHING,
    ),
    (PAGE, "/idp/profile/saml2/post/slo", Flow::SignOut, NOTHING),
    (
        PAGE,
        "/idp/profile/saml2/post-simplesign/slo",
        Flow::SignOut,
        NOTHING,
    ),
    (PAGE, "/idp/profile/logout", Flow::SignOut, NOTHING),
    (PAGE, "/idp/profile/cas/logout", Flow::SignOut, NOTHING),
    (
        PAGE,
        "/idp/profile/oidc/authorize",
        Flow::OauthBrowser,
        NOTHING,
    ),
    (CALL, "/idp/profile/oidc/token", Flow::OauthToken, NOTHING),
    (OWNER, "/idp/profile/oidc/userinfo", Flow::Metadata, NOTHING),
    (CROSS, "/idp/profile/oidc/keyset", Flow::Metadata, NOTHING),
    (
        CROSS,
        "/.well-known/openid-configuration",
        Flow::Metadata,
        NOTHING,
    ),
    (READ, "/idp/shibboleth", Flow::Metadata, NOTHING),
    (READ, "/idp/css/**", Flow::Asset, NOTHING),
    (READ, "/idp/images/**", Flow::Asset, NOTHING),
    (READ, "/idp/js/**", Flow::Asset, NOTHING),
];

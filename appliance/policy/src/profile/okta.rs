//! Okta, under an organisation's own domain name.
//!
//! The application is named by the path (`/app/NAME/KEY`), and by nothing else for certain: that a realm
//! or an issuer in the message has a say is not established. So rules name the relying party by its path,
//! in lower case. The sign-in page and its script (`/api/v1/authn`, `/idp/idx/...`) do not say for which
//! application they ask, and write JSON, whose user is not read.
//!
//! Integrated Windows authentication stays inside. Administration, and every interface that is not there
//! for signing in, has no row. Not established: how SAML asks for a second factor, a health
//! probe, and where answers of other identity providers arrive; metadata stand under the path of
//! each application.

use super::presets::{ANY, CALL, CROSS, EITHER, NOTHING, OWNER, PAGE, POST, Preset, READ, Row};
use super::table::Reads;
use crate::Flow;

pub(super) const OKTA: Preset = Preset {
    name: "okta",
    rows: ROWS,
    users: &["username", "login_hint", "identifier"],
    passwords: &["password"],
    relying_parties: &[],
    steps: &[],
    exact_names: true,
    sign_out: Some("/login/signout"),
    metadata: None,
    jwks: Some("/oauth2/v1/keys"),
    discovery: Some("/.well-known/openid-configuration"),
    health: None,
    wauth: Some("http://schemas.microsoft.com/claims/multipleauthn"),
    authn_context: None,
    acr_values: Some("urn:okta:loa:2fa:any"),
    upstream: None,
};

const STEP: &[Reads] = &[Reads::Step];
const APPLICATION: &[Reads] = &[Reads::Application];

const ROWS: &[Row] = &[
    (ANY, "/login/agentlessdsso", Flow::Internal, NOTHING),
    (ANY, "/login/agentlessdsso/**", Flow::Internal, NOTHING),
    (ANY, "/login/sso_iwa_auth", Flow::Internal, NOTHING),
    (PAGE, "/app/*/*/sso/saml", Flow::Passive, APPLICATION),
    (
        PAGE,
        "/app/*/*/sso/wsfed/passive",
        Flow::Passive,
        APPLICATION,
    ),
    (
        POST,
        "/app/*/*/sso/wsfed/active",
        Flow::Active,
        &[Reads::Application, Reads::Password],
    ),
    (EITHER, "/app/*/*/sso/wsfed/mex", Flow::Mex, NOTHING),
    (READ, "/app/*/sso/saml/metadata", Flow::Metadata, NOTHING),
    (PAGE, "/login/login.htm", Flow::Passive, STEP),
    (PAGE, "/login/default", Flow::Passive, STEP),
    (PAGE, "/login/do-login", Flow::Passive, STEP),
    (PAGE, "/login/sessioncookieredirect", Flow::Passive, STEP),
    (PAGE, "/login/token/redirect", Flow::Passive, STEP),
    (PAGE, "/login/signout", Flow::SignOut, NOTHING),
    (PAGE, "/signin", Flow::Passive, STEP),
    (PAGE, "/signin/**", Flow::Passive, STEP),
    (POST, "/api/v1/authn", Flow::Passive, STEP),
    (POST, "/api/v1/authn/**", Flow::Passive, STEP),
    (POST, "/idp/idx/**", Flow::Passive, STEP),
    (PAGE, "/oauth2/v1/authorize", Flow::OauthBrowser, NOTHING),
    (PAGE, "/oauth2/*/v1/authorize", Flow::OauthBrowser, NOTHING),
    (CALL, "/oauth2/v1/token", Flow::OauthToken, NOTHING),
    (CALL, "/oauth2/*/v1/token", Flow::OauthToken, NOTHING),
    (
        CALL,
        "/oauth2/v1/device/authorize",
        Flow::OauthToken,
        &[Reads::Native],
    ),
    (
        CALL,
        "/oauth2/*/v1/device/authorize",
        Flow::OauthToken,
        &[Reads::Native],
    ),
    (CALL, "/oauth2/v1/interact", Flow::OauthToken, NOTHING),
    (CALL, "/oauth2/*/v1/interact", Flow::OauthToken, NOTHING),
    (CALL, "/oauth2/v1/introspect", Flow::OauthToken, NOTHING),
    (CALL, "/oauth2/*/v1/introspect", Flow::OauthToken, NOTHING),
    (CALL, "/oauth2/v1/revoke", Flow::OauthToken, NOTHING),
    (CALL, "/oauth2/*/v1/revoke", Flow::OauthToken, NOTHING),
    (PAGE, "/oauth2/v1/logout", Flow::SignOut, NOTHING),
    (PAGE, "/oauth2/*/v1/logout", Flow::SignOut, NOTHING),
    (OWNER, "/oauth2/v1/userinfo", Flow::Metadata, NOTHING),
    (OWNER, "/oauth2/*/v1/userinfo", Flow::Metadata, NOTHING),
    (CROSS, "/oauth2/v1/keys", Flow::Metadata, NOTHING),
    (CROSS, "/oauth2/*/v1/keys", Flow::Metadata, NOTHING),
    (
        CROSS,
        "/.well-known/openid-configuration",
        Flow::Metadata,
        NOTHING,
    ),
    (
        CROSS,
        "/.well-known/oauth-authorization-server",
        Flow::Metadata,
        NOTHING,
    ),
    (
        CROSS,
        "/oauth2/*/.well-known/openid-configuration",
        Flow::Metadata,
        NOTHING,
    ),
    (
        CROSS,
        "/oauth2/*/.well-known/oauth-authorization-server",
        Flow::Metadata,
        NOTHING,
    ),
    (READ, "/assets/**", Flow::Asset, NOTHING),
    (READ, "/fs/bco/**", Flow::Asset, NOTHING),
    (READ, "/favicon.ico", Flow::Asset, NOTHING),
];

//! AD FS 2012 R2 and later: what Microsoft publishes on a Web Application Proxy.
//!
//! Integrated Windows authentication and the proxy trust are for inside only. The health probe answers on
//! plain HTTP, port 80. A relying party asks for a second factor by the same name in WS-Federation (`wauth`) and
//! in SAML (`RequestedAuthnContext`); how it does by OpenID Connect is not established.

use super::presets::{ANY, CALL, CROSS, EITHER, NOTHING, OWNER, PAGE, POST, Preset, READ, Row};
use super::table::Reads;
use crate::Flow;

pub(super) const ADFS: Preset = Preset {
    name: "adfs",
    rows: ROWS,
    users: &["username", "login_hint"],
    passwords: &["password"],
    relying_parties: &["loginToRp"],
    steps: &[],
    exact_names: false,
    sign_out: Some("/adfs/ls/?wa=wsignout1.0"),
    metadata: Some("/FederationMetadata/2007-06/FederationMetadata.xml"),
    jwks: Some("/adfs/discovery/keys"),
    discovery: Some("/adfs/.well-known/openid-configuration"),
    health: Some("/adfs/probe"),
    wauth: Some("http://schemas.microsoft.com/claims/multipleauthn"),
    authn_context: Some("http://schemas.microsoft.com/claims/multipleauthn"),
    acr_values: None,
    // MS-ADFSPIP, `Path` and `ServicePath` of an endpoint: a proxy asks for the description that does
    // not tell of internal endpoints.
    upstream: Some(("/adfs/services/trust/mex", "/adfs/services/trust/proxymex")),
};

const ROWS: &[Row] = &[
    (ANY, "/adfs/proxy", Flow::Internal, NOTHING),
    (ANY, "/adfs/proxy/**", Flow::Internal, NOTHING),
    (ANY, "/adfs/backendproxytls", Flow::Internal, NOTHING),
    (ANY, "/adfs/backendproxytls/**", Flow::Internal, NOTHING),
    (ANY, "/adfs/probe", Flow::Internal, NOTHING),
    (
        ANY,
        "/adfs/services/trust/proxymex",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/proxytrust",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/proxytrust*",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/samlprotocol/**",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/*/windowstransport",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/*/windowsmixed",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/*/windows",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/*/kerberosmixed",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/trust/*/kerberos",
        Flow::Internal,
        NOTHING,
    ),
    (ANY, "/adfs/services/trusttcp", Flow::Internal, NOTHING),
    (ANY, "/adfs/services/trusttcp/**", Flow::Internal, NOTHING),
    (
        ANY,
        "/adfs/services/proxytrustpolicystoretransfer",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/adfs/services/policystoretransfer",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "**/federationserverservice.asmx",
        Flow::Internal,
        NOTHING,
    ),
    (PAGE, "/adfs/ls", Flow::Passive, &[Reads::SignOut]),
    (PAGE, "/adfs/ls/idpinitiatedsignon", Flow::Passive, NOTHING),
    (
        PAGE,
        "/adfs/ls/idpinitiatedsignon.aspx",
        Flow::Passive,
        NOTHING,
    ),
    (PAGE, "/adfs/portal/updatepassword", Flow::Passive, NOTHING),
    (PAGE, "/adfs/oauth2/authorize", Flow::OauthBrowser, NOTHING),
    (PAGE, "/adfs/oauth2/deviceauth", Flow::OauthBrowser, NOTHING),
    (CALL, "/adfs/oauth2/token", Flow::OauthToken, NOTHING),
    (
        CALL,
        "/adfs/oauth2/devicecode",
        Flow::OauthToken,
        &[Reads::Native],
    ),
    (PAGE, "/adfs/oauth2/logout", Flow::SignOut, NOTHING),
    (EITHER, "/adfs/services/trust/mex", Flow::Mex, NOTHING),
    (
        POST,
        "/adfs/services/trust/2005/usernamemixed",
        Flow::Active,
        &[Reads::Password],
    ),
    (
        POST,
        "/adfs/services/trust/13/usernamemixed",
        Flow::Active,
        &[Reads::Password, Reads::WsTrust13],
    ),
    (
        POST,
        "/adfs/services/trust/2005/certificatemixed",
        Flow::Active,
        NOTHING,
    ),
    (
        POST,
        "/adfs/services/trust/13/certificatemixed",
        Flow::Active,
        &[Reads::WsTrust13],
    ),
    (
        POST,
        "/adfs/services/trust/2005/certificatetransport",
        Flow::Active,
        NOTHING,
    ),
    (
        POST,
        "/adfs/services/trust/2005/issuedtokenmixedasymmetricbasic256",
        Flow::Active,
        NOTHING,
    ),
    (
        POST,
        "/adfs/services/trust/2005/issuedtokenmixedsymmetricbasic256",
        Flow::Active,
        NOTHING,
    ),
    (
        POST,
        "/adfs/services/trust/13/issuedtokenmixedasymmetricbasic256",
        Flow::Active,
        &[Reads::WsTrust13],
    ),
    (
        POST,
        "/adfs/services/trust/13/issuedtokenmixedsymmetricbasic256",
        Flow::Active,
        &[Reads::WsTrust13],
    ),
    (
        READ,
        "/federationmetadata/2007-06/federationmetadata.xml",
        Flow::Metadata,
        NOTHING,
    ),
    (
        CROSS,
        "/adfs/.well-known/openid-configuration",
        Flow::Metadata,
        NOTHING,
    ),
    (CROSS, "/adfs/discovery/keys", Flow::Metadata, NOTHING),
    (CROSS, "/.well-known/webfinger", Flow::Metadata, NOTHING),
    (OWNER, "/adfs/userinfo", Flow::Metadata, NOTHING),
    (READ, "/adfs/portal/css/**", Flow::Asset, NOTHING),
    (READ, "/adfs/portal/fonts/**", Flow::Asset, NOTHING),
    (READ, "/adfs/portal/illustration/**", Flow::Asset, NOTHING),
    (READ, "/adfs/portal/images/**", Flow::Asset, NOTHING),
    (READ, "/adfs/portal/logo/**", Flow::Asset, NOTHING),
    (READ, "/adfs/portal/script/**", Flow::Asset, NOTHING),
    (EITHER, "/enrollmentserver/**", Flow::Device, NOTHING),
];

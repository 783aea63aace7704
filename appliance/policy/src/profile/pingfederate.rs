//! PingFederate as an identity provider, with its usual context roots.
//!
//! Sign-in pages post to a path with the number of the sign-in (`/idp/NUMBER/resumeSAML20/...`), which
//! says nothing of the relying party. Names of parameters are taken in the case of the documentation: in
//! another case the server may pass over one, and find the partner elsewhere.
//!
//! The administrative interfaces, `/pf-ws` (with the authentication API for one's own pages) and the
//! heartbeat stay inside. Not established: how a second factor is asked for (it depends on the server's
//! policy), and back-channel endpoints of SAML, which have no row. Metadata need
//! `?PartnerSpId=...` to name the certificate of a connection.

use super::presets::{ANY, CALL, CROSS, EITHER, NOTHING, OWNER, PAGE, POST, Preset, READ, Row};
use super::table::Reads;
use crate::Flow;

pub(super) const PINGFEDERATE: Preset = Preset {
    name: "pingfederate",
    rows: ROWS,
    users: &["pf.username", "username", "login_hint", "subject"],
    passwords: &["pf.pass", "password"],
    relying_parties: &["PartnerSpId", "PARTNER"],
    steps: &[],
    exact_names: true,
    sign_out: Some("/idp/startSLO.ping"),
    metadata: Some("/pf/federation_metadata.ping"),
    jwks: Some("/pf/JWKS"),
    discovery: Some("/.well-known/openid-configuration"),
    health: Some("/pf/heartbeat.ping"),
    wauth: None,
    authn_context: None,
    acr_values: None,
    upstream: None,
};

const STEP: &[Reads] = &[Reads::Step];
const PASSWORD: &[Reads] = &[Reads::Password];

const ROWS: &[Row] = &[
    (ANY, "/pf-admin-api", Flow::Internal, NOTHING),
    (ANY, "/pf-admin-api/**", Flow::Internal, NOTHING),
    (ANY, "/pingfederate", Flow::Internal, NOTHING),
    (ANY, "/pingfederate/**", Flow::Internal, NOTHING),
    (ANY, "/pf-ws", Flow::Internal, NOTHING),
    (ANY, "/pf-ws/**", Flow::Internal, NOTHING),
    (ANY, "/pf-mgmt-ws", Flow::Internal, NOTHING),
    (ANY, "/pf-mgmt-ws/**", Flow::Internal, NOTHING),
    (ANY, "/pf-scim", Flow::Internal, NOTHING),
    (ANY, "/pf-scim/**", Flow::Internal, NOTHING),
    (ANY, "/pf/heartbeat.ping", Flow::Internal, NOTHING),
    (PAGE, "/idp/sso.saml2", Flow::Passive, NOTHING),
    (PAGE, "/idp/prp.wsf", Flow::Passive, &[Reads::SignOut]),
    (PAGE, "/idp/startsso.ping", Flow::Passive, NOTHING),
    (PAGE, "/idp/resumesaml20/idp/*", Flow::Passive, STEP),
    (PAGE, "/idp/*/resumesaml20/idp/*", Flow::Passive, STEP),
    (PAGE, "/ext/pwdchange/*", Flow::Passive, STEP),
    (PAGE, "/ext/pwdreset/*", Flow::Passive, STEP),
    (PAGE, "/ext/idrecovery/*", Flow::Passive, STEP),
    (POST, "/idp/sts.wst", Flow::Active, PASSWORD),
    (POST, "/pf/sts.wst", Flow::Active, PASSWORD),
    (EITHER, "/pf/sts_mex.ping", Flow::Mex, NOTHING),
    (PAGE, "/idp/slo.saml2", Flow::SignOut, NOTHING),
    (PAGE, "/idp/startslo.ping", Flow::SignOut, NOTHING),
    (
        PAGE,
        "/as/authorization.oauth2",
        Flow::OauthBrowser,
        NOTHING,
    ),
    (PAGE, "/as/*/resume/as/*", Flow::OauthBrowser, STEP),
    (PAGE, "/as/user_authz.oauth2", Flow::OauthBrowser, STEP),
    (CALL, "/as/token.oauth2", Flow::OauthToken, NOTHING),
    (
        CALL,
        "/as/device_authz.oauth2",
        Flow::OauthToken,
        &[Reads::Native],
    ),
    (CALL, "/as/introspect.oauth2", Flow::OauthToken, NOTHING),
    (CALL, "/as/revoke_token.oauth2", Flow::OauthToken, NOTHING),
    (OWNER, "/idp/userinfo.openid", Flow::Metadata, NOTHING),
    (CROSS, "/pf/jwks", Flow::Metadata, NOTHING),
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
        READ,
        "/pf/federation_metadata.ping",
        Flow::Metadata,
        NOTHING,
    ),
    (READ, "/assets/**", Flow::Asset, NOTHING),
];

//! `SimpleSAMLphp` 1.19 and 2 under `/simplesaml`, with its `adfs` module where WS-Federation is in use.
//!
//! The sign-in page carries its state in `AuthState`; whom it is for does not stand in the request for
//! certain. Administration and what runs by the clock stay inside. A server under another base path needs
//! a profile of its own. Not established: how a second factor is asked for, pages of further modules
//! (consent, two-factor), SAML ECP, `OpenID Connect` and a health probe.

use super::presets::{ANY, EITHER, NOTHING, PAGE, POST, Preset, READ, Row};
use super::table::Reads;
use crate::Flow;

pub(super) const SIMPLESAMLPHP: Preset = Preset {
    name: "simplesamlphp",
    rows: ROWS,
    users: &["username", "login_hint"],
    passwords: &["password"],
    relying_parties: &["spentityid", "providerId"],
    steps: &["AuthState"],
    exact_names: true,
    sign_out: Some("/simplesaml/module.php/saml/idp/initSingleLogout"),
    metadata: Some("/simplesaml/module.php/saml/idp/metadata"),
    jwks: None,
    discovery: None,
    health: None,
    wauth: None,
    authn_context: None,
    acr_values: None,
    upstream: None,
};

const STEP: &[Reads] = &[Reads::Step];
const SIGN_OUT: &[Reads] = &[Reads::SignOut];
const PASSWORD: &[Reads] = &[Reads::Password];

const ROWS: &[Row] = &[
    (ANY, "/simplesaml/admin", Flow::Internal, NOTHING),
    (ANY, "/simplesaml/admin/**", Flow::Internal, NOTHING),
    (ANY, "/simplesaml/module.php/admin", Flow::Internal, NOTHING),
    (
        ANY,
        "/simplesaml/module.php/admin/**",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/simplesaml/module.php/cron/**",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/simplesaml/module.php/metarefresh/**",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/simplesaml/saml2/idp/artifactresolutionservice.php",
        Flow::Internal,
        NOTHING,
    ),
    (
        ANY,
        "/simplesaml/module.php/saml/idp/artifactresolutionservice",
        Flow::Internal,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/saml2/idp/ssoservice.php",
        Flow::Passive,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/saml/idp/singlesignonservice",
        Flow::Passive,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/loginuserpass",
        Flow::Passive,
        STEP,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/loginuserpass.php",
        Flow::Passive,
        STEP,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/loginuserpassorg",
        Flow::Passive,
        STEP,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/loginuserpassorg.php",
        Flow::Passive,
        STEP,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/postredirect",
        Flow::Passive,
        STEP,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/postredirect.php",
        Flow::Passive,
        STEP,
    ),
    (
        PAGE,
        "/simplesaml/module.php/adfs/prp",
        Flow::Passive,
        SIGN_OUT,
    ),
    (
        PAGE,
        "/simplesaml/module.php/adfs/idp/prp.php",
        Flow::Passive,
        SIGN_OUT,
    ),
    (
        POST,
        "/simplesaml/module.php/adfs/ws-trust/2005/services/usernamemixed",
        Flow::Active,
        PASSWORD,
    ),
    (
        EITHER,
        "/simplesaml/module.php/adfs/ws-trust/mex",
        Flow::Mex,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/saml2/idp/singlelogoutservice.php",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/saml2/idp/initslo.php",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/saml/idp/singlelogout",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/saml/idp/initsinglelogout",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/logout-resume",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/logout-iframe",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/logout-iframe-done",
        Flow::SignOut,
        NOTHING,
    ),
    (
        PAGE,
        "/simplesaml/module.php/core/logout-iframe-post",
        Flow::SignOut,
        NOTHING,
    ),
    (
        READ,
        "/simplesaml/saml2/idp/metadata.php",
        Flow::Metadata,
        NOTHING,
    ),
    (
        READ,
        "/simplesaml/module.php/saml/idp/metadata",
        Flow::Metadata,
        NOTHING,
    ),
    (
        READ,
        "/simplesaml/module.php/adfs/metadata",
        Flow::Metadata,
        NOTHING,
    ),
    (
        READ,
        "/simplesaml/module.php/adfs/idp/metadata.php",
        Flow::Metadata,
        NOTHING,
    ),
    (READ, "/simplesaml/assets/**", Flow::Asset, NOTHING),
    (READ, "/simplesaml/resources/**", Flow::Asset, NOTHING),
];

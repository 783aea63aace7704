//! What comes with Weir: a table for each product.
//!
//! A row is there when public documentation or running servers show the path; what is not established is
//! not there, and a path without a row is [`Flow::Other`], which is never forwarded.

use super::adfs::ADFS;
use super::okta::OKTA;
use super::pingfederate::PINGFEDERATE;
use super::shibboleth::SHIBBOLETH;
use super::simplesamlphp::SIMPLESAMLPHP;
use super::table::Reads;
use crate::Flow;

/// Names of the profiles that come with Weir.
pub const PRESETS: &[&str] = &[
    ADFS.name,
    OKTA.name,
    PINGFEDERATE.name,
    SHIBBOLETH.name,
    SIMPLESAMLPHP.name,
];

/// A profile that comes with Weir. The settings are those of [`super::own::ProfileSpec`], where they are
/// explained.
#[derive(Debug)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    pub(super) rows: &'static [Row],
    pub(super) users: &'static [&'static str],
    pub(super) passwords: &'static [&'static str],
    pub(super) relying_parties: &'static [&'static str],
    pub(super) steps: &'static [&'static str],
    /// Whether the server tells `wtrealm` from `WTREALM`.
    pub(super) exact_names: bool,
    pub(super) sign_out: Option<&'static str>,
    pub(super) metadata: Option<&'static str>,
    pub(super) jwks: Option<&'static str>,
    pub(super) discovery: Option<&'static str>,
    pub(super) health: Option<&'static str>,
    pub(super) wauth: Option<&'static str>,
    pub(super) authn_context: Option<&'static str>,
    pub(super) acr_values: Option<&'static str>,
    /// A normalised path, and what is asked of the server itself instead.
    pub(super) upstream: Option<(&'static str, &'static str)>,
}

/// Methods (none: all), pattern, flow kind, what else is read.
pub(super) type Row = (
    &'static [&'static str],
    &'static str,
    Flow,
    &'static [Reads],
);

pub(super) fn preset(name: &str) -> Option<&'static Preset> {
    [&ADFS, &OKTA, &PINGFEDERATE, &SHIBBOLETH, &SIMPLESAMLPHP]
        .into_iter()
        .find(|preset| preset.name == name)
}

pub(super) const ANY: &[&str] = &[];
pub(super) const PAGE: &[&str] = &["GET", "HEAD", "POST"];
pub(super) const READ: &[&str] = &["GET", "HEAD"];
pub(super) const POST: &[&str] = &["POST"];
pub(super) const EITHER: &[&str] = &["GET", "POST"];
/// A call of a script, which may stand on another site.
pub(super) const CALL: &[&str] = &["POST", "OPTIONS"];
/// A document that scripts of other sites may read.
pub(super) const CROSS: &[&str] = &["GET", "HEAD", "OPTIONS"];
/// What the holder of a token may read about itself, also by a script.
pub(super) const OWNER: &[&str] = &["GET", "POST", "OPTIONS"];
pub(super) const NOTHING: &[Reads] = &[];

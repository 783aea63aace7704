//! What a request is: the profile's table of method and path pattern to flow kind.
//!
//! A profile is a table, never code: rows are tried in order, and what no row names is
//! [`Flow::Other`], which is never forwarded.

use std::borrow::Cow;

use crate::{Flow, Head, NormalPath};

/// A request, recognised by its head alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// Normalised path.
    pub path: NormalPath,
    /// What the request is, as far as its path and method tell; [`crate::Facts::flow`] is the last word.
    pub flow: Flow,
    /// What must be read of the body before [`crate::Policy::facts`].
    pub body: BodyNeed,
    /// Largest body that is forwarded, in bytes; more is answered with 413.
    pub body_limit: u64,
}

/// How much of a body policy wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyNeed {
    /// Nothing: decide on the head.
    None,
    /// The whole body when it is at most so many bytes. When it is longer (or does not arrive
    /// whole), facts are asked for without a body, and what they would have told is unknown.
    UpTo(usize),
}

/// A request that is refused before any rule is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// HTTP status of the answer, such as 400.
    pub status: u16,
    /// What is wrong, in words for the audit log. Holds nothing of the request.
    pub why: Cow<'static, str>,
}

/// The path that goes to an upstream which is AD FS itself: WAP maps the public `mex` to `proxymex`,
/// which does not tell of internal endpoints (MS-ADFSPIP, `Path` and `ServicePath` of an endpoint).
/// Everything else travels raw.
pub fn upstream_path<'a>(path: &NormalPath, raw: &'a str) -> Cow<'a, str> {
    if path.trimmed() == "/adfs/services/trust/mex" {
        Cow::Borrowed("/adfs/services/trust/proxymex")
    } else {
        Cow::Borrowed(raw)
    }
}

/// A way of recognising requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    rows: &'static [Row],
}

/// Methods, pattern, flow kind. In a pattern `*` stands for one segment, `**` at the end for one or
/// more, `**` at the start for any number.
type Row = (&'static [&'static str], &'static str, Flow);

impl Profile {
    /// Names of the presets.
    pub(crate) const PRESETS: [&'static str; 1] = ["adfs"];

    pub(crate) fn preset(name: &str) -> Option<Self> {
        (name == "adfs").then_some(Self { rows: ADFS })
    }

    pub(crate) fn recognise(self, head: &Head<'_>) -> Result<Recognised, Refusal> {
        let path = NormalPath::parse(head.path).map_err(|error| Refusal {
            status: 400,
            why: error.to_string().into(),
        })?;
        let flow = self.flow(head.method, &path);
        if path.is_odd() && !matches!(flow, Flow::Internal | Flow::Other) {
            let why = "the path can be read in more than one way".into();
            return Err(Refusal { status: 400, why });
        }
        let reads_body = head.method == "POST" && (flow.signs_in() || flow == Flow::Mex);
        let body = if reads_body {
            BodyNeed::UpTo(READ_LIMIT)
        } else {
            BodyNeed::None
        };
        let body_limit = match flow {
            Flow::Passive | Flow::SignOut | Flow::Device => PAGE_LIMIT,
            Flow::Internal | Flow::Other => 0,
            _ => READ_LIMIT as u64,
        };
        Ok(Recognised {
            path,
            flow,
            body,
            body_limit,
        })
    }

    fn flow(self, method: &str, path: &NormalPath) -> Flow {
        let found = self.rows.iter().find(|(methods, pattern, _)| {
            (methods.is_empty() || methods.contains(&method)) && matches(pattern, path.trimmed())
        });
        found.map_or(Flow::Other, |(_, _, flow)| *flow)
    }
}

/// Largest body that is read before deciding: SOAP messages and forms are a few kilobytes.
const READ_LIMIT: usize = 256 << 10;
/// Largest body forwarded to a page: a SAML response of 1 MB, base64 encoded.
const PAGE_LIMIT: u64 = 1 << 20 << 1;

const ANY: &[&str] = &[];
const PAGE: &[&str] = &["GET", "HEAD", "POST"];
const READ: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];

/// AD FS 2012 R2 and later. Internal endpoints first; then what Microsoft publishes on a Web
/// Application Proxy. Integrated Windows authentication and the proxy trust are for inside only.
const ADFS: &[Row] = &[
    (ANY, "/adfs/proxy", Flow::Internal),
    (ANY, "/adfs/proxy/**", Flow::Internal),
    (ANY, "/adfs/backendproxytls", Flow::Internal),
    (ANY, "/adfs/backendproxytls/**", Flow::Internal),
    (ANY, "/adfs/probe", Flow::Internal),
    (ANY, "/adfs/services/trust/proxymex", Flow::Internal),
    (ANY, "/adfs/services/trust/proxytrust", Flow::Internal),
    (ANY, "/adfs/services/trust/proxytrust*", Flow::Internal),
    (ANY, "/adfs/services/trust/samlprotocol/**", Flow::Internal),
    (
        ANY,
        "/adfs/services/trust/*/windowstransport",
        Flow::Internal,
    ),
    (ANY, "/adfs/services/trust/*/windowsmixed", Flow::Internal),
    (ANY, "/adfs/services/trust/*/windows", Flow::Internal),
    (ANY, "/adfs/services/trust/*/kerberosmixed", Flow::Internal),
    (ANY, "/adfs/services/trust/*/kerberos", Flow::Internal),
    (ANY, "/adfs/services/trusttcp", Flow::Internal),
    (ANY, "/adfs/services/trusttcp/**", Flow::Internal),
    (
        ANY,
        "/adfs/services/proxytrustpolicystoretransfer",
        Flow::Internal,
    ),
    (ANY, "/adfs/services/policystoretransfer", Flow::Internal),
    (ANY, "**/federationserverservice.asmx", Flow::Internal),
    (PAGE, "/adfs/ls", Flow::Passive),
    (PAGE, "/adfs/ls/idpinitiatedsignon", Flow::Passive),
    (PAGE, "/adfs/ls/idpinitiatedsignon.aspx", Flow::Passive),
    (PAGE, "/adfs/portal/updatepassword", Flow::Passive),
    (PAGE, "/adfs/oauth2/authorize", Flow::OauthBrowser),
    (PAGE, "/adfs/oauth2/deviceauth", Flow::OauthBrowser),
    (&["POST", "OPTIONS"], "/adfs/oauth2/token", Flow::OauthToken),
    (
        &["POST", "OPTIONS"],
        "/adfs/oauth2/devicecode",
        Flow::OauthToken,
    ),
    (PAGE, "/adfs/oauth2/logout", Flow::SignOut),
    (&["GET", "POST"], "/adfs/services/trust/mex", Flow::Mex),
    (
        POST,
        "/adfs/services/trust/2005/usernamemixed",
        Flow::Active,
    ),
    (POST, "/adfs/services/trust/13/usernamemixed", Flow::Active),
    (
        POST,
        "/adfs/services/trust/2005/certificatemixed",
        Flow::Active,
    ),
    (
        POST,
        "/adfs/services/trust/13/certificatemixed",
        Flow::Active,
    ),
    (
        POST,
        "/adfs/services/trust/2005/certificatetransport",
        Flow::Active,
    ),
    (
        POST,
        "/adfs/services/trust/2005/issuedtokenmixedasymmetricbasic256",
        Flow::Active,
    ),
    (
        POST,
        "/adfs/services/trust/2005/issuedtokenmixedsymmetricbasic256",
        Flow::Active,
    ),
    (
        POST,
        "/adfs/services/trust/13/issuedtokenmixedasymmetricbasic256",
        Flow::Active,
    ),
    (
        POST,
        "/adfs/services/trust/13/issuedtokenmixedsymmetricbasic256",
        Flow::Active,
    ),
    (
        READ,
        "/federationmetadata/2007-06/federationmetadata.xml",
        Flow::Metadata,
    ),
    (
        &["GET", "HEAD", "OPTIONS"],
        "/adfs/.well-known/openid-configuration",
        Flow::Metadata,
    ),
    (
        &["GET", "HEAD", "OPTIONS"],
        "/adfs/discovery/keys",
        Flow::Metadata,
    ),
    (
        &["GET", "HEAD", "OPTIONS"],
        "/.well-known/webfinger",
        Flow::Metadata,
    ),
    (
        &["GET", "POST", "OPTIONS"],
        "/adfs/userinfo",
        Flow::Metadata,
    ),
    (READ, "/adfs/portal/css/**", Flow::Asset),
    (READ, "/adfs/portal/fonts/**", Flow::Asset),
    (READ, "/adfs/portal/illustration/**", Flow::Asset),
    (READ, "/adfs/portal/images/**", Flow::Asset),
    (READ, "/adfs/portal/logo/**", Flow::Asset),
    (READ, "/adfs/portal/script/**", Flow::Asset),
    (&["GET", "POST"], "/enrollmentserver/**", Flow::Device),
];

fn matches(pattern: &str, path: &str) -> bool {
    if let Some(tail) = pattern.strip_prefix("**") {
        return path.ends_with(tail);
    }
    if let Some(head) = pattern.strip_suffix("/**") {
        return path
            .strip_prefix(head)
            .is_some_and(|rest| rest.starts_with('/'));
    }
    let mut wanted = pattern.split('/');
    let mut given = path.split('/');
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(want), Some(have)) if segment_matches(want, have) => {}
            _ => return false,
        }
    }
}

fn segment_matches(want: &str, have: &str) -> bool {
    want.strip_suffix('*')
        .map_or(want == have, |start| have.starts_with(start))
}

//! What a request is: the profile's table of method and path pattern to flow kind.
//!
//! A profile is a table, never code: one for each product ([`PRESETS`]), and those that an administrator
//! writes ([`ProfileSpec`]). Rows for what is internal are tried first, wherever they stand: no other row
//! can open what one of them closes. Then come the administrator's own rows, in their order, then those of
//! the preset that the profile is like. What no row names is [`Flow::Other`], which is never forwarded.
//!
//! Patterns are for normalised paths, in lower case; servers that tell `/idp/SSO.saml2` from
//! `/idp/sso.saml2` answer the wrong one themselves.

mod adfs;
mod okta;
mod own;
mod pingfederate;
mod presets;
mod shibboleth;
mod simplesamlphp;
mod table;

use std::borrow::Cow;
use std::sync::Arc;

pub use own::{MfaSpec, ProfileChoice, ProfileError, ProfileSpec, RowSpec};
pub use presets::PRESETS;
pub use table::Reads;
use table::Row;
pub(crate) use table::{Readings, matches};

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
    /// What else the profile says of such a request.
    pub(crate) reads: Readings,
    /// The relying party, where the path names it.
    pub(crate) application: Option<String>,
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

/// A way of recognising requests, compiled.
#[derive(Clone, Debug)]
pub struct Profile(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    rows: Vec<Row>,
    users: Vec<String>,
    passwords: Vec<String>,
    relying_parties: Vec<String>,
    steps: Vec<String>,
    exact_names: bool,
    places: Places,
    mfa: MfaSpec,
    upstream: Option<(&'static str, &'static str)>,
}

/// Where a sign-in server of this kind has what others ask for: paths with their query, in the server's
/// own case. `None` where there is none, or none is established.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// A browser that goes there is signed out.
    pub sign_out: Option<String>,
    /// Federation metadata.
    pub metadata: Option<String>,
    /// JSON Web Key Set.
    pub jwks: Option<String>,
    /// `OpenID Connect` discovery.
    pub discovery: Option<String>,
    /// Answers 200 while the server works; for the inside only.
    pub health: Option<String>,
}

impl Recognised {
    /// Whether it is for a relying party's reply URL.
    pub fn is_reply(&self) -> bool {
        self.reads.has(Reads::Reply)
    }
}

impl Profile {
    /// Where the server has what others ask for.
    pub fn places(&self) -> &Places {
        &self.0.places
    }

    /// How a second factor is asked for.
    pub fn mfa(&self) -> &MfaSpec {
        &self.0.mfa
    }

    /// Whether it is that of a relying party, whose reply URLs are among its rows.
    pub fn replies(&self) -> bool {
        self.0.rows.iter().any(|row| row.reads.has(Reads::Reply))
    }

    /// Whether a sign-in goes on with requests that do not say what was asked for when it began.
    pub fn has_steps(&self) -> bool {
        let mut rows = self.0.rows.iter();
        !self.0.steps.is_empty() || rows.any(|row| row.reads.has(Reads::Step))
    }

    /// Whether requests can be of this kind.
    pub fn knows(&self, flow: Flow) -> bool {
        self.0.rows.iter().any(|row| row.flow == flow)
    }

    /// Patterns of the paths where WS-Trust by name and password says for certain who signs in, and to what.
    pub(crate) fn password_paths(&self) -> Vec<String> {
        let rows = self.0.rows.iter().filter(|row| {
            let by_password = row.flow == Flow::Active && row.reads.has(Reads::Password);
            by_password && !row.reads.has(Reads::Application)
        });
        rows.map(|row| row.pattern.clone()).collect()
    }

    /// The path that goes to an upstream which is the sign-in server itself: AD FS has one path on its
    /// proxies and another behind them. Everything else travels raw.
    pub fn upstream_path<'a>(&self, path: &NormalPath, raw: &'a str) -> Cow<'a, str> {
        match self.0.upstream {
            Some((outside, inside)) if path.trimmed() == outside => Cow::Borrowed(inside),
            _ => Cow::Borrowed(raw),
        }
    }

    pub(crate) fn recognise(&self, head: &Head<'_>) -> Result<Recognised, Refusal> {
        let path = NormalPath::parse(head.path).map_err(|error| Refusal {
            status: 400,
            why: error.to_string().into(),
        })?;
        let row = self.row(head.method, path.trimmed());
        let flow = row.map_or(Flow::Other, |row| row.flow);
        if path.is_odd() && !matches!(flow, Flow::Internal | Flow::Other) {
            let why = "the path can be read in more than one way".into();
            return Err(Refusal { status: 400, why });
        }
        // Where the pages of a sign-in are told by a parameter, it may stand in the body.
        let may_be_a_step = flow == Flow::SignOut && !self.0.steps.is_empty();
        let reads_body =
            head.method == "POST" && (flow.signs_in() || flow == Flow::Mex || may_be_a_step);
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
        let application = row.and_then(|row| row.application(path.trimmed()));
        Ok(Recognised {
            application: application.map(str::to_owned),
            reads: row.map(|row| row.reads).unwrap_or_default(),
            path,
            flow,
            body,
            body_limit,
        })
    }

    fn row(&self, method: &str, path: &str) -> Option<&Row> {
        self.0.rows.iter().find(|row| row.matches(method, path))
    }

    /// Parameters in which a user is named.
    pub(crate) fn users(&self) -> &[String] {
        &self.0.users
    }

    /// Parameters that hold a password.
    pub(crate) fn passwords(&self) -> &[String] {
        &self.0.passwords
    }

    /// Parameters in which a relying party is named, besides those of SAML messages.
    pub(crate) fn relying_parties(&self) -> &[String] {
        &self.0.relying_parties
    }

    /// Parameters by which a request is a later step of a sign-in.
    pub(crate) fn steps(&self) -> &[String] {
        &self.0.steps
    }

    /// Whether the server tells names of parameters apart by case.
    pub(crate) fn exact_names(&self) -> bool {
        self.0.exact_names
    }
}

/// Largest body that is read before deciding: SOAP messages and forms are a few kilobytes.
const READ_LIMIT: usize = 256 << 10;
/// Largest body forwarded to a page: a SAML response of 1 MB, base64 encoded.
const PAGE_LIMIT: u64 = 1 << 20 << 1;

//! Why a round came to nothing, what that is called, and when another is worth it.

use std::time::Duration;

use crate::credential::Registration;
use crate::graph::{Failure, Kind};
use crate::health::{Finding, Reason, State};
use crate::model::{Id, Part};
use crate::store::StoreError;

/// The first wait after a failure, and the longest.
const WAITS: [Duration; 2] = [Duration::from_secs(30), Duration::from_mins(15)];
/// What the tenant or the cloud does not have is asked for again after that time: a licence may be bought.
const PROBE: Duration = Duration::from_hours(6);

/// Why a round came to nothing.
#[derive(Debug)]
pub(super) enum Broken {
    /// A question was not answered.
    Graph(Box<Failure>),
    /// It could not be kept.
    Store(StoreError),
    /// Graph answered for another tenant.
    OtherTenant(Id),
    /// A tenant without a single user is none.
    Nobody,
    /// One page leads to the next for ever.
    Endless,
    /// A document cannot be written.
    Unwritten,
    /// It was stopped.
    Stopped,
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Graph(Box::new(failure))
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Broken {
    /// Whether the round is to begin anew, and then in full (`true`) or as it was asked for.
    pub(super) fn begins_anew(&self, is_full: bool) -> Option<bool> {
        match self {
            Self::Graph(failure) => match &failure.kind {
                Kind::Resync | Kind::PageGone => Some(true),
                // The link that was kept; one of a round that has just begun would be as false again.
                Kind::Foreign(_) if !is_full => Some(true),
                _ => None,
            },
            Self::Store(StoreError::NeedsFull { .. }) => Some(true),
            Self::Store(StoreError::Overtaken { .. }) => Some(is_full),
            _ => None,
        }
    }

    /// Whether the application's credential is refused for good, and not only for a while.
    pub(super) fn is_refusal(&self) -> bool {
        let Self::Graph(failure) = self else {
            return false;
        };
        matches!(&failure.kind, Kind::Token(error) if !error.is_transient())
    }

    /// How long to wait after so many failures in a row, at most as long as `cadence` unless Graph asks for more.
    pub(super) fn wait(&self, failures: u32, cadence: Duration, chance: f64) -> Duration {
        let asked = match self {
            Self::Graph(failure) => match failure.kind {
                Kind::NotLicensed | Kind::NotOffered => return PROBE.max(cadence),
                _ => failure.retry_after,
            },
            _ => None,
        };
        let [first, longest] = WAITS;
        let longest = longest.max(cadence);
        let doubled = first * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
        let wait = doubled.min(longest).mul_f64(0.75 + 0.5 * chance);
        wait.max(asked.unwrap_or_default())
    }

    /// What it is, and what to do.
    pub(super) fn finding(&self, part: Part, registration: &Registration) -> Finding {
        let (reason, words) = match self {
            Self::Graph(failure) => {
                let mut finding = Finding::of_failure(failure, registration);
                finding.part = Some(part);
                return finding;
            }
            Self::Store(error) => return Finding::of_store(error, Some(part)),
            Self::OtherTenant(got) => (
                Reason::OtherTenant,
                format!("Graph answers for tenant {got}"),
            ),
            Self::Nobody => (
                Reason::Malformed,
                "Graph tells of no user at all, and a tenant has one at least".to_owned(),
            ),
            Self::Endless => (
                Reason::Malformed,
                "each page leads to another, and they do not end".to_owned(),
            ),
            Self::Unwritten => (
                Reason::Malformed,
                "something in an answer cannot be kept".to_owned(),
            ),
            Self::Stopped => (Reason::Spreading, "the round was stopped".to_owned()),
        };
        let mut finding = Finding::of(reason, words, registration);
        finding.part = Some(part);
        finding
    }
}

/// What a failure is called in the journal.
pub(super) fn code(finding: &Finding) -> String {
    if let Some(code) = &finding.code {
        return code.clone();
    }
    let reason = serde_json::to_value(finding.reason);
    let reason = reason
        .ok()
        .and_then(|reason| Some(reason.as_str()?.to_owned()));
    reason.unwrap_or_else(|| "unknown".to_owned())
}

/// Whether a part is as it should be although nothing is read: the tenant or the cloud does not have it.
pub(super) fn is_absent(finding: &Finding) -> bool {
    matches!(finding.reason, Reason::NotLicensed | Reason::NotOffered)
        && finding.state == State::Degraded
}

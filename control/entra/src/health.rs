//! What is wrong, and what to do about it: from a failure to a state, a reason and the next step of a person.
//!
//! Pure. The numbers of Entra (`AADSTS…`) are for diagnosis and may change, so a number that is not known is judged by
//! its `error`. A token alone proves nothing: one is handed out to an application that nobody consented to.

mod reason;

use std::fmt;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

pub use self::reason::Reason;
use crate::credential::{Credential, Registration};
use crate::graph::{Failure, Kind, ProofError, missing, too_much};
use crate::model::Part;
use crate::network::NetworkError;
use crate::token::{By, Refusal, Said, TokenError};

/// Clocks may differ by so much before anybody is told, and before assertions are refused.
const SKEW: [Duration; 2] = [Duration::minutes(1), Duration::minutes(5)];
/// When a credential's end is told of, in days before it.
const EXPIRES_SOON: Duration = Duration::days(30);
/// When a credential should be replaced in any case.
const OLD: Duration = Duration::days(90);

/// How something stands; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All is well.
    Healthy,
    /// Something is missing that the tenant does not have, or that passes by itself.
    Degraded,
    /// What is known is older than it should be.
    Stale,
    /// A change waits for approval.
    Held,
    /// A person has to do something.
    NeedsAttention,
    /// Nothing is collected any more, by somebody's decision.
    Disconnected,
}

/// Something to know about the connection with the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// What it is about; everything when there is none.
    pub part: Option<Part>,
    /// `AADSTS…`, or Graph's code.
    pub code: Option<String>,
    /// What was said.
    pub words: String,
    /// What to do next.
    pub step: String,
    /// Graph's or Entra's name for the request, for support.
    pub request_id: Option<String>,
}

/// The worst of some findings.
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> State {
    let states = findings.into_iter().map(|finding| finding.state);
    states.max().unwrap_or(State::Healthy)
}

impl Finding {
    fn new(reason: Reason, registration: &Registration) -> Self {
        Self {
            state: reason.state(),
            reason,
            part: None,
            code: None,
            words: String::new(),
            step: reason.step(registration),
            request_id: None,
        }
    }

    /// For a reason that something else than an answer of Microsoft's gives.
    pub(crate) fn of(reason: Reason, words: String, registration: &Registration) -> Self {
        Self {
            words,
            ..Self::new(reason, registration)
        }
    }

    /// That what was told cannot be kept, or drawn.
    pub(crate) fn of_store(error: &dyn std::error::Error, part: Option<Part>) -> Self {
        Self {
            state: State::NeedsAttention,
            reason: Reason::Fault,
            part,
            code: Some("store".to_owned()),
            words: error.to_string(),
            step: "What is known stays in force meanwhile.".to_owned(),
            request_id: None,
        }
    }

    /// Why there is no token.
    pub fn of_token(error: &TokenError, registration: &Registration) -> Self {
        let reason = match error {
            TokenError::Network(error) => of_network(error),
            TokenError::Credential(_) => Reason::CredentialUnusable,
            TokenError::Refused(refusal) => of_refusal(refusal),
            TokenError::Status { status, .. } => match status {
                429 | 500.. => Reason::Unavailable,
                _ => Reason::NotMicrosoft,
            },
            TokenError::Malformed(_) => Reason::NotMicrosoft,
        };
        let mut finding = Self::new(reason, registration);
        finding.words = error.to_string();
        if let TokenError::Refused(refusal) = error {
            let code = refusal.codes.first().map(|code| format!("AADSTS{code}"));
            finding.code = code.or_else(|| Some(refusal.error.clone()));
            finding.request_id.clone_from(&refusal.trace);
        }
        if let TokenError::Credential(error) = error {
            finding.step = error.to_string();
        }
        let is_id = matches!(&registration.credential, Credential::Secret(secret) if secret.looks_like_an_id());
        if reason == Reason::SecretWrong && is_id {
            let mistaken = "What is configured looks like the ID of a secret; ";
            finding.step = format!("{mistaken}{}", finding.step.to_lowercase());
        }
        finding
    }

    /// Why a question was not answered.
    pub fn of_failure(failure: &Failure, registration: &Registration) -> Self {
        let reason = match &failure.kind {
            Kind::Token(error) => {
                let mut finding = Self::of_token(error, registration);
                finding.part = Some(failure.part);
                return finding;
            }
            Kind::Network(error) => of_network(error),
            Kind::Foreign(_) => Reason::ForeignLink,
            Kind::Malformed(_) => Reason::Malformed,
            Kind::NotGraph => Reason::NotMicrosoft,
            Kind::Unauthorized => Reason::TokenRefused,
            Kind::Challenged => Reason::Blocked,
            Kind::NotPermitted => Reason::ConsentMissing,
            Kind::NotLicensed => Reason::NotLicensed,
            Kind::NotOffered => Reason::NotOffered,
            Kind::NotYet => Reason::Spreading,
            Kind::NoTenant => Reason::TenantNotFound,
            Kind::Missing | Kind::Resync | Kind::PageGone => Reason::ReadAgain,
            Kind::Throttled => Reason::Throttled,
            Kind::Unavailable => Reason::Unavailable,
            Kind::BadRequest => Reason::Fault,
        };
        let mut finding = Self::new(reason, registration);
        finding.part = Some(failure.part);
        finding.code = failure.code.as_deref().map(str::to_owned);
        finding.words = failure.to_string();
        finding.request_id = failure.request_id.as_deref().map(str::to_owned);
        if reason == Reason::ConsentMissing {
            let missing = missing(&[], &[failure.part]);
            finding.step = Reason::grant(registration, &names(&missing));
        }
        finding
    }

    /// Why nothing was proved.
    pub fn of_proof(error: &ProofError, registration: &Registration) -> Self {
        match error {
            ProofError::Failed(failure) => {
                let mut finding = Self::of_failure(failure, registration);
                finding.part = None;
                finding
            }
            ProofError::OtherTenant { .. } => {
                Self::of(Reason::OtherTenant, error.to_string(), registration)
            }
        }
    }

    /// What a token says of itself that is not as it should be, for the parts that are read.
    pub fn of_claims(said: &Said, registration: &Registration, parts: &[Part]) -> Vec<Self> {
        let mut findings = Vec::new();
        let mut add = |reason, words: String| {
            let mut finding = Self::new(reason, registration);
            finding.words = words;
            findings.push(finding);
        };
        if let Some(tid) = said.tid.filter(|tid| *tid != registration.tenant) {
            add(Reason::OtherTenant, format!("the token is of tenant {tid}"));
        }
        let graph = registration.cloud.graph();
        if let Some(aud) = said.aud.as_deref()
            && aud.trim_end_matches('/') != graph
        {
            let aud: String = aud.chars().take(100).collect();
            add(
                Reason::WrongCloud,
                format!("the token is for {aud}, and not for {graph}"),
            );
        }
        let too_much = too_much(&said.roles);
        if !too_much.is_empty() {
            let shown: Vec<_> = too_much.iter().take(8).map(String::as_str).collect();
            add(
                Reason::TooMuch,
                format!("the application may also do: {}", shown.join(", ")),
            );
        }
        let missing = missing(&said.roles, parts);
        if !missing.is_empty() {
            let mut finding = Self::new(Reason::ConsentMissing, registration);
            finding.words = format!("the token lacks: {}", names(&missing));
            finding.step = Reason::grant(registration, &names(&missing));
            findings.push(finding);
        }
        findings
    }

    /// How far the clock here is behind Microsoft's.
    pub fn of_skew(skew: Duration, registration: &Registration) -> Option<Self> {
        let [told, refused] = SKEW;
        let size = skew.abs();
        let mut finding = Self::new(Reason::ClockWrong, registration);
        if size < told {
            return None;
        }
        if size < refused {
            finding.state = State::Degraded;
        }
        let direction = if skew.is_positive() {
            "behind"
        } else {
            "ahead of"
        };
        let seconds = size.whole_seconds();
        finding.words = format!("the clock here is {seconds} s {direction} Microsoft's");
        Some(finding)
    }

    /// That the credential ends soon, or has ended.
    pub fn of_expiry(registration: &Registration, now: OffsetDateTime) -> Option<Self> {
        Self::of_end(registration, registration.credential.expires()?, now)
    }

    /// The same, where somebody else tells when it ends.
    pub fn of_end(
        registration: &Registration,
        ends: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let credential = &registration.credential;
        let left = ends - now;
        if left > EXPIRES_SOON {
            return None;
        }
        let kind = credential.kind();
        let mut finding = Self::new(Reason::CredentialEnds, registration);
        if left.is_positive() {
            let days = left.whole_days();
            finding.words = format!("the {kind} is good for {days} days more");
            if days >= 7 {
                finding.state = State::Degraded;
            }
        } else {
            finding.words = format!("the {kind} has expired");
        }
        Some(finding)
    }

    /// That the credential is in use for longer than a quarter, by what the tenant says of its beginning.
    pub fn of_age(
        registration: &Registration,
        since: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let age = now - since;
        if age < OLD {
            return None;
        }
        let mut finding = Self::new(Reason::CredentialOld, registration);
        let kind = registration.credential.kind();
        finding.words = format!("the {kind} is {} days old", age.whole_days());
        Some(finding)
    }

    /// That a part was last read well longer ago than it should have been.
    pub fn of_staleness(
        part: Part,
        read: Option<OffsetDateTime>,
        at_most: Duration,
        registration: &Registration,
        now: OffsetDateTime,
    ) -> Option<Self> {
        let words = match read {
            Some(read) if now - read <= at_most => return None,
            Some(read) => format!(
                "it was last read {} minutes ago",
                (now - read).whole_minutes()
            ),
            None => "it was never read".to_owned(),
        };
        let mut finding = Self::new(Reason::Stale, registration);
        finding.part = Some(part);
        finding.words = words;
        Some(finding)
    }

    /// That a change of a part waits for approval: what it is, in words.
    pub fn of_hold(part: Part, what: &str, registration: &Registration) -> Self {
        let mut finding = Self::new(Reason::Held, registration);
        finding.part = Some(part);
        what.clone_into(&mut finding.words);
        finding
    }

    /// That collection was stopped on purpose.
    pub fn disconnected(registration: &Registration) -> Self {
        Self::new(Reason::Disconnected, registration)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        if let Some(code) = &self.code {
            write!(f, " ({code})")?;
        }
        if !self.words.is_empty() {
            write!(f, ": {}", self.words)?;
        }
        write!(f, ". {}", self.step)
    }
}

fn names(missing: &[&[&str]]) -> String {
    let first = missing.iter().filter_map(|any| any.first().copied());
    let mut first: Vec<_> = first.collect();
    first.sort_unstable();
    first.dedup();
    first.join(", ")
}

fn of_network(error: &NetworkError) -> Reason {
    match error {
        NetworkError::Name(_) => Reason::NameUnknown,
        NetworkError::Unreachable(_) | NetworkError::Late | NetworkError::Broken(_) => {
            Reason::Unreachable
        }
        NetworkError::Tls(_) => Reason::NotTrusted,
        NetworkError::Proxy(_) => Reason::ProxyRefuses,
        NetworkError::TooLong(_) | NetworkError::Packed(_) => Reason::Malformed,
        NetworkError::Redirect(_) => Reason::NotMicrosoft,
    }
}

fn of_refusal(refusal: &Refusal) -> Reason {
    if refusal.by == By::Machine {
        return if refusal.is_transient() {
            Reason::Unavailable
        } else {
            Reason::NoManagedIdentity
        };
    }
    let by_code = refusal.codes.iter().find_map(|code| Reason::of_code(*code));
    by_code.unwrap_or_else(|| match &*refusal.error {
        _ if refusal.is_transient() => Reason::Unavailable,
        "invalid_client" => Reason::CredentialRefused,
        "unauthorized_client" => Reason::AppNotFound,
        "consent_required" | "interaction_required" => Reason::ConsentMissing,
        "access_denied" => Reason::Blocked,
        "invalid_resource" => Reason::AppMisconfigured,
        _ => Reason::Fault,
    })
}

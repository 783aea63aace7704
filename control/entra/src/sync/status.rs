//! How everything stands.

use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use super::broken::is_absent;
use super::connection::Connection;
use super::task::Task;
use super::{Engine, blocking};
use crate::credential::{Credential, Registration};
use crate::decode::credentials::Application;
use crate::graph::{missing, too_much};
use crate::health::{Finding, State, worst};
use crate::model::Part;
use crate::store::{Held, PartState, Store, StoreError};

/// How everything stands.
#[derive(Clone, Debug)]
pub struct Status {
    /// The worst of all.
    pub state: State,
    /// What is to be known of the connection: credential, consent, clocks, the store.
    pub findings: Vec<Finding>,
    /// Each part that is read.
    pub parts: BTreeMap<Part, PartStatus>,
    /// Until when the credential is good, by itself or by the tenant's word, where anybody knows.
    pub credential_ends: Option<OffsetDateTime>,
    /// Whether the credential from before is kept yet.
    pub keeps_former_credential: bool,
    /// Whether the one that came in its place was refused, so that it is used again.
    pub fell_back: bool,
    /// Of which kind the credential is that is in use.
    pub credential_kind: &'static str,
    /// Permissions that are missing for the parts that are read; any one of each suffices. Nothing while there is no
    /// token.
    pub missing: Vec<&'static [&'static str]>,
    /// Permissions to change something, which Weir never needs.
    pub too_much: Vec<String>,
    /// How far the clock here is behind Microsoft's, once there was an answer.
    pub skew: Option<time::Duration>,
    /// Epoch of the snapshot that was published last.
    pub epoch: u64,
}

/// How a part stands.
#[derive(Clone, Debug)]
pub struct PartStatus {
    /// The worst of it.
    pub state: State,
    /// Why, the worst first.
    pub findings: Vec<Finding>,
    /// When it was last known to be current.
    pub last_success: Option<OffsetDateTime>,
    /// When a round last ended.
    pub last_attempt: Option<OffsetDateTime>,
    /// What waits for a person.
    pub held: Option<Held>,
    /// Whether a round runs.
    pub is_running: bool,
    /// In how long the next one begins.
    pub next_in: Duration,
    /// How many failed in a row.
    pub failures: u32,
}

impl Engine {
    pub(super) async fn status(&self) -> Result<Status, StoreError> {
        let store = self.store.clone();
        let registration = self.graph.registration();
        let owner = registration.clone();
        let (states, own) =
            blocking(move || Ok::<_, StoreError>((store.parts()?, own(&store, &owner)?))).await?;
        let now = self.clock.now();
        let parts: BTreeMap<Part, PartStatus> = self
            .tasks
            .iter()
            .map(|(part, task)| {
                let state = states.get(part).cloned().unwrap_or_default();
                (*part, self.part(*part, task, state, now))
            })
            .collect();
        let mut findings = self.trouble.clone();
        match &self.connection {
            Connection::Disconnected => findings.push(Finding::disconnected(registration)),
            Connection::Failed { finding, .. }
            | Connection::Proving {
                spreads: Some(finding),
            } => findings.push((**finding).clone()),
            Connection::Proving { .. } | Connection::Proved => (),
        }
        findings.extend(self.refused.clone());
        let read: Vec<Part> = self.tasks.keys().copied().collect();
        let said = self.tokens.state(registration).said;
        if let Some(said) = &said {
            findings.extend(Finding::of_claims(said, registration, &read));
        }
        let skew = self.tokens.skew();
        findings.extend(skew.and_then(|skew| Finding::of_skew(skew, registration)));
        let by_itself = registration.credential.expires();
        let ends = by_itself.into_iter().chain(own.ends).min();
        findings.extend(ends.and_then(|ends| Finding::of_end(registration, ends, now)));
        findings.extend(
            own.since
                .and_then(|since| Finding::of_age(registration, since, now)),
        );
        let all = parts.values().flat_map(|part| &part.findings);
        Ok(Status {
            state: worst(all.chain(&findings)),
            findings,
            parts,
            credential_ends: ends,
            keeps_former_credential: self.former.is_some(),
            fell_back: self.refused.is_some(),
            credential_kind: registration.credential.kind(),
            missing: said
                .as_ref()
                .map_or_else(Vec::new, |said| missing(&said.roles, &read)),
            too_much: said.map_or_else(Vec::new, |said| too_much(&said.roles)),
            skew,
            epoch: self.epoch,
        })
    }

    fn part(&self, part: Part, task: &Task, state: PartState, now: OffsetDateTime) -> PartStatus {
        let registration = self.graph.registration();
        let mut findings: Vec<Finding> =
            task.finding.iter().chain(&task.without).cloned().collect();
        if let Some(held) = &state.held {
            let reasons: Vec<String> = held.reasons.iter().map(ToString::to_string).collect();
            let what = format!("{} ({})", reasons.join("; "), held.digest);
            findings.push(Finding::of_hold(part, &what, registration));
        }
        // Four rounds that did not come are no accident any more.
        let at_most = time::Duration::try_from(4 * task.cadence).unwrap_or(time::Duration::MAX);
        let was_tried = state.last_success.is_some() || task.failures > 0;
        let is_off =
            self.connection.is_disconnected() || task.finding.as_ref().is_some_and(is_absent);
        if was_tried && !is_off {
            let old = Finding::of_staleness(part, state.last_success, at_most, registration, now);
            findings.extend(old);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.state));
        PartStatus {
            state: worst(&findings),
            findings,
            last_success: state.last_success,
            last_attempt: state.last_attempt,
            held: state.held,
            is_running: task.is_running,
            next_in: task.next.saturating_sub(self.clock.elapsed()),
            failures: task.failures,
        }
    }
}

/// What the tenant knows of the credential that is in use.
#[derive(Default)]
struct Own {
    since: Option<OffsetDateTime>,
    ends: Option<OffsetDateTime>,
}

fn own(store: &Store, registration: &Registration) -> Result<Own, StoreError> {
    let documents = store.read()?.documents(Part::Credentials)?;
    let read = documents
        .values()
        .filter_map(|bytes| serde_json::from_slice::<Application>(bytes).ok());
    let app = read
        .into_iter()
        .find(|app| app.app_id == registration.client);
    let Some(app) = app else {
        return Ok(Own::default());
    };
    let found = match &registration.credential {
        Credential::Certificate(certificate) => app.key_credentials.into_iter().find(|key| {
            let name = key.custom_key_identifier.as_deref();
            name.is_some_and(|name| certificate.is_named(name))
        }),
        // Several secrets may begin alike: then nobody knows which it is.
        Credential::Secret(secret) => {
            let hint = Some(secret.hint());
            let mut alike = app
                .password_credentials
                .into_iter()
                .filter(|key| key.hint == hint);
            alike.next().filter(|_| alike.next().is_none())
        }
        Credential::ManagedIdentity(_) | Credential::Unusable(_) => None,
    };
    Ok(found.map_or_else(Own::default, |key| Own {
        since: key.start_date_time,
        ends: key.end_date_time,
    }))
}

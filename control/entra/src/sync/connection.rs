//! Who asks, and whether the tenant is the one that was meant: proved before anything is read, and again when the
//! credential changes.

use std::sync::Arc;
use std::time::Duration;

use super::handle::{CommandError, Reply};
use super::{Engine, Job};
use crate::credential::{Credential, Registration};
use crate::graph::{Graph, Proof, ProofError};
use crate::health::{Finding, Reason};
use crate::model::Part;

/// How long the credential from before is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// The first wait after a proof that failed, and the longest.
const WAITS: [Duration; 2] = [Duration::from_secs(30), Duration::from_mins(15)];
/// The permission to be told of members that are hidden.
const HIDDEN: &str = "Member.Read.Hidden";

/// How the connection stands.
pub(super) enum Connection {
    /// It is being proved; what has just been changed may need its time, which is no fault.
    Proving { spreads: Option<Box<Finding>> },
    /// The tenant is the right one.
    Proved,
    /// It could not be proved.
    Failed {
        finding: Box<Finding>,
        again: Duration,
    },
    /// Nothing is collected, by somebody's decision.
    Disconnected,
}

impl Connection {
    pub(super) fn is_proved(&self) -> bool {
        matches!(self, Self::Proved)
    }

    pub(super) fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl Engine {
    /// Proves that the tenant is the right one, before anything is read. `is_new`: what was just consented to may need
    /// its time.
    pub(super) fn prove(&mut self, is_new: bool) {
        let spreads = is_new.then(|| {
            let words = "the connection is new, and is being tried".to_owned();
            Box::new(Finding::of(
                Reason::Spreading,
                words,
                self.graph.registration(),
            ))
        });
        self.connection = Connection::Proving { spreads };
        let (graph, parts) = (Arc::clone(&self.graph), self.parts());
        self.jobs.spawn(async move {
            let proof = graph.prove(&parts, is_new).await;
            Job::Proved(graph, proof)
        });
    }

    /// What came of it.
    pub(super) fn proved(&mut self, graph: &Arc<Graph>, proof: Result<Proof, ProofError>) {
        let is_awaited = matches!(self.connection, Connection::Proving { .. });
        if !is_awaited || !Arc::ptr_eq(graph, &self.graph) {
            return;
        }
        match proof {
            Ok(_) => {
                self.proofs_failed = 0;
                self.is_connected();
            }
            Err(error) => self.unproved(Finding::of_proof(&error, graph.registration())),
        }
    }

    /// The tenant is not, or not any more, known to be the right one: nothing is read until it is.
    pub(super) fn unproved(&mut self, finding: Finding) {
        let [first, longest] = WAITS;
        let wait = first * 2_u32.saturating_pow(self.proofs_failed.min(16));
        self.proofs_failed += 1;
        let wait = wait.min(longest).mul_f64(0.75 + 0.5 * self.clock.chance());
        self.answer_all(&finding);
        self.connection = Connection::Failed {
            finding: Box::new(finding),
            again: self.clock.elapsed() + wait,
        };
    }

    fn is_connected(&mut self) {
        self.connection = Connection::Proved;
        self.note_hidden();
    }

    /// Tries another credential beside the present one.
    pub(super) fn try_credential(&mut self, credential: Credential, reply: Reply<()>) {
        let present = self.graph.registration();
        let registration = Arc::new(Registration {
            cloud: present.cloud.clone(),
            tenant: present.tenant,
            client: present.client,
            credential,
        });
        let (tokens, clock) = (Arc::clone(&self.tokens), Arc::clone(&self.clock));
        let graph = match Graph::new(
            Arc::clone(&registration),
            tokens,
            &self.settings.network,
            clock,
        ) {
            Ok(graph) => Arc::new(graph),
            Err(error) => {
                let finding = Finding::of(Reason::Fault, error.to_string(), &registration);
                return drop(reply.send(Err(CommandError::Refused(Box::new(finding)))));
            }
        };
        let parts = self.parts();
        self.jobs.spawn(async move {
            let proof = graph.prove(&parts, true).await;
            Job::Tried(graph, proof, reply)
        });
    }

    /// What came of it: the other one is gone over to, or all stays as it was.
    pub(super) fn tried(
        &mut self,
        graph: Arc<Graph>,
        proof: Result<Proof, ProofError>,
        reply: Reply<()>,
    ) {
        if let Err(error) = proof {
            let finding = Box::new(Finding::of_proof(&error, graph.registration()));
            return drop(reply.send(Err(CommandError::Refused(finding))));
        }
        let former = std::mem::replace(&mut self.graph, graph);
        self.former = Some((former, self.clock.elapsed() + KEPT_FOR));
        self.refused = None;
        if !self.connection.is_disconnected() {
            self.is_connected();
            self.wake_all();
        }
        drop(reply.send(Ok(())));
    }

    /// A credential was refused for good that came in the place of another one not long ago: that one is used again.
    pub(super) fn fall_back(&mut self, refused: &Arc<Graph>, finding: &Finding) {
        if !Arc::ptr_eq(refused, &self.graph) {
            return;
        }
        let now = self.clock.elapsed();
        if let Some((former, _)) = self.former.take().filter(|(_, until)| now < *until) {
            self.graph = former;
            self.refused = Some(finding.clone());
            self.wake_all();
        }
    }

    /// Lets the credential from before go once the present one has held.
    pub(super) fn forget_former(&mut self) {
        let now = self.clock.elapsed();
        if self.former.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.former = None;
            self.refused = None;
        }
    }

    /// Whether hidden members are told, as the token says.
    pub(super) fn note_hidden(&mut self) {
        let Some(said) = self.tokens.state(self.graph.registration()).said else {
            return;
        };
        let told = said.roles.iter().any(|role| role == HIDDEN);
        if told != self.hidden_is_told {
            self.hidden_is_told = told;
            self.picture_mut().set_hidden_is_told(told);
        }
    }

    pub(super) fn parts(&self) -> Vec<Part> {
        self.tasks.keys().copied().collect()
    }
}

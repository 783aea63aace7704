//! What others ask of the engine.

use std::sync::Arc;

use super::connection::Connection;
use super::handle::{Command, CommandError, Reply, Synced};
use super::{Engine, blocking};
use crate::health::Finding;
use crate::model::Part;
use crate::store::{Digest, StoreError};

/// What somebody decided about a round that is held.
pub(super) struct Decision {
    digest: Digest,
    approve: bool,
    by: String,
    reply: Reply<Part>,
}

impl Engine {
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Sync { part, full, reply } => self.sync(part, full, reply),
            Command::Decide {
                digest,
                approve,
                by,
                reply,
            } => {
                let decision = Decision {
                    digest,
                    approve,
                    by,
                    reply,
                };
                self.find_and_decide(decision).await;
            }
            Command::Disconnect { purge, by, reply } => {
                let done = self.disconnect(purge, by).await;
                drop(reply.send(done.map_err(CommandError::from)));
            }
            Command::Connect { reply } => {
                if self.connection.is_disconnected() {
                    self.wake_all();
                    self.prove(true);
                }
                drop(reply.send(Ok(())));
            }
            Command::Credential { credential, reply } => self.try_credential(credential, reply),
            Command::Guard { guard, reply } => {
                self.guard = Arc::new(guard);
                drop(reply.send(Ok(())));
            }
            Command::Status { reply } => {
                let status = self.status().await;
                drop(reply.send(status.map_err(CommandError::from)));
            }
        }
    }

    fn sync(&mut self, part: Option<Part>, full: bool, reply: Reply<Vec<Synced>>) {
        let refused = match part {
            _ if self.connection.is_disconnected() => Some(CommandError::Disconnected),
            Some(part) if !self.tasks.contains_key(&part) => Some(CommandError::NotRead(part)),
            _ => None,
        };
        if let Some(refused) = refused {
            return drop(reply.send(Err(refused)));
        }
        let parts = part.map_or_else(|| self.parts(), |part| vec![part]);
        self.wake(&parts, full, reply);
        if matches!(self.connection, Connection::Failed { .. }) {
            // Somebody may have put it right just now.
            self.tokens.forget(self.graph.registration());
            self.prove(false);
        }
    }

    /// Decides about what is held. Not while a round of the part runs: what that committed is taken up first.
    async fn find_and_decide(&mut self, decision: Decision) {
        let (store, digest) = (self.store.clone(), decision.digest);
        let found = blocking(move || {
            let parts = store.parts()?;
            let mut held = parts.into_values().filter_map(|state| state.held);
            let held = held.find(|held| held.digest == digest);
            held.ok_or(StoreError::NotHeld { digest })
        });
        match found.await {
            Err(error) => drop(decision.reply.send(Err(error.into()))),
            Ok(held) => {
                let part = held.part;
                if self.tasks.get(&part).is_some_and(|task| task.is_running) {
                    self.decisions.entry(part).or_default().push(decision);
                } else {
                    self.decide(part, decision).await;
                }
            }
        }
    }

    pub(super) async fn decide(&mut self, part: Part, decision: Decision) {
        let Decision {
            digest,
            approve,
            by,
            reply,
        } = decision;
        let (store, now) = (self.store.clone(), self.clock.now());
        let decided = blocking(move || {
            if approve {
                store
                    .approve(digest, &by, now)
                    .map(|approved| Some(approved.changes))
            } else {
                store.discard(digest, &by, now).map(|_| None)
            }
        })
        .await;
        match decided {
            Err(error) => drop(reply.send(Err(error.into()))),
            Ok(changes) => {
                if let Some(changes) = changes {
                    self.take_up(changes).await;
                }
                let now = self.clock.elapsed();
                if let Some(task) = self.tasks.get_mut(&part) {
                    task.wake(now, false);
                }
                self.decided.push((part, reply));
            }
        }
    }

    async fn disconnect(&mut self, purge: bool, by: String) -> Result<(), StoreError> {
        // Rounds that are past their last page may come to something still: before this, and all of it is taken up
        // again; or after this, and they are overtaken.
        self.jobs.shutdown().await;
        self.is_drawing = false;
        self.connection = Connection::Disconnected;
        let finding = Finding::disconnected(self.graph.registration());
        self.answer_all(&finding);
        for task in self.tasks.values_mut() {
            task.is_running = false;
        }
        for decision in std::mem::take(&mut self.decisions).into_values().flatten() {
            drop(decision.reply.send(Err(CommandError::Disconnected)));
        }
        self.tokens.forget(self.graph.registration());
        self.former = None;
        let (store, now) = (self.store.clone(), self.clock.now());
        let done = blocking(move || store.disconnect(purge, &by, now)).await;
        self.rebuild().await;
        done
    }
}

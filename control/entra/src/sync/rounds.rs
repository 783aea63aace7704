//! What is begun when it is due, and what is done with what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::broken::{Broken, code, is_absent};
use super::connection::Connection;
use super::handle::{Came, Reply, Synced};
use super::picture::{DrawError, Drawn, Picture, Revision};
use super::read::{Ended, Reader};
use super::{Engine, Job, blocking};
use crate::graph::{Graph, Priority};
use crate::health::{Finding, Reason};
use crate::model::{Changes, Part};
use crate::round::Outcome;

/// How often the journal's beginning is taken away.
const PRUNE_EVERY: Duration = Duration::from_hours(24);
/// What is not drawn is tried again after that time.
const DRAW_AGAIN: Duration = Duration::from_mins(5);
/// With clocks further apart than that, nothing is thrown away for its age.
const SURE: time::Duration = time::Duration::minutes(5);

/// Somebody who waits for rounds to end.
pub(super) struct Waiter {
    /// The number of the round that is waited for, of each part.
    left: BTreeMap<Part, u64>,
    done: Vec<Synced>,
    reply: Reply<Vec<Synced>>,
}

impl Engine {
    /// Begins whatever is due.
    pub(super) fn begin_due(&mut self) {
        let now = self.clock.elapsed();
        self.forget_former();
        self.begin_drawing(now);
        if matches!(self.connection, Connection::Failed { again, .. } if again <= now) {
            self.prove(false);
        }
        if !self.connection.is_proved() {
            return;
        }
        if self.prune_at <= now {
            self.prune_at = now + PRUNE_EVERY;
            self.prune();
        }
        let due = self.tasks.iter().filter(|(_, task)| task.is_due(now));
        let due: Vec<Part> = due.map(|(part, _)| *part).collect();
        for part in due {
            self.begin_round(part, now);
        }
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Duration {
        let waiting = self.tasks.values().filter(|task| !task.is_running);
        let next = match &self.connection {
            Connection::Proved => waiting.map(|task| task.next).min(),
            Connection::Failed { again, .. } => Some(*again),
            _ => None,
        };
        let draw = (self.picture().is_behind() && !self.is_drawing).then_some(self.draw_at);
        let former = self.former.as_ref().map(|(_, until)| *until);
        let next = [next, draw, former].into_iter().flatten().min();
        next.unwrap_or(self.clock.elapsed() + PRUNE_EVERY)
    }

    fn begin_round(&mut self, part: Part, now: Duration) {
        let Some(task) = self.tasks.get_mut(&part) else {
            return;
        };
        let full = task.begin(now);
        let run = task.runs;
        if task
            .finding
            .as_ref()
            .is_some_and(|finding| finding.reason == Reason::ConsentMissing)
        {
            // An old token keeps its old permissions.
            self.tokens.forget(self.graph.registration());
        }
        let is_awaited = self
            .waiters
            .iter()
            .any(|waiter| waiter.left.contains_key(&part));
        let reader = Reader {
            graph: Arc::clone(&self.graph),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            guard: Arc::clone(&self.guard),
            keep: self.settings.keep,
            priority: if is_awaited || run == 1 {
                Priority::Normal
            } else {
                Priority::Low
            },
        };
        self.jobs.spawn(async move {
            let ended = reader.round(part, full).await;
            Job::Round(reader.graph, part, run, ended)
        });
    }

    /// What came of a round.
    pub(super) async fn round_ended(
        &mut self,
        graph: Arc<Graph>,
        part: Part,
        run: u64,
        ended: Result<Ended, Broken>,
    ) {
        let outcome = match ended {
            Ok(ended) => Ok(self.succeeded(&graph, part, ended).await),
            Err(broken) => Err(self.failed(&graph, part, &broken).await),
        };
        self.note_hidden();
        self.grow_old();
        for waiter in &mut self.waiters {
            if waiter.left.get(&part).is_some_and(|wanted| *wanted <= run) {
                waiter.left.remove(&part);
                let outcome = outcome.clone();
                waiter.done.push(Synced { part, outcome });
            }
        }
        for decision in self.decisions.remove(&part).unwrap_or_default() {
            self.decide(part, decision).await;
        }
    }

    async fn succeeded(&mut self, graph: &Graph, part: Part, ended: Ended) -> Came {
        let (came, changes) = match ended.outcome {
            Outcome::Committed(changes) => (Came::Committed, Some(changes)),
            Outcome::Unchanged => (Came::Unchanged, None),
            Outcome::Held { held, applied } => (Came::Held(held.digest), Some(applied)),
        };
        if let Some(changes) = changes {
            self.take_up(changes).await;
        }
        let registration = graph.registration();
        let without = ended.without.iter();
        let without = without.map(|failure| Finding::of_failure(failure, registration));
        let (now, chance) = (self.clock.elapsed(), self.clock.chance());
        let full = ended.is_full.then_some(self.settings.full_every);
        if let Some(task) = self.tasks.get_mut(&part) {
            task.without = without.collect();
            task.succeeded(now, chance, full, matches!(came, Came::Held(_)));
        }
        came
    }

    async fn failed(&mut self, graph: &Arc<Graph>, part: Part, broken: &Broken) -> Box<Finding> {
        let finding = broken.finding(part, graph.registration());
        let (store, name, at) = (self.store.clone(), code(&finding), self.clock.now());
        let noted = blocking(move || store.failed(part, &name, at)).await;
        self.note(
            noted
                .err()
                .map(|error| Finding::of_store(&error, Some(part))),
        );
        let (now, chance) = (self.clock.elapsed(), self.clock.chance());
        if let Some(task) = self.tasks.get_mut(&part) {
            task.failures = if is_absent(&finding) {
                0
            } else {
                task.failures + 1
            };
            let wait = broken.wait(task.failures, task.cadence, chance);
            task.failed(now, wait, finding.clone());
        }
        if broken.is_refusal() {
            self.fall_back(graph, &finding);
        }
        if let Broken::OtherTenant(_) = broken {
            self.unproved(finding.clone());
        }
        Box::new(finding)
    }

    /// Takes up what is in force now, and tells at once what is to be acted on.
    pub(super) async fn take_up(&mut self, changes: Changes) {
        let mut picture = self.picture.take().expect("it is put back below, always");
        let guard = Arc::clone(&self.guard);
        let (picture, revision) = blocking(move || {
            let revision = picture.apply(changes, &guard);
            (picture, revision)
        })
        .await;
        self.picture = Some(picture);
        self.draw_at = self.clock.elapsed();
        if !revision.is_empty() {
            self.tell(Revision {
                epoch: self.epoch,
                ..revision
            });
        }
    }

    fn tell(&mut self, revision: Revision) {
        if let Some(waiting) = &mut self.backlog {
            waiting.add(revision);
        } else if let Err(tokio::sync::mpsc::error::TrySendError::Full(revision)) =
            self.revisions.try_send(revision)
        {
            self.backlog = Some(revision);
        }
    }

    /// Has the picture drawn again where what it says of its age is too old, although nothing changed.
    fn grow_old(&mut self) {
        let refresh = (self.settings.max_age / 8).min(Duration::from_mins(30));
        let refresh = i64::try_from(refresh.as_secs()).unwrap_or(i64::MAX);
        let now = self.clock.now().unix_timestamp();
        let is_old = |checked: Option<i64>| checked.is_none_or(|at| now - at >= refresh);
        let parts = [Part::Users, Part::Groups, Part::Roles];
        let read = parts.map(|part| {
            let task = self.tasks.get(&part);
            task.is_some_and(|task| task.finding.is_none() && task.runs > 0 && !task.is_running)
        });
        let picture = self.picture_mut();
        let checked = picture.checked();
        if checked
            .into_iter()
            .zip(read)
            .any(|(at, read)| read && is_old(at))
        {
            picture.refresh();
        }
    }

    fn begin_drawing(&mut self, now: Duration) {
        if self.is_drawing || self.draw_at > now || !self.picture().is_behind() {
            return;
        }
        let (epoch, at) = (self.next_epoch(), self.clock.now());
        let store = self.store.clone();
        let drawing = self.picture_mut().begin(&store, epoch, at);
        self.is_drawing = true;
        self.jobs.spawn(async move {
            let drawn = blocking(move || drawing.map_err(DrawError::from)?.draw(&store)).await;
            Job::Drawn(drawn.map(Box::new))
        });
    }

    /// What came of a drawing. If nothing did, all is taken up from the store again.
    pub(super) async fn drawn(&mut self, drawn: Result<Box<Drawn>, DrawError>) {
        self.is_drawing = false;
        match drawn {
            Ok(drawn) => {
                self.picture_mut().drawn(*drawn);
                self.note(None);
                self.publish();
            }
            Err(_) => self.rebuild().await,
        }
    }

    /// Takes everything up from the store, and publishes it.
    pub(super) async fn rebuild(&mut self) {
        let (store, tenant) = (self.store.clone(), self.graph.registration().tenant);
        let (epoch, at, told) = (self.next_epoch(), self.clock.now(), self.hidden_is_told);
        match blocking(move || Picture::of(&store, tenant, epoch, at, told)).await {
            Ok(picture) => {
                self.picture = Some(picture);
                self.note(None);
                self.publish();
            }
            Err(error) => {
                self.note(Some(error.finding()));
                self.picture_mut().refresh();
                self.draw_at = self.clock.elapsed() + DRAW_AGAIN;
            }
        }
    }

    fn publish(&mut self) {
        let published = self.picture().published();
        self.epoch = published.epoch;
        self.snapshots.send_replace(Some(published));
    }

    /// Answers those who have waited for long enough.
    pub(super) fn answer_waiters(&mut self) {
        if self.is_drawing || self.picture().is_behind() && self.draw_at <= self.clock.elapsed() {
            return;
        }
        let (over, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|waiter| waiter.left.is_empty());
        self.waiters = left;
        for (part, reply) in self.decided.drain(..) {
            drop(reply.send(Ok(part)));
        }
        for waiter in over {
            drop(waiter.reply.send(Ok(waiter.done)));
        }
    }

    /// Tells everybody who waits that nothing comes.
    pub(super) fn answer_all(&mut self, finding: &Finding) {
        for waiter in &mut self.waiters {
            for (part, _) in std::mem::take(&mut waiter.left) {
                let outcome = Err(Box::new(finding.clone()));
                waiter.done.push(Synced { part, outcome });
            }
        }
    }

    /// Has parts read now.
    pub(super) fn wake(&mut self, parts: &[Part], full: bool, reply: Reply<Vec<Synced>>) {
        let now = self.clock.elapsed();
        let mut left = BTreeMap::new();
        for (part, task) in self
            .tasks
            .iter_mut()
            .filter(|(part, _)| parts.contains(part))
        {
            left.insert(*part, task.wake(now, full));
        }
        self.waiters.push(Waiter {
            left,
            done: Vec::new(),
            reply,
        });
    }

    /// Has all parts read now.
    pub(super) fn wake_all(&mut self) {
        let now = self.clock.elapsed();
        for task in self.tasks.values_mut() {
            task.wake(now, false);
        }
    }

    fn prune(&mut self) {
        let is_sure = self.tokens.skew().is_some_and(|skew| skew.abs() < SURE);
        let keep = time::Duration::try_from(self.settings.keep.journal).ok();
        let now = self.clock.now();
        let until = keep.and_then(|keep| now.checked_sub(keep));
        if let Some(until) = until.filter(|_| is_sure) {
            let store = self.store.clone();
            self.jobs.spawn(async move {
                Job::Pruned(blocking(move || store.prune(until, now)).await.map(drop))
            });
        }
    }

    /// What is wrong here, and not in the tenant; nothing when it works again.
    pub(super) fn note(&mut self, finding: Option<Finding>) {
        self.trouble = finding.into_iter().collect();
    }
}

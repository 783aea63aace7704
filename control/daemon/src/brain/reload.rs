//! Reloads: the configuration file put in force, for good or until somebody confirms it, and the way back.
//!
//! In: who asks for what, and the end of the time in which nobody confirmed. Out: generations, the journal
//! of how to go back ([`crate::undo`]), and what status tells of both. It never writes the configuration
//! file: what was rolled back is on the disk as the administrator left it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;
use weir_api::{Actor, Changed, PendingReload, ReloadRequest, Reloads, RolledBack};
use weir_config::{Config, Kernel, Nat};

use super::{Brain, Changing, blocking, words};
use crate::first::Begun;
use crate::generation::Candidate;
use crate::undo::{Journal, Pending, Undo};
use crate::{Error, changes, clock, explain};

/// The longest time in which a reload can be confirmed: a day.
const LONGEST: u64 = 86_400;
/// Time until a rollback that was refused is tried again.
const BACK_AGAIN: Duration = Duration::from_secs(5);

impl Brain {
    /// Does what a client of the control socket asked for.
    pub async fn reload_as_asked(
        &self,
        who: Actor,
        wanted: ReloadRequest,
    ) -> Result<Changed, Error> {
        match wanted.confirm_within {
            None => self.reload(who, wanted.dry_run).await,
            Some(_) if wanted.dry_run => Err(Error::Request(
                "`dry_run` puts nothing in force, so there is nothing to confirm: leave one of both out"
                    .to_owned(),
            )),
            Some(seconds @ 1..=LONGEST) => {
                self.reload_for(who, Duration::from_secs(seconds)).await
            }
            Some(seconds) => Err(Error::Request(format!(
                "`confirm_within` is {seconds} seconds; 1 to {LONGEST} are possible"
            ))),
        }
    }

    /// Loads the configuration and everything that it names anew. With `dry_run` nothing is published, and
    /// what would change is told.
    pub async fn reload(&self, who: Actor, dry_run: bool) -> Result<Changed, Error> {
        if dry_run {
            return self.try_reload().await;
        }
        self.to_its_end(|brain| async move { brain.reload_now(who, None).await })
            .await
    }

    /// The same, and unless it is confirmed within this time, what is in force now is put back. While another
    /// one waits to be confirmed, it takes its place, and what is put back stays the same.
    pub async fn reload_for(&self, who: Actor, within: Duration) -> Result<Changed, Error> {
        self.to_its_end(|brain| async move { brain.reload_now(who, Some(within)).await })
            .await
    }

    /// Keeps what waits to be confirmed.
    pub async fn confirm(&self, who: Actor) -> Result<Changed, Error> {
        let confirm = |brain: Arc<Self>| async move {
            let mut changing = brain.changing.lock().await;
            let result = brain.confirm_now(&mut changing).await;
            brain.note_change(who, "confirm", String::new(), &result);
            result
        };
        self.to_its_end(confirm).await
    }

    /// Puts back what was in force before the last reload, or before the one that waits to be confirmed.
    pub async fn undo(&self, who: Actor) -> Result<Changed, Error> {
        let undo = |brain: Arc<Self>| async move {
            let mut changing = brain.changing.lock().await;
            let why = format!("{who} asked for it");
            brain.go_back_for(&mut changing, who, "undo", why).await
        };
        self.to_its_end(undo).await
    }

    async fn try_reload(&self) -> Result<Changed, Error> {
        let running = self.running();
        let (candidate, named) = self.read(self.parts.config.clone()).await?;
        candidate.keeps_entries_of(&running.candidate)?;
        let mut warnings = needs_restart(&running.candidate, &candidate);
        warnings.extend(words(&candidate));
        warnings.extend(named);
        let number = running.number;
        let changes = blocking(move || Ok(changes::between(&running, &candidate))).await?;
        Ok(Changed {
            generation: number,
            warnings,
            dry_run: true,
            changes: Some(Box::new(changes)),
            ..Changed::default()
        })
    }

    /// Reads what is to be put in force, and holds the names in its rules against the tenant.
    async fn read(&self, path: PathBuf) -> Result<(Candidate, Vec<String>), Error> {
        let in_force = self.directory();
        blocking(move || {
            let candidate = Candidate::read(&path)?;
            let named = explain::names(&candidate, in_force.as_ref())?;
            Ok((candidate, named))
        })
        .await
    }

    async fn reload_now(&self, who: Actor, within: Option<Duration>) -> Result<Changed, Error> {
        let mut changing = self.changing.lock().await;
        self.parts.notify.reloading();
        let result = self.reload_with(&mut changing, &who, within).await;
        self.parts.notify.ready();
        let slip = result.as_ref().is_err_and(Error::is_a_slip);
        self.noted_mut(|noted| {
            let reloads = &mut noted.reloads;
            match &result {
                Ok(_) => {
                    reloads.successes += 1;
                    reloads.last_success = Some(clock::now());
                    reloads.last_successful = true;
                    noted.config_refused = None;
                    noted.back_refused = None;
                }
                Err(_) if slip => {}
                Err(_) => {
                    reloads.failures += 1;
                    reloads.last_failure = Some(clock::now());
                    reloads.last_successful = false;
                }
            }
        });
        let what = match within {
            Some(within) => format!("to be confirmed within {} s", within.as_secs()),
            None => String::new(),
        };
        self.note_change(who, "reload", what, &result);
        result
    }

    async fn reload_with(
        &self,
        changing: &mut Changing,
        who: &Actor,
        within: Option<Duration>,
    ) -> Result<Changed, Error> {
        if let (Some(pending), None) = (&changing.undo.journal().pending, within) {
            return Err(Error::Unconfirmed {
                generation: pending.generation,
                left: pending.left().as_secs(),
            });
        }
        let running = self.running();
        let (candidate, named) = self.read(self.parts.config.clone()).await?;
        let mut warnings = needs_restart(&running.candidate, &candidate);
        warnings.extend(words(&candidate));
        warnings.extend(named);
        candidate.keeps_entries_of(&running.candidate)?;
        let state = |candidate: &Candidate| candidate.config().appliance.state.clone();
        if within.is_some() && state(&candidate) != state(&running.candidate) {
            return Err(Error::StateMoves);
        }
        let (number, who) = (changing.numbers.coming(), who.to_string());
        let digest = candidate.loaded.digest.clone();
        let next = candidate.clone();
        let (journal, in_memory) = changing.as_it_is();
        changing
            .write_down(move |undo| {
                let pending = within.map(|within| Pending::new(within, who, number, &digest));
                undo.prepare(&running, &next, pending.transpose()?)
            })
            .await?;
        let result = self.publish(changing, candidate, warnings).await;
        if let Err(refused) = &result {
            changing.take_back(refused, journal, in_memory).await;
        }
        self.journal.send_replace(changing.undo.journal().clone());
        result.map(|changed| Changed {
            pending: self.reloads_status().pending,
            ..changed
        })
    }

    async fn confirm_now(&self, changing: &mut Changing) -> Result<Changed, Error> {
        if changing.undo.journal().pending.is_none() {
            return Err(Error::NothingPending);
        }
        changing.write_down(Undo::confirm).await?;
        self.journal.send_replace(changing.undo.journal().clone());
        Ok(Changed {
            generation: self.running().number,
            ..Changed::default()
        })
    }

    /// Goes back by one reload, and says who did it and why.
    async fn go_back_for(
        &self,
        changing: &mut Changing,
        who: Actor,
        action: &str,
        why: String,
    ) -> Result<Changed, Error> {
        let result = self.back_to_before(changing, &who, &why).await;
        let told = result.as_ref().err().filter(|error| !error.is_a_slip());
        let refused = told.map(ToString::to_string);
        self.noted_mut(|noted| {
            if result.is_ok() {
                noted.config_refused = None;
                taken_back(&mut noted.reloads);
            }
            noted.back_refused = refused;
        });
        let what = match changing.undo.journal().before.as_ref() {
            Some(before) if result.is_ok() => {
                format!(
                    "{why}: what generation {} was is put back",
                    before.generation
                )
            }
            _ => why,
        };
        self.note_change(who, action, what, &result);
        result
    }

    async fn back_to_before(
        &self,
        changing: &mut Changing,
        who: &Actor,
        why: &str,
    ) -> Result<Changed, Error> {
        if changing.undo.journal().undo_to().is_none() {
            return Err(Error::NothingToUndo);
        }
        let digest = self.running().candidate.loaded.digest.clone();
        let (journal, in_memory) = changing.as_it_is();
        let (config, who, why) = (self.parts.config.clone(), who.to_string(), why.to_owned());
        let candidate = changing
            .write_down(move |undo| {
                let candidate = undo.back(&config)?;
                undo.go_back(who, why, digest, &candidate)?;
                Ok(candidate)
            })
            .await?;
        let warnings = words(&candidate);
        let result = self.publish(changing, candidate, warnings).await;
        if let Err(refused) = &result {
            changing.take_back(refused, journal, in_memory).await;
        }
        self.journal.send_replace(changing.undo.journal().clone());
        result
    }

    /// Goes back when nobody confirms in time.
    pub(super) async fn guard_pending(&self) {
        let mut journal = self.journal.subscribe();
        loop {
            let pending = journal.borrow_and_update().pending.clone();
            let over = async {
                match &pending {
                    Some(pending) => sleep(pending.left()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = journal.changed() => {
                    changed.expect("the brain is held here");
                    continue;
                }
                () = over => {}
            }
            let back = |brain: Arc<Self>| async move { brain.nobody_confirmed().await };
            if self.to_its_end(back).await.is_err() {
                sleep(BACK_AGAIN).await;
            }
        }
    }

    async fn nobody_confirmed(&self) -> Result<Changed, Error> {
        let mut changing = self.changing.lock().await;
        let is_over = |pending: &Pending| pending.left().is_zero();
        let number = match &changing.undo.journal().pending {
            Some(pending) if is_over(pending) => pending.generation,
            // Somebody was quicker.
            _ => return Ok(Changed::default()),
        };
        let why = format!("nobody confirmed generation {number}");
        self.go_back_for(&mut changing, Actor::Weir, "rollback", why)
            .await
    }

    /// Writes down what a start has made of the journal.
    pub(super) async fn settle(&self, begun: Begun) {
        let mut changing = self.changing.lock().await;
        let running = self.running();
        let journal = changing.undo.journal().clone();
        let result = match (&begun, &journal.pending) {
            (Begun::Back(why), Some(pending)) => {
                let (who, why) = (Actor::Weir.to_string(), why.clone());
                let digest = pending.digest.clone();
                let candidate = running.candidate.clone();
                changing
                    .write_down(move |undo| undo.go_back(who, why, digest, &candidate))
                    .await
            }
            // Somebody has written another file since.
            (Begun::File, None) if journal.rolled_back.is_some() => {
                changing.write_down(Undo::forget_rolled_back).await
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(%error, "what a start has made of reloads cannot be written down");
        }
        self.journal.send_replace(changing.undo.journal().clone());
        let told = match begun {
            Begun::Back(why) => Ok(format!(
                "{why}: generation {} is what was in force before it",
                running.number
            )),
            Begun::Instead(why) => Err(why),
            Begun::File | Begun::Unconfirmed | Begun::StaysBack => return,
        };
        self.note(Actor::Weir, "rollback", told);
    }

    /// Whether something was rolled back, and the files that name it are as they were.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.journal.borrow().rolled_back.is_some()
    }

    /// What status tells of reloads.
    pub(crate) fn reloads_status(&self) -> Reloads {
        let noted = self.noted();
        let journal = self.journal.borrow();
        let before = journal.before.as_ref().map_or(0, |it| it.generation);
        Reloads {
            pending: journal.pending.as_ref().map(|pending| {
                let left = pending.left();
                PendingReload {
                    generation: pending.generation,
                    back_to: before,
                    until: clock::text(OffsetDateTime::now_utc() + left),
                    seconds_left: left.as_secs(),
                    who: pending.who.clone(),
                }
            }),
            rolled_back: journal.rolled_back.as_ref().map(|rolled| RolledBack {
                time: rolled.time.clone(),
                who: rolled.who.clone(),
                why: rolled.why.clone(),
                back_to: before,
                file_differs: rolled.digest != self.running().candidate.loaded.digest,
            }),
            undo_to: journal.undo_to(),
            ..noted.reloads
        }
    }
}

impl Changing {
    /// The journal and what belongs to it, for [`Self::take_back`].
    fn as_it_is(&self) -> (Journal, Option<Candidate>) {
        (self.undo.journal().clone(), self.undo.in_memory())
    }

    /// Changes the journal, off the runtime's own threads.
    async fn write_down<T: Send + 'static>(
        &mut self,
        change: impl FnOnce(&mut Undo) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let mut undo = self.undo.clone();
        let (undo, result) = blocking(move || {
            let result = change(&mut undo);
            Ok((undo, result))
        })
        .await?;
        self.undo = undo;
        result
    }

    /// What was written down was refused by a plane, and did not happen.
    async fn take_back(&mut self, refused: &Error, journal: Journal, in_memory: Option<Candidate>) {
        let restore = move |undo: &mut Undo| undo.restore(journal, in_memory);
        if let Err(error) = self.write_down(restore).await {
            tracing::error!(%error, %refused, "the journal of reloads tells of what was refused");
        }
    }
}

/// What a start says of the configuration file.
pub(super) fn at_start(config_refused: Option<&String>, begun: &Begun) -> Reloads {
    let mut reloads = Reloads::default();
    match begun {
        Begun::Back(_) => taken_back(&mut reloads),
        Begun::StaysBack | Begun::Instead(_) => {}
        Begun::File | Begun::Unconfirmed if config_refused.is_some() => {
            reloads.last_failure = Some(clock::now());
        }
        Begun::File | Begun::Unconfirmed => {
            reloads.last_successful = true;
            reloads.last_success = Some(clock::now());
        }
    }
    reloads
}

fn taken_back(reloads: &mut Reloads) {
    reloads.rollbacks += 1;
    reloads.last_successful = false;
    reloads.last_failure = Some(clock::now());
}

/// Settings that are read once, at the start.
fn needs_restart(old: &Candidate, new: &Candidate) -> Vec<String> {
    let (old, new) = (old.config(), new.config());
    let mut warnings = Vec::new();
    let mut compare = |changed: bool, what: &str| {
        if changed {
            warnings.push(format!(
                "{what} changed: it takes effect when weir-control is restarted"
            ));
        }
    };
    let at_start = |config: &Config| Kernel {
        drain_window: Duration::ZERO,
        nat: Nat {
            addresses: Vec::new(),
            ports: 0..=0,
        },
        ..config.kernel.clone()
    };
    compare(at_start(old) != at_start(new), "[kernel]");
    compare(
        old.appliance.run != new.appliance.run,
        "`run` in [appliance]",
    );
    compare(
        old.appliance.state != new.appliance.state,
        "`state` in [appliance]",
    );
    compare(
        old.appliance.control_group != new.appliance.control_group,
        "`control_group` in [appliance]",
    );
    compare(
        old.appliance.read_group != new.appliance.read_group,
        "`read_group` in [appliance]",
    );
    compare(
        old.appliance.proxy_user != new.appliance.proxy_user,
        "`proxy_user` in [appliance]",
    );
    warnings
}

//! What the brain does unasked: it looks after the list files, the proxy and the kernel plane, and keeps a
//! copy of what is in force.
//!
//! In: the stamps of the list files, the heartbeat of the proxy, what the kernel plane still has. Out:
//! changed lists in force, the *fail mode* (what each service wants of the proxy's classes while no proxy
//! works), things put back in the kernel that somebody took away, and the sign of life for the service
//! manager. It never hands a class to anyone else than the services say.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};
use weir_api::Actor;

use super::grace::Grace;
use super::health::{self, Health};
use super::{Brain, blocking};
use crate::last_good::LastGood;
use crate::watch::{self, Watch, stamps};

/// Time until a copy that could not be made is tried again.
const COPY_AGAIN: Duration = Duration::from_secs(5);
/// Time between two looks at whether the kernel plane still has what it was given.
const HOLD_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at whether the servers answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Brain {
    /// Looks after everything until the runtime ends. All parts are one task, so that the sign of life
    /// that one of them gives holds for all.
    pub async fn guard(self: Arc<Self>) {
        tokio::join!(
            self.guard_proxy(),
            self.guard_kernel(),
            self.guard_lists(),
            self.watch_flows(),
            self.keep_copy(),
            self.guard_pending(),
            self.guard_windows(),
            self.guard_servers(),
            self.guard_grants(),
            self.guard_keys(),
            self.guard_feeds(),
            self.guard_entra(),
        );
    }

    /// Has the fail mode act when no proxy works, and ends it when one does.
    async fn guard_proxy(&self) {
        let peers = self.parts.link.peers();
        let mut grace = Grace::new(Instant::now());
        let mut tick = every(watch::INTERVAL);
        let mut in_kernel = true;
        let mut told = None;
        loop {
            tick.tick().await;
            let now = Instant::now();
            let serving = peers.borrow().serving(now);
            let running = self.running();
            let wait = running.candidate.config().appliance.restart_grace;
            let allowed = grace.look(now, serving, wait);
            if allowed != in_kernel && self.set_proxy_works(allowed).await {
                in_kernel = allowed;
            }
            let number = running.number;
            let state = (serving.is_some(), allowed, number);
            if told != Some(state) {
                told = Some(state);
                self.parts.notify.status(&match (serving, allowed) {
                    (Some(_), _) => format!("generation {number} in force"),
                    (None, true) => {
                        format!("generation {number} in force, waiting for weir-proxy")
                    }
                    (None, false) => format!("no weir-proxy works: {}", running.without_proxy()),
                });
            }
        }
    }

    /// Puts back what somebody took away from the kernel plane, and tells the service manager that the
    /// guard and the kernel plane's thread go on.
    async fn guard_kernel(&self) {
        let watchdog = self.parts.notify.watchdog();
        let pause = watchdog.map_or(HOLD_EVERY, |watchdog| HOLD_EVERY.min(watchdog / 3));
        let mut tick = every(pause);
        let mut trouble = None;
        loop {
            tick.tick().await;
            self.hold(&mut trouble).await;
            if watchdog.is_some() {
                self.parts.notify.alive();
            }
        }
    }

    /// Puts changed list files in force.
    async fn guard_lists(&self) {
        let mut watch = Watch::default();
        let mut tick = every(watch::INTERVAL);
        loop {
            tick.tick().await;
            let in_force = self.running().candidate.list_stamps.clone();
            let files: Vec<_> = in_force.keys().cloned().collect();
            if watch.settled(stamps(files), &in_force) {
                self.lists_changed().await;
            }
        }
    }

    /// Tells the kernel plane when drain windows end.
    async fn guard_windows(&self) {
        let mut draining = self.front.draining();
        loop {
            let next = draining.borrow_and_update().next;
            let ended = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = draining.changed() => {
                    changed.expect("the front is held here");
                    continue;
                }
                () = ended => {}
            }
            if let Err(error) = self.front.end_windows().await {
                tracing::error!(%error, "a drain window cannot be ended");
                sleep(COPY_AGAIN).await;
            }
        }
    }

    /// Takes servers that do not answer out of the choice, and puts back those that do again.
    async fn guard_servers(&self) {
        let mut health = Health::going_on(self.front.silent());
        let mut tick = every(LOOK_EVERY);
        loop {
            tick.tick().await;
            let servers = self.running().servers();
            let silent = health.note(&health::look(servers.clone()).await);
            let before = self.front.silent();
            if silent == before {
                continue;
            }
            if let Err(error) = self.front.set_silent(silent.clone()).await {
                tracing::error!(%error, "the servers cannot be changed");
                continue;
            }
            // One that was taken out of the configuration does not answer by that.
            let changed = silent.symmetric_difference(&before);
            for server in changed.filter(|server| servers.contains(server)) {
                let told = if silent.contains(server) {
                    Err(format!(
                        "{server} does not answer: it gets no new connections"
                    ))
                } else {
                    Ok(format!(
                        "{server} answers: it gets its share of new connections"
                    ))
                };
                self.note(Actor::Weir, "servers", told);
            }
        }
    }

    /// Keeps the copy that weir-control starts with when the files are broken.
    async fn keep_copy(&self) {
        let state = &self.running().candidate.config().appliance.state.clone();
        let mut copy = LastGood::new(state);
        loop {
            let generation = self.running();
            let number = generation.number;
            let saved = blocking(move || {
                let result = copy.save(&generation);
                Ok((copy, result))
            });
            let (back, result) = match saved.await {
                Ok(saved) => saved,
                Err(error) => (LastGood::new(state), Err(error)),
            };
            copy = back;
            let refused = result.err().map(|error| error.to_string());
            if let Some(error) = &refused
                && self.noted().copy_refused != refused
            {
                tracing::error!(%error, "the generation in force could not be copied");
            }
            let again = refused.is_some();
            self.noted_mut(|noted| {
                if !again {
                    noted.copied = Some(number);
                }
                noted.copy_refused = refused;
            });
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep(COPY_AGAIN), if again => {}
            }
        }
    }

    /// Tells of the same trouble once.
    async fn hold(&self, trouble: &mut Option<String>) {
        let told = match self.parts.plane.run(|plane| plane.hold()).await {
            Ok(Ok(back)) => Ok(back),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match told {
            Ok(back) => {
                *trouble = None;
                for what in back {
                    self.note(Actor::Weir, "kernel plane", Ok(what));
                }
            }
            Err(why) if trouble.as_ref() == Some(&why) => {}
            Err(why) => {
                *trouble = Some(why.clone());
                self.note(Actor::Weir, "kernel plane", Err(why));
            }
        }
    }

    /// Whether it could be done.
    async fn set_proxy_works(&self, works: bool) -> bool {
        if let Err(error) = self.front.set_proxy_works(works).await {
            tracing::error!(%error, works, "the fail mode cannot be changed");
            return false;
        }
        self.noted_mut(|noted| {
            noted.fail_mode = !works;
            noted.fail_mode_entered += u64::from(!works);
        });
        let what = if works {
            "a proxy serves again: its classes are handed to it".to_owned()
        } else {
            format!("no proxy works: {}", self.running().without_proxy())
        };
        self.note(Actor::Weir, "fail mode", Ok(what));
        true
    }
}

fn every(pause: Duration) -> Interval {
    let mut tick = interval(pause);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tick
}

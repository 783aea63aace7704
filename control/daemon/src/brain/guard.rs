//! What the brain does unasked: it looks after the list files, the proxy and the kernel plane.
//!
//! In: the stamps of the list files, the heartbeat of the proxy, what the kernel plane still has. Out:
//! changed lists in force, the *fail mode* (the kernel rejects what it would hand to a proxy that is not
//! alive) and things put back in the kernel that somebody took away. It never hands a class to anyone
//! else than the services say: without a proxy its classes are refused.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use weir_api::Actor;

use super::Brain;
use crate::Error;
use crate::watch::{self, Watch, stamps};

/// How long the proxy's classes may wait for a proxy before the kernel refuses them.
pub const FAIL_MODE_AFTER: Duration = Duration::from_secs(5);

/// Time between two looks at whether the kernel plane still has what it was given.
const HOLD_EVERY: Duration = Duration::from_secs(1);

impl Brain {
    /// Watches the list files and the proxy until the runtime ends.
    pub async fn guard(self: Arc<Self>) {
        let mut watch = Watch::default();
        let mut works = Instant::now();
        let mut tick = tokio::time::interval(watch::INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let peers = self.parts.link.peers();
        let mut told = None;
        let mut held = Instant::now();
        let mut trouble = None;
        loop {
            tick.tick().await;
            if held.elapsed() >= HOLD_EVERY {
                held = Instant::now();
                self.hold(&mut trouble).await;
            }
            let in_force = self.running().candidate.list_stamps.clone();
            let files: Vec<_> = in_force.keys().cloned().collect();
            if watch.settled(stamps(files), &in_force) {
                self.lists_changed().await;
            }
            let serving = peers.borrow().serving(Instant::now());
            if serving {
                works = Instant::now();
            }
            let allowed = serving || works.elapsed() < self.parts.fail_mode_after;
            self.set_proxy_works(allowed).await;
            if told != Some((serving, allowed)) {
                told = Some((serving, allowed));
                let number = self.running().number;
                self.parts.notify.status(&match (serving, allowed) {
                    (true, _) => format!("generation {number} in force"),
                    (false, true) => {
                        format!("generation {number} in force, waiting for weir-proxy")
                    }
                    (false, false) => "no weir-proxy is alive: its classes are rejected".to_owned(),
                });
            }
        }
    }

    /// Puts back what somebody took away from the kernel plane; tells of the same trouble once.
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

    async fn set_proxy_works(&self, works: bool) {
        let mut changing = self.changing.lock().await;
        if changing.proxy_works == works {
            return;
        }
        let services = self.running().kernel_services(works);
        let done = self
            .parts
            .plane
            .run(move |plane| plane.set_services(&services))
            .await;
        let result = match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::from(error)),
            Err(error) => Err(Error::from(error)),
        };
        if let Err(error) = result {
            tracing::error!(%error, works, "the fail mode cannot be changed");
            return;
        }
        changing.proxy_works = works;
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.fail_mode = !works;
            noted.fail_mode_entered += u64::from(!works);
        }
        let what = if works {
            "a proxy serves again: its classes are handed to it"
        } else {
            "no proxy is alive: its classes are rejected"
        };
        self.note(Actor::Weir, "fail mode", Ok(what.to_owned()));
    }
}

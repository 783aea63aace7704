//! The kernel plane's part of what is in force: a generation, and whether the proxy's classes are handed
//! to the proxy or each service's fail mode acts.
//!
//! Both change on the kernel plane's own thread, one after the other, so that neither waits for a change
//! that waits for a proxy: the fail mode comes on time, whatever goes on beside.
//!
//! The kernel gets the lists together with the classes that sources held within the drain window, and gets
//! them anew when a window ends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use weir_config::Config;
use weir_dataplane::ServiceSpec;
use weir_tables::{History, KernelTables, Lists, Transition};

use super::drain::Drain;
use super::health::Silent;
use crate::Error;
use crate::generation::{Candidate, Generation};
use crate::plane::{KernelPlane, Plane};
use crate::windows::Windows;

/// See the module. Copies are of the same.
#[derive(Clone, Debug)]
pub(super) struct Front {
    plane: Plane,
    now: Arc<Mutex<Now>>,
    draining: Arc<watch::Sender<Draining>>,
    silent: Arc<watch::Sender<Silent>>,
}

/// The drain windows that have not ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Draining {
    /// When the next one ends.
    pub(crate) next: Option<Instant>,
    /// When the last one ends.
    pub(crate) last: Option<Instant>,
    /// How many sources are in transition.
    pub(crate) transition: Transition,
    /// Nodes of the IPv4 and of the IPv6 ranges in the kernel.
    pub(crate) nodes: [usize; 2],
}

#[derive(Debug)]
struct Now {
    /// What the kernel works with; nothing yet at the start.
    generation: Option<Arc<Generation>>,
    /// Whether the proxy's classes are handed to the proxy.
    proxy_works: bool,
    /// The lists that the kernel classifies by; nothing yet at the start.
    published: Option<Arc<Lists>>,
    /// What sources held before.
    drain: Drain,
    /// The same on the disk.
    windows: Windows,
    /// Whether the windows of an earlier process are known, so that nothing has to stand in for them.
    goes_on: bool,
    /// Whether a window has ended of which the kernel was not told.
    behind: bool,
}

impl Front {
    /// Nothing is in force; what will be hands the proxy's classes to the proxy, and has these servers
    /// silent. The windows are kept in `directory`. Blocks.
    pub(super) fn new(plane: Plane, directory: PathBuf, silent: Silent) -> Self {
        Self {
            plane,
            now: Arc::new(Mutex::new(Now::new(directory))),
            draining: Arc::default(),
            silent: Arc::new(watch::Sender::new(silent)),
        }
    }

    /// Switches to this generation.
    pub(super) async fn switch(&self, generation: &Arc<Generation>) -> Result<(), Error> {
        let generation = Arc::clone(generation);
        let (now, draining) = (Arc::clone(&self.now), Arc::clone(&self.draining));
        let silent = Arc::clone(&self.silent);
        self.plane
            .run(move |plane| {
                // Not before: the thread may have been busy for long.
                let at = Instant::now();
                // Locked on this thread alone, and whole whenever it is not.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                let services = generation.kernel_services(now.proxy_works, &silent.borrow());
                draining.send_replace(now.publish(
                    plane,
                    &generation.candidate,
                    Some(&services),
                    at,
                )?);
                now.generation = Some(generation);
                Ok(())
            })
            .await?
    }

    /// The drain windows, and how they change.
    pub(super) fn draining(&self) -> watch::Receiver<Draining> {
        self.draining.subscribe()
    }

    /// Tells the kernel of the windows that have ended.
    pub(super) async fn end_windows(&self) -> Result<(), Error> {
        let (now, draining) = (Arc::clone(&self.now), Arc::clone(&self.draining));
        self.plane
            .run(move |plane| {
                let at = Instant::now();
                // As above.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(generation) = now.generation.clone() else {
                    return Ok(());
                };
                let window = generation.candidate.config().kernel.drain_window;
                now.behind |= now.drain.look(at, window);
                if now.behind {
                    draining.send_replace(now.publish(plane, &generation.candidate, None, at)?);
                }
                Ok(())
            })
            .await?
    }

    /// Hands the proxy's classes to the proxy, or has the fail mode act.
    pub(super) async fn set_proxy_works(&self, works: bool) -> Result<(), Error> {
        let (now, silent) = (Arc::clone(&self.now), Arc::clone(&self.silent));
        self.plane
            .run(move |plane| {
                // As above.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(generation) = &now.generation {
                    plane.set_services(&generation.kernel_services(works, &silent.borrow()))?;
                }
                now.proxy_works = works;
                Ok(())
            })
            .await?
    }

    /// The servers that do not answer.
    pub(super) fn silent(&self) -> Silent {
        self.silent.borrow().clone()
    }

    /// Gives no new connections to these servers, and to all others their share.
    pub(super) async fn set_silent(&self, servers: Silent) -> Result<(), Error> {
        let (now, silent) = (Arc::clone(&self.now), Arc::clone(&self.silent));
        self.plane
            .run(move |plane| {
                // As above.
                let now = now.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(generation) = &now.generation {
                    plane.set_services(&generation.kernel_services(now.proxy_works, &servers))?;
                }
                silent.send_replace(servers);
                Ok(())
            })
            .await?
    }
}

impl Now {
    /// Nothing is in force; what an earlier process left in `directory` goes on.
    fn new(directory: PathBuf) -> Self {
        let (windows, left) = Windows::open(directory);
        Self {
            generation: None,
            proxy_works: true,
            published: None,
            goes_on: left.is_some(),
            drain: Drain::go_on(left.unwrap_or_default()),
            windows,
            behind: false,
        }
    }

    /// Gives the kernel these lists, with what sources held until now or lately, and the services with them.
    fn publish(
        &mut self,
        plane: &mut dyn KernelPlane,
        candidate: &Candidate,
        services: Option<&[ServiceSpec]>,
        at: Instant,
    ) -> Result<Draining, Error> {
        let config = candidate.config();
        let lists = &candidate.compiled;
        let (tables, before) = self.compile(candidate, at, || plane.inherited());
        plane.switch(Some(&tables), services)?;
        self.behind = false;
        self.published = Some(Arc::clone(lists));
        if let Some(before) = before {
            self.drain.add(before, at + config.kernel.drain_window);
        }
        if config.lists.iter().any(|list| list.cut) {
            self.drain.cut(lists, |name| cuts(config, name));
            let goes = |source| {
                let decides = lists.find(source).list;
                decides.is_some_and(|name| cuts(config, name))
            };
            match plane.cut(&candidate.addresses(), &goes) {
                Ok(0) => {}
                Ok(ended) => tracing::info!(ended, "connections of blocked sources were cut"),
                // Their packets are dropped all the same.
                Err(error) => tracing::error!(%error, "connections of blocked sources stay open"),
            }
        }
        Ok(Draining {
            next: self.drain.next(),
            last: self.drain.last(),
            transition: tables.transition(),
            nodes: [tables.v4_nodes().len(), tables.v6_nodes().len()],
        })
    }

    /// The tables for these lists, and what sources hold no longer with them. The windows are on the disk
    /// then: one more than there is costs nothing, one that is forgotten breaks flows.
    fn compile(
        &mut self,
        candidate: &Candidate,
        at: Instant,
        inherited: impl FnOnce() -> Result<Option<KernelTables>, weir_dataplane::Error>,
    ) -> (KernelTables, Option<History>) {
        let config = candidate.config();
        let lists = &candidate.compiled;
        let window = config.kernel.drain_window;
        self.behind |= self.drain.look(at, window);
        let before = match &self.published {
            Some(published) if Arc::ptr_eq(published, lists) => None,
            Some(published) => Some(History::of(published)),
            None => {
                let tables = inherited().unwrap_or_else(|error| {
                    tracing::error!(%error, "what was in force before cannot be read back: flows whose \
                        class has changed meanwhile are lost");
                    None
                });
                // Where the windows are not known, all that the tables hold back counts for one more.
                let read = if self.goes_on {
                    History::in_force
                } else {
                    History::read
                };
                tables.as_ref().map(read)
            }
        };
        let before = before.filter(|before| !window.is_zero() && *before != History::of(lists));
        let held = self.drain.held();
        let held = match &before {
            Some(before) => held.and(before),
            None => held,
        };
        let held = held.without(lists, |name| cuts(config, name));
        let kept = self.drain.with(before.as_ref(), at + window);
        if let Err(error) = self.windows.save(kept) {
            tracing::error!(%error, "a restart would give what was held back one more window");
        }
        (KernelTables::compile(lists, &held), before)
    }
}

/// The tables to begin with, for whoever only puts them into the kernel and ends. Blocks.
pub(crate) fn tables_to_begin_with(
    candidate: &Candidate,
    inherited: impl FnOnce() -> Result<Option<KernelTables>, weir_dataplane::Error>,
) -> KernelTables {
    let mut now = Now::new(windows_of(candidate.config()));
    now.compile(candidate, Instant::now(), inherited).0
}

/// Where the drain windows are kept.
pub(super) fn windows_of(config: &Config) -> PathBuf {
    config.appliance.state.join("windows")
}

/// Whether a list ends the connections of whom it blocks.
fn cuts(config: &Config, name: &str) -> bool {
    config
        .lists
        .iter()
        .any(|list| list.cut && list.name == name)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use crate::testing::{Appliance, LIST};

    use super::*;

    #[tokio::test]
    async fn a_window_begins_when_its_change_is_made() {
        let appliance = Appliance::start().await;
        let brain = &appliance.brain;
        appliance.write("hq.list", &format!("{LIST}198.51.100.7\n"));
        let running = brain.running();
        let candidate = running.candidate.with_new_lists().expect("a good list");
        let window = candidate.config().kernel.drain_window;
        let generation = Arc::new(Generation {
            number: running.number + 1,
            candidate,
            listeners: running.listeners.clone(),
            ids: running.ids.clone(),
        });

        let (release, held) = mpsc::channel::<()>();
        let stall = brain.parts.plane.run(move |_| held.recv().is_err());
        let switch = brain.front.switch(&generation);
        tokio::pin!(stall, switch);
        tokio::select! {
            biased;
            _ = &mut stall => unreachable!("it is held"),
            _ = &mut switch => unreachable!("it waits behind the other"),
            () = std::future::ready(()) => {}
        }
        let released = Instant::now();
        drop(release);
        stall.await.expect("the thread goes on");
        switch.await.expect("nothing is wrong");
        assert!(brain.draining().last >= Some(released + window));
    }
}

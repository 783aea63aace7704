//! The kernel plane's part of what is in force: a generation, and whether the proxy's classes are handed
//! to the proxy or each service's fail mode acts.
//!
//! Both change on the kernel plane's own thread, one after the other, so that neither waits for a change
//! that waits for a proxy: the fail mode comes on time, whatever goes on beside.
//!
//! The kernel gets the lists together with the classes that sources held within the drain window, and gets
//! them anew when a window ends.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use weir_tables::{History, KernelTables, Lists, Transition};

use super::drain::Drain;
use super::health::Silent;
use crate::Error;
use crate::generation::Generation;
use crate::plane::{KernelPlane, Plane};

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
    /// Whether a window has ended of which the kernel was not told.
    behind: bool,
}

impl Front {
    /// Nothing is in force; what will be hands the proxy's classes to the proxy.
    pub(super) fn new(plane: Plane) -> Self {
        Self {
            plane,
            now: Arc::new(Mutex::new(Now {
                generation: None,
                proxy_works: true,
                published: None,
                drain: Drain::default(),
                behind: false,
            })),
            draining: Arc::default(),
            silent: Arc::default(),
        }
    }

    /// Switches to this generation.
    pub(super) async fn switch(&self, generation: &Arc<Generation>) -> Result<(), Error> {
        let generation = Arc::clone(generation);
        let (now, draining) = (Arc::clone(&self.now), Arc::clone(&self.draining));
        let silent = Arc::clone(&self.silent);
        let at = Instant::now();
        self.plane
            .run(move |plane| {
                // Locked on this thread alone, and whole whenever it is not.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                // Tables first: a service that is new must find its sources classified.
                draining.send_replace(now.publish(plane, &generation, at)?);
                let services = generation.kernel_services(now.proxy_works, &silent.borrow());
                plane.set_services(&services)?;
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
        let at = Instant::now();
        self.plane
            .run(move |plane| {
                // As above.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(generation) = now.generation.clone() else {
                    return Ok(());
                };
                let window = generation.candidate.config().kernel.drain_window;
                now.behind |= now.drain.look(at, window);
                if now.behind {
                    draining.send_replace(now.publish(plane, &generation, at)?);
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
    /// Gives the kernel the lists of this generation, with what sources held until now or lately.
    fn publish(
        &mut self,
        plane: &mut dyn KernelPlane,
        generation: &Generation,
        at: Instant,
    ) -> Result<Draining, Error> {
        let config = generation.candidate.config();
        let lists = &generation.candidate.compiled;
        let window = config.kernel.drain_window;
        self.behind |= self.drain.look(at, window);
        let before = match &self.published {
            Some(published) if Arc::ptr_eq(published, lists) => None,
            Some(published) => Some(History::of(published)),
            None => plane.inherited().unwrap_or_else(|error| {
                tracing::error!(%error, "what was in force before cannot be read back: flows whose \
                    class has changed meanwhile are lost");
                None
            }),
        };
        let before = before.filter(|before| !window.is_zero() && *before != History::of(lists));
        let held = self.drain.held();
        let held = match &before {
            Some(before) => held.and(before),
            None => held,
        };
        let cuts = |name: &str| {
            config
                .lists
                .iter()
                .any(|list| list.cut && list.name == name)
        };
        let tables = KernelTables::compile(lists, &held.without(lists, cuts));
        plane.publish(&tables)?;
        self.behind = false;
        self.published = Some(Arc::clone(lists));
        if let Some(before) = before {
            self.drain.add(before, at + window);
        }
        if config.lists.iter().any(|list| list.cut) {
            let goes = |source| lists.find(source).list.is_some_and(cuts);
            match plane.cut(&generation.candidate.addresses(), &goes) {
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
        })
    }
}

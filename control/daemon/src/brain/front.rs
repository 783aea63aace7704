//! The kernel plane's part of what is in force: a generation, and whether the proxy's classes are handed
//! to the proxy or each service's fail mode acts.
//!
//! Both change on the kernel plane's own thread, one after the other, so that neither waits for a change
//! that waits for a proxy: the fail mode comes on time, whatever goes on beside.

use std::sync::{Arc, Mutex, PoisonError};

use weir_tables::{History, KernelTables};

use crate::Error;
use crate::generation::Generation;
use crate::plane::Plane;

/// See the module. Copies are of the same.
#[derive(Clone, Debug)]
pub(super) struct Front {
    plane: Plane,
    now: Arc<Mutex<Now>>,
}

#[derive(Debug)]
struct Now {
    /// What the kernel works with; nothing yet at the start.
    generation: Option<Arc<Generation>>,
    /// Whether the proxy's classes are handed to the proxy.
    proxy_works: bool,
}

impl Front {
    /// Nothing is in force; what will be hands the proxy's classes to the proxy.
    pub(super) fn new(plane: Plane) -> Self {
        Self {
            plane,
            now: Arc::new(Mutex::new(Now {
                generation: None,
                proxy_works: true,
            })),
        }
    }

    /// Switches to this generation.
    pub(super) async fn switch(&self, generation: &Arc<Generation>) -> Result<(), Error> {
        let generation = Arc::clone(generation);
        let now = Arc::clone(&self.now);
        self.plane
            .run(move |plane| {
                // Locked on this thread alone, and whole whenever it is not.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                // Tables first: a service that is new must find its sources classified.
                let lists = &generation.candidate.compiled;
                plane.publish(&KernelTables::compile(lists, &History::default()))?;
                plane.set_services(&generation.kernel_services(now.proxy_works))?;
                now.generation = Some(generation);
                Ok(())
            })
            .await?
    }

    /// Hands the proxy's classes to the proxy, or has the fail mode act.
    pub(super) async fn set_proxy_works(&self, works: bool) -> Result<(), Error> {
        let now = Arc::clone(&self.now);
        self.plane
            .run(move |plane| {
                // As above.
                let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(generation) = &now.generation {
                    plane.set_services(&generation.kernel_services(works))?;
                }
                now.proxy_works = works;
                Ok(())
            })
            .await?
    }
}

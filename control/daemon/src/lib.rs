//! weir-control: the brain of Weir, as a library, so that tests can run it without privileges.
//!
//! In: one configuration file and its lists, events from the proxy, requests on the control socket,
//! signals. Out: generations, published to the kernel plane ([`plane`]) and to the proxy plane
//! ([`proxy_link`]) under one number, and the audit log ([`audit`]). [`brain`] owns the state and is
//! the only one that changes it; [`api`] answers the control socket.
//!
//! It must never let an error change what is in force: everything of a new generation is loaded and
//! checked before the first plane hears of it, and when a plane refuses, both go back. When it ends,
//! both planes go on with their last generation. What outlives it: sockets in the service manager's store
//! ([`descriptor_store`]), the number of the newest generation, those of the services, a copy of the last good one, which
//! stands in ([`first`]) when the files are broken at a start, and one of the generation before the last reload,
//! which comes back when nobody confirms that reload.

mod adopt;
pub mod api;
pub mod audit;
pub mod brain;
mod changes;
mod claims;
mod clock;
pub mod descriptor_store;
mod error;
pub mod evidence;
pub mod explain;
pub mod feeds;
pub mod first;
pub mod flows;
pub mod generation;
mod held;
pub mod keys;
mod last_good;
pub mod ledger;
pub mod listeners;
pub mod locations;
pub mod metrics;
pub mod migrate;
mod one_way;
pub mod pcapng;
pub mod plane;
mod process;
pub mod proxy_link;
mod rehearsal;
mod service_ids;
pub mod sign_ins;
pub mod sockets;
pub mod status;
mod store;
pub mod tenant;
#[cfg(feature = "testing")]
pub mod testing;
mod undo;
pub mod watch;
pub mod windows;
pub mod witness;

pub use error::Error;

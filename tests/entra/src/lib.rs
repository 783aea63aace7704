//! An Entra tenant for the lab: its token endpoint, admin consent and Microsoft Graph, over real TLS.
//!
//! In: requests as any client of Entra sends them, and what tests change behind the clients' backs ([`world::Edit`],
//! or HTTP on a port of its own: [`admin`]). Out: the answers of Entra and Graph, with the order, the repetitions, the
//! gaps and the faults that they have in the field, each decided by a seed. It links no crate of the appliance, and
//! never answers a token's question with anything but its own signature check.
//!
//! To start it in a test, on loopback ports of its own, filled with the tenant "Fabrik am See"
//! ([`world::fabrik`]):
//!
//! ```
//! # #[tokio::main] async fn main() {
//! use weir_lab_entra::Entra;
//! use weir_lab_entra::faults::{Act, Fault};
//! use weir_lab_entra::world::populate::{APP, SECRET, TENANT};
//!
//! let lab = Entra::start().await;
//! // What a client is configured with:
//! let cloud = (lab.login(), lab.graph(), lab.ca()); // origins `https://localhost:PORT`, and the CA's PEM
//! let secret = (TENANT, APP, SECRET);
//! let certificate = (lab.certificate(), lab.key()); // PEM: registered with the same application
//! // What happens meanwhile:
//! let vera = lab.edit(|tenant| tenant.user("vera.lind@fabrik.example", "Vera Lind"));
//! lab.edit(|tenant| tenant.delete(vera)).unwrap();
//! lab.fault(Fault::graph("/v1.0/users/delta*", Act::Truncate { bytes: 100 }).times(1));
//! lab.world().clock.advance(time::Duration::days(8));
//! // What it saw:
//! assert!(lab.seen().is_empty());
//! # }
//! ```
//!
//! [`Entra::with`] takes [`Settings`]: seed, quirks, and whether it begins empty. `lab.world().quirks =
//! Quirks::none()` makes it behave by the book, `lab.world().throttle.on = false` takes all limits away.

pub mod admin;
mod appliance;
pub mod chance;
pub mod faults;
pub mod graph;
pub mod lab;
pub mod material;
pub mod throttle;
pub mod token;
pub mod world;

pub use lab::{Entra, Seen, Settings};

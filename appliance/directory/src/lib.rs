//! The directory as both planes read it: an immutable picture of the tenant in one block of memory.
//!
//! In: users, groups with their flattened members, and who holds which role, from weir-control, which keeps the
//! tenant ([`Builder`]). Out: one block of bytes, which is sealed and handed over, and a [`Snapshot`] of it, which
//! finds a user by every name that is certain, and tells groups, roles and attributes without copying.
//!
//! Unknown is not none: a part that was never synced, or that is older than policy allows, says nothing
//! ([`Snapshot::at`]). Reading never panics, whatever the bytes are, and never takes one user for another: names
//! that contradict each other are decided by the stronger one, and that is said ([`Found`]).
//!
//! This crate is pure: no I/O and no clock. Names of people never get into its errors.

mod attribute;
mod build;
mod check;
mod find;
mod fold;
mod layout;
mod role;
mod snapshot;
mod view;

pub use attribute::Attribute;
pub use build::{BuildError, Builder, NewGroup, NewUser, Set};
pub use find::{Found, Key, Who};
pub use layout::{Head, Part, VERSION};
pub use role::BUILT_IN_ROLES;
pub use snapshot::{GroupFound, GroupRef, ParseError, Snapshot};
pub use view::{UserRef, View};

//! The Entra side of the directory: asks Microsoft Graph, keeps what it said, and tells what that means.
//!
//! In flow the answers of a tenant's token endpoint and of Microsoft Graph, which anybody on the way, and any
//! fault there, may have made worse than wrong: empty, cut short, for somebody else, or from last week. Out
//! comes a [`model`] of the tenant that is right or unchanged, never half of it: a round of a part is one
//! transaction, and what would take many people's rights away is held until a person approves.
//!
//! This crate never writes to the tenant, never sends its credentials or a token to a host that the
//! configuration did not name, and never logs either.

pub mod clock;
pub mod closure;
pub mod cloud;
pub mod consent;
pub mod credential;
pub mod decode;
pub mod graph;
pub mod guard;
pub mod health;
pub mod model;
pub mod network;
mod retry;
pub mod review;
pub mod round;
pub mod store;
pub mod sync;
pub mod token;
pub mod trust;
mod words;

//! What is sent at full speed, to whom it goes, and what came of it.
//!
//! In: [`Traffic`](crate::replay::Traffic), lists and services. Out: [`Offer`], the frames to send and how many of
//! them are to be forwarded, proxied and dropped; [`Door`], the rules by which nftables and ipset do the same job;
//! and [`Row`], what one way through the router came to. Nothing here sends anything.

mod offer;
mod ranges;
mod row;
mod rules;

pub use offer::{Crowd, LeftOut, Offer, Plain, plain};
pub use ranges::{Range, ranges};
pub use row::{Counts, Row, Witness, float};
pub use rules::{Action, Door};

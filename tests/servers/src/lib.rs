//! The lab's servers: a federation server with the endpoints, cookies, faults and signatures of AD FS (or the paths and
//! pages of another product), and the cloud that trusts it (realm discovery, token endpoint, a relying party, a reverse
//! proxy).
//!
//! In: a [`plan::Plan`], written by whoever raises the lab, and the key material that [`pki`] made for it.
//! Out: real TLS on the planned addresses, tokens signed one by one, and a log of what each server saw, one JSON
//! object per line.
//!
//! These servers are the other side of every end-to-end test, so they must never share code with the appliance, never
//! accept a token that they did not check, and never write a password or a token to their logs.

pub mod cloud;
pub mod control;
pub mod delivery;
pub mod http;
pub mod idp;
pub mod jwt;
pub mod log;
pub mod people;
pub mod pki;
pub mod plan;
pub mod program;
pub mod saml;
pub mod server;
pub mod xml;

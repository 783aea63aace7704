//! Evidence of a tenant that was read through rounds: what it shows, what it admits not to know, and that nobody can
//! change it unnoticed.

#[path = "../stores/mod.rs"]
mod stores;

mod access;
mod changes;
mod exports;
mod formats;
mod posture;
mod tenant;

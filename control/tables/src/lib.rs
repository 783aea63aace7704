//! Lists of source prefixes, and the tables that both planes look a source up in.
//!
//! In: lists (a name, a class and prefixes), from the configuration, from list files ([`parse()`]) or
//! from remote sources. Out: [`Lists`], a sorted table of address ranges in which user space finds the
//! class of a source together with the list and the prefix that decided, and [`KernelTables`], the
//! same answers in the layout of the kernel's maps, with the classes that each source held lately
//! ([`History`]). Which of several overlapping lists wins is decided
//! in one place, the private module `compile`; every other part reads what it decided.
//!
//! This crate is pure: no I/O, no clock, no globals. It must never panic on bytes or text from
//! outside, and never answer another class in user space than in the kernel.

mod bytes;
mod compile;
pub mod edit;
mod explain;
mod history;
mod kernel;
mod list;
mod lookup;
mod parse;
mod prefix;
mod spans;
mod tree;

pub use bytes::{FromBytesError, VERSION};
pub use compile::Lists;
pub use history::History;
pub use kernel::{KernelTables, Parts, Transition};
pub use list::{List, MAX_PREFIXES, Origin, Scope};
pub use lookup::Found;
pub use parse::{Parsed, Problem, Severity, parse};
pub use prefix::{Entry, PrefixError, parse_prefix};

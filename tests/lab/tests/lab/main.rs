//! The lab with the real programs in it. Needs root, a kernel that is new enough, and what `cargo xtask test` builds;
//! a test that cannot run prints `skipped: NAME: reason`.

mod common;
mod demo;
mod lifecycle;
mod standing;

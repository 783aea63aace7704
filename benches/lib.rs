//! Benchmarks of the pure cores, with criterion: `cargo bench --package weir-benches`.
//!
//! They show ratios on one machine in one run; no test asserts a time. The kernel plane is measured beside
//! its peers by the binary `weir-bench`, and the directory by `weir-bench-directory`, with `cargo xtask bench`.
//! What those say is put together in [`report`].

pub mod report;

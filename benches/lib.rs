//! Benchmarks of the pure cores, with criterion: `cargo bench --package weir-benches`.
//!
//! They show ratios on one machine in one run; no test asserts a time. What needs a kernel or a peer
//! to compare with is measured elsewhere.

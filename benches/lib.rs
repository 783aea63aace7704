//! Benchmarks of the pure cores, with criterion: `cargo bench --package weir-benches`.
//!
//! They show ratios on one machine in one run; no test asserts a time. The kernel plane is measured beside
//! its peers by the binary `weir-bench`, and the directory by `weir-bench-directory`, the
//! proxy plane by `weir-bench-proxy`, with `cargo xtask bench`.
//! What those say is put together in [`report`]; what `replay` judges is in [`replay`], and what it sends at full
//! speed in [`live`]; [`page`] draws its report.

pub mod live;
pub mod page;
pub mod replay;
pub mod report;
pub mod rules;

//! Measures the kernel plane beside its peers, on one machine in one run: `cargo xtask bench`.
//!
//! In: Weir's kernel object and the benches' own. Out: a table, JSON, and for each target whether it is
//! met. Everything happens in network namespaces without names and on a bpffs of this process's own, so
//! nothing stays. It needs root. It uses Weir by the public interfaces of its crates, and what it does in
//! the kernel itself (`ebpf/programs/src/bench.rs`) calls the lookup of the shipped programs.

mod bed;
mod classify;
mod forward;
mod frame;
mod lists;
mod peers;
mod plane;
mod programs;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use weir_benches::report;

use crate::plane::Files;

#[derive(Parser)]
#[command(name = "weir-bench", about = "Benches of Weir's kernel plane")]
struct Arguments {
    /// What to measure.
    bench: Bench,
    /// Also write the numbers to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Few prefixes, packets and runs: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Weir's kernel programs.
    #[arg(long)]
    object: PathBuf,
    /// The benches' kernel programs.
    #[arg(long)]
    bench_object: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bench {
    /// The class of a source: Weir's tables, LPM_TRIE, nft set, ipset.
    Classify,
    /// Forwarded frames: the kernel, nft flowtable, nft set, Weir at tcx and at XDP; bulk TCP.
    Forward,
}

/// How much is measured.
pub struct Size {
    quick: bool,
    /// Times that each number is measured; the median counts.
    runs: usize,
    /// Passes over all sources in one run of lookups.
    passes: u32,
    /// Frames in one run.
    frames: u32,
    /// Seconds of bulk TCP in one run.
    seconds: f64,
}

impl Size {
    fn new(quick: bool) -> Self {
        if quick {
            Self {
                quick,
                runs: 1,
                passes: 1,
                frames: 20_000,
                seconds: 0.2,
            }
        } else {
            Self {
                quick,
                runs: 5,
                passes: 4,
                frames: 300_000,
                seconds: 2.0,
            }
        }
    }

    /// Prefixes that most targets speak of.
    pub fn usual(&self) -> usize {
        if self.quick { 10_000 } else { 100_000 }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    bed::own_mounts()?;
    let directory = tempfile::tempdir()?;
    let files = Files {
        object: arguments.object,
        bench_object: arguments.bench_object,
        pins: directory.path().join("bpf"),
    };
    let size = Size::new(arguments.quick);
    let report = match arguments.bench {
        Bench::Classify => classify::run(&files, &size),
        Bench::Forward => forward::run(&files, &size),
    };
    // Else the folder below it cannot be removed.
    let _ = nix::mount::umount2(&files.pins, nix::mount::MntFlags::MNT_DETACH);
    let mut report = report?;
    if size.quick {
        report.note(
            "A quick run: it shows that everything works, and its numbers are worth nothing.",
        );
    }
    report.finish(arguments.json.as_deref())
}

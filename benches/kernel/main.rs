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
mod replay;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use weir_benches::report;

use crate::plane::Files;

#[derive(Parser)]
#[command(name = "weir-bench", about = "Benches of Weir's kernel plane")]
struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// The class of a source: Weir's tables, LPM_TRIE, nft set, ipset.
    Classify(Common),
    /// Forwarded frames: the kernel, nft flowtable, nft set, Weir at tcx and at XDP; bulk TCP.
    Forward(Common),
    Replay(Box<replay::Arguments>),
}

/// What every bench is told.
#[derive(Args, Clone)]
pub struct Common {
    /// Also write the numbers to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Few prefixes, packets and runs: shows that everything works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Weir's kernel programs.
    #[arg(long, value_name = "FILE")]
    object: PathBuf,
    /// The benches' kernel programs.
    #[arg(long, value_name = "FILE")]
    bench_object: PathBuf,
}

/// What belongs to the numbers of a quick run.
pub const QUICK: &str =
    "A quick run: it shows that everything works, and its numbers are worth nothing.";

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
    let Arguments { bench } = Arguments::parse();
    let common = match &bench {
        Bench::Classify(common) | Bench::Forward(common) => common.clone(),
        Bench::Replay(arguments) => arguments.common.clone(),
    };
    bed::own_mounts()?;
    let directory = tempfile::tempdir()?;
    let files = Files {
        object: common.object,
        bench_object: common.bench_object,
        pins: directory.path().join("bpf"),
    };
    let size = Size::new(common.quick);
    let report = match bench {
        Bench::Classify(_) => classify::run(&files, &size),
        Bench::Forward(_) => forward::run(&files, &size),
        Bench::Replay(arguments) => replay::run(&files, &size, &arguments),
    };
    // Else the folder below it cannot be removed.
    let _ = nix::mount::umount2(&files.pins, nix::mount::MntFlags::MNT_DETACH);
    let mut report = report?;
    if size.quick {
        report.note(QUICK);
    }
    report.finish(common.json.as_deref())
}

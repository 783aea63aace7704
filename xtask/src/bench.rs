//! Builds the benches of the kernel plane or of the directory, and hands over to them.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::build::cargo;
use crate::step::{run as run_command, step};
use crate::{host, kernel, paths, setup};

/// Runs `cargo xtask bench NAME`. A peer that is missing is left out, with the reason.
pub fn run(arguments: &[String], no_install: bool) -> Result<ExitCode> {
    if let Some(("directory", rest)) = arguments
        .split_first()
        .map(|(name, rest)| (name.as_str(), rest))
    {
        return directory(rest);
    }
    host::require_for_lab()?;
    setup::ensure(&setup::KERNEL_PROGRAMS, no_install)?;
    if let Err(error) = setup::ensure(&setup::PEERS, no_install) {
        eprintln!("{error:#}; what needs it is left out");
    }
    kernel::build()?;
    kernel::build_bench()?;
    build("weir-bench")?;
    // Replaces this process: Ctrl-C, the exit status and the terminal are the bench's own.
    let error = Command::new(paths::target().join("release/weir-bench"))
        .args(arguments)
        .arg("--object")
        .arg(paths::kernel_object())
        .arg("--bench-object")
        .arg(paths::bench_object())
        .exec();
    Err(error).context("cannot start weir-bench")
}

/// Runs `cargo xtask bench directory`: a pure core, which needs neither root nor kernel programs.
fn directory(arguments: &[String]) -> Result<ExitCode> {
    build("weir-bench-directory")?;
    let error = Command::new(paths::target().join("release/weir-bench-directory"))
        .args(arguments)
        .exec();
    Err(error).context("cannot start weir-bench-directory")
}

fn build(binary: &str) -> Result<()> {
    step("build the benches", || {
        run_command(
            cargo()
                .args(["build", "--release", "--locked", "--quiet"])
                .args(["--package", "weir-benches", "--bin", binary]),
        )
    })
}

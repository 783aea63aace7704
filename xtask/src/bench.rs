//! Builds a bench, and hands over to it.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::build::cargo;
use crate::step::{run as run_command, step};
use crate::{host, kernel, paths, setup};

/// Runs `cargo xtask bench NAME`. A peer that is missing is left out, with the reason.
pub fn run(arguments: &[String], no_install: bool) -> Result<ExitCode> {
    setup::ensure(&setup::BENCHES, no_install)?;
    let first = arguments.split_first();
    match first.map(|(name, rest)| (name.as_str(), rest)) {
        Some(("cores", rest)) => return pure("weir-bench-cores", rest),
        Some(("directory", rest)) => return pure("weir-bench-directory", rest),
        Some(("proxy", rest)) => return proxy(rest, no_install),
        _ => {}
    }
    host::require_for_lab()?;
    setup::ensure(&setup::KERNEL_PROGRAMS, no_install)?;
    if let Err(error) = setup::ensure(&setup::PEERS, no_install) {
        eprintln!("{error:#}; what needs it is left out");
    }
    kernel::build()?;
    kernel::build_bench()?;
    build("weir-benches", "weir-bench")?;
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

/// Runs a bench of pure cores, which needs neither root nor kernel programs.
fn pure(binary: &str, arguments: &[String]) -> Result<ExitCode> {
    build("weir-benches", binary)?;
    let error = Command::new(paths::target().join("release").join(binary))
        .args(arguments)
        .exec();
    Err(error).with_context(|| format!("cannot start {binary}"))
}

/// Runs `cargo xtask bench proxy`, with the proxy as it is shipped.
fn proxy(arguments: &[String], no_install: bool) -> Result<ExitCode> {
    setup::ensure(&setup::PROXY_PEERS, no_install)?;
    build("weir-proxy", "weir-proxy")?;
    build("weir-benches", "weir-bench-proxy")?;
    let release = paths::target().join("release");
    let error = Command::new(release.join("weir-bench-proxy"))
        .args(arguments)
        .arg("--proxy")
        .arg(release.join("weir-proxy"))
        .exec();
    Err(error).context("cannot start weir-bench-proxy")
}

fn build(package: &str, binary: &str) -> Result<()> {
    step(&format!("build {binary}"), || {
        run_command(
            cargo()
                .args(["build", "--release", "--locked", "--quiet"])
                .args(["--package", package, "--bin", binary]),
        )
    })
}

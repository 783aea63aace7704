//! Hands the demo and the lab over to `weir-lab`.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{build, kernel, paths};

/// Runs `cargo xtask demo`, beside a lab that may be standing.
pub fn demo(arguments: &[String]) -> Result<ExitCode> {
    build()?;
    replace(demo_command().args(arguments))
}

/// Runs `cargo xtask lab VERB`.
pub fn lab(arguments: &[String]) -> Result<ExitCode> {
    let up = arguments.first().is_some_and(|verb| verb == "up");
    if up || !binary().exists() {
        build()?;
    }
    let mut lab = Command::new(binary());
    lab.args(arguments);
    if up {
        tell_where(&mut lab, &paths::lab());
    }
    replace(&mut lab)
}

/// The demo, built before.
pub fn demo_command() -> Command {
    command("demo", "demo", &paths::demo())
}

/// A verb of the lab's program, with a lab of its own.
pub fn command(verb: &str, instance: &str, out: &Path) -> Command {
    let mut lab = Command::new(binary());
    lab.args([verb, "--instance", instance]);
    tell_where(&mut lab, out);
    lab
}

fn build() -> Result<()> {
    kernel::build()?;
    build::binaries()
}

/// Replaces this process: Ctrl-C, the exit status and the terminal are the lab's own.
pub fn replace(lab: &mut Command) -> Result<ExitCode> {
    Err(lab.exec()).context("cannot start weir-lab")
}

/// The lab's program, built by [`build::binaries`].
fn binary() -> PathBuf {
    paths::binaries().join("weir-lab")
}

fn tell_where(lab: &mut Command, out: &Path) {
    lab.arg("--bin-dir")
        .arg(paths::binaries())
        .arg("--object")
        .arg(paths::kernel_object())
        .arg("--venv")
        .arg(paths::python())
        .arg("--out")
        .arg(out);
}

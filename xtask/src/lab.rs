//! Hands the demo and the lab over to `weir-lab`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{build, kernel, paths};

/// Runs `cargo xtask demo` (`task` is "demo") or `cargo xtask lab VERB`.
pub fn run(task: &str, arguments: &[String]) -> Result<ExitCode> {
    let verb = if task == "demo" {
        "demo"
    } else {
        arguments[0].as_str()
    };
    if matches!(verb, "demo" | "up") || !paths::binaries().join("weir-lab").exists() {
        kernel::build()?;
        build::binaries()?;
    }
    let mut lab = command();
    if task == "demo" {
        lab.arg("demo");
    }
    // Replaces this process: Ctrl-C, its exit status and its terminal are the lab's own.
    Err(lab.args(arguments).exec()).context("cannot start weir-lab")
}

/// `weir-lab`, told where everything lies.
pub fn command() -> Command {
    let mut lab = Command::new(paths::binaries().join("weir-lab"));
    lab.arg("--bin-dir")
        .arg(paths::binaries())
        .arg("--object")
        .arg(paths::kernel_object())
        .arg("--venv")
        .arg(paths::python())
        .arg("--out")
        .arg(paths::lab());
    lab
}

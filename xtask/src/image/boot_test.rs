//! Hands the image to `weir-lab`, which boots it in the middle of its Internet.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::{build, host, lab, paths};

/// Runs the boot test of `image`.
pub fn run(image: &Path, arguments: &[String]) -> Result<ExitCode> {
    host::require_for_lab()?;
    build::binaries()?;
    let mut boot = lab::command("boot", "boot", &paths::images().join("boot"));
    lab::replace(boot.arg("--image").arg(image).args(arguments))
}

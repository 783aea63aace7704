//! Builds the user-space binaries that the lab runs.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::step::{run, step};

/// The programs that the lab starts.
const BINARIES: [&str; 6] = [
    "weir",
    "weir-control",
    "weir-lab",
    "weir-lab-entra",
    "weir-lab-servers",
    "weir-proxy",
];

pub fn binaries() -> Result<()> {
    step("build the user-space programs", || {
        let mut cargo = cargo();
        cargo.args(["build", "--locked"]);
        for binary in BINARIES {
            cargo.args(["--package", binary]);
        }
        run(&mut cargo)
    })
}

/// The toolchain's cargo, in the repository.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    cargo
}

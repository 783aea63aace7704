//! Formatting and lints.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::build::cargo;
use crate::setup::find_program;
use crate::step::step;
use crate::{kernel, paths};

pub fn run() -> Result<ExitCode> {
    step("check the formatting", || {
        run_cargo(&["fmt", "--all", "--check"])?;
        crate::step::run(
            Command::new("cargo")
                .args(["fmt", "--check"])
                .current_dir(paths::root().join("ebpf/programs")),
        )
    })?;
    step("clippy", || {
        run_cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ])
    })?;
    kernel::check()?;
    if find_program("cargo-deny").is_some() {
        step("check licences and bans", || {
            run_cargo(&[
                "deny",
                "--workspace",
                "check",
                "--hide-inclusion-graph",
                "bans",
                "licenses",
                "sources",
            ])
        })?;
    } else {
        eprintln!("    licences and bans not checked: `cargo install cargo-deny` adds that");
    }
    Ok(ExitCode::SUCCESS)
}

fn run_cargo(arguments: &[&str]) -> Result<()> {
    crate::step::run(cargo().args(arguments))
}

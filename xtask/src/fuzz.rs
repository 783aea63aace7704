//! Coverage-guided fuzzing of everything that reads bytes from the network or a file.
//!
//! A target lies in the `fuzz` folder of its crate: `properties/TARGET.rs` says what must hold,
//! `corpus/TARGET` what fuzzing begins with, `findings/TARGET` what it has found; the crate's tests
//! replay both. What a run learns grows in `target/fuzz`, and the next run goes on from there.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build::cargo;
use crate::paths;
use crate::setup::find_program;
use crate::step::{run as run_command, step};

#[derive(clap::Args)]
pub struct Arguments {
    /// The target, by a name of `--list`.
    #[arg(required_unless_present = "list")]
    target: Option<String>,
    /// How long to look, in seconds.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Name the targets, and what each reads.
    #[arg(long, conflicts_with = "target")]
    list: bool,
    /// Install nothing: name what is missing, and stop.
    #[arg(long)]
    no_install: bool,
}

struct Target {
    name: &'static str,
    /// Folder of the crate.
    package: &'static str,
    reads: &'static str,
}

const TARGETS: [Target; 7] = [
    target(
        "request",
        "appliance/policy",
        "requests, judged and answered",
    ),
    target("path", "appliance/policy", "paths of requests"),
    target("packet", "ebpf/classify", "packets, from both sides"),
    target("list", "control/tables", "list files, and edits of them"),
    target("lists_bytes", "control/tables", "compiled lists"),
    target("toml", "control/config", "configuration files"),
    target(
        "frame",
        "appliance/link",
        "what a peer sends between the daemons",
    ),
];

const fn target(name: &'static str, package: &'static str, reads: &'static str) -> Target {
    Target {
        name,
        package,
        reads,
    }
}

/// Version of cargo-fuzz that is installed where there is none.
const VERSION: &str = "0.13.2";
/// One input may take so many seconds; no parser takes a thousandth of that.
const LONGEST: u32 = 10;
/// Memory that a target may take, in MiB, the sanitizer's own included.
const MEMORY: u32 = 2048;

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(name) = &arguments.target else {
        for target in &TARGETS {
            println!(
                "{:<12} {:<17} {}",
                target.name, target.package, target.reads
            );
        }
        return Ok(ExitCode::SUCCESS);
    };
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .with_context(|| {
            format!("there is no fuzz target `{name}`; `cargo xtask fuzz --list` names them")
        })?;
    let program = cargo_fuzz(arguments.no_install)?;
    target.run(&program, arguments.seconds)
}

impl Target {
    fn run(&self, program: &Path, seconds: u32) -> Result<ExitCode> {
        let folder = paths::root().join(self.package).join("fuzz");
        let grown = scratch().join("corpus").join(self.name);
        let found = scratch().join("found").join(self.name);
        std::fs::create_dir_all(&grown)?;
        // Of this run alone.
        if found.exists() {
            std::fs::remove_dir_all(&found)?;
        }
        std::fs::create_dir_all(&found)?;
        let fuzz = |verb: &str| {
            let mut command = Command::new(program);
            command
                .args(["fuzz", verb, "--fuzz-dir", ".", "--target-dir"])
                .arg(scratch().join("build"))
                .arg(self.name)
                .current_dir(&folder)
                // Instrumentation is a matter of unstable flags; the language stays the stable one.
                .env("RUSTC_BOOTSTRAP", "1");
            command
        };
        step(&format!("build {} with instrumentation", self.name), || {
            run_command(&mut fuzz("build"))
        })?;
        let ended = step(&format!("fuzz {} for {seconds} s", self.name), || {
            let mut command = fuzz("run");
            command
                .arg(&grown)
                .arg(folder.join("corpus").join(self.name));
            let kept = folder.join("findings").join(self.name);
            if kept.exists() {
                command.arg(kept);
            }
            command
                .arg("--")
                .arg(format!("-max_total_time={seconds}"))
                .arg(format!("-timeout={LONGEST}"))
                .arg(format!("-rss_limit_mb={MEMORY}"))
                .arg(format!("-artifact_prefix={}/", found.display()))
                .arg("-print_final_stats=1");
            Ok(run_command(&mut command))
        })?;
        let Some(finding) = first_file(&found)? else {
            // Without a finding an unsuccessful end is a failure of the tools.
            ended?;
            println!("{} found nothing in {seconds} s", self.name);
            return Ok(ExitCode::SUCCESS);
        };
        let smaller = folder.join("artifacts").join(self.name);
        if smaller.exists() {
            std::fs::remove_dir_all(&smaller)?;
        }
        let finding = step("make the finding smaller", || {
            // Ends unsuccessfully when it cannot be made smaller.
            let _ = run_command(
                fuzz("tmin")
                    .arg(&finding)
                    .args(["--", "-max_total_time=30"]),
            );
            Ok(smallest(&smaller)?.unwrap_or(finding))
        })?;
        let bytes = std::fs::read(&finding)?;
        println!(
            "{} found something, in {} bytes: {}\n\n  {}\n\nFix it, and keep the file by a name that says what it is in {}.",
            self.name,
            bytes.len(),
            finding.display(),
            bytes.escape_ascii(),
            folder.join("findings").join(self.name).display()
        );
        Ok(ExitCode::FAILURE)
    }
}

/// The program `cargo-fuzz`, installed into `target/fuzz` where the machine has none.
fn cargo_fuzz(no_install: bool) -> Result<PathBuf> {
    if let Some(program) = find_program("cargo-fuzz") {
        return Ok(program);
    }
    let root = scratch().join("tools");
    let program = root.join("bin/cargo-fuzz");
    if program.exists() {
        return Ok(program);
    }
    if no_install {
        bail!("cargo-fuzz is missing; without `--no-install` it is installed into target/fuzz");
    }
    eprintln!("About to install:\n  {:<22} drives libFuzzer", "cargo-fuzz");
    step(
        "build cargo-fuzz into target/fuzz (about half a minute)",
        || {
            run_command(
                cargo()
                    .args(["install", "cargo-fuzz", "--quiet", "--locked", "--version"])
                    .args([VERSION, "--root"])
                    .arg(&root)
                    .arg("--target-dir")
                    .arg(scratch().join("tools/build")),
            )
        },
    )?;
    Ok(program)
}

fn scratch() -> PathBuf {
    paths::target().join("fuzz")
}

fn first_file(folder: &Path) -> Result<Option<PathBuf>> {
    Ok(files(folder)?.into_iter().next())
}

fn smallest(folder: &Path) -> Result<Option<PathBuf>> {
    let size = |file: &PathBuf| std::fs::metadata(file).map_or(u64::MAX, |metadata| metadata.len());
    Ok(files(folder)?.into_iter().min_by_key(size))
}

/// The files of a folder, if there is one.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_its_files() {
        for target in &TARGETS {
            let fuzz = paths::root().join(target.package).join("fuzz");
            let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
            assert!(manifest.contains(&format!("name = \"{}\"", target.name)));
            assert!(fuzz.join(format!("properties/{}.rs", target.name)).exists());
            assert!(
                !files(&fuzz.join("corpus").join(target.name))
                    .expect("a corpus")
                    .is_empty()
            );
        }
    }
}

//! Coverage-guided fuzzing of everything that reads bytes from the network or a file.
//!
//! A target lies in the `fuzz` folder of its crate: `targets/TARGET.rs` runs it, `properties/TARGET.rs`
//! says what must hold, `corpus/TARGET` is what fuzzing begins with, `findings/TARGET` what it has found;
//! the crate's tests replay both. What a run learns grows in `target/fuzz`, and the next run goes on from
//! there; `--keep` takes over into the corpus what reaches new code.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build::cargo;
use crate::paths;
use crate::setup::find_program;
use crate::step::{run as run_command, step};

#[derive(clap::Args)]
pub struct Arguments {
    /// The target, by a name of `--list`, or `all`, one after another.
    #[arg(required_unless_present = "list")]
    target: Option<String>,
    /// How long to look, in seconds, for each target.
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// Keep what was learned: add to the repository's corpus what reaches code that it does not reach.
    #[arg(long)]
    keep: bool,
    /// Name the targets, and what each reads.
    #[arg(long, conflicts_with = "target")]
    list: bool,
    /// Install nothing: name what is missing, and stop.
    #[arg(long)]
    no_install: bool,
}

/// A file `targets/NAME.rs` in the `fuzz` folder of a crate.
struct Target {
    name: String,
    /// The `fuzz` folder.
    folder: PathBuf,
}

/// Version of cargo-fuzz that is installed where there is none.
const VERSION: &str = "0.13.2";
/// One input may take so many seconds; no parser takes a thousandth of that.
const LONGEST: u32 = 10;
/// Memory that a target may take, in MiB, the sanitizer's own included.
const MEMORY: u32 = 2048;

/// Longest input that is kept in the repository, in bytes.
const LONGEST_KEPT: u32 = 16 << 10;

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut targets = targets()?;
    if arguments.list {
        for target in &targets {
            println!("{:<14} {}", target.name, target.holds()?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = arguments.target.as_deref().filter(|name| *name != "all") {
        targets.retain(|target| target.name == name);
    }
    if targets.is_empty() {
        bail!("there is no such fuzz target; `cargo xtask fuzz --list` names them");
    }
    let program = cargo_fuzz(arguments.no_install)?;
    let mut worst = ExitCode::SUCCESS;
    for target in &targets {
        if !target.run(&program, arguments.seconds)? {
            worst = ExitCode::FAILURE;
        } else if arguments.keep {
            target.keep(&program)?;
        }
    }
    Ok(worst)
}

impl Target {
    /// What it is run on, by the first sentence of its properties: "What holds for ...".
    fn holds(&self) -> Result<String> {
        let file = self.folder.join(format!("properties/{}.rs", self.name));
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let header: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(str::trim)
            .collect();
        let header = header.join(" ");
        let end = header.find(". ").unwrap_or(header.len());
        let sentence = header[..end].trim_end_matches('.');
        Ok(sentence.replacen("What holds for ", "", 1))
    }

    /// Where what a run learns grows.
    fn grown(&self) -> PathBuf {
        scratch().join("corpus").join(&self.name)
    }

    /// What is kept in the repository: what to begin with, or what was found.
    fn kept(&self, what: &str) -> PathBuf {
        self.folder.join(what).join(&self.name)
    }

    fn fuzz(&self, program: &Path, verb: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["fuzz", verb, "--fuzz-dir", ".", "--target-dir"])
            .arg(scratch().join("build"))
            .arg(&self.name)
            .current_dir(&self.folder)
            // Instrumentation is a matter of unstable flags; the language stays the stable one.
            .env("RUSTC_BOOTSTRAP", "1");
        command
    }

    /// Adds to the corpus what reaches code that it does not reach yet.
    fn keep(&self, program: &Path) -> Result<()> {
        step(&format!("keep what {} has learned", self.name), || {
            run_command(
                self.fuzz(program, "run")
                    .arg(self.kept("corpus"))
                    .arg(self.grown())
                    // New code, not code that ran more often: what is kept stays small.
                    .args(["--", "-merge=1", "-use_counters=0"])
                    .arg(format!("-max_len={LONGEST_KEPT}")),
            )
        })
    }

    /// Whether nothing was found in so many seconds.
    fn run(&self, program: &Path, seconds: u32) -> Result<bool> {
        let grown = self.grown();
        let found = scratch().join("found").join(&self.name);
        std::fs::create_dir_all(&grown)?;
        // Of this run alone.
        if found.exists() {
            std::fs::remove_dir_all(&found)?;
        }
        std::fs::create_dir_all(&found)?;
        let fuzz = |verb: &str| self.fuzz(program, verb);
        step(&format!("build {} with instrumentation", self.name), || {
            run_command(&mut fuzz("build"))
        })?;
        let ended = step(&format!("fuzz {} for {seconds} s", self.name), || {
            let mut command = fuzz("run");
            command.arg(&grown).arg(self.kept("corpus"));
            let findings = self.kept("findings");
            if findings.exists() {
                command.arg(findings);
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
            return Ok(true);
        };
        let smaller = self.folder.join("artifacts").join(&self.name);
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
            self.kept("findings").display()
        );
        Ok(false)
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

/// Every target of every crate, by name.
fn targets() -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for part in ["appliance", "control", "ebpf"] {
        for package in files(&paths::root().join(part))? {
            let folder = package.join("fuzz");
            for file in files(&folder.join("targets"))? {
                let name = file.file_stem().unwrap_or_default().to_string_lossy();
                targets.push(Target {
                    name: name.into_owned(),
                    folder: folder.clone(),
                });
            }
        }
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
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
        let targets = targets().expect("folders that can be read");
        assert!(!targets.is_empty());
        for target in &targets {
            let manifest = target.folder.join("Cargo.toml");
            let manifest = std::fs::read_to_string(manifest).expect("a manifest");
            assert!(manifest.contains(&format!("name = \"{}\"", target.name)));
            assert!(!target.holds().expect("properties").is_empty());
            assert!(
                !files(&target.kept("corpus"))
                    .expect("a folder that can be read")
                    .is_empty()
            );
        }
    }
}

//! Debian's package manager.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::step::{output, run};

/// Waits for another package manager that holds the lock, instead of failing at once.
const LOCK: [&str; 2] = ["-o", "DPkg::Lock::Timeout=300"];

/// Installs packages system-wide. The `services` among them are neither started nor enabled.
pub fn install(packages: &[&str], services: &[&str]) -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "installing packages needs root: run `apt-get install {}`",
            packages.join(" ")
        );
    }
    refresh()?;
    let mut install = apt_get();
    install
        .args(LOCK)
        .args(["install", "--yes", "--no-install-recommends", "-qq"])
        .args(packages);
    if services.is_empty() || !Path::new("/run/systemd/system").exists() {
        return run(&mut install);
    }
    let systemctl = |arguments: &[&str]| {
        let mut command = Command::new("systemctl");
        run(command.arg("--quiet").args(arguments).args(services))
    };
    // What is masked is not started when its package is installed.
    systemctl(&["mask", "--runtime"])?;
    let installed = run(&mut install);
    systemctl(&["unmask", "--runtime"])?;
    installed?;
    systemctl(&["disable"])
}

/// Unpacks packages, and those of their dependencies that the machine lacks, into `folder`, without
/// installing them: Debian's `rustc-web` conflicts with its `rustc`, and neither is ours to remove.
///
/// `own` tells which packages are unpacked even where the machine has them installed.
pub fn unpack(packages: &[&str], own: impl Fn(&str) -> bool, folder: &Path) -> Result<()> {
    if geteuid().is_root() {
        refresh()?;
    }
    let wanted: Vec<String> = closure(packages)?
        .into_iter()
        .filter(|name| own(name) || !installed(name))
        .collect();
    extract(&wanted, folder)
}

/// Unpacks one package into `folder`, without installing it, and nothing that it depends on.
pub fn unpack_alone(package: &str, folder: &Path) -> Result<()> {
    if geteuid().is_root() {
        refresh()?;
    }
    extract(&[package.to_owned()], folder)
}

fn extract(wanted: &[String], folder: &Path) -> Result<()> {
    let archives = folder.join("archives");
    std::fs::create_dir_all(&archives)?;
    run(apt_get()
        // Into a folder of ours, which apt's sandbox user cannot write.
        .args(["-o", "APT::Sandbox::User=root", "download", "-qq"])
        .args(wanted)
        .current_dir(&archives))?;
    for archive in std::fs::read_dir(&archives)? {
        run(Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive?.path())
            .arg(folder))?;
    }
    std::fs::remove_dir_all(&archives)?;
    Ok(())
}

/// `packages` with all they depend on, as if nothing were installed.
fn closure(packages: &[&str]) -> Result<BTreeSet<String>> {
    let plan = output(
        apt_get()
            .args(["-o", "Dir::State::status=/dev/null", "install", "--simulate", "--no-install-recommends"])
            .args(packages),
    )
    .context("Debian's package lists do not offer the compiler for the kernel programs; enable the security archive")?;
    Ok(plan
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

fn installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"installed"))
}

/// Reads the package lists anew, once a run.
fn refresh() -> Result<()> {
    static DONE: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    if DONE.get().is_none() {
        run(apt_get().args(LOCK).args(["update", "-qq"]))?;
        let _ = DONE.set(());
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

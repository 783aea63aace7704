//! What a lab needs of the machine, asked before anything is made: one sentence each.

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::geteuid;

/// Oldest kernel that Weir runs on.
const KERNEL: (u32, u32) = (6, 12);

/// Root, network namespaces, a kernel that is new enough, and the tools that make the network.
pub fn machine() -> Result<()> {
    if !geteuid().is_root() {
        bail!(
            "the lab needs root: it makes network namespaces and loads kernel programs; run it with sudo"
        );
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot ask for the kernel's version")?;
    let release = release.trim();
    if parse(release).is_none_or(|version| version < KERNEL) {
        bail!(
            "the lab needs Linux {}.{} or newer, this machine runs {release}: install a newer kernel (on Debian 12: from backports)",
            KERNEL.0,
            KERNEL.1
        );
    }
    let namespaces = thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS));
    if let Err(error) = namespaces.join().expect("unshare does not panic") {
        bail!(
            "this machine refuses to make network namespaces ({error}): run the lab outside of the container, or with --privileged"
        );
    }
    tools(&["ip", "nft"])
}

/// Programs that must be on the search path.
pub fn tools(programs: &[&str]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| find(program).is_none())
        .collect();
    if !missing.is_empty() {
        bail!(
            "not installed: {}; `cargo xtask setup` installs what the lab needs",
            missing.join(", ")
        );
    }
    Ok(())
}

/// A program on the search path of the lab's commands.
pub fn find(program: &str) -> Option<PathBuf> {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .map(|directory| PathBuf::from(directory).join(program))
    .find(|path| path.is_file())
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-', '+']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_compared_by_number() {
        assert_eq!(parse("6.12.43+deb13-amd64"), Some((6, 12)));
        assert_eq!(parse("6.9-rc1"), Some((6, 9)));
        assert!(parse("6.9.1") < Some(KERNEL));
        assert_eq!(parse("unknown"), None);
    }
}

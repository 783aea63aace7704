//! Weir on Debian: the trees of files that go into the system slot and onto the data partition.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::base::Base;
use super::identifier;
use crate::paths;
use crate::step::{output, run};

/// What lies on the data partition: where it is in the running system, and its name there. A later system in the other
/// slot finds its configuration, its state and its logs again.
const KEPT: [(&str, &str); 3] = [
    ("etc/weir", "etc"),
    ("var/lib/weir", "state"),
    ("var/log", "log"),
];

/// What must be each machine's own, or is of no use in an image.
const NOT_SHIPPED: [&str; 14] = [
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "initrd.img.old",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/log/alternatives.log",
    "var/log/apt",
    "var/log/dpkg.log",
    "var/log/runit",
    "vmlinuz.old",
];

/// What is enabled in the image.
const PRESET: &str = "usr/lib/systemd/system-preset/70-weir-image.preset";

/// Needed to make the image start, and not by the image.
const TOOLS: [&str; 9] = [
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "grub-efi-amd64-unsigned",
    "grub-pc-bin",
    "grub2-common",
    "shim-helpers-amd64-signed",
    "shim-signed",
    "shim-unsigned",
];

/// The unpacked trees.
pub struct System {
    /// Of the system slot.
    pub root: PathBuf,
    /// Of the data partition.
    pub data: PathBuf,
    /// Of the EFI system partition.
    pub efi: PathBuf,
    /// The two pieces of the loader that BIOS starts.
    pub bios: super::loader::Bios,
}

/// Unpacks `base`, installs `deb` and the image's own files, and takes out what each machine makes for itself.
pub fn build(base: &Base, deb: &Path, scratch: &Path, epoch: u64) -> Result<System> {
    let root = scratch.join("root");
    fs::create_dir(&root)?;
    run(Command::new("tar")
        .args(["--extract", "--numeric-owner", "--xattrs", "--file"])
        .arg(&base.archive)
        .arg("--directory")
        .arg(&root))?;
    install(&root, deb, epoch)?;
    run(Command::new("cp")
        .args(["--recursive", "--preserve=mode", "--no-target-directory"])
        .arg(paths::root().join("images/machine"))
        .arg(&root))?;
    enable(&root)?;
    let efi = scratch.join("efi");
    let bios = super::loader::build(&root, &efi, scratch)?;
    remove_tools(&root)?;
    for name in NOT_SHIPPED {
        remove(&root.join(name))?;
    }
    // Empty, systemd makes one at the first boot; missing, it could not keep it.
    fs::write(root.join("etc/machine-id"), "")?;
    let data = scratch.join("data");
    keep_apart(&root, &data)?;
    for tree in [&root, &data, &efi] {
        settle(tree, epoch)?;
    }
    Ok(System {
        root,
        data,
        efi,
        bios,
    })
}

impl System {
    /// Names and versions, one package a line.
    pub fn packages(&self) -> Result<String> {
        output(
            Command::new("dpkg-query")
                .arg("--admindir")
                .arg(self.root.join("var/lib/dpkg"))
                .args([
                    "--show",
                    "--showformat",
                    "${Package} ${Version} ${Architecture}\\n",
                ]),
        )
    }
}

/// An identifier of this version for a part of the image.
pub fn own_identifier(part: &str) -> String {
    identifier(&format!("weir {} {part}", env!("CARGO_PKG_VERSION")))
}

fn install(root: &Path, deb: &Path, epoch: u64) -> Result<()> {
    let refused = root.join("usr/sbin/policy-rc.d");
    // No daemon may be started in the tree.
    fs::write(&refused, "#!/bin/sh\nexit 101\n")?;
    fs::set_permissions(&refused, fs::Permissions::from_mode(0o755))?;
    fs::copy(deb, root.join("weir.deb"))
        .with_context(|| format!("cannot copy {}", deb.display()))?;
    let mut dpkg = inside(root);
    dpkg.args(["dpkg", "--install", "/weir.deb"])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("SOURCE_DATE_EPOCH", epoch.to_string());
    output(&mut dpkg)?;
    fs::remove_file(root.join("weir.deb"))?;
    fs::remove_file(refused)?;
    Ok(())
}

/// Enables what the image's preset names; other machines leave that to their administrators.
fn enable(root: &Path) -> Result<()> {
    let preset =
        fs::read_to_string(root.join(PRESET)).with_context(|| format!("cannot read {PRESET}"))?;
    let units = preset
        .lines()
        .filter_map(|line| line.strip_prefix("enable "));
    output(
        inside(root)
            .args(["systemctl", "--quiet", "preset"])
            .args(units),
    )
    .map(drop)
}

fn remove_tools(root: &Path) -> Result<()> {
    let mut dpkg = inside(root);
    // The maintainer scripts would look for an EFI partition to clean.
    dpkg.args([
        "dpkg",
        "--purge",
        "--force-remove-protected",
        "--force-depends",
    ])
    .args(TOOLS);
    output(&mut dpkg)?;
    for old in ["status-old", "diversions-old", "statoverride-old"] {
        remove(&root.join("var/lib/dpkg").join(old))?;
    }
    for cache in ["var/cache/debconf", "var/cache/ldconfig", "boot/grub"] {
        remove(&root.join(cache))?;
    }
    for log in ["var/log/alternatives.log", "var/log/dpkg.log"] {
        remove(&root.join(log))?;
    }
    Ok(())
}

/// A command in the tree. The search path is Debian's: the caller's may lack `/sbin`.
fn inside(root: &Path) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// Moves what is kept to the tree of the data partition; empty folders stay, over which it is mounted.
fn keep_apart(root: &Path, data: &Path) -> Result<()> {
    fs::create_dir(data)?;
    for (place, name) in KEPT {
        let (from, to) = (root.join(place), data.join(name));
        fs::create_dir_all(&from)?;
        fs::rename(&from, &to)?;
        let like = fs::metadata(&to)?;
        fs::create_dir(&from)?;
        fs::set_permissions(&from, like.permissions())?;
        chown(&from, Some(like.uid()), Some(like.gid()))?;
    }
    for mount_point in ["data", "efi"] {
        fs::create_dir(root.join(mount_point))?;
    }
    Ok(())
}

/// Gives everything that this build made the time of the commit, and nothing a time of access.
fn settle(tree: &Path, epoch: u64) -> Result<()> {
    let at = format!("@{epoch}");
    run(Command::new("find").arg(tree).args([
        "-newermt",
        &at,
        "-exec",
        "touch",
        "--no-dereference",
        "--date",
        &at,
        "{}",
        "+",
    ]))?;
    run(Command::new("find").arg(tree).args([
        "-exec",
        "touch",
        "-a",
        "--no-dereference",
        "--date",
        &at,
        "{}",
        "+",
    ]))
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

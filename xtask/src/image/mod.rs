//! Builds the machine image: Debian 13 with Weir on it, as a raw disk and as qcow2.
//!
//! ```text
//!  Debian's mirror ─► base.tar ─┐                    ┌─► weir-VERSION.raw ─► weir-VERSION.qcow2
//!  cargo xtask deb ─► weir.deb ─┴─► system, data ────┤
//!  images/machine/ ─► files of the image only        └─► .packages, SHA256SUMS
//! ```
//!
//! [`base`] is what comes from Debian, kept until the mirror changes; [`system`] puts Weir and the image's own files on
//! it; [`loader`] makes the machine start, from BIOS and from UEFI; [`disk`] lays it all out. Time stamps, identifiers and
//! order come from the commit and the version, so that two builds from one state of the mirror are the same bytes.
//! [`boot_test`] hands the image to the lab, which boots it and signs in through it. No loop device is needed, and
//! nothing but Debian's mirror is asked.

mod base;
mod boot_test;
mod disk;
mod loader;
mod system;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::step::{output, run as run_command, step};
use crate::{deb, paths, setup};

/// What `cargo xtask image` is told.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    set_up: crate::SetUp,
    /// Debian's kernel: `cloud` for virtual machines, `generic` also for hardware and for emulated cards such as e1000.
    #[arg(long, value_enum, default_value = "cloud")]
    kernel: base::Kernel,
    /// Build the image twice, the second time from nothing, and compare the bytes.
    #[arg(long)]
    twice: bool,
    /// Package the programs that lie in this folder, instead of building them.
    #[arg(long, value_name = "DIR", conflicts_with = "deb")]
    programs: Option<PathBuf>,
    /// Install this package, instead of building one.
    #[arg(long, value_name = "FILE")]
    deb: Option<PathBuf>,
    /// Boot the image in qemu, by BIOS and by UEFI, and sign in through it.
    #[arg(long)]
    boot_test: bool,
    /// Boot the image that is there, instead of building one first.
    #[arg(long, requires = "boot_test")]
    keep: bool,
    /// Handed to the boot test: `--firmware bios|uefi|secure-boot`, `--only GLOB`, `--json FILE`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    handed_over: Vec<String>,
}

/// What a build leaves in `target/images`.
struct Built {
    raw: PathBuf,
    qcow2: PathBuf,
    packages: PathBuf,
}

/// Runs `cargo xtask image`.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if !geteuid().is_root() {
        bail!("building the image needs root: it unpacks a system with its owners and modes");
    }
    if std::env::consts::ARCH != "x86_64" {
        bail!("the image is built for x86-64, and on such a machine");
    }
    setup::ensure(&setup::IMAGE, arguments.set_up.no_install)?;
    let built = Built::at(&paths::images());
    if !arguments.keep {
        build(arguments, &built)?;
    }
    if !arguments.boot_test {
        return Ok(ExitCode::SUCCESS);
    }
    if !built.qcow2.exists() {
        bail!(
            "there is no {}: build it first, without --keep",
            built.qcow2.display()
        );
    }
    for needs in [&setup::EVERYTHING[..], &setup::BOOT_TEST[..]] {
        setup::ensure(needs, arguments.set_up.no_install)?;
    }
    boot_test::run(&built.qcow2, &arguments.handed_over)
}

fn build(arguments: &Arguments, built: &Built) -> Result<()> {
    let deb = match &arguments.deb {
        Some(deb) => deb.clone(),
        None => deb::package(arguments.programs.as_deref(), arguments.set_up.no_install)?,
    };
    let scratch = paths::images().join("build");
    let base = base::get(arguments.kernel, &paths::images().join("cache"))?;
    assemble(&base, &deb, &scratch, built)?;
    if arguments.twice {
        let again = paths::images().join("again");
        let base = base::get(arguments.kernel, &again.join("cache"))?;
        let second = Built::at(&again);
        assemble(&base, &deb, &scratch, &second)?;
        compare(built, &second)?;
        std::fs::remove_dir_all(&again)?;
    }
    sum(built)
}

/// Base and package to disk.
fn assemble(base: &base::Base, deb: &Path, scratch: &Path, built: &Built) -> Result<()> {
    let epoch = base.epoch.max(deb::commit_time()?);
    if scratch.exists() {
        std::fs::remove_dir_all(scratch)?;
    }
    std::fs::create_dir_all(scratch)?;
    let system = step("install Weir on Debian", || {
        system::build(base, deb, scratch, epoch)
    })?;
    std::fs::write(&built.packages, system.packages()?)?;
    step("lay out the disk", || {
        disk::build(&system, epoch, scratch, &built.raw)
    })?;
    step("compress it as qcow2", || {
        run_command(
            Command::new("qemu-img")
                .args(["convert", "-q", "-c", "-m", "1", "-f", "raw", "-O", "qcow2"])
                .args([&built.raw, &built.qcow2]),
        )
    })?;
    std::fs::remove_dir_all(scratch)?;
    Ok(())
}

impl Built {
    fn at(folder: &Path) -> Self {
        let name = |kind: &str| folder.join(format!("weir-{}.{kind}", env!("CARGO_PKG_VERSION")));
        Self {
            raw: name("raw"),
            qcow2: name("qcow2"),
            packages: name("packages"),
        }
    }

    fn files(&self) -> [&PathBuf; 3] {
        [&self.raw, &self.qcow2, &self.packages]
    }
}

/// Says which bytes of the second build differ from those of the first.
fn compare(first: &Built, second: &Built) -> Result<()> {
    let mut same = true;
    for (one, other) in first.files().into_iter().zip(second.files()) {
        let differs = Command::new("cmp").args([one, other]).output()?;
        let name = one.file_name().unwrap_or_default().to_string_lossy();
        if differs.status.success() {
            eprintln!("    {name}: the same bytes");
        } else {
            same = false;
            let first = String::from_utf8_lossy(&differs.stdout);
            eprintln!("    {name}: differs; {}", first.trim());
        }
    }
    if !same {
        bail!(
            "two builds are not the same bytes; the second is in {}",
            second.raw.display()
        );
    }
    Ok(())
}

/// Writes `SHA256SUMS`, and says how large everything is.
fn sum(built: &Built) -> Result<()> {
    let folder = paths::images();
    let names: Vec<_> = built
        .files()
        .into_iter()
        .filter_map(|path| path.file_name())
        .collect();
    let sums = output(Command::new("sha256sum").args(&names).current_dir(&folder))?;
    std::fs::write(folder.join("SHA256SUMS"), &sums)?;
    for path in built.files() {
        let data = std::fs::metadata(path)?;
        let taken = std::os::unix::fs::MetadataExt::blocks(&data) * 512;
        eprintln!(
            "    {} ({:.1} MB, {:.1} MB on disk)",
            path.display(),
            megabytes(data.len()),
            megabytes(taken)
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// An identifier that is the same for the same words, in the form of a UUID (RFC 9562, version 8). Partitions and file
/// systems need one, and a random one would make each image another.
fn identifier(words: &str) -> String {
    let half = |basis: u64| {
        // FNV-1a: nobody has to be kept from finding a collision.
        words.bytes().fold(basis, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let (high, low) = (half(0xcbf2_9ce4_8422_2325), half(0x8422_2325_cbf2_9ce4));
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_stable_and_apart() {
        let one = identifier("weir 0.1.0 weir-a");
        assert_eq!(one, identifier("weir 0.1.0 weir-a"));
        assert_ne!(one, identifier("weir 0.1.0 weir-b"));
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'8');
    }
}

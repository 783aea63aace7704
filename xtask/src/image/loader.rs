//! What starts the machine. UEFI finds Debian's signed `shim` and GRUB on the EFI system partition, so that Secure Boot
//! may stay on; BIOS finds GRUB in the disk's first sector and in a partition for it. Both read one configuration, which
//! knows the two system slots.
//!
//! GRUB's own installer wants to find the partitions as devices. What it writes is little, and is written here instead:
//! where the second stage lies, in two places (GRUB's `boot.S` and `diskboot.S`).

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::disk;
use crate::paths;
use crate::step::run;

/// Where Debian's signed GRUB looks for its configuration on the partition that it was started from.
const FOLDER: &str = "EFI/debian";
/// What GRUB for BIOS needs to read the configuration and to start a slot.
const MODULES: [&str; 16] = [
    "biosdisk",
    "configfile",
    "echo",
    "ext2",
    "fat",
    "linux",
    "loadenv",
    "minicmd",
    "normal",
    "part_gpt",
    "reboot",
    "search",
    "search_label",
    "serial",
    "terminal",
    "test",
];
const SECTOR: usize = 512;
/// In the first sector: where the second stage begins (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const SECOND_STAGE: usize = 0x5c;
/// In the first sector: a jump round what a floppy's BIOS gets wrong (`GRUB_BOOT_MACHINE_DRIVE_CHECK`).
const DRIVE_CHECK: usize = 0x66;
/// At the end of the second stage's first sector: where its other sectors begin, and how many they are.
const REST: usize = SECTOR - 12;

/// What BIOS starts.
pub struct Bios {
    /// The first sector's code, without the table of partitions.
    pub first: Vec<u8>,
    /// The second stage.
    pub second: Vec<u8>,
}

/// Fills `efi`, the tree of the EFI system partition, from the loaders that are installed in `root`.
pub fn build(root: &Path, efi: &Path, scratch: &Path) -> Result<Bios> {
    let folder = efi.join(FOLDER);
    fs::create_dir_all(&folder)?;
    fs::create_dir_all(efi.join("EFI/BOOT"))?;
    let grub = root.join("usr/lib/grub");
    for (from, to) in [
        (root.join("usr/lib/shim/shimx64.efi.signed"), "BOOTX64.EFI"),
        (
            grub.join("x86_64-efi-signed/grubx64.efi.signed"),
            "grubx64.efi",
        ),
        (root.join("usr/lib/shim/mmx64.efi.signed"), "mmx64.efi"),
    ] {
        fs::copy(&from, efi.join("EFI/BOOT").join(to))
            .with_context(|| format!("there is no {}", from.display()))?;
    }
    fs::copy(
        paths::root().join("images/image/grub.cfg"),
        folder.join("grub.cfg"),
    )?;
    fs::write(folder.join("grubenv"), environment("slot=a\n"))?;
    let second = scratch.join("core.img");
    run(disk::guest_program(root, "usr/bin/grub-mkimage")
        .args(["--format=i386-pc", "--compression=auto"])
        .arg("--directory")
        .arg(grub.join("i386-pc"))
        .arg(format!("--prefix=(,gpt{})/{FOLDER}", disk::EFI))
        .arg("--output")
        .arg(&second)
        .args(MODULES))?;
    let first = fs::read(grub.join("i386-pc/boot.img"))?;
    link(first, fs::read(second)?, disk::start_of(disk::BIOS))
}

/// Tells both stages where the second lies: from sector `at` on, in one piece.
fn link(mut first: Vec<u8>, mut second: Vec<u8>, at: u64) -> Result<Bios> {
    ensure!(
        first.len() == SECTOR && second.len() > SECTOR,
        "GRUB's stages are not of the size that is known here"
    );
    second.resize(second.len().next_multiple_of(SECTOR), 0);
    let sectors = u16::try_from(second.len() / SECTOR - 1).context("GRUB is too large")?;
    let [low, high] = sectors.to_le_bytes();
    ensure!(
        second[REST + 8..REST + 10] == [low, high],
        "GRUB's second stage does not say its own length where it is expected"
    );
    first[SECOND_STAGE..SECOND_STAGE + 8].copy_from_slice(&at.to_le_bytes());
    first[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    second[REST..REST + 8].copy_from_slice(&(at + 1).to_le_bytes());
    // What follows the code in the first sector is the disk's own: its signature and its partitions.
    first.truncate(440);
    Ok(Bios { first, second })
}

/// GRUB's block of variables: it has to be exactly this long to be written by GRUB.
fn environment(variables: &str) -> String {
    format!(
        "{:#<1024}",
        format!("# GRUB Environment Block\n{variables}")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_learn_where_the_second_lies() {
        let mut second = vec![0; 3 * SECTOR - 7];
        second[REST + 8] = 2;
        let bios = link(vec![0; SECTOR], second, 2048).expect("both are of the right shape");
        assert_eq!(
            bios.first[SECOND_STAGE..SECOND_STAGE + 8],
            2048_u64.to_le_bytes()
        );
        assert_eq!(bios.second[REST..REST + 8], 2049_u64.to_le_bytes());
        assert_eq!(bios.first.len(), 440);
        assert_eq!(bios.second.len(), 3 * SECTOR);
    }

    #[test]
    fn stages_of_another_shape_are_refused() {
        assert!(link(vec![0; SECTOR], vec![0; 3 * SECTOR], 2048).is_err());
        assert!(link(vec![0; 100], vec![0; 3 * SECTOR], 2048).is_err());
    }

    #[test]
    fn the_block_of_variables_has_its_length() {
        assert_eq!(environment("slot=a\n").len(), 1024);
    }
}

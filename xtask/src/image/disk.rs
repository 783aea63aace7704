//! The disk: a table of partitions, their file systems, and where everything lies.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::system::{System, own_identifier};
use crate::step::{output, run};

/// Number of the partition for the loader that BIOS starts.
pub const BIOS: usize = 1;
/// Number of the EFI system partition.
pub const EFI: usize = 2;
const SLOT_A: usize = 3;
const DATA: usize = 5;

const MIB: u64 = 1024 * 1024;
const SECTOR: u64 = 512;
/// Zeros are left out in pieces of this size.
const BLOCK: usize = 64 * 1024;

struct Partition {
    name: &'static str,
    /// What it is for, by the UUIDs of UEFI, GRUB and the Discoverable Partitions Specification.
    kind: &'static str,
    mib: u64,
}

const SYSTEM: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";

/// In the order in which they lie on the disk, from the first MiB on. The data partition is the last, so that it can
/// grow; the second slot is empty, for the next version.
const PARTITIONS: [Partition; 5] = [
    Partition {
        name: "weir-bios",
        kind: "21686148-6449-6e6f-744e-656564454649",
        mib: 1,
    },
    Partition {
        name: "weir-efi",
        kind: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        mib: 64,
    },
    Partition {
        name: "weir-a",
        kind: SYSTEM,
        mib: 1024,
    },
    Partition {
        name: "weir-b",
        kind: SYSTEM,
        mib: 1024,
    },
    Partition {
        name: "weir-data",
        kind: "0fc63daf-8483-4772-8e79-3d69d8477de4",
        mib: 256,
    },
];

/// Writes the raw disk. Nothing is written to the empty slot, so the file is sparse there.
pub fn build(system: &System, epoch: u64, scratch: &Path, raw: &Path) -> Result<()> {
    let image = File::create(raw).with_context(|| format!("cannot write {}", raw.display()))?;
    let end = PARTITIONS
        .iter()
        .map(|partition| partition.mib)
        .sum::<u64>()
        + 1;
    // One more MiB at the end, for the second copy of the table.
    image.set_len((end + 1) * MIB)?;
    partition(raw)?;
    image.write_all_at(&system.bios.first, 0)?;
    image.write_all_at(&system.bios.second, start_of(BIOS) * SECTOR)?;
    let efi = fat(&system.efi, EFI, epoch, scratch)?;
    copy(&efi, &image, EFI)?;
    for (tree, number) in [(&system.root, SLOT_A), (&system.data, DATA)] {
        let filled = ext4(tree, &system.root, number, epoch, scratch)?;
        copy(&filled, &image, number)?;
    }
    image.sync_all()?;
    Ok(())
}

/// The first sector of a partition.
pub fn start_of(number: usize) -> u64 {
    let before = PARTITIONS.iter().take(number - 1);
    (1 + before.map(|partition| partition.mib).sum::<u64>()) * MIB / SECTOR
}

/// A program of the image itself, run by its own loader on this machine: its version is the image's, whatever is
/// installed here.
pub fn guest_program(root: &Path, program: &str) -> Command {
    let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(root.join("usr/lib/x86_64-linux-gnu"))
        .arg(root.join(program))
        .env("LC_ALL", "C.UTF-8");
    command
}

fn partition(raw: &Path) -> Result<()> {
    let lines = PARTITIONS.iter().enumerate().map(|(index, partition)| {
        format!(
            "start={}, size={}, type={}, uuid={}, name={}\n",
            start_of(index + 1),
            partition.mib * MIB / SECTOR,
            partition.kind,
            own_identifier(&format!("partition {}", partition.name)),
            partition.name
        )
    });
    let head = format!("label: gpt\nlabel-id: {}\n", own_identifier("disk"));
    let script: String = std::iter::once(head).chain(lines).collect();
    let mut sfdisk = Command::new("sfdisk")
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(raw)
        .stdin(Stdio::piped())
        .spawn()
        .context("cannot start sfdisk")?;
    let mut input = sfdisk.stdin.take().expect("it was asked for");
    input.write_all(script.as_bytes())?;
    drop(input);
    ensure!(sfdisk.wait()?.success(), "sfdisk does not take the layout");
    Ok(())
}

fn fat(tree: &Path, number: usize, epoch: u64, scratch: &Path) -> Result<PathBuf> {
    let file = empty(number, scratch)?;
    let serial = own_identifier("efi");
    run(Command::new("mkfs.vfat")
        .args(["--invariant", "-F", "32", "-s", "1", "-n", "WEIR-EFI", "-i"])
        .arg(&serial[..8])
        .arg(&file)
        .stdout(Stdio::null()))?;
    // One after the other by name: their order on the disk must not be that of this machine's folders.
    let mut tools = vec![mtools("mmd", &file, epoch, &["::EFI"])];
    for folder in sorted(&tree.join("EFI"))? {
        let place = format!("::EFI/{}", name_of(&folder));
        tools.push(mtools("mmd", &file, epoch, &[&place]));
        for from in sorted(&folder)? {
            let mut copy = mtools("mcopy", &file, epoch, &["-m"]);
            copy.arg(from).arg(&place);
            tools.push(copy);
        }
    }
    tools.iter_mut().try_for_each(run)?;
    Ok(file)
}

fn ext4(tree: &Path, root: &Path, number: usize, epoch: u64, scratch: &Path) -> Result<PathBuf> {
    let file = empty(number, scratch)?;
    let name = PARTITIONS[number - 1].name;
    output(
        guest_program(root, "usr/sbin/mke2fs")
            .args([
                "-q",
                "-t",
                "ext4",
                "-m",
                "1",
                "-e",
                "remount-ro",
                "-L",
                name,
            ])
            .args(["-U", &own_identifier(&format!("file system {name}"))])
            .arg("-E")
            .arg(format!(
                "hash_seed={},root_owner=0:0,lazy_itable_init=1,nodiscard",
                own_identifier(&format!("hashes {name}"))
            ))
            .arg("-d")
            .arg(tree)
            .arg(&file)
            .env("MKE2FS_CONFIG", root.join("etc/mke2fs.conf"))
            .env("SOURCE_DATE_EPOCH", epoch.to_string()),
    )?;
    Ok(file)
}

fn mtools(tool: &str, file: &Path, epoch: u64, arguments: &[&str]) -> Command {
    let mut command = Command::new(tool);
    command
        .arg("-i")
        .arg(file)
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("TZ", "UTC");
    command
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<Result<Vec<PathBuf>>>()?;
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// An empty file as large as the partition.
fn empty(number: usize, scratch: &Path) -> Result<PathBuf> {
    let file = scratch.join(format!("partition-{number}"));
    File::create(&file)?.set_len(PARTITIONS[number - 1].mib * MIB)?;
    Ok(file)
}

/// Writes a partition to its place, without its zeros.
fn copy(partition: &Path, image: &File, number: usize) -> Result<()> {
    let from = File::open(partition)?;
    let mut at = start_of(number) * SECTOR;
    let mut block = vec![0; BLOCK];
    let mut offset = 0;
    loop {
        let read = from.read_at(&mut block, offset)?;
        if read == 0 {
            break;
        }
        if block[..read].iter().any(|&byte| byte != 0) {
            image.write_all_at(&block[..read], at)?;
        }
        at += read as u64;
        offset += read as u64;
    }
    fs::remove_file(partition)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_lie_one_after_the_other() {
        assert_eq!(start_of(BIOS), 2048);
        assert_eq!(start_of(EFI), 4096);
        assert_eq!(start_of(SLOT_A), 4096 + 64 * 2048);
        assert_eq!(PARTITIONS[DATA - 1].name, "weir-data");
    }
}

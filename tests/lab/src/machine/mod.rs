//! Weir as a machine of its own: the image, booted in the middle of the lab by qemu.
//!
//! It gets what an administrator would give it: a disk with the first boot's configuration ([`seed`]), three wires
//! ([`wires`]) and a key for SSH ([`shell`]). It tells how it is on its serial line ([`console`]). Nothing of it is taken
//! from this machine: its kernel, its daemons and its configuration are those of the image.

mod console;
mod seed;
mod shell;
mod wires;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::process::Child;

use self::console::Console;
use self::shell::Shell;
use crate::exec::{Identity, clean};
use crate::lab::Lab;
use crate::netns::Part;

/// How long a boot may take: without hardware's help, on a machine that has other things to do.
const BOOT: Duration = Duration::from_mins(15);
/// How large the disk is that the image lies on: the data partition has to grow.
const DISK: &str = "4G";
/// A processor with what encrypts fast, and without what qemu emulates wrongly: with `cmpxchg16b`, version 7.2 panics
/// Linux 6.12.
const CPU: &str = "qemu64,-cx16,+ssse3,+sse4.1,+sse4.2,+popcnt,+aes,+pclmulqdq,+rdrand";
/// Where Debian has the firmware for UEFI.
const OVMF: &str = "/usr/share/OVMF";

/// What starts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// As machines did since 1981.
    Bios,
    /// As they do now.
    Uefi,
    /// By UEFI that starts nothing but what Microsoft's keys vouch for, as it is delivered.
    SecureBoot,
}

/// A machine that was booted. It is switched off when this is dropped.
#[derive(Debug)]
pub struct Machine {
    /// What it says on its serial line.
    pub console: Console,
    /// Who looks after it.
    pub shell: Shell,
    /// How long it took from its start until the first boot's configuration was done, and until both planes were ready.
    pub took: [Duration; 2],
    parts: Parts,
    qemu: Child,
}

/// What stays of it while it is off.
#[derive(Debug)]
struct Parts {
    disk: PathBuf,
    seed: PathBuf,
    /// qemu's options for its firmware, with the variables that it keeps.
    firmware: Vec<String>,
}

impl Firmware {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
            Self::SecureBoot => "secure-boot",
        }
    }

    fn arguments(self, directory: &Path) -> Result<Vec<String>> {
        // What keeps the variables that Secure Boot trusts from the system is the processor's management mode.
        let (keys, machine) = match self {
            Self::Bios => return Ok(Vec::new()),
            Self::Uefi => ("", &[][..]),
            Self::SecureBoot => (
                ".ms",
                &[
                    "-machine",
                    "q35,smm=on",
                    "-global",
                    "driver=cfi.pflash01,property=secure,value=on",
                ][..],
            ),
        };
        let code = format!("{OVMF}/OVMF_CODE_4M{keys}.fd");
        // The machine writes to its variables.
        let variables = directory.join("firmware.fd");
        fs::copy(format!("{OVMF}/OVMF_VARS_4M{keys}.fd"), &variables)
            .context("no firmware for UEFI: is ovmf installed?")?;
        let flash = |options: &str, file: &str| {
            [
                "-drive".to_owned(),
                format!("if=pflash,format=raw,{options}file={file}"),
            ]
        };
        let variables = variables.display().to_string();
        let machine = machine.iter().map(|&word| word.to_owned()).collect();
        Ok([
            machine,
            flash("readonly=on,", &code).to_vec(),
            flash("", &variables).to_vec(),
        ]
        .concat())
    }
}

/// Boots `image` and waits until both planes of its Weir are ready.
pub async fn boot(
    lab: &Lab,
    image: &Path,
    firmware: Firmware,
    progress: &dyn Fn(&str),
) -> Result<Machine> {
    let directory = lab.options.out.join("machine");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let key = shell::make_key(&directory)?;
    let seed = seed::write(lab, &directory, &key.public)?;
    let parts = Parts {
        disk: overlay(image, &directory)?,
        seed,
        firmware: firmware.arguments(&directory)?,
    };
    progress(&format!(
        "booting {} by {}",
        image.display(),
        firmware.name()
    ));
    let begun = Instant::now();
    let mut console = Console::new(&directory.join(format!("console-{}.log", firmware.name())))?;
    let qemu = start(lab, &parts, &mut console).await?;
    console.heard(seed::DONE, BOOT).await?;
    let configured = begun.elapsed();
    progress("the first boot is configured; waiting for both planes");
    let shell = Shell::open(lab, &directory).await?;
    shell.both_planes_ready(lab).await?;
    Ok(Machine {
        console,
        shell,
        took: [configured, begun.elapsed()],
        parts,
        qemu,
    })
}

impl Machine {
    /// Boots it again, and waits as before; says how long that took.
    pub async fn reboot(&mut self, lab: &Lab) -> Result<Duration> {
        let begun = Instant::now();
        // The connection is lost on the way: no answer is an answer.
        let _ = self.shell.said("sudo systemctl reboot --no-block").await;
        tokio::time::timeout(BOOT, self.qemu.wait())
            .await
            .context("the machine does not go down")??;
        self.qemu = start(lab, &self.parts, &mut self.console).await?;
        self.console.heard(seed::DONE, BOOT).await?;
        self.shell = Shell::open(lab, &lab.options.out.join("machine")).await?;
        self.shell.both_planes_ready(lab).await?;
        Ok(begun.elapsed())
    }
}

/// A disk that is larger than the image, and that takes what is written: the image stays as it is.
fn overlay(image: &Path, directory: &Path) -> Result<PathBuf> {
    let disk = directory.join("disk.qcow2");
    let image = image
        .canonicalize()
        .with_context(|| format!("there is no {}", image.display()))?;
    tool(
        clean("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(image)
            .arg(&disk)
            .arg(DISK),
    )?;
    Ok(disk)
}

/// Switches it on. Where it would start anew, qemu ends (`-no-reboot`): in TCG, firmware that starts a second time in one
/// process writes where code was translated before, and may take a quarter of an hour for it.
async fn start(lab: &Lab, parts: &Parts, console: &mut Console) -> Result<Child> {
    let mut command = clean("qemu-system-x86_64");
    command
        .args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            CPU,
            "-smp",
            "2",
            "-m",
            "1024",
        ])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio"])
        .args(["-device", "virtio-rng-pci", "-no-reboot"])
        .args(&parts.firmware)
        .arg("-drive")
        .arg(format!(
            "if=virtio,format=qcow2,file={}",
            parts.disk.display()
        ))
        .arg("-drive")
        .arg(format!(
            "if=virtio,format=raw,readonly=on,file={}",
            parts.seed.display()
        ));
    let taps = wires::open(lab)?;
    for (wire, tap) in wires::ALL.iter().zip(&taps) {
        let id = wire.name;
        command
            .arg("-netdev")
            .arg(format!("tap,id={id},fd={}", tap.as_raw_fd()))
            .arg("-device")
            .arg(format!(
                "virtio-net-pci,netdev={id},mac={},romfile=",
                wire.mac
            ));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    hand_over(&mut command, &taps);
    lab.entry(Part::Weir, None, Identity::Root)?
        .apply(&mut command);
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true);
    // Its own descriptors are open once it is started; ours close here.
    let mut child = command.spawn().context("cannot start qemu-system-x86_64")?;
    drop(taps);
    let line = child.stdout.take().context("qemu has no standard output")?;
    console.read(line).await?;
    Ok(child)
}

/// Leaves these descriptors open in the program that `command` becomes.
fn hand_over(command: &mut Command, descriptors: &[OwnedFd]) {
    use std::os::unix::process::CommandExt;
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: one system call each between fork and exec; the descriptors are open in the parent until after that.
    unsafe {
        command.pre_exec(move || {
            for &number in &numbers {
                let descriptor = std::os::fd::BorrowedFd::borrow_raw(number);
                fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            Ok(())
        });
    }
}

/// Runs a tool to its end; what it complains of is the error.
fn tool(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            command.get_program().display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

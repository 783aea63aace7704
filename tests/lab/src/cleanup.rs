//! Leaving nothing behind.
//!
//! A lab writes [`State`] before it makes anything. [`sweep`] takes everything away again, whatever is there: it is how
//! a lab ends, and how a lab begins, so that one after a SIGKILLed one works. What belongs to a lab is found by the lab's
//! own namespaces and directory, never by the name of a process.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::netns::{Netns, Part};
use crate::topology;

/// Where labs keep what must be gone after them.
const ROOT: &str = "/run/weir-lab";
/// How long a lab may take to go down by itself, in milliseconds.
const PATIENCE: u16 = 30_000;
/// How long a process that was killed may take to go, in milliseconds.
const DYING: u16 = 1_000;

/// What a lab writes down before it makes anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Name of the lab.
    pub instance: String,
    /// Process that holds the lab.
    pub holder: i32,
    /// When that process started, in clock ticks since boot (proc_pid_stat(5), field 22): process ids are used again.
    pub started: u64,
    /// Directory with the lab's files.
    pub out: PathBuf,
}

/// The right to raise or take down the lab of that name; held as long as this lives.
#[derive(Debug)]
pub struct Claim {
    _listener: UnixListener,
}

impl State {
    /// Written by the process that calls it.
    pub fn save(instance: &str, out: &Path) -> Result<()> {
        let holder = std::process::id().cast_signed();
        let state = Self {
            instance: instance.to_owned(),
            holder,
            started: started(holder).context("cannot read /proc/self/stat")?,
            out: out.to_owned(),
        };
        fs::create_dir_all(ROOT).with_context(|| format!("cannot make {ROOT}"))?;
        let path = state_file(instance);
        fs::write(&path, serde_json::to_vec_pretty(&state)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What the lab of that name wrote, if it stands or was left behind.
    pub fn load(instance: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(state_file(instance)).ok()?).ok()
    }

    /// Whether the process that wrote it still runs.
    pub fn is_held(&self) -> bool {
        started(self.holder) == Some(self.started)
    }
}

impl Claim {
    /// Claims the lab of that name, or says that somebody has it. A holder that is just being killed is waited for.
    pub fn take(instance: &str) -> Result<Self> {
        // An abstract name (unix(7)): the kernel frees it with the process, however that ends.
        let name = SocketAddr::from_abstract_name(format!("weir-lab/{instance}"))?;
        let bind = || UnixListener::bind_addr(&name);
        let listener = match bind() {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                if let Some(holder) = State::load(instance).and_then(|state| pidfd(state.holder)) {
                    wait(&holder, DYING)?;
                }
                bind()
            }
            result => result,
        };
        match listener {
            Ok(listener) => Ok(Self {
                _listener: listener,
            }),
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "a lab called {instance} stands already: take it down first (weir-lab down --instance {instance}), \
                 or give this one another name (--instance)"
            ),
            Err(error) => Err(error).context("cannot claim the lab's name"),
        }
    }
}

/// The directory of the lab of that name: a file system of its own, in memory, readable by every user of the lab.
pub fn run_directory(instance: &str) -> PathBuf {
    Path::new(ROOT).join(instance)
}

/// Asks the process that holds the lab to take it down, and waits until it is gone.
pub fn end_holder(state: &State) -> Result<()> {
    let Some(descriptor) = pidfd(state.holder) else {
        return Ok(());
    };
    // Asked again now that the descriptor keeps the number from meaning another process.
    if !state.is_held() {
        return Ok(());
    }
    kill(Pid::from_raw(state.holder), Signal::SIGTERM).context("cannot signal the lab")?;
    if !wait(&descriptor, PATIENCE)? {
        kill(Pid::from_raw(state.holder), Signal::SIGKILL).context("cannot kill the lab")?;
        wait(&descriptor, PATIENCE)?;
    }
    Ok(())
}

/// Takes away everything of the lab of that name. Its holder must be gone, or be the caller.
pub fn sweep(instance: &str) -> Result<()> {
    let parts = Part::ALL.map(|part| Netns::of(instance, part));
    let namespaces: Vec<Netns> = parts.into_iter().chain(Netns::farm(instance)).collect();
    kill_inside(&namespaces.iter().filter_map(Netns::inode).collect())?;
    let directory = run_directory(instance);
    // With the lab's BPF file system go its pins; links end with their interfaces. More than one mount can lie here when
    // a lab was killed between mounting and writing.
    for below in [directory.join("bpf"), directory.clone()] {
        while unmount(&below)? {}
    }
    for namespace in namespaces.iter().filter(|namespace| namespace.exists()) {
        topology::ip(&["netns", "delete", &namespace.name])?;
    }
    remove(fs::remove_dir_all(&directory), &directory)?;
    // It describes a lab that stands.
    if let Some(description) = State::load(instance).map(|state| state.out.join("lab.json")) {
        remove(fs::remove_file(&description), &description)?;
    }
    let state = state_file(instance);
    remove(fs::remove_file(&state), &state)?;
    // Fails while another lab stands, as it should.
    let _ = fs::remove_dir(ROOT);
    Ok(())
}

/// Kills what runs inside the namespaces, until nothing does.
fn kill_inside(namespaces: &BTreeSet<u64>) -> Result<()> {
    loop {
        let inside = processes_inside(namespaces);
        if inside.is_empty() {
            return Ok(());
        }
        for pid in inside {
            let Some(descriptor) = pidfd(pid) else {
                continue;
            };
            if !is_inside(pid, namespaces) {
                continue;
            }
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).context("cannot kill a process of the lab"),
            }
            if !wait(&descriptor, PATIENCE)? {
                bail!("process {pid} of the lab does not end");
            }
        }
    }
}

/// The processes whose network namespace is one of these, named by inode. Zombies have none any more.
pub fn processes_inside(namespaces: &BTreeSet<u64>) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| is_inside(pid, namespaces))
        .collect()
}

fn is_inside(pid: i32, namespaces: &BTreeSet<u64>) -> bool {
    fs::metadata(format!("/proc/{pid}/ns/net"))
        .is_ok_and(|metadata| namespaces.contains(&metadata.ino()))
}

fn unmount(path: &Path) -> Result<bool> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) => Ok(true),
        // Nothing is mounted there, or there is no there.
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot unmount {}", path.display())),
    }
}

fn remove(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn state_file(instance: &str) -> PathBuf {
    Path::new(ROOT).join(format!("{instance}.json"))
}

/// When a process started; `None` when there is no such process.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after it comes field 3.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

fn pidfd(pid: i32) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: pidfd_open(2) takes two numbers and answers a descriptor that nobody else owns, or -1.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = i32::try_from(descriptor)
        .ok()
        .filter(|&number| number >= 0)?;
    // SAFETY: it was opened just now, for us.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether the process ended while we waited.
fn wait(descriptor: &OwnedFd, milliseconds: u16) -> Result<bool> {
    let mut poll_descriptors = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    loop {
        match poll(&mut poll_descriptors, PollTimeout::from(milliseconds)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for a process of the lab"),
        }
    }
}

//! The descriptor store: what a process gave away to be kept, handed to the one that follows it (sd_notify(3),
//! `FDSTORE`; sd_listen_fds(3)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::fstat;

/// The most that is kept for one process; more is closed.
const MOST: usize = 64;
/// The number of the first descriptor that is handed over.
const FIRST: RawFd = 3;
/// Above every number that is handed over, so that none is overwritten by another.
const KEPT_FROM: RawFd = 200;
/// The name of what was given without one.
const NAMELESS: &str = "stored";

/// What one process gave to be kept.
#[derive(Debug)]
pub struct Store {
    kept: Vec<(String, OwnedFd)>,
    /// What the next process gets; as plain numbers, which may be read between fork and exec.
    handed: Arc<Handed>,
}

type Handed = [AtomicI32; MOST];

impl Default for Store {
    /// Holds nothing.
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            handed: Arc::new(std::array::from_fn(|_| AtomicI32::new(-1))),
        }
    }
}

impl Store {
    /// Keeps a descriptor; one of the same file is not kept twice.
    pub fn keep(&mut self, name: Option<&str>, descriptor: &OwnedFd) -> io::Result<()> {
        let file = |descriptor: &OwnedFd| fstat(descriptor).map(|stat| (stat.st_dev, stat.st_ino));
        let new = file(descriptor)?;
        for (_, kept) in &self.kept {
            if file(kept)? == new {
                return Ok(());
            }
        }
        if self.kept.len() < MOST {
            let name = name.unwrap_or(NAMELESS).to_owned();
            self.kept.push((name, high(descriptor)?));
        }
        Ok(())
    }

    /// Forgets what was kept under a name.
    pub fn remove(&mut self, name: &str) {
        self.kept.retain(|(kept, _)| kept != name);
    }

    /// Names of what is kept, in order.
    pub fn names(&self) -> Vec<String> {
        self.kept.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Makes `command` hand over, in every process that it starts from now on, what was [prepared](Self::prepare).
    pub fn attach(&self, command: &mut Command) {
        let handed = Arc::clone(&self.handed);
        // SAFETY: between fork and exec plain numbers are read, and descriptors duplicated; nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                for (at, descriptor) in (FIRST..).zip(handed.iter()) {
                    let descriptor = descriptor.load(Ordering::Relaxed);
                    if descriptor < 0 {
                        break;
                    }
                    // dup2(2) leaves out close-on-exec, which is what it is for here.
                    if libc::dup2(descriptor, at) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    }

    /// Says what the next process gets, and tells it so by its environment.
    pub fn prepare(&self, command: &mut Command) {
        for (at, place) in self.handed.iter().enumerate() {
            let descriptor = self.kept.get(at).map_or(-1, |(_, kept)| kept.as_raw_fd());
            place.store(descriptor, Ordering::Relaxed);
        }
        if self.kept.is_empty() {
            command.env_remove("LISTEN_FDS");
            command.env_remove("LISTEN_FDNAMES");
        } else {
            command.env("LISTEN_FDS", self.kept.len().to_string());
            command.env("LISTEN_FDNAMES", self.names().join(":"));
        }
    }
}

/// A copy with a high number.
fn high(descriptor: &OwnedFd) -> io::Result<OwnedFd> {
    let copy = fcntl(descriptor.as_fd(), FcntlArg::F_DUPFD_CLOEXEC(KEPT_FROM))?;
    // SAFETY: it was made just now, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

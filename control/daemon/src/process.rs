//! A process that is somebody else's, held so that its number cannot come to mean another one
//! (pidfd_open(2)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A hold on a process.
#[derive(Debug)]
pub struct Process(OwnedFd);

/// Which process a number means: numbers are used again.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Identity {
    /// Its process id.
    pub pid: u32,
    /// When it began, in clock ticks since the machine started (field 22 of /proc/PID/stat, proc(5));
    /// `None` when that cannot be read.
    pub began: Option<u64>,
}

impl Identity {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Self {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok();
        // The second field is a name in parentheses that may hold anything.
        let began = stat
            .as_deref()
            .and_then(|stat| stat.rsplit_once(')'))
            .and_then(|(_, fields)| fields.split_ascii_whitespace().nth(19))
            .and_then(|began| began.parse().ok());
        Self { pid, began }
    }

    /// A hold on it; `None` when it has ended, or its number means another process.
    pub fn hold(self) -> Option<Process> {
        // Held first, so that the number cannot change its meaning behind the look.
        let process = Process::open(self.pid).ok()?;
        (Self::of(self.pid) == self).then_some(process)
    }
}

impl Process {
    /// The process of this number; an error when there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open(2) takes a number and flags, and touches no memory.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(Self)
    }

    /// A copy of its descriptor of this number; allowed to whoever may trace it (CAP_SYS_PTRACE).
    pub fn descriptor(&self, number: RawFd) -> io::Result<OwnedFd> {
        // SAFETY: pidfd_getfd(2) takes two descriptors and flags, and touches no memory.
        owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) })
    }

    /// Waits until it has ended.
    pub async fn ended(self) -> io::Result<()> {
        // It can be read when the process has ended.
        // SAFETY: the descriptor is owned by what is registered, and closed after it is taken out.
        let watched = unsafe { AsyncFd::register_with_interest(self.0, Interest::READABLE)? };
        watched.readable().await.map(drop)
    }
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(result) {
        // SAFETY: the kernel has just made this descriptor, close-on-exec, for us alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

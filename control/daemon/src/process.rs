//! A process that is somebody else's, held so that its number cannot come to mean another one
//! (pidfd_open(2)).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A hold on a process.
#[derive(Debug)]
pub struct Process(OwnedFd);

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

//! Memory that is handed over and can no longer be changed by anyone (`memfd_create(2)`, sealed).
//!
//! weir-control writes the compiled lists once, seals them and attaches the descriptor; weir-proxy
//! reads them after it has seen that the seals hold. Without the seals the sender could change or
//! shrink the memory while it is being read.
//!
//! What is small is read ([`read`]); what is large is used where it lies ([`map`]): all who hold it share
//! the same pages.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::{self, NonNull};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The seals that both sides agree on: no write, no growth, no shrinking, and no change of seals.
const SEALS: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_SEAL);

/// Why sealed memory could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused to create or seal the memory.
    #[error("cannot create sealed memory: {0}; the kernel must offer memfd_create with sealing")]
    Create(#[source] io::Error),
    /// The descriptor is not memory with every seal in place.
    #[error(
        "the attached memory is not sealed; weir-control and weir-proxy must be of one version"
    )]
    NotSealed,
    /// The memory is not as long as the message that names it says.
    #[error("the attached memory has {actual} bytes where {expected} were announced")]
    Length {
        /// Length that was announced, in bytes.
        expected: u64,
        /// Length that was found, in bytes.
        actual: u64,
    },
    /// Reading failed.
    #[error("cannot read the attached memory: {0}")]
    Read(#[source] io::Error),
}

/// Copies `bytes` into new sealed memory. `name` is seen in `/proc/PID/maps` only.
pub fn create(name: &str, bytes: &[u8]) -> Result<OwnedFd, Error> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = memfd_create(name, flags).map_err(|errno| Error::Create(errno.into()))?;
    let mut file = File::from(memory);
    file.write_all(bytes).map_err(Error::Create)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).map_err(|errno| Error::Create(errno.into()))?;
    Ok(file.into())
}

/// Reads sealed memory whole, after checking that every seal holds and that it is `length` bytes
/// long.
pub fn read(memory: OwnedFd, length: u64) -> Result<Vec<u8>, Error> {
    let length = checked(&memory, length)?;
    let mut file = File::from(memory);
    // The descriptor shares its offset with the sender's copy.
    file.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let mut bytes = Vec::with_capacity(length);
    file.read_to_end(&mut bytes).map_err(Error::Read)?;
    Ok(bytes)
}

/// Sealed memory where it lies, after the same checks as [`read`] makes; nothing is copied. The pages are
/// given back when it is dropped.
pub fn map(memory: &OwnedFd, length: u64) -> Result<Mapped, Error> {
    let length = checked(memory, length)?;
    if length == 0 {
        return Ok(Mapped {
            start: NonNull::dangling(),
            length,
        });
    }
    // Private: before 6.7 the kernel takes every shared mapping for one that might be written.
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            memory.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(Error::Read(io::Error::last_os_error()));
    }
    let start = NonNull::new(start.cast()).expect("mmap gives no null mapping");
    Ok(Mapped { start, length })
}

/// Sealed memory of another process, in the address space of this one.
#[derive(Debug)]
pub struct Mapped {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and nobody can write it.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping that `map` made, or nothing; the seals keep it as it is, and as long as it is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: the mapping that `map` made; nobody borrows it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}

/// Every seal holds, and the memory is as long as it is said to be.
fn checked(memory: &OwnedFd, length: u64) -> Result<usize, Error> {
    let held = fcntl(memory.as_fd(), FcntlArg::F_GET_SEALS).map_err(|_| Error::NotSealed)?;
    if !SealFlag::from_bits_retain(held).contains(SEALS) {
        return Err(Error::NotSealed);
    }
    let actual = nix::sys::stat::fstat(memory).map_err(|errno| Error::Read(errno.into()))?;
    let actual = u64::try_from(actual.st_size).unwrap_or(0);
    match usize::try_from(actual) {
        Ok(bytes) if actual == length => Ok(bytes),
        _ => Err(Error::Length {
            expected: length,
            actual,
        }),
    }
}

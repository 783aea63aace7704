//! Memory that is handed over and can no longer be changed by anyone (`memfd_create(2)`, sealed).
//!
//! weir-control writes the compiled lists once, seals them and attaches the descriptor; weir-proxy
//! reads them after it has seen that the seals hold. Without the seals the sender could change or
//! shrink the memory while it is being read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

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
    let held = fcntl(memory.as_fd(), FcntlArg::F_GET_SEALS).map_err(|_| Error::NotSealed)?;
    if !SealFlag::from_bits_retain(held).contains(SEALS) {
        return Err(Error::NotSealed);
    }
    let mut file = File::from(memory);
    let actual = file.metadata().map_err(Error::Read)?.len();
    if actual != length {
        return Err(Error::Length {
            expected: length,
            actual,
        });
    }
    // The descriptor shares its offset with the sender's copy.
    file.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let mut bytes = Vec::with_capacity(usize::try_from(actual).unwrap_or(0));
    file.read_to_end(&mut bytes).map_err(Error::Read)?;
    Ok(bytes)
}

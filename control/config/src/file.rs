//! The bytes of a file that the configuration names, in bounded time and memory, whatever it is.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Longest file that is read, in bytes: more than a list of as many prefixes as there may be.
const LONGEST: u64 = 512 << 20;

/// What a file holds. What is longer than any file that is meant is an error, and so is what is no file: a
/// pipe would let everyone wait who wants to change anything, and a device never ends.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_file(path, LONGEST)
}

/// What a file holds, if it has so many bytes at most. What is no file is an error.
pub fn read_file(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    // Who opens a pipe waits for its other end, unless he says that he does not.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !about.is_file() {
        return Err(io::Error::other("it is no file, but a pipe or a device"));
    }
    // Room for all of it, so that no copy of a key's beginning is left behind by growth.
    let room = usize::try_from(about.len().min(longest)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(room + 1);
    file.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        let most = match longest >> 20 {
            0 => format!("{} KiB", longest >> 10),
            mib => format!("{mib} MiB"),
        };
        return Err(io::Error::other(format!("it is longer than {most}")));
    }
    Ok(bytes)
}

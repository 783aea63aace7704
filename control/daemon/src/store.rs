//! Small files that are replaced whole: written beside, then renamed over.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::Error;

/// The number of the newest generation that was ever offered to a plane: it never goes back, also
/// not when weir-control restarts while a proxy goes on with its last generation.
#[derive(Clone, Debug)]
pub struct Numbers {
    path: PathBuf,
    last: u64,
}

impl Numbers {
    /// Reads the number at `path`; it is `at_least` one that is known from elsewhere. A file that is not
    /// there counts as none.
    pub fn open(path: PathBuf, at_least: u64) -> Result<Self, Error> {
        let last = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let source = io::Error::new(
                    io::ErrorKind::InvalidData,
                    "it does not hold a number; write the newest generation's number into it",
                );
                Error::file("use", &path)(source)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        let last = last.max(at_least);
        Ok(Self { path, last })
    }

    /// The number that is taken next.
    pub fn coming(&self) -> u64 {
        self.last + 1
    }

    /// The next number; it is on the disk before it is used. Blocks.
    pub fn take(&mut self) -> Result<u64, Error> {
        let next = self.coming();
        replace(&self.path, format!("{next}\n").as_bytes())
            .map_err(Error::file("write", &self.path))?;
        self.last = next;
        Ok(next)
    }
}

/// Replaces a file: its readers see the old text or the new one, never a part, and the new one outlives
/// a loss of power. Mode and owner stay; a symbolic link stays one. Blocks.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = target.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // Left over from a crash, or put there by somebody who may write into the directory: a link is not
    // followed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&beside)?;
    let mut put = || {
        if let Ok(data) = fs::metadata(&target) {
            keep_owner(&file, &data)?;
        }
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, &target)
    };
    put().inspect_err(|_| {
        // A disk that is full gets its room back.
        let _ = fs::remove_file(&beside);
    })?;
    // The new name is on the disk when its directory is.
    match target.parent() {
        Some(directory) if directory != Path::new("") => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn keep_owner(file: &File, of: &fs::Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (of.uid(), of.gid()) {
        fchown(file, Some(of.uid()), Some(of.gid()))?;
    }
    // After the owner, because a change of owner clears bits of the mode.
    file.set_permissions(Permissions::from_mode(of.mode()))
}

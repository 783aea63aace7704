//! Notices that a file was changed by somebody else, by looking at it four times a second.
//!
//! A file that is being written changes between two looks; only one that has stopped changing is
//! told of, so that half of a file is not read.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two looks.
pub const INTERVAL: Duration = Duration::from_millis(200);

/// What tells one state of a file from another, without reading it; `None` when it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(Option<Identity>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The state of the file now. Taken *before* a file is read, it cannot hide a later change.
    pub fn of(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().map(|data| Identity {
            device: data.dev(),
            inode: data.ino(),
            size: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }))
    }
}

/// States of several files.
pub type Stamps = BTreeMap<PathBuf, Stamp>;

/// The states of these files now.
pub fn stamps<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Stamps {
    paths
        .into_iter()
        .map(|path| {
            let path = path.into();
            let stamp = Stamp::of(&path);
            (path, stamp)
        })
        .collect()
}

/// Compares looks.
#[derive(Debug, Default)]
pub struct Watch {
    last: Stamps,
    /// A state that was tried already and is not to be told of again.
    tried: Stamps,
}

impl Watch {
    /// Whether `now` differs from what is in force, has stopped changing, and was not tried yet.
    pub fn settled(&mut self, now: Stamps, in_force: &Stamps) -> bool {
        let stopped = now == self.last;
        let fresh = now != *in_force && now != self.tried;
        if stopped && fresh {
            self.tried.clone_from(&now);
        }
        self.last = now;
        stopped && fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_a_change_once_and_only_when_it_has_settled() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("hq.list");
        std::fs::write(&path, "203.0.113.0/24\n").expect("written");
        let look = || stamps([&path]);
        let in_force = look();
        let mut watch = Watch::default();

        assert!(!watch.settled(look(), &in_force));
        assert!(!watch.settled(look(), &in_force), "nothing changed");

        std::fs::write(&path, "").expect("written");
        assert!(!watch.settled(look(), &in_force), "may still be changing");
        std::fs::write(&path, "203.0.113.0/24\n198.51.100.0/24\n").expect("written");
        assert!(
            !watch.settled(look(), &in_force),
            "changed since the last look"
        );
        assert!(watch.settled(look(), &in_force));
        assert!(!watch.settled(look(), &in_force), "told already");

        std::fs::remove_file(&path).expect("removed");
        assert!(!watch.settled(look(), &in_force));
        assert!(watch.settled(look(), &in_force), "gone is a change too");
    }
}

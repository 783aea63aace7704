//! A tree of files for a package, in which only contents, modes and one time count.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::step::{output, run};

/// A tree that becomes a package.
pub struct Tree {
    root: PathBuf,
    time: u64,
    /// Places of its files, without those of dpkg itself.
    files: Vec<String>,
}

impl Tree {
    /// An empty tree at `root`, whatever was there; everything in it will be of this time, in seconds.
    pub fn new(root: &Path, time: u64) -> Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_owned(),
            time,
            files: Vec::new(),
        })
    }

    /// Where a place of it lies.
    pub fn path(&self, place: &str) -> PathBuf {
        self.root.join(place)
    }

    /// A folder beside the tree, for what is not packed.
    pub fn beside(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.with_file_name(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Copies a file, and says where it lies.
    pub fn file(&mut self, from: &Path, place: &str, mode: u32) -> Result<PathBuf> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(&bytes, place, mode)
    }

    /// Writes a file.
    pub fn text(&mut self, text: &str, place: &str, mode: u32) -> Result<()> {
        self.write(text.as_bytes(), place, mode).map(drop)
    }

    /// Writes a file as Debian wants documents: compressed, with `.gz` behind its name.
    pub fn compressed(&mut self, text: &str, place: &str) -> Result<()> {
        let mut gzip = Command::new("gzip")
            .args(["-9", "--no-name"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start gzip")?;
        let mut input = gzip.stdin.take().context("gzip has no input")?;
        let text = text.to_owned();
        // It answers while it is still asked.
        let written = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let done = gzip.wait_with_output()?;
        written.join().expect("writing does not panic")?;
        self.write(&done.stdout, &format!("{place}.gz"), 0o644)
            .map(drop)
    }

    /// MD5 of each file, as dpkg wants them.
    pub fn sums(&self) -> Result<String> {
        let mut files = self.files.clone();
        files.sort();
        output(Command::new("md5sum").args(files).current_dir(&self.root))
    }

    /// Room that the files take, in KiB.
    pub fn kibibytes(&self) -> u64 {
        let lengths = self.files.iter().map(|place| {
            let data = fs::metadata(self.path(place));
            data.map_or(0, |data| data.len().div_ceil(1024))
        });
        lengths.sum()
    }

    /// Makes the package.
    pub fn pack(&self, package: &Path) -> Result<()> {
        self.settle(&self.root)?;
        if let Some(folder) = package.parent() {
            fs::create_dir_all(folder)?;
        }
        run(Command::new("dpkg-deb")
            // Blocks that several threads compress would depend on their number.
            .args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"])
            .arg(&self.root)
            .arg(package)
            .env("SOURCE_DATE_EPOCH", self.time.to_string())
            .stdout(Stdio::null()))
    }

    fn write(&mut self, bytes: &[u8], place: &str, mode: u32) -> Result<PathBuf> {
        let path = self.path(place);
        let folder = path.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        if !place.starts_with("DEBIAN/") {
            self.files.push(place.to_owned());
        }
        Ok(path)
    }

    /// Gives folders their mode, whatever the umask was, and everything its time.
    fn settle(&self, path: &Path) -> Result<()> {
        if path.is_dir() {
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
            for entry in fs::read_dir(path)? {
                self.settle(&entry?.path())?;
            }
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.time);
        let times = FileTimes::new().set_accessed(time).set_modified(time);
        Ok(File::open(path)?.set_times(times)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Path) -> Tree {
        let mut tree = Tree::new(root, 1_700_000_000).expect("a tree");
        tree.text("#!/bin/sh\n", "usr/bin/one", 0o755)
            .expect("it is written");
        tree.compressed("two\n", "usr/share/doc/one/two")
            .expect("it is written");
        let control = "Package: one\nVersion: 1\nArchitecture: all\nMaintainer: A <a@a.example>\nDescription: one\n";
        tree.text(control, "DEBIAN/control", 0o644)
            .expect("it is written");
        tree
    }

    #[test]
    fn the_same_files_make_the_same_package_whenever_and_wherever() {
        if Command::new("dpkg-deb").arg("--version").output().is_err() {
            eprintln!(
                "skipped: the_same_files_make_the_same_package_whenever_and_wherever: no dpkg-deb"
            );
            return;
        }
        let scratch = std::env::temp_dir().join(format!("weir-deb-{}", std::process::id()));
        let packages = ["one", "another"].map(|name| {
            let package = scratch.join(format!("{name}.deb"));
            let tree = tree(&scratch.join(name));
            // As if it was laid out at another time, by somebody with another umask.
            if name == "another" {
                let folder = scratch.join("another/usr/bin");
                fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("it is ours");
                let file = File::open(folder.join("one")).expect("it is there");
                file.set_modified(SystemTime::UNIX_EPOCH)
                    .expect("it is ours");
            }
            tree.pack(&package).expect("it is packed");
            fs::read(package).expect("it is there")
        });
        fs::remove_dir_all(&scratch).expect("it is ours");
        assert!(packages[0] == packages[1], "they differ");
    }

    #[test]
    fn sums_are_of_files_that_are_installed() {
        let scratch = std::env::temp_dir().join(format!("weir-sums-{}", std::process::id()));
        let tree = tree(&scratch.join("tree"));
        let sums = tree.sums().expect("they are told");
        let places: Vec<_> = sums
            .lines()
            .filter_map(|line| line.split("  ").nth(1))
            .collect();
        assert_eq!(places, ["usr/bin/one", "usr/share/doc/one/two.gz"]);
        assert_eq!(tree.kibibytes(), 2);
        fs::remove_dir_all(&scratch).expect("it is ours");
    }
}

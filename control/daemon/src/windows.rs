//! The drain windows on the disk: what sources held before the changes of the lists, and until when that
//! counts, so that a window ends when it would have ended, whenever weir-control is started anew.
//!
//! A directory with one file for each window, which is written once, and an index that names those that
//! count. Nothing of it has to outlive the machine's own restart, so nothing is forced to the disk: the
//! index says of which boot it is, and that of another boot counts for nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use tokio::time::Instant;
use weir_tables::History;

use crate::Error;

/// First line of the index.
const HEAD: &str = "weir drain windows 1";

/// One window.
#[derive(Clone, Debug)]
pub struct Window<H = History> {
    /// Number of it, and of its file.
    pub number: u64,
    /// When it ends.
    pub until: Instant,
    /// What sources held.
    pub held: H,
}

/// The directory.
#[derive(Debug)]
pub struct Windows {
    directory: PathBuf,
    boot: String,
    written: BTreeSet<u64>,
}

impl Windows {
    /// The windows that an earlier process has left here, whether they are over or not. Nothing where they
    /// cannot be told: there are none yet, or they are damaged. Blocks.
    pub fn open(directory: PathBuf) -> (Self, Option<Vec<Window>>) {
        let mut windows = Self {
            directory,
            boot: read_line("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            written: BTreeSet::new(),
        };
        let left = match windows.load() {
            Ok(left) => Some(left),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let directory = windows.directory.display();
                tracing::error!(%error, %directory, "the drain windows cannot be read: what was held \
                    back counts for one more window");
                None
            }
        };
        (windows, left)
    }

    /// Makes these the windows that count. Where that fails none count, and whoever starts next goes by what
    /// the kernel has. Blocks.
    pub fn save<'a>(
        &mut self,
        windows: impl Iterator<Item = Window<&'a History>>,
    ) -> Result<(), Error> {
        self.put(windows).map_err(|error| {
            let _ = fs::remove_file(self.index());
            Error::file("write", &self.directory)(error)
        })
    }

    fn put<'a>(&mut self, windows: impl Iterator<Item = Window<&'a History>>) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let (now, uptime) = (Instant::now(), uptime()?);
        let mut index = format!("{HEAD}\n{}\n", self.boot);
        let mut counts = BTreeSet::new();
        for window in windows {
            if !self.written.contains(&window.number) {
                replace(&self.file(window.number), &window.held.to_bytes())?;
            }
            counts.insert(window.number);
            let until = uptime + window.until.saturating_duration_since(now);
            let _ = writeln!(index, "{} {}", window.number, until.as_millis());
        }
        replace(&self.index(), index.as_bytes())?;
        for gone in self.written.difference(&counts) {
            let _ = fs::remove_file(self.file(*gone));
        }
        self.written = counts;
        Ok(())
    }

    fn load(&mut self) -> io::Result<Vec<Window>> {
        let index = fs::read_to_string(self.index())?;
        let mut lines = index.lines();
        if lines.next() != Some(HEAD) {
            return Err(damaged());
        }
        if lines.next() != Some(&self.boot) {
            return Ok(Vec::new());
        }
        let (now, uptime) = (Instant::now(), uptime()?);
        let mut windows = Vec::new();
        for line in lines {
            let (number, until) = line.split_once(' ').ok_or_else(damaged)?;
            let number = number.parse().map_err(|_| damaged())?;
            let until = Duration::from_millis(until.parse().map_err(|_| damaged())?);
            let held = History::from_bytes(&fs::read(self.file(number))?).ok_or_else(damaged)?;
            windows.push(Window {
                number,
                until: now + until.saturating_sub(uptime),
                held,
            });
        }
        self.written = windows.iter().map(|window| window.number).collect();
        Ok(windows)
    }

    fn index(&self) -> PathBuf {
        self.directory.join("index")
    }

    fn file(&self, number: u64) -> PathBuf {
        self.directory.join(number.to_string())
    }
}

/// Its readers see the old text or the new one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::rename(beside, path)
}

/// Time since the machine was started.
fn uptime() -> io::Result<Duration> {
    let line = read_line("/proc/uptime")?;
    let seconds = line.split(' ').next().and_then(|word| word.parse().ok());
    Ok(Duration::from_secs_f64(seconds.ok_or_else(damaged)?))
}

fn read_line(path: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file is damaged")
}

//! The audit store: every decision of the proxy plane and every administrative act, one JSON object
//! a line, numbered without a gap.
//!
//! In: [`RecordBody`]s. Out: `audit.jsonl` in the state directory (mode 0640, rotated by size), and a
//! bounded ring in memory; what is older is read from the files, a part at a time ([`History`]). A line
//! that cannot be written to the disk stays in the ring and is counted; it is never silently lost.
//! Secrets do not come here: weir-proxy leaves them out of its events.

mod filter;
mod history;
mod reader;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use weir_api::{Record, RecordBody};

pub use filter::Filter;
pub use history::{History, Part};
pub use reader::Reader;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size at which the file is rotated, in bytes.
    pub file_bytes: u64,
    /// Rotated files that are kept beside the current one.
    pub files: usize,
    /// Lines in memory.
    pub lines: usize,
    /// Bytes of JSON in memory: a client writes a path and a user name as long as it likes.
    pub line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            files: 8,
            lines: 10_000,
            line_bytes: 16 << 20,
        }
    }
}

/// The audit store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit log {}: {source}; `state` in [appliance] must be a directory that weir-control may write", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Where the newest lines begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// Behind this number.
    After(u64),
    /// Further back than memory reaches.
    Further {
        /// Lines that are still to be found.
        missing: usize,
        /// In front of this number.
        before: u64,
    },
}

/// A numbered line.
#[derive(Debug)]
struct Line {
    record: Record,
    /// Its JSON, without the newline.
    json: String,
}

/// The audit store.
#[derive(Debug)]
pub struct Audit {
    store: Mutex<Store>,
    newest: watch::Sender<u64>,
}

impl Audit {
    /// Opens the log at `path`, or makes it; numbers go on where its last line ended, and its newest
    /// lines are read back into memory.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, OpenError> {
        let store = Store::open(path.to_owned(), limits).map_err(|source| OpenError {
            path: path.to_owned(),
            source,
        })?;
        let newest = watch::Sender::new(store.next - 1);
        Ok(Self {
            store: Mutex::new(store),
            newest,
        })
    }

    /// Appends a record and gives its number.
    pub fn append(&self, body: RecordBody) -> u64 {
        let seq = self.store().append(body);
        self.newest.send_replace(seq);
        seq
    }

    /// The oldest `limit` lines that come after number `after` and match, and the number up to which was
    /// looked; `None` when memory does not reach back so far.
    pub fn after(&self, after: u64, limit: usize, filter: &Filter) -> Option<Part> {
        let store = self.store();
        let oldest = store
            .ring
            .front()
            .map_or(store.next, |line| line.record.seq);
        if after + 1 < oldest {
            return None;
        }
        let mut part = Part {
            seen: after,
            ..Part::default()
        };
        let fresh = store.ring.partition_point(|line| line.record.seq <= after);
        for line in store.ring.iter().skip(fresh) {
            if part.lines == limit || part.is_full() {
                break;
            }
            part.seen = line.record.seq;
            if filter.matches(&line.record.body) {
                part.push(&line.json);
            }
        }
        Some(part)
    }

    /// The number in front of the `limit` newest lines that match; and how many of them memory holds,
    /// from which number on it reaches.
    pub fn last(&self, limit: usize, filter: &Filter) -> Last {
        let store = self.store();
        let mut found = 0;
        for line in store.ring.iter().rev() {
            if found == limit {
                return Last::After(line.record.seq);
            }
            found += usize::from(filter.matches(&line.record.body));
        }
        let oldest = store
            .ring
            .front()
            .map_or(store.next, |line| line.record.seq);
        if found == limit || oldest <= 1 {
            return Last::After(oldest - 1);
        }
        Last::Further {
            missing: limit - found,
            before: oldest,
        }
    }

    /// The newest number; 0 when there is none.
    pub fn newest(&self) -> u64 {
        self.store().next - 1
    }

    /// The number of the oldest line in memory, and its time.
    pub fn oldest(&self) -> Option<(u64, String)> {
        let store = self.store();
        let line = &store.ring.front()?.record;
        Some((line.seq, line.time().to_owned()))
    }

    /// The file that the newest lines are written to.
    pub fn path(&self) -> PathBuf {
        self.store().path.clone()
    }

    /// Reads the lines that are in the files.
    pub fn history(&self) -> History {
        let store = self.store();
        History::new(store.path.clone(), store.limits.files)
    }

    /// Tells of each new number.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Lines that could not be written to the file, and the last reason.
    pub fn trouble(&self) -> Option<(u64, String)> {
        let store = self.store();
        store
            .trouble
            .as_ref()
            .map(|why| (store.unwritten, why.clone()))
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Every change of the store leaves it whole, so a panic elsewhere cannot have broken it.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Store {
    path: PathBuf,
    limits: Limits,
    file: File,
    size: u64,
    /// The last line may be there in part: the disk was full.
    cut: bool,
    next: u64,
    ring: VecDeque<Arc<Line>>,
    ring_bytes: usize,
    unwritten: u64,
    trouble: Option<String>,
}

impl Store {
    fn open(path: PathBuf, limits: Limits) -> io::Result<Self> {
        let mut file = create(&path)?;
        let (mut ring, mut newest) = read_back(&mut file, limits.lines)?;
        if ring.is_empty() {
            // Rotated just before the end: the numbers go on from the file before.
            if let Ok(mut before) = File::open(rotated(&path, 1)) {
                let older;
                (ring, older) = read_back(&mut before, limits.lines)?;
                newest = newest.max(older);
            }
        }
        let next = newest + 1;
        let size = end_last_line(&mut file)?;
        let mut store = Self {
            path,
            limits,
            file,
            size,
            cut: false,
            next,
            ring_bytes: ring.iter().map(|line| line.json.len()).sum(),
            ring,
            unwritten: 0,
            trouble: None,
        };
        store.bound_ring();
        Ok(store)
    }

    /// Forgets the oldest lines, but never the newest.
    fn bound_ring(&mut self) {
        while self.ring.len() > self.limits.lines
            || (self.ring_bytes > self.limits.line_bytes && self.ring.len() > 1)
        {
            let Some(oldest) = self.ring.pop_front() else {
                return;
            };
            self.ring_bytes -= oldest.json.len();
        }
    }

    fn append(&mut self, body: RecordBody) -> u64 {
        let seq = self.next;
        self.next += 1;
        let record = Record { seq, body };
        let mut json =
            serde_json::to_string(&record).expect("a record has string keys and no failing parts");
        json.push('\n');
        if let Err(error) = self.write(json.as_bytes()) {
            self.unwritten += 1;
            let path = self.path.display();
            tracing::error!(%path, seq, %error, "a line of the audit log could not be written");
            self.trouble = Some(error.to_string());
        }
        json.pop();
        self.ring_bytes += json.len();
        self.ring.push_back(Arc::new(Line { record, json }));
        self.bound_ring();
        seq
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.cut {
            self.size = end_last_line(&mut self.file)?;
            self.cut = false;
        }
        if self.size > 0 && self.size + line.len() as u64 > self.limits.file_bytes {
            self.rotate()?;
        }
        self.cut = true;
        self.file.write_all(line)?;
        self.cut = false;
        self.size += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        // Somebody moved the file away: nothing is to be shifted, least of all once for every line.
        if !self.path.exists() {
            self.file = create(&self.path)?;
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.limits.files).rev() {
            let from = rotated(&self.path, number);
            if from.exists() {
                std::fs::rename(from, rotated(&self.path, number + 1))?;
            }
        }
        if self.limits.files > 0 {
            std::fs::rename(&self.path, rotated(&self.path, 1))?;
        } else {
            std::fs::remove_file(&self.path)?;
        }
        self.file = create(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

fn rotated(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The newest lines of a log, at most `limit`, from its last few megabytes; and its highest number, or 0.
fn read_back(file: &mut File, limit: usize) -> io::Result<(VecDeque<Arc<Line>>, u64)> {
    const TAIL: u64 = 4 << 20;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let mut ring = VecDeque::new();
    let mut newest = 0;
    for line in tail.split(|byte| *byte == b'\n') {
        // A line that a crash or the start of the tail has cut is no record, and numbers only grow.
        let Some((seq, text)) = history::numbered(line).filter(|(seq, _)| *seq > newest) else {
            continue;
        };
        newest = seq;
        let Ok(record) = serde_json::from_str::<Record>(text) else {
            continue;
        };
        let json = text.to_owned();
        ring.push_back(Arc::new(Line { record, json }));
        if ring.len() > limit {
            ring.pop_front();
        }
    }
    Ok((ring, newest))
}

/// What is written behind a line that a crash or a full disk has cut.
const CUT: &[u8] = b" (cut off)\n";

/// Ends a line that a crash or a full disk has cut; gives the size of the file.
fn end_last_line(file: &mut File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(0);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        return Ok(length);
    }
    // So that nobody takes it for the record whose number it had.
    file.write_all(CUT)?;
    Ok(length + CUT.len() as u64)
}

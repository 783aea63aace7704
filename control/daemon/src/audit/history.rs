//! Reads the audit log from its files, a bounded part at a time: forwards from a number, and backwards
//! to find where the newest lines begin. A file that is rotated while it is read is read to its end,
//! and the next one is found by its numbers, not by its name.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use weir_api::Record;

use super::{Filter, rotated};
use crate::clock;

/// Bytes that one call reads, about.
pub(super) const PART: u64 = 4 << 20;
/// Bytes of text with which a part is full: each client that reads slowly holds one.
const FULL: usize = 1 << 20;
/// Bytes that are read backwards at a time.
const BLOCK: u64 = 256 << 10;
/// Bytes within which a line is not searched any more, but read.
const NEAR: u64 = 64 << 10;
/// Longest line that is read, in bytes: events come in frames of this size at most.
const LONGEST: u64 = weir_link::MAX_FRAME as u64 + 4096;
/// Numbers end here: readers of JSON know whole numbers up to 2^53.
const HIGHEST: u64 = 1 << 53;

/// Lines that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The lines as they stand in the log, each with its newline.
    pub text: String,
    /// How many they are.
    pub lines: usize,
    /// Number up to which was looked.
    pub seen: u64,
}

impl Part {
    pub(super) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.lines += 1;
    }

    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= FULL
    }
}

/// Reads the files of an audit log. Everything here blocks.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    files: usize,
    forwards: Option<Forwards>,
    backwards: Option<Backwards>,
}

/// A file that is being read forwards.
#[derive(Debug)]
struct Forwards {
    file: BufReader<File>,
    /// Number of its first line.
    first: u64,
}

/// Files that are being read backwards.
#[derive(Debug)]
struct Backwards {
    /// Those that are left, the oldest first.
    left: VecDeque<Numbered>,
    current: Option<(File, u64)>,
    /// The end of a line whose beginning lies in front of it.
    rest: Vec<u8>,
    /// Number of the oldest line that was looked at.
    oldest: u64,
    /// Its time.
    time: String,
}

/// A file of the log.
#[derive(Debug)]
struct Numbered {
    /// Number of its first line.
    first: u64,
    file: File,
}

impl History {
    pub(super) fn new(path: PathBuf, files: usize) -> Self {
        Self {
            path,
            files,
            forwards: None,
            backwards: None,
        }
    }

    /// At most `limit` lines that come after number `after` and match; `None` when the files hold nothing
    /// more.
    pub fn after(&mut self, after: u64, limit: usize, filter: &Filter) -> io::Result<Option<Part>> {
        let mut part = Part {
            seen: after,
            ..Part::default()
        };
        let mut budget = PART;
        let mut line = Vec::new();
        while budget > 0 && part.lines < limit && !part.is_full() {
            if self.forwards.is_none() {
                self.forwards = self.open(after)?;
            }
            let Some(open) = &mut self.forwards else {
                break;
            };
            line.clear();
            let length = (&mut open.file)
                .take(LONGEST)
                .read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                // The end of the file, or of what is written of it.
                let first = open.first;
                self.forwards = self.next_file(first)?;
                if self.forwards.is_none() {
                    break;
                }
                continue;
            }
            budget = budget.saturating_sub(length as u64);
            let Some((seq, text)) = numbered(&line) else {
                continue;
            };
            if seq <= part.seen {
                continue;
            }
            part.seen = seq;
            if wanted(text, filter) {
                part.push(text);
            }
        }
        let more = part.seen > after || budget == 0;
        Ok(more.then_some(part))
    }

    /// Goes on looking for the place in front of the `missing` newest lines before number `before` that
    /// match, and counts down what it finds; gives the number behind which they begin.
    pub fn last(
        &mut self,
        missing: &mut usize,
        before: u64,
        filter: &Filter,
    ) -> io::Result<Option<u64>> {
        if self.backwards.is_none() {
            let mut left = self.numbered_files()?;
            left.retain(|file| file.first < before);
            self.backwards = Some(Backwards {
                left: left.into(),
                current: None,
                rest: Vec::new(),
                oldest: before,
                time: String::new(),
            });
        }
        let backwards = self.backwards.as_mut().expect("just made");
        let mut budget = PART;
        while budget > 0 {
            let Some((file, end)) = &mut backwards.current else {
                let Some(next) = backwards.left.pop_back() else {
                    return Ok(Some(backwards.oldest.saturating_sub(1)));
                };
                if is_older(&next.file, filter) {
                    return Ok(Some(backwards.oldest.saturating_sub(1)));
                }
                let length = next.file.metadata()?.len();
                backwards.current = Some((next.file, length));
                continue;
            };
            let start = end.saturating_sub(BLOCK);
            let mut block = vec![0; usize::try_from(*end - start).unwrap_or(0)];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut block)?;
            budget = budget.saturating_sub(BLOCK);
            *end = start;
            block.extend_from_slice(&backwards.rest);
            backwards.rest.clear();
            let mut lines: Vec<&[u8]> = block.split(|byte| *byte == b'\n').collect();
            if start > 0 {
                let cut = lines.remove(0);
                // A line that is too long to be one is no line.
                if (cut.len() as u64) < LONGEST {
                    backwards.rest.extend_from_slice(cut);
                }
            } else {
                backwards.current = None;
            }
            for line in lines.into_iter().rev() {
                let Some((seq, text)) = numbered(line).filter(|(seq, _)| *seq < before) else {
                    continue;
                };
                if *missing == 0 {
                    return Ok(Some(seq));
                }
                backwards.oldest = seq;
                backwards.time.clear();
                backwards.time.push_str(time_of(text));
                *missing -= usize::from(wanted(text, filter));
            }
        }
        Ok(None)
    }

    /// The oldest line that [`History::last`] looked at, by its number, and its time.
    pub fn oldest(&self) -> Option<(u64, String)> {
        let backwards = self.backwards.as_ref()?;
        let looked = !backwards.time.is_empty();
        looked.then(|| (backwards.oldest, backwards.time.clone()))
    }

    /// The number behind which lines of `since` or later begin, by when the files were written.
    pub fn since(&self, filter: &Filter) -> io::Result<u64> {
        let files = self.numbered_files()?;
        let file = files.iter().find(|file| !is_older(&file.file, filter));
        Ok(file.map_or(0, |file| file.first.saturating_sub(1)))
    }

    /// The file that holds the line behind `after`, at a place in front of it.
    fn open(&self, after: u64) -> io::Result<Option<Forwards>> {
        let mut files = self.numbered_files()?;
        let holds = files.iter().rposition(|file| file.first <= after + 1);
        let at = holds.unwrap_or(0);
        if at >= files.len() {
            return Ok(None);
        }
        let Numbered { first, mut file } = files.swap_remove(at);
        let place = place_of(&mut file, after + 1)?;
        file.seek(SeekFrom::Start(place))?;
        Ok(Some(Forwards {
            file: BufReader::new(file),
            first,
        }))
    }

    /// The file behind the one that begins with `first`.
    fn next_file(&self, first: u64) -> io::Result<Option<Forwards>> {
        let files = self.numbered_files()?.into_iter();
        let next = files
            .filter(|file| file.first > first)
            .min_by_key(|file| file.first);
        Ok(next.map(|Numbered { first, file }| Forwards {
            file: BufReader::new(file),
            first,
        }))
    }

    /// The files that hold lines, the oldest first, each at its beginning.
    fn numbered_files(&self) -> io::Result<Vec<Numbered>> {
        let mut files = Vec::new();
        for number in 0..=self.files {
            let path = match number {
                0 => self.path.clone(),
                number => rotated(&self.path, number),
            };
            if let Some(file) = numbered_file(&path)? {
                files.push(file);
            }
        }
        // One that was renamed while the others were opened is there twice.
        files.sort_by_key(|file| file.first);
        files.dedup_by_key(|file| file.first);
        Ok(files)
    }
}

fn numbered_file(path: &Path) -> io::Result<Option<Numbered>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(1024, &file);
    let mut line = Vec::new();
    // What a crash has cut, or somebody else has written, has no number.
    loop {
        line.clear();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if let Some((first, _)) = numbered(&line) {
            (&file).rewind()?;
            return Ok(Some(Numbered { first, file }));
        }
    }
}

/// A place in the file that is the beginning of a line at or in front of number `wanted`.
fn place_of(file: &mut File, wanted: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len());
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        file.seek(SeekFrom::Start(middle))?;
        let mut reader = BufReader::with_capacity(4096, &mut *file).take(LONGEST);
        let mut line = Vec::new();
        let mut place = middle + reader.read_until(b'\n', &mut line)? as u64;
        let seq = loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if let Some((seq, _)) = numbered(&line) {
                break Some(seq);
            }
            if length == 0 {
                break None;
            }
            place += length as u64;
        };
        match seq {
            Some(seq) if seq <= wanted && place < high => low = place,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The number of a line, and its text. Every line begins with its number, and is whole.
pub(super) fn numbered(line: &[u8]) -> Option<(u64, &str)> {
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let digits = text.strip_prefix("{\"seq\":")?;
    let (digits, _) = digits.split_once(',')?;
    let seq = digits.parse().ok()?;
    ((1..HIGHEST).contains(&seq) && text.ends_with('}')).then_some((seq, text))
}

/// The time of a line, which stands behind its number.
fn time_of(text: &str) -> &str {
    let (_, behind) = text.split_once("\"time\":\"").unwrap_or_default();
    behind.split('"').next().unwrap_or_default()
}

fn wanted(text: &str, filter: &Filter) -> bool {
    filter.may_match(text)
        && serde_json::from_str::<Record>(text).is_ok_and(|record| filter.matches(&record.body))
}

/// Whether a file was written for the last time before what is wanted.
fn is_older(file: &File, filter: &Filter) -> bool {
    let Some(early) = filter.early() else {
        return false;
    };
    let written = file.metadata().and_then(|data| data.modified());
    written.is_ok_and(|written| clock::text(OffsetDateTime::from(written)) < early)
}

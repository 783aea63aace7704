//! Rows as CSV (RFC 4180) and as canonical JSON (RFC 8785), one at a time, with the digest of all of it.
//!
//! A CSV begins each line with the tenant and the time, so that a line that is copied still says what it is of. A text
//! that a spreadsheet would take for a formula gets an apostrophe before it. Lists are one cell, their items parted
//! by `; `, and a semicolon or backslash in an item stands behind a backslash. What is not known is `unknown`.
//!
//! In JSON the rows follow the [`Head`], and what is not known is `null`.

use std::borrow::Cow;
use std::io::{self, Write};
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::row::{Cell, Row};
use super::{Head, ReviewError};
use crate::store::{Digest, Hashing};

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// JSON.
    Json,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// So many bytes.
    pub bytes: u64,
    /// How.
    pub format: Format,
    /// So many rows.
    pub rows: u64,
    /// SHA-256 of it.
    pub sha256: Digest,
}

/// An export in the making.
pub struct Writer<W, R> {
    to: Hashed<W>,
    format: Format,
    rows: u64,
    /// What every line of a CSV begins with.
    begin: String,
    /// The columns in the order of their names, which JSON has.
    sorted: Vec<usize>,
    row: PhantomData<fn(&R)>,
}

/// Hands on what it is given, and sums it up.
struct Hashed<W> {
    to: W,
    hashing: Hashing,
    bytes: u64,
}

impl<W: Write, R: Row> Writer<W, R> {
    /// Writes what comes before the rows.
    pub fn begin(to: W, format: Format, head: &Head) -> Result<Self, ReviewError> {
        let mut sorted: Vec<usize> = (0..R::COLUMNS.len()).collect();
        sorted.sort_unstable_by_key(|column| R::COLUMNS[*column]);
        let mut writer = Self {
            to: Hashed {
                to,
                hashing: Hashing::default(),
                bytes: 0,
            },
            format,
            rows: 0,
            begin: format!("{},{}", head.tenant, head.as_of),
            sorted,
            row: PhantomData,
        };
        match format {
            Format::Csv => {
                let columns = R::COLUMNS.join(",");
                write!(writer.to, "tenant,as_of,{columns}\r\n")?;
            }
            Format::Json => {
                writer.to.write_all(b"{\"head\":")?;
                serde_json::to_writer(&mut writer.to, head).map_err(io::Error::from)?;
                writer.to.write_all(b",\"rows\":[")?;
            }
        }
        Ok(writer)
    }

    /// Writes a row.
    pub fn row(&mut self, row: &R) -> Result<(), ReviewError> {
        let cells = row.cells();
        debug_assert_eq!(cells.len(), R::COLUMNS.len(), "a cell for each column");
        match self.format {
            Format::Csv => {
                let mut line = self.begin.clone();
                for cell in &cells {
                    line.push(',');
                    line.push_str(&field(&plain(cell)));
                }
                line.push_str("\r\n");
                self.to.write_all(line.as_bytes())?;
            }
            Format::Json => self.object(&cells)?,
        }
        self.rows += 1;
        Ok(())
    }

    /// Writes what comes after the rows.
    pub fn finish(mut self) -> Result<Content, ReviewError> {
        if self.format == Format::Json {
            self.to.write_all(b"]}")?;
        }
        self.to.flush()?;
        Ok(Content {
            bytes: self.to.bytes,
            format: self.format,
            rows: self.rows,
            sha256: self.to.hashing.finish(),
        })
    }

    fn object(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        let mut part: &[u8] = if self.rows == 0 { b"{" } else { b",{" };
        for column in &self.sorted {
            self.to.write_all(part)?;
            part = b",";
            serde_json::to_writer(&mut self.to, R::COLUMNS[*column])?;
            self.to.write_all(b":")?;
            match &cells[*column] {
                Cell::Unknown => self.to.write_all(b"null")?,
                Cell::Text(text) => serde_json::to_writer(&mut self.to, text)?,
                Cell::Flag(flag) => serde_json::to_writer(&mut self.to, flag)?,
                Cell::List(list) => serde_json::to_writer(&mut self.to, list)?,
            }
        }
        self.to.write_all(b"}")
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hashing.add(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A cell as one text.
fn plain<'a>(cell: &'a Cell<'_>) -> Cow<'a, str> {
    match cell {
        Cell::Unknown => Cow::Borrowed("unknown"),
        Cell::Text(text) => guarded(text),
        Cell::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Cell::List(list) => {
            let items = list
                .iter()
                .map(|item| item.replace('\\', "\\\\").replace(';', "\\;"));
            let items = items.map(|item| guarded(&item).into_owned());
            Cow::Owned(items.collect::<Vec<_>>().join("; "))
        }
    }
}

/// What a spreadsheet does not take for a formula. White space before one does not hide it.
fn guarded(text: &str) -> Cow<'_, str> {
    let first = text.trim_start().chars().next();
    let is_formula = first.is_some_and(|first| "=+-@＝＋－＠|%".contains(first));
    if is_formula || text.starts_with(['\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A field of a line. It is also quoted where programs part fields by semicolons.
fn field(text: &str) -> Cow<'_, str> {
    let is_plain = !text.contains([',', ';', '"', '\r', '\n', '\t']) && text.trim() == text;
    if is_plain {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("\"{}\"", text.replace('"', "\"\"")))
    }
}

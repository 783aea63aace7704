//! The text of a file, and places in it.

use std::ops::Range;
use std::sync::Arc;

/// The configuration file's name and text.
pub(crate) struct Source<'a> {
    name: Arc<str>,
    pub(crate) text: &'a str,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
}

/// A place in a file; can outlive the file's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    /// From 1; 0 when the whole file is meant.
    pub(crate) line: usize,
    /// In characters, from 1.
    pub(crate) column: usize,
    /// Characters that are meant, on this line.
    pub(crate) length: usize,
    /// The line.
    pub(crate) text: String,
}

impl Place {
    /// A file as a whole.
    pub(crate) fn file(name: &str) -> Self {
        Self {
            file: name.into(),
            ..Self::default()
        }
    }
}

impl<'a> Source<'a> {
    pub(crate) fn new(name: &str, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0)
            .chain(breaks.map(|(at, _)| at + 1))
            .collect();
        Self {
            name: name.into(),
            text,
            lines,
        }
    }

    /// The file as a whole.
    pub(crate) fn whole(&self) -> Place {
        Place::file(&self.name)
    }

    /// The place of a range of bytes; only its first line is marked.
    pub(crate) fn place(&self, span: &Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let line = self.lines.partition_point(|begin| *begin <= start) - 1;
        let begin = self.lines[line];
        let text = self.text[begin..].lines().next().unwrap_or("");
        let column = self.text[begin..start].chars().count();
        let end = self
            .text
            .floor_char_boundary(span.end.clamp(start, begin + text.len().max(start - begin)));
        Place {
            file: Arc::clone(&self.name),
            line: line + 1,
            column: column + 1,
            length: self.text[start..end].chars().count().max(1),
            text: text.to_owned(),
        }
    }
}

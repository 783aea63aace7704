//! Errors, warnings and notes about a file, rendered as a compiler renders them.

use std::fmt;

use serde::Serialize;
use weir_tables::Problem;
pub use weir_tables::Severity;

use crate::source::Place;

/// Something to say about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// The file, as the operator named it.
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the whole file is meant.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead, or why it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line itself, and how many characters of it are meant.
    #[serde(skip)]
    pub excerpt: Option<(String, usize)>,
}

/// Everything there is to say about a configuration; may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Report {
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Whether anything in it is an error.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// How many diagnostics have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// Adds everything that another report says.
    pub fn append(&mut self, other: Self) {
        self.diagnostics.extend(other.diagnostics);
    }

    /// How many of each there are, such as `2 errors, 1 warning`; empty when there is nothing to say.
    pub fn summary(&self) -> String {
        let words = [Severity::Error, Severity::Warning, Severity::Note].map(|severity| {
            let word = severity_word(severity);
            match self.count(severity) {
                0 => String::new(),
                1 => format!("1 {word}"),
                count => format!("{count} {word}s"),
            }
        });
        words
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// By file and line, each thing said once.
    pub(crate) fn in_order(mut diagnostics: Vec<Diagnostic>) -> Self {
        diagnostics.sort_by(|a, b| {
            (&a.file, a.line, a.column, a.severity).cmp(&(&b.file, b.line, b.column, b.severity))
        });
        diagnostics.dedup();
        Self { diagnostics }
    }
}

/// One after the other, with an empty line between them.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.diagnostics.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

impl Diagnostic {
    pub(crate) fn at(
        severity: Severity,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let help = help.into();
        Self {
            severity,
            file: place.file.to_string(),
            line: place.line,
            column: place.column,
            message: message.into(),
            help: (!help.is_empty()).then_some(help),
            excerpt: (place.line > 0).then(|| (place.text.clone(), place.length)),
        }
    }
}

impl From<Problem> for Diagnostic {
    fn from(problem: Problem) -> Self {
        Self {
            severity: problem.severity,
            file: problem.file,
            line: problem.line,
            column: problem.column,
            message: problem.message,
            help: Some(problem.help),
            excerpt: (problem.line > 0).then_some((problem.text, problem.length)),
        }
    }
}

/// Ends with a line break:
///
/// ```text
/// error: unknown key `adresses`
///   --> weir.toml:12:1
///    |
/// 12 | adresses = ["192.0.2.10"]
///    | ^^^^^^^^
///    = help: write `addresses`
/// ```
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", severity_word(self.severity), self.message)?;
        let gutter = if self.line == 0 {
            2
        } else {
            self.line.to_string().len()
        };
        write!(f, "{:gutter$}--> {}", "", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        writeln!(f)?;
        if let Some((text, length)) = &self.excerpt {
            let (text, column) = window(text, self.column);
            // Tabs stay tabs in front of the carets, so that these stand where the terminal puts them.
            let indent: String = text
                .chars()
                .take(column - 1)
                .map(|c| if c == '\t' { c } else { ' ' })
                .collect();
            let room = text.chars().count().saturating_sub(column - 1).max(1);
            let carets = "^".repeat((*length).clamp(1, room));
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{} | {text}", self.line)?;
            writeln!(f, "{:gutter$} | {indent}{carets}", "")?;
        }
        if let Some(help) = &self.help {
            let mut lines = help.lines().flat_map(wrap);
            writeln!(f, "{:gutter$} = help: {}", "", lines.next().unwrap_or(""))?;
            for line in lines {
                writeln!(f, "{:gutter$}         {line}", "")?;
            }
        }
        Ok(())
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

/// Pieces of a line that fit beside the gutter of a terminal.
fn wrap(line: &str) -> impl Iterator<Item = &str> {
    const WIDTH: usize = 90;
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest.take()?;
        let Some((end, _)) = line.char_indices().nth(WIDTH) else {
            return Some(line);
        };
        let Some(space) = line[..end].rfind(' ') else {
            return Some(line);
        };
        rest = Some(&line[space + 1..]);
        Some(&line[..space])
    })
}

/// The part of a long line that holds the column, and where in it the column is then.
fn window(text: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 100;
    const BEFORE: usize = 40;
    let text = text.trim_end();
    let length = text.chars().count();
    if length <= WIDTH {
        return (text.to_owned(), column);
    }
    let skipped = column
        .saturating_sub(BEFORE + 1)
        .min(length.saturating_sub(WIDTH));
    let shown: String = text.chars().skip(skipped).take(WIDTH).collect();
    let before = if skipped > 0 { "..." } else { "" };
    let after = if skipped + WIDTH < length { "..." } else { "" };
    (
        format!("{before}{shown}{after}"),
        column - skipped + before.len(),
    )
}

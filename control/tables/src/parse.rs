//! List files: one prefix or address per line, `#` begins a comment.

use std::collections::HashMap;

use ipnet::IpNet;

use crate::list::MAX_PREFIXES;
use crate::prefix::parse_prefix;

/// What a list file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The prefixes, in the order of the file, each once.
    pub prefixes: Vec<IpNet>,
    /// Errors, warnings and notes, in the order of the file; of each severity the first hundred, and
    /// then how many more there are.
    pub problems: Vec<Problem>,
}

impl Parsed {
    /// Whether every line was understood. A list with an error must not be used: the one before stays.
    pub fn is_usable(&self) -> bool {
        self.problems
            .iter()
            .all(|problem| problem.severity != Severity::Error)
    }
}

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Cannot be used.
    Error,
    /// Can be used, but is probably not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

/// Something to say about one line of a list file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How much it matters.
    pub severity: Severity,
    /// The file, as it was given to [`parse()`].
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the whole file is meant.
    pub column: usize,
    /// Characters that it is about.
    pub length: usize,
    /// The line itself, or its first 200 characters.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, or what was done about it.
    pub help: String,
}

/// Reads a list file; `file` is how messages name it.
///
/// Empty lines and comments are skipped, a byte order mark and CRLF are accepted. Host bits are
/// cleared with a warning, IPv4-mapped IPv6 becomes IPv4, duplicates are dropped; each with a word
/// about it. Every bad line is reported, not only the first.
pub fn parse(text: &str, file: &str) -> Parsed {
    parse_at_most(MAX_PREFIXES, text, file)
}

fn parse_at_most(limit: usize, text: &str, file: &str) -> Parsed {
    let mut problems = Problems {
        file,
        list: Vec::new(),
        counts: [0; 3],
    };
    let mut prefixes: Vec<IpNet> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let mut seen: HashMap<IpNet, usize> = HashMap::new();
    for line in lines(text) {
        let Some(content) = line.content() else {
            continue;
        };
        let whole = Place {
            number: line.number,
            start: line.start,
            text: line.text,
        };
        let entry = match parse_prefix(content) {
            Ok(entry) => entry,
            Err(error) => {
                problems.add(Severity::Error, &whole, error.at, error.message, error.help);
                continue;
            }
        };
        let prefix = entry.prefix;
        if entry.host_bits {
            problems.add(
                Severity::Warning,
                &whole,
                0..content.len(),
                format!("`{content}` has bits set after its length"),
                format!(
                    "read as `{prefix}`; write that, or `{}` for the one address",
                    content.split('/').next().unwrap_or(content)
                ),
            );
        }
        if entry.mapped {
            problems.add(
                Severity::Note,
                &whole,
                0..content.len(),
                "IPv4 written as IPv6".to_owned(),
                format!("read as `{}`", Written(prefix)),
            );
        }
        if prefix.prefix_len() == 0 {
            let family = if prefix.addr().is_ipv4() {
                "IPv4"
            } else {
                "IPv6"
            };
            problems.add(
                Severity::Warning,
                &whole,
                0..content.len(),
                format!("this prefix holds every {family} source"),
                "remove it, unless everyone on the Internet belongs on this list".to_owned(),
            );
        }
        if let Some(first) = seen.get(&prefix) {
            problems.add(
                Severity::Note,
                &whole,
                0..content.len(),
                format!("`{}` is on line {first} already", Written(prefix)),
                "kept once".to_owned(),
            );
            continue;
        }
        if prefixes.len() == limit {
            problems.add(
                Severity::Error,
                &whole,
                0..content.len(),
                format!("a list holds at most {limit} prefixes"),
                "merge neighbouring prefixes into wider ones".to_owned(),
            );
            break;
        }
        seen.insert(prefix, line.number);
        prefixes.push(prefix);
        places.push(whole);
    }
    drop(seen);
    note_covered(&prefixes, &places, &mut problems);
    Parsed {
        prefixes,
        problems: problems.finish(),
    }
}

/// One line of a list file.
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// Without its line break.
    pub(crate) text: &'a str,
    /// With its line break.
    pub(crate) whole: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Line<'a> {
    /// What stands before the comment, if anything.
    pub(crate) fn content(&self) -> Option<&'a str> {
        (self.start < self.end).then(|| &self.text[self.start..self.end])
    }
}

/// The lines of a list file; a byte order mark belongs to none of them.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split_inclusive('\n')
        .enumerate()
        .map(|(index, whole)| {
            let text = whole.strip_suffix('\n').unwrap_or(whole);
            let text = text.strip_suffix('\r').unwrap_or(text);
            let content = text.split('#').next().unwrap_or("");
            let start = content.len() - content.trim_start().len();
            let end = content.trim_end().len();
            Line {
                number: index + 1,
                text,
                whole,
                start,
                end,
            }
        })
}

struct Place<'a> {
    number: usize,
    start: usize,
    text: &'a str,
}

/// A prefix as people write it: one address without its length.
struct Written(IpNet);

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

struct Problems<'a> {
    file: &'a str,
    list: Vec<Problem>,
    counts: [usize; 3],
}

impl Problems<'_> {
    /// Problems of one severity that are spelled out.
    const SHOWN: usize = 100;
    /// Characters of a line that are quoted.
    const SHOWN_CHARACTERS: usize = 200;

    fn add(
        &mut self,
        severity: Severity,
        place: &Place<'_>,
        at: std::ops::Range<usize>,
        message: String,
        help: String,
    ) {
        let count = &mut self.counts[severity as usize];
        *count += 1;
        if *count > Self::SHOWN {
            return;
        }
        let (start, end) = (place.start + at.start, place.start + at.end);
        let shown: String = place.text.chars().take(Self::SHOWN_CHARACTERS).collect();
        self.list.push(Problem {
            severity,
            file: self.file.to_owned(),
            line: place.number,
            column: place.text[..start].chars().count() + 1,
            length: place.text[start..end].chars().count().max(1),
            text: shown,
            message,
            help,
        });
    }

    fn finish(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.line);
        for (severity, word) in [
            (Severity::Error, "errors"),
            (Severity::Warning, "warnings"),
            (Severity::Note, "notes"),
        ] {
            let hidden = self.counts[severity as usize].saturating_sub(Self::SHOWN);
            if hidden > 0 {
                self.list.push(Problem {
                    severity,
                    file: self.file.to_owned(),
                    line: 0,
                    column: 0,
                    length: 0,
                    text: String::new(),
                    message: format!("{hidden} more {word} in this file"),
                    help: format!("the first {} are shown", Self::SHOWN),
                });
            }
        }
        self.list
    }
}

/// Notes prefixes that another prefix of the same file covers.
fn note_covered(prefixes: &[IpNet], places: &[Place<'_>], problems: &mut Problems<'_>) {
    let mut order: Vec<usize> = (0..prefixes.len()).collect();
    // By family, first address and length: what covers comes before what is covered.
    order.sort_unstable_by_key(|index| prefixes[*index]);
    let mut open: Vec<usize> = Vec::new();
    for index in order {
        while open
            .pop_if(|outer| !prefixes[*outer].contains(&prefixes[index]))
            .is_some()
        {}
        if let Some(outer) = open.first() {
            let place = &places[index];
            let content = place.text[place.start..]
                .split('#')
                .next()
                .unwrap_or("")
                .trim_end();
            problems.add(
                Severity::Note,
                place,
                0..content.len(),
                format!(
                    "`{}` is covered by `{}` on line {}",
                    Written(prefixes[index]),
                    prefixes[*outer],
                    places[*outer].number
                ),
                "it changes nothing on this list".to_owned(),
            );
        }
        open.push(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_largest_size() {
        let parsed = parse_at_most(2, "192.0.2.1\n192.0.2.1\n192.0.2.2\n192.0.2.3\nbad\n", "l");
        assert_eq!(parsed.prefixes.len(), 2);
        assert!(!parsed.is_usable());
        let error = parsed.problems.last().expect("an error");
        assert_eq!(
            (error.line, error.message.as_str()),
            (4, "a list holds at most 2 prefixes")
        );
    }
}

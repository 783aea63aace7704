//! Text for people: columns, ages, and colours on a terminal.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};

use weir_abi::Verdict;

/// Standard output, and how it wants its text.
#[derive(Debug)]
pub struct Out {
    /// JSON instead of text.
    pub json: bool,
    colours: bool,
    stdout: BufWriter<Stdout>,
}

impl Out {
    /// Colours are for terminals, and not with `NO_COLOR` (<https://no-color.org>) or a dumb terminal.
    pub fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let unwanted = |name, value: &str| {
            std::env::var_os(name).is_some_and(|set| {
                if value.is_empty() {
                    !set.is_empty()
                } else {
                    set == value
                }
            })
        };
        let colours =
            !json && stdout.is_terminal() && !unwanted("NO_COLOR", "") && !unwanted("TERM", "dumb");
        Self {
            json,
            colours,
            stdout: BufWriter::with_capacity(64 << 10, stdout),
        }
    }

    /// Whether colours are wanted.
    pub fn has_colours(&self) -> bool {
        self.colours
    }

    /// A text in a colour.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colours {
            format!("\x1b[{}m{text}\x1b[0m", colour.code())
        } else {
            text.to_owned()
        }
    }

    /// An answer as it came from weir-control, indented.
    pub fn answer(&mut self, text: &str) -> io::Result<()> {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(value) => writeln!(self, "{value:#}"),
            Err(_) => writeln!(self, "{}", text.trim_end()),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// All is well.
    Good,
    /// Look at this.
    Careful,
    /// Wrong, or refused.
    Bad,
    /// A heading.
    Head,
    /// Less important.
    Faint,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Careful => "33",
            Self::Bad => "31;1",
            Self::Head => "1",
            Self::Faint => "2",
        }
    }
}

/// The colour of a verdict.
pub const fn verdict_colour(verdict: Verdict) -> Colour {
    match verdict {
        Verdict::Forward | Verdict::Pass => Colour::Good,
        Verdict::Proxy => Colour::Careful,
        Verdict::Drop | Verdict::Reject => Colour::Bad,
    }
}

/// Text from outside, safe for a terminal: control characters are shown, not obeyed.
pub fn clean(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut clean, c| {
            if is_harmless(c) {
                clean.push(c);
            } else {
                write!(clean, "{}", c.escape_unicode()).expect("a String takes everything");
            }
            clean
        })
}

/// Neither a control character nor one that changes the direction of what follows.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Rows in columns, each as wide as its widest cell; the last one runs free. Numbers that are padded
/// by their maker stay as they are.
pub fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if column + 1 < row.len() {
                    let padding = widths[column].saturating_sub(width(cell)) + 2;
                    line.extend(std::iter::repeat_n(' ', padding));
                }
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// [`columns`], of which the last is wrapped where a line is longer than terminals usually are.
pub fn table(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut lines = Vec::new();
    let short: Vec<Vec<String>> = rows
        .iter()
        .map(|row| match row.split_last() {
            Some((_, cells)) if row.len() == count => [cells, &["|".to_owned()]].concat(),
            _ => row.clone(),
        })
        .collect();
    for (row, begin) in rows.iter().zip(columns(&short)) {
        let Some(begin) = begin.strip_suffix('|').filter(|_| row.len() == count) else {
            lines.push(begin);
            continue;
        };
        let indent = width(begin);
        let room = WIDTH.saturating_sub(indent).max(WIDTH / 3);
        let last = row.last().map_or("", String::as_str);
        for (index, part) in wrap(last, room).into_iter().enumerate() {
            let line = if index == 0 {
                format!("{begin}{part}")
            } else {
                format!("{:indent$}{part}", "")
            };
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

/// Lines are this long at most, where they can be.
const WIDTH: usize = 100;

/// Characters of a text, without colours.
fn width(text: &str) -> usize {
    let mut inside = false;
    text.chars()
        .filter(|c| {
            match c {
                '\x1b' => inside = true,
                'm' if inside => {
                    inside = false;
                    return false;
                }
                _ => {}
            }
            !inside
        })
        .count()
}

/// A text cut to at most `limit` characters.
pub fn clip(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(limit.saturating_sub(3)).collect();
    clipped.truncate(clipped.trim_end().len());
    clipped.push_str("...");
    clipped
}

/// A text in lines of at most `limit` characters, broken between words.
pub fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if width(line) + 1 + width(word) <= limit {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// A number of seconds, in its two largest units.
pub fn age(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
        (days, hours, _) => format!("{days}d{hours:02}h"),
    }
}

/// A count that fits into six characters.
pub fn count(number: u64) -> String {
    let (unit, name) = match number {
        0..10_000 => return number.to_string(),
        10_000..1_000_000 => (1_000, "k"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    format!("{}.{}{name}", number / unit, number % unit * 10 / unit)
}

/// `2026-11-21T08:10:36.123Z` as `2026-11-21 08:10:36`.
pub fn moment(time: &str) -> String {
    clean(time)
        .chars()
        .take(19)
        .map(|c| if c == 'T' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(
            clean("a\x1b[2Jb\u{202e}c\n"),
            "a\\u{1b}[2Jb\\u{202e}c\\u{a}"
        );
    }

    #[test]
    fn columns_line_up_whatever_their_colour() {
        let rows = vec![
            vec!["\x1b[32mok\x1b[0m".to_owned(), "x".to_owned()],
            vec!["longer".to_owned(), "y".to_owned()],
        ];
        assert_eq!(columns(&rows), ["\x1b[32mok\x1b[0m      x", "longer  y"]);
    }

    #[test]
    fn ages_and_counts_are_short() {
        assert_eq!(age(59), "59s");
        assert_eq!(age(61), "1m01s");
        assert_eq!(age(7_260), "2h01m");
        assert_eq!(age(90_000), "1d01h");
        assert_eq!(count(9_999), "9999");
        assert_eq!(count(12_345), "12.3k");
        assert_eq!(count(12_345_678), "12.3M");
        assert_eq!(count(5_000_000_000), "5.0G");
    }

    #[test]
    fn text_is_broken_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("\x1b[1mone\x1b[0m two", 7), ["\x1b[1mone\x1b[0m two"]);
    }

    #[test]
    fn text_that_is_too_long_is_cut() {
        assert_eq!(clip("one two", 7), "one two");
        assert_eq!(clip("one two three", 9), "one tw...");
    }
}

//! Adding a prefix to the text of a list file and removing one, keeping comments and order.

use ipnet::IpNet;

use crate::parse::{Line, lines};
use crate::prefix::{fold, read};

/// The byte order mark, which editors on Windows put in front of a text.
const MARK: &str = "\u{feff}";

/// What an edit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The new text of the file.
    Changed(String),
    /// The prefix is in the file already; nothing changes.
    Present {
        /// Line that holds it, from 1.
        line: usize,
    },
    /// The prefix is not in the file; nothing changes.
    Absent {
        /// The longest prefix in the file that covers it, and its line: what to remove instead.
        covered_by: Option<(IpNet, usize)>,
    },
}

/// Adds a prefix at the end of the text, with a comment behind it.
///
/// Line ends are those of the text. Line breaks and control characters in the comment become spaces.
pub fn add(text: &str, prefix: IpNet, comment: Option<&str>) -> Edit {
    let prefix = fold(prefix);
    if let Some(line) = lines(text).find(|line| entry(line) == Some(prefix)) {
        return Edit::Present { line: line.number };
    }
    let line_end = match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    };
    let mut edited = text.to_owned();
    if !matches!(text, "" | MARK) && !text.ends_with('\n') {
        edited.push_str(line_end);
    }
    if prefix.prefix_len() == prefix.max_prefix_len() {
        edited.push_str(&prefix.addr().to_string());
    } else {
        edited.push_str(&prefix.to_string());
    }
    let comment: String = comment
        .unwrap_or("")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if !comment.trim().is_empty() {
        edited.push_str("  # ");
        edited.push_str(comment.trim());
    }
    edited.push_str(line_end);
    Edit::Changed(edited)
}

/// Removes every line that holds exactly this prefix, however it is written there.
pub fn remove(text: &str, prefix: IpNet) -> Edit {
    let prefix = fold(prefix);
    let holds = |line: &Line<'_>| entry(line) == Some(prefix);
    if lines(text).any(|line| holds(&line)) {
        let kept: String = lines(text)
            .filter(|line| !holds(line))
            .map(|line| line.whole)
            .collect();
        // A line that begins with a mark of its own stays a mistake when it becomes the first one.
        let marked = text.starts_with(MARK) || kept.starts_with(MARK);
        let mark = if marked { MARK } else { "" };
        return Edit::Changed(format!("{mark}{kept}"));
    }
    let covered_by = lines(text)
        .filter_map(|line| Some((entry(&line)?, line.number)))
        .filter(|(outer, _)| outer.contains(&prefix))
        .max_by_key(|(outer, _)| outer.prefix_len());
    Edit::Absent { covered_by }
}

fn entry(line: &Line<'_>) -> Option<IpNet> {
    Some(read(line.content()?)?.prefix)
}

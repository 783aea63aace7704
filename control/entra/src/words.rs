//! What others say in their errors, made fit to be shown and logged.

/// Longest that is kept of an error's words, in characters.
const LONGEST: usize = 300;
/// Longest single word, in bytes; those that are longer are tokens and links, and nobody's to read.
const LONGEST_WORD: usize = 80;

/// One line of bounded length; what follows a question mark in an address is left out, and so are words that may be
/// tokens, and all that is `hidden`.
pub(crate) fn fit(text: &str, hidden: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in hidden.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "…");
    }
    // Enough for a line, whatever is left out.
    let text: String = text.chars().take(4 * LONGEST).collect();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words = words.filter(|word| !word.is_empty()).map(|word| {
        let (address, query) = word.split_once('?').unwrap_or((word, ""));
        if word.len() > LONGEST_WORD || word.contains("eyJ") {
            "…".to_owned()
        } else if address.contains('/') && !query.is_empty() {
            format!("{address}?…")
        } else {
            word.to_owned()
        }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A name of bounded length, for a code that others made up.
pub(crate) fn name(text: &str) -> String {
    let name = text
        .chars()
        .filter(|c| !c.is_control() && !c.is_whitespace());
    name.take(100).collect()
}

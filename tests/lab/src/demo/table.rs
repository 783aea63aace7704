//! The table that a person reads at a glance.

use std::io::{IsTerminal, Write};

use super::row::Done;

/// Widths of source, address, client, service and what; the last column takes what it needs.
const WIDTHS: [usize; 5] = [9, 15, 8, 4, 33];
const OUTCOME: usize = 29;

/// Prints rows as they are done, and the summary.
#[derive(Debug)]
pub struct Table {
    hook: String,
    colours: bool,
    section: Option<&'static str>,
}

impl Table {
    /// On standard output; with colours where that is a terminal.
    ///
    /// `hook` is where the kernel plane decides.
    pub fn new(hook: &str) -> Self {
        Self { hook: hook.to_owned(), colours: std::io::stdout().is_terminal(), section: None }
    }

    /// One row.
    pub fn row(&mut self, row: &Done) {
        let mut text = String::new();
        match self.section {
            None => text.push_str(&self.paint("1", &header())),
            Some(client) if client != row.client => text.push('\n'),
            Some(_) => {}
        }
        self.section = Some(row.client);
        text.push_str(&self.line(row));
        print!("{text}");
        // A reader that went away is no reason to stop: the exit status still counts.
        let _ = std::io::stdout().flush();
    }

    /// The last line.
    pub fn summary(&self, rows: &[Done], seconds: u64) {
        let good = rows.iter().filter(|row| row.ok).count();
        let text = format!("\n{good} of {} rows as expected, in {seconds} s\n", rows.len());
        let colour = if good == rows.len() { "1;32" } else { "1;31" };
        print!("{}", self.paint(colour, &text));
    }

    fn line(&self, row: &Done) -> String {
        let cells = [row.class.name(), &row.address.to_string(), row.client, row.service, &row.what];
        let mut line = String::from(if row.ok { "ok  " } else { "NOT " });
        for (cell, width) in cells.iter().zip(WIDTHS) {
            line.push_str(&padded(cell, width));
        }
        line.push_str(&padded(&row.expected.outcome, OUTCOME));
        let same = row.got.outcome == row.expected.outcome;
        line.push_str(if same { "same  " } else { "*     " });
        line.push_str(&padded(&packets(row), 13));
        let mut deciders = row.got.by.iter().map(|decider| decider.words(&self.hook));
        line.push_str(&deciders.next().unwrap_or_else(|| "nobody".to_owned()));
        line.push('\n');
        let indent = " ".repeat(4 + WIDTHS.iter().map(|width| width + 1).sum::<usize>());
        for decider in deciders {
            line.push_str(&format!("{indent}{}then {decider}\n", " ".repeat(OUTCOME + 21)));
        }
        if !same {
            line.push_str(&format!("{indent}* got: {}\n", row.got.outcome));
        }
        if row.got.by != row.expected.by {
            let wanted: Vec<String> = row.expected.by.iter().map(|decider| decider.words(&self.hook)).collect();
            line.push_str(&format!("{indent}* must be decided by: {}\n", wanted.join(", then ")));
        }
        for remark in &row.remarks {
            line.push_str(&format!("{indent}{remark}\n"));
        }
        if row.ok { line } else { self.paint("31", &line) }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn header() -> String {
    let mut line = String::from("\n    ");
    for (title, width) in ["source", "address", "client", "to", "flow"].iter().zip(WIDTHS) {
        line.push_str(&padded(title, width));
    }
    line.push_str(&padded("expected", OUTCOME));
    line.push_str("got   ");
    line.push_str(&padded("packets", 13));
    line.push_str("decided by\n");
    line
}

/// `forward 12`, `proxy 9`, or both.
fn packets(row: &Done) -> String {
    let parts: Vec<String> =
        row.packets.iter().map(|(verdict, packets)| format!("{verdict} {packets}")).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(" ") }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:<width$} ")
}

//! The table that a person reads at a glance.

use std::io::{IsTerminal, Write};

use super::life::Lived;
use super::row::{Decider, Done};
use super::rows::House;

/// Widths of source, address, client, service and what; the last column takes what it needs.
const WIDTHS: [usize; 5] = [9, 15, 8, 4, 34];
const OUTCOME: usize = 28;
const PACKETS: usize = 10;
/// The mark in front of a row.
const MARK: usize = 3;

/// Prints rows as they are done, house by house, and the summary.
#[derive(Debug)]
pub struct Table {
    colours: bool,
    set: &'static str,
    section: Option<&'static str>,
}

impl Default for Table {
    /// On standard output; with colours where that is a terminal.
    fn default() -> Self {
        Self {
            colours: std::io::stdout().is_terminal(),
            set: "",
            section: None,
        }
    }
}

impl Table {
    /// The head of a house.
    pub fn house(&mut self, house: &House) {
        self.set = house.settings.rules;
        self.section = None;
        let title = format!("\nhouse {}: {}\n", house.name, house.settings.words());
        self.print(&self.paint("1;36", &title));
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
        self.print(&text);
    }

    /// The head of a house whose rows are not a client's.
    pub fn story(&self, house: &str, words: &str) {
        let title = format!("\nhouse {house}: {words}\n");
        self.print(&self.paint("1;36", &title));
    }

    /// One of them.
    pub fn life(&self, row: &Lived) {
        let mark = if row.ok { "ok" } else { "NO" };
        let mut lines = vec![format!("{mark} {} ({})", row.what, row.name)];
        lines.extend(row.said.iter().map(|said| format!("      {said}")));
        lines.extend(row.wrong.iter().map(|wrong| format!("    * {wrong}")));
        let text = lines.join("\n") + "\n";
        self.print(&if row.ok {
            text
        } else {
            self.paint("31", &text)
        });
    }

    /// The same of a house of stories, among those that were done.
    pub fn stories(&self, house: &str, done: &[Lived]) {
        let own: Vec<&Lived> = done.iter().filter(|row| row.house == house).collect();
        let good = own.iter().filter(|row| row.ok).count();
        self.group(house, good, own.len());
    }

    /// How many rows of a house are as expected.
    pub fn group(&self, house: &str, good: usize, all: usize) {
        let text = format!("   {house}: {good} of {all} rows as expected\n");
        self.print(&self.paint(if good == all { "32" } else { "31" }, &text));
    }

    /// The last line.
    pub fn summary(&self, good: usize, all: usize, seconds: u64) {
        let text = format!("\n{good} of {all} rows as expected, in {seconds} s\n");
        self.print(&self.paint(if good == all { "1;32" } else { "1;31" }, &text));
    }

    #[expect(clippy::unused_self, reason = "who prints is the table")]
    fn print(&self, text: &str) {
        print!("{text}");
        // A reader that went away is no reason to stop: the exit status still counts.
        let _ = std::io::stdout().flush();
    }

    fn line(&self, row: &Done) -> String {
        let same = row.got.outcome == row.expected.outcome;
        let cells = [
            row.class.name(),
            &row.address.to_string(),
            row.client,
            row.service,
            &row.what,
        ];
        let mut first = String::from(if row.ok { "ok " } else { "NO " });
        for (cell, width) in cells.iter().zip(WIDTHS) {
            first.push_str(&padded(cell, width));
        }
        first.push_str(&padded(&row.expected.outcome, OUTCOME));
        first.push_str(if same { "=   " } else { "*   " });
        first.push_str(&padded(&packets(row), PACKETS));
        let mut deciders = row.got.by.iter().map(|decider| self.words(decider));
        first.push_str(&deciders.next().unwrap_or_else(|| "nobody".to_owned()));
        let mut lines = vec![first];
        let outcome = " ".repeat(MARK + WIDTHS.iter().map(|width| width + 1).sum::<usize>());
        let by = format!("{outcome}{}", " ".repeat(OUTCOME + 1 + 4 + PACKETS + 1));
        lines.extend(deciders.map(|decider| format!("{by}{decider}")));
        if !same {
            lines.push(format!("{outcome}* got: {}", row.got.outcome));
        }
        if row.got.by != row.expected.by {
            let wanted: Vec<String> = row
                .expected
                .by
                .iter()
                .map(|decider| self.words(decider))
                .collect();
            let wanted = if wanted.is_empty() {
                "nobody".to_owned()
            } else {
                wanted.join(", ")
            };
            lines.push(format!("{outcome}* must be decided by: {wanted}"));
        }
        lines.extend(
            row.remarks
                .iter()
                .map(|remark| format!("{outcome}{remark}")),
        );
        let text = lines.join("\n") + "\n";
        if row.ok {
            text
        } else {
            self.paint("31", &text)
        }
    }

    /// A decider; rules of the house's set without its name.
    fn words(&self, decider: &Decider) -> String {
        decider.words().replace(&format!("{}/", self.set), "")
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn header() -> String {
    let mut line = format!("\n{}", " ".repeat(MARK));
    for (title, width) in ["source", "address", "client", "to", "flow"]
        .iter()
        .zip(WIDTHS)
    {
        line.push_str(&padded(title, width));
    }
    line.push_str(&padded("expected", OUTCOME));
    line.push_str("got ");
    line.push_str(&padded("packets", PACKETS));
    line.push_str("decided by\n");
    line
}

/// `forward 12`, `proxy 9`, or both.
fn packets(row: &Done) -> String {
    let parts: Vec<String> = row
        .packets
        .iter()
        .map(|(verdict, packets)| format!("{verdict} {packets}"))
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(" ")
    }
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:<width$} ")
}

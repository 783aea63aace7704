//! What a bench says: a table for people, JSON for machines, and whether the targets hold.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What was measured, by words that say what it is.
#[derive(Default)]
pub struct Report {
    facts: Map<String, Value>,
    rows: Vec<Value>,
    targets: Vec<Target>,
    notes: Vec<String>,
}

struct Target {
    what: String,
    unit: &'static str,
    measured: Option<f64>,
    limit: Limit,
}

/// What is asked of a number.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Not more.
    Most(f64),
    /// Not less.
    Least(f64),
}

impl Report {
    /// Of a bench, on this machine, now.
    pub fn new(bench: &str, runs: usize) -> Self {
        let text = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpu = text("/proc/cpuinfo");
        let cpu = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("", |name| name.trim_start_matches([' ', '\t', ':']));
        let load = text("/proc/loadavg");
        let mut report = Self::default();
        for (name, value) in [
            ("bench", json!(bench)),
            (
                "date",
                json!(OffsetDateTime::now_utc().format(&Rfc3339).ok()),
            ),
            ("kernel", json!(text("/proc/sys/kernel/osrelease").trim())),
            ("cpu", json!(cpu)),
            (
                "cpus",
                json!(std::thread::available_parallelism().map_or(0, usize::from)),
            ),
            ("load_before", json!(load.split(' ').next())),
            ("runs", json!(runs)),
        ] {
            report.facts.insert(name.to_owned(), value);
        }
        report
    }

    /// Adds a row of numbers.
    pub fn row(&mut self, row: Value) {
        self.rows.push(row);
    }

    /// Says something that belongs to the numbers.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Holds a number against a target; nothing was measured where a peer is missing.
    pub fn target(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        measured: Option<f64>,
        limit: Limit,
    ) {
        self.targets.push(Target {
            what: what.into(),
            unit,
            measured,
            limit,
        });
    }

    /// The machine, in a line.
    pub fn headline(&self) -> String {
        let fact = |name: &str| self.facts[name].as_str().unwrap_or_default().to_owned();
        format!(
            "{} · Linux {} · {} × {} · load {} · medians of {}",
            fact("date").split('.').next().unwrap_or_default(),
            fact("kernel"),
            self.facts["cpus"],
            fact("cpu"),
            fact("load_before"),
            self.facts["runs"],
        )
    }

    /// Prints targets and notes, and writes everything to a file if there is to be one.
    pub fn finish(self, file: Option<&Path>) -> Result<()> {
        println!();
        for target in &self.targets {
            println!("{}", target.line());
        }
        if !self.notes.is_empty() {
            println!();
        }
        for note in &self.notes {
            print_wrapped(note);
        }
        if let Some(file) = file {
            let targets: Vec<Value> = self.targets.iter().map(Target::json).collect();
            let whole = json!({
                "machine": self.facts,
                "rows": self.rows,
                "targets": targets,
                "notes": self.notes,
            });
            let text = serde_json::to_string_pretty(&whole)?;
            std::fs::write(file, text + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

impl Target {
    fn met(&self) -> Option<bool> {
        self.measured.map(|measured| match self.limit {
            Limit::Most(most) => measured <= most,
            Limit::Least(least) => measured >= least,
        })
    }

    fn verdict(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "not met",
            None => "not measured",
        }
    }

    fn line(&self) -> String {
        let (sign, limit) = self.limit.parts();
        let measured = self
            .measured
            .map_or("-".into(), |measured| format!("{measured:.2}"));
        format!(
            "{:<12} {:<58} {:>8} {} {limit} {}",
            self.verdict(),
            self.what,
            measured,
            sign,
            self.unit,
        )
        .trim_end()
        .to_owned()
    }

    fn json(&self) -> Value {
        let (sign, limit) = self.limit.parts();
        json!({
            "target": self.what,
            "unit": self.unit,
            "measured": self.measured,
            "limit": format!("{sign} {limit}"),
            "verdict": self.verdict(),
        })
    }
}

impl Limit {
    fn parts(self) -> (char, f64) {
        match self {
            Self::Most(most) => ('≤', most),
            Self::Least(least) => ('≥', least),
        }
    }
}

/// The middle of some numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// A number in a column, or a dash.
pub fn cell(number: Option<f64>, width: usize, decimals: usize) -> String {
    number.map_or_else(
        || format!("{:>width$}", "-"),
        |number| format!("{number:>width$.decimals$}"),
    )
}

fn print_wrapped(text: &str) {
    let mut line = String::new();
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() > 96 {
            println!("{}", line.trim_end());
            line = "  ".into();
        }
        line.push_str(word);
        line.push(' ');
    }
    println!("{}", line.trim_end());
}

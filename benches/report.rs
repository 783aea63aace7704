//! What a bench says: a table for people, JSON for machines, and whether the targets hold.
//!
//! All benches say in the same way on what they ran (machine, kernel, versions), how often, and how far the runs lay
//! apart: `machine`, `versions`, `rows`, `targets` and `notes` of the JSON.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What was measured, by words that say what it is.
#[derive(Default)]
pub struct Report {
    facts: Map<String, Value>,
    versions: Map<String, Value>,
    rows: Vec<Value>,
    targets: Vec<Target>,
    notes: Vec<String>,
    fault: Option<String>,
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
            ("memory_mb", json!(megabytes_of_memory())),
            ("runs", json!(runs)),
        ] {
            report.facts.insert(name.to_owned(), value);
        }
        report.version("weir", env!("CARGO_PKG_VERSION"));
        report.ask_version("commit", "git", &["describe", "--always", "--dirty"]);
        report.ask_version("rustc", "rustc", &["--version"]);
        report
    }

    /// Says which version of something took part.
    pub fn version(&mut self, of: &str, version: &str) {
        self.versions.insert(of.to_owned(), json!(version));
    }

    /// Asks a program for its version: the first line that it prints. Says so where the program is missing.
    pub fn ask_version(&mut self, of: &str, program: &str, arguments: &[&str]) {
        let said = Command::new(program).args(arguments).output();
        let said = said.ok().filter(|said| said.status.success());
        let version = said.and_then(|said| {
            // Some say it on standard error (nginx).
            let all = [said.stdout, said.stderr].concat();
            let all = String::from_utf8_lossy(&all).into_owned();
            all.lines().next().map(|line| line.trim().to_owned())
        });
        self.version(of, version.as_deref().unwrap_or("not there"));
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

    /// What makes the bench fail, once everything that was measured is written.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.fault = Some(why.into());
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

    /// Everything, as it stands in the file.
    pub fn json(&self) -> Value {
        let targets: Vec<Value> = self.targets.iter().map(Target::json).collect();
        json!({
            "machine": self.facts,
            "versions": self.versions,
            "rows": self.rows,
            "targets": targets,
            "notes": self.notes,
            "fault": self.fault,
        })
    }

    /// Prints targets and notes, and writes everything to a file if there is to be one. What made the bench fail is
    /// the error.
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
            let text = serde_json::to_string_pretty(&self.json())?;
            std::fs::write(file, text + "\n")
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        match self.fault {
            Some(why) => Err(anyhow::Error::msg(why)),
            None => Ok(()),
        }
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

/// Numbers of the same thing from several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one run.
    pub fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        Self {
            median: numbers[numbers.len() / 2],
            min: numbers[0],
            max: numbers[numbers.len() - 1],
        }
    }

    /// Of something that was measured once.
    pub fn once(number: f64) -> Self {
        Self {
            median: number,
            min: number,
            max: number,
        }
    }

    /// The same, each number made into another by something that only rises.
    #[must_use]
    pub fn map(self, rising: impl Fn(f64) -> f64) -> Self {
        Self {
            median: rising(self.median),
            min: rising(self.min),
            max: rising(self.max),
        }
    }

    /// Above the middle of others, which are part of it.
    #[must_use]
    pub fn above(self, others: Self) -> Self {
        self.map(|number| number - others.median)
    }
}

/// The middle of some numbers.
pub fn median(numbers: Vec<f64>) -> f64 {
    Spread::of(numbers).median
}

fn megabytes_of_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes >> 10)
}

/// A number as people read it.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

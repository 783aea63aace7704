//! `weir check`: says what is wrong with a configuration file, without the daemon.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use weir_config::{Report, Severity};

use crate::failed::Failed;
use crate::render::{Colour, Out};

/// Checks a configuration file, its certificates and its lists. Needs neither the daemon nor root.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir check /etc/weir/weir.toml")]
pub struct Check {
    /// The configuration file.
    #[arg(default_value = "/etc/weir/weir.toml", value_name = "FILE")]
    file: PathBuf,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    /// Nothing in `diagnostics` is an error.
    valid: bool,
    /// Errors, warnings and notes, in the order of the files.
    diagnostics: Report,
    services: usize,
    lists: usize,
    entries: usize,
}

impl Check {
    pub fn run(self, out: &mut Out) -> Result<(), Failed> {
        let outcome = self.outcome();
        if out.json {
            let text = serde_json::to_string_pretty(&outcome).map_err(std::io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            self.tell(&outcome, out)?;
        }
        if outcome.valid {
            Ok(())
        } else {
            Err(Failed::Told)
        }
    }

    fn outcome(&self) -> Outcome {
        let invalid = |diagnostics| Outcome {
            valid: false,
            diagnostics,
            services: 0,
            lists: 0,
            entries: 0,
        };
        let loaded = match weir_config::load(&self.file) {
            Ok(loaded) => loaded,
            Err(report) => return invalid(report),
        };
        let mut diagnostics = loaded.warnings;
        match weir_config::load_lists(&loaded.config) {
            Ok((lists, report)) => {
                diagnostics.append(report);
                Outcome {
                    valid: true,
                    diagnostics,
                    services: loaded.config.services.len(),
                    lists: lists.len(),
                    entries: lists.iter().map(|list| list.prefixes.len()).sum(),
                }
            }
            Err(report) => {
                diagnostics.append(report);
                invalid(diagnostics)
            }
        }
    }

    fn tell(&self, outcome: &Outcome, out: &mut Out) -> Result<(), Failed> {
        write!(out, "{}", outcome.diagnostics)?;
        let of = |severity| {
            outcome
                .diagnostics
                .diagnostics
                .iter()
                .filter(|one| one.severity == severity)
                .count()
        };
        let file = self.file.display();
        let warnings = plural(of(Severity::Warning), "warning");
        let line = if outcome.valid {
            let line = format!(
                "{file} is valid: {}, {} with {}, {warnings}",
                plural(outcome.services, "service"),
                plural(outcome.lists, "list"),
                if outcome.entries == 1 {
                    "1 entry".into()
                } else {
                    format!("{} entries", outcome.entries)
                },
            );
            out.paint(Colour::Good, &line)
        } else {
            let line = format!(
                "{file} cannot be used: {}, {warnings}",
                plural(of(Severity::Error), "error")
            );
            out.paint(Colour::Bad, &line)
        };
        Ok(writeln!(out, "{line}")?)
    }
}

fn plural(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

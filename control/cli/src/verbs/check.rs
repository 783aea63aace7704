//! `weir check`: says what is wrong with a configuration file, without the daemon.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use time::OffsetDateTime;
use weir_config::{Entra, Report, Severity};

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
    /// What the tenant is signed in to with; nothing without a tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<Credential>,
}

/// A credential, without what it holds.
#[derive(Serialize)]
struct Credential {
    kind: &'static str,
    /// Until when it can be used, where anybody knows; RFC 3339.
    #[serde(
        skip_serializing_if = "Option::is_none",
        with = "time::serde::rfc3339::option"
    )]
    expires: Option<OffsetDateTime>,
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
            credential: None,
        };
        let loaded = match weir_config::load(&self.file) {
            Ok(loaded) => loaded,
            Err(report) => return invalid(report),
        };
        let mut diagnostics = loaded.warnings;
        let credential = loaded.config.entra.as_ref().and_then(Credential::of);
        match weir_config::load_lists(&loaded.config) {
            Ok((lists, report)) => {
                diagnostics.append(report);
                Outcome {
                    valid: true,
                    diagnostics,
                    services: loaded.config.services.len(),
                    lists: lists.len(),
                    entries: lists.iter().map(|list| list.prefixes.len()).sum(),
                    credential,
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
            let credential = match &outcome.credential {
                Some(credential) => format!("{credential}, "),
                None => String::new(),
            };
            let line = format!(
                "{file} is valid: {}, {} with {}, {credential}{warnings}",
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

impl Credential {
    fn of(entra: &Entra) -> Option<Self> {
        let credential = entra.credential.load().ok()?;
        Some(Self {
            kind: credential.kind(),
            expires: credential.expires(),
        })
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tenant with a {}", self.kind)?;
        match self.expires {
            Some(expires) => write!(f, " until {}", expires.date()),
            None => Ok(()),
        }
    }
}

fn plural(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

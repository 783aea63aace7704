//! `weir reload`: puts the configuration file in force.

use std::io::Write;

use clap::Args;
use weir_api::{Changed, ReloadRequest};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean};

/// Loads the configuration, its certificates and its lists anew, and puts them in force.
///
/// Everything is checked first. When anything is wrong, what is in force stays in force.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir reload --dry-run && weir reload")]
pub struct Reload {
    /// Load and check everything, change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Reload {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let request = ReloadRequest {
            dry_run: self.dry_run,
        };
        let answer = client.post::<Changed>("/v1/reload", &request).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        changed(out, &answer.value)
    }
}

/// Says what a change did.
pub fn changed(out: &mut Out, changed: &Changed) -> Result<(), Failed> {
    for warning in &changed.warnings {
        for line in warning.lines() {
            writeln!(out, "{}", clean(line))?;
        }
    }
    let Changed { generation, .. } = changed;
    let line = match changed {
        Changed { dry_run: true, .. } => {
            format!("the configuration is valid; generation {generation} stays in force")
        }
        Changed {
            unchanged: true, ..
        } => {
            format!("nothing to change; generation {generation} stays in force")
        }
        _ => format!("generation {generation} is in force"),
    };
    Ok(writeln!(out, "{}", out.paint(Colour::Good, &line))?)
}

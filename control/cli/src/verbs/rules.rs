//! `weir rules`: rules are tried before they are in force.

mod cases;
mod diff;
mod test;

use clap::{Args, Subcommand};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::Out;

/// Tries rules before they are in force: by what was recorded, or by cases of one's own.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing would change, every case holds; 1 something does, or does not; 2 it cannot be tried.\n\nExamples:\n  weir rules diff new.toml --since 7d\n  weir rules test cases.toml"
)]
pub struct Rules {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Diff(diff::Diff),
    Test(test::Test),
}

impl Rules {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        match self.verb {
            Verb::Diff(verb) => verb.run(client, out).await,
            Verb::Test(verb) => verb.run(out),
        }
    }
}

/// Why a configuration cannot be tried.
fn invalid(report: &weir_config::Report) -> Failed {
    Failed::usage(
        report.to_string().trim_end(),
        "correct the lines above; `weir check` reads a whole configuration alike",
    )
}

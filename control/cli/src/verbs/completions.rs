//! `weir completions`: completions for shells.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failed::Failed;
use crate::render::Out;

/// Prints completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir completions bash > /etc/bash_completion.d/weir")]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub fn run(self, out: &mut Out) -> Result<(), Failed> {
        let mut text = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut crate::Arguments::command(),
            "weir",
            &mut text,
        );
        Ok(out.write_all(&text)?)
    }
}

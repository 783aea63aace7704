//! Why a command failed, and the exit status that says so.

use std::io;
use std::process::ExitCode;

use weir_api::Failure;

use crate::render::clean;

/// Why a command failed.
#[derive(Debug)]
pub enum Failed {
    /// Refused by weir-control, or invalid: status 1.
    Refused(Failure),
    /// Said already, on standard output: status 1.
    Told,
    /// Wrong usage: status 2.
    Usage(String),
    /// weir-control cannot be reached: status 3.
    Unreachable(Failure),
    /// Nobody reads the output any more (`weir events | head`): status 0.
    Closed,
}

impl Failed {
    /// Refused, in words.
    pub fn refused(error: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into());
        Self::Refused(Failure {
            error: error.into(),
            help,
            generation: None,
        })
    }

    /// Unreachable, in words.
    pub fn unreachable(error: impl Into<String>, help: impl Into<String>) -> Self {
        let help = Some(help.into());
        Self::Unreachable(Failure {
            error: error.into(),
            help,
            generation: None,
        })
    }

    /// Says it, on standard error or as JSON on standard output, and gives the exit status.
    pub fn tell(self, json: bool) -> ExitCode {
        let (failure, status) = match self {
            Self::Refused(failure) => (failure, 1),
            Self::Told => return ExitCode::from(1),
            Self::Usage(error) => (
                Failure {
                    error,
                    ..Failure::default()
                },
                2,
            ),
            Self::Unreachable(failure) => (failure, 3),
            Self::Closed => return ExitCode::SUCCESS,
        };
        if json {
            println!(
                "{}",
                serde_json::to_string_pretty(&failure).unwrap_or_default()
            );
        } else {
            eprintln!("weir: {}", lines(&failure.error));
            if let Some(help) = &failure.help {
                eprintln!("  help: {}", lines(help));
            }
            if let Some(generation) = failure.generation {
                eprintln!("  generation {generation} stays in force");
            }
        }
        ExitCode::from(status)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Refused(Failure {
            error: error.to_string(),
            ..Failure::default()
        })
    }
}

fn lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

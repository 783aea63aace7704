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
    /// Wrong usage, or the state of the appliance cannot be asked: status 2.
    Usage(Failure),
    /// weir-control cannot be reached: status 3.
    Unreachable(Failure),
    /// Nobody reads the output any more (`weir events | head`): status 0.
    Closed,
}

impl Failed {
    /// Refused, in words.
    pub fn refused(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused(words(error, help))
    }

    /// Wrong usage, in words.
    pub fn usage(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage(words(error, help))
    }

    /// Unreachable, in words.
    pub fn unreachable(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Unreachable(words(error, help))
    }

    /// What is wrong, in one line.
    pub fn told(&self) -> String {
        match self {
            Self::Refused(failure) | Self::Usage(failure) | Self::Unreachable(failure) => {
                failure.error.clone()
            }
            Self::Told | Self::Closed => "nobody knows why".to_owned(),
        }
    }

    /// The same for a verb whose exit status 1 says more than that weir-control refused, so that 2 is
    /// for all that kept it from asking.
    pub fn in_status(self) -> Self {
        match self {
            Self::Unreachable(failure) | Self::Refused(failure) => Self::Usage(failure),
            other => other,
        }
    }

    /// Says it, on standard error or as JSON on standard output, and gives the exit status.
    pub fn tell(self, json: bool) -> ExitCode {
        let (failure, status) = match self {
            Self::Refused(failure) => (failure, 1),
            Self::Told => return ExitCode::from(1),
            Self::Usage(failure) => (failure, 2),
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
        Self::refused(
            format!("the output cannot be written: {error}"),
            "see that there is room where it goes, and that it may be written",
        )
    }
}

fn words(error: impl Into<String>, help: impl Into<String>) -> Failure {
    Failure {
        error: error.into(),
        help: Some(help.into()),
        generation: None,
    }
}

fn lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

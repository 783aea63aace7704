//! The Python libraries of the client and of the tests, in an environment of their own.

use std::process::Command;

use anyhow::Result;

use super::quiet;
use crate::paths;
use crate::step::run;

/// Debian's interpreter: another one first in `PATH` may be anything.
pub const INTERPRETER: &str = "/usr/bin/python3";

/// The client and what it runs on, and the library that tests hold JWTs against; exact, so that the demo is
/// the same tomorrow.
const PACKAGES: [&str; 3] = ["msal==1.39.0", "pyjwt[crypto]==2.15.1", "requests==2.32.5"];

pub fn present() -> bool {
    quiet(
        Command::new(paths::python().join("bin/python")).args(["-c", "import jwt, msal, requests"]),
    )
}

pub fn install() -> Result<()> {
    let folder = paths::python();
    run(Command::new(INTERPRETER)
        .args(["-m", "venv", "--clear"])
        .arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(PACKAGES))
}

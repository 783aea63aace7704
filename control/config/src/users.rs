//! The directory by hand: a file with the user principal names of the organisation, and one with the countries of
//! addresses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_policy::{Countries, Users};

use crate::config::Config;
use crate::diagnostic::{Diagnostic, Report, Severity};
use crate::load::read_text;
use crate::source::Place;

/// Reads the users that `[directory]` names; `None` when it names no file. The report holds notes. On
/// an error nothing is returned: the users before stay in force.
pub fn load_users(config: &Config) -> Result<(Option<Users>, Report), Report> {
    load_users_with(config, &BTreeMap::new())
}

/// [`load_users`], with texts in place of what the files at these paths hold.
pub fn load_users_with(
    config: &Config,
    in_place: &BTreeMap<PathBuf, String>,
) -> Result<(Option<Users>, Report), Report> {
    let Some(path) = &config.directory.users else {
        return Ok((None, Report::default()));
    };
    let place = &config.places.users;
    let text = match in_place.get(path) {
        Some(text) => text.clone(),
        None => read_text(path, place, "list of users")?,
    };
    let users = Users::parse(&text).map_err(|errors| {
        let lines = errors.into_iter().map(|error| (error.line, error.why));
        of_lines(path, &text, lines)
    })?;
    let mut report = Report::default();
    if users.is_empty() {
        let message = "the list of users names nobody";
        let help = "`windows_logon = \"pass\"` lets nobody through with it; write user principal \
                    names, one a line";
        report
            .diagnostics
            .push(Diagnostic::at(Severity::Note, place, message, help));
    }
    Ok((Some(users), report))
}

/// Reads the countries of addresses that `[directory]` names, with their text; `None` when it names no file. On
/// an error nothing is returned: those before stay in force.
pub fn load_countries(config: &Config) -> Result<Option<(Countries, String)>, Report> {
    let Some(path) = &config.directory.countries else {
        return Ok(None);
    };
    let text = read_text(path, &config.places.countries, "table of countries")?;
    let countries = Countries::parse(&text).map_err(|errors| {
        let lines = errors.into_iter().map(|error| (error.line, error.why));
        of_lines(path, &text, lines)
    })?;
    Ok(Some((countries, text)))
}

/// What is wrong with these lines of a file: `what; what to do`.
fn of_lines(path: &Path, text: &str, lines: impl Iterator<Item = (usize, &'static str)>) -> Report {
    let told = lines.map(|(number, why)| {
        let line = text.lines().nth(number - 1).unwrap_or_default();
        let (message, help) = why.split_once("; ").unwrap_or((why, ""));
        let place = Place {
            file: path.display().to_string().into(),
            line: number,
            column: 1,
            length: line.chars().count().clamp(1, SHOWN),
            text: line.chars().take(SHOWN).collect(),
        };
        Diagnostic::at(Severity::Error, &place, message, help)
    });
    Report {
        diagnostics: told.collect(),
    }
}

/// So much of a line is shown: a file of another kind may have very long ones.
const SHOWN: usize = 120;

//! The directory by hand: a file with the user principal names of the organisation.

use std::collections::BTreeMap;
use std::path::PathBuf;

use weir_policy::Users;

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
    let users = Users::parse(&text).map_err(|errors| Report {
        diagnostics: errors
            .into_iter()
            .map(|error| {
                let line = text.lines().nth(error.line - 1).unwrap_or_default();
                let (message, help) = error.why.split_once("; ").unwrap_or((error.why, ""));
                let place = Place {
                    file: path.display().to_string().into(),
                    line: error.line,
                    column: 1,
                    length: line.chars().count().clamp(1, SHOWN),
                    text: line.chars().take(SHOWN).collect(),
                };
                Diagnostic::at(Severity::Error, &place, message, help)
            })
            .collect(),
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

/// So much of a line is shown: a file of another kind may have very long ones.
const SHOWN: usize = 120;

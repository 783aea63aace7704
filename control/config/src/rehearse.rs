//! Rules that are to be tried before they are in force: a whole configuration, or rules alone.

use std::path::Path;
use std::time::SystemTime;

use toml::Table;

use crate::config::Loaded;
use crate::diagnostic::{Report, Severity};
use crate::load::{self, read_configuration};

/// What a file of rules held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A whole configuration.
    Configuration,
    /// Rules alone, with the applications and locations that they name; the rest is of another file.
    Rules,
}

/// What a file of rules alone may hold, in place of what a configuration says there.
const OF_RULES: [&str; 3] = ["rule", "application", "location"];

/// Reads a configuration file, or one that holds `[[rule]]`s alone (and `[application.NAME]` and
/// `[location.NAME]` for them): then all else is that of the configuration at `base`. What is wrong is
/// told as [`crate::load`] tells it.
pub fn load_rules(path: &Path, base: &Path) -> Result<(Loaded, Whole), Report> {
    let text = read_configuration(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let alone = text
        .parse::<Table>()
        .is_ok_and(|table| table.keys().all(|key| OF_RULES.contains(&key.as_str())));
    let now = SystemTime::now();
    if !alone {
        return Ok((load::load_text(path, text, now)?, Whole::Configuration));
    }
    let rest = load::load_at(base, now)?.text;
    let rest = rest.strip_prefix('\u{feff}').unwrap_or(&rest);
    let mut rest: Table = rest.parse().expect("it was just loaded");
    rest.retain(|key, _| !OF_RULES.contains(&key));
    let rest = toml::to_string(&rest).expect("a table that was read can be written");
    // The rules stand in front, so that lines have the numbers that they have in the file.
    let joined = format!("{text}\n{rest}");
    let name = path.display().to_string();
    let ends = text.lines().count();
    let mut loaded = load::load_named(&name, base, &joined, now)
        .map_err(|report| in_their_files(report, ends, base))?;
    // What there is to say of the rest, `weir check` says of the file that it is from.
    let warnings = &mut loaded.warnings.diagnostics;
    warnings.retain(|warning| warning.line <= ends);
    Ok((loaded, Whole::Rules))
}

/// What is wrong behind the end of the rules is wrong with the configuration, once it has these rules.
fn in_their_files(mut report: Report, ends: usize, base: &Path) -> Report {
    let found = &mut report.diagnostics;
    found.retain(|one| one.line <= ends || one.severity == Severity::Error);
    for wrong in found {
        if wrong.line > ends {
            wrong.file = format!("{}, with these rules", base.display());
            (wrong.line, wrong.column, wrong.excerpt) = (0, 0, None);
        }
    }
    report
}

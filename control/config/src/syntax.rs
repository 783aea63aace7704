//! What is not TOML, and the usual reasons for it.

use toml::de::Error;
use weir_tables::Severity;

use crate::diagnostic::Diagnostic;
use crate::source::Source;

/// Every syntax error of the file, with a fix where the line tells which one.
pub(crate) fn explain(source: &Source<'_>, errors: &[Error]) -> Vec<Diagnostic> {
    let mut said: Vec<Diagnostic> = Vec::new();
    for error in errors {
        let place = source.place(&error.span().unwrap_or(0..0));
        // The parser goes on after an error; what follows on the same line is its echo.
        if said.iter().any(|other| other.line == place.line) {
            continue;
        }
        // After a broken header, tables seem to repeat each other.
        let broken = |other: &Diagnostic| other.message.contains("table");
        if error.message().contains("duplicate key") && said.iter().any(broken) {
            continue;
        }
        let message = error.message().trim_end().replace('\n', "; ");
        let help = help(&place.text, &message).unwrap_or_default();
        said.push(Diagnostic::at(Severity::Error, &place, message, help));
    }
    said
}

fn help(line: &str, message: &str) -> Option<String> {
    let line = line.trim();
    if message.contains("duplicate key") {
        let several = ["service", "list", "rule"].into_iter().find(|name| {
            line.strip_prefix('[')
                .is_some_and(|rest| rest.trim_matches(['[', ']']) == *name)
        });
        return Some(match several {
            Some(name) => format!("write `[[{name}]]` in double brackets, each time"),
            None => "keep one of them".to_owned(),
        });
    }
    if line.starts_with('[') && !line.contains('=') {
        let name = line.trim_matches(['[', ']', ' ']);
        let double = ["service", "list", "rule"].contains(&name);
        return Some(if double {
            format!("write `[[{name}]]`")
        } else {
            format!("write `[{name}]`")
        });
    }
    if let Some(comment) = line.strip_prefix("//").or_else(|| line.strip_prefix(';')) {
        return Some(format!(
            "comments begin with `#`: write `# {}`",
            comment.trim()
        ));
    }
    let Some((key, value)) = line.split_once('=') else {
        let (key, value) = line.split_once(':')?;
        return Some(format!("write `{} = {}`", key.trim(), value.trim()));
    };
    let (key, value) = (key.trim(), value.trim());
    let bare = value.trim_end_matches([',', ';']);
    if value.starts_with(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        let inner = bare.trim_matches(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']);
        return Some(format!("write plain quotes: `{key} = \"{inner}\"`"));
    }
    if value.is_empty() {
        return Some(format!("the value is missing: write `{key} = \"...\"`"));
    }
    match bare.to_ascii_lowercase().as_str() {
        "yes" | "on" => return Some(format!("write `{key} = true`")),
        "no" | "off" => return Some(format!("write `{key} = false`")),
        word @ ("true" | "false") => return Some(format!("write `{key} = {word}`")),
        _ => {}
    }
    let unquoted = bare
        .chars()
        .all(|c| c.is_alphanumeric() || "-_./:@{}*?=&%".contains(c));
    let number = bare.starts_with(|c: char| c.is_ascii_digit()) && !bare.contains(['.', ':', '/']);
    if number {
        return Some("write a whole number, such as `443` or `0x5745`".to_owned());
    }
    if unquoted {
        return Some(format!(
            "strings stand in quotes: write `{key} = \"{bare}\"`"
        ));
    }
    if value.starts_with('"') && value.matches('"').count() == 1 {
        return Some(format!(
            "the closing quote is missing: write `{key} = {bare}\"`"
        ));
    }
    if value.starts_with('[') && !value.contains(']') {
        return Some("a list ends with `]`".to_owned());
    }
    None
}

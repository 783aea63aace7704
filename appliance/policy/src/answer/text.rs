//! Answers to programs that read no XML: plain text, and OAuth's error (RFC 6749 5.2).

use std::fmt::Write;

use super::{Answer, common};

pub(super) fn plain(status: u16, reason: &str, reference: &str) -> Answer {
    plain_body(
        status,
        format!("{}\nReference: {reference}\n", one_line(reason)),
    )
}

pub(super) fn plain_body(status: u16, body: String) -> Answer {
    Answer {
        status,
        headers: common("text/plain; charset=utf-8"),
        body,
    }
}

pub(super) fn oauth_error(status: u16, error: &str, reason: &str, reference: &str) -> Answer {
    let description = format!("{} Reference: {reference}", one_line(reason));
    let body = format!(
        "{{\"error\":\"{error}\",\"error_description\":{}}}",
        json_string(&description)
    );
    let mut headers = common("application/json");
    headers.push(("pragma", "no-cache".to_owned()));
    Answer {
        status,
        headers,
        body,
    }
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

/// RFC 6749 allows `error_description` no quotes, backslashes or anything beyond ASCII; JSON escapes
/// keep the rest readable for clients that are less strict.
fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push('\''),
            '\\' => out.push('/'),
            ' '..='~' => out.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}").expect("a string takes every write");
                }
            }
        }
    }
    out.push('"');
    out
}

//! What looks like a token where no form is: in scripts, comments, attributes.

use super::fields::NAMES;

/// Names that nothing but tokens of WS-Federation and SAML have.
const TELLING: [&str; 3] = ["wresult", "samlresponse", "samlart"];
/// How far from its name a token may begin, in bytes.
const NEAR: usize = 24;

/// What stands before a parameter in an address; the last is `&` in JSON.
const LEADS: [&str; 4] = ["?", "&", "#", "\\u0026"];
/// Authorization codes are at least so long, in bytes.
const CODE: usize = 16;

/// Whether a script, or an attribute that may be one or lead somewhere, looks as if it held a token.
pub(super) fn in_code(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    is_telling(&lower) || posts(&lower) && has_code(text)
}

/// Whether a text in lower case looks as if it held a token, whatever else is in it.
pub(super) fn is_telling(text: &str) -> bool {
    TELLING.iter().any(|name| text.contains(name))
        || has_jwt(text)
        || is_field(text)
        || LEADS.iter().any(|lead| {
            text.match_indices(lead).any(|(at, _)| {
                let after = &text[at + lead.len()..];
                after.starts_with("code=") || after.starts_with("access_token=")
            })
        })
}

/// Whether a script, in lower case, hands something on.
pub(super) fn posts(text: &str) -> bool {
    text.contains("postmessage")
}

/// Whether JSON that is made for a page looks as if it held a code.
pub(super) fn in_json(text: &str) -> bool {
    has_code(text) || text.contains("interaction_code")
}

/// Whether a text has the markup of a field for a token in it.
pub(super) fn in_text(text: &str) -> bool {
    is_field(&text.to_ascii_lowercase())
}

/// Whether what should be JSON looks as if it held a token.
pub(super) fn in_answer(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["id_token", "access_token"]
        .iter()
        .any(|name| text.contains(name))
}

/// A JWT next to the name of an OAuth token. One alone may be a server's own state.
fn has_jwt(text: &str) -> bool {
    ["id_token", "access_token"].iter().any(|name| {
        text.match_indices(name).any(|(at, _)| {
            let mut after = &text.as_bytes()[at + name.len()..];
            after = &after[..after.len().min(NEAR)];
            for word in [b"value".as_slice(), b""] {
                let start = after.iter().position(u8::is_ascii_alphanumeric);
                after = &after[start.unwrap_or(after.len())..];
                after = after.strip_prefix(word).unwrap_or(after);
            }
            after.starts_with(b"eyj")
        })
    })
}

/// `code = '...'`, `"code": "..."`: with a text as long as an authorization code, which is no name
/// of an error.
pub(super) fn has_code(text: &str) -> bool {
    text.match_indices("code").any(|(at, name)| {
        let before = text.as_bytes()[..at].last();
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte)) {
            return false;
        }
        let after = text[at + name.len()..].trim_start_matches(['"', '\'', ' ']);
        let Some(given) = after.strip_prefix(['=', ':']) else {
            return false;
        };
        let given = given.trim_start().strip_prefix(['"', '\'']);
        let given = given.and_then(|given| given.split(['"', '\'', ' ']).next());
        let is_word = |given: &str| {
            let mut bytes = given.bytes();
            bytes.all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        };
        given.is_some_and(|given| given.len() >= CODE && !is_word(given))
    })
}

/// `name="wresult"`, `name: 'wresult'`, `name\x3d`, and the like.
fn is_field(text: &str) -> bool {
    NAMES.iter().any(|name| {
        text.match_indices(name).any(|(at, _)| {
            let after = text.as_bytes().get(at + name.len());
            if after.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
                return false;
            }
            let before = &text.as_bytes()[..at];
            let before = &before[before.len().saturating_sub(NEAR + 4)..];
            let end = before
                .iter()
                .rposition(|byte| !b" \t\r\n\x0c\"'\\=:,".contains(byte))
                .map_or(0, |last| last + 1);
            let (word, between) = before.split_at(end);
            let joined = match *name {
                // A name that much else has.
                "code" => between.contains(&b'='),
                _ => between.iter().any(|byte| b"=:,".contains(byte)),
            };
            joined && word.ends_with(b"name")
        })
    })
}

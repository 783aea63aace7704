//! Character references in attributes (HTML 13.2.5.72 to 13.2.5.80), as far as all readers agree.

use std::fmt::Write as _;

/// What writers of auto-post pages use; HTML knows two thousand more.
const NAMES: [(&str, char); 12] = [
    ("amp", '&'),
    ("apos", '\''),
    ("colon", ':'),
    ("equals", '='),
    ("gt", '>'),
    ("lowbar", '_'),
    ("lt", '<'),
    ("nbsp", '\u{a0}'),
    ("period", '.'),
    ("plus", '+'),
    ("quot", '"'),
    ("sol", '/'),
];

/// The text of an attribute's value; `None` when it has references that are not known, not closed, or name
/// what HTML replaces.
pub(super) fn decoded(raw: &str) -> Option<String> {
    let mut parts = raw.split('&');
    let mut text = String::with_capacity(raw.len());
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let length = part
            .bytes()
            .position(|byte| !byte.is_ascii_alphanumeric() && byte != b'#')
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(length);
        match rest.as_bytes().first() {
            // `&` by itself is text, and so is `&name=`: HTML leaves it to addresses.
            _ if name.is_empty() => text.push('&'),
            Some(b'=') if !name.contains('#') => {
                text.push('&');
                text.push_str(name);
            }
            Some(b';') => {
                text.push(character(name)?);
                text.push_str(&rest[1..]);
                continue;
            }
            _ => return None,
        }
        text.push_str(rest);
    }
    Some(text)
}

/// Text as the value of an attribute in quotes of either kind.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '&' | '"' | '\'' | '<' | '>' | '`') {
            write!(out, "&#{};", u32::from(character)).expect("a string takes every write");
        } else {
            out.push(character);
        }
    }
    out
}

fn character(name: &str) -> Option<char> {
    let Some(number) = name.strip_prefix('#') else {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        return known.map(|(_, character)| *character);
    };
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let character = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    let plain = matches!(character, '\t' | '\n' | '\r') || !character.is_control();
    plain.then_some(character)
}

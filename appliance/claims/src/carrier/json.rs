//! What a token endpoint answers (RFC 6749 5.1 and 5.2).

use serde_json::Value;

use super::fields::{Named, carried, named};
use super::{By, Carried, marks, unreadable};
use crate::json::object;

pub(super) fn read(status: u16, body: &[u8]) -> Carried {
    if body.trim_ascii().is_empty() {
        return Carried::Nothing;
    }
    let Ok(members) = object(body) else {
        let text = String::from_utf8_lossy(body);
        return if (200..300).contains(&status) || body.contains(&0) || marks::in_answer(&text) {
            unreadable("the token endpoint's answer is not one JSON object whose members differ")
        } else {
            Carried::Nothing
        };
    };
    let mut fields = Vec::new();
    // Here `code` is no authorization code: nobody hands one to those who ask for tokens.
    for (name, value) in members.into_iter().filter(|(name, _)| name != "code") {
        match value {
            Value::String(text) => fields.push((name, text)),
            _ if named(&name) != Named::No => {
                return unreadable("a token in the token endpoint's answer is not a string");
            }
            inside if marks::in_answer(&inside.to_string()) => {
                return unreadable(
                    "a token is deeper in the token endpoint's answer than it belongs",
                );
            }
            _ => fields.push((name, String::new())),
        }
    }
    carried(&fields, By::Json)
}

//! Holds JSON against the schemas of `openapi.json`: the part of JSON Schema 2020-12 that the document
//! uses. A keyword that is not known here is an error, and so is a key that the schema does not name:
//! an answer must not say what the document does not.

use std::collections::BTreeSet;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Why a value does not fit, with its place; `None` when it does.
pub fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    fits(document, schema, value, "$").err()
}

fn fits(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{at}: {what}: {value}"));
    for (keyword, said) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$ref" => fits(document, resolve(document, said), value, at)?,
            "type" if !is_of(value, said) => return wrong(format!("is not {said}")),
            "const" if value != said => return wrong(format!("is not {said}")),
            "enum" if !array(said).contains(value) => return wrong(format!("is none of {said}")),
            "minimum" if value.is_number() && value.as_f64() < said.as_f64() => {
                return wrong(format!("below {said}"));
            }
            "maximum" if value.as_f64() > said.as_f64() => return wrong(format!("above {said}")),
            "minItems" if array(value).len() < length(said) => return wrong("too short".into()),
            "maxItems" if array(value).len() > length(said) => return wrong("too long".into()),
            // It holds, or says nothing of its own.
            "type" | "const" | "enum" | "minimum" | "maximum" | "minItems" | "maxItems"
            | "description" | "required" => {}
            "format" => {
                assert_eq!(said, "date-time");
                let text = value.as_str().unwrap_or_default();
                if OffsetDateTime::parse(text, &Rfc3339).is_err() {
                    return wrong("is no time".into());
                }
            }
            "items" => {
                for (number, item) in array(value).iter().enumerate() {
                    fits(document, said, item, &format!("{at}[{number}]"))?;
                }
            }
            "prefixItems" => {
                for (number, (schema, item)) in array(said).iter().zip(array(value)).enumerate() {
                    fits(document, schema, item, &format!("{at}[{number}]"))?;
                }
            }
            "oneOf" => {
                let results: Vec<_> = array(said)
                    .iter()
                    .map(|schema| fits(document, schema, value, at))
                    .collect();
                if results.iter().filter(|result| result.is_ok()).count() != 1 {
                    return wrong(format!("fits not exactly one: {results:?}"));
                }
            }
            "properties" => keys(document, schema, value, at)?,
            other => panic!("{at}: the keyword `{other}` is not checked"),
        }
    }
    Ok(())
}

fn keys(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    let known = schema["properties"].as_object().expect("an object");
    let there: BTreeSet<&str> = object.keys().map(String::as_str).collect();
    for (key, value) in object {
        let schema = known
            .get(key)
            .ok_or_else(|| format!("{at}: `{key}` is not described"))?;
        fits(document, schema, value, &format!("{at}.{key}"))?;
    }
    for key in array(&schema["required"]) {
        let key = key.as_str().expect("a name");
        if !there.contains(key) {
            return Err(format!("{at}: `{key}` is missing"));
        }
    }
    Ok(())
}

/// What a reference within the document stands for.
pub fn resolve<'d>(document: &'d Value, reference: &Value) -> &'d Value {
    let path = reference.as_str().expect("a reference is a text");
    let pointer = path.strip_prefix('#').expect("within the document");
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{path} is not in the document"))
}

fn is_of(value: &Value, types: &Value) -> bool {
    let is = |name: &Value| match name.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => panic!("the type {name} is not checked"),
    };
    types
        .as_array()
        .map_or_else(|| is(types), |types| types.iter().any(is))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn length(value: &Value) -> usize {
    usize::try_from(value.as_u64().expect("a number")).expect("a small one")
}

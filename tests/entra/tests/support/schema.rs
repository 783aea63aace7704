//! Holds answers against the part of Microsoft's own schema that stands beside the project, where it does.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// The folder of reference data, if it is at hand.
pub fn reference(file: &str) -> Option<PathBuf> {
    let project = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let near = project.join("../shared/reference/data").join(file);
    let named = std::env::var_os("WEIR_REFERENCE").map(|folder| PathBuf::from(folder).join(file));
    named
        .into_iter()
        .chain([near])
        .find(|candidate| candidate.is_file())
}

/// The schema, or nothing with the reason printed.
pub fn schema(test: &str) -> Option<&'static Schema> {
    static LOADED: OnceLock<Option<Schema>> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        let path = reference("entra_graph_csdl_subset.json")?;
        let content = std::fs::read_to_string(path).expect("readable");
        let whole: Value = serde_json::from_str(&content).expect("JSON");
        Some(Schema {
            types: whole["types"].as_object().expect("types").clone(),
        })
    });
    if loaded.is_none() {
        println!("skipped: {test}: Microsoft's schema is not at hand");
    }
    loaded.as_ref()
}

/// Types of Graph by name.
pub struct Schema {
    types: Map<String, Value>,
}

impl Schema {
    /// What is wrong with `value` as a `kind` (`microsoft.graph.user`); nothing, if all is right.
    pub fn check(&self, kind: &str, value: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        self.entity(kind, value, kind, &mut wrong);
        wrong
    }

    fn entity(&self, declared: &str, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let Value::Object(members) = value else {
            wrong.push(format!("{at}: {value} is no {declared}"));
            return;
        };
        let actual = members.get("@odata.type").and_then(Value::as_str);
        let actual = actual.map_or(declared, |named| named.trim_start_matches('#'));
        if !self.types.contains_key(actual) {
            wrong.push(format!("{at}: there is no type {actual}"));
            return;
        }
        if actual != declared && !self.ancestors(actual).any(|base| base == declared) {
            wrong.push(format!("{at}: {actual} is no kind of {declared}"));
        }
        if self.types[actual]["abstract"] == true {
            wrong.push(format!("{at}: {actual} is abstract: what is it?"));
        }
        for (name, member) in members {
            if name.contains('@') {
                continue;
            }
            let path = format!("{at}.{name}");
            match self.property(actual, name) {
                Some((kind, nullable)) => self.value(&kind, nullable, member, &path, wrong),
                None => wrong.push(format!("{path}: {actual} has no such property")),
            }
        }
    }

    fn value(&self, kind: &str, nullable: bool, value: &Value, at: &str, wrong: &mut Vec<String>) {
        if let Some(item) = kind
            .strip_prefix("Collection(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            match value {
                Value::Array(items) => {
                    for (position, value) in items.iter().enumerate() {
                        self.value(item, nullable, value, &format!("{at}[{position}]"), wrong);
                    }
                }
                Value::Null if nullable => {}
                other => wrong.push(format!("{at}: {other} is no collection")),
            }
            return;
        }
        if value.is_null() {
            if !nullable {
                wrong.push(format!("{at}: may not be null"));
            }
            return;
        }
        let text = value.as_str();
        let fits = match kind {
            "Edm.String" => text.is_some(),
            "Edm.Boolean" => value.is_boolean(),
            "Edm.Int32" => value
                .as_i64()
                .is_some_and(|number| i32::try_from(number).is_ok()),
            "Edm.Double" => value.is_number(),
            "Edm.Guid" => text.is_some_and(|text| uuid::Uuid::try_parse(text).is_ok()),
            "Edm.Binary" => text.is_some_and(|text| {
                use base64::Engine;
                base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .is_ok()
            }),
            "Edm.DateTimeOffset" => text.is_some_and(|text| {
                let format = &time::format_description::well_known::Rfc3339;
                text.ends_with('Z') && time::OffsetDateTime::parse(text, format).is_ok()
            }),
            other => {
                let name = other.replace("graph.", "microsoft.graph.");
                match self.types.get(&name) {
                    Some(known) if known["kind"] == "EnumType" => {
                        let members = known["members"].as_array().expect("members");
                        // Flags may be written together.
                        text.is_some_and(|text| {
                            text.split(',')
                                .all(|part| members.iter().any(|member| member == part))
                        })
                    }
                    Some(_) => {
                        self.entity(&name, value, at, wrong);
                        true
                    }
                    // Beyond the subset.
                    None => true,
                }
            }
        };
        if !fits {
            wrong.push(format!("{at}: {value} is no {kind}"));
        }
    }

    fn property(&self, kind: &str, name: &str) -> Option<(String, bool)> {
        std::iter::once(kind)
            .chain(self.ancestors(kind))
            .find_map(|kind| {
                let known = &self.types[kind];
                let property = &known["props"][name];
                if let Some(of) = property["type"].as_str() {
                    return Some((of.to_owned(), property["nullable"] != false));
                }
                let of = known["navs"][name]["type"].as_str()?;
                Some((of.to_owned(), true))
            })
    }

    fn ancestors<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a str> {
        let base = |kind: &&'a str| {
            let base = self.types.get(*kind)?["base"].as_str()?;
            let base = base
                .trim_start_matches("microsoft.")
                .trim_start_matches("graph.");
            let found = self
                .types
                .keys()
                .find(|known| known.strip_prefix("microsoft.graph.") == Some(base))?;
            Some(found.as_str())
        };
        std::iter::successors(base(&kind), move |kind| base(kind))
    }
}

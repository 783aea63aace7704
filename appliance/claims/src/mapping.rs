//! Which claims a rule means when it says `department`: names for rules, from the claim types of a service.
//!
//! In: what an administrator writes for a service ([`MappingSpec`]), and the [`Claims`] of a token. Out: values
//! by name ([`Named`]), and whose they are ([`Principal`]). What is uncertain is *missing*, which is not the
//! same as none: a name that should have one value and has two, or one that the issuer left out.
//!
//! It must never guess: claim types are compared to the letter, and no value is changed.

mod presets;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;

use crate::Claims;

pub use presets::PRESETS;

/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// What stands in a token outside its attributes.
const PARTS: [&str; 4] = ["@authenticated", "@issuer", "@methods", "@subject"];
/// Names that have one value.
const SINGLE: [&str; 14] = [
    "authenticated",
    "device_compliant",
    "device_managed",
    "device_registered",
    "device_trust",
    "email",
    "immutable_id",
    "inside_network",
    "issuer",
    "name_id",
    "object_id",
    "sid",
    "tenant_id",
    "upn",
];

/// Claim types that tell a part, and those that tell the whole: without a value of the latter, what else
/// belongs to the name is unknown.
const PARTIAL: [(&str, &str); 1] = [(
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/groupsid",
)];

/// Names for rules, as an administrator writes them for a service.
///
/// A claim type is an attribute's whole URI (in SAML 1.1: its namespace, `/`, its name), the name of a member of a
/// JWT, or one of `@subject`, `@issuer`, `@methods` and `@authenticated` for what stands elsewhere in a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MappingSpec {
    /// One of [`PRESETS`], whose names are there without being written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Claim types of a name, in place of the preset's; none to leave the name out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<String>>,
    /// Claim types of a name, besides the preset's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub also: BTreeMap<String, Vec<String>>,
    /// Names that have one value: several that differ are unknown. `upn` and the like are such anyway.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub single: BTreeSet<String>,
    /// Names that the issuer leaves out only where there is no value: without one, nothing is unknown.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub complete: BTreeSet<String>,
}

/// Something wrong in a [`MappingSpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct MappingError {
    /// Which field, such as `claims.department`.
    pub field: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

/// Names for rules, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    names: BTreeMap<String, Sought>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sought {
    types: Vec<String>,
    single: bool,
    complete: bool,
}

/// What a token says, by the names that rules use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Values by name, in the token's order, none twice. A name without a value is not there, unless it is
    /// known to have none.
    pub values: BTreeMap<String, Vec<String>>,
    /// Names of which it is unknown what, or what else, belongs to them.
    pub missing: BTreeSet<String>,
}

/// Whose token it is, by the most certain name that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Tenant and object in Entra.
    Object {
        /// Identifier of the tenant.
        tenant: String,
        /// Identifier of the user in it.
        object: String,
    },
    /// `ImmutableID`, which joins a user to the on-premises directory.
    ImmutableId(String),
    /// User principal name, which can change and be given to somebody else.
    Upn(String),
    /// Security identifier on premises.
    Sid(String),
}

impl Mapping {
    /// Compiles what an administrator wrote; all that is wrong with it otherwise.
    pub fn new(spec: &MappingSpec) -> Result<Self, Vec<MappingError>> {
        let mut errors = Vec::new();
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if let Some(preset) = &spec.preset {
            match presets::named(preset) {
                Some(layers) => {
                    for (name, types) in layers.iter().copied().flatten() {
                        let known = all.entry((*name).to_owned()).or_default();
                        known.extend(types.iter().map(|kind| (*kind).to_owned()));
                    }
                }
                None => errors.push(unknown("preset", "preset", preset, &PRESETS)),
            }
        }
        for (name, types) in &spec.claims {
            check(&mut errors, "claims", name, types);
            all.insert(name.clone(), types.clone());
        }
        for (name, types) in &spec.also {
            check(&mut errors, "also", name, types);
            let known = all.entry(name.clone()).or_default();
            known.extend(types.iter().cloned());
        }
        for (field, names) in [("single", &spec.single), ("complete", &spec.complete)] {
            for name in names.iter().filter(|name| !all.contains_key(*name)) {
                let known: Vec<&str> = all.keys().map(String::as_str).collect();
                errors.push(unknown(field, "name", name, &known));
            }
        }
        let names = all.into_iter().filter(|(_, types)| !types.is_empty());
        let names = names.map(|(name, mut types)| {
            let mut seen = BTreeSet::new();
            types.retain(|kind| seen.insert(kind.clone()));
            let single = SINGLE.contains(&name.as_str()) || spec.single.contains(&name);
            let complete = spec.complete.contains(&name);
            let sought = Sought {
                types,
                single,
                complete,
            };
            (name, sought)
        });
        let names = names.collect();
        if errors.is_empty() {
            Ok(Self { names })
        } else {
            Err(errors)
        }
    }

    /// The names that rules may use.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The claim types that are read for a name; none when it is not one.
    pub fn types(&self, name: &str) -> &[String] {
        self.names.get(name).map_or(&[], |known| &known.types)
    }

    /// A token's claims, by name. Values are kept as they stand in it, whole; those that are empty, or nothing but
    /// blanks, are none.
    pub fn apply(&self, claims: &Claims) -> Named {
        let mut named = Named::default();
        for (
            name,
            Sought {
                types,
                single,
                complete,
            },
        ) in &self.names
        {
            let mut values: Vec<String> = Vec::new();
            let mut seen = BTreeSet::new();
            for value in types.iter().flat_map(|kind| of(claims, kind)) {
                if !value.trim().is_empty() && seen.insert(value.clone()) {
                    values.push(value);
                }
            }
            let left_out = types
                .iter()
                .any(|kind| claims.missing.contains(kind) || is_part_alone(claims, kind));
            let unclear = *single && (values.len() > 1 || left_out);
            if unclear || left_out {
                named.missing.insert(name.clone());
            }
            if !unclear && (!values.is_empty() || *complete && !left_out) {
                named.values.insert(name.clone(), values);
            }
        }
        named
    }
}

impl Named {
    /// Whose token it is. Only names that are certain count: one value, and not missing.
    pub fn principal(&self) -> Option<Principal> {
        let one = |name: &str| match self.values.get(name).map(Vec::as_slice) {
            Some([value]) if !self.missing.contains(name) => Some(value.clone()),
            _ => None,
        };
        if let (Some(tenant), Some(object)) = (one("tenant_id"), one("object_id")) {
            return Some(Principal::Object { tenant, object });
        }
        // In OpenID Connect `sid` is a session.
        let sid = || one("sid").filter(|sid| sid.starts_with("S-1-"));
        one("immutable_id")
            .map(Principal::ImmutableId)
            .or_else(|| one("upn").map(Principal::Upn))
            .or_else(|| sid().map(Principal::Sid))
    }
}

/// Whether a token has values of a claim type that are but a part, and nothing of the whole.
fn is_part_alone(claims: &Claims, kind: &str) -> bool {
    let whole = PARTIAL.iter().find(|(part, _)| *part == kind);
    whole.is_some_and(|(part, whole)| {
        let has = |kind| claims.values.get(kind).is_some_and(|it| !it.is_empty());
        has(*part) && !has(*whole)
    })
}

/// Values of a claim type.
fn of(claims: &Claims, kind: &str) -> Vec<String> {
    match kind {
        "@authenticated" => {
            let time = claims
                .authenticated
                .map(|time| time.to_offset(time::UtcOffset::UTC));
            time.and_then(|time| time.format(&Rfc3339).ok())
                .into_iter()
                .collect()
        }
        "@issuer" => vec![claims.issuer.clone()],
        "@methods" => claims.methods.clone(),
        "@subject" => claims.subject.clone().into_iter().collect(),
        _ => claims.values.get(kind).cloned().unwrap_or_default(),
    }
}

fn check(errors: &mut Vec<MappingError>, table: &str, name: &str, types: &[String]) {
    let field = format!("{table}.{name}");
    let mut error = |message: String, suggestion: Option<String>| {
        let field = field.clone();
        errors.push(MappingError {
            field,
            message,
            suggestion,
        });
    };
    let letters = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !starts || !letters(name) || name.len() > MAX_NAME {
        let meant = presets::names().into_iter().collect::<Vec<_>>();
        let message = "a name for rules is made of lower-case letters, digits and `_`, and begins with a letter";
        error(message.to_owned(), nearest(name, &meant));
    }
    let mut seen = BTreeSet::new();
    for kind in types {
        if kind.is_empty() || kind.chars().any(|c| c.is_whitespace() || c.is_control()) {
            error(
                "a claim type is a URI or a name, without blanks".to_owned(),
                None,
            );
        } else if kind.starts_with('@') && !PARTS.contains(&kind.as_str()) {
            let wrong = unknown(&field, "part of a token", kind, &PARTS);
            error(wrong.message, wrong.suggestion);
        } else if let Some(rest) = kind.strip_prefix("https://schemas.") {
            let right = format!("http://schemas.{rest}");
            error(
                format!("claim types of this kind begin with `http:`: write `{right}`"),
                Some(right),
            );
        } else if !seen.insert(kind) {
            error(
                format!("the claim type `{kind}` stands there twice; write it once"),
                None,
            );
        }
    }
}

fn unknown(field: &str, what: &str, word: &str, all: &[&str]) -> MappingError {
    let suggestion = nearest(word, all);
    let choice = match &suggestion {
        Some(known) => format!("did you mean `{known}`?"),
        None if all.is_empty() => "none is defined".to_owned(),
        None => format!("it is one of: {}", all.join(", ")),
    };
    MappingError {
        field: field.to_owned(),
        message: format!("there is no {what} `{word}`; {choice}"),
        suggestion,
    }
}

fn nearest(word: &str, all: &[&str]) -> Option<String> {
    let word = word.to_lowercase();
    all.iter()
        .map(|known| (strsim::jaro_winkler(&word, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| (*known).to_owned())
}

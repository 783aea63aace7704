//! Profiles as an administrator writes them, and how they are compiled.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::presets::{self, PRESETS, Preset};
use super::table::{Readings, Reads, Row};
use super::{Compiled, Places, Profile};
use crate::words::closest;
use crate::{Flow, NormalPath, RuleError};

/// How the requests of a service are recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProfileChoice {
    /// A profile that comes with Weir, by name ([`PRESETS`]).
    Preset(String),
    /// One's own.
    Own(Box<ProfileSpec>),
}

/// A profile of the administrator. Without `like` only its own rows are known; with it they come first, and
/// names of parameters are added to the preset's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSpec {
    /// The preset that it begins from.
    pub like: Option<String>,
    /// What requests are. What is internal comes first, the rest in this order.
    pub rows: Vec<RowSpec>,
    /// Parameters of queries and forms in which a user is named.
    pub users: Vec<String>,
    /// Parameters that hold a password: a request with one signs nobody out.
    pub passwords: Vec<String>,
    /// Parameters in which a relying party is named, besides those of WS-Federation, SAML and OAuth.
    pub relying_parties: Vec<String>,
    /// Parameters by which a request is a later step of a sign-in, whatever its path.
    pub steps: Vec<String>,
    /// Path at which a browser is signed out.
    pub sign_out: Option<String>,
    /// Path of the federation metadata.
    pub metadata: Option<String>,
    /// Path of the JSON Web Key Set.
    pub jwks: Option<String>,
    /// Path of the `OpenID Connect` discovery document.
    pub discovery: Option<String>,
    /// Path that answers 200 while the server works.
    pub health: Option<String>,
    /// How a second factor is asked for.
    pub mfa: MfaSpec,
}

/// A row of one's own profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowSpec {
    /// HTTP methods; none means all of them.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Pattern for a normalised path, in lower case: `*` stands for one segment, `**` at the end for one
    /// or more.
    pub path: String,
    /// Flow kind, by its word.
    pub flow: String,
    /// What else is read ([`Reads`]), by its words.
    #[serde(default)]
    pub reads: Vec<String>,
}

/// How a second factor is asked for, by each protocol; `None` where it cannot be, or it is not known how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MfaSpec {
    /// WS-Federation: value of `wauth`.
    pub wauth: Option<String>,
    /// SAML 2.0: class in `RequestedAuthnContext`.
    pub authn_context: Option<String>,
    /// `OpenID Connect`: value of `acr_values`.
    pub acr_values: Option<String>,
}

/// Something wrong in a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProfileError {
    /// Index into [`ProfileSpec::rows`]; `None` when it is not about one row.
    pub row: Option<usize>,
    /// Which field.
    pub field: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

impl ProfileChoice {
    /// Whether it is that of a relying party: reply URLs are among its rows.
    pub fn replies(&self) -> bool {
        matches!(self, Self::Own(own) if own.replies())
    }
}

impl ProfileSpec {
    fn replies(&self) -> bool {
        self.rows.iter().any(RowSpec::is_reply)
    }
}

impl RowSpec {
    fn is_reply(&self) -> bool {
        self.reads.iter().any(|word| word == Reads::Reply.name())
    }
}

impl From<ProfileError> for RuleError {
    fn from(error: ProfileError) -> Self {
        let field = match (error.row, error.field) {
            (_, "profile") => "profile".to_owned(),
            (None, field) => format!("profile.{field}"),
            (Some(row), field) => format!("profile.rows.{row}.{field}"),
        };
        Self {
            rule: None,
            field,
            message: error.message,
            suggestion: error.suggestion,
        }
    }
}

impl From<&str> for ProfileChoice {
    fn from(name: &str) -> Self {
        Self::Preset(name.to_owned())
    }
}

impl From<String> for ProfileChoice {
    fn from(name: String) -> Self {
        Self::Preset(name)
    }
}

impl Profile {
    /// Compiles a choice; all errors are reported, not only the first.
    pub fn compile(choice: &ProfileChoice) -> Result<Self, Vec<ProfileError>> {
        match choice {
            ProfileChoice::Preset(name) => match presets::preset(name) {
                Some(_) => Self::own(&ProfileSpec {
                    like: Some(name.clone()),
                    ..ProfileSpec::default()
                }),
                None => Err(vec![unknown(None, "profile", "profile", name, PRESETS)]),
            },
            ProfileChoice::Own(spec) => Self::own(spec),
        }
    }

    fn own(spec: &ProfileSpec) -> Result<Self, Vec<ProfileError>> {
        let mut errors = Vec::new();
        let like = spec.like.as_ref().and_then(|name| {
            let found = presets::preset(name);
            if found.is_none() {
                errors.push(unknown(None, "like", "profile", name, PRESETS));
            }
            found
        });
        let mut rows: Vec<Row> = Vec::new();
        if spec.rows.len() > MAX_ROWS {
            let message = format!("more than {MAX_ROWS} rows; use `*` and `**` in patterns");
            errors.push(plain(None, "rows", message));
        }
        for (index, row) in spec.rows.iter().take(MAX_ROWS).enumerate() {
            rows.extend(read_row(index, row, spec.replies(), &mut errors));
        }
        if spec.replies() && spec.like.is_some() {
            let message = "a profile with reply URLs is an application's, which is like no sign-in server; \
                           remove it, and write a row for each path of the application";
            errors.push(plain(None, "like", message));
        }
        if spec.like.is_none() && spec.rows.is_empty() {
            let message = "this profile knows no request; write `rows`, or begin from a preset: \
                           `like = \"adfs\"`";
            errors.push(plain(None, "rows", message));
        }
        check_words(spec, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        rows.extend(like.map(rows_of).unwrap_or_default());
        // A stable sort: within each kind the order stays.
        rows.sort_by_key(|row| row.flow != Flow::Internal);
        let names = |given: &[String], preset: fn(&Preset) -> &'static [&'static str]| {
            let preset = like.map(preset).unwrap_or_default();
            let preset = preset.iter().map(|name| (*name).to_owned());
            given.iter().cloned().chain(preset).collect()
        };
        // Any server may take WS-Federation's, beside what else is named.
        let mut relying_parties: Vec<String> =
            names(&spec.relying_parties, |preset| preset.relying_parties);
        if !relying_parties.iter().any(|name| name == "wtrealm") {
            relying_parties.push("wtrealm".to_owned());
        }
        let text = |given: &Option<String>, preset: fn(&Preset) -> Option<&'static str>| {
            let preset = || like.and_then(preset).map(str::to_owned);
            given.clone().or_else(preset)
        };
        Ok(Self(Arc::new(Compiled {
            rows,
            users: names(&spec.users, |preset| preset.users),
            passwords: names(&spec.passwords, |preset| preset.passwords),
            relying_parties,
            steps: names(&spec.steps, |preset| preset.steps),
            exact_names: like.is_none_or(|preset| preset.exact_names),
            places: Places {
                sign_out: text(&spec.sign_out, |preset| preset.sign_out),
                metadata: text(&spec.metadata, |preset| preset.metadata),
                jwks: text(&spec.jwks, |preset| preset.jwks),
                discovery: text(&spec.discovery, |preset| preset.discovery),
                health: text(&spec.health, |preset| preset.health),
            },
            mfa: MfaSpec {
                wauth: text(&spec.mfa.wauth, |preset| preset.wauth),
                authn_context: text(&spec.mfa.authn_context, |preset| preset.authn_context),
                acr_values: text(&spec.mfa.acr_values, |preset| preset.acr_values),
            },
            upstream: like.and_then(|preset| preset.upstream),
        })))
    }
}

/// Most rows of one's own.
const MAX_ROWS: usize = 512;
/// Longest pattern, path or name, in bytes.
const MAX_TEXT: usize = 512;

fn rows_of(preset: &Preset) -> Vec<Row> {
    let rows = preset.rows.iter();
    rows.map(|(methods, pattern, flow, reads)| Row {
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        pattern: (*pattern).to_owned(),
        flow: *flow,
        reads: Readings::of(reads),
    })
    .collect()
}

fn read_row(
    index: usize,
    row: &RowSpec,
    of_party: bool,
    errors: &mut Vec<ProfileError>,
) -> Option<Row> {
    let before = errors.len();
    let at = Some(index);
    for method in &row.methods {
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let upper = method.to_ascii_uppercase();
            let mut error = plain(at, "methods", format!("`{method}` is no HTTP method"));
            let fits = !upper.is_empty() && upper.bytes().all(|byte| byte.is_ascii_uppercase());
            error.suggestion = fits.then_some(upper);
            errors.push(error);
        }
    }
    let flows = Flow::ALL.map(Flow::name);
    let flow = Flow::ALL.into_iter().find(|flow| flow.name() == row.flow);
    if flow.is_none() {
        errors.push(unknown(at, "flow", "flow kind", &row.flow, &flows));
    }
    let mut reads = Vec::new();
    let words = Reads::ALL.map(Reads::name);
    for word in &row.reads {
        match Reads::ALL.into_iter().find(|one| one.name() == word) {
            Some(one) => reads.push(one),
            None => errors.push(unknown(at, "reads", "reading", word, &words)),
        }
    }
    let anything = of_party && flow == Some(Flow::Asset);
    check_pattern(at, &row.path, flow, anything, errors);
    if of_party {
        check_beside_replies(at, row, flow, errors);
    }
    for one in &reads {
        if flow.is_some_and(|flow| !one.flows().contains(&flow)) {
            let flows: Vec<&str> = one.flows().iter().map(|flow| flow.name()).collect();
            let message = format!(
                "`{}` says nothing on flow `{}`; it is for {}",
                one.name(),
                row.flow,
                flows.join(", ")
            );
            errors.push(plain(at, "reads", message));
        }
    }
    if reads.contains(&Reads::Application) && !row.path.split('/').any(|part| part == "*") {
        let message =
            "`application` needs a `*` in the path; the relying party is the path up to it";
        errors.push(plain(at, "reads", message));
    }
    if reads.contains(&Reads::Password) && reads.contains(&Reads::Basic) {
        let message = "`password` and `basic` are two kinds of messages; write a row for each path";
        errors.push(plain(at, "reads", message));
    }
    (errors.len() == before).then(|| Row {
        methods: row.methods.clone(),
        pattern: row.path.clone(),
        flow: flow.expect("an unknown flow is an error"),
        reads: Readings::of(&reads),
    })
}

/// A pattern has to be what a normalised path can be, or it would never match.
fn check_pattern(
    row: Option<usize>,
    pattern: &str,
    flow: Option<Flow>,
    anything: bool,
    errors: &mut Vec<ProfileError>,
) {
    let mut wrong = |message: String, suggestion: Option<String>| {
        let mut error = plain(row, "path", message);
        error.suggestion = suggestion;
        errors.push(error);
    };
    if pattern.len() > MAX_TEXT {
        let message = format!("the pattern is longer than {MAX_TEXT} bytes; use `*` and `**`");
        return wrong(message, None);
    }
    let Some(inside) = pattern.strip_prefix('/') else {
        let message = format!("`{pattern}` does not begin with a slash");
        let path = pattern.split_once("://").map_or(pattern, |(_, rest)| {
            rest.split_once('/').map_or("", |(_, path)| path)
        });
        return wrong(message, Some(format!("/{path}")));
    };
    let open = inside
        .strip_suffix("/**")
        .or((inside == "**").then_some(""));
    let fixed = open.unwrap_or(inside);
    if fixed
        .split('/')
        .any(|part| part != "*" && part.contains('*'))
    {
        let message = format!(
            "`{pattern}` has a `*` that is not a segment of its own; `*` stands for one whole segment, \
             and `**` at the end for one or more"
        );
        return wrong(message, None);
    }
    // A star is no plain character of a path; a letter in its place is.
    let plain_path = format!("/{}", fixed.replace('*', "x"));
    match NormalPath::parse(&plain_path) {
        Err(error) => return wrong(format!("in `{pattern}` {error}"), None),
        Ok(path) if path.is_odd() => {
            let message = format!("`{pattern}` is a path that can be read in more than one way");
            return wrong(message, None);
        }
        Ok(path) if path.trimmed() != plain_path && plain_path != "/" => {
            let message =
                format!("`{pattern}` is not as paths are compared: in lower case, decoded");
            let lower = pattern.to_ascii_lowercase();
            let lower = lower.trim_end_matches('/');
            let suggestion = (path.trimmed()
                == plain_path.to_ascii_lowercase().trim_end_matches('/'))
            .then(|| lower.to_owned());
            return wrong(message, suggestion);
        }
        Ok(_) => {}
    }
    let closed = anything || matches!(flow, None | Some(Flow::Internal | Flow::Other));
    let first = fixed.split('/').next().unwrap_or_default();
    if !closed && (first == "*" || (fixed.is_empty() && open.is_some())) {
        let message = format!(
            "`{pattern}` would let everything through; begin with the name of a segment, such as \
             `/sso/**`"
        );
        wrong(message, None);
    }
}

/// Behind a reply URL stands an application, and no sign-in server: nobody signs in at its other paths.
fn check_beside_replies(
    at: Option<usize>,
    row: &RowSpec,
    flow: Option<Flow>,
    errors: &mut Vec<ProfileError>,
) {
    if row.is_reply() && row.reads.len() > 1 {
        let message = "what is posted to a reply URL is a token; write `reply` alone";
        errors.push(plain(at, "reads", message));
    }
    if !row.is_reply()
        && flow.is_some_and(|flow| flow.signs_in() || matches!(flow, Flow::Mex | Flow::Device))
    {
        let message = "a profile with reply URLs is an application's, where nobody signs in by another path; \
                       write flow = \"asset\" for what everybody may ask the application for";
        errors.push(plain(at, "flow", message));
    }
}

fn check_words(spec: &ProfileSpec, errors: &mut Vec<ProfileError>) {
    for (field, names) in [
        ("users", &spec.users),
        ("passwords", &spec.passwords),
        ("relying_parties", &spec.relying_parties),
        ("steps", &spec.steps),
    ] {
        for name in names {
            let fits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !fits || name.len() > MAX_TEXT {
                let message = format!("`{name}` cannot be the name of a parameter");
                errors.push(plain(None, field, message));
            }
        }
    }
    for (field, path) in [
        ("sign_out", &spec.sign_out),
        ("metadata", &spec.metadata),
        ("jwks", &spec.jwks),
        ("discovery", &spec.discovery),
        ("health", &spec.health),
    ] {
        let Some(path) = path else { continue };
        let fits = path.starts_with('/')
            && !path.starts_with("//")
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            && !path.contains('#');
        if !fits || path.len() > MAX_TEXT {
            let message = format!("`{path}` is no path; write one that begins with one slash");
            errors.push(plain(None, field, message));
        }
    }
    for value in [
        &spec.mfa.wauth,
        &spec.mfa.authn_context,
        &spec.mfa.acr_values,
    ] {
        let Some(value) = value else { continue };
        let fits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits || value.len() > MAX_TEXT {
            let message = format!("`{value}` is no name of a way to sign in");
            errors.push(plain(None, "mfa", message));
        }
    }
}

fn plain(row: Option<usize>, field: &'static str, message: impl Into<String>) -> ProfileError {
    ProfileError {
        row,
        field,
        message: message.into(),
        suggestion: None,
    }
}

fn unknown(
    row: Option<usize>,
    field: &'static str,
    what: &str,
    word: &str,
    all: &[&str],
) -> ProfileError {
    let mut error = plain(
        row,
        field,
        format!(
            "there is no {what} `{word}`; it is one of: {}",
            all.join(", ")
        ),
    );
    error.suggestion = closest(word, all);
    error
}

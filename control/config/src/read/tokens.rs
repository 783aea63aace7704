//! `[service.tokens]`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use url::Url;
use weir_claims::mapping::{Mapping, MappingSpec, PRESETS};
use weir_policy::{Places, Profile, ProfileChoice};

use super::rule::Fields;
use crate::certificate::io_words;
use crate::check::advice;
use crate::file;
use crate::reader::{At, Context, Span, Table};
use crate::tokens::{KeyPlace, KeySource, KeySources, Tokens};

/// Longest address, audience and type of a claim.
const LONGEST: usize = 1024;

/// `[service.tokens]` as far as it could be read.
pub(crate) struct DraftTokens {
    /// With the places that are named.
    pub(crate) tokens: Tokens,
    /// The service whose tokens these are.
    pub(crate) of: Option<At<String>>,
    file: Option<At<PathBuf>>,
    /// What is written about places is wrong, which has been said.
    lost: bool,
    names_forms: bool,
    claims: Fields,
    pub(crate) span: Span,
}

pub(crate) fn read(context: &Context<'_>, table: &Table<'_>, base: &Path) -> DraftTokens {
    let file = table.string("file").map(|file| At {
        value: base.join(file.value),
        span: file.span,
    });
    if file.is_some() && table.has("metadata") {
        context.error(
            &table.key_span("file"),
            "`file` and `metadata` both say where the metadata is",
            "keep one of them: `metadata` is asked for again each hour, a file is yours to keep up to date",
        );
    }
    let of = table.string("tokens_of");
    if let Some(of) = &of
        && let Some(key) = PLACES.into_iter().find(|key| table.has(key))
    {
        context.error(
            &table.key_span(key),
            format!("`{key}` and `tokens_of` both say where the keys are"),
            format!(
                "keep one of them: with `tokens_of` the keys are those of service `{}`",
                of.value
            ),
        );
    }
    let named = |key: &str| -> Option<KeySource> {
        let place = place(context, &table.string(key)?)?;
        Some(KeySource { place, named: true })
    };
    let by_file = file.as_ref().map(|file| KeySource {
        place: KeyPlace::File(file.value.clone()),
        named: true,
    });
    let keys = KeySources {
        metadata: by_file.or_else(|| named("metadata")),
        discovery: named("discovery"),
        jwks: named("jwks"),
    };
    let (claims, mut fields) = claims(table);
    let wrong = |key: &str, found: &Option<KeySource>| {
        table.is_misspelt(key) || (table.has(key) && found.is_none())
    };
    let lost = [
        wrong("metadata", &keys.metadata),
        wrong("discovery", &keys.discovery),
        wrong("jwks", &keys.jwks),
        wrong("file", &keys.metadata),
    ];
    let tokens = Tokens {
        decide: table.boolean("decide").unwrap_or(false),
        keys,
        audiences: audiences(context, table),
        of: of.as_ref().map(|of| of.value.clone()),
        forms: forms(context, table),
        ignore_case: table.boolean("ignore_case").unwrap_or(false),
        mapping: MappingSpec {
            claims,
            complete: complete(table, &mut fields),
            ..MappingSpec::default()
        },
    };
    DraftTokens {
        tokens,
        of,
        file,
        lost: lost.contains(&true) || table.is_misspelt("tokens_of"),
        names_forms: table.has("forms"),
        claims: fields,
        span: table.span.clone(),
    }
}

impl DraftTokens {
    /// Where the name of a claim stands that a message quotes.
    pub(crate) fn claim_span(&self, message: &str) -> Option<Span> {
        let mut names = self.tokens.mapping.claims.keys();
        let name = names.find(|name| message.contains(&format!("`{name}`")))?;
        self.claims.span(&format!("claims.{name}"), "")
    }

    /// With what the profile says of its servers; or with the names of claims `of` the service whose tokens they
    /// are.
    pub(crate) fn finish(&self, profile: &ProfileChoice, of: Option<&Tokens>) -> Tokens {
        let decide = self.tokens.decide || profile.replies();
        if self.of.is_some() {
            let of = of.cloned().unwrap_or_default();
            let mut mapping = of.mapping;
            let own = &self.tokens.mapping;
            mapping.claims.extend(own.claims.clone());
            mapping.complete.extend(own.complete.iter().cloned());
            return Tokens {
                decide,
                ignore_case: self.tokens.ignore_case || of.ignore_case,
                mapping,
                ..self.tokens.clone()
            };
        }
        let places = Profile::compile(profile).map(|profile| profile.places().clone());
        let Places {
            metadata,
            jwks,
            discovery,
            ..
        } = places.unwrap_or_default();
        let usual = |path: Option<String>| -> Option<KeySource> {
            // Who keeps metadata by hand asks nobody for the rest, unless that is written too.
            let place = KeyPlace::Upstream(path.filter(|_| self.file.is_none())?);
            Some(KeySource {
                place,
                named: false,
            })
        };
        let named = self.tokens.keys.clone();
        let preset = match profile {
            ProfileChoice::Preset(name) => Some(name),
            ProfileChoice::Own(own) => own.like.as_ref(),
        };
        Tokens {
            decide,
            keys: KeySources {
                metadata: named.metadata.or_else(|| usual(metadata)),
                discovery: named.discovery.or_else(|| usual(discovery)),
                jwks: named.jwks.or_else(|| usual(jwks)),
            },
            mapping: MappingSpec {
                preset: preset
                    .filter(|name| PRESETS.contains(&name.as_str()))
                    .cloned(),
                ..self.tokens.mapping.clone()
            },
            ..self.tokens.clone()
        }
    }
}

/// What cannot work, and what would not do what is meant.
pub(crate) fn check(context: &Context<'_>, draft: &DraftTokens, tokens: &Tokens, redirects: bool) {
    if tokens.of.is_none()
        && tokens.keys.metadata.is_none()
        && tokens.keys.jwks.is_none()
        && tokens.keys.discovery.is_none()
        && !draft.lost
    {
        context.error(
            &draft.span,
            "`[service.tokens]` does not say where the keys are by which tokens are verified",
            "write where the service publishes them, such as `metadata = \"/metadata\"` or `jwks = \
             \"/keys\"`, or whose they are: `tokens_of = \"SERVICE\"`",
        );
    }
    for error in Mapping::new(&tokens.mapping).err().into_iter().flatten() {
        let span = draft.claims.span(&error.field, &error.message);
        let (message, help) = advice(&error.message, error.suggestion.as_deref());
        context.error(&span.unwrap_or_else(|| draft.span.clone()), message, help);
    }
    if draft.tokens.decide && redirects && !draft.names_forms {
        context.warning(
            &draft.span,
            "at the token nobody is sent to the reverse proxy: `forms` does not say where applications are \
             there",
            "a redirect blocks there instead; write what the reverse proxy calls them, such as `forms = { \
             \"https://login.microsoftonline.com\" = \"https://login.microsoftonline.com.proxy.example\" }`",
        );
    }
    if let Some(file) = &draft.file
        && let Err(error) = file::read(&file.value)
    {
        let shown = file.value.display();
        context.warning(
            &file.span,
            format!("cannot read the metadata `{shown}`: {}", io_words(&error)),
            "the keys that are known stay in force; without any, no token is believed",
        );
    }
}

/// Names whose absence says that there is no value.
fn complete(table: &Table<'_>, fields: &mut Fields) -> BTreeSet<String> {
    if !table.has("complete") {
        return BTreeSet::new();
    }
    let items = table.strings("complete").unwrap_or_default();
    let names = items.iter().map(|item| item.value.clone()).collect();
    fields.add("complete", table.key_span("complete"), items);
    names
}

/// A path of the upstream servers, or an address elsewhere.
fn place(context: &Context<'_>, item: &At<String>) -> Option<KeyPlace> {
    let written = item.value.as_str();
    let visible = written.len() <= LONGEST && written.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && written.starts_with('/') && !written.starts_with("//") && !written.contains('#') {
        return Some(KeyPlace::Upstream(written.to_owned()));
    }
    let url = Url::parse(written).ok().filter(|_| visible);
    let help = match &url {
        Some(url) if url.scheme() == "http" => {
            context.error(
                &item.span,
                format!("keys would come from `{written}` without TLS"),
                "whoever is on the way could put keys of their own in their place: write `https://`",
            );
            return None;
        }
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            "keys are published for everybody: write the address without a user"
        }
        Some(url) if url.fragment().is_some() => "write the address without what follows the `#`",
        Some(url) if url.scheme() == "https" => {
            return Some(KeyPlace::Elsewhere(url.to_string()));
        }
        _ => {
            "write a path, which the service's own upstream servers are asked for, such as \
             `/adfs/discovery/keys`, or an address that begins with `https://`"
        }
    };
    context.error(
        &item.span,
        format!("`{written}` cannot be asked for keys"),
        help,
    );
    None
}

fn audiences(context: &Context<'_>, table: &Table<'_>) -> Vec<String> {
    if table.is_empty_list("audiences") {
        context.error(
            &table.value_span("audiences"),
            "`audiences` is empty, so that no token would be for one of them",
            "name the relying parties, such as `[\"urn:federation:MicrosoftOnline\"]`, or leave the line \
             out: then tokens for anybody count",
        );
    }
    let items = table.strings("audiences").unwrap_or_default();
    (items.into_iter())
        .filter_map(|item| audience(context, item))
        .collect()
}

/// The name of a relying party: compared as it is.
fn audience(context: &Context<'_>, item: At<String>) -> Option<String> {
    let written = item.value.as_str();
    let possible = !written.is_empty()
        && written.trim() == written
        && written.len() <= LONGEST
        && !written.contains(char::is_control);
    if !possible {
        context.error(
            &item.span,
            "this cannot be the name of a relying party",
            "write it as it stands in the token: it is compared letter by letter",
        );
    }
    possible.then_some(item.value)
}

/// The keys that say where keys are.
const PLACES: [&str; 4] = ["metadata", "discovery", "jwks", "file"];

/// What applications are called at the reverse proxy.
fn forms(context: &Context<'_>, table: &Table<'_>) -> BTreeMap<String, String> {
    let example = "forms = { \"https://login.microsoftonline.com\" = \
                   \"https://login.microsoftonline.com.proxy.example\" }";
    let mut forms = BTreeMap::new();
    for (from, to) in table.lists_by_name("forms", example) {
        let [to] = to.as_slice() else {
            let message = format!("`{}` is to have one name at the reverse proxy", from.value);
            context.error(&from.span, message, format!("write `{example}`"));
            continue;
        };
        let origins = (origin(context, &from), origin(context, to));
        let (Some(expected), Some(proxied)) = origins else {
            continue;
        };
        if expected == proxied {
            context.error(
                &to.span,
                format!("`{proxied}` is where the form goes anyway"),
                "write the name that the application has at the reverse proxy",
            );
            continue;
        }
        forms.insert(expected, proxied);
    }
    forms
}

/// Scheme, host and port of pages.
fn origin(context: &Context<'_>, item: &At<String>) -> Option<String> {
    let written = item.value.as_str();
    let url = Url::parse(written)
        .ok()
        .filter(|url| url.scheme() == "https");
    let origin = url.map(|url| url.origin().ascii_serialization());
    match origin {
        Some(origin) if origin == written => Some(origin),
        Some(origin) => {
            context.error(
                &item.span,
                format!("`{written}` is more than an origin"),
                format!("write `{origin}`"),
            );
            None
        }
        None => {
            context.error(
                &item.span,
                format!("`{written}` is no origin"),
                "write scheme and host, such as `https://login.microsoftonline.com`",
            );
            None
        }
    }
}

/// Names for rules, and where they stand.
fn claims(table: &Table<'_>) -> (BTreeMap<String, Vec<String>>, Fields) {
    let mut fields = Fields::default();
    let mut claims = BTreeMap::new();
    for (name, types) in table.lists_by_name("claims", "[service.tokens.claims]") {
        let values = types.iter().map(|item| item.value.clone()).collect();
        fields.add(&format!("claims.{}", name.value), name.span, types);
        claims.insert(name.value, values);
    }
    (claims, fields)
}

//! `[entra]`: the tenant, and how this appliance signs in to it.

mod credential;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::{Host, Url};
use uuid::Uuid;
use weir_abi::Class;
use weir_entra::cloud::{Cloud, CloudError};
use weir_entra::guard::Limits;
use weir_entra::model::Part;
use weir_entra::sync::Keep;

use super::values;
use crate::entra::{Entra, GroupClass};
use crate::reader::{At, Context, Span, Table};
use crate::schema;

pub(crate) use credential::DraftCredential;

/// Parts are read no more and no less often.
const EVERY: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(7 * 24);
/// Facts of the tenant count no shorter and no longer.
const MAX_AGE: RangeInclusive<Duration> = Duration::from_mins(10)..=Duration::from_hours(7 * 24);
/// What they count for when nothing is said.
const MAX_AGE_UNLESS_SET: Duration = Duration::from_hours(24);
/// Longest name of a group, in characters, as Entra has it.
const LONGEST_NAME: usize = 256;
/// What is written for a cloud.
const CLOUDS: [&str; 4] = ["global", "usgov", "usgov-dod", "china"];
/// The classes that may bound a grant.
const CLASSES: [(&str, Class); 3] = [
    ("bypass", Class::Bypass),
    ("unmanaged", Class::Unmanaged),
    ("blocked", Class::Blocked),
];

/// `[entra]`, as far as it could be read.
pub(crate) struct DraftEntra {
    pub(crate) tenant: Option<At<Uuid>>,
    pub(crate) application: Option<At<Uuid>>,
    pub(crate) cloud: Option<Cloud>,
    pub(crate) credential: Option<DraftCredential>,
    pub(crate) next_credential: Option<DraftCredential>,
    pub(crate) parts: BTreeSet<Part>,
    /// Where it says which parts; the header when it does not.
    pub(crate) parts_span: Span,
    pub(crate) every: BTreeMap<Part, At<Duration>>,
    pub(crate) max_age: Duration,
    limits: Limits,
    keep: Keep,
    callback: Option<Url>,
    pub(crate) ca: Option<At<PathBuf>>,
    elsewhere: BTreeSet<String>,
    pub(crate) groups: Vec<DraftGroup>,
}

/// A group and how far grants of its members reach.
pub(crate) struct DraftGroup {
    pub(crate) group: At<String>,
    class: Option<Class>,
}

/// Reads the table.
pub(super) fn read(context: &Context<'_>, table: &Table<'_>, base: &Path) -> DraftEntra {
    let tenant = id(context, table, "tenant", "Directory (tenant) ID");
    let application = id(context, table, "application", "Application (client) ID");
    let cloud = cloud(context, table);
    let credential = credential::present(context, table, base);
    let next_credential = credential::next(context, table, base);
    let parts = parts(context, table, cloud.as_ref());
    let max_age = table.string("max_age");
    let max_age = max_age.and_then(|written| values::duration(context, &written, MAX_AGE));
    let groups = table.tables("group", &schema::ENTRA_GROUP);
    DraftEntra {
        tenant,
        application,
        cloud,
        credential,
        next_credential,
        parts,
        parts_span: table.key_span("parts"),
        every: every(context, table),
        max_age: max_age.unwrap_or(MAX_AGE_UNLESS_SET),
        limits: limits::limits(context, table),
        keep: limits::keep(context, table),
        callback: callback(context, table),
        ca: table.string("ca").map(|file| At {
            value: base.join(file.value),
            span: file.span,
        }),
        elsewhere: values::hosts(context, table, "elsewhere")
            .into_iter()
            .map(|domain| domain.value)
            .collect(),
        groups: groups
            .iter()
            .filter_map(|table| group(context, table))
            .collect(),
    }
}

impl DraftEntra {
    /// The table, when nothing is missing from it.
    pub(crate) fn finish(self, context: &Context<'_>) -> Option<Entra> {
        let groups = self.groups.into_iter().map(|bound| {
            Some(GroupClass {
                line: context.place(&bound.group.span).line,
                group: bound.group.value,
                class: bound.class?,
            })
        });
        Some(Entra {
            tenant: self.tenant?.value,
            application: self.application?.value,
            cloud: self.cloud?,
            credential: self.credential?.source,
            next_credential: self.next_credential.map(|next| next.source),
            parts: self.parts,
            every: (self.every.into_iter())
                .map(|(part, every)| (part, every.value))
                .collect(),
            max_age: self.max_age,
            limits: self.limits,
            keep: self.keep,
            callback: self.callback,
            ca: self.ca.map(|ca| ca.value),
            elsewhere: self.elsewhere,
            groups: groups.collect::<Option<_>>()?,
        })
    }
}

/// An id, as the portal shows it under that name.
fn id(context: &Context<'_>, table: &Table<'_>, key: &str, shown: &str) -> Option<At<Uuid>> {
    if !table.has(key) {
        let help = format!(
            "the portal shows it as \"{shown}\": write `{key} = \"00000000-0000-0000-0000-000000000000\"`"
        );
        table.missing(key, help);
    }
    let At { value, span } = table.string(key)?;
    match guid(&value) {
        Some(id) if !id.is_nil() => Some(At { value: id, span }),
        _ => {
            let help = format!("write what the portal shows as \"{shown}\", not a name");
            context.error(&span, format!("`{value}` is no id"), help);
            None
        }
    }
}

/// A GUID in the one form in which Entra writes it.
pub(crate) fn guid(text: &str) -> Option<Uuid> {
    let text = Some(text.trim()).filter(|text| text.len() == 36)?;
    Uuid::try_parse(text).ok()
}

fn cloud(context: &Context<'_>, table: &Table<'_>) -> Option<Cloud> {
    let (login, graph) = (table.string("login"), table.string("graph"));
    if table.has("cloud") {
        for key in ["login", "graph"] {
            if table.has(key) {
                context.error(
                    &table.key_span(key),
                    format!("`{key}` and `cloud` say where the tenant lives, both of them"),
                    "remove one: `cloud` for one of Microsoft's, `login` and `graph` for hosts of your own",
                );
            }
        }
        let words = CLOUDS.map(|word| (word, word));
        let word = table.word("cloud", &words)?;
        return Some(Cloud::named(word.value).expect("the words are those that it knows"));
    }
    if !table.has("login") && !table.has("graph") {
        return Some(Cloud::global());
    }
    for (key, other) in [("login", "graph"), ("graph", "login")] {
        if !table.has(key) {
            let help = format!("`{other}` alone is half a cloud: write `{key} = \"https://HOST\"`");
            table.missing(key, help);
        }
    }
    let (login, graph) = (login?, graph?);
    // One after the other, since the error does not say of which it is.
    let is_origin = |host: &At<String>| {
        let tried = Cloud::custom(&host.value, &host.value);
        tried
            .map_err(|error| no_host(context, host, &error))
            .is_ok()
    };
    if !(is_origin(&login) & is_origin(&graph)) {
        return None;
    }
    Cloud::custom(&login.value, &graph.value).ok()
}

fn no_host(context: &Context<'_>, host: &At<String>, error: &CloudError) {
    if host.value.contains('@') {
        return context.error_of_secret(
            &host.span,
            super::remote::WITH_PASSWORD,
            "Weir signs in with its credential: write `https://HOST` alone",
        );
    }
    if host.value.starts_with("http://") {
        return context.error(
            &host.span,
            "credentials and tokens would go there without TLS",
            "write `https://`",
        );
    }
    let message = match error {
        CloudError::Address(_) => "this is no address of a host",
        _ => "an address of a cloud is a host and nothing behind it",
    };
    let help = "write `https://HOST` or `https://HOST:PORT`";
    context.error(&host.span, message, help);
}

fn parts(context: &Context<'_>, table: &Table<'_>, cloud: Option<&Cloud>) -> BTreeSet<Part> {
    let offered = |part: &Part| cloud.is_none_or(|cloud| cloud.offers(*part));
    if !table.has("parts") {
        return Part::ALL.into_iter().filter(offered).collect();
    }
    if table.is_empty_list("parts") {
        context.error(
            &table.value_span("parts"),
            "`parts` names nothing that is to be read",
            format!(
                "known are {}; without `parts` all of them are read",
                schema::quoted(&schema::PARTS)
            ),
        );
    }
    let mut parts = BTreeSet::new();
    for written in table.strings("parts").unwrap_or_default() {
        let known = Part::ALL
            .into_iter()
            .find(|part| part.name() == written.value);
        match known {
            None => context.error(
                &written.span,
                format!("a tenant has no part `{}`", written.value),
                schema::unknown_word(&written.value, &schema::PARTS),
            ),
            Some(part) if !offered(&part) => context.error(
                &written.span,
                format!("this cloud's Graph does not offer `{}`", written.value),
                "remove it",
            ),
            Some(part) => {
                parts.insert(part);
            }
        }
    }
    parts
}

fn every(context: &Context<'_>, table: &Table<'_>) -> BTreeMap<Part, At<Duration>> {
    let Some(table) = table.table("every", &schema::ENTRA_EVERY) else {
        return BTreeMap::new();
    };
    let written = Part::ALL.into_iter().filter_map(|part| {
        let written = table.string(part.name())?;
        let value = values::duration(context, &written, EVERY)?;
        let span = written.span;
        Some((part, At { value, span }))
    });
    written.collect()
}

/// Where a browser comes back to, with an answer that is worth nothing without what this machine remembers.
fn callback(context: &Context<'_>, table: &Table<'_>) -> Option<Url> {
    let item = table.string("callback")?;
    let url = Url::parse(&item.value).ok().filter(Url::has_host);
    let (wrong, help) = match url {
        None => (
            "this is no address that a browser can come back to",
            "write the one that is registered with the application, such as \
             `https://weir.corp.example/consent`",
        ),
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            let help = "write the address alone, as it is registered with the application";
            context.error_of_secret(&item.span, super::remote::WITH_PASSWORD, help);
            return None;
        }
        Some(url) if url.fragment().is_some() => (
            "Entra takes no callback with a `#`",
            "write it without what follows the `#`",
        ),
        Some(url) if url.scheme() == "https" || is_this_machine(&url) => return Some(url),
        Some(_) => (
            "the answer would come without TLS",
            "write `https://`; Entra takes `http://` for `localhost` alone",
        ),
    };
    context.error(&item.span, wrong, help);
    None
}

fn is_this_machine(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "http" && is_loopback
}

fn group(context: &Context<'_>, table: &Table<'_>) -> Option<DraftGroup> {
    if !table.has("group") {
        table.missing("group", "write its object id, or its name");
    }
    if !table.has("class") {
        let help = "say how far grants of its members reach at most: `class = \"bypass\"` or \
                    `\"unmanaged\"`";
        table.missing("class", help);
    }
    let class = class(context, table);
    let mut group = table.string("group")?;
    group.value = match guid(&group.value) {
        Some(id) => id.to_string(),
        None => group.value.trim().to_owned(),
    };
    let length = group.value.chars().count();
    if length == 0 || length > LONGEST_NAME || group.value.contains(char::is_control) {
        context.error(
            &group.span,
            "this cannot be the name of a group",
            "write its object id, or its name as the portal shows it",
        );
        return None;
    }
    Some(DraftGroup { group, class })
}

/// A group takes away from what a rule grants, and gives nothing.
fn class(context: &Context<'_>, table: &Table<'_>) -> Option<Class> {
    let written = table.string("class")?;
    let help = match written.value.as_str() {
        "managed" => {
            "what a rule grants reaches as far as the rule says already, and a group adds nothing to it: \
             remove this binding, or have the rule ask for the group: `when = { group = \"...\" }`"
        }
        "relay" => "`relay` is what a source is, never a person",
        _ => return table.word("class", &CLASSES).map(|class| class.value),
    };
    let message = format!("a group cannot give the class `{}`", written.value);
    context.error(&written.span, message, help);
    None
}

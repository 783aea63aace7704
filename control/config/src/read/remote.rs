//! Lists that are fetched, and `[outbound]`: how the appliance fetches.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;
use weir_abi::Class;
use weir_feeds::guard::Limits;
use weir_feeds::microsoft365::{ADDRESS, AREAS, Instance};
use weir_feeds::{Source, Web};

use super::values;
use crate::reader::{At, Context, Span, Table};
use crate::schema;

/// What is said of an address with a password, without the address.
pub(crate) const WITH_PASSWORD: &str = "this address holds the name of a user, or a password";

/// Longest address.
const LONGEST: usize = 2048;

/// Lists are asked for no more and no less often.
const EVERY: RangeInclusive<Duration> = Duration::from_mins(5)..=Duration::from_hours(7 * 24);

/// More prefixes are not fetched.
const MOST: i64 = 1_000_000;

/// A list that is fetched, as far as it could be read.
pub(crate) struct DraftRemote {
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) every: Duration,
    pub(crate) ca: Option<At<PathBuf>>,
    /// Where it says what is fetched.
    pub(crate) span: Span,
}

/// `[outbound]`, as far as it could be read.
#[derive(Default)]
pub(crate) struct DraftOutbound {
    pub(crate) proxy: Option<String>,
    pub(crate) ca: Option<At<PathBuf>>,
}

/// Keys that are for lists that are fetched, and what else such a list has.
const NEEDS: [(&str, &[&str]); 7] = [
    ("instance", &["microsoft365"]),
    ("ca", &["url"]),
    ("every", FETCHED),
    ("most", FETCHED),
    ("widest_v4", FETCHED),
    ("widest_v6", FETCHED),
    ("share", FETCHED),
];

/// What is written of a list that is fetched.
const FETCHED: &[&str] = &["url", "microsoft365", "named_location"];

/// Names keys that do nothing on such a list.
pub(crate) fn misplaced(context: &Context<'_>, table: &Table<'_>, written: &[&str]) {
    if written.is_empty() {
        return;
    }
    for (key, needs) in NEEDS {
        if !table.has(key) || needs.iter().any(|need| written.contains(need)) {
            continue;
        }
        let help = if key == "ca" && written.contains(&"microsoft365") {
            "Microsoft's service has a public certificate: remove it; authorities of a proxy that opens TLS \
             belong in `[outbound]`"
        } else {
            "remove it"
        };
        let needs = needs.iter().map(|need| format!("`{need}`"));
        let needs = needs.collect::<Vec<_>>().join(" or ");
        context.error(
            &table.key_span(key),
            format!("`{key}` is for a list with {needs}"),
            help,
        );
    }
}

/// Reads what is fetched, which the key says.
pub(crate) fn read(
    context: &Context<'_>,
    table: &Table<'_>,
    key: &str,
    class: Option<Class>,
    base: &Path,
) -> Option<DraftRemote> {
    let source = match key {
        "url" => Web::Url(address(context, &table.string("url")?)?).into(),
        "named_location" => named_location(context, table, class)?,
        _ => microsoft365(context, table)?.into(),
    };
    let every = table.string("every");
    let every = every.and_then(|every| values::duration(context, &every, EVERY));
    Some(DraftRemote {
        source,
        limits: limits(table),
        every: every.unwrap_or(Duration::from_hours(1)),
        ca: file(table, base),
        span: table.key_span(key),
    })
}

/// Reads `[outbound]`.
pub(crate) fn outbound(context: &Context<'_>, table: &Table<'_>, base: &Path) -> DraftOutbound {
    DraftOutbound {
        proxy: table
            .string("proxy")
            .and_then(|written| proxy(context, &written)),
        ca: file(table, base),
    }
}

fn file(table: &Table<'_>, base: &Path) -> Option<At<PathBuf>> {
    table.string("ca").map(|file| At {
        value: base.join(file.value),
        span: file.span,
    })
}

fn limits(table: &Table<'_>) -> Limits {
    let usual = Limits::default();
    let number = |key, range| table.integer(key, range).map(|number| number.value);
    let small = |key, range, usual| {
        let number = number(key, range).and_then(|number| u8::try_from(number).ok());
        number.unwrap_or(usual)
    };
    let most = number("most", 1..=MOST).and_then(|number| usize::try_from(number).ok());
    Limits {
        prefixes: most.unwrap_or(usual.prefixes),
        widest_v4: small("widest_v4", 1..=32, usual.widest_v4),
        widest_v6: small("widest_v6", 1..=64, usual.widest_v6),
        share: small("share", 1..=100, usual.share),
        few: usual.few,
    }
}

/// A named location of the tenant. What opens something, the tenant must trust.
fn named_location(
    context: &Context<'_>,
    table: &Table<'_>,
    class: Option<Class>,
) -> Option<Source> {
    let At { value, span } = table.string("named_location")?;
    let location = value.trim();
    if location.is_empty() || location.contains(char::is_control) {
        context.error(
            &span,
            "this cannot be the name of a named location",
            "write its id, or its name as the portal shows it",
        );
        return None;
    }
    Some(Source::NamedLocation {
        location: location.to_owned(),
        must_be_trusted: matches!(class, Some(Class::Managed | Class::Bypass)),
    })
}

fn microsoft365(context: &Context<'_>, table: &Table<'_>) -> Option<Web> {
    let written = table.strings("microsoft365")?;
    let instance = table.word("instance", &Instance::ALL);
    if table.is_empty_list("microsoft365") {
        context.error(
            &table.value_span("microsoft365"),
            "`microsoft365` names no part of it",
            format!("known are {}", schema::quoted(&AREAS)),
        );
    }
    let mut areas = BTreeSet::new();
    for area in &written {
        if AREAS.contains(&area.value.as_str()) {
            areas.insert(area.value.clone());
        } else {
            context.error(
                &area.span,
                format!("Microsoft 365 has no part `{}`", area.value),
                schema::unknown_word(&area.value, &AREAS),
            );
        }
    }
    (!areas.is_empty()).then(|| Web::Microsoft365 {
        base: ADDRESS.parse().expect("an address"),
        instance: instance.map_or_else(Instance::default, |instance| instance.value),
        areas,
    })
}

/// The address of a list. What is said of a wrong one does not quote it: a query may hold a key.
fn address(context: &Context<'_>, item: &At<String>) -> Option<Url> {
    let url = Url::parse(&item.value).ok();
    let (wrong, help) = match &url {
        _ if item.value.len() > LONGEST => (
            "this address is too long",
            "an address has at most 2048 letters",
        ),
        Some(url) if url.scheme() == "http" => (
            "this list would come without TLS",
            "whoever is on the way could put addresses on it: write `https://`",
        ),
        Some(url) if !url.username().is_empty() || url.password().is_some() => {
            let help = "it is asked for without: write the address alone";
            context.error_of_secret(&item.span, WITH_PASSWORD, help);
            return None;
        }
        Some(url) if url.scheme() == "https" && url.fragment().is_none() => {
            return Some(url.clone());
        }
        Some(url) if url.scheme() == "https" => (
            "this address leads into a document",
            "write it without what follows the `#`",
        ),
        _ => (
            "this is no address that a list can come from",
            "write one that begins with `https://`, such as `https://lists.corp.example/egress.txt`",
        ),
    };
    context.error(&item.span, wrong, help);
    None
}

/// The address of a proxy.
fn proxy(context: &Context<'_>, item: &At<String>) -> Option<String> {
    let url = Url::parse(&item.value).ok();
    let url = url.filter(|url| url.scheme() == "http" && url.has_host());
    let Some(url) = url else {
        context.error(
            &item.span,
            "this is no address of an HTTP proxy",
            "write its name and port, such as `http://proxy.corp.example:3128`",
        );
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        context.error_of_secret(
            &item.span,
            WITH_PASSWORD,
            "a password does not belong in this file: have the proxy know this machine by its address",
        );
        return None;
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().unwrap_or(3128);
        context.error(
            &item.span,
            "the address of a proxy has no path",
            format!("write `http://{host}:{port}`"),
        );
        return None;
    }
    Some(url.to_string())
}

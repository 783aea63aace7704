//! From a TOML document to drafts: typed values that still know where they stand.
//!
//! Reading never stops at a mistake. What could not be read is left out of the draft, and the checks
//! that follow work with what is there.

mod entra;
mod grants;
mod list;
mod metrics;
mod nat;
mod profile;
mod remote;
mod rule;
mod service;
pub(crate) mod tokens;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;
use weir_policy::{ApplicationSpec, LocationSpec, PRESETS, ProfileChoice};

use crate::config::{Appliance, Grants, HookSetting, Kernel};
use crate::reader::{At, Context, Span, Table};
use crate::schema;
use crate::tokens::Tokens;

pub(crate) use entra::{DraftCredential, DraftEntra};
pub(crate) use list::{DraftContents, DraftList};
pub(crate) use profile::DraftProfile;
pub(crate) use remote::{DraftOutbound, DraftRemote};
pub(crate) use rule::{DraftRule, Fields};
pub(crate) use service::{DraftService, DraftUpstream};

/// Where state is kept when the configuration does not say.
const STATE: &str = "/var/lib/weir";

/// Connections wait for a proxy no shorter and no longer.
const RESTART_GRACE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);

impl Draft {
    /// The profile of that name, one's own or a preset; `None` when there is none that is right.
    pub(crate) fn profile(&self, name: &str) -> Option<ProfileChoice> {
        match self.profiles.iter().find(|own| own.name.value == name) {
            Some(own) => own.spec.clone().map(Box::new).map(ProfileChoice::Own),
            None => PRESETS.contains(&name).then(|| name.into()),
        }
    }

    /// How tokens of a service are looked at; nothing when they are not, or nobody can say.
    pub(crate) fn tokens(&self, service: &DraftService) -> Option<Tokens> {
        let profile = |service: &DraftService| self.profile(&service.profile.as_ref()?.value);
        let written = service.tokens.as_ref()?;
        let named = |other: &&DraftService| match (&other.name, &written.of) {
            (Some(name), Some(of)) => name.value == of.value,
            _ => false,
        };
        let of = self.services.iter().find(named).and_then(|other| {
            let of = other.tokens.as_ref().filter(|other| other.of.is_none())?;
            Some(of.finish(&profile(other)?, None))
        });
        Some(written.finish(&profile(service)?, of.as_ref()))
    }

    /// Whether a service stands in front of a relying party, whose reply URLs it serves.
    pub(crate) fn replies(&self, service: &DraftService) -> bool {
        let named = service.profile.as_ref();
        let profile = named.and_then(|profile| self.profile(&profile.value));
        profile.is_some_and(|profile| profile.replies())
    }

    /// Names of all profiles.
    pub(crate) fn profile_names(&self) -> Vec<&str> {
        let own = self.profiles.iter().map(|own| own.name.value.as_str());
        PRESETS.iter().copied().chain(own).collect()
    }
}

/// The document as far as it could be read.
pub(crate) struct Draft {
    pub(crate) appliance: Option<Appliance>,
    pub(crate) kernel: Option<Kernel>,
    pub(crate) services: Vec<DraftService>,
    pub(crate) lists: Vec<DraftList>,
    pub(crate) rules: Vec<DraftRule>,
    pub(crate) applications: BTreeMap<String, ApplicationSpec>,
    pub(crate) locations: BTreeMap<String, LocationSpec>,
    /// Where the locations stand, by the names that messages about the policy give them.
    pub(crate) places: Fields,
    pub(crate) profiles: Vec<DraftProfile>,
    pub(crate) users: Option<At<PathBuf>>,
    pub(crate) countries: Option<At<PathBuf>>,
    pub(crate) grants: Grants,
    pub(crate) outbound: DraftOutbound,
    pub(crate) entra: Option<DraftEntra>,
    pub(crate) metrics: Vec<At<SocketAddr>>,
}

/// Reads the document; `base` is the directory that relative paths start from.
pub(crate) fn read<'c>(context: &'c Context<'c>, document: &'c DeTable<'c>, base: &Path) -> Draft {
    let root = Table::new(context, document, &schema::ROOT, 0..0);
    let appliance = root.table("appliance", &schema::APPLIANCE);
    let kernel = root.table("kernel", &schema::KERNEL);
    for (key, title, help) in [
        (
            "appliance",
            "`[appliance]`",
            "write these lines:\n[appliance]\nname = \"weir-1\"",
        ),
        (
            "kernel",
            "`[kernel]`",
            "write these lines, with the interfaces towards the Internet and towards the sign-in \
             servers:\n[kernel]\noutside = [\"eth0\"]\ninside = [\"eth1\"]",
        ),
        (
            "service",
            "`[[service]]`",
            "write a `[[service]]` for each sign-in service that Weir stands in front of; \
             `weir init` writes a first one",
        ),
    ] {
        if !root.has(key) && !root.is_misspelt(key) {
            context.error_of_file(format!("this file has no {title}"), help);
        }
    }
    // One that could not be read is known by name still: rules that use it are right.
    let mut applications: BTreeMap<String, ApplicationSpec> = root
        .names("application")
        .map(|name| (name, ApplicationSpec::default()))
        .collect();
    for (name, table) in root.named_tables("application", &schema::APPLICATION) {
        applications.insert(name.value.clone(), read_application(context, &name, &table));
    }
    let (locations, places) = read_locations(&root);
    let mut services: Vec<_> = root
        .tables("service", &schema::SERVICE)
        .iter()
        .map(|table| service::read(context, table, base))
        .collect();
    // For all services at once: what each of them could say by itself.
    if kernel
        .as_ref()
        .is_some_and(|table| observes(context, table, "every service"))
    {
        for service in &mut services {
            service.observe = true;
        }
    }
    let directory = root.table("directory", &schema::DIRECTORY);
    Draft {
        appliance: appliance.and_then(|table| read_appliance(context, &table, base)),
        kernel: kernel.map(|table| read_kernel(context, &table, base)),
        services,
        lists: root
            .tables("list", &schema::LIST)
            .iter()
            .map(|table| list::read(context, table, base))
            .collect(),
        rules: root
            .tables("rule", &schema::RULE)
            .iter()
            .map(|table| rule::read(context, table))
            .collect(),
        applications,
        locations,
        places,
        profiles: root
            .named_tables("profile", &schema::PROFILE)
            .into_iter()
            .map(|(name, table)| profile::read(context, name, &table))
            .collect(),
        users: directory
            .as_ref()
            .and_then(|table| read_file(table, "users", base)),
        countries: directory
            .as_ref()
            .and_then(|table| read_file(table, "countries", base)),
        grants: grants::read(context, root.table("grants", &schema::GRANTS).as_ref()),
        outbound: root
            .table("outbound", &schema::OUTBOUND)
            .map_or_else(DraftOutbound::default, |table| {
                remote::outbound(context, &table, base)
            }),
        entra: root
            .table("entra", &schema::ENTRA)
            .map(|table| entra::read(context, &table, base)),
        metrics: metrics::read(context, root.table("metrics", &schema::METRICS).as_ref()),
    }
}

/// `[location.NAME]`, and where each stands.
fn read_locations(root: &Table<'_>) -> (BTreeMap<String, LocationSpec>, Fields) {
    let (mut locations, mut places) = (BTreeMap::new(), Fields::default());
    for (name, table) in root.named_tables("location", &schema::LOCATION) {
        let field = format!("locations.{}", name.value);
        places.add(&field, name.span.clone(), Vec::new());
        let mut words = |key: &str| {
            let items = table.strings(key).unwrap_or_default();
            let words = items.iter().map(|item| item.value.clone()).collect();
            places.add(&format!("{field}.{key}"), table.key_span(key), items);
            words
        };
        let (prefixes, countries) = (words("prefixes"), words("countries"));
        let spec = LocationSpec {
            prefixes,
            countries,
        };
        locations.insert(name.value, spec);
    }
    (locations, places)
}

/// `state` in `[appliance]`, whatever else is wrong.
pub(crate) fn state_directory<'c>(
    context: &'c Context<'c>,
    document: &'c DeTable<'c>,
    base: &Path,
) -> PathBuf {
    let root = Table::new(context, document, &schema::ROOT, 0..0);
    match root.table("appliance", &schema::APPLIANCE) {
        Some(appliance) => path_or(&appliance, "state", STATE, base),
        None => PathBuf::from(STATE),
    }
}

fn read_appliance(context: &Context<'_>, table: &Table<'_>, base: &Path) -> Option<Appliance> {
    let name = table.string("name");
    if name.is_none() && !table.has("name") {
        table.missing(
            "name",
            "sign-in servers see it as `X-MS-Proxy`: write `name = \"weir-1\"`",
        );
    }
    let name = name.filter(|name| {
        let visible = !name.value.is_empty() && name.value.bytes().all(|b| b.is_ascii_graphic());
        if !visible {
            let help = "it travels in a header: letters, digits, `-` and `.` will do";
            context.error(&name.span, "this is no name for an appliance", help);
        }
        visible
    });
    let control_group = group(context, table, "control_group");
    let read_group = group(context, table, "read_group");
    if let (Some(change), Some(read)) = (&control_group, &read_group)
        && change.value == read.value
    {
        context.warning(
            &read.span,
            format!("members of `{}` may change everything already", read.value),
            "`read_group` is for those who may only ask: name another group, or leave it out",
        );
    }
    Some(Appliance {
        name: name?.value,
        run: path_or(table, "run", "/run/weir", base),
        state: path_or(table, "state", STATE, base),
        control_group: control_group.map(|group| group.value),
        read_group: read_group.map(|group| group.value),
        proxy_user: table
            .string("proxy_user")
            .map_or_else(|| "weir-proxy".to_owned(), |user| user.value),
        proxy_protocol_from: prefixes(context, table, "proxy_protocol_from"),
        restart_grace: table
            .string("restart_grace")
            .and_then(|written| values::duration(context, &written, RESTART_GRACE))
            .unwrap_or(Duration::from_secs(5)),
    })
}

/// A group by name or number.
fn group(context: &Context<'_>, table: &Table<'_>, key: &str) -> Option<At<String>> {
    let group = table.string(key)?;
    // groupadd(8) allows less; `:` and line ends would break group(5).
    let possible = !group.value.is_empty()
        && !group
            .value
            .contains(|c: char| c == ':' || c.is_whitespace() || c.is_control());
    if !possible {
        let help = "`getent group` shows the groups of this machine; without one only root may";
        let message = format!("`{}` cannot be the name of a group", group.value);
        context.error(&group.span, message, help);
    }
    possible.then_some(group)
}

const HOOKS: &[(&str, HookSetting)] = &[
    ("auto", HookSetting::Auto),
    ("tcx", HookSetting::Tcx),
    ("xdp", HookSetting::Xdp),
];

/// Flows keep their verdict no longer.
const DRAIN_WINDOW: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// More than a link can carry.
const NEW_CONNECTIONS: RangeInclusive<i64> = 0..=100_000_000;

/// `observe`: whether the kernel only counts; if it does, whoever checks the file hears what that means.
fn observes(context: &Context<'_>, table: &Table<'_>, whom: &str) -> bool {
    let observes = table.boolean("observe") == Some(true);
    if observes {
        context.warning(
            &table.key_span("observe"),
            format!("{whom} is only observed: packets are counted, and nobody is kept out"),
            "when the counters and `weir flows` show what you want, take this line out",
        );
    }
    observes
}

fn read_kernel(context: &Context<'_>, table: &Table<'_>, base: &Path) -> Kernel {
    let outside = interfaces(context, table, "outside", "towards the Internet", "eth0");
    let inside = interfaces(
        context,
        table,
        "inside",
        "towards the sign-in servers",
        "eth1",
    );
    for interface in &inside {
        if outside.iter().any(|other| other.value == interface.value) {
            context.error(
                &interface.span,
                format!("interface `{}` is both outside and inside", interface.value),
                "Weir stands between two networks: name the interface of each side",
            );
        }
    }
    let table_number = table.integer("table", 1..=i64::from(u32::MAX));
    if let Some(number) = &table_number
        && (253..=255).contains(&number.value)
    {
        context.error(
            &number.span,
            format!("routing table {} belongs to the system", number.value),
            "choose one that nothing else uses, such as 5745",
        );
    }
    let mark = table.integer("mark", 1..=i64::from(u32::MAX));
    let new_connections = table.integer("new_connections", NEW_CONNECTIONS);
    let new_connections_forwarded = table.integer("new_connections_forwarded", NEW_CONNECTIONS);
    let flow_sample = table.integer("flow_sample", 0..=i64::from(u32::MAX));
    let number = |read: Option<At<i64>>, default| {
        read.and_then(|read| u32::try_from(read.value).ok())
            .unwrap_or(default)
    };
    let names = |interfaces: Vec<At<String>>| -> Vec<String> {
        interfaces
            .into_iter()
            .map(|interface| interface.value)
            .collect()
    };
    Kernel {
        object: path_or(table, "object", "/usr/lib/weir/weir-ebpf.o", base),
        pin: path_or(table, "pin", "/sys/fs/bpf/weir", base),
        outside: names(outside),
        inside: names(inside),
        mark: number(mark, 0x5745),
        table: number(table_number, 5745),
        hook: table
            .word("hook", HOOKS)
            .map(|hook| hook.value)
            .unwrap_or_default(),
        new_connections: number(new_connections, 500),
        new_connections_forwarded: number(new_connections_forwarded, 5000),
        drain_window: table
            .string("drain_window")
            .and_then(|written| values::duration(context, &written, DRAIN_WINDOW))
            .unwrap_or(Duration::from_hours(1)),
        flow_sample: number(flow_sample, 1),
        nat: nat::read(context, table),
    }
}

fn interfaces(
    context: &Context<'_>,
    table: &Table<'_>,
    key: &str,
    side: &str,
    example: &str,
) -> Vec<At<String>> {
    if !table.has(key) {
        let help = format!("name the interfaces {side}: write `{key} = [\"{example}\"]`");
        table.missing(key, help);
        return Vec::new();
    }
    let Some(names) = table.strings(key) else {
        return Vec::new();
    };
    if names.is_empty() && key == "outside" {
        let help = format!("name the interfaces {side}, such as `{key} = [\"{example}\"]`");
        context.error(
            &table.value_span(key),
            format!("`{key}` names no interface"),
            help,
        );
    }
    names
        .into_iter()
        .filter(|name| {
            // IFNAMSIZ is 16 with the closing zero; the kernel refuses `/`, `:` and spaces.
            let possible = (1..16).contains(&name.value.len())
                && !name
                    .value
                    .contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
            if !possible {
                let help = "`ip link` shows the names of this machine's interfaces";
                let message = format!("`{}` cannot be the name of an interface", name.value);
                context.error(&name.span, message, help);
            }
            possible
        })
        .collect()
}

/// A file that `[directory]` names.
fn read_file(table: &Table<'_>, key: &'static str, base: &Path) -> Option<At<PathBuf>> {
    if !table.has("users") && !table.has("countries") && key == "users" {
        let help = "name a file of user principal names, one a line: `users = \"users.list\"`";
        table.missing("users", help);
    }
    table.string(key).map(|file| At {
        value: base.join(file.value),
        span: file.span,
    })
}

fn read_application(
    context: &Context<'_>,
    name: &At<String>,
    table: &Table<'_>,
) -> ApplicationSpec {
    let strings = |key| -> Vec<String> {
        table
            .strings(key)
            .unwrap_or_default()
            .into_iter()
            .map(|item| item.value)
            .collect()
    };
    let spec = ApplicationSpec {
        relying_parties: strings("relying_parties"),
        hosts: values::hosts(context, table, "hosts")
            .into_iter()
            .map(|host| host.value)
            .collect(),
    };
    if !table.has("relying_parties") && !table.has("hosts") {
        context.warning(
            &name.span,
            format!("application `{}` names nothing", name.value),
            "write `relying_parties = [...]` or `hosts = [...]`, else no rule that uses it matches",
        );
    }
    spec
}

fn prefixes(context: &Context<'_>, table: &Table<'_>, key: &str) -> Vec<IpNet> {
    let items = table.strings(key).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| values::prefix(context, item))
        .collect()
}

fn path_or(table: &Table<'_>, key: &str, default: &str, base: &Path) -> PathBuf {
    table
        .string(key)
        .map_or_else(|| PathBuf::from(default), |path| base.join(path.value))
}

/// Part of a string's span: `at` counts bytes of the value. The quotes count only where the string
/// has no escapes; else the whole string is meant.
pub(crate) fn inside(context: &Context<'_>, item: &At<String>, at: &Span) -> Span {
    let written = &context.source.text[item.span.clone()];
    let quotes = (written.len() == item.value.len() + 2).then_some(1);
    match quotes {
        Some(quote) if at.end <= item.value.len() => {
            item.span.start + quote + at.start..item.span.start + quote + at.end
        }
        _ => item.span.clone(),
    }
}

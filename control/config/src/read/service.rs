//! `[[service]]`

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use weir_abi::Topology;
use weir_link::UpstreamKind;
use weir_policy::{OutlookSetting, PRESETS, Rate, RuleSetName, WindowsLogonSetting};

use super::tokens::{self, DraftTokens};
use super::{observes, values};
use crate::config::{Managed, ProxyDown};
use crate::reader::{At, Context, Span, Table};
use crate::schema;

/// A service as far as it could be read.
pub(crate) struct DraftService {
    pub(crate) name: Option<At<String>>,
    pub(crate) hosts: Vec<At<String>>,
    pub(crate) addresses: Vec<At<IpAddr>>,
    pub(crate) ports: Vec<At<u16>>,
    pub(crate) topology: At<Topology>,
    pub(crate) servers: Vec<At<IpAddr>>,
    pub(crate) profile: Option<At<String>>,
    pub(crate) rules: At<RuleSetName>,
    pub(crate) managed: Option<At<Managed>>,
    pub(crate) proxy_down: Option<At<ProxyDown>>,
    pub(crate) observe: bool,
    pub(crate) accept_intranet: Option<At<bool>>,
    pub(crate) certificates: Vec<(At<PathBuf>, At<PathBuf>)>,
    pub(crate) reverse_proxy: Option<At<String>>,
    pub(crate) tunnel: Vec<At<String>>,
    pub(crate) outlook: Option<At<OutlookSetting>>,
    pub(crate) windows_logon: Option<At<WindowsLogonSetting>>,
    pub(crate) windows_logon_rate: Rate,
    pub(crate) http1_only: bool,
    pub(crate) switched_off: Vec<At<String>>,
    pub(crate) upstream: Option<DraftUpstream>,
    pub(crate) tokens: Option<DraftTokens>,
    pub(crate) span: Span,
}

/// `[service.upstream]` as far as it could be read.
pub(crate) struct DraftUpstream {
    pub(crate) kind: Option<At<UpstreamKind>>,
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) server_name: Option<At<String>>,
    pub(crate) ca: Option<At<PathBuf>>,
}

const RULE_SETS: &[(&str, RuleSetName)] = &[
    ("office365-strict", RuleSetName::Office365Strict),
    ("office365", RuleSetName::Office365),
];

const OUTLOOK: &[(&str, OutlookSetting)] = &[
    ("relay-only", OutlookSetting::RelayOnly),
    ("block", OutlookSetting::Block),
    ("pass", OutlookSetting::Pass),
];

const WINDOWS_LOGON: &[(&str, WindowsLogonSetting)] = &[
    ("block", WindowsLogonSetting::Block),
    ("pass", WindowsLogonSetting::Pass),
];

const TOPOLOGIES: &[(&str, Topology)] = &[
    ("route", Topology::Route),
    ("dsr", Topology::Dsr),
    ("nat", Topology::Nat),
];

const MANAGED: &[(&str, Managed)] = &[("forward", Managed::Forward), ("proxy", Managed::Proxy)];

const KINDS: &[(&str, UpstreamKind)] = &[
    ("wap", UpstreamKind::Wap),
    ("adfs", UpstreamKind::Adfs),
    ("plain", UpstreamKind::Plain),
];

/// Both choices, for whoever has not chosen yet.
const WHY_MANAGED: &str = "\
say where sign-ins of managed devices go; there is no default, because each has its price:
managed = \"forward\"   in the kernel, undecrypted: fastest, client certificates and
                      Extended Protection hold; needs a Web Application Proxy behind
                      Weir, and exposes all its paths
managed = \"proxy\"     decrypted: every sign-in is judged and audited, internal paths
                      stay closed, the sign-in server gets the headers it expects";

pub(crate) fn read(context: &Context<'_>, table: &Table<'_>, base: &Path) -> DraftService {
    let hosts = required(
        context,
        table,
        "hosts",
        "[\"sts.corp.example\"]",
        values::hosts,
    );
    let addresses = required(
        context,
        table,
        "addresses",
        "[\"192.0.2.10\"]",
        |context, table, key| {
            let items = table.strings(key).unwrap_or_default();
            items
                .iter()
                .filter_map(|item| values::address(context, item))
                .collect()
        },
    );
    let profile = table.string("profile");
    if !table.has("profile") {
        let presets = schema::quoted(PRESETS);
        let help = format!(
            "say how its requests are recognised: {presets}, or a `[profile.NAME]` of your own"
        );
        table.missing("profile", help);
    }
    let managed = table.word("managed", MANAGED);
    if !table.has("managed") {
        table.missing("managed", WHY_MANAGED);
    }
    let upstream = table.table("upstream", &schema::UPSTREAM);
    if !table.has("upstream") && !table.is_misspelt("upstream") {
        let help = "say what stands behind this service:\n[service.upstream]\nkind = \"wap\"\n\
                    servers = [\"192.0.2.10:443\"]";
        context.error(
            &table.span,
            "`[[service]]` has no `[service.upstream]`",
            help,
        );
    }
    let tokens = table.table("tokens", &schema::TOKENS);
    DraftService {
        name: values::name(context, table, "sts"),
        hosts,
        addresses,
        ports: read_ports(context, table),
        topology: table.word("topology", TOPOLOGIES).unwrap_or(At {
            value: Topology::Route,
            span: table.span.clone(),
        }),
        servers: table
            .strings("servers")
            .unwrap_or_default()
            .iter()
            .filter_map(|item| values::address(context, item))
            .collect(),
        profile,
        rules: table.word("rules", RULE_SETS).unwrap_or(At {
            value: RuleSetName::Office365Strict,
            span: table.span.clone(),
        }),
        managed,
        proxy_down: table.word("proxy_down", ProxyDown::WORDS),
        observe: observes(context, table, "this service"),
        accept_intranet: table.boolean("accept_intranet").map(|value| At {
            value,
            span: table.key_span("accept_intranet"),
        }),
        certificates: read_certificates(context, table, base),
        reverse_proxy: table.string("reverse_proxy"),
        tunnel: values::hosts(context, table, "tunnel"),
        outlook: table.word("outlook", OUTLOOK),
        windows_logon: table.word("windows_logon", WINDOWS_LOGON),
        windows_logon_rate: table
            .table("windows_logon_rate", &schema::RATE)
            .map_or_else(Rate::default, |table| read_rate(&table)),
        http1_only: table.boolean("http1_only").unwrap_or(false),
        switched_off: table.strings("switched_off").unwrap_or_default(),
        upstream: upstream.map(|table| read_upstream(context, &table, base)),
        tokens: tokens.map(|table| tokens::read(context, &table, base)),
        span: table.span.clone(),
    }
}

/// A list that must hold something.
fn required<T>(
    context: &Context<'_>,
    table: &Table<'_>,
    key: &str,
    example: &str,
    read: impl Fn(&Context<'_>, &Table<'_>, &str) -> Vec<T>,
) -> Vec<T> {
    if !table.has(key) {
        table.missing(key, format!("write `{key} = {example}`"));
    } else if table.is_empty_list(key) {
        let help = format!("write at least one, such as `{key} = {example}`");
        context.error(&table.value_span(key), format!("`{key}` is empty"), help);
    }
    read(context, table, key)
}

fn read_ports(context: &Context<'_>, table: &Table<'_>) -> Vec<At<u16>> {
    if table.is_empty_list("ports") {
        let help = "write `ports = [443]`";
        context.error(&table.value_span("ports"), "`ports` is empty", help);
    }
    let Some(ports) = table.integers("ports", &(1..=65535)) else {
        return vec![At {
            value: 443,
            span: table.span.clone(),
        }];
    };
    let ports = ports.into_iter();
    ports
        .filter_map(|port| {
            Some(At {
                value: u16::try_from(port.value).ok()?,
                span: port.span,
            })
        })
        .collect()
}

fn read_certificates(
    context: &Context<'_>,
    table: &Table<'_>,
    base: &Path,
) -> Vec<(At<PathBuf>, At<PathBuf>)> {
    for (key, what, example) in [
        (
            "certificate",
            "the certificate chain (PEM, leaf first)",
            "chain.pem",
        ),
        ("key", "the certificate's private key (PEM)", "key.pem"),
    ] {
        if !table.has(key) {
            table.missing(
                key,
                format!("name the file with {what}: `{key} = \"{example}\"`"),
            );
        }
    }
    let paths = |key| -> Option<Vec<At<PathBuf>>> {
        let paths = table.one_or_more(key)?.into_iter();
        Some(
            paths
                .map(|path| At {
                    value: base.join(path.value),
                    span: path.span,
                })
                .collect(),
        )
    };
    let (Some(certificates), Some(keys)) = (paths("certificate"), paths("key")) else {
        return Vec::new();
    };
    if certificates.len() != keys.len() {
        let count = |number: usize, word| match number {
            1 => format!("1 {word}"),
            _ => format!("{number} {word}s"),
        };
        let message = format!(
            "{} with {}",
            count(certificates.len(), "certificate"),
            count(keys.len(), "key")
        );
        context.error(
            &table.key_span("key"),
            message,
            "write one key for each certificate",
        );
    } else if certificates.is_empty() {
        let help = "write `certificate = \"chain.pem\"` and `key = \"key.pem\"`";
        context.error(
            &table.value_span("certificate"),
            "this service has no certificate",
            help,
        );
    }
    certificates.into_iter().zip(keys).collect()
}

fn read_rate(table: &Table<'_>) -> Rate {
    let usual = Rate::default();
    let number = |key, usual| {
        let read = table.integer(key, 1..=1_000_000);
        read.and_then(|read| u32::try_from(read.value).ok())
            .unwrap_or(usual)
    };
    Rate {
        user_per_hour: number("user_per_hour", usual.user_per_hour),
        service_per_minute: number("service_per_minute", usual.service_per_minute),
    }
}

fn read_upstream(context: &Context<'_>, table: &Table<'_>, base: &Path) -> DraftUpstream {
    let kind = table.word("kind", KINDS);
    if !table.has("kind") {
        let help = "say what stands there: `kind = \"wap\"` (a Web Application Proxy), `\"adfs\"` (AD \
                    FS itself) or `\"plain\"` (another product)";
        table.missing("kind", help);
    }
    let servers = required(
        context,
        table,
        "servers",
        "[\"192.0.2.10:443\"]",
        |context, table, key| {
            let items = table.strings(key).unwrap_or_default();
            items
                .iter()
                .filter_map(|item| values::server(context, item))
                .collect()
        },
    );
    DraftUpstream {
        kind,
        servers,
        server_name: table
            .string("server_name")
            .and_then(|name| values::host(context, name)),
        ca: table.string("ca").map(|ca| At {
            value: base.join(ca.value),
            span: ca.span,
        }),
    }
}

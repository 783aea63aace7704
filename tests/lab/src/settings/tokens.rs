//! How Weir is told to look at tokens in the lab: by which keys, for whom, and what their claims are called.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::json;
use time::OffsetDateTime;
use weir_lab_servers::idp::claims;
use weir_lab_servers::idp::product::Endpoint;
use weir_lab_servers::plan::{PORTAL, Plan, Product};

/// That tokens are looked at, and what rules make of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// What the service `adfs` is.
    pub product: Product,
    /// What the rules are about, in words.
    pub about: &'static str,
    /// The administrator's rules.
    pub rules: &'static str,
    /// Weir stands in front of the portal, too, and serves its reply URLs.
    pub portal: bool,
}

impl Tokens {
    /// In words, for the head of a table.
    pub(super) fn words(self) -> String {
        format!("tokens of {}, {}", profile(self.product), self.about)
    }
}

/// Addresses of one person each. Nobody's sign-in opens anything for them unless a rule says so.
pub(super) const GRANTS: &str = r#"[grants]
single_user = ["2001:db8:a9::/64"]
look_back = "1h"
"#;

/// The profile's name in Weir's configuration.
pub(super) fn profile(product: Product) -> String {
    let value = product.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// `[service.tokens]`. Where people are joined to a directory, that goes by what any AD FS says of them, and not by the
/// cloud's own ids, which hardly one says.
pub(super) fn table(plan: &Plan, product: Product, joined: bool) -> String {
    let parties = plan.relying_parties.iter();
    let audiences: Vec<&str> = parties
        .map(|party| &*party.identifier)
        .chain(plan.oauth_clients.iter().map(|client| &*client.id))
        .chain(["urn:microsoft:userinfo"])
        .collect();
    // The paths of Okta's metadata name an application of the organisation's own.
    let metadata = match product {
        Product::Okta => product.shape().path(Endpoint::Metadata),
        _ => None,
    };
    let metadata = metadata.map_or_else(String::new, |path| format!("metadata = \"{path}\"\n"));
    let host = &plan.cloud.application.host;
    let names = NAMES
        .iter()
        .filter(|(name, _)| !joined || !IDS.contains(name));
    let names = names.map(|(name, types)| format!("{name} = {types:?}\n"));
    let names = names.collect::<Vec<_>>().concat();
    format!(
        "[service.tokens]\ndecide = true\naudiences = {audiences:?}\nforms = {{ \"https://{host}\" = \"https://{}\" \
         }}\n{metadata}[service.tokens.claims]\n{names}",
        plan.proxied(host),
    )
}

/// The service in front of the portal, with its profile: `of` signs people in.
pub(super) fn portal(plan: &Plan, rules: &str, of: &str) -> String {
    let (files, portal) = (plan.files(), &plan.cloud.portal);
    let front = plan.cloud.portal_front.iter();
    let addresses: Vec<String> = front.map(|address| address.ip().to_string()).collect();
    let servers: Vec<String> = portal.listen.iter().map(ToString::to_string).collect();
    format!(
        r#"
[[service]]
name = "portal"
hosts = ["{host}"]
addresses = {addresses:?}
ports = [443]
profile = "portal"
rules = "{rules}"
managed = "proxy"
certificate = "{certificate}"
key = "{key}"
reverse_proxy = "https://{proxied}/"
[service.upstream]
kind = "plain"
servers = {servers:?}
server_name = "{host}"
ca = "{ca}"
[service.tokens]
tokens_of = "{of}"
audiences = ["{PORTAL}", "https://{host}/saml"]

[profile.portal]
rows = [
    {{ methods = ["POST"], path = "/login.srf", flow = "passive", reads = ["reply"] }},
    {{ methods = ["POST"], path = "/saml/acs", flow = "passive", reads = ["reply"] }},
    {{ path = "/**", flow = "asset" }},
]
"#,
        host = portal.host,
        proxied = plan.proxied(&portal.host),
        certificate = files.chain("portal").display(),
        key = files.key("portal").display(),
        ca = files.ca().display(),
    )
}

/// What claims are called in rules, whatever product says them.
const NAMES: [(&str, &[&str]); 10] = [
    (
        "department",
        &[
            claims::DEPARTMENT,
            "department",
            "urn:oid:2.16.840.1.113730.3.1.2",
        ],
    ),
    ("access_level", &[claims::ACCESS_LEVEL, "access_level"]),
    (
        "groups",
        &[
            claims::GROUP,
            "group",
            "groups",
            "urn:oid:1.3.6.1.4.1.5923.1.5.1.1",
        ],
    ),
    (
        "roles",
        &[claims::ROLE, "roles", "urn:oid:1.3.6.1.4.1.5923.1.1.1.7"],
    ),
    ("tenant_id", &[claims::TENANT, "tid"]),
    ("object_id", &[claims::OBJECT, "oid"]),
    ("device_registered", &[claims::REGISTERED]),
    ("device_managed", &[claims::MANAGED]),
    ("device_compliant", &[claims::COMPLIANT]),
    ("device_trust", &[claims::TRUST]),
];

/// The names of those claims that say who somebody is in the cloud.
const IDS: [&str; 2] = ["tenant_id", "object_id"];

/// Writes down that somebody watched the addresses of one person each for long enough, as on a machine that has done
/// its work since the day before.
pub fn write_books(state: &Path) -> Result<()> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .context("cannot read which boot this is")?;
    let uptime = fs::read_to_string("/proc/uptime").context("cannot read the clock since boot")?;
    let seconds = uptime.split(['.', ' ']).next().unwrap_or_default();
    let since_boot = seconds.parse::<i64>()? * 1000;
    let wall = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let books = json!({
        "version": 1,
        "clocks": { "boot_id": boot_id.trim(), "since_boot": since_boot, "wall": wall },
        "watch": {
            "blind": null,
            "prefixes": { "2001:db8:a9::/64": since_boot - DAY },
            "look_back": DAY / 24,
        },
        "principals": {},
        "places": {},
    });
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let path = state.join("grants.json");
    fs::write(&path, books.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// In milliseconds.
const DAY: i64 = 86_400_000;

//! The configuration that Weir gets in the lab, and what differs in it from house to house.

mod tenant;
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use weir_lab_servers::plan::{Plan, Product, ServiceKind, ServicePlan};

use crate::sources::{Class, PROXY_UID};
use crate::topology::{INSIDE, OUTSIDE};
use crate::weir::{run_directory, state_directory};

pub use tenant::{Slot, Tenant};
pub use tokens::{Tokens, write_books};

/// The rule set that is shipped with Weir and recommended.
pub const STRICT: &str = "office365-strict";
/// The other one.
pub const OFFICE365: &str = "office365";

/// The user whom no directory of the lab holds.
pub const STRANGER: &str = "dave@nomex-adfs.corp.example";

/// What the configuration is written from.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Names and addresses.
    pub plan: &'a Plan,
    /// Where Weir's own things lie.
    pub places: Places,
    /// Rules that are skipped, by full name.
    pub switched_off: &'a [String],
    /// Where the kernel plane decides, when that is not left to Weir.
    pub hook: Option<Hook>,
}

/// Where Weir finds and keeps its own things, and who its proxy runs as.
#[derive(Clone, Debug)]
pub struct Places {
    run: PathBuf,
    state: PathBuf,
    object: PathBuf,
    pin: PathBuf,
    proxy_user: String,
    /// More of what `[appliance]` says.
    more: &'static str,
}

impl Places {
    /// In the lab's directory in memory.
    pub fn in_lab(run: &Path, object: &Path) -> Self {
        Self {
            run: run_directory(run),
            state: state_directory(run),
            object: object.to_owned(),
            pin: run.join("bpf/weir"),
            proxy_user: PROXY_UID.to_string(),
            more: "",
        }
    }

    /// Where Debian's package has them.
    pub fn installed() -> Self {
        Self {
            run: "/run/weir".into(),
            state: "/var/lib/weir".into(),
            object: "/usr/lib/weir/weir-ebpf.o".into(),
            pin: "/sys/fs/bpf/weir".into(),
            proxy_user: "weir-proxy".to_owned(),
            more: "control_group = \"weir\"\n",
        }
    }
}

/// A hook of the kernel that Weir is told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// The traffic control's.
    Tcx,
    /// The driver's.
    Xdp,
}

/// What differs from house to house. What is not said here is left to Weir's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The rule set.
    pub rules: &'static str,
    /// What becomes of Outlook.
    pub outlook: Option<&'static str>,
    /// What becomes of Windows' own sign-in.
    pub windows_logon: Option<&'static str>,
    /// Whether the users that the configuration names are given to the rules.
    pub directory: bool,
    /// What becomes of connections while no proxy works, by service: `sts`, then `adfs`.
    pub proxy_down: [Option<&'static str>; 2],
    /// Managed sources go through the proxy at every service, also where they could be forwarded.
    pub everything_proxied: bool,
    /// What the kernel plane does otherwise than usual.
    pub plane: Plane,
    /// How tokens are looked at; they are not without.
    pub tokens: Option<Tokens>,
    /// The tenant whose directory is kept in step.
    pub tenant: Option<Tenant>,
}

/// What the kernel plane can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Nothing else.
    Usual,
    /// `sts` is observed only.
    Observed,
    /// How long flows keep the verdict of before when a list changes.
    Drained(&'static str),
    /// The list of blocked sources ends flows at once.
    Cutting,
    /// How forwarded packets get to the servers of `sts`, which are those in [`FARM`].
    Servers(&'static str),
}

/// The own addresses of the servers that a row sets beside each other; see [`crate::demo`].
pub const FARM: [[&str; 2]; 2] = [
    ["192.0.2.101", "2001:db8:10::101"],
    ["192.0.2.102", "2001:db8:10::102"],
];

impl Settings {
    /// A rule set with nothing else said.
    pub const fn of(rules: &'static str) -> Self {
        Self {
            rules,
            outlook: None,
            windows_logon: None,
            directory: false,
            proxy_down: [None; 2],
            everything_proxied: false,
            plane: Plane::Usual,
            tokens: None,
            tenant: None,
        }
    }

    /// In words, for the head of a table.
    pub fn words(&self) -> String {
        let mut words = vec![format!("rules {}", self.rules)];
        words.extend(self.outlook.map(|word| format!("outlook {word}")));
        words.extend(self.windows_logon.map(|word| {
            let users = if self.directory {
                ""
            } else {
                " without a directory"
            };
            format!("windows_logon {word}{users}")
        }));
        for (service, word) in ["sts", "adfs"].iter().zip(self.proxy_down) {
            words.extend(word.map(|word| format!("proxy_down of {service} {word}")));
        }
        words.extend(self.tokens.map(Tokens::words));
        words.extend(self.tenant.map(|_| "the directory of a tenant".to_owned()));
        words.join(", ")
    }
}

impl Hook {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Xdp => "xdp",
        }
    }
}

/// The name of a class's list in the configuration; `None` for the class that is on no list.
pub fn list_name(class: Class) -> Option<&'static str> {
    match class {
        Class::Managed => Some("hq-egress"),
        Class::Bypass => Some("exempt"),
        Class::Relay => Some("exchange-online"),
        Class::Blocked => Some("never"),
        Class::Unmanaged => None,
        Class::Web => Some("exempt-browsers"),
    }
}

/// Writes the lists below `directory`, as they are before anybody changes them.
pub fn write_lists(directory: &Path, plan: &Plan) -> Result<()> {
    let lists = directory.join("lists");
    fs::create_dir_all(&lists).with_context(|| format!("cannot make {}", lists.display()))?;
    for class in Class::ALL {
        let Some(name) = list_name(class) else {
            continue;
        };
        let mut text = format!(
            "# {}: sources of the lab, one prefix a line\n",
            class.name()
        );
        for prefix in class.source().prefixes {
            text.push_str(prefix);
            text.push('\n');
        }
        save(&lists.join(format!("{name}.list")), &text)?;
    }
    let egress: Vec<String> = plan.cloud.egress.iter().map(ToString::to_string).collect();
    let egress = format!(
        "# where the reverse proxy connects from\n{}\n",
        egress.join("\n")
    );
    save(&lists.join("reverse-proxy.list"), &egress)
}

/// Writes `weir.toml` and what it names below `directory`, without the lists, and returns its path.
pub fn write(directory: &Path, setup: &Setup<'_>, settings: Settings) -> Result<PathBuf> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    if settings.directory {
        let users: Vec<&str> = known_users(setup.plan).collect();
        let text = format!("# who may sign in to Windows\n{}\n", users.join("\n"));
        save(&directory.join("users.list"), &text)?;
    }
    let path = directory.join("weir.toml");
    save(&path, &configuration(setup, settings))?;
    Ok(path)
}

/// The users that the directory holds: all but one.
fn known_users(plan: &Plan) -> impl Iterator<Item = &str> {
    let names = plan.users.iter().map(|user| user.upn.as_str());
    names.filter(|name| *name != STRANGER)
}

fn configuration(setup: &Setup<'_>, settings: Settings) -> String {
    let places = &setup.places;
    let hook = setup
        .hook
        .map(|hook| format!("hook = \"{}\"\n", hook.name()))
        .unwrap_or_default();
    let window = match settings.plane {
        Plane::Drained(window) => format!("drain_window = \"{window}\"\n"),
        _ => String::new(),
    };
    let mut text = format!(
        r#"# Written by the lab.

[appliance]
name = "weir-lab"
run = "{run}"
state = "{state}"
proxy_user = "{proxy_user}"
{more}
[kernel]
object = "{object}"
pin = "{pin}"
outside = ["{OUTSIDE}"]
inside = ["{INSIDE}"]
mark = 0x5745
table = 5745
{hook}{window}
{grants}"#,
        run = places.run.display(),
        state = places.state.display(),
        proxy_user = places.proxy_user,
        more = places.more,
        object = places.object.display(),
        pin = places.pin.display(),
        grants = tokens::GRANTS,
    );
    if settings.directory {
        text.push_str("\n[directory]\nusers = \"users.list\"\n");
    }
    for (service, down) in setup.plan.services.iter().zip(settings.proxy_down) {
        text.push_str(&service_table(setup, service, settings, down));
    }
    if settings.tokens.is_some_and(|tokens| tokens.portal) {
        text.push_str(&tokens::portal(setup.plan, settings.rules, "adfs"));
    }
    for class in Class::ALL {
        if let Some(name) = list_name(class) {
            text.push_str(&list_table(name, class));
            if class == Class::Blocked && settings.plane == Plane::Cutting {
                text.push_str("cut = true\n");
            }
        }
    }
    text.push_str(&list_table("reverse-proxy", Class::Bypass));
    text.push_str(
        r#"
[application.m365]
relying_parties = ["urn:federation:MicrosoftOnline"]
hosts = ["login.microsoftonline.com"]
"#,
    );
    if let Some(tenant) = settings.tenant {
        text.push_str(&tenant.table(setup.plan));
    }
    if let Some(tokens) = settings.tokens {
        text.push_str(tokens.rules);
    }
    text
}

fn service_table(
    setup: &Setup<'_>,
    service: &ServicePlan,
    settings: Settings,
    down: Option<&str>,
) -> String {
    let files = setup.plan.files();
    // A forwarded flow carries no header of a proxy's: what stands behind must be a proxy of the server's own kind.
    let (managed, kind) = match service.kind {
        ServiceKind::Wap if settings.everything_proxied => ("proxy", "wap"),
        ServiceKind::Wap => ("forward", "wap"),
        ServiceKind::Adfs => ("proxy", "adfs"),
    };
    let product = match settings.tokens {
        Some(tokens) if service.kind == ServiceKind::Adfs => tokens.product,
        _ => service.product,
    };
    let kind = match product {
        Product::Adfs => kind,
        _ => "plain",
    };
    // The other says the cloud's ids too.
    let joined = settings.tenant.is_some() && service.kind == ServiceKind::Adfs;
    let tokens = settings
        .tokens
        .map(|_| tokens::table(setup.plan, product, joined))
        .unwrap_or_default();
    let addresses: Vec<String> = service
        .listen
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    let servers: Vec<String> = service.listen.iter().map(ToString::to_string).collect();
    let tunnel: Vec<&str> = service
        .certificate_host
        .iter()
        .map(String::as_str)
        .collect();
    let said: String = [
        ("outlook", settings.outlook),
        ("windows_logon", settings.windows_logon),
        ("proxy_down", down),
    ]
    .into_iter()
    .filter_map(|(key, word)| Some(format!("{key} = \"{}\"\n", word?)))
    .collect();
    let forwarding = if service.name == "sts" {
        forwarding(settings.plane)
    } else {
        String::new()
    };
    // A rule of another set is unknown to this one.
    let switched_off: Vec<&String> = setup
        .switched_off
        .iter()
        .filter(|rule| rule.split('/').next() == Some(settings.rules))
        .collect();
    format!(
        r#"
[[service]]
name = "{name}"
hosts = ["{host}"]
addresses = {addresses:?}
ports = [443]
profile = "{profile}"
rules = "{rules}"
managed = "{managed}"
certificate = "{certificate}"
key = "{key}"
reverse_proxy = "https://{reverse}{{query}}"
tunnel = {tunnel:?}
{said}{forwarding}switched_off = {switched_off:?}
[service.upstream]
kind = "{kind}"
servers = {servers:?}
server_name = "{host}"
ca = "{ca}"
{tokens}"#,
        name = service.name,
        profile = tokens::profile(product),
        host = service.host,
        certificate = files.chain(&service.name).display(),
        key = files.key(&service.name).display(),
        reverse = setup.plan.proxied(&service.host),
        rules = settings.rules,
        ca = files.ca().display(),
    )
}

/// What the service says of the kernel's part.
fn forwarding(plane: Plane) -> String {
    match plane {
        Plane::Observed => "observe = true\n".to_owned(),
        Plane::Servers(topology) => {
            let servers = FARM.concat();
            format!("topology = \"{topology}\"\nservers = {servers:?}\n")
        }
        Plane::Usual | Plane::Drained(_) | Plane::Cutting => String::new(),
    }
}

fn list_table(name: &str, class: Class) -> String {
    let scope = match class {
        Class::Web => "scope = \"web\"\n",
        _ => "",
    };
    format!(
        "\n[[list]]\nname = \"{name}\"\nclass = \"{}\"\n{scope}file = \"lists/{name}.list\"\n",
        class.word()
    )
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

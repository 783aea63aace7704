//! Finds out what a machine is. Whatever cannot be read is left out: a console says what it can.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use weir_config::Severity;

use super::{CONFIGURATION, Configuration, Facts, Firewall, Interface, MANAGEMENT};

/// What the package installs where it has brought the firewall.
const FIREWALL: &str = "/usr/lib/weir/nftables.conf";
/// What cloud-init writes at each boot.
const CLOUD: &str = "/run/cloud-init";
/// Units that are asked for, in this order.
const UNITS: [&str; 3] = ["weir-control", "weir-firewall", "weir-management"];

/// The facts of the machine whose files lie below `root`; of a root that is not this machine's own, files alone.
pub fn look(root: &Path) -> Facts {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let line = |path: &str| {
        let text = fs::read_to_string(at(path)).ok()?;
        Some(text.lines().next()?.trim().to_owned()).filter(|line| !line.is_empty())
    };
    let here = root == Path::new("/");
    let [control, firewall, management] = if here { units() } else { Default::default() };
    Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        name: if here {
            line("/proc/sys/kernel/hostname")
        } else {
            line("/etc/hostname")
        },
        system: fs::read_to_string(at("/etc/os-release"))
            .ok()
            .and_then(|text| pretty_name(&text)),
        kernel: here.then(|| line("/proc/sys/kernel/osrelease")).flatten(),
        interfaces: if here { interfaces() } else { Vec::new() },
        configuration: configuration(&at(CONFIGURATION)),
        first_boot: first_boot(&at(CLOUD)),
        firewall: at(FIREWALL).exists().then(|| Firewall {
            state: firewall,
            management,
            managers: fs::read_to_string(at(MANAGEMENT))
                .ok()
                .map(|rules| names_managers(&rules)),
        }),
        control,
        answer: None,
    }
}

fn pretty_name(release: &str) -> Option<String> {
    let value = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// What the service manager says of the units; nothing where there is none.
fn units() -> [Option<String>; 3] {
    let told = Command::new("systemctl")
        .args(["show", "--property=ActiveState", "--value"])
        .args(UNITS)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let told = told.ok().filter(|told| told.status.success());
    let text = told.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    let mut states = text
        .iter()
        .flat_map(|text| text.split_whitespace())
        .map(str::to_owned);
    [(); 3].map(|()| states.next())
}

fn interfaces() -> Vec<Interface> {
    let mut found: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    let mut lengths = BTreeMap::new();
    for address in getifaddrs().into_iter().flatten() {
        if address.flags.contains(InterfaceFlags::IFF_LOOPBACK) {
            continue;
        }
        let ip = address.address.as_ref().and_then(ip_of);
        // Every interface has a link-local address, and nobody asks for it.
        let Some(ip) = ip.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
        else {
            continue;
        };
        if let Some(mask) = address.netmask.as_ref().and_then(ip_of) {
            lengths.insert(ip, ones(mask));
        }
        found.entry(address.interface_name).or_default().push(ip);
    }
    let written = |ip: &IpAddr| match lengths.get(ip) {
        Some(length) => format!("{ip}/{length}"),
        None => ip.to_string(),
    };
    found
        .into_iter()
        .map(|(name, addresses)| Interface {
            name,
            addresses: addresses.iter().map(written).collect(),
        })
        .collect()
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let four = address.as_sockaddr_in().map(|four| four.ip().into());
    four.or_else(|| address.as_sockaddr_in6().map(|six| six.ip().into()))
}

/// Length of the prefix whose mask this is.
fn ones(mask: IpAddr) -> u32 {
    match mask {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    }
}

fn configuration(file: &Path) -> Configuration {
    match fs::File::open(file) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Configuration::Missing,
        Err(_) => return Configuration::Unknown,
    }
    let checked = weir_config::load(file)
        .and_then(|loaded| weir_config::load_lists(&loaded.config).map(drop));
    let Err(report) = checked else {
        return Configuration::Valid;
    };
    let errors = || {
        let all = report.diagnostics.iter();
        all.filter(|one| one.severity == Severity::Error)
    };
    Configuration::Invalid {
        errors: errors().count(),
        line: errors().next().map_or(0, |first| first.line),
    }
}

/// Whether cloud-init found something to go by; nothing before it has looked, and where it is not installed.
fn first_boot(cloud: &Path) -> Option<bool> {
    let id: PathBuf = cloud.join("cloud-id");
    match fs::read_to_string(id) {
        Ok(id) => Some(id.trim() != "none"),
        Err(_) => cloud.join("disabled").exists().then_some(false),
    }
}

/// Whether a line of the administrator's rules is more than a comment.
fn names_managers(rules: &str) -> bool {
    let mut lines = rules.lines().map(str::trim);
    lines.any(|line| !line.is_empty() && !line.starts_with('#'))
}

//! The wires: namespaces, links, addresses, routes, the sources of each class, and the firewall.
//!
//! Addresses of the servers come from the plan; those of links and clients are set here. All of them are documentation
//! prefixes (RFC 5737, RFC 3849). The router that Weir stands on refuses to forward (nftables, policy drop): what
//! passes between the Internet and the services was forwarded by Weir. Only TCP port 80 is let through, as the
//! firewall's business: it is no port of a service of Weir's.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_lab_servers::plan::Plan;

use crate::netns::{Netns, Part};
use crate::settings::Hook;
use crate::sources::{Class, Family};

/// Interface of `weir` towards the Internet.
pub const OUTSIDE: &str = "outside";
/// Interface of `weir` towards the federation services.
pub const INSIDE: &str = "inside";
/// Interface of `inet` towards Weir: where a capture sees what clients send.
pub const WAN: &str = "wan";
/// Name of the firewall's table in `weir`.
const TABLE: &str = "weir_lab";

/// Where Weir's interfaces are managed from, and its address there, when it is a machine.
pub const MANAGEMENT: &str = "manage";
/// The Internet's addresses towards Weir.
pub const INET_WAN: [&str; 2] = ["203.0.113.253", "2001:db8:ffff::1"];
/// Weir's addresses towards the Internet.
pub const WEIR_OUTSIDE: [&str; 2] = ["203.0.113.254", "2001:db8:ffff::2"];
/// Weir's addresses towards the services.
pub const WEIR_INSIDE: [&str; 2] = ["192.0.2.1", "2001:db8:10::1"];
/// Where a machine is managed from.
pub const MANAGER: &str = "10.57.45.1";
/// A machine's address there.
pub const MANAGED: &str = "10.57.45.2";
/// The interface of `idp` towards Weir.
pub const LAN: &str = "weir";
const INET_CLOUD: [&str; 2] = ["198.51.100.1", "2001:db8:c0::1"];

/// What the firewall of `weir` counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Firewall {
    /// Packets that its rule for other ports let through.
    pub other_ports: u64,
    /// Packets that the policy dropped.
    pub refused: u64,
}

impl Firewall {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            other_ports: self.other_ports - before.other_ports,
            refused: self.refused - before.refused,
        }
    }
}

/// Makes the namespaces of `instance` and everything in them, with wires that are fit for `hook`. What stands already is an error: clean up first.
pub fn raise(instance: &str, plan: &Plan, hook: Option<Hook>) -> Result<()> {
    namespaces(instance)?;
    let [inet, weir, idp, _] = Part::ALL.map(|part| Netns::of(instance, part));
    batch(
        &weir,
        &[
            "link set lo up".to_owned(),
            format!(
                "link add {OUTSIDE} type veth peer name {WAN} netns {}",
                inet.name
            ),
            format!(
                "link add {INSIDE} type veth peer name {LAN} netns {}",
                idp.name
            ),
        ],
    )?;
    if hook == Some(Hook::Xdp) {
        // A frame that a driver's program passes on must have its checksum, and one end of a veth takes such frames only
        // when it polls (veth.c: an XDP program of its own, or GRO). Weir's own ends stay as they are.
        for (namespace, device) in [(&inet, WAN), (&idp, LAN)] {
            run(
                namespace,
                "ethtool",
                &["-K", device, "tx", "off", "gro", "on"],
                "",
            )?;
        }
    }
    others(instance, plan)?;
    wire_weir(&weir)?;
    firewall(&weir)
}

/// Makes the same namespaces around a machine: where its wires would end there are taps, for whoever runs the machine. In
/// `weir` it is managed from.
pub fn raise_around(instance: &str, plan: &Plan) -> Result<()> {
    namespaces(instance)?;
    let [inet, weir, idp, _] = Part::ALL.map(|part| Netns::of(instance, part));
    for (namespace, device) in [(&inet, WAN), (&weir, MANAGEMENT), (&idp, LAN)] {
        batch(namespace, &[format!("tuntap add dev {device} mode tap")])?;
    }
    others(instance, plan)?;
    batch(
        &weir,
        &[
            "link set lo up".to_owned(),
            format!("address add {MANAGER}/24 dev {MANAGEMENT}"),
            format!("link set {MANAGEMENT} up"),
        ],
    )?;
    firewall(&weir)
}

fn namespaces(instance: &str) -> Result<()> {
    for part in Part::ALL {
        ip(&["netns", "add", &Netns::of(instance, part).name])?;
    }
    let settings = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        // Loose: a proxied packet comes in by the mark's route, a client's address is on no interface of Weir.
        ("net/ipv4/conf/all/rp_filter", "2"),
        ("net/ipv4/conf/default/rp_filter", "2"),
        // Duplicate address detection would keep addresses unusable for a second.
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/default/dad_transmits", "0"),
    ];
    for part in Part::ALL {
        sysctl(&Netns::of(instance, part), &settings)?;
    }
    Ok(())
}

/// All but what Weir itself stands on.
fn others(instance: &str, plan: &Plan) -> Result<()> {
    let [inet, _, idp, cloud] = Part::ALL.map(|part| Netns::of(instance, part));
    batch(
        &cloud,
        &[format!(
            "link add inet type veth peer name cloud netns {}",
            inet.name
        )],
    )?;
    // No wire of the lab loses packets: a connection attempt that stays without an answer was dropped, and is given up
    // after seconds instead of minutes, by clients that leave that to the kernel.
    sysctl(
        &inet,
        &[
            ("net/ipv4/tcp_syn_retries", "1"),
            ("net/ipv4/tcp_syn_linear_timeouts", "0"),
        ],
    )?;
    wire_inet(&inet, plan)?;
    wire_idp(&idp, plan)?;
    wire_cloud(&cloud, plan)
}

/// Reads the firewall's counters.
pub fn firewall_counters(instance: &str) -> Result<Firewall> {
    let weir = Netns::of(instance, Part::Weir);
    let output = run(
        &weir,
        "nft",
        &["-j", "list", "counters", "table", "inet", TABLE],
        "",
    )?;
    let listing: Value = serde_json::from_str(&output).context("nft printed no JSON")?;
    let packets = |name: &str| {
        listing["nftables"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|item| item["counter"]["name"] == name)
            .and_then(|item| item["counter"]["packets"].as_u64())
            .with_context(|| format!("the firewall has no counter {name}"))
    };
    Ok(Firewall {
        other_ports: packets("other_ports")?,
        refused: packets("refused")?,
    })
}

fn wire_inet(inet: &Netns, plan: &Plan) -> Result<()> {
    let mut lines = vec!["link set lo up".to_owned()];
    lines.extend(interface(WAN, INET_WAN, [30, 64]));
    lines.extend(interface("cloud", INET_CLOUD, [24, 64]));
    for class in Class::ALL {
        let source = class.source();
        lines.push(format!("address add {}/32 dev lo", source.v4));
        lines.push(format!("address add {}/128 dev lo nodad", source.v6));
    }
    // The services lie behind Weir, and so does whatever nobody knows.
    lines.push(format!("route add default via {}", WEIR_OUTSIDE[0]));
    lines.push(format!("route add default via {}", WEIR_OUTSIDE[1]));
    batch(inet, &lines)?;
    for family in Family::ALL {
        let flag = format!("-{}", u8::from(family));
        tool(
            "ip",
            &[&flag, "-n", &inet.name, "-batch", "-"],
            &sources(plan, family).join("\n"),
        )?;
    }
    Ok(())
}

/// A routing table per class, taken by its user id, whose routes say which address to connect from.
fn sources(plan: &Plan, family: Family) -> Vec<String> {
    let (via, cloud) = match family {
        Family::V4 => (WEIR_OUTSIDE[0], network(plan, false)),
        Family::V6 => (WEIR_OUTSIDE[1], network(plan, true)),
    };
    let mut lines = Vec::new();
    for class in Class::ALL {
        let source = class.source();
        let (uid, from) = (source.uid, source.address(family));
        lines.push(format!("rule add uidrange {uid}-{uid} lookup {uid}"));
        lines.push(format!(
            "route add {cloud} dev cloud src {from} table {uid}"
        ));
        lines.push(format!(
            "route add default via {via} dev {WAN} src {from} table {uid}"
        ));
    }
    lines
}

/// The cloud's network: the first 24 or 64 bits of the application's address.
fn network(plan: &Plan, v6: bool) -> String {
    let address = plan
        .cloud
        .application
        .listen
        .iter()
        .map(std::net::SocketAddr::ip);
    match address.into_iter().find(|address| address.is_ipv6() == v6) {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        None => "unspecified".to_owned(),
    }
}

fn wire_weir(weir: &Netns) -> Result<()> {
    let mut lines = interface(OUTSIDE, WEIR_OUTSIDE, [30, 64]);
    lines.extend(interface(INSIDE, WEIR_INSIDE, [24, 64]));
    lines.push(format!("route add default via {}", INET_WAN[0]));
    lines.push(format!("route add default via {}", INET_WAN[1]));
    batch(weir, &lines)
}

fn wire_idp(idp: &Netns, plan: &Plan) -> Result<()> {
    let addresses = plan
        .services
        .iter()
        .flat_map(|service| service.listen.iter().chain(&service.probe))
        .map(std::net::SocketAddr::ip);
    end_host(idp, LAN, addresses, WEIR_INSIDE)
}

fn wire_cloud(cloud: &Netns, plan: &Plan) -> Result<()> {
    let sites = [
        &plan.cloud.login,
        &plan.cloud.application,
        &plan.cloud.portal,
        &plan.cloud.reverse_proxy,
        &plan.cloud.sign_in,
        &plan.cloud.graph,
    ];
    let addresses = sites
        .into_iter()
        .flat_map(|site| &site.listen)
        .map(std::net::SocketAddr::ip);
    end_host(
        cloud,
        "inet",
        addresses.chain(plan.cloud.egress.iter().copied()),
        INET_CLOUD,
    )
}

/// Makes a namespace whose one interface is on the services' wire, with addresses of its own. It owns the addresses of
/// `services` too, without claiming them on the wire; or they are Weir's to it.
pub fn stand_beside(
    instance: &str,
    beside: &Netns,
    number: usize,
    own: [&str; 2],
    services: &[IpAddr],
    owns: bool,
) -> Result<()> {
    const DEVICE: &str = "beside";
    ip(&["netns", "add", &beside.name])?;
    sysctl(
        beside,
        &[
            ("net/ipv4/conf/all/arp_ignore", "1"),
            ("net/ipv4/conf/all/arp_announce", "2"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/dad_transmits", "0"),
        ],
    )?;
    // The same station whenever it stands here: its neighbours remember it.
    let add = format!(
        "link add {DEVICE} link weir address 02:00:00:00:0f:{number:02x} type macvlan mode bridge"
    );
    let hand_over = format!("link set {DEVICE} netns {}", beside.name);
    batch(&Netns::of(instance, Part::Idp), &[add, hand_over])?;
    let own = own.map(|address| address.parse().context("an address of its own"));
    let [v4, v6] = own;
    end_host(beside, DEVICE, [v4?, v6?].into_iter(), WEIR_INSIDE)?;
    let lines: Vec<String> = services
        .iter()
        .map(|address| match (owns, address) {
            (true, _) => format!("address add {address} dev lo nodad"),
            (false, IpAddr::V4(_)) => format!("route add {address} via {}", WEIR_INSIDE[0]),
            (false, IpAddr::V6(_)) => format!("route add {address} via {}", WEIR_INSIDE[1]),
        })
        .collect();
    batch(beside, &lines)
}

/// A namespace with one interface, some addresses, and one way out.
fn end_host(
    namespace: &Netns,
    device: &str,
    addresses: impl Iterator<Item = IpAddr>,
    gateway: [&str; 2],
) -> Result<()> {
    let mut lines = vec!["link set lo up".to_owned()];
    let unique: std::collections::BTreeSet<IpAddr> = addresses.collect();
    lines.extend(unique.into_iter().map(|address| match address {
        IpAddr::V4(address) => format!("address add {address}/24 dev {device}"),
        IpAddr::V6(address) => format!("address add {address}/64 dev {device} nodad"),
    }));
    lines.push(format!("link set {device} up"));
    lines.push(format!("route add default via {}", gateway[0]));
    lines.push(format!("route add default via {}", gateway[1]));
    batch(namespace, &lines)
}

fn interface(name: &str, addresses: [&str; 2], lengths: [u8; 2]) -> Vec<String> {
    vec![
        format!("address add {}/{} dev {name}", addresses[0], lengths[0]),
        format!(
            "address add {}/{} dev {name} nodad",
            addresses[1], lengths[1]
        ),
        format!("link set {name} up"),
    ]
}

fn firewall(weir: &Netns) -> Result<()> {
    let rules = format!(
        "table inet {TABLE} {{
            counter other_ports {{ }}
            counter refused {{ }}
            set open {{ type inet_service; }}
            chain forward {{
                type filter hook forward priority filter; policy drop;
                tcp dport @open accept
                tcp sport @open accept
                tcp dport 80 counter name other_ports accept
                tcp sport 80 ct state established accept
                counter name refused
            }}
        }}"
    );
    run(weir, "nft", &["-f", "-"], &rules).map(drop)
}

/// Has the router's firewall let connections to a port through, both ways, or not any more.
pub fn let_through(instance: &str, port: u16, open: bool) -> Result<()> {
    let weir = Netns::of(instance, Part::Weir);
    let verb = if open { "add" } else { "delete" };
    let rule = format!("{verb} element inet {TABLE} open {{ {port} }}\n");
    run(&weir, "nft", &["-f", "-"], &rule).map(drop)
}

fn sysctl(namespace: &Netns, settings: &[(&'static str, &'static str)]) -> Result<()> {
    let settings = settings.to_vec();
    namespace.run(move || {
        for (key, value) in settings {
            let path = format!("/proc/sys/{key}");
            fs::write(&path, value).with_context(|| format!("cannot write {value} to {path}"))?;
        }
        Ok(())
    })?
}

fn batch(namespace: &Netns, lines: &[String]) -> Result<()> {
    tool(
        "ip",
        &["-n", &namespace.name, "-batch", "-"],
        &lines.join("\n"),
    )
    .map(drop)
}

/// Runs `ip`, in the namespace that we are in.
pub fn ip(arguments: &[&str]) -> Result<String> {
    tool("ip", arguments, "")
}

/// Runs a tool inside a namespace.
fn run(namespace: &Netns, program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let program = program.to_owned();
    let arguments: Vec<String> = arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect();
    let input = input.to_owned();
    namespace.run(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        tool(&program, &arguments, &input)
    })?
}

fn tool(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}: is it installed?"))?;
    let mut stdin = child.stdin.take().expect("stdin was asked for");
    // A tool that stops reading has said why on standard error, which is reported below.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} failed: {}", arguments.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

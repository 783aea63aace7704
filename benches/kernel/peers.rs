//! What Weir is compared with: nftables' interval sets, and ipset's hash:net.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use ipnet::IpNet;

use crate::bed::Namespace;

/// A filter at the router's door that drops every packet; with a set, after having looked the source up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// nftables, `flags interval`.
    Nft,
    /// ipset hash:net, asked by iptables.
    Ipset,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Nft, Self::Ipset];

    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Ipset => "ipset",
        }
    }

    /// Why it cannot be measured here; nothing when it can.
    pub fn missing(self, router: &Namespace) -> Option<String> {
        let tried = match self {
            Self::Nft => router.run("nft", &["list", "tables"]),
            Self::Ipset => router
                .run("ipset", &["list", "-name"])
                .and_then(|_| router.run("iptables", &["-t", "raw", "-S"])),
        };
        tried.err().map(|error| format!("{error:#}"))
    }

    /// Drops everything, without a set.
    pub fn drop_all(self, router: &Namespace, family: u8) -> Result<()> {
        match self {
            Self::Nft => nft(router, &table("", "", "drop")),
            Self::Ipset => iptables(router, family, &["-A", "PREROUTING", "-j", "DROP"]),
        }
    }

    /// Drops what the set holds by its first rule, and the rest by the next.
    pub fn drop_set(self, router: &Namespace, family: u8, prefixes: &[IpNet]) -> Result<()> {
        match self {
            Self::Nft => {
                let address = if family == 6 { "ip6" } else { "ip" };
                nft(
                    router,
                    &table(
                        &nft_set(family, prefixes),
                        &format!("{address} saddr @sources drop"),
                        "drop",
                    ),
                )
            }
            Self::Ipset => {
                let kind = if family == 6 { "inet6" } else { "inet" };
                let room = prefixes.len().next_power_of_two().max(1024);
                let mut text = format!(
                    "create sources hash:net family {kind} hashsize {room} maxelem {room}\n"
                );
                for prefix in prefixes {
                    let _ = writeln!(text, "add sources {prefix}");
                }
                router.feed("ipset", &["restore"], &text)?;
                let asked = ["-m", "set", "--match-set", "sources", "src", "-j", "DROP"];
                let rule = [["-A", "PREROUTING"].as_slice(), &asked].concat();
                iptables(router, family, &rule)?;
                iptables(router, family, &["-A", "PREROUTING", "-j", "DROP"])
            }
        }
    }

    /// Takes everything away again.
    pub fn clear(self, router: &Namespace, family: u8) -> Result<()> {
        match self {
            Self::Nft => nft(router, "flush ruleset\n"),
            Self::Ipset => {
                iptables(router, family, &["-F", "PREROUTING"])?;
                router.run("ipset", &["destroy"]).map(drop)
            }
        }
    }
}

/// Lets the router forward what the set holds, and drop the rest.
pub fn nft_forward(router: &Namespace, prefixes: &[IpNet]) -> Result<()> {
    let set = nft_set(4, prefixes);
    nft(router, &table(&set, "ip saddr @sources accept", "drop"))
}

/// Lets nftables forward established connections from a table of flows.
pub fn nft_flowtable(router: &Namespace) -> Result<()> {
    nft(
        router,
        "table inet bench {
            flowtable flows { hook ingress priority 0; devices = { out, in }; }
            chain forward {
                type filter hook forward priority 0; policy accept;
                ct state established flow add @flows
                counter
            }
        }
        ",
    )
}

/// Packets that went by the table of flows: they are not seen here.
pub fn nft_forwarded(router: &Namespace) -> Result<u64> {
    let text = router.run("nft", &["list", "chain", "inet", "bench", "forward"])?;
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        if word == "packets" {
            return Ok(words.next().unwrap_or_default().parse()?);
        }
    }
    bail!("nft tells no packets of its counter: {text}")
}

fn table(set: &str, first: &str, last: &str) -> String {
    format!(
        "table inet bench {{
            {set}
            chain door {{
                type filter hook prerouting priority raw; policy accept;
                {first}
                tcp dport 443 {last}
            }}
        }}
        "
    )
}

fn nft_set(family: u8, prefixes: &[IpNet]) -> String {
    let kind = if family == 6 {
        "ipv6_addr"
    } else {
        "ipv4_addr"
    };
    let mut set = format!("set sources {{\n type {kind}; flags interval\n elements = {{\n");
    for prefix in prefixes {
        let _ = writeln!(set, "{prefix},");
    }
    set.push_str("}\n}\n");
    set
}

fn nft(router: &Namespace, rules: &str) -> Result<()> {
    router.feed("nft", &["-f", "-"], rules).map(drop)
}

fn iptables(router: &Namespace, family: u8, rule: &[&str]) -> Result<()> {
    let program = if family == 6 { "ip6tables" } else { "iptables" };
    let arguments = [["-t", "raw"].as_slice(), rule].concat();
    router.run(program, &arguments).map(drop)
}

//! Stateful rules of this machine's own netfilter that packets of services meet.
//!
//! What Weir forwards goes round netfilter, in both directions; but what it leaves to the stack on the way (a
//! neighbour that is not known yet, a packet too big, a fragment) comes to connection tracking out of the
//! blue, and is dropped as invalid by ordinary firewalls, or rewritten. In: the ruleset, as `nft` tells it.
//! Out: a sentence with the rules that mend it. It changes no rule.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::types::ServiceSpec;

/// Where distributions have the program; it is not looked for elsewhere.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// How many connections are tracked in this network namespace; there only where some are.
const TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Hooks by which forwarded packets come.
const HOOKS: [&str; 3] = ["prerouting", "forward", "postrouting"];

/// The rules, as they were lately.
#[derive(Debug, Default)]
pub(crate) struct Netfilter {
    /// Each address of a service with its ports.
    served: Vec<(IpAddr, Vec<u16>)>,
    looked: RefCell<Option<(Instant, Option<String>)>>,
}

impl Netfilter {
    /// Looks for rules on the traffic of these services, at the next chance.
    pub(crate) fn set_services(&mut self, services: &[ServiceSpec]) {
        self.served = services
            .iter()
            .flat_map(|service| {
                let ports = &service.ports;
                let addresses = service.addresses.iter();
                addresses.map(|address| (address.to_canonical(), ports.clone()))
            })
            .collect();
        self.looked.take();
    }

    /// A sentence for the operator, if there is something to mend.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.served.is_empty() {
            return None;
        }
        let mut looked = self.looked.borrow_mut();
        match &*looked {
            Some((when, warning)) if when.elapsed() < LOOK_AGAIN => warning.clone(),
            _ => {
                let warning = self.look();
                *looked = Some((Instant::now(), warning.clone()));
                warning
            }
        }
    }

    fn look(&self) -> Option<String> {
        let Some(nft) = NFT.into_iter().find(|path| Path::new(path).exists()) else {
            let tracked = std::fs::read_to_string(TRACKED).ok()?;
            return (tracked.trim() != "0").then(|| {
                "this machine tracks connections, and whether rules on services are stateful cannot be \
                 seen: install nft (package nftables)"
                    .to_owned()
            });
        };
        let ran = Command::new(nft)
            .args(["-j", "list", "ruleset"])
            .stdin(Stdio::null())
            .output();
        let rules = match ran {
            Ok(ran) if ran.status.success() => ran.stdout,
            _ => {
                return Some(format!(
                    "`{nft} -j list ruleset` fails, so stateful rules are not seen"
                ));
            }
        };
        let rules: Value = serde_json::from_slice(&rules).ok()?;
        let parts = rules["nftables"].as_array()?;
        let stateful = stateful(parts)?;
        let left: Vec<_> = self
            .served
            .iter()
            .filter(|(address, _)| !is_untracked(parts, *address))
            .collect();
        (!left.is_empty()).then(|| {
            format!(
                "netfilter tracks connections ({stateful}), but sees only a part of each flow that Weir \
                 forwards, and takes it for invalid; exempt the services: {}",
                mend(&left)
            )
        })
    }
}

/// Where forwarded packets meet a stateful rule.
fn stateful(parts: &[Value]) -> Option<String> {
    let hooked = parts.iter().filter_map(|part| {
        let chain = &part["chain"];
        let hook = chain["hook"].as_str()?;
        HOOKS.contains(&hook).then_some(chain)
    });
    for chain in hooked {
        let rules = parts.iter().map(|part| &part["rule"]).filter(|rule| {
            ["family", "table"]
                .iter()
                .all(|key| rule[key] == chain[key])
                && rule["chain"] == chain["name"]
        });
        for rule in rules {
            if asks_state(&rule["expr"]) {
                let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
                let (family, table) = (word(&chain["family"]), word(&chain["table"]));
                return Some(format!("chain {family} {table} {}", word(&chain["name"])));
            }
        }
    }
    None
}

/// Whether an expression asks for, or makes, the state of a connection; also one of iptables.
fn asks_state(expression: &Value) -> bool {
    match expression {
        Value::Array(parts) => parts.iter().any(asks_state),
        Value::Object(members) => members.iter().any(|(key, value)| {
            matches!(
                key.as_str(),
                "ct" | "masquerade" | "snat" | "dnat" | "redirect" | "flow"
            ) || (key == "xt" && is_stateful_match(value))
                || asks_state(value)
        }),
        _ => false,
    }
}

fn is_stateful_match(value: &Value) -> bool {
    let names = ["conntrack", "state", "MASQUERADE", "SNAT", "DNAT", "CT"];
    value["name"]
        .as_str()
        .is_some_and(|name| names.contains(&name))
}

/// Whether a table that exempts packets from tracking names the address, in a rule or a set.
fn is_untracked(parts: &[Value], address: IpAddr) -> bool {
    let address = Value::String(address.to_string());
    let tables = parts.iter().filter(|part| holds_key(part, "notrack"));
    tables.map(|part| &part["rule"]).any(|exempting| {
        let of_table = |part: &&Value| {
            part.as_object().into_iter().flatten().any(|(_, one)| {
                ["family", "table"]
                    .iter()
                    .all(|key| one[key] == exempting[key])
            })
        };
        parts
            .iter()
            .filter(of_table)
            .any(|part| holds(part, &address))
    })
}

fn holds_key(value: &Value, wanted: &str) -> bool {
    match value {
        Value::Array(parts) => parts.iter().any(|part| holds_key(part, wanted)),
        Value::Object(members) => members
            .iter()
            .any(|(key, value)| key == wanted || holds_key(value, wanted)),
        _ => false,
    }
}

fn holds(value: &Value, wanted: &Value) -> bool {
    match value {
        Value::Array(parts) => parts.iter().any(|part| holds(part, wanted)),
        Value::Object(members) => members.values().any(|value| holds(value, wanted)),
        value => value == wanted,
    }
}

/// The command that exempts the services from tracking.
fn mend(served: &[&(IpAddr, Vec<u16>)]) -> String {
    let mut rules = String::new();
    for (address, ports) in served {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
        let ports = ports.join(", ");
        for (end, port) in [("daddr", "dport"), ("saddr", "sport")] {
            write!(
                rules,
                " {family} {end} {address} tcp {port} {{ {ports} }} notrack;"
            )
            .expect("a String takes everything");
        }
    }
    let chain = |hook| format!("chain {hook} {{ type filter hook {hook} priority raw;{rules} }}");
    format!(
        "`nft 'table inet weir_notrack {{ {}; {}; }}'` (and accept `ct state untracked` where a chain \
         accepts only what is established)",
        chain("prerouting"),
        chain("output")
    )
}

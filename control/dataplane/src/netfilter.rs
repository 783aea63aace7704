//! Stateful rules of this machine's own netfilter that packets of services meet.
//!
//! What Weir forwards goes round netfilter, in both directions; but what it leaves to the stack on the way (a
//! neighbour that is not known yet, a packet too big, a fragment) comes to connection tracking out of the
//! blue, and is dropped as invalid by ordinary firewalls, or rewritten. In: the ruleset, as `nft` tells it.
//! Out: a sentence with the rules that mend it. It changes no rule, and nobody waits long for it: rules may
//! be many.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::types::ServiceSpec;

/// Where distributions have the program; it is not looked for elsewhere.
const NFT: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// How many connections are tracked in this network namespace; there only where some are.
const TRACKED: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long is waited for a look; what comes later is told the next time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of rules that are read at most.
const LONGEST: u64 = 16 << 20;
/// Hooks by which forwarded packets come.
const HOOKS: [&str; 3] = ["prerouting", "forward", "postrouting"];

/// Each address of a service with its ports.
type Served = Vec<(IpAddr, Vec<u16>)>;

/// The rules, as they were lately.
#[derive(Debug)]
pub(crate) struct Netfilter {
    served: Served,
    looked: RefCell<Looked>,
    look: fn(&Served) -> Option<String>,
}

/// What came of looks.
#[derive(Debug, Default)]
struct Looked {
    when: Option<Instant>,
    warning: Option<String>,
    /// What is being looked at, and whether for the services of now.
    coming: Option<(Receiver<Option<String>>, bool)>,
}

impl Default for Netfilter {
    fn default() -> Self {
        Self {
            served: Vec::new(),
            looked: RefCell::default(),
            look,
        }
    }
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
        // One look at a time: what it finds is not of these services.
        let coming = self.looked.take().coming;
        self.looked.get_mut().coming = coming.map(|(coming, _)| (coming, false));
    }

    /// A sentence for the operator, if there is something to mend.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.served.is_empty() {
            return None;
        }
        let mut looked = self.looked.borrow_mut();
        let fresh = |when: Instant| when.elapsed() < LOOK_AGAIN;
        if looked.coming.is_none() && !looked.when.is_some_and(fresh) {
            self.begin(&mut looked, PATIENCE);
        } else if let Some((coming, valid)) = looked.coming.take() {
            looked.wait(coming, valid, Duration::ZERO);
            if !valid && looked.coming.is_none() {
                self.begin(&mut looked, PATIENCE);
            }
        }
        looked.warning.clone()
    }

    /// Looks, on a thread of its own, which is in the network namespace of this one.
    fn begin(&self, looked: &mut Looked, patience: Duration) {
        let (served, look) = (self.served.clone(), self.look);
        let (told, coming) = mpsc::channel();
        let thread = thread::Builder::new().name("netfilter".into());
        // Nobody may want it any more.
        let begun = thread.spawn(move || drop(told.send(look(&served))));
        match begun {
            Ok(_) => looked.wait(coming, true, patience),
            Err(error) => tracing::warn!(%error, "no thread to look at the rules of netfilter"),
        }
    }
}

impl Looked {
    fn wait(&mut self, coming: Receiver<Option<String>>, valid: bool, patience: Duration) {
        match coming.recv_timeout(patience) {
            Err(RecvTimeoutError::Timeout) => self.coming = Some((coming, valid)),
            Ok(warning) if valid => {
                self.when = Some(Instant::now());
                self.warning = warning;
            }
            Ok(_) => {}
            // It panicked, which stands in the log.
            Err(RecvTimeoutError::Disconnected) => self.when = Some(Instant::now()),
        }
    }
}

fn look(served: &Served) -> Option<String> {
    let Some(nft) = NFT.into_iter().find(|path| Path::new(path).exists()) else {
        let tracked = std::fs::read_to_string(TRACKED).ok()?;
        return (tracked.trim() != "0").then(|| {
            "this machine tracks connections, and whether rules on services are stateful cannot be seen: \
             install nft (package nftables)"
                .to_owned()
        });
    };
    // Without what is in sets: they may be very long.
    let unseen = |why| Some(format!("{why}, so stateful rules are not seen"));
    let parts = match list(nft, &["--terse", "list", "ruleset"]) {
        Ok(parts) => parts,
        Err(why) => return unseen(why),
    };
    let mut exempting = Vec::new();
    for (family, table) in exempting_tables(&parts) {
        match list(nft, &["list", "table", family, table]) {
            Ok(parts) => exempting.push(parts),
            Err(why) => return unseen(why),
        }
    }
    let tracked = [("ip", true), ("ip6", false)]
        .map(|(family, four)| stateful(&parts, family).map(|rule| (rule, four)));
    let tracked: Vec<_> = tracked.into_iter().flatten().collect();
    let left: Vec<_> = served
        .iter()
        .filter_map(|one| {
            let (rule, _) = tracked.iter().find(|(_, four)| *four == one.0.is_ipv4())?;
            let address = Value::String(one.0.to_string());
            let exempt = exempting.iter().flatten().any(|part| holds(part, &address));
            (!exempt).then_some((rule, one))
        })
        .collect();
    let (rule, _) = left.first()?;
    let left: Vec<_> = left.iter().map(|(_, one)| *one).collect();
    Some(format!(
        "netfilter tracks connections ({rule}), but sees only a part of each flow that Weir forwards, and \
         takes it for invalid; exempt the services: {}",
        mend(&left)
    ))
}

/// What nft tells as JSON.
fn list(nft: &str, what: &[&str]) -> Result<Vec<Value>, String> {
    let failed = || format!("`{nft} -j {}` fails", what.join(" "));
    let mut child = Command::new(nft)
        .arg("-j")
        .args(what)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|_| failed())?;
    let mut text = Vec::new();
    let out = child.stdout.take().expect("it is piped");
    let read = out.take(LONGEST + 1).read_to_end(&mut text);
    let long = text.len() as u64 > LONGEST;
    if long {
        // Nobody reads what else it has to tell.
        let _ = child.kill();
    }
    let ended = child.wait();
    if long {
        return Err(format!(
            "`{nft} -j {}` tells more than {} MiB",
            what.join(" "),
            LONGEST >> 20
        ));
    }
    if read.is_err() || !ended.is_ok_and(|status| status.success()) {
        return Err(failed());
    }
    let mut told: Value = serde_json::from_slice(&text).map_err(|_| failed())?;
    match told["nftables"].take() {
        Value::Array(parts) => Ok(parts),
        _ => Err(failed()),
    }
}

/// Where forwarded packets of a family (`ip`, `ip6`) meet a stateful rule.
fn stateful(parts: &[Value], family: &str) -> Option<String> {
    let others = ["ip", "ip6"].into_iter().find(|other| *other != family);
    let hooked = parts.iter().filter_map(|part| {
        let chain = &part["chain"];
        let hook = chain["hook"].as_str()?;
        (HOOKS.contains(&hook) && chain["family"].as_str() != others).then_some(chain)
    });
    for chain in hooked {
        let rules = |name: &str| {
            let rules = parts.iter().map(|part| &part["rule"]);
            let same = |rule: &&Value| {
                let same = ["family", "table"]
                    .iter()
                    .all(|key| rule[key] == chain[key]);
                same && rule["chain"] == name
            };
            rules.filter(same).map(|rule| &rule["expr"]).collect()
        };
        let first = chain["name"].as_str()?;
        let mut seen = BTreeSet::from([first]);
        let mut next = vec![first];
        while let Some(name) = next.pop() {
            let rules: Vec<&Value> = rules(name);
            if rules.iter().any(|rule| asks_state(rule)) {
                let word = |value: &Value| value.as_str().unwrap_or("?").to_owned();
                let (family, table) = (word(&chain["family"]), word(&chain["table"]));
                return Some(format!("chain {family} {table} {name}"));
            }
            let mut targets = Vec::new();
            for rule in rules {
                jumps(rule, &mut targets);
            }
            next.extend(targets.into_iter().filter(|target| seen.insert(target)));
        }
    }
    None
}

/// The chains that a rule leads to.
fn jumps<'a>(expression: &'a Value, targets: &mut Vec<&'a str>) {
    match expression {
        Value::Array(parts) => {
            for part in parts {
                jumps(part, targets);
            }
        }
        Value::Object(members) => {
            for (key, value) in members {
                if matches!(key.as_str(), "jump" | "goto") {
                    targets.extend(value["target"].as_str());
                }
                jumps(value, targets);
            }
        }
        _ => {}
    }
}

/// The tables that exempt packets from tracking, each by family and name.
fn exempting_tables(parts: &[Value]) -> BTreeSet<(&str, &str)> {
    let rules = parts.iter().map(|part| &part["rule"]);
    rules
        .filter(|rule| holds_key(&rule["expr"], "notrack"))
        .filter_map(|rule| Some((rule["family"].as_str()?, rule["table"].as_str()?)))
        .collect()
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
    let names = ["conntrack", "state", "MASQUERADE", "SNAT", "DNAT"];
    value["name"]
        .as_str()
        .is_some_and(|name| names.contains(&name))
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

/// Whether a table names the address, in a rule or a set.
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// Whoever looks waits for it.
    static GATE: Mutex<()> = Mutex::new(());

    #[test]
    fn nobody_waits_for_rules_that_take_long_to_tell() {
        let gate = || GATE.lock().unwrap_or_else(PoisonError::into_inner);
        let look = |served: &Served| {
            drop(GATE.lock().unwrap_or_else(PoisonError::into_inner));
            Some(format!("{} served", served.len()))
        };
        let served = (IpAddr::from([192, 0, 2, 10]), vec![443]);
        let mut netfilter = Netfilter {
            served: vec![served.clone()],
            look,
            ..Netfilter::default()
        };
        let told = |netfilter: &Netfilter| {
            loop {
                if let Some(warning) = netfilter.warning() {
                    return warning;
                }
                thread::yield_now();
            }
        };
        let held = gate();
        assert_eq!(netfilter.warning(), None);
        assert_eq!(netfilter.warning(), None);
        drop(held);
        assert_eq!(told(&netfilter), "1 served");

        // What was begun for other services is not told.
        netfilter.set_services(&[]);
        netfilter.served = vec![served.clone()];
        let held = gate();
        assert_eq!(netfilter.warning(), None);
        netfilter.set_services(&[]);
        netfilter.served = vec![served.clone(), served];
        assert_eq!(netfilter.warning(), None);
        drop(held);
        assert_eq!(told(&netfilter), "2 served");
    }
}

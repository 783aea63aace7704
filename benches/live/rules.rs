//! The same job in the words of nftables, and of ipset with iptables.

use std::fmt::Write as _;
use std::net::IpAddr;

use weir_abi::{Class, Verdict};

use super::{Range, ranges};
use crate::replay::Lists;

/// What is done with a frame for a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The kernel forwards it.
    Forward,
    /// It is marked, and goes to a transparent listener.
    Proxy,
    /// It is dropped, and counted.
    Drop,
}

/// A service as filters see it, with the sources that are listed.
#[derive(Clone, Debug)]
pub struct Door {
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// On which ports.
    pub ports: Vec<u16>,
    actions: [Action; Class::COUNT],
    ranges: [Vec<Range>; 2],
}

/// Where the peers' transparent listener is.
const LISTENER: u16 = 8443;
/// What marks packets for it.
const MARK: u32 = 1;

impl Action {
    /// What stands for a verdict here: a refusal is a drop, and what is let pass is forwarded.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass | Verdict::Forward => Self::Forward,
            Verdict::Proxy => Self::Proxy,
            Verdict::Drop | Verdict::Reject => Self::Drop,
        }
    }
}

impl Door {
    /// Of a service at these places, with its verdict for each class.
    pub fn new(
        addresses: Vec<IpAddr>,
        ports: Vec<u16>,
        verdicts: [Verdict; Class::COUNT],
        lists: &Lists,
    ) -> Self {
        let of_family = |six| {
            let is_served = addresses.iter().any(|address| address.is_ipv6() == six);
            if is_served {
                ranges(lists, six)
            } else {
                Vec::new()
            }
        };
        Self {
            ranges: [false, true].map(of_family),
            addresses,
            ports,
            actions: verdicts.map(Action::of),
        }
    }

    /// What is done with a class.
    pub fn action(&self, class: Class) -> Action {
        self.actions[class as usize]
    }

    /// Port and mark of the transparent listener that the peers' rules speak of.
    pub fn listener() -> (u16, u32) {
        (LISTENER, MARK)
    }

    /// Rules for `nft -f`. One lookup for each frame, in a map with intervals: that is the cheapest that nftables
    /// has. What is dropped is counted as `blocked`.
    pub fn nft(&self) -> String {
        let mut text = String::from(
            "table inet peer {\n counter blocked { }\n chain gone {\n  counter name blocked drop\n }\n",
        );
        let mut doors = String::new();
        for (ip, kind, local, six) in [
            ("ip", "ipv4_addr", "127.0.0.1", false),
            ("ip6", "ipv6_addr", "[::1]", true),
        ] {
            let Some(places) = self.places(six) else {
                continue;
            };
            let _ = writeln!(
                text,
                " chain proxied_{ip} {{\n  meta l4proto tcp tproxy {ip} to {local}:{LISTENER} meta mark set {MARK} \
                 accept\n }}"
            );
            let action = |action| match action {
                Action::Forward => "accept".to_owned(),
                Action::Proxy => format!("goto proxied_{ip}"),
                Action::Drop => "goto gone".to_owned(),
            };
            let _ = writeln!(
                text,
                " map classes_{ip} {{\n  type {kind} : verdict; flags interval"
            );
            let mut open = false;
            for range in self.listed(six) {
                text.push_str(if open { ",\n" } else { "  elements = {\n" });
                open = true;
                let _ = write!(text, "{}", range.first);
                if range.first != range.last {
                    let _ = write!(text, "-{}", range.last);
                }
                let _ = write!(text, " : {}", action(self.action(range.class)));
            }
            text.push_str(if open { "\n  }\n }\n" } else { " }\n" });
            let _ = writeln!(
                text,
                " chain sources_{ip} {{\n  {ip} saddr vmap @classes_{ip}\n  {}\n }}",
                action(self.action(Class::Unmanaged)),
            );
            let _ = writeln!(
                doors,
                "  {ip} daddr {} tcp dport {} goto sources_{ip}",
                one_or_set(&places),
                one_or_set(&self.ports),
            );
        }
        let _ = writeln!(
            text,
            " chain door {{\n  type filter hook prerouting priority mangle; policy accept;\n{doors} }}\n}}"
        );
        text
    }

    /// Sets for `ipset restore`: one for each action that listed sources have.
    pub fn ipset(&self) -> String {
        let mut text = String::new();
        for six in [false, true] {
            for (name, action) in self.sets(six) {
                let prefixes: Vec<_> = self
                    .listed(six)
                    .filter(|range| self.action(range.class) == action)
                    .flat_map(Range::prefixes)
                    .collect();
                let room = prefixes.len().next_power_of_two().max(1024);
                let family = if six { "inet6" } else { "inet" };
                let _ = writeln!(
                    text,
                    "create {name} hash:net family {family} hashsize {room} maxelem {room}"
                );
                for prefix in prefixes {
                    let _ = writeln!(text, "add {name} {prefix}");
                }
            }
        }
        text
    }

    /// Rules for `iptables-restore`, or `ip6tables-restore`; nothing where no service has an address of the family.
    pub fn iptables(&self, six: bool) -> Option<String> {
        let local = if six { "::1" } else { "127.0.0.1" };
        let mut text = String::from("*mangle\n:PEER - [0:0]\n");
        for place in self.places(six)? {
            for port in &self.ports {
                let _ = writeln!(
                    text,
                    "-A PREROUTING -p tcp -d {place} --dport {port} -j PEER"
                );
            }
        }
        let target = |action| match action {
            Action::Forward => "ACCEPT".to_owned(),
            Action::Proxy => {
                format!("TPROXY --on-ip {local} --on-port {LISTENER} --tproxy-mark {MARK}")
            }
            Action::Drop => "DROP".to_owned(),
        };
        for (name, action) in self.sets(six) {
            let _ = writeln!(
                text,
                "-A PEER -p tcp -m set --match-set {name} src -j {}",
                target(action)
            );
        }
        let rest = target(self.action(Class::Unmanaged));
        let _ = writeln!(text, "-A PEER -p tcp -j {rest}\nCOMMIT");
        Some(text)
    }

    /// Listed sources with which something else is done than with those on no list.
    fn listed(&self, six: bool) -> impl Iterator<Item = &Range> {
        let rest = self.action(Class::Unmanaged);
        self.ranges[usize::from(six)]
            .iter()
            .filter(move |range| self.action(range.class) != rest)
    }

    /// The sets that rules ask, in their order.
    fn sets(&self, six: bool) -> Vec<(&'static str, Action)> {
        let names = if six {
            ["dropped6", "forwarded6", "proxied6"]
        } else {
            ["dropped4", "forwarded4", "proxied4"]
        };
        let actions = [Action::Drop, Action::Forward, Action::Proxy];
        let all = names.into_iter().zip(actions);
        all.filter(|(_, action)| {
            self.listed(six)
                .any(|range| self.action(range.class) == *action)
        })
        .collect()
    }

    /// Its addresses of a family.
    fn places(&self, six: bool) -> Option<Vec<IpAddr>> {
        let own = self.addresses.iter().copied();
        let own: Vec<IpAddr> = own.filter(|address| address.is_ipv6() == six).collect();
        (!own.is_empty()).then_some(own)
    }
}

fn one_or_set(all: &[impl ToString]) -> String {
    let all: Vec<String> = all.iter().map(ToString::to_string).collect();
    match all.as_slice() {
        [one] => one.clone(),
        all => format!("{{ {} }}", all.join(", ")),
    }
}

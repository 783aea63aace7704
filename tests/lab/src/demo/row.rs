//! A row of the demonstration: who does what, what must come of it, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::capture::Opened;
use super::chromium::Visit;
use super::curl::Call;
use super::msal::SignIn;
use super::turn::Turn;
use super::walk::Walk;
use super::witness::Seen;
use crate::settings::Hook;
use crate::sources::{Class, Family};
use crate::topology::Firewall;
use crate::weir::{Counter, Event};

/// What is done, by whom, and what must come of it.
#[derive(Debug)]
pub struct Row {
    /// `HOUSE/CLIENT/WHAT/SERVICE/CLASS/FAMILY`; unique.
    pub name: String,
    /// Where the client connects from.
    pub class: Class,
    /// What the kernel has to take its address for: another class where a sign-in earned that.
    pub taken_for: Class,
    /// Which of its addresses.
    pub family: Family,
    /// Service that it signs in to.
    pub service: &'static str,
    /// Program.
    pub client: &'static str,
    /// What it does, in words.
    pub what: String,
    /// How it is done.
    pub act: Act,
    /// What must come of it, written by hand from the default policy.
    pub expected: Verdict,
    /// Audit events of other flow kinds are left out of [`Verdict::by`] (a browser also asks for pictures); empty: none.
    pub flows: &'static [&'static str],
    /// The client's port, where it is chosen by the row.
    pub port: Option<u16>,
    /// What happens before it is done.
    pub turns: Vec<Turn>,
}

/// The ports that rows choose, below those that the kernel chooses: so a packet tells whose it is.
pub const PORTS: std::ops::Range<u16> = 20_000..21_000;

/// How a row is done.
#[derive(Debug)]
pub enum Act {
    /// One request by curl.
    Curl(Call),
    /// The same request by curl with a browser's cookies, until it is not redirected any more.
    Round(Call),
    /// Several requests by curl, each when the one before is answered; the last one counts.
    Several(Vec<Call>),
    /// A whole sign-in by curl, as in a browser.
    Walk(Box<Walk>),
    /// A sign-in by msal.
    Msal(SignIn),
    /// A sign-in in a browser.
    Chromium(Visit),
    /// Datagrams to the service's address, as QUIC would send.
    Datagrams,
    /// A token of a user, changed in one byte, posted to the relying party.
    FlippedByte,
}

/// What came of a row, or must.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What the client got, in words.
    pub outcome: String,
    /// Who decided, in order, without repetitions.
    pub by: Vec<Decider>,
}

/// Who decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decider {
    /// The kernel plane: packets of this source were counted with a verdict that it carried out.
    Kernel {
        /// forward, drop, reject.
        verdict: String,
        /// What it followed from: the class of the source, or a rule for all of them.
        reason: String,
        /// The hook that counted it: `xdp` or `tcx`.
        hook: String,
    },
    /// The proxy plane: an audit event of this source.
    Proxy {
        /// pass, redirect, block, refuse.
        decision: String,
        /// `SET/NAME`.
        rule: String,
    },
    /// The router's own firewall: it let the packets through (`accept`), or refused them (`drop`).
    Firewall(&'static str),
}

/// What the planes say of the time in which a row was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evidence {
    /// Audit events of the row's source, and of the reverse proxy that acted for it.
    pub events: Vec<Event>,
    /// What the kernel counted more than before, all classes and reasons of the row's service.
    pub counters: Vec<Counter>,
    /// What the router's firewall counted more than before.
    pub firewall: Firewall,
    /// What others than Weir saw.
    #[serde(flatten)]
    pub seen: Seen,
}

/// A row that was done.
#[derive(Debug, Serialize)]
pub struct Done {
    /// [`Row::name`].
    pub name: String,
    /// The house it was done in.
    pub house: &'static str,
    /// Where the kernel plane had to decide.
    pub hook: Hook,
    /// Class of the source.
    pub class: Class,
    /// Its address.
    pub address: IpAddr,
    /// Program.
    pub client: &'static str,
    /// Service.
    pub service: &'static str,
    /// What it did.
    pub what: String,
    /// What had to come of it.
    pub expected: Verdict,
    /// What came of it.
    pub got: Verdict,
    /// Whether the two are the same, and nobody saw anything else.
    pub ok: bool,
    /// Packets of the source to the service, by the kernel's verdict.
    pub packets: BTreeMap<String, u64>,
    /// What the deciders were read from.
    pub evidence: Evidence,
    /// Where the screenshot is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<std::path::PathBuf>,
    /// What went wrong while it was done, and other remarks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// How long the client took, in milliseconds.
    pub took_ms: u64,
}

impl Row {
    /// The client's address.
    pub fn address(&self) -> IpAddr {
        self.class.source().address(self.family)
    }

    /// Whether it was the row's client that opened this connection.
    pub fn sent(&self, opened: &Opened) -> bool {
        let port = opened.from.port();
        let fits = match self.port {
            Some(own) => own == port,
            None => !PORTS.contains(&port),
        };
        fits && opened.from.ip() == self.address()
    }
}

impl Verdict {
    /// What must come of a row.
    pub fn new(outcome: impl Into<String>, by: Vec<Decider>) -> Self {
        Self {
            outcome: outcome.into(),
            by,
        }
    }
}

impl Decider {
    /// The kernel forwarded, by the class of the source.
    pub fn forward() -> Self {
        Self::kernel("forward", "class")
    }

    /// The kernel dropped, by the class of the source.
    pub fn drop() -> Self {
        Self::kernel("drop", "class")
    }

    /// The kernel plane.
    pub fn kernel(verdict: &str, reason: &str) -> Self {
        Self::at(verdict, reason, Hook::Tcx.name())
    }

    fn at(verdict: &str, reason: &str, hook: &str) -> Self {
        Self::Kernel {
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            hook: hook.to_owned(),
        }
    }

    /// The same decision, made by the kernel at that hook; what the proxy or the firewall decides knows none.
    pub fn under(&mut self, by: Hook) {
        if let Self::Kernel { hook, .. } = self {
            by.name().clone_into(hook);
        }
    }

    /// The proxy let it pass.
    pub fn pass(rule: &str) -> Self {
        Self::proxy("pass", rule)
    }

    /// The proxy answered in the service's place.
    pub fn block(rule: &str) -> Self {
        Self::proxy("block", rule)
    }

    /// The proxy sent it to the reverse proxy.
    pub fn redirect(rule: &str) -> Self {
        Self::proxy("redirect", rule)
    }

    /// The proxy had the sign-in server asked for a second factor.
    pub fn step_up(rule: &str) -> Self {
        Self::proxy("step-up", rule)
    }

    /// The router's firewall, which is not Weir's.
    pub const fn firewall(verdict: &'static str) -> Self {
        Self::Firewall(verdict)
    }

    /// Whether the proxy let something pass.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Proxy { decision, .. } if decision == "pass")
    }

    /// Whether the kernel forwarded something.
    pub fn forwards(&self) -> bool {
        matches!(self, Self::Kernel { verdict, .. } if verdict == "forward")
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Kernel {
                verdict,
                reason,
                hook,
            } => format!("kernel {hook} {verdict} by {reason}"),
            Self::Proxy { decision, rule } => format!("proxy {decision} {rule}"),
            Self::Firewall(verdict) => format!("firewall {verdict}"),
        }
    }

    fn proxy(decision: &str, rule: &str) -> Self {
        Self::Proxy {
            decision: decision.to_owned(),
            rule: rule.to_owned(),
        }
    }
}

impl Evidence {
    /// Who decided a row of `class`; with `flows`, only events of these flow kinds count.
    pub fn deciders(&self, class: Class, flows: &[&str]) -> Vec<Decider> {
        let mut by = Vec::new();
        let mut counters: Vec<&Counter> = self
            .counters
            .iter()
            .filter(|counter| counter.class == class.word())
            // What the service answers to a forwarded client follows from the same decision.
            .filter(|counter| {
                matches!(counter.verdict.as_str(), "forward" | "drop" | "reject")
                    && counter.reason != "answer"
            })
            .collect();
        // Where a decision was counted at both hooks, the one that saw most of it is named: the first packet to a
        // neighbour that is not known yet goes another way.
        counters.sort_by_key(|counter| std::cmp::Reverse(counter.packets));
        let mut named = BTreeSet::new();
        for counter in counters {
            if named.insert((&counter.verdict, &counter.reason)) {
                by.push(Decider::at(
                    &counter.verdict,
                    &counter.reason,
                    &counter.hook,
                ));
            }
        }
        for event in &self.events {
            let flow = event.flow.as_deref().unwrap_or_default();
            let decider = Decider::proxy(&event.decision, &event.rule);
            if (flows.is_empty() || flows.contains(&flow)) && !by.contains(&decider) {
                by.push(decider);
            }
        }
        if self.firewall.other_ports > 0 {
            by.push(Decider::firewall("accept"));
        }
        // A stray packet of a row that Weir decided is no decision.
        if by.is_empty() && self.firewall.refused > 0 {
            by.push(Decider::firewall("drop"));
        }
        by
    }

    /// Packets of `class` to the row's service, by verdict.
    pub fn packets(&self, class: Class) -> BTreeMap<String, u64> {
        let mut packets = BTreeMap::new();
        for counter in self
            .counters
            .iter()
            .filter(|counter| counter.class == class.word())
        {
            *packets.entry(counter.verdict.clone()).or_default() += counter.packets;
        }
        packets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(class: &str, verdict: &str, packets: u64) -> Counter {
        Counter {
            service: "sts".into(),
            class: class.into(),
            verdict: verdict.into(),
            reason: "class".into(),
            hook: "tcx".into(),
            packets,
        }
    }

    fn event(flow: &str, decision: &str, rule: &str) -> Event {
        let event = serde_json::json!({
            "seq": 1, "time": "", "kind": "request", "flow": flow, "decision": decision, "rule": rule,
        });
        serde_json::from_value(event).expect("these are all it needs")
    }

    #[test]
    fn packets_handed_to_the_proxy_do_not_say_what_it_decided() {
        let evidence = Evidence {
            counters: vec![
                counter("unmanaged", "proxy", 12),
                counter("managed", "forward", 3),
            ],
            ..Evidence::default()
        };
        assert_eq!(evidence.deciders(Class::Unmanaged, &[]), []);
        assert_eq!(evidence.deciders(Class::Managed, &[]), [Decider::forward()]);
    }

    #[test]
    fn events_of_other_flows_and_repetitions_are_left_out() {
        let evidence = Evidence {
            events: vec![
                event("passive", "redirect", "set/browser"),
                event("asset", "pass", "set/assets"),
                event("passive", "redirect", "set/browser"),
            ],
            ..Evidence::default()
        };
        let redirect = Decider::redirect("set/browser");
        let passive = evidence.deciders(Class::Unmanaged, &["passive"]);
        assert_eq!(passive, std::slice::from_ref(&redirect));
        assert_eq!(
            evidence.deciders(Class::Unmanaged, &[]),
            [redirect, Decider::pass("set/assets")]
        );
    }
}

//! What is said about a replay: on the terminal, and as JSON.

use std::collections::BTreeMap;

use serde_json::json;
use time::UtcDateTime;
use weir_abi::{Class, Verdict};
use weir_benches::replay::{Amount, Judged, Side, Told};
use weir_policy::DecisionKind;

use super::judge::Differences;
use super::{Outcome, Setting};
use crate::report::{Report, thousands};

/// What is decided when the server has answered.
const AT_TOKEN: &str = "at token";
/// Sources that are named.
const TOP: usize = 10;

/// What the proxy decides about requests.
#[derive(Debug, Default)]
pub struct Decided {
    /// Requests by the class of their source, who asks, what is asked and what is decided. Nothing where nobody
    /// knows the requests, since they are encrypted.
    pub requests: Option<BTreeMap<[&'static str; 4], u64>>,
    /// Requests on connections that the kernel forwards: nobody looks at them.
    pub forwarded: u64,
    /// Requests that never come, since the kernel drops or refuses their connections.
    pub never: u64,
}

impl Decided {
    /// Asks policy about each request whose connection is the proxy's.
    pub fn of(setting: &Setting) -> Self {
        let Some(requests) = &setting.traffic.requests else {
            return Self::default();
        };
        let moment = UtcDateTime::now();
        let mut decided = Self::default();
        let mut counts = BTreeMap::new();
        for request in requests {
            let Some(service) = setting.services.numbered(request.service) else {
                continue;
            };
            let class = setting.lists.class(request.source);
            match service.spec.verdicts[class as usize] {
                Verdict::Forward | Verdict::Pass => decided.forwarded += 1,
                Verdict::Drop | Verdict::Reject => decided.never += 1,
                Verdict::Proxy => {
                    let judged = request.judge(service, &setting.lists, moment);
                    let words = judged.map_or(["server", "other", "block"], |judged| {
                        [
                            judged.client.name(),
                            judged.flow.name(),
                            judged.decision.map_or(AT_TOKEN, DecisionKind::name),
                        ]
                    });
                    let [client, flow, decision] = words;
                    *counts
                        .entry([class.name(), client, flow, decision])
                        .or_insert(0_u64) += 1;
                }
            }
        }
        decided.requests = Some(counts);
        decided
    }

    /// Requests with this decision.
    pub fn sum(&self, decision: &str) -> Option<u64> {
        let requests = self.requests.as_ref()?.iter();
        let of_decision = requests.filter(|([.., made], _)| *made == decision);
        Some(of_decision.map(|(_, count)| count).sum())
    }
}

/// What becomes of frames, in words for people.
const FATES: [(&str, Fate); 7] = [
    ("forwarded", |side, judged| {
        side == Side::Outside && judged.is_some_and(|j| j.verdict == Verdict::Forward)
    }),
    ("steered to the proxy", |side, judged| {
        side == Side::Outside && judged.is_some_and(|j| j.verdict == Verdict::Proxy)
    }),
    ("dropped", |side, judged| {
        side == Side::Outside && judged.is_some_and(|j| j.verdict == Verdict::Drop)
    }),
    ("rejected", |side, judged| {
        side == Side::Outside && judged.is_some_and(|j| j.verdict == Verdict::Reject)
    }),
    ("left to the system", |side, judged| {
        side == Side::Outside && judged.is_some_and(|j| j.verdict == Verdict::Pass)
    }),
    ("not a service's", |side, judged| {
        side == Side::Outside && judged.is_none()
    }),
    ("answers of services", |side, _| side == Side::Inside),
];

type Fate = fn(Side, Option<Judged>) -> bool;

/// What became of all frames, by what people call it.
pub fn fates(told: &Told) -> Vec<(&'static str, Amount)> {
    FATES
        .iter()
        .map(|(name, which)| (*name, told.sum(which)))
        .collect()
}

/// Says what was judged.
pub fn print(outcome: &Outcome, differences: &Differences) {
    let Outcome { setting, told, .. } = outcome;
    let traffic = &setting.traffic;
    println!("\n{}", traffic.name);
    let all = told.sum(|_, _| true);
    let lasts = match traffic.files.as_slice() {
        [_] => format!(", {:.1} s", traffic.lasts().as_secs_f64()),
        _ => String::new(),
    };
    println!(
        "{} frames, {} MB{lasts}; {} flows of {} sources",
        thousands(all.packets),
        thousands(all.bytes / 1_000_000),
        thousands(all.flows),
        thousands(all.sources),
    );
    if let Some(mapping) = &traffic.mapping {
        println!("{mapping}");
    }
    for service in setting.services.iter() {
        let spec = &service.spec;
        let mut addresses: Vec<String> = spec
            .addresses
            .iter()
            .take(4)
            .map(ToString::to_string)
            .collect();
        if spec.addresses.len() > 4 {
            addresses.push(format!("and {} more", spec.addresses.len() - 4));
        }
        println!(
            "service {}: {} port {}",
            spec.name,
            addresses.join(", "),
            spec.ports
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        );
    }
    println!(
        "lists: {}, prefixes: {}{}",
        setting.lists.named().len(),
        thousands(setting.lists.prefixes().try_into().unwrap_or(u64::MAX)),
        if setting.made {
            ", made here; give your own with --list or --config"
        } else {
            ""
        },
    );
    println!(
        "\n{:<22} {:>10} {:>6} {:>10} {:>9} {:>9}",
        "would have been", "frames", "%", "MB", "flows", "sources"
    );
    for (name, amount) in fates(told) {
        println!("{name:<22} {}", cells(&amount, &all));
    }
    print_decided(&outcome.decided, told);
    print_rows(outcome);
    print_top(told);
    print_differences(differences);
    for note in &traffic.notes {
        println!("{note}");
    }
}

fn cells(amount: &Amount, all: &Amount) -> String {
    format!(
        "{:>10} {:>6.1} {:>10.1} {:>9} {:>9}",
        thousands(amount.packets),
        percent(amount.packets, all.packets),
        float(amount.bytes) / 1e6,
        thousands(amount.flows),
        thousands(amount.sources),
    )
}

fn print_decided(decided: &Decided, told: &Told) {
    let steered = told.sum(FATES[1].1);
    let Some(requests) = &decided.requests else {
        if steered.flows > 0 {
            println!(
                "\nOf the {} flows to the proxy, browsers would be redirected and native apps blocked, as the \
                 rules say;\nwhat each of them asks is encrypted, so how many is unknown. The audit log of the \
                 appliance tells.",
                thousands(steered.flows)
            );
        }
        return;
    };
    let sum: u64 = requests.values().sum();
    let parts: Vec<String> = ["redirect", "block", "pass", "step-up", AT_TOKEN]
        .into_iter()
        .filter_map(|decision| {
            let count = decided.sum(decision).filter(|count| *count > 0)?;
            let word = match decision {
                "redirect" => "redirected",
                "block" => "blocked",
                "pass" => "passed",
                "step-up" => "asked for multi-factor authentication",
                _ => "decided by their tokens",
            };
            Some(format!("{} {word}", thousands(count)))
        })
        .collect();
    println!(
        "\nOf {} requests that the proxy gets, by the rules: {}. {} go by in forwarded connections, {} never come.",
        thousands(sum),
        parts.join(", "),
        thousands(decided.forwarded),
        thousands(decided.never),
    );
    println!(
        "{:<10} {:<14} {:<14} {:<10} {:>9}",
        "class", "client", "flow", "decision", "requests"
    );
    for ([class, client, flow, decision], count) in requests {
        println!(
            "{class:<10} {client:<14} {flow:<14} {decision:<10} {:>9}",
            thousands(*count)
        );
    }
}

fn print_rows(outcome: &Outcome) {
    println!(
        "\n{:<8} {:<12} {:<10} {:<9} {:<11} {:>10} {:>6} {:>10} {:>9} {:>9}",
        "side", "service", "class", "verdict", "reason", "frames", "%", "MB", "flows", "sources"
    );
    let all = outcome.told.sum(|_, _| true);
    for row in outcome.told.rows() {
        let (side, service) = (side(row.side), service(&outcome.setting, row.judged));
        let [class, verdict, reason] = names(row.judged);
        println!(
            "{side:<8} {service:<12} {class:<10} {verdict:<9} {reason:<11} {}",
            cells(&row.amount, &all)
        );
    }
}

fn print_top(told: &Told) {
    println!(
        "\n{:<40} {:<10} {:<8} {:>10} {:>10} {:>9}",
        "sources that sent most", "class", "verdict", "frames", "MB", "flows"
    );
    for top in told.top(TOP) {
        println!(
            "{:<40} {:<10} {:<8} {:>10} {:>10.1} {:>9}",
            top.source.to_string(),
            top.class.map_or("-", Class::name),
            top.verdict.map_or("-", Verdict::name),
            thousands(top.packets),
            float(top.bytes) / 1e6,
            thousands(top.flows),
        );
    }
}

fn print_differences(differences: &Differences) {
    println!(
        "\n{} frames were run through the loaded programs, {} of them finished at XDP; {}",
        thousands(differences.compared),
        thousands(differences.at_xdp),
        if differences.wrong == 0 {
            "verdicts and bytes are those of the host's code".to_owned()
        } else {
            format!(
                "{} of them DIFFER from the host's code:",
                thousands(differences.wrong)
            )
        }
    );
    for shown in &differences.shown {
        println!("{shown}");
    }
    if differences.not_run > 0 {
        println!(
            "{} frames are too short or too long for a test run: the host's code alone judged them",
            thousands(differences.not_run)
        );
    }
}

/// Adds it to the report.
pub fn write(report: &mut Report, outcome: &Outcome, differences: &Differences) {
    let Outcome {
        setting,
        told,
        decided,
        ..
    } = outcome;
    let traffic = &setting.traffic;
    let all = told.sum(|_, _| true);
    report.row(json!({
        "traffic": traffic.name,
        "files": traffic.files,
        "mapping": traffic.mapping.as_ref().map(ToString::to_string),
        "seconds": traffic.lasts().as_secs_f64(),
        "lists": setting.lists.named().len(),
        "prefixes": setting.lists.prefixes(),
        "services": setting.services.specs().iter().map(|spec| json!({
            "name": spec.name, "addresses": spec.addresses, "ports": spec.ports,
        })).collect::<Vec<_>>(),
        "all": amount(&all),
        "compared": differences.compared,
        "finished_at_xdp": differences.at_xdp,
        "not_run": differences.not_run,
        "differences": differences.wrong,
        "notes": traffic.notes,
    }));
    for (name, fate) in fates(told) {
        report.row(json!({ "would_have_been": name, "amount": amount(&fate) }));
    }
    for row in told.rows() {
        let [class, verdict, reason] = names(row.judged);
        report.row(json!({
            "side": side(row.side), "service": service(setting, row.judged), "class": class, "verdict": verdict, "reason": reason,
            "amount": amount(&row.amount),
        }));
    }
    for ([class, client, flow, decision], count) in decided.requests.iter().flatten() {
        report.row(json!({
            "class": class, "client": client, "flow": flow, "decision": decision, "requests": count,
        }));
    }
    for top in told.top(TOP) {
        report.row(json!({
            "source": top.source, "class": top.class.map(Class::name),
            "verdict": top.verdict.map(Verdict::name),
            "packets": top.packets, "bytes": top.bytes, "flows": top.flows,
        }));
    }
    if decided.requests.is_none() {
        report.note(
            "What is asked inside TLS is not in a capture: of what goes to the proxy, browsers would be \
             redirected and native apps blocked as the rules say, but how many is unknown.",
        );
    }
}

fn amount(amount: &Amount) -> serde_json::Value {
    json!({
        "packets": amount.packets, "bytes": amount.bytes,
        "flows": amount.flows, "sources": amount.sources,
    })
}

fn names(judged: Option<Judged>) -> [&'static str; 3] {
    judged.map_or(["-", "untouched", "-"], |judged| {
        [
            judged.class.name(),
            judged.verdict.name(),
            judged.reason.name(),
        ]
    })
}

/// The service's name; a dash where none is concerned.
fn service(setting: &Setting, judged: Option<Judged>) -> &str {
    let service = judged.and_then(|judged| setting.services.numbered(judged.service));
    service.map_or("-", |service| &service.spec.name)
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Outside => "outside",
        Side::Inside => "inside",
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * float(part) / float(whole.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn float(number: u64) -> f64 {
    number as f64
}

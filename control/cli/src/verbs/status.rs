//! `weir status`: the state of the appliance on one screen.

use std::io::Write;

use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weir_abi::{Class, Verdict};
use weir_api::{KernelStatus, Outcome, ProxyState, ProxyStatus, ServiceStatus, Status as State};

use super::lists;
use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, age, clean, columns, count, moment, wrap};

/// Columns of a terminal that is not asked for its size: everything fits into it.
const WIDTH: usize = 80;

/// Shows what is in force, whether both planes work, and what to look at.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir status")]
pub struct Status {}

impl Status {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let answer = client.get::<State>("/v1/status").await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        let state = answer.value;
        tell_warnings(out, &state)?;
        tell_planes(out, &state)?;
        tell_services(out, &state.services)?;
        if !state.lists.is_empty() {
            writeln!(out)?;
            for row in lists::rows(out, &state.lists) {
                writeln!(out, "{row}")?;
            }
        }
        Ok(())
    }
}

fn tell_warnings(out: &mut Out, state: &State) -> Result<(), Failed> {
    let mark = out.paint(Colour::Bad, "!");
    for warning in &state.warnings {
        for (number, line) in wrap(&clean(warning), WIDTH - 2).iter().enumerate() {
            let mark = if number == 0 { &mark } else { " " };
            writeln!(out, "{mark} {line}")?;
        }
    }
    if !state.warnings.is_empty() {
        writeln!(out)?;
    }
    Ok(())
}

fn tell_planes(out: &mut Out, state: &State) -> Result<(), Failed> {
    let mut rows = in_force(out, state);
    rows.extend(proxy(out, &state.proxy));
    rows.extend(kernel(out, &state.kernel));
    for row in columns(&rows) {
        writeln!(out, "{row}")?;
    }
    Ok(())
}

fn row(out: &Out, name: &str, text: String) -> Vec<String> {
    vec![out.paint(Colour::Head, name), text]
}

fn in_force(out: &Out, state: &State) -> Vec<Vec<String>> {
    let weir = format!(
        "{}, generation {}, up {} (version {})",
        clean(&state.appliance),
        state.generation,
        since(&state.started),
        clean(&state.version)
    );
    let digest = state
        .config
        .digest
        .get(..12)
        .unwrap_or(&state.config.digest);
    let read = format!(
        "read {} UTC, sha256 {}...",
        moment(&state.config.loaded),
        clean(digest)
    );
    let last = &state.last_reload;
    let outcome = match last.outcome {
        Outcome::Done => out.paint(Colour::Good, "done"),
        Outcome::Refused => out.paint(Colour::Bad, "refused"),
    };
    let (action, who) = (clean(&last.action), clean(&last.who));
    let change = format!("{} UTC, {action} by {who}: {outcome}", moment(&last.time));
    vec![
        row(out, "weir", weir),
        row(out, "config", clean(&state.config.path)),
        row(out, "", read),
        row(out, "change", change),
    ]
}

fn proxy(out: &Out, proxy: &ProxyStatus) -> Vec<Vec<String>> {
    let mut words = vec![match proxy.state {
        ProxyState::Alive => out.paint(Colour::Good, "alive"),
        ProxyState::Silent => out.paint(Colour::Bad, "silent"),
        ProxyState::Gone => out.paint(Colour::Bad, "gone"),
    }];
    words.extend(proxy.pid.map(|pid| format!("pid {pid}")));
    match proxy.generation {
        Some(generation) => words.push(format!("works with generation {generation}")),
        None if proxy.pid.is_some() => words.push("works with no generation yet".to_owned()),
        None => {}
    }
    if proxy.fail_mode {
        words.push(out.paint(Colour::Bad, "ITS CLASSES ARE REJECTED"));
    }
    let mut rows = vec![row(out, "proxy", words.join(", "))];
    if proxy.pid.is_some() {
        let counts = &proxy.counts;
        let connections = format!(
            "{} open of {} connections, {} requests, {} tunnelled,",
            count(counts.open),
            count(counts.accepted),
            count(counts.requests),
            count(counts.tunnelled),
        );
        let failures = format!(
            "{} refused, {} failed handshakes",
            count(counts.refused),
            count(counts.handshakes_failed)
        );
        rows.extend([row(out, "", connections), row(out, "", failures)]);
    }
    rows
}

fn kernel(out: &Out, kernel: &KernelStatus) -> Vec<Vec<String>> {
    if kernel.hooks.is_empty() {
        return vec![row(out, "kernel", "attached to no interface".to_owned())];
    }
    let mut rows = Vec::new();
    for (number, hook) in kernel.hooks.iter().enumerate() {
        let name = if number == 0 { "kernel" } else { "" };
        let program = hook
            .program
            .map(|id| format!(", program {id}"))
            .unwrap_or_default();
        let (side, interface, kind) =
            (clean(&hook.side), clean(&hook.interface), clean(&hook.hook));
        rows.push(row(
            out,
            name,
            format!("{side} {interface}: {kind}{program}"),
        ));
        let next = kernel.hooks.get(number + 1);
        if next.is_none_or(|next| next.why != hook.why) {
            let why = wrap(&clean(&hook.why), WIDTH - 12);
            rows.extend(why.iter().map(|line| row(out, "", format!("  {line}"))));
        }
    }
    rows
}

fn tell_services(out: &mut Out, services: &[ServiceStatus]) -> Result<(), Failed> {
    const CLASSES: [Class; Class::COUNT] = [
        Class::Managed,
        Class::Bypass,
        Class::Relay,
        Class::Unmanaged,
        Class::Blocked,
    ];
    let mut head = vec![out.paint(Colour::Head, "SERVICE")];
    head.extend(CLASSES.map(|class| out.paint(Colour::Head, &class.name().to_uppercase())));
    let mut rows = vec![head];
    for service in services {
        let mut row = vec![clean(&service.name)];
        row.extend(CLASSES.map(|class| {
            let verdict = service.verdicts.iter().find(|(of, _)| *of == class);
            verdict.map_or_else(
                || "-".to_owned(),
                |(_, verdict)| out.paint(verdict_colour(*verdict), verdict.name()),
            )
        }));
        rows.push(row);
    }
    writeln!(out)?;
    let mut lines = columns(&rows).into_iter();
    if let Some(head) = lines.next() {
        writeln!(out, "{head}")?;
    }
    for (line, service) in lines.zip(services) {
        writeln!(out, "{line}")?;
        let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
        let ports: Vec<_> = service.ports.iter().map(ToString::to_string).collect();
        let addresses = format!("{} port {}", addresses.join(" "), ports.join(" "));
        for line in wrap(&addresses, WIDTH - 2) {
            writeln!(out, "  {}", out.paint(Colour::Faint, &line))?;
        }
        let packets: Vec<_> = service
            .packets
            .iter()
            .map(|packets| format!("{} {}", packets.verdict.name(), count(packets.packets)))
            .collect();
        let packets = if packets.is_empty() {
            "none yet".to_owned()
        } else {
            packets.join(", ")
        };
        writeln!(out, "  packets: {packets}")?;
    }
    Ok(())
}

fn verdict_colour(verdict: Verdict) -> Colour {
    match verdict {
        Verdict::Forward | Verdict::Pass => Colour::Good,
        Verdict::Proxy => Colour::Careful,
        Verdict::Drop | Verdict::Reject => Colour::Bad,
    }
}

fn since(time: &str) -> String {
    let seconds = OffsetDateTime::parse(time, &Rfc3339)
        .map(|then| (OffsetDateTime::now_utc() - then).whole_seconds())
        .ok()
        .and_then(|seconds| u64::try_from(seconds).ok());
    age(seconds.unwrap_or(0))
}

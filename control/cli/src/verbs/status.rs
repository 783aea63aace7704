//! `weir status`: the state of the appliance on one screen.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weir_abi::Class;
use weir_api::{
    KernelStatus, ListenersStatus, Outcome, ProxyState, ProxyStatus, ServiceStatus, Status as State,
};

use super::lists;
use crate::client::Client;
use crate::failed::Failed;
use crate::machine::{self, Answer, Configuration, Facts, Interface};
use crate::render::{Colour, Out, age, clean, clip, columns, count, moment, verdict_colour, wrap};

/// What fits on a terminal that is not asked for its size, with the prompt below it.
const WIDTH: usize = 80;
const HEIGHT: usize = 23;
/// Columns of the names in front of the rows.
const NAMES: usize = BLANK.len();
const BLANK: &str = "           ";

/// Shows what is in force, whether both planes work, and first of all what to look at.
///
/// What is less important is left out where it would not fit on one screen of 80 columns and 24 lines.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 healthy, 1 needs attention, 2 cannot be asked.\n\nExamples:\n  weir status\n  weir status --all\n  weir status --machine"
)]
pub struct Status {
    /// Leave nothing out, however long it gets.
    #[arg(long, short)]
    all: bool,
    /// Show the machine alone: what it is, its addresses, and what is still to be configured; also without
    /// weir-control (status 1: there is something to do).
    #[arg(long, conflicts_with = "all")]
    machine: bool,
    /// Where the machine's files lie.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

impl Status {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let asked = client.get::<State>("/v1/status").await;
        if self.machine {
            let state = asked.ok().map(|answer| answer.value);
            return self.tell_machine(state.as_ref(), out);
        }
        let answer = match asked {
            Ok(answer) => answer,
            Err(failed) => return Err(self.without_answer(failed, out)?.in_status()),
        };
        let state = answer.value;
        if out.json {
            out.answer(&answer.text)?;
        } else {
            let height = if self.all { usize::MAX } else { HEIGHT };
            let facts = self.facts(Some(&state));
            for line in screen(out, &state, &facts, height) {
                writeln!(out, "{line}")?;
            }
        }
        if state.warnings.is_empty() {
            Ok(())
        } else {
            Err(Failed::Told)
        }
    }

    fn facts(&self, state: Option<&State>) -> Facts {
        Facts {
            answer: state.map(Answer::from),
            ..machine::look(&self.root)
        }
    }

    fn tell_machine(&self, state: Option<&State>, out: &mut Out) -> Result<(), Failed> {
        let facts = self.facts(state);
        let steps = facts.next_steps();
        if out.json {
            let told = serde_json::json!({ "machine": facts, "next_steps": steps });
            writeln!(out, "{told:#}")?;
        } else {
            for line in whole_machine(out, &facts) {
                writeln!(out, "{line}")?;
            }
        }
        if steps.is_empty() && state.is_some_and(|state| state.warnings.is_empty()) {
            Ok(())
        } else {
            Err(Failed::Told)
        }
    }

    /// Nobody answers: the machine is shown, and its first step is what helps, where there is one.
    fn without_answer(&self, failed: Failed, out: &mut Out) -> Result<Failed, Failed> {
        let Failed::Unreachable(mut failure) = failed else {
            return Ok(failed);
        };
        let facts = self.facts(None);
        let steps = facts.next_steps();
        if !out.json {
            for line in whole_machine(out, &facts) {
                writeln!(out, "{line}")?;
            }
            // What is wrong stands last, before the prompt.
            out.flush()?;
        }
        if facts.configuration == Configuration::Missing
            && let Some(step) = steps.into_iter().next()
        {
            failure.help = Some(step);
        }
        Ok(Failed::Unreachable(failure))
    }
}

/// The machine by itself: title, rows, and what is to be done.
fn whole_machine(out: &Out, facts: &Facts) -> Vec<String> {
    let mut lines = vec![format!("Weir {}", clean(&facts.version))];
    lines.extend(row(out, "machine", &clean(&facts.identity())));
    for (number, interface) in facts.interfaces.iter().enumerate() {
        let name = if number == 0 { "addresses" } else { "" };
        lines.extend(row(out, name, &addresses(interface)));
    }
    let bad = facts.answer.as_ref().is_none_or(|answer| !answer.proxy);
    let colour = if bad { Colour::Bad } else { Colour::Good };
    lines.extend(row(out, "state", &out.paint(colour, &facts.state())));
    lines.extend(steps(out, &facts.next_steps()));
    lines
}

fn addresses(interface: &Interface) -> String {
    clean(&format!(
        "{} {}",
        interface.name,
        interface.addresses.join(" ")
    ))
}

fn steps(out: &Out, steps: &[String]) -> Vec<String> {
    let numbered = steps.iter().enumerate().flat_map(|(number, step)| {
        let name = if number == 0 { "to do" } else { "" };
        row(out, name, &format!("{}. {}", number + 1, clean(step)))
    });
    numbered.collect()
}

/// All lines, the most important first.
fn screen(out: &Out, state: &State, facts: &Facts, height: usize) -> Vec<String> {
    let mut planes = planes(out, state, height == usize::MAX);
    planes.extend(machine_row(out, facts, height == usize::MAX));
    let mut warnings = warnings(out, &state.warnings);
    // What is done with each class stays in sight.
    let services = 1 + state.services.len().min(3);
    let room = height.saturating_sub(planes.len() + services + 2);
    if warnings.len() > room {
        warnings.truncate(room.saturating_sub(1));
        warnings.push("  and more: `weir status --all`".to_owned());
    }
    let mut lines = warnings;
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.extend(planes);
    lines.push(String::new());
    let room = height.saturating_sub(lines.len());
    lines.extend(tell_services(out, &state.services, room));
    if !state.lists.is_empty() {
        let room = height.saturating_sub(lines.len() + 1);
        let lists = in_room(lists::rows(out, &state.lists), room, "lists", "weir lists");
        if !lists.is_empty() {
            lines.push(String::new());
            lines.extend(lists);
        }
    }
    lines
}

/// Rows below a head, as many as there is room for.
fn in_room(mut rows: Vec<String>, room: usize, what: &str, command: &str) -> Vec<String> {
    if rows.len() <= room {
        return rows;
    }
    let shown = room.saturating_sub(1);
    let left = rows.len() - shown.max(1);
    let more = format!("and {left} more {what}: `{command}`");
    match shown {
        0 if room == 0 => Vec::new(),
        0 | 1 => vec![more],
        _ => {
            rows.truncate(shown);
            rows.push(more);
            rows
        }
    }
}

fn warnings(out: &Out, warnings: &[String]) -> Vec<String> {
    let mark = out.paint(Colour::Bad, "!");
    let mut lines = Vec::new();
    for warning in warnings {
        for (number, line) in wrap(&clean(warning), WIDTH - 2).iter().enumerate() {
            let mark = if number == 0 { &mark } else { " " };
            lines.push(format!("{mark} {line}"));
        }
    }
    lines
}

fn planes(out: &Out, state: &State, all: bool) -> Vec<String> {
    let mut lines = in_force(out, state);
    lines.extend(row(out, "proxy", &proxy(out, &state.proxy)));
    lines.extend(row(out, "listeners", &listeners(&state.listeners)));
    lines.extend(kernel(out, &state.kernel, all));
    if let Some(entra) = &state.entra {
        lines.extend(row(out, "entra", &super::entra::summary(out, entra)));
    }
    if let Some(grants) = super::grants::summary(out, &state.grants) {
        lines.extend(row(out, "grants", &grants));
    }
    lines
}

/// The machine on one line, and what is still to be configured on it.
fn machine_row(out: &Out, facts: &Facts, all: bool) -> Vec<String> {
    let interfaces: Vec<_> = facts.interfaces.iter().map(addresses).collect();
    let text = [vec![clean(&facts.identity())], interfaces]
        .concat()
        .join(", ");
    let limit = if all { usize::MAX } else { WIDTH - NAMES };
    let mut lines = row(out, "machine", &clip(&text, limit));
    lines.extend(steps(out, &facts.next_steps()));
    lines
}

/// A text behind its name, in as many lines as it needs.
fn row(out: &Out, name: &str, text: &str) -> Vec<String> {
    let mut lines = wrap(text, WIDTH - NAMES);
    let name = out.paint(Colour::Head, &format!("{name:<NAMES$}"));
    for (number, line) in lines.iter_mut().enumerate() {
        let name = if number == 0 { &name } else { BLANK };
        line.insert_str(0, name);
    }
    lines
}

fn in_force(out: &Out, state: &State) -> Vec<String> {
    let weir = format!(
        "{}, generation {}, up {} (version {})",
        clean(&state.appliance),
        state.generation,
        since(&state.started),
        clean(&state.version)
    );
    let config = &state.config;
    let digest = clean(config.digest.get(..12).unwrap_or(&config.digest));
    let (path, read) = (clean(&config.path), moment(&config.loaded));
    let config = if config.fallback.is_some() {
        let copy = out.paint(Colour::Bad, "THE LAST GOOD COPY");
        format!("{copy} of {path}, sha256 {digest}")
    } else if state.reloads.rolled_back.is_some() {
        let before = out.paint(Colour::Bad, "ROLLED BACK");
        format!("{before}: as it was before, sha256 {digest}; {path} is not in force")
    } else {
        format!("{path}, read {read} UTC, sha256 {digest}")
    };
    let last = &state.last_reload;
    let outcome = match last.outcome {
        Outcome::Done => out.paint(Colour::Good, "done"),
        Outcome::Refused => out.paint(Colour::Bad, "refused"),
    };
    let (action, who) = (clean(&last.action), clean(&last.who));
    let change = format!("{} UTC, {action} by {who}: {outcome}", moment(&last.time));
    let mut lines = row(out, "weir", &weir);
    lines.extend(row(out, "config", &config));
    lines.extend(row(out, "change", &change));
    lines
}

fn proxy(out: &Out, proxy: &ProxyStatus) -> String {
    let state = match proxy.state {
        ProxyState::Alive => out.paint(Colour::Good, "alive"),
        ProxyState::Silent => out.paint(Colour::Bad, "silent"),
        ProxyState::Gone => out.paint(Colour::Bad, "gone"),
    };
    let mut words = vec![match proxy.since.as_str() {
        "" => state,
        time => format!("{state} for {}", since(time)),
    }];
    words.extend(proxy.pid.map(|pid| format!("pid {pid}")));
    match proxy.generation {
        Some(generation) => words.push(format!("works with generation {generation}")),
        None if proxy.pid.is_some() => words.push("works with no generation yet".to_owned()),
        None => {}
    }
    if proxy.fail_mode {
        words.push(out.paint(Colour::Bad, "FAIL MODE"));
    } else if proxy.state != ProxyState::Alive {
        let grace = proxy.restart_grace_ms / 1000;
        words.push(format!(
            "its connections wait {grace} s before the fail mode"
        ));
    }
    let counts = &proxy.counts;
    if proxy.pid.is_some() {
        let open = (counts.open, "open connections");
        words.extend(
            [
                open,
                (counts.requests, "requests"),
                (counts.tunnelled, "tunnelled"),
                (counts.refused, "refused"),
                (counts.handshakes_failed, "failed handshakes"),
            ]
            .map(|(number, of)| format!("{} {of}", count(number))),
        );
        let missing = [
            (counts.events_lost, "events lost", Colour::Bad),
            (
                counts.events_skipped,
                "events of refusals left out",
                Colour::Careful,
            ),
            (
                counts.answers_cut,
                "answers cut for what looked like a token",
                Colour::Careful,
            ),
            (
                counts.replays_full,
                "tokens too many to be remembered",
                Colour::Bad,
            ),
        ];
        words.extend(
            missing
                .into_iter()
                .filter(|(number, ..)| *number > 0)
                .map(|(number, of, colour)| out.paint(colour, &format!("{} {of}", count(number)))),
        );
    }
    if proxy.connections_broken > 0 {
        let broken = format!("{} connections broken", count(proxy.connections_broken));
        words.push(out.paint(Colour::Careful, &broken));
    }
    words.join(", ")
}

fn listeners(listeners: &ListenersStatus) -> String {
    let held = listeners.held;
    match (listeners.store, listeners.taken_over) {
        (false, _) => format!("{held} held, with no service manager to keep copies"),
        (true, 0) => format!(
            "{held} held, {} kept by the service manager",
            listeners.kept
        ),
        (true, taken) => format!(
            "{held} held, {} kept by the service manager, {taken} of them taken back from it",
            listeners.kept
        ),
    }
}

fn kernel(out: &Out, kernel: &KernelStatus, all: bool) -> Vec<String> {
    if kernel.hooks.is_empty() {
        return row(out, "kernel", "attached to no interface");
    }
    let mut lines = Vec::new();
    for (number, hook) in kernel.hooks.iter().enumerate() {
        let name = if number == 0 { "kernel" } else { "" };
        let text = format!(
            "{} {}: {}, {}",
            clean(&hook.side),
            clean(&hook.interface),
            clean(&hook.hook),
            clean(&hook.why)
        );
        let limit = if all { usize::MAX } else { WIDTH - NAMES };
        lines.extend(row(out, name, &clip(&text, limit)));
    }
    let transition = &kernel.transition;
    if let Some(until) = &transition.until
        && transition.ranges > 0
    {
        let text = format!(
            "draining until {}: ranges {}, IPv4 addresses {}",
            clean(until),
            transition.ranges,
            transition.v4_addresses
        );
        lines.extend(row(out, "", &clip(&text, WIDTH - NAMES)));
    }
    let lost = &kernel.detail["lost"];
    for (key, what) in [("flows", "flows"), ("frames", "captured packets")] {
        if let Some(number) = lost[key].as_u64().filter(|number| *number > 0) {
            let text = format!("{} {what} could not be told of", count(number));
            lines.extend(row(out, "", &out.paint(Colour::Careful, &text)));
        }
    }
    if let Some(text) = translations(kernel) {
        lines.extend(row(out, "", &clip(&text, WIDTH - NAMES)));
    }
    if let Some(text) = memory(kernel) {
        lines.extend(row(out, "", &clip(&text, WIDTH - NAMES)));
    }
    lines
}

/// The connections of `nat`, where there are any.
fn translations(kernel: &KernelStatus) -> Option<String> {
    let nat = &kernel.detail["nat"];
    let number = |key: &str| nat[key].as_u64().map(count);
    Some(format!(
        "nat: {} of {} connections ({} resting), {} begun, {} ports for each server",
        number("connections")?,
        number("capacity")?,
        number("resting")?,
        number("begun")?,
        number("ports")?,
    ))
}

/// What the kernel's maps take, those of a MiB and more by name, the largest first.
fn memory(kernel: &KernelStatus) -> Option<String> {
    let mut maps: Vec<(u64, String)> = kernel.detail["maps"]
        .as_array()?
        .iter()
        .filter_map(|map| Some((map["memory"].as_u64()?, clean(map["name"].as_str()?))))
        .collect();
    maps.sort_unstable_by(|one, other| other.cmp(one));
    let all: u64 = maps.iter().map(|(bytes, _)| bytes).sum();
    let large = maps.iter().filter(|(bytes, _)| *bytes >= 1 << 20);
    let names: Vec<String> = large
        .map(|(bytes, name)| format!("{name} {}", bytes >> 20))
        .collect();
    (all > 0).then(|| format!("maps: {} MiB ({})", all.div_ceil(1 << 20), names.join(", ")))
}

/// A table of the verdicts; below each row its addresses and packets, where there is room.
fn tell_services(out: &Out, services: &[ServiceStatus], room: usize) -> Vec<String> {
    const CLASSES: [Class; Class::COUNT] = [
        Class::Managed,
        Class::Bypass,
        Class::Relay,
        Class::Unmanaged,
        Class::Blocked,
    ];
    let mut head = vec![out.paint(Colour::Head, "SERVICE")];
    head.extend(CLASSES.map(|class| out.paint(Colour::Head, &class.name().to_uppercase())));
    head.push(out.paint(Colour::Head, "NO PROXY"));
    let mut rows = vec![head];
    for service in services {
        let mut name = clean(&service.name);
        if service.observe {
            name = format!("{name} {}", out.paint(Colour::Bad, "OBSERVED"));
        }
        let mut row = vec![name];
        row.extend(CLASSES.map(|class| {
            let verdict = service.verdicts.iter().find(|(of, _)| *of == class);
            verdict.map_or_else(
                || "-".to_owned(),
                |(_, verdict)| out.paint(verdict_colour(*verdict), verdict.name()),
            )
        }));
        row.push(clean(&service.proxy_down));
        rows.push(row);
    }
    let rows = columns(&rows);
    let chosen = services
        .iter()
        .filter(|one| !one.servers.is_empty())
        .count();
    if rows.len() + 2 * services.len() + chosen > room {
        return in_room(rows, room, "services", "weir status --all");
    }
    let mut rows = rows.into_iter();
    let mut lines: Vec<String> = rows.next().into_iter().collect();
    for (row, service) in rows.zip(services) {
        lines.push(row);
        let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
        let ports: Vec<_> = service.ports.iter().map(ToString::to_string).collect();
        let at = format!("{} port {}", addresses.join(" "), ports.join(" "));
        let at = out.paint(Colour::Faint, &clip(&at, WIDTH - 2));
        lines.push(format!("  {at}"));
        let packets: Vec<_> = service
            .packets
            .iter()
            .map(|packets| {
                let would = if packets.observed { "would " } else { "" };
                let verdict = packets.verdict.name();
                format!("{would}{verdict} {}", count(packets.packets))
            })
            .collect();
        let packets = if packets.is_empty() {
            "none yet".to_owned()
        } else {
            packets.join(", ")
        };
        lines.push(format!("  packets: {packets}"));
        if !service.servers.is_empty() {
            lines.push(tell_servers(out, service));
        }
    }
    lines
}

/// How many of the servers that the kernel chooses among answer, and which do not.
fn tell_servers(out: &Out, service: &ServiceStatus) -> String {
    let silent: Vec<_> = service
        .servers
        .iter()
        .filter(|server| !server.answers)
        .map(|server| server.address.to_string())
        .collect();
    let all = service.servers.len();
    let topology = clean(&service.topology);
    if silent.is_empty() {
        return format!("  {topology}: all of {all} servers answer");
    }
    let silent = format!(
        "{topology}: {} of {all} servers do not answer: {}",
        silent.len(),
        silent.join(" ")
    );
    format!("  {}", out.paint(Colour::Bad, &clip(&silent, WIDTH - 2)))
}

fn since(time: &str) -> String {
    let seconds = OffsetDateTime::parse(time, &Rfc3339)
        .map(|then| (OffsetDateTime::now_utc() - then).whole_seconds())
        .ok()
        .and_then(|seconds| u64::try_from(seconds).ok());
    age(seconds.unwrap_or(0))
}

//! The tenant for people.

use std::io::Write;

use weir_api::entra::{Checked, Entra, Finding, Held, NamedGroup, Outcome, Part, State, Synced};

use super::WIDTH;
use crate::failed::Failed;
use crate::render::{Colour, Out, age, clean, columns, moment, wrap};

/// Columns of the names in front of the rows.
const NAMES: usize = 13;

/// The colour of a state.
pub fn colour(state: State) -> Colour {
    match state {
        State::Healthy => Colour::Good,
        State::Degraded | State::Stale => Colour::Careful,
        State::Held | State::NeedsAttention | State::Disconnected => Colour::Bad,
    }
}

/// `weir entra`
pub fn status(out: &mut Out, tenant: &Entra) -> Result<(), Failed> {
    for (name, text) in head(out, tenant) {
        row(out, name, &text)?;
    }
    parts(out, tenant)?;
    for part in &tenant.parts {
        if let Some(waits) = &part.held {
            held(out, &part.part, waits)?;
        }
    }
    named(out, &tenant.named)?;
    let of_parts = tenant.parts.iter().flat_map(|part| &part.findings);
    let all = tenant.findings.iter().chain(of_parts);
    // What is held is told above.
    findings(out, all.filter(|one| one.reason != "held"))
}

fn head(out: &Out, tenant: &Entra) -> Vec<(&'static str, String)> {
    let state = out.paint(colour(tenant.state), tenant.state.name());
    let id = clean(&tenant.tenant);
    let name = match &tenant.name {
        Some(name) => format!("{} ({id})", clean(name)),
        None => id,
    };
    let application = format!(
        "{}, cloud {}",
        clean(&tenant.application),
        clean(&tenant.cloud)
    );
    let picture = match (tenant.epoch, &tenant.drawn) {
        (Some(epoch), Some(drawn)) => {
            let proxy = match tenant.proxy_epoch {
                Some(at) if at == epoch => "the proxy judges by it",
                Some(0) | None => "the proxy has none yet",
                Some(_) => "the proxy judges by an older one",
            };
            format!(
                "{} users, {} groups, as of {} UTC; {proxy}",
                tenant.users,
                tenant.groups,
                moment(drawn)
            )
        }
        _ => "nothing is known of the tenant: rules that ask for groups restrict".to_owned(),
    };
    let mut rows = vec![
        ("tenant", format!("{name}: {state}")),
        ("application", application),
        ("credential", credential(out, tenant)),
        ("directory", picture),
    ];
    let missing = tenant.missing.iter().map(|any| any.join(" or "));
    let missing: Vec<_> = missing.map(|any| clean(&any)).collect();
    if !missing.is_empty() {
        rows.push(("missing", out.paint(Colour::Bad, &missing.join(", "))));
    }
    if !tenant.too_much.is_empty() {
        let more = clean(&tenant.too_much.join(", "));
        rows.push(("not needed", out.paint(Colour::Careful, &more)));
    }
    if let Some(skew) = tenant.skew_seconds.filter(|skew| skew.abs() >= 2) {
        let side = if skew > 0 { "behind" } else { "ahead of" };
        rows.push(("clock", format!("{} s {side} Microsoft's", skew.abs())));
    }
    rows
}

fn credential(out: &Out, tenant: &Entra) -> String {
    let one = &tenant.credential;
    if one.kind.is_empty() {
        return "not known yet".to_owned();
    }
    let mut words = vec![match one.kind.as_str() {
        "credential" => out.paint(Colour::Bad, "none that can be used"),
        kind => clean(kind),
    }];
    if one.has_other {
        words.push(format!("from `{}`", clean(&one.slot)));
    }
    match (one.ends_in_seconds, &one.ends) {
        (Some(left), Some(ends)) if left > 0 => {
            let left = u64::try_from(left).unwrap_or(0);
            words.push(format!(
                "good for {} (until {} UTC)",
                age(left),
                moment(ends)
            ));
        }
        (Some(_), Some(ends)) => {
            words.push(out.paint(Colour::Bad, &format!("expired at {} UTC", moment(ends))));
        }
        _ => {}
    }
    if one.keeps_former {
        words.push("the one from before is kept for a day".to_owned());
    }
    words.join(", ")
}

fn parts(out: &mut Out, tenant: &Entra) -> Result<(), Failed> {
    let is_off = tenant.state == State::Disconnected;
    // What is off, and was never read or is destroyed, is nothing to show.
    let shown = |part: &&Part| !is_off || part.age_seconds.is_some();
    let parts: Vec<_> = tenant.parts.iter().filter(shown).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let names = ["PART", "STATE", "CURRENT", "NEXT"];
    let mut table = vec![names.map(|name| out.paint(Colour::Head, name)).to_vec()];
    table.extend(parts.iter().map(|part| {
        let current = match part.age_seconds {
            Some(seconds) => format!("{} ago", age(seconds)),
            None => "never".to_owned(),
        };
        let state = if is_off { tenant.state } else { part.state };
        let next = match state {
            State::Disconnected => "-".to_owned(),
            _ if part.is_running => "now".to_owned(),
            _ => format!("in {}", age(part.next_seconds)),
        };
        let failed = match part.failures {
            0 => String::new(),
            failures => out.paint(Colour::Careful, &format!(", {failures} failed in a row")),
        };
        vec![
            clean(&part.part),
            out.paint(colour(state), state.name()),
            current,
            format!("{next}{failed}"),
        ]
    }));
    writeln!(out)?;
    for line in columns(&table) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// What waits for a person, and what they may do.
fn held(out: &mut Out, part: &str, held: &Held) -> Result<(), Failed> {
    let (part, whys) = (clean(part), clean(&held.whys.join(", and ")));
    let words = format!("{part}: held since {} UTC: {whys}", moment(&held.since));
    writeln!(out)?;
    for line in wrap(&words, WIDTH) {
        writeln!(out, "{}", out.paint(Colour::Bad, &line))?;
    }
    for (what, number) in &held.counts {
        writeln!(out, "  {number} {}", clean(what))?;
    }
    for one in &held.examples {
        let name = if one.name.is_empty() {
            &one.id
        } else {
            &one.name
        };
        writeln!(out, "  - {} {}", clean(name), clean(&one.loses))?;
    }
    let digest: String = clean(&held.digest).chars().take(16).collect();
    writeln!(out, "  when it is meant:  weir entra approve {digest}")?;
    writeln!(out, "  to read it anew:   weir entra discard {digest}")?;
    Ok(())
}

fn named(out: &mut Out, groups: &[NamedGroup]) -> Result<(), Failed> {
    let unclear = groups.iter().filter(|one| one.trouble.is_some()).count();
    if groups.is_empty() {
        return Ok(());
    }
    let mut words = format!("{} named by the configuration", groups.len());
    if unclear > 0 {
        words = format!("{words}, {unclear} of them not clear");
    }
    writeln!(out)?;
    row(out, "groups", &words)
}

fn findings<'a>(out: &mut Out, all: impl Iterator<Item = &'a Finding>) -> Result<(), Failed> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.state));
    for one in all {
        writeln!(out)?;
        finding(out, one)?;
    }
    Ok(())
}

fn finding(out: &mut Out, one: &Finding) -> Result<(), Failed> {
    let mark = if one.state > State::Degraded {
        "!"
    } else {
        "*"
    };
    let mark = out.paint(colour(one.state), mark);
    let mut words = one.title.clone();
    if let Some(part) = &one.part {
        words = format!("{part}: {words}");
    }
    if let Some(code) = &one.code {
        words = format!("{words} ({code})");
    }
    if !one.words.is_empty() {
        words = format!("{words}: {}", one.words);
    }
    if let Some(request) = &one.request_id {
        words = format!("{words} [request {request}]");
    }
    for (number, line) in wrap(&clean(&words), WIDTH - 2).iter().enumerate() {
        let mark = if number == 0 { &*mark } else { " " };
        writeln!(out, "{mark} {line}")?;
    }
    for (number, line) in wrap(&clean(&one.step), WIDTH - 7).iter().enumerate() {
        if line.is_empty() {
            continue;
        }
        let mark = if number == 0 { "next:" } else { "     " };
        writeln!(out, "  {} {line}", out.paint(Colour::Faint, mark))?;
    }
    Ok(())
}

/// `weir entra check`
pub fn checked(out: &mut Out, checked: &Checked) -> Result<(), Failed> {
    for one in &checked.credentials {
        let proved = match (&one.tenant, one.has_token) {
            (Some(tenant), _) => {
                let words = format!("proved: the tenant is {}", clean(tenant));
                out.paint(Colour::Good, &words)
            }
            (None, true) => out.paint(Colour::Bad, "there is a token, and it opens nothing"),
            (None, false) => out.paint(Colour::Bad, "there is no token"),
        };
        let text = format!("{}: {proved}", clean(&one.kind));
        row(out, &clean(&one.slot), &text)?;
        for found in &one.findings {
            finding(out, found)?;
        }
    }
    if !checked.parts.is_empty() {
        writeln!(out)?;
    }
    synced(out, &checked.parts)?;
    findings(out, checked.findings.iter())?;
    let state = out.paint(colour(checked.state), checked.state.name());
    writeln!(out, "\nall in all: {state}")?;
    Ok(())
}

/// `weir entra sync`
pub fn synced(out: &mut Out, parts: &[Synced]) -> Result<(), Failed> {
    let names = ["PART", "READ"];
    let mut table = vec![names.map(|name| out.paint(Colour::Head, name)).to_vec()];
    table.extend(parts.iter().map(|one| {
        let colour = match one.outcome {
            Outcome::Committed | Outcome::Unchanged => Colour::Good,
            Outcome::Running => Colour::Careful,
            Outcome::Held => Colour::Bad,
            Outcome::Failed => colour(one.finding.as_ref().map_or(State::Stale, |one| one.state)),
        };
        let digest = one.digest.as_deref().map(clean).unwrap_or_default();
        let digest: String = digest.chars().take(16).collect();
        let why = one.finding.as_ref().map(|one| clean(&one.title));
        let more = why.unwrap_or(digest);
        let read = out.paint(colour, one.outcome.name());
        vec![clean(&one.part), format!("{read} {more}")]
    }));
    if table.len() > 1 {
        for line in columns(&table) {
            writeln!(out, "{line}")?;
        }
    }
    findings(out, parts.iter().filter_map(|one| one.finding.as_ref()))?;
    if parts.iter().any(|one| one.outcome == Outcome::Held) {
        writeln!(out, "\nwhat is held, and why: weir entra")?;
    }
    Ok(())
}

fn row(out: &mut Out, name: &str, text: &str) -> Result<(), Failed> {
    for (number, line) in wrap(text, WIDTH - NAMES).iter().enumerate() {
        let name = if number == 0 { name } else { "" };
        let width = NAMES.max(name.len() + 2);
        let name = out.paint(Colour::Head, &format!("{name:<width$}"));
        writeln!(out, "{name}{line}")?;
    }
    Ok(())
}

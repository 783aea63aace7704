//! `weir reload`, `weir confirm` and `weir undo`: the configuration file put in force, and taken back.

use std::io::Write;

use clap::Args;
use weir_api::{Altered, Changed, ConfigChanges, ListChange, ReloadRequest, ServiceChange};

use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, columns};
use crate::words;

/// Loads the configuration, its certificates and its lists anew, and puts them in force.
///
/// Everything is checked first. When anything is wrong, what is in force stays in force.
///
/// With --confirm it is in force at once, and taken back by itself unless `weir confirm` comes within the time:
/// so that a configuration that cuts you off does not stay. That holds also when weir-control is killed
/// meanwhile, or the machine is started anew. The file on disk is never changed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir reload --dry-run && weir reload\n  weir reload --confirm 60s\n  weir confirm"
)]
pub struct Reload {
    /// Load and check everything, change nothing, and show what would change.
    #[arg(long)]
    dry_run: bool,
    /// Take it back unless it is confirmed within this time, such as 60s, 5m or 1h.
    #[arg(long, value_name = "TIME", value_parser = words::seconds, conflicts_with = "dry_run")]
    confirm: Option<u64>,
}

/// Keeps the reload that waits to be confirmed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir reload --confirm 60s\n  weir confirm")]
pub struct Confirm {}

/// Takes the last reload back: what was in force before is put in force again.
///
/// The configuration comes from a copy, and the file on disk stays as it is. Lists keep what was added and
/// removed meanwhile. One step back is possible.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir undo")]
pub struct Undo {}

impl Reload {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let request = ReloadRequest {
            dry_run: self.dry_run,
            confirm_within: self.confirm,
        };
        let answer = client.post::<Changed>("/v1/reload", &request).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        changed(out, &answer.value)
    }
}

impl Confirm {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let answer = client.post::<Changed>("/v1/confirm", &()).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        let line = format!(
            "generation {} is confirmed, and stays",
            answer.value.generation
        );
        Ok(writeln!(out, "{}", out.paint(Colour::Good, &line))?)
    }
}

impl Undo {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let answer = client.post::<Changed>("/v1/undo", &()).await?;
        if out.json {
            return Ok(out.answer(&answer.text)?);
        }
        changed(out, &answer.value)?;
        let line = "it is what was in force before the last reload; the file on disk was not changed, and \
                    `weir reload` would put that in force again";
        Ok(writeln!(out, "{line}")?)
    }
}

/// Says what a change did.
pub fn changed(out: &mut Out, changed: &Changed) -> Result<(), Failed> {
    for warning in &changed.warnings {
        for line in warning.lines() {
            writeln!(out, "{}", clean(line))?;
        }
    }
    for line in changed.changes.iter().flat_map(|changes| show(changes)) {
        writeln!(out, "{line}")?;
    }
    let Changed { generation, .. } = changed;
    let line = match changed {
        Changed { dry_run: true, .. } => {
            format!("the configuration is valid; generation {generation} stays in force")
        }
        Changed {
            unchanged: true, ..
        } => {
            format!("nothing to change; generation {generation} stays in force")
        }
        _ => format!("generation {generation} is in force"),
    };
    writeln!(out, "{}", out.paint(Colour::Good, &line))?;
    if let Some(pending) = &changed.pending {
        let line = format!(
            "`weir confirm` within {} s keeps it; without that generation {} is put back",
            pending.seconds_left, pending.back_to
        );
        writeln!(out, "{}", out.paint(Colour::Careful, &line))?;
    }
    Ok(())
}

/// What would change, a line each.
fn show(changes: &ConfigChanges) -> Vec<String> {
    let mut rows = Vec::new();
    for service in &changes.services {
        rows.push(row(
            service.what,
            "service",
            &service.name,
            &of_service(service),
        ));
        let certificates = [
            (Altered::Removed, &service.certificates_removed),
            (Altered::Added, &service.certificates_added),
        ];
        for (what, certificates) in certificates {
            for certificate in certificates {
                rows.push(row(what, "certificate", &service.name, certificate));
            }
        }
    }
    let listeners = [
        (Altered::Removed, &changes.listeners_removed),
        (Altered::Added, &changes.listeners_added),
    ];
    for (what, listeners) in listeners {
        for listener in listeners {
            rows.push(row(what, "listener", &listener.to_string(), ""));
        }
    }
    for list in &changes.lists {
        rows.push(row(list.what, "list", &list.name, &of_list(list)));
    }
    let rules = [
        (Altered::Removed, &changes.rules_removed),
        (Altered::Added, &changes.rules_added),
        (Altered::Changed, &changes.rules_changed),
    ];
    for (what, rules) in rules {
        for rule in rules {
            rows.push(row(what, "rule", rule, ""));
        }
    }
    if changes.rules_reordered {
        rows.push(row(Altered::Changed, "rules", "", "in another order"));
    }
    for section in &changes.sections {
        rows.push(row(Altered::Changed, "section", section, ""));
    }
    if rows.is_empty() {
        let same = if changes.file {
            "the file's text differs, and says the same"
        } else {
            "nothing would change"
        };
        return vec![same.to_owned()];
    }
    columns(&rows)
}

fn row(what: Altered, kind: &str, name: &str, more: &str) -> Vec<String> {
    let mark = match what {
        Altered::Added => "+",
        Altered::Removed => "-",
        Altered::Changed => "~",
    };
    [mark, kind, name, more].map(clean).into()
}

fn of_service(service: &ServiceChange) -> String {
    service.keys.join(", ")
}

fn of_list(list: &ListChange) -> String {
    let (added, removed) = (list.added, list.removed);
    let entries =
        (added + removed > 0).then(|| format!("entries: {added} added, {removed} removed"));
    let words: Vec<String> = entries
        .into_iter()
        .chain(list.keys.iter().cloned())
        .collect();
    words.join("; ")
}

//! `weir rules diff`: which recorded decisions new rules would change.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use weir_api::{Diff as Answer, DiffGroup, DiffRequest, DiffSide};
use weir_config::{Whole, load_rules};

use super::invalid;
use crate::client::Client;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean, count, moment};
use crate::verbs::explain::{verdict_colour, write_rows};
use crate::words::time;

/// Judges the decisions of the audit log by new rules, and shows which would change, and for whom.
///
/// NEW is a whole configuration file, or one that holds [[rule]]s alone, with the [application.NAME] and
/// [location.NAME] that they name: then the rest is that of the configuration in --config. It is checked as
/// `weir check` checks it, and nothing is put in force. The comparison is with the rules in force, on the
/// facts that were recorded: what a new profile would recognise, or new lists would say of an address, is
/// not tried.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 nothing would change, 1 something would, 2 it cannot be tried.\n\nExamples:\n  weir rules diff /etc/weir/weir.toml.new --since 7d\n  weir rules diff rules.toml --service sts --json"
)]
pub struct Diff {
    /// The new configuration, or rules alone.
    #[arg(value_name = "NEW")]
    file: PathBuf,
    /// Only decisions at this time or later: how long ago (15m, 2h, 7d), or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<String>,
    /// Only this service.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The configuration that rules alone belong to.
    #[arg(long, value_name = "FILE", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
}

impl Diff {
    pub async fn run(self, client: &Client, out: &mut Out) -> Result<(), Failed> {
        let (loaded, whole) =
            load_rules(&self.file, &self.config).map_err(|report| invalid(&report))?;
        if !loaded.warnings.is_empty() {
            eprint!("{}", loaded.warnings);
        }
        let config = &loaded.config;
        let request = DiffRequest {
            policies: (config.services.iter())
                .map(|service| config.policy(service))
                .collect(),
            since: self.since,
            service: self.service,
        };
        let answer = client.post::<Answer>("/v1/rules/diff", &request).await;
        let answer = answer.map_err(Failed::in_status)?;
        if out.json {
            out.answer(&answer.text)?;
        } else {
            let what = match whole {
                Whole::Configuration => "the configuration",
                Whole::Rules => "the rules",
            };
            let what = format!("{what} in {}", self.file.display());
            tell(out, &what, &answer.value)?;
        }
        if answer.value.changed > 0 {
            Err(Failed::Told)
        } else {
            Ok(())
        }
    }
}

fn tell(out: &mut Out, what: &str, diff: &Answer) -> Result<(), Failed> {
    for (index, group) in diff.groups.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        tell_group(out, group)?;
    }
    if !diff.groups.is_empty() {
        writeln!(out)?;
    }
    let colour = if diff.changed > 0 {
        Colour::Careful
    } else {
        Colour::Good
    };
    let changed = format!(
        "{} of {} would change",
        count(diff.changed),
        numbered(diff.judged, "decision")
    );
    let line = format!(
        "{}, were {} in force in place of generation {}",
        out.paint(colour, &changed),
        clean(what),
        diff.generation
    );
    write_rows(out, &[vec![line]])?;
    let mut rest = Vec::new();
    if let (Some(since), Some(until)) = (&diff.looked.since, &diff.until) {
        rest.push(format!(
            "read from {} to {} UTC",
            moment(since),
            moment(until)
        ));
    }
    if diff.looked.cut {
        rest.push(
            "newer decisions were left out: so many are judged at most, ask with --since".into(),
        );
    }
    let left_out = [
        (diff.ungrouped, "changes in further groups"),
        (diff.without_facts, "without recorded facts, not judged"),
        (
            diff.without_service,
            "of services that are in one configuration only, not judged",
        ),
        (
            diff.outdated,
            "recorded otherwise than the rules in force decide now",
        ),
    ];
    let said = left_out.iter().filter(|(number, _)| *number > 0);
    rest.extend(said.map(|(number, words)| format!("{} {words}", count(*number))));
    for line in rest {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn tell_group(out: &mut Out, group: &DiffGroup) -> Result<(), Failed> {
    let more = if group.more { "at least " } else { "" };
    let number = out.paint(Colour::Head, &numbered(group.decisions, "decision"));
    writeln!(
        out,
        "{number} of {more}{}, from {more}{}, service {}",
        numbered(group.users, "user"),
        numbered(group.sources, "address"),
        clean(&group.service)
    )?;
    let mut rows = vec![
        vec![
            "  before".to_owned(),
            side(out, &group.before, &group.after),
        ],
        vec!["  after".to_owned(), side(out, &group.after, &group.before)],
    ];
    let mut some = |name: &str, values: &[String], all: u64| {
        if values.is_empty() {
            return;
        }
        let mut text = clean(&values.join(", "));
        if all > values.len() as u64 {
            text.push_str(", ...");
        }
        rows.push(vec![format!("  {name}"), text]);
    };
    some("users", &group.some_users, group.users);
    some("from", &group.some_sources, group.sources);
    some("clients", &group.clients, 0);
    rows.push(vec![
        "  last".to_owned(),
        format!(
            "{} UTC (`weir explain --id {}`)",
            moment(&group.last_seen),
            clean(&group.example)
        ),
    ]);
    write_rows(out, &rows)
}

fn side(out: &Out, side: &DiffSide, other: &DiffSide) -> String {
    let decision = out.paint(verdict_colour(&side.decision), &clean(&side.decision));
    let target = side.target.as_ref().filter(|target| {
        let before = other.target.as_ref();
        before.is_some_and(|before| before != *target)
    });
    let part = |words: &str, what: Option<&String>| {
        what.map_or_else(String::new, |what| format!("{words} {}", clean(what)))
    };
    format!(
        "{decision} by {}{}{}{}",
        clean(&side.rule),
        part(" to", target),
        part("; if the token cannot be believed", side.otherwise.as_ref()),
        part("; grants", side.grant.as_ref()),
    )
}

fn numbered(number: u64, what: &str) -> String {
    let ending = match (number, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {what}{ending}", count(number))
}

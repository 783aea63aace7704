//! The demonstration: real clients sign in through Weir, and what the two planes say of it is held against what the
//! default policy says.
//!
//! A lab stands for each hook of the kernel plane; in it the houses ([`rows::House`]) are configurations that Weir takes on one
//! after the other, by a reload, and each has its rows. [`stage`] does rows.

pub mod boot;
mod capture;
mod chromium;
mod client;
mod curl;
mod entra;
mod forge;
mod form;
mod kernel;
mod life;
mod msal;
mod row;
mod rows;
mod stage;
mod table;
mod turn;
mod walk;
mod webdriver;
mod witness;

use std::collections::BTreeSet;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use weir_lab_servers::plan::Plan;

use self::kernel::Tale;
use self::life::{Life, Lived, Ward};
use self::rows::House;
use self::stage::Stage;
use self::table::Table;
use crate::args;
use crate::lab::{Daemons, Lab, with_lab};
use crate::settings::Hook;

/// The rows that are done at XDP when nobody says which: what the proxy decides does not depend on the kernel's hook.
const WITH_XDP: [&str; 4] = ["strict/*", "grants/*", "life/kill-*", "kernel/*"];

/// The rows that are done in one lab.
struct Program {
    /// Where the kernel plane has to decide; left to Weir when there is none.
    hook: Option<Hook>,
    houses: Vec<House>,
    lives: Vec<Life>,
    tales: Vec<Tale>,
}

/// What came of them.
struct Report {
    good: usize,
    total: usize,
    json: Value,
}

/// Raises a lab for each hook, does the rows, prints the tables, and says by the exit status whether all is as expected.
pub async fn run(wanted: &args::Demo) -> Result<ExitCode> {
    if wanted.show == Some(args::Show::Entra) {
        return entra::run(wanted).await;
    }
    let plan = Plan::new(&wanted.raise.out);
    let hooks = match wanted.raise.hook {
        Some(hook) => vec![Some(hook)],
        None if wanted.keep => vec![None],
        None => vec![None, Some(Hook::Xdp)],
    };
    let programs: Vec<Program> = hooks
        .into_iter()
        .map(|hook| Program::new(hook, &plan, &wanted.only))
        .filter(|program| !program.names().is_empty())
        .collect();
    if programs.is_empty() {
        bail!("no row has such a name; `demo --list` prints them");
    }
    if wanted.list {
        let names: BTreeSet<&str> = programs.iter().flat_map(Program::names).collect();
        for name in names {
            println!("{name}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let progress = |text: &str| eprintln!("  {text}");
    let mut reports = Vec::new();
    for program in &programs {
        let mut options = wanted.raise.options()?;
        options.hook = program.hook;
        let work = async |lab: &Lab, daemons: &Daemons| show(lab, daemons, wanted, program).await;
        reports.push(with_lab(options, &progress, work).await?);
    }
    let good = reports.iter().map(|report| report.good).sum::<usize>();
    let total = reports.iter().map(|report| report.total).sum::<usize>();
    if reports.len() > 1 {
        println!("\n{good} of {total} rows as expected, at both hooks");
    }
    if let Some(path) = &wanted.json {
        let runs: Vec<Value> = reports.into_iter().map(|report| report.json).collect();
        let report = json!({ "runs": runs, "as_expected": good, "total": total });
        fs::write(path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if good == total {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Program {
    fn new(hook: Option<Hook>, plan: &Plan, only: &[String]) -> Self {
        let is_wanted = |name: &str| {
            is_wanted(only, name)
                && (hook != Some(Hook::Xdp)
                    || !only.is_empty()
                    || WITH_XDP.iter().any(|glob| matches(glob, name)))
        };
        let mut houses = rows::all(plan);
        for house in &mut houses {
            house.under(hook.unwrap_or(Hook::Tcx));
            house.rows.retain(|row| is_wanted(&row.name));
        }
        houses.retain(|house| !house.rows.is_empty());
        let mut lives = life::all();
        lives.retain(|row| is_wanted(row.name));
        let mut tales = kernel::all();
        tales.retain(|row| is_wanted(row.name));
        Self {
            hook,
            houses,
            lives,
            tales,
        }
    }

    fn names(&self) -> Vec<&str> {
        let rows = self.houses.iter().flat_map(|house| &house.rows);
        rows.map(|row| row.name.as_str())
            .chain(self.lives.iter().map(|row| row.name))
            .chain(self.tales.iter().map(|row| row.name))
            .collect()
    }
}

async fn show(
    lab: &Lab,
    daemons: &Daemons,
    wanted: &args::Demo,
    program: &Program,
) -> Result<Report> {
    let houses = &program.houses;
    let hook = program.hook.unwrap_or(Hook::Tcx);
    let control = lab.control();
    let status = control.status().await?;
    let hooks: BTreeSet<&str> = status["kernel"]["hooks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|hook| hook["hook"].as_str())
        .collect();
    eprintln!(
        "  weir is up: kernel plane by {}, proxy plane as process {}",
        Vec::from_iter(hooks).join(", "),
        status["proxy"]["pid"],
    );
    if !lab.options.switched_off.is_empty() {
        eprintln!("  switched off: {}", lab.options.switched_off.join(", "));
    }
    let mut stage = Stage::new(lab, wanted, houses, hook).await?;
    let begun = Instant::now();
    let mut table = Table::default();
    let mut done = Vec::new();
    for house in houses {
        stage.enter(house).await?;
        table.house(house);
        let before = done.len();
        stage
            .perform_all(house, &mut |row| {
                table.row(&row);
                done.push(row);
            })
            .await?;
        stage.leave()?;
        let own = &done[before..];
        let good = own.iter().filter(|row| row.ok).count();
        table.group(house.name, good, own.len());
    }
    drop(stage);
    let ward = Ward::new(lab, daemons, hook)?;
    let mut ended: Vec<Lived> = Vec::new();
    if !program.lives.is_empty() {
        table.story(life::HOUSE, "what happens when processes die");
        for row in &program.lives {
            let result = ward.perform(row).await;
            let result = result.with_context(|| format!("row {}", row.name))?;
            table.life(&result);
            ended.push(result);
        }
        table.stories(life::HOUSE, &ended);
    }
    if !program.tales.is_empty() {
        table.story(kernel::HOUSE, "what the kernel does, and lets be seen");
        for row in &program.tales {
            let result = ward.tell(row).await;
            let result = result.with_context(|| format!("row {}", row.name))?;
            table.life(&result);
            ended.push(result);
        }
        table.stories(kernel::HOUSE, &ended);
    }
    let seconds = begun.elapsed().as_secs();
    let good = done.iter().filter(|row| row.ok).count() + ended.iter().filter(|row| row.ok).count();
    let total = done.len() + ended.len();
    table.summary(good, total, seconds);
    if wanted.keep {
        eprintln!(
            "  the lab stands ({}); Ctrl-C takes it down",
            lab.options.out.join("lab.json").display()
        );
        std::future::pending::<()>().await;
    }
    let json = json!({
        "rows": done, "life": ended, "as_expected": good, "total": total, "seconds": seconds, "hook": hook,
        "switched_off": lab.options.switched_off,
    });
    Ok(Report { good, total, json })
}

/// Whether one of the patterns names the row, with its house or without; no pattern names every row.
fn is_wanted(patterns: &[String], name: &str) -> bool {
    let short = name.split_once('/').map_or("", |(_, rest)| rest);
    patterns.is_empty()
        || patterns
            .iter()
            .any(|glob| matches(glob, name) || matches(glob, short))
}

/// Whether a name matches a pattern, in which `*` stands for any text.
fn matches(glob: &str, name: &str) -> bool {
    let Some((start, rest)) = glob.split_once('*') else {
        return glob == name;
    };
    name.strip_prefix(start).is_some_and(|name| {
        (0..=name.len())
            .filter(|&at| name.is_char_boundary(at))
            .any(|at| matches(rest, &name[at..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_any_text_at_their_stars() {
        assert!(matches("*", "curl/mex/sts/managed/4"));
        assert!(matches("curl/*/4", "curl/mex/sts/managed/4"));
        assert!(matches("*/managed/*", "curl/mex/sts/managed/4"));
        assert!(!matches("*/managed/*", "curl/mex/sts/unmanaged/4"));
        assert!(!matches("curl", "curl/mex/sts/managed/4"));
    }

    #[test]
    fn rows_have_names_of_their_own_and_expect_something() {
        let houses = rows::all(&Plan::new("/lab"));
        let mut names = BTreeSet::new();
        for row in houses.iter().flat_map(|house| &house.rows) {
            assert!(names.insert(&row.name), "{} is there twice", row.name);
            assert!(
                !row.expected.outcome.is_empty(),
                "{} expects nothing",
                row.name
            );
        }
    }
}

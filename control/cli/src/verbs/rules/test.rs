//! `weir rules test`: an administrator's own cases, judged without the daemon.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use weir_config::{ByList, Report, Whole, load_countries, load_lists, load_rules, load_users};
use weir_policy::{Policy, Uncounted};
use weir_tables::Lists;

use super::cases::{Bench, Cases, Outcome};
use super::invalid;
use crate::failed::Failed;
use crate::render::{Colour, Out, clean};
use crate::verbs::explain::{mark, verdict_colour, write_rows};

/// Judges cases of one's own by the rules of a configuration, and says which do not come out as expected,
/// and why. Needs neither the daemon nor root.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 every case holds, 1 some do not, 2 they cannot be tried.\n\nExamples:\n  weir rules test --example > cases.toml\n  weir rules test cases.toml\n  weir rules test cases.toml --config weir.toml.new"
)]
pub struct Test {
    /// The cases.
    #[arg(value_name = "CASES", required_unless_present = "example")]
    file: Option<PathBuf>,
    /// The configuration whose rules, lists and users are tried.
    #[arg(long, value_name = "FILE", default_value = "/etc/weir/weir.toml")]
    config: PathBuf,
    /// Rules in place of those of the configuration.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Write an example of a file of cases, which says what may stand in it.
    #[arg(long, conflicts_with = "file")]
    example: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer {
    passed: usize,
    failed: usize,
    cases: Vec<Outcome>,
}

/// A file of cases.
const EXAMPLE: &str = include_str!("example.toml");

/// Largest file of cases, in bytes.
const LONGEST: u64 = 16 << 20;

impl Test {
    pub fn run(self, out: &mut Out) -> Result<(), Failed> {
        let Some(file) = self.file.as_deref().filter(|_| !self.example) else {
            return Ok(write!(out, "{EXAMPLE}")?);
        };
        let cases = read(file)?;
        let rules = self.rules.as_deref().unwrap_or(&self.config);
        let report = |report: Report| invalid(&report);
        let (loaded, whole) = load_rules(rules, &self.config).map_err(report)?;
        if whole == Whole::Rules && self.rules.is_none() {
            return Err(Failed::usage(
                format!("{} holds rules alone", self.config.display()),
                "name the configuration with --config, and the rules with --rules",
            ));
        }
        let config = &loaded.config;
        let (lists, _) = load_lists(config).map_err(report)?;
        let (users, _) = load_users(config).map_err(report)?;
        let countries = load_countries(config).map_err(report)?;
        let policies = config.services.iter().map(|service| {
            Policy::compile(&config.policy(service)).map_err(|errors| {
                let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Failed::usage(
                    format!(
                        "the rules of service `{}` cannot be used: {}",
                        service.name,
                        words.join("; ")
                    ),
                    "`weir check` names each mistake with its line",
                )
            })
        });
        let policies = policies.collect::<Result<Vec<_>, _>>()?;
        let lists = Lists::compile(&lists);
        let bench = Bench {
            config,
            policies: &policies,
            lists: ByList {
                lists: &lists,
                countries: countries.as_ref().map(|(countries, _)| countries),
            },
            users: Uncounted(users.as_ref()),
        };
        let outcomes = cases.cases.iter().map(|case| {
            case.judge(&bench).map_err(|why| {
                Failed::usage(
                    format!("{}: case `{}`: {why}", file.display(), case.name),
                    "`weir rules test --example` shows what may stand in a case",
                )
            })
        });
        let cases = outcomes.collect::<Result<Vec<_>, _>>()?;
        let passed = cases.iter().filter(|case| case.passed).count();
        let answer = Answer {
            passed,
            failed: cases.len() - passed,
            cases,
        };
        if out.json {
            let text = serde_json::to_string_pretty(&answer).map_err(std::io::Error::from)?;
            writeln!(out, "{text}")?;
        } else {
            tell(out, &answer)?;
        }
        if answer.failed > 0 {
            Err(Failed::Told)
        } else {
            Ok(())
        }
    }
}

fn read(file: &Path) -> Result<Cases, Failed> {
    let shown = file.display();
    let wrong = |error: String| {
        Failed::usage(
            error,
            "`weir rules test --example` shows what may stand in it",
        )
    };
    let bytes = weir_config::read_file(file, LONGEST)
        .map_err(|error| wrong(format!("cannot read the cases {shown}: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong(format!("the cases {shown} are not UTF-8 text")))?;
    let cases: Cases = toml::from_str(&text)
        .map_err(|error| wrong(format!("{shown}: {}", error.to_string().trim_end())))?;
    if cases.cases.is_empty() {
        return Err(wrong(format!("{shown} holds no [[case]]")));
    }
    Ok(cases)
}

fn tell(out: &mut Out, answer: &Answer) -> Result<(), Failed> {
    let rows: Vec<_> = answer.cases.iter().map(|case| row(out, case)).collect();
    write_rows(out, &rows)?;
    for case in answer.cases.iter().filter(|case| !case.passed) {
        let name = out.paint(Colour::Bad, &clean(&case.name));
        let expected = &case.expected;
        let by = expected
            .rule
            .as_ref()
            .map_or_else(String::new, |rule| format!(" by {}", clean(rule)));
        writeln!(out, "\n{name}")?;
        let rows = [
            vec![
                "  expected".to_owned(),
                format!("{}{by}", clean(&expected.decision)),
            ],
            vec![
                "  got".to_owned(),
                format!("{} by {}", clean(&case.decision), clean(&case.rule)),
            ],
        ];
        write_rows(out, &rows)?;
        let tried = case.tried.iter().map(|tried| {
            let mark = mark(out, tried.matched, tried.waits);
            vec![format!("  {mark}"), clean(&tried.rule), clean(&tried.why)]
        });
        write_rows(out, &tried.collect::<Vec<_>>())?;
    }
    let line = format!("{} passed, {} failed", answer.passed, answer.failed);
    let colour = if answer.failed > 0 {
        Colour::Bad
    } else {
        Colour::Good
    };
    writeln!(out, "\n{}", out.paint(colour, &line))?;
    Ok(())
}

fn row(out: &Out, case: &Outcome) -> Vec<String> {
    let mark = if case.passed {
        out.paint(Colour::Good, "pass")
    } else {
        out.paint(Colour::Bad, "FAIL")
    };
    vec![
        mark,
        clean(&case.name),
        out.paint(verdict_colour(&case.decision), &clean(&case.decision)),
        clean(&case.rule),
    ]
}

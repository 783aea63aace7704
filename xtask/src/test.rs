//! Runs the tests, and holds every skipped one against the list of those that may be.
//!
//! A test that cannot run where it is prints `skipped: NAME: REASON` and passes. Here each such
//! line, and each ignored test, must be named in `tests/skips.txt`; else the run fails.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display, Formatter};
use std::io::{BufRead as _, BufReader};
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::build::cargo;
use crate::step::step;
use crate::{build, kernel, lab, paths};

pub fn run(arguments: &[String]) -> Result<ExitCode> {
    kernel::build()?;
    build::binaries()?;
    let skipped = step("run the tests", || cargo_test(arguments))?;
    check_skips(&skipped)?;
    if arguments.is_empty() {
        step("run the demo", || {
            crate::step::run(
                lab::demo_command()
                    .arg("--json")
                    .arg(paths::demo().join("demo.json")),
            )
        })?;
        step("run the demo of a tenant", || {
            crate::step::run(
                lab::demo_command()
                    .args(["entra", "--json"])
                    .arg(paths::demo().join("entra.json")),
            )
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `cargo test`, shows what it prints, and returns what was skipped: name and reason.
fn cargo_test(arguments: &[String]) -> Result<BTreeMap<String, String>> {
    let mut child = cargo()
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(arguments)
        .args(if arguments.iter().any(|a| a == "--") {
            &["--show-output"][..]
        } else {
            &["--", "--show-output"]
        })
        .env("WEIR_BIN_DIR", paths::binaries())
        .env("WEIR_EBPF_OBJECT", paths::kernel_object())
        .env("WEIR_VENV", paths::python())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let mut skipped = BTreeMap::new();
    let mut failed = Failed::default();
    let output = BufReader::new(child.stdout.take().expect("standard output is piped"));
    for line in output.lines() {
        let line = line?;
        if let Some((name, reason)) = skip(&line) {
            skipped.insert(name.to_owned(), reason.to_owned());
        }
        println!("{line}");
        failed.take(line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("tests failed:\n{failed}");
    }
    Ok(skipped)
}

/// Last lines of each failed test that are told again at the end.
const TOLD_AGAIN: usize = 30;

/// The tests that failed, each with the end of what it printed: it stands far above everything that
/// later tests print.
#[derive(Default)]
struct Failed {
    tests: Vec<(String, VecDeque<String>)>,
    /// Whether the harness tells what failed tests printed.
    telling: bool,
    /// Whether the lines are those of the last test.
    inside: bool,
}

impl Failed {
    fn take(&mut self, line: String) {
        if line == "failures:" {
            // The second one lists names alone.
            (self.telling, self.inside) = (!self.telling, false);
        } else if line.starts_with("test result: ") {
            (self.telling, self.inside) = (false, false);
        } else if let Some(name) = begins(&line).filter(|_| self.telling) {
            self.tests.push((name.to_owned(), VecDeque::new()));
            self.inside = true;
        } else if let Some((_, lines)) = self.tests.last_mut().filter(|_| self.inside) {
            if lines.len() == TOLD_AGAIN {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }
}

impl Display for Failed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, lines) in &self.tests {
            writeln!(f, "---- {name}")?;
            for line in lines {
                writeln!(f, "{line}")?;
            }
        }
        let names: Vec<_> = self.tests.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "{} failed: {}", names.len(), names.join(", "))
    }
}

/// The name of the test whose printed lines follow.
fn begins(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

/// What a line of the tests' output says was skipped.
fn skip(line: &str) -> Option<(&str, &str)> {
    // The harness may have written the test's name in front of it.
    if let Some((_, rest)) = line.split_once("skipped: ") {
        return rest.split_once(": ").or(Some((rest, "no reason given")));
    }
    let (name, end) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some((name, end.trim_start_matches([',', ' '])))
}

fn check_skips(skipped: &BTreeMap<String, String>) -> Result<()> {
    let file = paths::root().join("tests/skips.txt");
    let list = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    let allowed: Vec<&str> = list
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split(':').next())
        .map(str::trim)
        .collect();
    let mut unlisted = 0;
    for (name, reason) in skipped {
        let listed = allowed.contains(&name.as_str());
        println!(
            "skipped{}: {name}: {reason}",
            if listed { "" } else { " and not listed" }
        );
        unlisted += usize::from(!listed);
    }
    if unlisted > 0 {
        bail!("{unlisted} tests were skipped that tests/skips.txt does not name with a reason");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Failed, skip};

    #[test]
    fn failed_tests_are_told_again() {
        let printed = "\
            test a ... ok\ntest b ... FAILED\n\nsuccesses:\n\n---- a stdout ----\nfine\n\nsuccesses:\n    a\n\n\
            failures:\n\n---- b stdout ----\nthread panicked\n\nfailures:\n    b\n\ntest result: FAILED.\n\
            ---- not a test ----\n";
        let mut failed = Failed::default();
        for line in printed.lines() {
            failed.take(line.to_owned());
        }
        assert_eq!(failed.to_string(), "---- b\nthread panicked\n\n1 failed: b");
    }

    #[test]
    fn skipped_and_ignored_tests_are_seen() {
        assert_eq!(
            skip("skipped: forwards: not root"),
            Some(("forwards", "not root"))
        );
        assert_eq!(
            skip("test a::b ... ignored, prints a timing"),
            Some(("a::b", "prints a timing"))
        );
        assert_eq!(skip("test a::b ... ok"), None);
        assert_eq!(
            skip("skipped: forwards"),
            Some(("forwards", "no reason given"))
        );
    }
}

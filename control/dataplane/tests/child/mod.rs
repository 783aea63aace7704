//! The test once more, in a process of its own: for what only a process can do that dies.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use nix::sys::signal::{Signal, raise};
use weir_dataplane::{HookChoice, Options, Step, SynBudget, SynBudgets};

use crate::bed::{Bed, MARK, TABLE, within};

/// What the process is to do; else the test is the one that people see.
const JOB: &str = "WEIR_TEST_JOB";
const OBJECT: &str = "WEIR_TEST_OBJECT";
const PINS: &str = "WEIR_TEST_PINS";

/// No bound to what one source may begin.
pub const UNBOUNDED: SynBudgets = SynBudgets {
    proxied: SynBudget::of(0),
    forwarded: SynBudget::of(0),
};

/// What this process is to do, when it is such a one: until which step, in which bed.
pub fn job() -> Option<(usize, Options)> {
    let step = std::env::var(JOB).ok()?.parse().expect("a number");
    let path = |name| std::env::var_os(name).expect("set with the job").into();
    let options = Options {
        object: path(OBJECT),
        pin_dir: path(PINS),
        outside: vec!["out".into()],
        inside: vec!["in".into()],
        mark: MARK,
        table: TABLE,
        hook: HookChoice::Tcx,
        budgets: UNBOUNDED,
        sample: 1,
    };
    Some((step, options))
}

/// Has `test` do its job in a process of its own, in the router's namespace, until it kills itself at this
/// step. False when it came to its end.
pub fn dies_at(step: usize, test: &str, bed: &Bed) -> bool {
    let output = within(&bed.router, || {
        Command::new(std::env::current_exe().expect("a running program has a path"))
            .args(["--exact", test])
            .env(JOB, step.to_string())
            .env(OBJECT, &bed.options.object)
            .env(PINS, &bed.options.pin_dir)
            .output()
            .expect("this program runs")
    });
    let killed = output.status.signal() == Some(Signal::SIGKILL as i32);
    assert!(
        killed || output.status.success(),
        "step {step}: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    killed
}

/// Kills this process at a step, counted from 1.
pub fn die_at(step: usize) -> impl FnMut(Step) {
    let mut done = 0;
    move |_| {
        done += 1;
        if done == step {
            raise(Signal::SIGKILL).expect("nobody can refuse it");
        }
    }
}

/// The same, but steps of one kind that follow each other count as one.
pub fn die_at_kind(kind: usize) -> impl FnMut(Step) {
    let mut last = None;
    let mut die = die_at(kind);
    move |step| {
        if last.replace(step) != Some(step) {
            die(step);
        }
    }
}

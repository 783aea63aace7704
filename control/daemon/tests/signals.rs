//! The daemon as a process: what signals do to it.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// No start takes so long.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn sighup_while_it_starts_does_not_end_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("weir.toml");
    std::fs::write(&config, "[nonsense]\n").expect("written");
    // Who has something to say waits for somebody who reads it: so the daemon stays where it is.
    let (mut said, mut full) = std::io::pipe().expect("a pipe");
    let filler = vec![b'.'; 64 << 10];
    full.write_all(&filler).expect("a pipe holds so much");
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_weir-control"))
        .arg("--config")
        .arg(&config)
        .stderr(Stdio::from(full))
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    while !catches_sighup(daemon.id()) {
        assert!(begun.elapsed() < PATIENCE, "it does not listen to SIGHUP");
        std::thread::yield_now();
    }

    let process = Pid::from_raw(daemon.id().cast_signed());
    kill(process, Signal::SIGHUP).expect("it lives");

    let mut text = String::new();
    said.read_to_string(&mut text).expect("words");
    let ended = daemon.wait().expect("it ends");
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(text.contains("nonsense"), "{text}");
}

/// Whether a process has a handler for SIGHUP, the first of all signals (proc(5)).
fn catches_sighup(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it cannot end");
    let mut lines = status.lines();
    let caught = lines.find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = u64::from_str_radix(caught.expect("a mask").trim(), 16).expect("a number");
    caught & 1 == 1
}

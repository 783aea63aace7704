//! The daemon as a process: what signals do to it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

#[test]
fn sighup_while_it_starts_does_not_end_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("weir.toml");
    mkfifo(&config, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    let daemon = Command::new(env!("CARGO_BIN_EXE_weir-control"))
        .arg("--config")
        .arg(&config)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A pipe opens when the other side opens it: the daemon is about to read its configuration.
    let mut pipe = OpenOptions::new()
        .write(true)
        .open(&config)
        .expect("a reader");

    let process = Pid::from_raw(daemon.id().cast_signed());
    kill(process, Signal::SIGHUP).expect("it lives");
    pipe.write_all(b"[nonsense]\n").expect("it still reads");
    drop(pipe);

    let ended = daemon.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.status);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("nonsense"), "{said}");
}

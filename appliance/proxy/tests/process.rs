//! The binary as a process: what it refuses, what it may do, and how it ends.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::upstream::text;
use common::{MANAGED, Setting, Stage, patiently};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

const BINARY: &str = env!("CARGO_BIN_EXE_weir-proxy");
/// `nobody`, on every Linux.
const NOBODY: u32 = 65534;

#[test]
fn it_refuses_to_serve_as_root() {
    if !Uid::effective().is_root() {
        eprintln!("not root: nothing to refuse");
        return;
    }
    let output = Command::new(BINARY)
        .args(["--control", "/nowhere"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("refusing to serve as root"), "{said}");
}

#[tokio::test]
async fn it_serves_without_privileges_and_ends_on_a_signal() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    // Where the other user may execute it, wherever the build is.
    let binary = directory.path().join("weir-proxy");
    std::fs::copy(BINARY, &binary).unwrap();
    let (tell, pid) = std::sync::mpsc::channel();
    let mut stage = Stage::around(
        Setting::default(),
        |_| text(200, "hello"),
        |control, stop| {
            let mut child = tokio::process::Command::from(command(&binary, &control))
                .spawn()
                .unwrap();
            let process = Pid::from_raw(child.id().unwrap().cast_signed());
            tell.send(process).unwrap();
            tokio::spawn(async move {
                stop.await.unwrap();
                kill(process, Signal::SIGTERM).unwrap();
                assert_eq!(child.wait().await.unwrap().code(), Some(0));
            })
        },
    )
    .await;
    let pid = pid.recv().unwrap();

    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(field("Uid:").iter().all(|uid| uid != "0"), "{status}");
    for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    assert_eq!(field("NoNewPrivs:"), ["1"]);

    let answer = stage
        .http2(MANAGED)
        .await
        .get("/adfs/ls/?wa=wsignin1.0")
        .await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "hello"));
    assert_eq!(stage.event().await.decision, "pass");
    patiently(stage.stop(Duration::ZERO)).await;
}

#[test]
fn help_shows_an_example() {
    let output = Command::new(BINARY).arg("--help").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("weir-proxy --control /run/weir/proxy.sock"),
        "{said}"
    );
}

fn command(binary: &Path, control: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--control").arg(control).stdin(Stdio::null());
    if Uid::effective().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

//! The command line as a process.

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;
use weir_control::testing::Appliance;

/// The command line, asking at a socket.
pub fn command(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command
        .arg("--socket")
        .arg(socket)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// What it does with an appliance.
pub async fn weir(appliance: &Appliance, arguments: &[&str]) -> Output {
    let mut command = command(&appliance.control_socket(), arguments);
    command.output().await.expect("it runs")
}

/// Its standard output.
pub fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Its standard error.
pub fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

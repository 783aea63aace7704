//! Looking after the machine from its management side: commands by SSH, and Weir's control socket, carried over the same
//! connection to where the lab expects it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::seed::USER;
use super::tool;
use crate::exec::{Identity, clean};
use crate::lab::Lab;
use crate::netns::Part;
use crate::topology::MANAGED;

/// How long the machine may take to let somebody in, and its daemons to be ready, after the first boot's configuration.
const READY: Duration = Duration::from_mins(5);
/// How long a command may take there.
const COMMAND: Duration = Duration::from_mins(2);
/// How often it is looked again.
const AGAIN: Duration = Duration::from_millis(500);

/// The key that the machine is told to take.
pub struct Key {
    /// The public half, as a line of `authorized_keys`.
    pub public: String,
}

/// A connection to the machine.
#[derive(Debug)]
pub struct Shell {
    lab: Lab,
    socket: PathBuf,
    _connection: Child,
}

/// Makes a key below `directory`.
pub fn make_key(directory: &Path) -> Result<Key> {
    let file = directory.join("key");
    for old in ["key", "key.pub", "known_hosts"] {
        match fs::remove_file(directory.join(old)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    tool(
        clean("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "weir-lab", "-f"])
            .arg(&file),
    )?;
    Ok(Key {
        public: fs::read_to_string(file.with_extension("pub"))?,
    })
}

impl Shell {
    /// Connects; tries again while the machine is on its way.
    pub async fn open(lab: &Lab, directory: &Path) -> Result<Self> {
        let socket = lab.run.join("ssh.sock");
        let control = lab.control();
        let place = control.socket();
        fs::create_dir_all(place.parent().context("a socket lies in a folder")?)?;
        let connect = async {
            loop {
                for old in [place, &socket] {
                    let _ = fs::remove_file(old);
                }
                let mut command = clean("ssh");
                command
                    .args(["-F", "none", "-N", "-M", "-o", "BatchMode=yes"])
                    .args([
                        "-o",
                        "ConnectTimeout=60",
                        "-o",
                        "StrictHostKeyChecking=accept-new",
                    ])
                    .args(["-o", "ExitOnForwardFailure=yes", "-o", "IdentitiesOnly=yes"])
                    .arg("-o")
                    .arg(format!(
                        "UserKnownHostsFile={}",
                        directory.join("known_hosts").display()
                    ))
                    .arg("-i")
                    .arg(directory.join("key"))
                    .arg("-S")
                    .arg(&socket)
                    .arg("-L")
                    .arg(format!("{}:/run/weir/control.sock", place.display()))
                    .arg(format!("{USER}@{MANAGED}"))
                    .stdin(Stdio::null());
                command.stderr(fs::File::create(directory.join("ssh.log"))?);
                lab.entry(Part::Weir, None, Identity::Root)?
                    .apply(&mut command);
                let mut command = tokio::process::Command::from(command);
                let mut connection = command.kill_on_drop(true).spawn()?;
                while connection.try_wait()?.is_none() {
                    if socket.exists() {
                        return anyhow::Ok(connection);
                    }
                    sleep(AGAIN).await;
                }
                sleep(AGAIN).await;
            }
        };
        let connection = timeout(READY, connect).await.with_context(|| {
            let log = fs::read_to_string(directory.join("ssh.log")).unwrap_or_default();
            format!("nobody is let in by SSH: {}", log.trim())
        })??;
        Ok(Self {
            lab: Lab::plan(lab.options.clone())?,
            socket,
            _connection: connection,
        })
    }

    /// What a command prints in the machine.
    pub async fn said(&self, script: &str) -> Result<String> {
        let mut command = clean("ssh");
        command
            .args(["-F", "none", "-S"])
            .arg(&self.socket)
            .arg(format!("{USER}@{MANAGED}"))
            .arg(script)
            .stdin(Stdio::null());
        self.lab
            .entry(Part::Weir, None, Identity::Root)?
            .apply(&mut command);
        let mut command = tokio::process::Command::from(command);
        let output = timeout(COMMAND, command.kill_on_drop(true).output())
            .await
            .with_context(|| format!("`{script}` does not end in the machine"))??;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!(
                "`{script}` in the machine: {}: {said} {}",
                output.status,
                why.trim()
            );
        }
        Ok(said)
    }

    /// Waits until both planes of the machine's Weir are ready.
    pub async fn both_planes_ready(&self, lab: &Lab) -> Result<()> {
        let control = lab.control();
        let ready = async {
            // Nobody answers before weir-control does.
            while control.both_planes_ready().await.is_err() {
                sleep(AGAIN).await;
            }
        };
        if timeout(READY, ready).await.is_ok() {
            return Ok(());
        }
        let units = self
            .said("systemctl --no-pager --full status weir-control weir-proxy || true")
            .await?;
        bail!("the machine's planes are not ready:\n{units}")
    }
}

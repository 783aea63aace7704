//! A sign-in by msal, in a Python of its own, and what the application would show.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::Stage;
use super::curl::explains;
use super::row::Evidence;
use crate::exec::{Identity, clean};
use crate::netns::Part;
use crate::sources::{Class, Family};

/// The program that uses msal.
const CLIENT: &str = include_str!("../../clients/msal_client.py");
/// Longer than any sign-in takes.
const PATIENCE: Duration = Duration::from_mins(1);

/// What msal is asked to do.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// Everything, as an application does: realm discovery, then what it says.
    Password {
        /// User principal name.
        user: String,
        /// Password.
        password: String,
    },
    /// One WS-Trust request.
    Active {
        /// Endpoint.
        url: String,
        /// `2005` or `13`.
        version: &'static str,
        /// User principal name.
        user: String,
        /// Password.
        password: String,
    },
    /// The metadata exchange alone.
    Mex {
        /// Endpoint.
        url: String,
    },
}

/// What the application has in hand afterwards.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// A token.
    pub token: bool,
    /// Endpoints that the metadata exchange told.
    pub mex: Option<Value>,
    /// Name of the error.
    pub error: String,
    /// What the error says.
    pub said: String,
    /// The addresses that were asked, without queries.
    pub asked: Vec<String>,
}

/// The Python that has msal.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
    script: PathBuf,
}

impl Python {
    /// Checks that msal is there, and puts the client where every user of the lab can read it.
    pub fn new(stage_directory: &std::path::Path, venv: Option<&std::path::Path>) -> Result<Self> {
        let Some(venv) = venv else {
            bail!(
                "rows with msal need --venv DIR, a Python environment with msal; or leave them out with --only 'curl/*'"
            );
        };
        let program = std::path::absolute(venv)?.join("bin/python");
        let check = std::process::Command::new(&program)
            .args(["-c", "import msal"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        if !check.status.success() {
            let said = String::from_utf8_lossy(&check.stderr);
            bail!("{} cannot import msal: {}", program.display(), said.trim());
        }
        let script = stage_directory.join("msal_client.py");
        std::fs::write(&script, CLIENT)
            .with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Self { program, script })
    }
}

impl SignIn {
    /// Does it, from the address of `class`.
    pub async fn run(&self, stage: &Stage<'_>, class: Class, family: Family) -> Result<Answer> {
        let python = stage.python.as_ref().context("this row needs msal")?;
        let mut command = clean(&python.program);
        command
            .arg("-B")
            .arg(&python.script)
            .env("HOME", stage.lab.home(class));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let identity = Identity::Reader(class.source().uid);
        stage
            .lab
            .entry(Part::Inet, Some(family), identity)?
            .apply(&mut command);
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run Python")?;
        let mut stdin = child.stdin.take().expect("stdin was asked for");
        // When Python ended early, what it says is reported below.
        let _ = stdin
            .write_all(self.wanted(stage).to_string().as_bytes())
            .await;
        drop(stdin);
        let output = timeout(PATIENCE, child.wait_with_output())
            .await
            .context("msal does not end")??;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let line = stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| {
            format!(
                "msal's client failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })
    }

    fn wanted(&self, stage: &Stage<'_>) -> Value {
        let mut wanted = match self {
            Self::Password { user, password } => json!({
                "do": "password", "user": user, "password": password,
                "authority": format!("https://{}/{}", stage.lab.plan.cloud.login.host, stage.lab.plan.cloud.tenant),
                "client_id": stage.lab.plan.oauth_clients[0].id,
            }),
            Self::Active {
                url,
                version,
                user,
                password,
            } => json!({
                "do": "active", "url": url, "version": version, "user": user, "password": password,
            }),
            Self::Mex { url } => json!({ "do": "mex", "url": url }),
        };
        wanted["ca"] = json!(stage.lab.ca());
        wanted
    }
}

impl Answer {
    /// What it is, in words: the same words whatever was expected.
    pub fn describe(&self, evidence: &Evidence) -> String {
        let way = match self.asked.last().map(String::as_str) {
            Some(last) if last.ends_with("/mex") => " at MEX",
            _ => "",
        };
        if self.token {
            return match self.active() {
                Some(version) => format!("token by WS-Trust {version}"),
                None => "token".to_owned(),
            };
        }
        if self.mex.is_some() {
            return "endpoints".to_owned();
        }
        if explains(&self.said, evidence) {
            return format!("blocked{way}, explained");
        }
        // The second as msal says it on the whole way.
        if self.said.contains("403 Client Error") || self.said.contains("HTTP Error: 403") {
            return format!("403{way}");
        }
        if self.error == "ConnectTimeout" {
            return "no answer".to_owned();
        }
        if self.said.contains("FailedAuthentication") {
            return "wrong password".to_owned();
        }
        format!(
            "{}{way}: {}",
            self.error,
            self.said.chars().take(80).collect::<String>()
        )
    }

    /// The WS-Trust version that was used.
    fn active(&self) -> Option<&'static str> {
        let asked = self
            .asked
            .iter()
            .rev()
            .find(|url| url.ends_with("/usernamemixed"))?;
        Some(if asked.contains("/2005/") {
            "2005"
        } else {
            "1.3"
        })
    }
}

//! The tenant of Entra in the lab's cloud: how its process is started, how what it holds is changed, and what it saw.
//!
//! It is changed as its administrators would, by HTTP on a port that only the lab reaches. What it saw is read from its
//! log, of which each line says when it answered.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpSocket;
use weir_lab_servers::pki::{token_signer, token_signer_for};
use weir_lab_servers::plan::write_private;

use crate::exec::clean;
use crate::lab::Lab;
use crate::netns::{Netns, Part};
use crate::settings::Slot;

/// The application that Weir is there.
pub const APPLICATION: &str = "6f1d0c52-3b7e-4d9a-9c41-5e8f7a6b2c30";
/// Where its administrators' browsers come back to.
pub const CALLBACK: &str = "https://weir.fabrik.example/entra/consent";
/// Where the tenant is changed.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Where a host is that is none of the tenant's.
pub const ELSEWHERE: &str = "https://localhost:8443";
/// For how long the certificate is good that ends soon.
const SOON: time::Duration = time::Duration::days(20);

/// Speaks to the tenant's administration.
#[derive(Clone, Debug)]
pub struct Administration {
    cloud: Netns,
    log: PathBuf,
}

/// A request that the tenant answered, as its log has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Asked {
    /// When it was answered.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Where it came in.
    pub local: SocketAddr,
    /// What was asked for.
    #[serde(default)]
    pub path: Option<String>,
    /// How it was answered.
    #[serde(default)]
    pub status: Option<u16>,
}

/// The process, with its key material made: the server's certificate is of the lab's authority, and of the application's
/// certificates one is registered.
pub fn command(lab: &Lab) -> Result<Command> {
    let directory = directory(lab);
    let files = lab.plan.files();
    let save = |name: &str, text: &str| {
        let path = directory.join(name);
        write_private(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    };
    for (from, to) in [
        (files.ca(), "ca.pem"),
        (files.chain("tenant"), "server.pem"),
        (files.key("tenant"), "server.key"),
    ] {
        let text = fs::read_to_string(&from);
        save(
            to,
            &text.with_context(|| format!("cannot read {}", from.display()))?,
        )?;
    }
    let (signing, signing_key) = token_signer("Entra Signing")?;
    save("signing.pem", &signing)?;
    save("signing.key", &signing_key)?;
    for slot in Slot::ALL {
        let (certificate, key) = match slot {
            Slot::Ending => token_signer_for("weir", SOON)?,
            Slot::First | Slot::Second => token_signer("weir")?,
        };
        for (path, text) in slot.files(&lab.plan).iter().zip([&certificate, &key]) {
            write_private(path, text.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if slot == Slot::First {
            save("app.pem", &certificate)?;
            save("app.key", &key)?;
        }
    }
    let log = directory.join("log.jsonl");
    match fs::remove_file(&log) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let cloud = &lab.plan.cloud;
    let mut command = clean(lab.options.bin_dir.join("weir-lab-entra"));
    command.arg("--directory").arg(directory).arg("--unlimited");
    for (name, site) in [("login", &cloud.sign_in), ("graph", &cloud.graph)] {
        let address = site.listen.first().context("a site has an address")?;
        command.arg(format!("--{name}")).arg(address.to_string());
        command.arg(format!("--{name}-host")).arg(&site.host);
    }
    command.args(["--admin", &ADMIN.to_string()]);
    command.args(["--elsewhere", "127.0.0.1:8443"]);
    Ok(command)
}

fn directory(lab: &Lab) -> PathBuf {
    lab.options.out.join("entra")
}

impl Administration {
    /// Of the tenant of a lab that stands.
    pub fn of(lab: &Lab) -> Self {
        Self {
            cloud: lab.namespace(Part::Cloud),
            log: directory(lab).join("log.jsonl"),
        }
    }

    /// How much there is: users, groups.
    pub async fn counts(&self) -> Result<[u64; 2]> {
        let state = self.ask("GET", &Value::Null).await?;
        let tenant = &state["tenants"][0];
        let of = |what: &str| tenant[what].as_u64().context("the tenant counts nothing");
        Ok([of("users")?, of("groups")?])
    }

    /// Changes something, and gives what the tenant says to it.
    pub async fn change(&self, change: Value) -> Result<Value> {
        self.ask("POST", &change).await
    }

    /// Makes somebody a member of a group, or a member no more.
    pub async fn member(&self, group: &str, who: &str, is_one: bool) -> Result<()> {
        let verb = if is_one { "join" } else { "leave" };
        let change = json!({ "do": verb, "group": group, "member": who });
        self.change(change).await.map(drop)
    }

    /// Sets a property of an object, or clears it with null.
    pub async fn set(&self, id: &str, property: &str, value: Value) -> Result<()> {
        let change = json!({ "do": "set", "id": id, "property": property, "value": value });
        self.change(change).await.map(drop)
    }

    /// Has requests to Graph go wrong from now on, so often or always.
    pub async fn spoil(&self, path: &str, times: Option<u32>, act: Value) -> Result<()> {
        let fault = json!({ "at": "graph", "path": path, "times": times, "act": act });
        let change = json!({ "do": "fault", "fault": fault });
        self.change(change).await.map(drop)
    }

    /// Nothing goes wrong any more.
    pub async fn mend(&self) -> Result<()> {
        self.change(json!({ "do": "mend" })).await.map(drop)
    }

    /// The requests that were answered so far.
    pub fn asked(&self) -> Result<Vec<Asked>> {
        let text = fs::read_to_string(&self.log)
            .with_context(|| format!("cannot read {}", self.log.display()))?;
        read(&text, &self.log)
    }

    async fn ask(&self, method: &str, body: &Value) -> Result<Value> {
        // A socket belongs to the namespace in which it was made, whoever uses it.
        let socket = self.cloud.run(TcpSocket::new_v4)??;
        let stream = socket
            .connect(ADMIN)
            .await
            .context("the tenant's administration")?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        let running = tokio::spawn(connection);
        let body = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let request = Request::builder().method(method).uri("/");
        let request = request.header("host", "admin").body(Full::new(body))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        running.abort();
        if !status.is_success() {
            bail!(
                "the tenant refuses a change: {}",
                String::from_utf8_lossy(&body)
            );
        }
        serde_json::from_slice(&body).context("the tenant's administration says no JSON")
    }
}

fn read(text: &str, path: &Path) -> Result<Vec<Asked>> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter(|line| line.contains("\"request\""));
    lines
        .map(|line| {
            serde_json::from_str(line)
                .with_context(|| format!("not a line of {}: {line}", path.display()))
        })
        .collect()
}

impl Asked {
    /// When, as the log writes it.
    pub fn at(&self) -> String {
        self.time.format(&Rfc3339).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_about_requests_are_read() {
        let text = concat!(
            "{\"time\":\"2026-01-02T03:04:05.5Z\",\"event\":\"connection\",\"local\":\"192.0.2.1:443\"}\n",
            "{\"time\":\"2026-01-02T03:04:06.5Z\",\"event\":\"request\",\"local\":\"192.0.2.1:443\",",
            "\"path\":\"/v1.0/groups/delta\",\"status\":200}\n",
            "{\"time\":\"2026-01-02T03:0"
        );
        let asked = read(text, Path::new("log")).expect("it is well-formed");
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].path.as_deref(), Some("/v1.0/groups/delta"));
        assert_eq!(asked[0].time.unix_timestamp(), 1_767_323_046);
    }
}

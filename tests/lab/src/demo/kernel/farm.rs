//! Two federation servers that answer for the service `sts`, each with a network and a log of its own, on the wire of the
//! services behind Weir.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::SERVICE;
use crate::demo::life::PATIENCE;
use crate::exec::{Entry, Identity};
use crate::lab::Lab;
use crate::netns::Netns;
use crate::settings::FARM;
use crate::topology::{ip, stand_beside};

/// The servers; their networks are gone when dropped.
pub struct Farm<'a> {
    lab: &'a Lab,
    servers: Vec<Server>,
}

struct Server {
    namespace: Netns,
    directory: PathBuf,
    running: Option<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl<'a> Farm<'a> {
    /// Two servers that run; with `own_the_service` each has the service's addresses on its loopback, else those are
    /// Weir's to them.
    pub async fn raise(lab: &'a Lab, own_the_service: bool) -> Result<Self> {
        let mut farm = Self {
            lab,
            servers: Vec::new(),
        };
        let service = lab.plan.service(SERVICE).context("the plan has it")?;
        let service: Vec<IpAddr> = service.listen.iter().map(SocketAddr::ip).collect();
        let namespaces = Netns::farm(&lab.options.instance);
        for (namespace, own) in namespaces.into_iter().zip(FARM) {
            let directory = lab.options.out.join(&namespace.name);
            fs::create_dir_all(&directory)?;
            let _ = fs::remove_file(directory.join("pki"));
            symlink(lab.options.out.join("pki"), directory.join("pki"))?;
            let mut plan = lab.plan.clone();
            plan.directory.clone_from(&directory);
            let its = plan.services.iter_mut().find(|its| its.name == SERVICE);
            let its = its.context("the plan has it")?;
            let addresses = own.iter().map(|own| own.parse().context("an address"));
            let addresses = addresses.collect::<Result<Vec<IpAddr>>>()?;
            let shared = service.iter().filter(|_| own_the_service);
            let all = addresses.iter().chain(shared);
            its.listen = all.map(|address| SocketAddr::new(*address, 443)).collect();
            its.probe.clear();
            plan.save(&directory.join("plan.json"))?;
            farm.servers.push(Server {
                namespace: namespace.clone(),
                directory,
                running: None,
            });
            let number = farm.servers.len();
            stand_beside(
                &lab.options.instance,
                &namespace,
                number,
                own,
                &service,
                own_the_service,
            )?;
            farm.start(number - 1).await?;
        }
        Ok(farm)
    }

    /// Starts a server, and waits until it serves.
    pub async fn start(&mut self, index: usize) -> Result<()> {
        let server = &mut self.servers[index];
        let plan = server.directory.join("plan.json");
        let mut command = self.lab.servers("idp", &plan);
        let said = fs::File::create(server.directory.join("said"))?;
        command.args(["--instance", SERVICE]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said);
        Entry::new(&server.namespace, &self.lab.hosts, None, Identity::Root)?.apply(&mut command);
        let mut child = Command::from(command)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run weir-lab-servers")?;
        let stdout = child.stdout.take().context("it was asked for")?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("ready") {
                    return Ok(());
                }
            }
            bail!("it ended: see {}", server.directory.join("said").display())
        };
        timeout(PATIENCE, ready)
            .await
            .context("a server does not begin to serve")??;
        server.running = Some((child, lines));
        Ok(())
    }

    /// Kills a server.
    pub async fn kill(&mut self, index: usize) -> Result<()> {
        if let Some((mut child, _)) = self.servers[index].running.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// From where requests came to each server so far.
    pub fn requests(&self) -> Result<Vec<Vec<SocketAddr>>> {
        let of_one = |server: &Server| {
            let log = server.directory.join(format!("log/{SERVICE}.jsonl"));
            let text = fs::read_to_string(&log)
                .with_context(|| format!("cannot read {}", log.display()))?;
            let mut peers = Vec::new();
            for line in text.lines() {
                let line: Value = serde_json::from_str(line)?;
                if line["event"] == "request" {
                    peers.push(serde_json::from_value(line["peer"].clone())?);
                }
            }
            Ok(peers)
        };
        self.servers.iter().map(of_one).collect()
    }
}

impl Drop for Farm<'_> {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.running = None;
            // What is left is swept with the lab.
            let _ = ip(&["netns", "delete", &server.namespace.name]);
        }
    }
}

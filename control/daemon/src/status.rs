//! Gathers what `weir status` and `GET /v1/counters` show.

use std::path::Path;

use time::OffsetDateTime;
use tokio::time::Instant;
use weir_abi::Verdict;
use weir_api::{
    ConfigStatus, Counter, Hook, KernelStatus, ListDetail, ListSummary, Outcome, Packets,
    ProxyState, ProxyStatus, ServiceStatus, Status,
};
use weir_config::Contents;
use weir_dataplane::Direction;

use crate::brain::{Brain, Noted};
use crate::generation::Generation;
use crate::watch::Stamp;
use crate::{Error, clock};

impl Brain {
    /// The state of the appliance.
    pub async fn status(&self) -> Result<Status, Error> {
        let running = self.running();
        let noted = self.noted();
        let (plane, counted) = self
            .parts
            .plane
            .run(|plane| (plane.status(), plane.counters()))
            .await?;
        let counters = counted?;
        let config = running.candidate.config();
        let kernel = KernelStatus {
            hooks: plane
                .interfaces
                .iter()
                .map(|interface| Hook {
                    interface: interface.name.clone(),
                    side: match interface.direction {
                        Direction::Outside => "outside".into(),
                        Direction::Inside => "inside".into(),
                    },
                    hook: interface.hook.to_owned(),
                    why: interface.why.to_owned(),
                    program: Some(interface.program),
                })
                .collect(),
            warnings: plane.warnings.clone(),
            detail: serde_json::to_value(&plane).unwrap_or_default(),
        };
        let services = running
            .kernel_services(!noted.fail_mode)
            .iter()
            .map(|service| ServiceStatus {
                name: service.name.clone(),
                addresses: service.addresses.clone(),
                ports: service.ports.clone(),
                verdicts: Generation::verdicts(service),
                packets: Verdict::ALL
                    .into_iter()
                    .filter_map(|verdict| {
                        let of = |counter: &&weir_dataplane::Counter| {
                            counter.service == service.id && counter.verdict == verdict
                        };
                        let (packets, bytes) =
                            counters
                                .iter()
                                .filter(of)
                                .fold((0, 0), |(packets, bytes), counter| {
                                    (packets + counter.packets, bytes + counter.bytes)
                                });
                        (packets > 0).then_some(Packets {
                            verdict,
                            packets,
                            bytes,
                        })
                    })
                    .collect(),
            })
            .collect();
        let proxy = self.proxy_status(&noted);
        let changed_on_disk = Stamp::of(&self.parts.config) != running.candidate.config_stamp;
        let warnings = self.warnings(&proxy, &noted, &kernel, changed_on_disk);
        Ok(Status {
            appliance: config.appliance.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: running.number,
            started: clock::text(self.started),
            config: ConfigStatus {
                path: self.parts.config.display().to_string(),
                digest: running.candidate.loaded.digest.clone(),
                loaded: clock::text(running.candidate.config_read),
                changed_on_disk,
            },
            last_reload: noted.last.clone(),
            proxy,
            kernel,
            services,
            lists: self.lists(),
            warnings,
        })
    }

    /// The kernel's counters, with names.
    pub async fn counters(&self) -> Result<Vec<Counter>, Error> {
        let running = self.running();
        let counters = self.parts.plane.run(|plane| plane.counters()).await??;
        let services = &running.candidate.config().services;
        Ok(counters
            .into_iter()
            .map(|counter| Counter {
                service: services
                    .get(usize::from(counter.service))
                    .map_or_else(String::new, |service| service.name.clone()),
                class: counter.class,
                verdict: counter.verdict,
                reason: counter.reason.name().to_owned(),
                packets: counter.packets,
                bytes: counter.bytes,
            })
            .collect())
    }

    /// The lists in force.
    pub fn lists(&self) -> Vec<ListSummary> {
        let running = self.running();
        let refused = self.noted().lists_refused;
        let read = running.candidate.lists_read;
        let age = (OffsetDateTime::now_utc() - read).whole_seconds();
        let sources = &running.candidate.config().lists;
        sources
            .iter()
            .zip(&running.candidate.lists)
            .map(|(source, list)| {
                let file = match &source.contents {
                    Contents::File(path) => Some(path),
                    Contents::Inline { .. } => None,
                };
                let mine = |file: &Path, why: &str| {
                    why.contains(&*file.to_string_lossy())
                        || file
                            .file_name()
                            .is_some_and(|name| why.contains(&*name.to_string_lossy()))
                };
                ListSummary {
                    name: list.name.clone(),
                    class: list.class,
                    scope: list.scope.name().to_owned(),
                    entries: list.prefixes.len(),
                    source: file.map_or_else(
                        || "configuration".to_owned(),
                        |path| path.display().to_string(),
                    ),
                    editable: file.is_some(),
                    loaded: clock::text(read),
                    age_seconds: u64::try_from(age).unwrap_or(0),
                    refused: file
                        .and_then(|file| refused.as_ref().filter(|why| mine(file, why)))
                        .cloned(),
                }
            })
            .collect()
    }

    /// One list with its entries.
    pub fn list(&self, name: &str) -> Result<ListDetail, Error> {
        let running = self.running();
        running.candidate.list_source(name)?;
        let summary = self.lists().into_iter().find(|list| list.name == name);
        let list = running
            .candidate
            .lists
            .iter()
            .find(|list| list.name == name);
        match (summary, list) {
            (Some(summary), Some(list)) => Ok(ListDetail {
                summary,
                prefixes: list.prefixes.clone(),
            }),
            _ => Err(Error::NoList {
                name: name.to_owned(),
                known: Vec::new(),
            }),
        }
    }

    fn proxy_status(&self, noted: &Noted) -> ProxyStatus {
        let now = Instant::now();
        let peers = self.parts.link.peers();
        let peers = peers.borrow();
        let current = peers.current();
        ProxyStatus {
            state: peers.state(now),
            pid: current.map(|peer| peer.pid),
            generation: current.and_then(|peer| peer.acknowledged),
            silent_for_ms: current
                .map(|peer| u64::try_from(now.duration_since(peer.heard).as_millis()).unwrap_or(0)),
            connects: peers.connects,
            fail_mode: noted.fail_mode,
            fail_mode_entered: noted.fail_mode_entered,
            refused: current.and_then(|peer| {
                peer.refused
                    .as_ref()
                    .map(|(number, why)| format!("generation {number}: {why}"))
            }),
            counts: current.map(|peer| peer.counts.clone()).unwrap_or_default(),
        }
    }

    fn warnings(
        &self,
        proxy: &ProxyStatus,
        noted: &Noted,
        kernel: &KernelStatus,
        changed_on_disk: bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        if proxy.fail_mode {
            warnings.push(
                "NO PROXY IS ALIVE: connections of unmanaged, bypass and relay sources are \
                 rejected; start weir-proxy"
                    .to_owned(),
            );
        } else if proxy.state != ProxyState::Alive {
            warnings.push("no proxy is alive: its connections wait; start weir-proxy".to_owned());
        }
        if let Some(refused) = &proxy.refused {
            warnings.push(format!("the proxy refuses {refused}"));
        }
        if proxy.counts.events_lost > 0 {
            warnings.push(format!(
                "the proxy lost {} audit events",
                proxy.counts.events_lost
            ));
        }
        if noted.last.outcome == Outcome::Refused {
            let first = noted.last.detail.lines().next().unwrap_or_default();
            warnings.push(format!(
                "the last {} was refused: {first}",
                noted.last.action
            ));
        }
        if let Some(why) = &noted.lists_refused {
            let first = why.lines().next().unwrap_or_default();
            warnings.push(format!("the list files on disk are not in force: {first}"));
        }
        if changed_on_disk {
            warnings.push(
                "the configuration file was changed and is not in force; `weir reload` loads it"
                    .to_owned(),
            );
        }
        if let Some((lines, why)) = self.audit().trouble() {
            warnings.push(format!(
                "{lines} lines of the audit log could not be written: {why}"
            ));
        }
        warnings.extend(kernel.warnings.iter().cloned());
        warnings
    }
}

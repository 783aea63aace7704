//! Gathers what `weir status` and `GET /v1/counters` show.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use weir_abi::Verdict;
use weir_api::{
    ConfigStatus, ControlStatus, Counter, Hook, KernelStatus, ListSummary, ListenersStatus,
    Outcome, Packets, ProxyState, ProxyStatus, Reloads, ServerStatus, ServiceStatus, Status,
    TransitionStatus,
};
use weir_config::Contents;
use weir_dataplane::Direction;

use crate::brain::{Brain, Noted};
use crate::generation::Generation;
use crate::watch::Stamp;
use crate::{Error, clock, one_way};

impl Brain {
    /// The state of the appliance.
    pub async fn status(&self) -> Result<Status, Error> {
        let (plane, counted) = self
            .parts
            .plane
            .run(|plane| (plane.status(), plane.counters()))
            .await?;
        let counters = counted?;
        // A change writes the generation first: who sees what is told of it sees it too.
        let noted = self.noted();
        let reloads = self.reloads_status();
        let running = self.running();
        let config = running.candidate.config();
        let mut kernel = self.kernel_status(&plane, config.kernel.drain_window);
        let silent = self.silent();
        let specs = running.kernel_services(!noted.fail_mode, &silent);
        kernel.warnings.extend(one_way::warnings(&specs, &counters));
        let services = specs
            .iter()
            .zip(&config.services)
            .map(|(service, configured)| ServiceStatus {
                name: service.name.clone(),
                addresses: service.addresses.clone(),
                ports: service.ports.clone(),
                proxy_down: configured.proxy_down.name().to_owned(),
                topology: service.topology.name().to_owned(),
                servers: service
                    .servers
                    .iter()
                    .map(|server| ServerStatus {
                        address: server.address,
                        answers: !silent
                            .contains(&SocketAddr::new(server.address, service.ports[0])),
                    })
                    .collect(),
                upstreams: self.upstreams(configured),
                verdicts: Generation::verdicts(service),
                observe: service.observe,
                packets: Verdict::ALL
                    .into_iter()
                    .flat_map(|verdict| [(verdict, false), (verdict, true)])
                    .filter_map(|(verdict, observed)| {
                        let of = |counter: &&weir_dataplane::Counter| {
                            counter.service == service.id
                                && counter.verdict == verdict
                                && counter.observed == observed
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
                            observed,
                            packets,
                            bytes,
                        })
                    })
                    .collect(),
            })
            .collect();
        let proxy = self.proxy_status(&running, &noted);
        let rolled_back = reloads.rolled_back.as_ref();
        let changed_on_disk = noted.config_refused.is_some()
            || rolled_back.is_some_and(|rolled| rolled.file_differs)
            || Stamp::of(&self.parts.config) != running.candidate.config_stamp;
        let mut warnings = told_of_reloads(&reloads, &noted);
        warnings.extend(self.warnings(&running, &proxy, &noted, &kernel, changed_on_disk));
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
                fallback: noted.config_refused.clone(),
                copied: noted.copied,
            },
            last_reload: noted.last.clone(),
            reloads,
            proxy,
            kernel,
            services,
            lists: self.summaries(&running),
            control: ControlStatus::default(),
            listeners: self.listeners_status(&running),
            entra: self.entra_status(),
            grants: self.grants_status(),
            warnings,
        })
    }

    /// The kernel's counters, with names.
    pub async fn counters(&self) -> Result<Vec<Counter>, Error> {
        let running = self.running();
        let counters = self.parts.plane.run(|plane| plane.counters()).await??;
        Ok(counters
            .into_iter()
            .map(|counter| Counter {
                service: running.service_name(Some(counter.service)),
                class: counter.class,
                verdict: counter.verdict,
                reason: counter.reason.name().to_owned(),
                hook: counter.hook,
                observed: counter.observed,
                packets: counter.packets,
                bytes: counter.bytes,
            })
            .collect())
    }

    /// The lists in force.
    pub fn lists(&self) -> Vec<ListSummary> {
        self.summaries(&self.running())
    }

    fn summaries(&self, running: &Generation) -> Vec<ListSummary> {
        let refused = self.noted().lists_refused;
        let read = running.candidate.lists_read;
        let age = (OffsetDateTime::now_utc() - read).whole_seconds();
        let sources = &running.candidate.config().lists;
        sources
            .iter()
            .zip(&running.candidate.lists)
            .map(|(source, list)| {
                let file = source.contents.file();
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
                    source: match &source.contents {
                        Contents::Inline { .. } => "configuration".to_owned(),
                        Contents::File(path) => path.display().to_string(),
                        Contents::Remote(remote) => remote.source.to_string(),
                    },
                    editable: matches!(source.contents, Contents::File(_)),
                    loaded: clock::text(read),
                    age_seconds: u64::try_from(age).unwrap_or(0),
                    refused: file
                        .and_then(|file| refused.as_ref().filter(|why| mine(file, why)))
                        .cloned(),
                    remote: self.fetched(&list.name),
                }
            })
            .collect()
    }

    /// One list: the generation in force, the list's place in it, and a few words.
    pub fn list(&self, name: &str) -> Result<(Arc<Generation>, usize, ListSummary), Error> {
        let running = self.running();
        running.candidate.list_source(name)?;
        let place = running
            .candidate
            .lists
            .iter()
            .position(|list| list.name == name)
            .expect("a generation has every list of its configuration");
        let summary = self.summaries(&running).swap_remove(place);
        Ok((running, place, summary))
    }

    fn kernel_status(&self, plane: &weir_dataplane::Status, window: Duration) -> KernelStatus {
        KernelStatus {
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
                    why: interface.why.clone(),
                    program: Some(interface.program),
                })
                .collect(),
            warnings: plane.warnings.clone(),
            transition: self.transition(window),
            detail: serde_json::to_value(plane).unwrap_or_default(),
        }
    }

    fn transition(&self, window: Duration) -> TransitionStatus {
        let draining = self.draining();
        let now = Instant::now();
        TransitionStatus {
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            ranges: draining.transition.ranges,
            v4_addresses: draining.transition.v4_addresses,
            until: draining
                .last
                .map(|last| clock::text(OffsetDateTime::now_utc() + (last - now))),
        }
    }

    fn proxy_status(&self, running: &Generation, noted: &Noted) -> ProxyStatus {
        let now = Instant::now();
        let peers = self.parts.link.peers();
        let peers = peers.borrow();
        let current = peers.current();
        let grace = running.candidate.config().appliance.restart_grace;
        ProxyStatus {
            state: peers.state(now),
            since: clock::text(peers.since(now).map_or(self.started, |since| {
                OffsetDateTime::now_utc() - now.duration_since(since)
            })),
            pid: current.map(|peer| peer.pid),
            generation: current.and_then(|peer| peer.acknowledged),
            silent_for_ms: current
                .map(|peer| u64::try_from(now.duration_since(peer.heard).as_millis()).unwrap_or(0)),
            connects: peers.connects,
            turned_away: peers.turned_away,
            turned_away_why: peers.turned_away_why.clone(),
            connections_broken: peers.connections_broken,
            restart_grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
            fail_mode: noted.fail_mode,
            fail_mode_entered: noted.fail_mode_entered,
            refused: current.and_then(|peer| {
                peer.refused
                    .as_ref()
                    .map(|(number, why)| format!("generation {number}: {why}"))
            }),
            counts: current.map(|peer| peer.counts.clone()).unwrap_or_default(),
            decided: self.decided(),
        }
    }

    fn listeners_status(&self, running: &Generation) -> ListenersStatus {
        let known = self.store.known();
        ListenersStatus {
            held: running.listeners.len(),
            store: self.store.is_there(),
            kept: known.kept.len(),
            taken_over: known.taken_over,
            trouble: known.trouble,
        }
    }

    fn warnings(
        &self,
        running: &Generation,
        proxy: &ProxyStatus,
        noted: &Noted,
        kernel: &KernelStatus,
        changed_on_disk: bool,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        let services = &running.candidate.config().services;
        let observed = services.iter().filter(|service| service.observe);
        let observed: Vec<_> = observed.map(|service| service.name.as_str()).collect();
        if !observed.is_empty() {
            warnings.push(format!(
                "OBSERVE ONLY: the kernel counts what it would do for {}, and does nothing: nobody is \
                 kept out; take `observe = true` out of the configuration and run `weir reload`",
                observed.join(", ")
            ));
        }
        if let Some((source, share)) = self.flows().dominating() {
            warnings.push(format!(
                "{share} % of all new connections come from {source}: does a balancer or NAT in front \
                 hide the clients? They cannot be told apart then: have it keep their addresses, or send \
                 PROXY protocol v2 and name it in `proxy_protocol_from` of [appliance]"
            ));
        }
        let next = match (proxy.state, proxy.pid) {
            (ProxyState::Silent, Some(pid)) => {
                format!("weir-proxy (pid {pid}) hangs: restart it, its log says more")
            }
            (ProxyState::Alive, _) => "weir-proxy works with no generation yet".to_owned(),
            _ => "start weir-proxy".to_owned(),
        };
        if proxy.fail_mode {
            let modes = running.without_proxy();
            warnings.push(format!("NO PROXY IS ALIVE: {modes}; {next}"));
        } else if proxy.state != ProxyState::Alive {
            warnings.push(format!("no proxy is alive: its connections wait; {next}"));
        }
        if let (Some(why), None) = (&proxy.turned_away_why, proxy.generation) {
            warnings.push(format!("a proxy was turned away: {why}"));
        }
        warnings.extend(self.grants_warnings());
        warnings.extend(self.metrics.warnings());
        warnings.extend(self.keys_warnings());
        warnings.extend(self.feeds_warnings());
        warnings.extend(self.entra_warnings());
        if let Some(why) = &noted.config_refused {
            warnings.push(format!(
                "THE CONFIGURATION FILE IS NOT IN FORCE: {}; correct it and run `weir reload`",
                brief(why)
            ));
        }
        if let Some(why) = &noted.copy_refused {
            warnings.push(format!(
                "there is no copy of this generation for a start with broken files: {why}"
            ));
        }
        let silent: Vec<_> = self.silent().iter().map(SocketAddr::to_string).collect();
        if !silent.is_empty() {
            warnings.push(format!(
                "servers do not answer, and get no new connections while others do: {}",
                silent.join(", ")
            ));
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
        // What list files have is told below.
        let told = noted.last.action == "list file" && noted.lists_refused.is_some();
        if noted.last.outcome == Outcome::Refused && !told {
            warnings.push(format!(
                "the last {} was refused: {}",
                noted.last.action,
                brief(&noted.last.detail)
            ));
        }
        if let Some(why) = &noted.lists_refused {
            warnings.push(format!(
                "the list files on disk are not in force: {}",
                brief(why)
            ));
        }
        let told = noted.config_refused.is_some() || self.is_rolled_back();
        if changed_on_disk && !told {
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

/// A reload that waits, and one that was taken back.
fn told_of_reloads(reloads: &Reloads, noted: &Noted) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(pending) = &reloads.pending {
        warnings.push(format!(
            "generation {} is to be confirmed, {} s are left: `weir confirm` keeps it, and without that \
             generation {} is put back; `weir undo` does so at once",
            pending.generation, pending.seconds_left, pending.back_to
        ));
    }
    if let Some(why) = &noted.back_refused {
        warnings.push(format!(
            "THE GENERATION BEFORE CANNOT BE PUT BACK: {}",
            brief(why)
        ));
    }
    if let Some(rolled) = &reloads.rolled_back {
        let file = if rolled.file_differs {
            "the configuration file on disk is not: `weir reload` would put it in force again"
        } else {
            "the configuration file says the same; what was rolled back are files that it names, and \
             `weir reload` would put them in force again"
        };
        warnings.push(format!(
            "ROLLED BACK at {}, because {}: what generation {} was is in force, and {file}",
            rolled.time, rolled.why, rolled.back_to
        ));
    }
    warnings
}

/// The first of several diagnostics, with its place, on one line.
fn brief(why: &str) -> String {
    let mut lines = why.lines();
    let first = lines.next().unwrap_or_default();
    let place = lines.next().unwrap_or_default().trim_start();
    match place.strip_prefix("--> ") {
        Some(place) => format!("{first} ({place})"),
        None => first.to_owned(),
    }
}

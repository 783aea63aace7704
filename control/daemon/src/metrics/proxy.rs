//! The proxy plane: whether it works, and what all proxies counted together.

use std::collections::BTreeMap;

use weir_api::{Decided, ProxyState, ProxyStatus, UpstreamStatus};
use weir_config::Service;
use weir_link::{Counted, TOOK_WITHIN};

use super::families::{Families, Number as _};
use crate::brain::Brain;
use crate::generation::Generation;
use crate::proxy_link::{Key, Totals};

pub(super) const UPSTREAM_UP: &str = "A server answers (1): in the kernel plane by connections that are opened to try it, \
                                      in the proxy plane by the last connection that was wanted.";

pub(super) fn tell(families: &mut Families, proxy: &ProxyStatus, serves: bool) {
    let alive = proxy.state == ProxyState::Alive;
    for (name, help, is) in [
        (
            "weir_proxy_alive",
            "A proxy is connected and gives signs of life (1).",
            alive,
        ),
        (
            "weir_proxy_serving",
            "A proxy is alive, takes connections and works with a generation (1).",
            serves,
        ),
        (
            "weir_proxy_in_grace",
            "No proxy serves, and connections wait for one (1); after that the fail mode acts.",
            !serves && !proxy.fail_mode,
        ),
        (
            "weir_proxy_fail_mode",
            "No proxy works: each service's `proxy_down` acts in the kernel (1).",
            proxy.fail_mode,
        ),
    ] {
        families.gauge(name, help).set(&[], is);
    }
    families
        .gauge(
            "weir_proxy_generation",
            "Newest generation that the current proxy works with; 0 when it works with none.",
        )
        .set(&[], proxy.generation.unwrap_or(0));
    families
        .gauge(
            "weir_proxy_connections",
            "Connections of clients that are open in the current proxy.",
        )
        .set(&[], proxy.counts.open);
    for (name, help, count) in [
        (
            "weir_proxy_fail_mode_entered_total",
            "How often the fail mode came into force.",
            proxy.fail_mode_entered,
        ),
        (
            "weir_proxy_connects_total",
            "How often a proxy connected to weir-control.",
            proxy.connects,
        ),
        (
            "weir_proxy_turned_away_total",
            "Processes that were turned away on the proxy's socket.",
            proxy.turned_away,
        ),
        (
            "weir_proxy_connections_broken_total",
            "Connections of clients that were open when a proxy ended.",
            proxy.connections_broken,
        ),
    ] {
        families.counter(name, help).add(&[], count);
    }
}

impl Brain {
    /// What all proxies decided, for status.
    pub(crate) fn decided(&self) -> Vec<Decided> {
        let totals = self.parts.link.totals();
        let decided = totals.sums().iter().filter_map(|(key, count)| match key {
            Key::Row(Counted::Decided {
                service,
                flow,
                client,
                decision,
            }) => Some(Decided {
                service: service.clone(),
                flow: flow.clone(),
                client: client.clone(),
                decision: decision.clone(),
                count: *count,
            }),
            _ => None,
        });
        decided.collect()
    }

    /// The servers that the proxy connects to for a service, for status.
    pub(crate) fn upstreams(&self, service: &Service) -> Vec<UpstreamStatus> {
        let totals = self.parts.link.totals();
        let servers = service.upstream.servers.iter();
        servers
            .map(|server| UpstreamStatus {
                server: *server,
                reached: totals.reached(&service.name, *server),
            })
            .collect()
    }
}

const COUNTS: [(&str, &str, &str); 8] = [
    (
        "accepted",
        "weir_proxy_connections_accepted_total",
        "Connections of clients that were accepted.",
    ),
    (
        "requests",
        "weir_proxy_requests_total",
        "Requests that policy decided.",
    ),
    (
        "tunnelled",
        "weir_proxy_tunnels_total",
        "Connections that were spliced without decryption.",
    ),
    (
        "refused",
        "weir_proxy_refused_total",
        "Requests and connections that were refused before policy.",
    ),
    (
        "events_lost",
        "weir_audit_events_lost_total",
        "Audit events that were lost between proxy and weir-control.",
    ),
    (
        "events_skipped",
        "weir_audit_events_skipped_total",
        "Audit events of refusals that were left out, because there were too many.",
    ),
    (
        "answers_cut",
        "weir_proxy_answers_cut_total",
        "Large answers that ended early, because something in them looked like a token.",
    ),
    (
        "replays_full",
        "weir_proxy_replays_full_total",
        "Tokens that were not taken for new ones, because no more could be remembered.",
    ),
];

/// Answers of one service by how long they took.
#[derive(Default)]
struct Took {
    within: [u64; TOOK_WITHIN.len()],
    beyond: u64,
    microseconds: u64,
}

/// What was counted by names; of the servers those that the configuration names.
pub(super) fn tell_totals(families: &mut Families, running: &Generation, totals: &Totals) {
    let sums = totals.sums();
    for (count, name, help) in COUNTS {
        let sum = sums.get(&Key::Count(count)).copied().unwrap_or(0);
        families.counter(name, help).add(&[], sum);
    }
    let failed = sums.get(&Key::Count("handshakes_failed"));
    handshakes(
        families,
        "unknown",
        false,
        failed.copied().unwrap_or(0),
        "failed",
    );
    let mut took: BTreeMap<&str, Took> = BTreeMap::new();
    for (key, sum) in sums {
        let Key::Row(row) = key else { continue };
        match row {
            Counted::Took { service, within } => {
                let took = took.entry(service).or_default();
                match took.within.get_mut(*within) {
                    Some(place) => *place += sum,
                    None => took.beyond += sum,
                }
            }
            Counted::TookMicroseconds { service } => {
                took.entry(service).or_default().microseconds += sum;
            }
            row => tell_row(families, row, *sum),
        }
    }
    for (service, took) in took {
        let bounds = TOOK_WITHIN.map(|bound| bound.number() / 1e6);
        let within: Vec<_> = bounds.into_iter().zip(took.within).collect();
        let mut durations = families.histogram(
            "weir_request_duration_seconds",
            "From the head of a request to the head of its answer, the sign-in server's part included.",
        );
        let sum = took.microseconds.number() / 1e6;
        durations.spread(&[("service", service)], &within, took.beyond, sum);
    }
    for service in &running.candidate.config().services {
        for server in &service.upstream.servers {
            if let Some(reached) = totals.reached(&service.name, *server) {
                let address = server.to_string();
                let labels = [
                    ("service", service.name.as_str()),
                    ("server", &address),
                    ("plane", "proxy"),
                ];
                families
                    .gauge("weir_upstream_up", UPSTREAM_UP)
                    .set(&labels, reached);
            }
        }
    }
}

fn tell_row(families: &mut Families, row: &Counted, sum: u64) {
    match row {
        Counted::Decided {
            service,
            flow,
            client,
            decision,
        } => {
            let labels = [
                ("service", service.as_str()),
                ("flow", flow),
                ("client", client),
                ("decision", decision),
            ];
            families
                .counter(
                    "weir_requests_total",
                    "Requests, tunnels and refusals by what was decided; none is left out.",
                )
                .add(&labels, sum);
        }
        Counted::Rule { service, rule } => families
            .counter(
                "weir_rule_hits_total",
                "Decisions by the rule that made them.",
            )
            .add(&[("service", service.as_str()), ("rule", rule)], sum),
        Counted::Unanswered { service } => families
            .counter(
                "weir_upstream_unanswered_total",
                "Requests that were decided, and that no server answered.",
            )
            .add(&[("service", service)], sum),
        Counted::Handshake { version, resumed } => {
            handshakes(families, version, *resumed, sum, "done");
        }
        Counted::Connected { service, server } => {
            connects(families, service, &server.to_string(), "done", sum);
        }
        Counted::NotConnected { service, server } => {
            connects(families, service, &server.to_string(), "failed", sum);
        }
        Counted::Took { .. } | Counted::TookMicroseconds { .. } => {}
    }
}

fn handshakes(families: &mut Families, version: &str, resumed: bool, sum: u64, result: &str) {
    let resumed = if resumed { "true" } else { "false" };
    let labels = [
        ("version", version),
        ("resumed", resumed),
        ("result", result),
    ];
    families
        .counter(
            "weir_tls_handshakes_total",
            "TLS handshakes of clients; of those that failed the version is not known.",
        )
        .add(&labels, sum);
}

fn connects(families: &mut Families, service: &str, server: &str, result: &str, sum: u64) {
    let labels = [("service", service), ("server", server), ("result", result)];
    families
        .counter(
            "weir_upstream_connects_total",
            "Connections that the proxy opened to servers, or could not.",
        )
        .add(&labels, sum);
}

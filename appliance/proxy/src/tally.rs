//! Counts decisions by service, flow, client and rule, how long answers took, and handshakes.
//!
//! In: every audit event, before any of them is left out or lost; so the numbers are whole when the log is not. Out:
//! rows for weir-control, once a second. The names are those of a generation, and there is room for no more than that.

use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::one::Ref;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use weir_link::{Counted, Event, EventKind, TOOK_WITHIN};
use weir_policy::{Client, DecisionKind, Flow};

use crate::counts::Counter;

/// Services that are told apart; the kernel has room for fewer.
const MOST_SERVICES: usize = 256;
/// Rules of a service that are told apart; others are `other`.
const MOST_RULES: usize = 4096;

const TUNNEL: usize = Flow::ALL.len();
const NO_FLOW: usize = TUNNEL + 1;
const FLOWS: usize = NO_FLOW + 1;
const NO_CLIENT: usize = Client::ALL.len();
const CLIENTS: usize = NO_CLIENT + 1;
const REFUSED: usize = DecisionKind::ALL.len();
const DECISIONS: usize = REFUSED + 1;

/// See the module.
#[derive(Debug, Default)]
pub struct Tally {
    services: DashMap<String, OfService>,
    /// By version, full and resumed.
    handshakes: [[Counter; 2]; 2],
}

#[derive(Debug)]
struct OfService {
    decided: Vec<Counter>,
    rules: DashMap<String, Counter>,
    unanswered: Counter,
    took: [Counter; TOOK_WITHIN.len() + 1],
    took_microseconds: Counter,
}

impl Default for OfService {
    fn default() -> Self {
        Self {
            decided: std::iter::repeat_with(Counter::default)
                .take(FLOWS * CLIENTS * DECISIONS)
                .collect(),
            rules: DashMap::new(),
            unanswered: Counter::default(),
            took: std::array::from_fn(|_| Counter::default()),
            took_microseconds: Counter::default(),
        }
    }
}

impl Tally {
    /// Counts what an event tells of.
    pub fn decided(&self, event: &Event) {
        let flow = match (&event.flow, event.kind) {
            (Some(flow), _) => place(Flow::ALL.map(Flow::name), flow).unwrap_or(NO_FLOW),
            (None, EventKind::Tunnel | EventKind::Upstream) => TUNNEL,
            (None, _) => NO_FLOW,
        };
        let client = event.client.as_deref();
        let client = client.and_then(|client| place(Client::ALL.map(Client::name), client));
        let decision = place(DecisionKind::ALL.map(DecisionKind::name), &event.decision);
        let client = client.unwrap_or(NO_CLIENT);
        let decision = decision.unwrap_or(REFUSED);
        let Some(service) = self.of(event.service.as_deref().unwrap_or_default()) else {
            return;
        };
        service.decided[(flow * CLIENTS + client) * DECISIONS + decision].add();
        if event.kind == EventKind::Upstream {
            service.unanswered.add();
        }
        if let Some(hits) = service.rules.get(&event.rule) {
            hits.add();
            return;
        }
        let full = service.rules.len() >= MOST_RULES;
        let rule = if full { "other" } else { &*event.rule };
        service.rules.entry(rule.to_owned()).or_default().add();
    }

    /// Counts how long a request took, from its head to the head of its answer.
    pub fn took(&self, service: &str, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let within = TOOK_WITHIN.partition_point(|bound| *bound < microseconds);
        if let Some(service) = self.of(service) {
            service.took[within].add();
            service.took_microseconds.add_many(microseconds);
        }
    }

    /// Counts a handshake that succeeded.
    pub fn handshake(&self, connection: &ServerConnection) {
        let newest = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        self.handshakes[usize::from(newest)][usize::from(resumed)].add();
    }

    /// All that was counted, without what is zero.
    pub fn read(&self) -> Vec<(Counted, u64)> {
        let mut rows = Vec::new();
        for (version, kinds) in ["1.2", "1.3"].into_iter().zip(&self.handshakes) {
            for (resumed, count) in [false, true].into_iter().zip(kinds) {
                let counted = Counted::Handshake {
                    version: version.to_owned(),
                    resumed,
                };
                rows.push((counted, count.read()));
            }
        }
        // In order, so that what is told twice is told alike.
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        for service in services {
            service.read(service.key(), &mut rows);
        }
        rows.retain(|(_, count)| *count > 0);
        rows
    }

    /// Nothing when there are too many; of those that are met for the first time in the same moment each finds room.
    fn of(&self, name: &str) -> Option<Ref<'_, String, OfService>> {
        if let Some(known) = self.services.get(name) {
            return Some(known);
        }
        if self.services.len() >= MOST_SERVICES {
            return None;
        }
        let new = self.services.entry(name.to_owned()).or_default();
        Some(new.downgrade())
    }
}

impl OfService {
    fn read(&self, name: &str, rows: &mut Vec<(Counted, u64)>) {
        let service = || name.to_owned();
        let flows = Flow::ALL
            .map(Flow::name)
            .into_iter()
            .chain(["tunnel", "none"]);
        let clients = Client::ALL.map(Client::name).into_iter().chain(["none"]);
        let decisions = DecisionKind::ALL.map(DecisionKind::name);
        let decisions = decisions.into_iter().chain(["refuse"]);
        let names = flows.flat_map(|flow| {
            let decisions = decisions.clone();
            clients.clone().flat_map(move |client| {
                decisions
                    .clone()
                    .map(move |decision| (flow, client, decision))
            })
        });
        rows.extend(
            names
                .zip(&self.decided)
                .map(|((flow, client, decision), count)| {
                    let counted = Counted::Decided {
                        service: service(),
                        flow: flow.to_owned(),
                        client: client.to_owned(),
                        decision: decision.to_owned(),
                    };
                    (counted, count.read())
                }),
        );
        let mut rules: Vec<_> = self.rules.iter().collect();
        rules.sort_unstable_by(|one, other| one.key().cmp(other.key()));
        for hits in rules {
            let (service, rule) = (service(), hits.key().clone());
            rows.push((Counted::Rule { service, rule }, hits.read()));
        }
        let unanswered = Counted::Unanswered { service: service() };
        rows.push((unanswered, self.unanswered.read()));
        rows.extend(self.took.iter().enumerate().map(|(within, count)| {
            let service = service();
            (Counted::Took { service, within }, count.read())
        }));
        let took = Counted::TookMicroseconds { service: service() };
        rows.push((took, self.took_microseconds.read()));
    }
}

fn place<const N: usize>(names: [&str; N], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

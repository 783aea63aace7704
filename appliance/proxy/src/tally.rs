//! Counts decisions by service, flow, client and rule, how long answers took, and handshakes.
//!
//! In: every audit event, before any of them is left out or lost; so the numbers are whole when the log is not. Out:
//! rows for weir-control, once a second. The names are those of a generation, and there is room for no more than that.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    services: Mutex<HashMap<String, OfService>>,
    /// By version, full and resumed.
    handshakes: [[Counter; 2]; 2],
}

#[derive(Debug)]
struct OfService {
    decided: Vec<u64>,
    rules: HashMap<String, u64>,
    unanswered: u64,
    took: [u64; TOOK_WITHIN.len() + 1],
    took_microseconds: u64,
}

impl Default for OfService {
    fn default() -> Self {
        Self {
            decided: vec![0; FLOWS * CLIENTS * DECISIONS],
            rules: HashMap::new(),
            unanswered: 0,
            took: [0; TOOK_WITHIN.len() + 1],
            took_microseconds: 0,
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
        let mut services = self.services();
        let Some(service) = of(&mut services, event.service.as_deref().unwrap_or_default()) else {
            return;
        };
        service.decided[(flow * CLIENTS + client) * DECISIONS + decision] += 1;
        service.unanswered += u64::from(event.kind == EventKind::Upstream);
        if let Some(hits) = service.rules.get_mut(&event.rule) {
            *hits += 1;
        } else {
            let full = service.rules.len() >= MOST_RULES;
            let rule = if full { "other" } else { &*event.rule };
            *service.rules.entry(rule.to_owned()).or_default() += 1;
        }
    }

    /// Counts how long a request took, from its head to the head of its answer.
    pub fn took(&self, service: &str, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let within = TOOK_WITHIN.partition_point(|bound| *bound < microseconds);
        if let Some(service) = of(&mut self.services(), service) {
            service.took[within] += 1;
            service.took_microseconds = service.took_microseconds.saturating_add(microseconds);
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
        let services = self.services();
        for (name, service) in services.iter().collect::<BTreeMap<_, _>>() {
            service.read(name, &mut rows);
        }
        rows.retain(|(_, count)| *count > 0);
        rows
    }

    fn services(&self) -> MutexGuard<'_, HashMap<String, OfService>> {
        // Numbers that grow are whole whatever panicked beside them.
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
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
                    (counted, *count)
                }),
        );
        for (rule, count) in self.rules.iter().collect::<BTreeMap<_, _>>() {
            let (service, rule) = (service(), rule.clone());
            rows.push((Counted::Rule { service, rule }, *count));
        }
        rows.push((Counted::Unanswered { service: service() }, self.unanswered));
        rows.extend(self.took.iter().enumerate().map(|(within, count)| {
            let service = service();
            (Counted::Took { service, within }, *count)
        }));
        let took = Counted::TookMicroseconds { service: service() };
        rows.push((took, self.took_microseconds));
    }
}

fn of<'s>(services: &'s mut HashMap<String, OfService>, name: &str) -> Option<&'s mut OfService> {
    if !services.contains_key(name) {
        if services.len() >= MOST_SERVICES {
            return None;
        }
        services.insert(name.to_owned(), OfService::default());
    }
    services.get_mut(name)
}

fn place<const N: usize>(names: [&str; N], name: &str) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

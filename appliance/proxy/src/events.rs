//! Audit events on their way to weir-control.
//!
//! A bounded queue stands between the data path and the socket: the data path never waits on it.
//! While weir-control is away the queue keeps what fits; what does not fit is counted as lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use tokio::sync::mpsc;
use weir_abi::Class;
use weir_link::{Event, EventKind};
use weir_policy::{DecisionKind, Flow};

use crate::counts::Counters;
use crate::sample::Sample;

/// Most events that wait for the socket.
pub const QUEUE: usize = 16_384;

/// The last quarter of the queue is for sign-ins that have passed: a flood of what has not, or of what
/// everybody may ask for, of which there may be any number, must not hide who got in.
const KEPT: usize = 4;

/// The end that the data path holds.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Box<Event>>,
    sample: Arc<Sample>,
    counters: Arc<Counters>,
}

impl Events {
    /// A queue for `capacity` events, and the end that the link drains.
    pub fn new(counters: Arc<Counters>, capacity: usize) -> (Self, mpsc::Receiver<Box<Event>>) {
        let (queue, waiting) = mpsc::channel(capacity);
        let events = Self {
            queue,
            sample: Arc::default(),
            counters,
        };
        (events, waiting)
    }

    /// Counts how long a request of a service took, from its head to the head of its answer.
    pub fn answered(&self, service: &str, time: Duration) {
        self.counters.tally.took(service, time);
    }

    /// Hands an event over, or counts it as lost. Never waits. Refusals are counted, and only sampled when
    /// there are too many.
    pub fn send(&self, mut event: Box<Event>) {
        self.counters.tally.decided(&event);
        if event.kind == EventKind::Refused {
            self.counters.refused.add();
        }
        if is_refusal(&event) {
            match self.sample.admit(event.peer.ip()) {
                Some(0) => {}
                Some(skipped) => {
                    let reason = event.reason.get_or_insert_default();
                    let more = skipped.to_string();
                    reason.extend([
                        " (",
                        &more,
                        " more refusals of this source are not told of)",
                    ]);
                }
                None => {
                    self.counters.events_skipped.add();
                    return;
                }
            }
        }
        let full = !lets_in(&event) && self.queue.capacity() <= self.queue.max_capacity() / KEPT;
        if full || self.queue.try_send(event).is_err() {
            self.counters.events_lost.add();
        }
    }
}

/// Whether somebody has passed, and with more than what everybody may ask for.
fn lets_in(event: &Event) -> bool {
    const FOR_EVERYBODY: [Flow; 3] = [Flow::Metadata, Flow::Asset, Flow::SignOut];
    let flow = event.flow.as_deref();
    event.decision == DecisionKind::Pass.name()
        && !FOR_EVERYBODY.iter().any(|all| flow == Some(all.name()))
}

/// What nobody needs every line of: what never reached policy, what is not there, and tunnels that were
/// not opened.
fn is_refusal(event: &Event) -> bool {
    let blocked = event.decision == DecisionKind::Block.name();
    event.kind == EventKind::Refused
        || blocked && (event.kind == EventKind::Tunnel || event.status == Some(404))
}

/// A reference id: 64 random bits as 16 lower-case hexadecimal digits. It stands in the answer and
/// in the event, and says nothing else.
pub fn reference_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// An event with what every event has; the caller fills in the rest.
pub fn event(id: String, kind: EventKind, generation: u64, peer: SocketAddr) -> Box<Event> {
    Box::new(Event {
        time: now(),
        id,
        kind,
        generation,
        service: None,
        peer,
        effective_source: None,
        class: Class::Unmanaged,
        list: None,
        method: None,
        host: None,
        path: None,
        flow: None,
        client: None,
        relying_party: None,
        stated_user: None,
        decision: String::new(),
        rule: String::new(),
        reason: None,
        status: None,
        client_request_id: None,
        decided_in_us: None,
        facts: None,
    })
}

fn now() -> String {
    const MILLISECONDS: StaticFormatDescription =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc()
        .format(MILLISECONDS)
        .expect("a date and time has every part of the format")
}

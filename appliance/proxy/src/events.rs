//! Audit events on their way to weir-control.
//!
//! A bounded queue stands between the data path and the socket: the data path never waits on it.
//! While weir-control is away the queue keeps what fits; what does not fit is counted as lost.

use std::net::SocketAddr;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use tokio::sync::mpsc;
use weir_abi::Class;
use weir_link::{Event, EventKind};

use crate::counts::Counters;

/// Most events that wait for the socket.
pub const QUEUE: usize = 16_384;

/// The end that the data path holds.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Box<Event>>,
    counters: Arc<Counters>,
}

impl Events {
    /// A queue for `capacity` events, and the end that the link drains.
    pub fn new(counters: Arc<Counters>, capacity: usize) -> (Self, mpsc::Receiver<Box<Event>>) {
        let (queue, waiting) = mpsc::channel(capacity);
        (Self { queue, counters }, waiting)
    }

    /// Hands an event over, or counts it as lost. Never waits.
    pub fn send(&self, event: Box<Event>) {
        if self.queue.try_send(event).is_err() {
            self.counters.events_lost.add();
        }
    }
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
    })
}

fn now() -> String {
    const MILLISECONDS: StaticFormatDescription =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc()
        .format(MILLISECONDS)
        .expect("a date and time has every part of the format")
}

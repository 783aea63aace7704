//! Audit events on their way to weir-control.
//!
//! A bounded queue stands between the data path and the socket: the data path never waits on it.
//! While weir-control is away the queue keeps what fits; what does not fit is counted as lost.
//!
//! An event is written by whoever sends it, while all that it tells of is still in the processor's cache, and
//! freed there. What waits are the bytes that go out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use tokio::sync::Notify;
use weir_abi::Class;
use weir_link::{Event, EventKind, Frames, FromProxy};
use weir_policy::{DecisionKind, Flow};

use crate::counts::Counters;
use crate::sample::Sample;

/// Most events that wait for the socket.
pub const QUEUE: usize = 16_384;
/// Events go out together, so many at a time.
pub const TOGETHER: usize = 256;

/// The last quarter of the queue is for sign-ins that have passed: a flood of what has not, or of what
/// everybody may ask for, of which there may be any number, must not hide who got in.
const KEPT: usize = 4;

/// The end that the data path holds.
#[derive(Clone, Debug)]
pub struct Events {
    queue: Arc<Queue>,
    sample: Arc<Sample>,
    counters: Arc<Counters>,
}

/// The end that the link drains.
#[derive(Debug)]
pub struct Waiting(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    most: usize,
    batches: Mutex<Batches>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Batches {
    /// Each but the last has [`TOGETHER`].
    waiting: VecDeque<Frames>,
    /// Events in all of them.
    events: usize,
    /// Memory of one that was sent.
    spare: Option<Frames>,
}

thread_local! {
    /// Where one event is written, before it is put behind others: writing takes longer than the queue may be
    /// held.
    static WRITTEN: RefCell<Frames> = RefCell::default();
}

impl Events {
    /// A queue for `capacity` events, and the end that the link drains.
    pub fn new(counters: Arc<Counters>, capacity: usize) -> (Self, Waiting) {
        let queue = Arc::new(Queue {
            most: capacity,
            batches: Mutex::default(),
            more: Notify::new(),
        });
        let events = Self {
            queue: Arc::clone(&queue),
            sample: Arc::default(),
            counters,
        };
        (events, Waiting(queue))
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
        if !self.queue.put(event) {
            self.counters.events_lost.add();
        }
    }
}

impl Queue {
    /// Whether there was room.
    fn put(&self, event: Box<Event>) -> bool {
        let kept = if lets_in(&event) { 0 } else { self.most / KEPT };
        let has_room = |batches: &Batches| batches.events + kept < self.most;
        // Nothing is written in vain while a flood goes on.
        if !has_room(&self.lock()) {
            return false;
        }
        let put = WRITTEN.with_borrow_mut(|written| {
            written.clear();
            if let Err(error) = written.add(&FromProxy::Event(event)) {
                tracing::error!(%error, "an event cannot be told");
                return false;
            }
            let mut batches = self.lock();
            let has_room = has_room(&batches);
            if has_room {
                batches.put(written);
            }
            has_room
        });
        if put {
            self.more.notify_one();
        }
        put
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        // Nothing in here can be left half done.
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batches {
    fn put(&mut self, event: &Frames) {
        match self.waiting.back_mut() {
            Some(last) if last.len() < TOGETHER => last.append(event),
            _ => {
                let mut next = self.spare.take().unwrap_or_default();
                next.append(event);
                self.waiting.push_back(next);
            }
        }
        self.events += 1;
    }
}

impl Waiting {
    /// The oldest events, at most [`TOGETHER`], as soon as there are any. Cancel safe.
    pub async fn next(&mut self) -> Frames {
        loop {
            if let Some(events) = self.try_next() {
                return events;
            }
            self.0.more.notified().await;
        }
    }

    /// The oldest events, if there are any.
    pub fn try_next(&mut self) -> Option<Frames> {
        let mut batches = self.0.lock();
        let events = batches.waiting.pop_front()?;
        batches.events -= events.len();
        Some(events)
    }

    /// Takes the memory of events back that were sent.
    pub fn reuse(&mut self, mut sent: Frames) {
        sent.clear();
        self.0.lock().spare = Some(sent);
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

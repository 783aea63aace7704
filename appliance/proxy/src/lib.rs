//! The proxy plane: TLS, HTTP, recognition of flows and policy for every connection that the kernel
//! does not forward itself.
//!
//! In: listening sockets, certificates, rules and lists, as generations, and the directory, from weir-control
//! over one unix socket ([`control`]); connections from the Internet ([`accept`]). Out: requests to the
//! upstream ([`upstream`]), Weir's own answers, and one audit event per decision ([`events`]).
//!
//! It must never need a privilege, read a file of its own, write a secret anywhere, forward what
//! policy has not passed, or keep a client waiting because weir-control is away.

pub mod accept;
pub mod body;
pub mod control;
pub mod counts;
pub mod directory;
mod ended;
pub mod events;
pub mod generation;
pub mod hello;
pub mod limits;
pub mod memory;
pub mod rates;
pub mod request;
mod sample;
pub mod serve;
pub mod shares;
pub mod sign_ins;
pub mod splice;
pub mod tally;
pub mod tls;
pub mod token;
pub mod upstream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, watch};

use counts::Counters;
use events::Events;
use generation::Live;
use limits::Limits;
use memory::Memory;
use shares::Shares;
use sign_ins::SignIns;
use token::{Replays, Wanted};
use weir_link::notify::Notify;

/// What every connection shares.
pub struct Shared {
    /// The generation in force.
    pub live: ArcSwap<Live>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// Where audit events go.
    pub events: Events,
    /// Where verified sign-ins go.
    pub sign_ins: SignIns,
    /// Tokens that were seen.
    pub replays: Replays,
    /// Whose keys are wanted.
    pub keys_wanted: Wanted,
    /// Whether the proxy is about to end.
    pub phase: watch::Receiver<Phase>,
    /// One for each connection that may be open.
    pub permits: Arc<Semaphore>,
    /// What clients may hold.
    pub limits: Limits,
    /// What each source holds of that.
    pub shares: Arc<Shares>,
    /// Memory for bodies.
    pub memory: Memory,
}

impl Shared {
    /// All that is counted by names, as it stands now.
    pub fn tally(&self) -> Vec<(weir_link::Counted, u64)> {
        let mut rows = self.counters.tally.read();
        for service in self.live.load().services() {
            rows.extend(service.upstream.connections(&service.name));
        }
        rows
    }

    /// All that is counted, as it stands now.
    pub fn counts(&self) -> weir_link::Counts {
        weir_link::Counts {
            replays_full: self.replays.full.read(),
            ..self.counters.read()
        }
    }
}

/// The life of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Serving,
    /// No more connections are accepted; what is open is finished.
    Draining,
    /// What is still open is cut.
    Cut,
}

/// How the proxy is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The unix socket of weir-control.
    pub control: PathBuf,
    /// Most client connections that are open at once.
    pub max_connections: usize,
    /// What clients may hold.
    pub limits: Limits,
    /// The service manager.
    pub notify: Notify,
}

/// Runs until weir-control says `Drain`, or `stop` is ready; then finishes what is open within the
/// grace that either of them gives. The service manager hears that the task which does this goes on, when
/// the first generation is in force, and that the proxy ends.
pub async fn run(options: Options, stop: impl Future<Output = Duration>) {
    let notify = options.notify.clone();
    notify.alive_during(serve_until(options, stop)).await;
}

async fn serve_until(options: Options, stop: impl Future<Output = Duration>) {
    let counters = Arc::new(Counters::default());
    let (events, waiting) = Events::new(Arc::clone(&counters), events::QUEUE);
    let (set_phase, phase) = watch::channel(Phase::Serving);
    let shared = Arc::new(Shared {
        live: ArcSwap::from_pointee(Live::empty()),
        counters,
        events,
        sign_ins: SignIns::default(),
        replays: Replays::default(),
        keys_wanted: Wanted::default(),
        phase,
        permits: Arc::new(Semaphore::new(options.max_connections)),
        limits: options.limits,
        shares: Arc::new(Shares::new(options.limits, options.max_connections)),
        memory: Memory::of_all(&options.limits),
    });
    let notify = options.notify;
    let mut link = control::Link::new(
        Arc::clone(&shared),
        waiting,
        options.control,
        notify.clone(),
    );
    let grace = link.serve(stop).await;
    notify.stopping();
    tracing::info!(?grace, "draining");
    // Receivers live as long as `shared`.
    let _ = set_phase.send(Phase::Draining);
    let all = u32::try_from(options.max_connections).unwrap_or(u32::MAX);
    let finished = tokio::time::timeout(grace, shared.permits.acquire_many(all));
    if link.report_until(finished).await.is_err() {
        let open = shared.counters.read().open;
        tracing::warn!(open, "the grace is over; cutting what is still open");
        // Told before they are cut: what the last heartbeat has open is broken.
        link.flush().await;
        let _ = set_phase.send(Phase::Cut);
    } else {
        link.flush().await;
    }
}

/// Ready when the proxy drains.
pub(crate) async fn draining(phase: &mut watch::Receiver<Phase>) {
    // The sender lives until every connection is gone or cut.
    let _ = phase.wait_for(|phase| *phase != Phase::Serving).await;
}

/// Ready when what is open is cut.
pub(crate) async fn cut(phase: &mut watch::Receiver<Phase>) {
    // As above.
    let _ = phase.wait_for(|phase| *phase == Phase::Cut).await;
}

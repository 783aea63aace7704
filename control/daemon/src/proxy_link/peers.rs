//! The connected proxies: which one counts, whether it works, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_api::ProxyState;
use weir_link::Counts;

/// Without a heartbeat for this long a proxy counts as silent. It sends one every second.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// A connected proxy.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its process id, as the kernel says.
    pub pid: u32,
    /// Newest generation that it works with.
    pub acknowledged: Option<u64>,
    /// Newest generation that it could not use, and why.
    pub refused: Option<(u64, String)>,
    /// When it was last heard of.
    pub heard: Instant,
    /// Since when it is heard of without a pause.
    pub alive_since: Instant,
    /// Its counters.
    pub counts: Counts,
}

impl Peer {
    pub(super) fn new(pid: u32) -> Self {
        let now = Instant::now();
        Self {
            pid,
            acknowledged: None,
            refused: None,
            heard: now,
            alive_since: now,
            counts: Counts::default(),
        }
    }

    /// A message came.
    pub(super) fn hear(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.heard) > SILENT_AFTER {
            self.alive_since = now;
        }
        self.heard = now;
    }
}

/// All connected proxies.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    by_session: BTreeMap<u64, Peer>,
    /// How many connected so far.
    pub connects: u64,
    /// Connections that were turned away: not the configured user, or another version.
    pub turned_away: u64,
    /// Why the last of them was.
    pub turned_away_why: Option<String>,
    /// Connections of clients that were open when a proxy ended.
    pub connections_broken: u64,
    /// When the last proxy went.
    pub gone_since: Option<Instant>,
}

impl Peers {
    /// The proxy that counts: of those that work with a generation the newest, else the newest.
    pub fn current(&self) -> Option<&Peer> {
        let ready = self
            .by_session
            .values()
            .rev()
            .find(|peer| peer.acknowledged.is_some());
        ready.or_else(|| self.by_session.values().next_back())
    }

    /// Whether the current proxy works, at the time `now`.
    pub fn state(&self, now: Instant) -> ProxyState {
        match self.current() {
            None => ProxyState::Gone,
            Some(peer) if now.duration_since(peer.heard) > SILENT_AFTER => ProxyState::Silent,
            Some(_) => ProxyState::Alive,
        }
    }

    /// Since when it is in this state; `None` when no proxy has connected yet.
    pub fn since(&self, now: Instant) -> Option<Instant> {
        match (self.state(now), self.current()) {
            (ProxyState::Alive, Some(peer)) => Some(peer.alive_since),
            (_, Some(peer)) => Some(peer.heard),
            (_, None) => self.gone_since,
        }
    }

    /// The last sign of life of a proxy that serves connections: it is alive, and works with some
    /// generation.
    pub fn serving(&self, now: Instant) -> Option<Instant> {
        let alive = self.state(now) == ProxyState::Alive;
        self.current()
            .filter(|peer| alive && peer.acknowledged.is_some())
            .map(|peer| peer.heard)
    }

    /// Whether a process of this number is connected.
    pub(super) fn knows(&self, pid: u32) -> bool {
        self.by_session.values().any(|peer| peer.pid == pid)
    }

    pub(super) fn peer(&mut self, session: u64) -> Option<&mut Peer> {
        self.by_session.get_mut(&session)
    }

    /// Numbers the session of a proxy that has connected.
    pub(super) fn join(&mut self, peer: Peer) -> u64 {
        self.connects += 1;
        self.by_session.insert(self.connects, peer);
        self.connects
    }

    pub(super) fn leave(&mut self, session: u64) -> Option<Peer> {
        let peer = self.by_session.remove(&session)?;
        if self.by_session.is_empty() {
            self.gone_since = Some(Instant::now());
        }
        Some(peer)
    }

    /// A newer proxy than this one works with a generation.
    pub(super) fn replaced(&self, session: u64) -> bool {
        let mut newer = self.by_session.range(session + 1..);
        newer.any(|(_, peer)| peer.acknowledged.is_some())
    }
}

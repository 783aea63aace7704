//! The connected proxies: which one counts, whether it works, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use weir_api::ProxyState;
use weir_link::Counts;

use super::memory::{Left, Memory};
use crate::process::Identity;

/// Without a heartbeat for this long a proxy counts as silent. It sends one every second.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);

/// A connected proxy.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its process id, as the kernel says.
    pub pid: u32,
    pub(super) identity: Identity,
    /// Newest generation that it works with.
    pub acknowledged: Option<u64>,
    /// Newest generation that it could not use, and why.
    pub refused: Option<(u64, String)>,
    /// Number of the directory that it asks; 0 when it was told that there is none.
    pub directory: Option<u64>,
    /// Newest directory that it could not use, and why.
    pub directory_refused: Option<(u64, String)>,
    /// When it was last heard of.
    pub heard: Instant,
    /// Since when it is heard of without a pause.
    pub alive_since: Instant,
    /// Its counters.
    pub counts: Counts,
    /// It was told to finish what it has open, and takes no new connection.
    drains: bool,
}

impl Peer {
    pub(super) fn new(identity: Identity) -> Self {
        let now = Instant::now();
        Self {
            pid: identity.pid,
            identity,
            acknowledged: None,
            refused: None,
            directory: None,
            directory_refused: None,
            heard: now,
            alive_since: now,
            counts: Counts::default(),
            drains: false,
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
    /// Processes that had connections open and are not connected: each has ended, or comes back.
    away: BTreeMap<Identity, Left>,
    /// How many connected so far.
    pub connects: u64,
    /// Connections that were turned away: not the configured user, or another version.
    pub turned_away: u64,
    /// Why the last of them was.
    pub turned_away_why: Option<String>,
    /// Connections of clients that were open when a proxy ended, as long as the run directory is there.
    pub connections_broken: u64,
    /// When the last proxy that counted went.
    pub gone_since: Option<Instant>,
}

impl Peers {
    /// The proxy that counts: of those that work with a generation the newest, else the newest. One
    /// that drains does not count, however lively it is: nobody would serve who connects.
    pub fn current(&self) -> Option<&Peer> {
        let mut newest = self.by_session.values().rev().filter(|peer| !peer.drains);
        let ready = newest.clone().find(|peer| peer.acknowledged.is_some());
        ready.or_else(|| newest.next())
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

    /// Those that an earlier weir-control knew: all are away.
    pub(super) fn remembered(memory: Memory) -> Self {
        Self {
            connections_broken: memory.connections_broken,
            away: memory.open.into_iter().collect(),
            ..Self::default()
        }
    }

    /// What a later weir-control must know.
    pub(super) fn memory(&self) -> Memory {
        let connected = self.by_session.values().filter(|peer| peer.counts.open > 0);
        let mut open = self.away.clone();
        open.extend(connected.map(|peer| (peer.identity, Left::of(peer))));
        Memory {
            connections_broken: self.connections_broken,
            open: open.into_iter().collect(),
        }
    }

    /// Processes that had connections open and are not connected.
    pub(super) fn away(&self) -> Vec<Identity> {
        self.away.keys().copied().collect()
    }

    pub(super) fn is_away(&self, identity: Identity) -> bool {
        self.away.contains_key(&identity)
    }

    /// A process that is away has ended: what it had open is broken. `None` when it came back, or was
    /// counted already.
    pub(super) fn ended(&mut self, identity: Identity) -> Option<Left> {
        let left = self.away.remove(&identity)?;
        self.connections_broken = self.connections_broken.saturating_add(left.open);
        Some(left)
    }

    /// The process of a session.
    pub(super) fn identity(&self, session: u64) -> Option<Identity> {
        self.by_session.get(&session).map(|peer| peer.identity)
    }

    pub(super) fn peer(&mut self, session: u64) -> Option<&mut Peer> {
        self.by_session.get_mut(&session)
    }

    /// Numbers the session of a proxy that has connected.
    pub(super) fn join(&mut self, mut peer: Peer) -> u64 {
        self.connects += 1;
        if let Some(left) = self.away.remove(&peer.identity) {
            // Until its next heartbeat says it anew.
            peer.counts.open = left.open;
        }
        self.by_session.insert(self.connects, peer);
        self.connects
    }

    /// Gives the process when it had connections open, and is not connected any more.
    pub(super) fn leave(&mut self, session: u64) -> Option<Identity> {
        let peer = self.by_session.remove(&session)?;
        if !peer.drains {
            self.note_when_the_last_went();
        }
        let identity = peer.identity;
        let mut others = self.by_session.values();
        let is_away = peer.counts.open > 0 && others.all(|other| other.identity != identity);
        is_away.then(|| {
            self.away.insert(identity, Left::of(&peer));
            identity
        })
    }

    /// A newer proxy than this one works with a generation, and takes new connections.
    pub(super) fn replaced(&self, session: u64) -> bool {
        let mut newer = self.by_session.range(session + 1..);
        newer.any(|(_, peer)| peer.acknowledged.is_some() && !peer.drains)
    }

    /// This one takes no more connections: who would be served waits for another proxy.
    pub(super) fn drain(&mut self, session: u64) {
        if let Some(peer) = self.peer(session)
            && !peer.drains
        {
            peer.drains = true;
            self.note_when_the_last_went();
        }
    }

    /// This one is to drain, if it is still replaced; gives whether it is.
    pub(super) fn retire(&mut self, session: u64) -> bool {
        let replaced = self.replaced(session);
        if let Some(peer) = self.peer(session) {
            peer.drains = replaced;
        }
        replaced
    }

    fn note_when_the_last_went(&mut self) {
        if self.current().is_none() {
            self.gone_since = Some(Instant::now());
        }
    }
}

//! The proxy's socket: hands every proxy that connects the generation in force, waits for it to say
//! that it works with it, and brings its events to the audit store.
//!
//! Several proxies may be connected at once, while one takes over from another. The one that works
//! with a generation and connected last is the *current* one; when it does, older ones are told to
//! finish what they have open. Only the configured user's processes are spoken to (`SO_PEERCRED`,
//! unix(7)), because a generation carries private keys.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;
use weir_api::{ProxyState, RecordBody};
use weir_link::{Channel, Counts, FromProxy, Receiver, Sender, ToProxy, VERSION};

use crate::audit::Audit;

/// Without a heartbeat for this long a proxy counts as silent. It sends one every second.
pub const SILENT_AFTER: Duration = Duration::from_secs(3);
/// How long a proxy may take for its first message, and for a generation.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long connections of a proxy that was replaced may go on.
const DRAIN_GRACE: Duration = Duration::from_mins(1);

/// A generation, ready to be sent any number of times.
#[derive(Debug)]
pub struct Handover {
    /// Its number.
    pub number: u64,
    message: ToProxy,
    descriptors: Vec<Arc<OwnedFd>>,
}

impl Handover {
    /// `descriptors` are in the order of [`weir_link::Generation::descriptors`].
    pub fn new(generation: weir_link::Generation, descriptors: Vec<Arc<OwnedFd>>) -> Self {
        debug_assert_eq!(generation.descriptors.len(), descriptors.len());
        Self {
            number: generation.number,
            message: ToProxy::Generation(Box::new(generation)),
            descriptors,
        }
    }
}

/// What became of a generation that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The current proxy works with it.
    Acknowledged,
    /// No proxy is alive; the next one that connects gets it.
    Nobody,
    /// The current proxy cannot use it, and says why.
    Refused(String),
    /// The current proxy, with this process id, did not answer in time.
    Late(u32),
}

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
    /// Its counters.
    pub counts: Counts,
}

/// All connected proxies.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    by_session: BTreeMap<u64, Peer>,
    /// How many connected so far.
    pub connects: u64,
    /// Connections that were turned away: not the configured user, or another version.
    pub turned_away: u64,
}

impl Peers {
    /// The proxy that counts: of those that work with a generation the newest, else the newest.
    pub fn current(&self) -> Option<&Peer> {
        self.current_session()
            .map(|session| &self.by_session[&session])
    }

    /// Whether the current proxy works, at the time `now`.
    pub fn state(&self, now: Instant) -> ProxyState {
        match self.current() {
            None => ProxyState::Gone,
            Some(peer) if now.duration_since(peer.heard) > SILENT_AFTER => ProxyState::Silent,
            Some(_) => ProxyState::Alive,
        }
    }

    /// Whether connections are served: a proxy is alive and works with some generation.
    pub fn serving(&self, now: Instant) -> bool {
        self.state(now) == ProxyState::Alive
            && self
                .current()
                .is_some_and(|peer| peer.acknowledged.is_some())
    }

    fn current_session(&self) -> Option<u64> {
        let ready = self
            .by_session
            .iter()
            .rev()
            .find(|(_, peer)| peer.acknowledged.is_some());
        ready
            .or_else(|| self.by_session.iter().next_back())
            .map(|(session, _)| *session)
    }

    /// A newer proxy than this one works with a generation.
    fn replaced(&self, session: u64) -> bool {
        let mut newer = self.by_session.range(session + 1..);
        newer.any(|(_, peer)| peer.acknowledged.is_some())
    }
}

/// The proxy's socket.
#[derive(Clone, Debug)]
pub struct ProxyLink {
    offer: watch::Sender<Option<Arc<Handover>>>,
    peers: watch::Sender<Peers>,
    uid: u32,
    audit: Arc<Audit>,
}

impl ProxyLink {
    /// Speaks to processes of `uid` only.
    pub fn new(uid: u32, audit: Arc<Audit>) -> Self {
        Self {
            offer: watch::Sender::new(None),
            peers: watch::Sender::new(Peers::default()),
            uid,
            audit,
        }
    }

    /// Accepts proxies on `socket` until the runtime ends.
    pub async fn serve(self, socket: UnixListener) {
        loop {
            match socket.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(self.clone().welcome(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the proxy's socket cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Offers a generation to every proxy, now and later, and waits for the current one's answer.
    pub async fn publish(&self, handover: Arc<Handover>) -> Answer {
        let number = handover.number;
        self.offer(handover);
        let mut peers = self.peers.subscribe();
        if peers.borrow().state(Instant::now()) != ProxyState::Alive {
            return Answer::Nobody;
        }
        let answered = peers.wait_for(|peers| {
            peers.current().is_none_or(|peer| {
                peer.acknowledged == Some(number)
                    || peer
                        .refused
                        .as_ref()
                        .is_some_and(|(refused, _)| *refused == number)
            })
        });
        let answer = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        let Ok(Ok(peers)) = answer else {
            return self
                .peers
                .borrow()
                .current()
                .map_or(Answer::Nobody, |peer| Answer::Late(peer.pid));
        };
        match peers.current() {
            None => Answer::Nobody,
            Some(Peer {
                refused: Some((refused, why)),
                ..
            }) if *refused == number => Answer::Refused(why.clone()),
            Some(_) => Answer::Acknowledged,
        }
    }

    /// Offers a generation without waiting.
    pub fn offer(&self, handover: Arc<Handover>) {
        self.offer.send_replace(Some(handover));
    }

    /// The connected proxies, and how they change.
    pub fn peers(&self) -> watch::Receiver<Peers> {
        self.peers.subscribe()
    }

    async fn welcome(self, stream: UnixStream) {
        match self.greet(stream).await {
            Ok((session, sender, receiver)) => self.attend(session, sender, receiver).await,
            Err(why) => {
                tracing::warn!(%why, "a connection on the proxy's socket is turned away");
                self.peers.send_modify(|peers| peers.turned_away += 1);
            }
        }
    }

    async fn greet(&self, stream: UnixStream) -> Result<(u64, Sender, Receiver), String> {
        let peer = stream.peer_cred().map_err(|error| error.to_string())?;
        if peer.uid() != self.uid {
            let (is, wanted) = (peer.uid(), self.uid);
            return Err(format!(
                "it is a process of uid {is}, and `proxy_user` has uid {wanted}"
            ));
        }
        let (sender, mut receiver) = Channel::new(stream).split();
        let hello = tokio::time::timeout(ANSWER_WITHIN, receiver.receive::<FromProxy>()).await;
        let said = match hello {
            Ok(Ok(Some((FromProxy::Hello { version, pid }, _)))) if version == VERSION => pid,
            Ok(Ok(Some((FromProxy::Hello { version, .. }, _)))) => {
                return Err(format!(
                    "it speaks version {version}, and this is {VERSION}: install weir-proxy and \
                     weir-control of the same release"
                ));
            }
            Ok(Ok(_)) => return Err("it did not begin with a hello".into()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it said nothing for five seconds".into()),
        };
        // Inside another pid namespace the proxy does not know the number it has out here.
        let pid = peer
            .pid()
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(said);
        let mut session = 0;
        self.peers.send_modify(|peers| {
            peers.connects += 1;
            session = peers.connects;
            peers.by_session.insert(
                session,
                Peer {
                    pid,
                    acknowledged: None,
                    refused: None,
                    heard: Instant::now(),
                    counts: Counts::default(),
                },
            );
        });
        tracing::info!(pid, session, "a proxy is connected");
        Ok((session, sender, receiver))
    }

    async fn attend(self, session: u64, sender: Sender, mut receiver: Receiver) {
        let sending = tokio::spawn(self.clone().send(session, sender));
        let why = loop {
            match receiver.receive::<FromProxy>().await {
                Ok(Some((message, _))) => self.hear(session, message),
                Ok(None) => break "it closed the socket".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        sending.abort();
        self.peers.send_modify(|peers| {
            if let Some(peer) = peers.by_session.remove(&session) {
                tracing::info!(pid = peer.pid, session, %why, "a proxy is gone");
            }
        });
    }

    fn hear(&self, session: u64, message: FromProxy) {
        let change = |change: &dyn Fn(&mut Peer)| {
            self.peers.send_modify(|peers| {
                if let Some(peer) = peers.by_session.get_mut(&session) {
                    peer.heard = Instant::now();
                    change(peer);
                }
            });
        };
        match message {
            FromProxy::Event(event) => {
                self.audit.append(RecordBody::Event(event));
            }
            FromProxy::Heartbeat(counts) => change(&|peer| peer.counts = counts.clone()),
            FromProxy::Ready { generation } => change(&|peer| {
                tracing::info!(
                    pid = peer.pid,
                    generation,
                    "the proxy works with the generation"
                );
                peer.acknowledged = Some(generation);
                peer.refused = None;
            }),
            FromProxy::Refused { generation, why } => change(&|peer| {
                tracing::error!(pid = peer.pid, generation, %why, "the proxy refuses the generation");
                peer.refused = Some((generation, why.clone()));
            }),
            FromProxy::Hello { .. } => {}
        }
    }

    /// Sends every generation that is offered, until a newer proxy has taken over.
    async fn send(self, session: u64, mut sender: Sender) {
        let mut offer = self.offer.subscribe();
        let mut peers = self.peers.subscribe();
        loop {
            let handover = offer.borrow_and_update().clone();
            if let Some(handover) = handover {
                let descriptors: Vec<_> = handover
                    .descriptors
                    .iter()
                    .map(|descriptor| descriptor.as_fd())
                    .collect();
                if let Err(error) = sender.send(&handover.message, &descriptors).await {
                    tracing::warn!(session, %error, "a generation cannot be sent");
                    return;
                }
            }
            tokio::select! {
                offered = offer.changed() => if offered.is_err() { return },
                () = until_replaced(&mut peers, session) => {
                    tracing::info!(session, "a newer proxy has taken over: this one drains");
                    let drain = ToProxy::Drain { grace: DRAIN_GRACE };
                    if let Err(error) = sender.send(&drain, &[]).await {
                        tracing::debug!(session, %error, "the old proxy is gone already");
                    }
                    return;
                }
            }
        }
    }
}

async fn until_replaced(peers: &mut watch::Receiver<Peers>, session: u64) {
    // The sender lives as long as any task of the link.
    let _ = peers.wait_for(|peers| peers.replaced(session)).await;
}

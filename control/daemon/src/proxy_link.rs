//! The proxy's socket: hands every proxy that connects the generation in force and the directory, waits for
//! it to say that it works with them, and brings its events to the audit store.
//!
//! Several proxies may be connected at once, while one takes over from another. The one that works
//! with a generation and connected last is the *current* one; when it does, older ones are told to
//! finish what they have open. Only the configured user's processes are spoken to (`SO_PEERCRED`,
//! unix(7)), because a generation carries private keys.
//!
//! A proxy that hangs is not waited for: without a heartbeat it counts as silent, and gets what is
//! offered when it goes on. When a proxy has ended, what its last heartbeat had open is counted as broken,
//! also when it ended while no weir-control ran (a small file in the run directory remembers it).

mod directory;
mod heard;
mod memory;
mod peers;
mod totals;
mod wanted;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use weir_api::record::ChangeKind;
use weir_api::{Actor, Change, ProxyState, RecordBody};
use weir_link::{Channel, FromProxy, Receiver, Sender, ToProxy, VERSION};

use crate::audit::Audit;
use crate::brain::blocking;
use crate::clock;
use crate::process::{Identity, Process};
use directory::Offered;
use heard::Heard;
pub(crate) use heard::Told;
use memory::Memory;
use wanted::Wanted;

pub use directory::DirectoryHandover;
pub use peers::{Peer, Peers, SILENT_AFTER};
pub(crate) use totals::{Key, Totals};

/// How long a proxy may take for its first message, and for a generation.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long connections of a proxy that was replaced may go on.
const DRAIN_GRACE: Duration = Duration::from_mins(1);
/// The shortest time between two writes of what is remembered.
const REMEMBER_EVERY: Duration = Duration::from_secs(1);

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
    /// The current proxy, with this process id, gives no sign of life; it gets it when it goes on.
    Silent(u32),
    /// The current proxy, with this process id, is alive and did not answer in time.
    Late(u32),
}

/// The proxy's socket.
#[derive(Clone, Debug)]
pub struct ProxyLink {
    offer: watch::Sender<Option<Arc<Handover>>>,
    directory: watch::Sender<Offered>,
    peers: watch::Sender<Peers>,
    uid: u32,
    audit: Arc<Audit>,
    memory: Arc<PathBuf>,
    heard: Arc<Heard>,
    wanted: Arc<Wanted>,
    totals: Arc<Mutex<Totals>>,
}

impl ProxyLink {
    /// Speaks to processes of `uid` only; what an earlier weir-control knew of them is read from the run
    /// directory. Blocks.
    pub fn new(uid: u32, audit: Arc<Audit>, run: &Path) -> Self {
        let memory = run.join("proxies.json");
        Self {
            offer: watch::Sender::new(None),
            directory: watch::Sender::default(),
            peers: watch::Sender::new(Peers::remembered(Memory::read(&memory))),
            uid,
            audit,
            memory: Arc::new(memory),
            heard: Arc::default(),
            wanted: Arc::default(),
            totals: Arc::default(),
        }
    }

    /// Accepts proxies on `socket` for as long as this is polled; then all connections close.
    pub async fn serve(self, socket: UnixListener) {
        let mut connections = JoinSet::new();
        connections.spawn(self.clone().remember());
        for identity in self.peers.borrow().away() {
            let process = identity.hold();
            connections.spawn(self.clone().count_broken(identity, process));
        }
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(self.clone().welcome(stream));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the proxy's socket cannot accept");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    /// Offers a generation to every proxy, now and later, and waits for the current one's answer, as
    /// long as it gives signs of life.
    pub async fn publish(&self, handover: Arc<Handover>) -> Answer {
        let number = handover.number;
        self.offer(handover);
        let mut peers = self.peers.subscribe();
        let late = Instant::now() + ANSWER_WITHIN;
        loop {
            let look_again = match answered(&peers.borrow_and_update(), number, late) {
                Ok(answer) => return answer,
                Err(look_again) => look_again,
            };
            tokio::select! {
                // The sender lives as long as the link.
                _ = peers.changed() => {}
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// Offers a generation without waiting.
    pub fn offer(&self, handover: Arc<Handover>) {
        self.offer.send_replace(Some(handover));
    }

    /// Offers a directory, or none, to every proxy, now and later, without waiting: [`Peer::directory`] says
    /// which one each asks.
    pub fn offer_directory(&self, directory: Option<Arc<DirectoryHandover>>) {
        let offered = directory.map_or(Offered::None, Offered::Directory);
        self.directory.send_replace(offered);
    }

    /// The sign-ins that the proxies tell of.
    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The services of which a proxy met a token with a key that it does not know.
    pub(crate) fn keys_wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// What all proxies counted together.
    pub(crate) fn totals(&self) -> MutexGuard<'_, Totals> {
        // Each number is whole, whatever panicked beside it.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connected proxies, and how they change.
    pub fn peers(&self) -> watch::Receiver<Peers> {
        self.peers.subscribe()
    }

    async fn welcome(self, stream: UnixStream) {
        match self.greet(stream).await {
            Ok((session, process, sender, receiver)) => {
                let away = self.attend(session, sender, receiver).await;
                if let Some(identity) = away {
                    self.count_broken(identity, process).await;
                }
            }
            Err(why) => {
                tracing::warn!(%why, "a connection on the proxy's socket is turned away");
                self.peers.send_modify(|peers| {
                    peers.turned_away += 1;
                    peers.turned_away_why = Some(why);
                });
            }
        }
    }

    async fn greet(
        &self,
        stream: UnixStream,
    ) -> Result<(u64, Option<Process>, Sender, Receiver), String> {
        let peer = stream.peer_cred().map_err(|error| error.to_string())?;
        if peer.uid() != self.uid {
            let (is, wanted) = (peer.uid(), self.uid);
            return Err(format!(
                "it is a process of uid {is}, and `proxy_user` has uid {wanted}"
            ));
        }
        let (mut sender, mut receiver) = Channel::new(stream).split();
        let hello = tokio::time::timeout(ANSWER_WITHIN, receiver.receive::<FromProxy>()).await;
        let said = match hello {
            Ok(Ok(Some((FromProxy::Hello { version, pid }, _)))) if version == VERSION => pid,
            Ok(Ok(Some((FromProxy::Hello { version, .. }, _)))) => {
                let why = format!(
                    "weir-proxy speaks version {version}, and weir-control version {VERSION}: install \
                     both of the same release"
                );
                let turned_away = ToProxy::TurnedAway { why: why.clone() };
                // It may have gone already; then it will be told the next time.
                let _ = tokio::time::timeout(ANSWER_WITHIN, sender.send(&turned_away, &[])).await;
                return Err(why);
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
        // One that has ended already is seen to close its socket.
        let process = Process::open(pid).ok();
        let identity = Identity::of(pid);
        let mut session = 0;
        self.peers
            .send_modify(|peers| session = peers.join(Peer::new(identity)));
        tracing::info!(pid, session, "a proxy is connected");
        Ok((session, process, sender, receiver))
    }

    /// Serves a proxy until its socket closes; gives its process when that had connections open.
    async fn attend(
        &self,
        session: u64,
        sender: Sender,
        mut receiver: Receiver,
    ) -> Option<Identity> {
        let mut sending = JoinSet::new();
        sending.spawn(self.clone().send(session, sender));
        let why = loop {
            match receiver.receive::<FromProxy>().await {
                Ok(Some((message, _))) => self.hear(session, message),
                Ok(None) => break "it closed the socket".to_owned(),
                Err(error) => break error.to_string(),
            }
        };
        let mut away = None;
        self.peers.send_modify(|peers| away = peers.leave(session));
        self.heard.leave(session);
        tracing::info!(session, %why, "a proxy is gone");
        away
    }

    /// What was open in a proxy is broken when its process has ended; one that only lost its connection
    /// to weir-control comes back, and nothing is broken.
    async fn count_broken(self, identity: Identity, process: Option<Process>) {
        let pid = identity.pid;
        if let Some(process) = process {
            let mut peers = self.peers.subscribe();
            tokio::select! {
                ended = process.ended() => if let Err(error) = ended {
                    tracing::warn!(pid, %error, "whether a proxy has ended cannot be watched");
                },
                // The sender lives as long as the link.
                _ = peers.wait_for(|peers| !peers.is_away(identity)) => return,
            }
        }
        let mut left = None;
        self.peers.send_modify(|peers| left = peers.ended(identity));
        let Some(left) = left else {
            return;
        };
        let open = left.open;
        self.audit.append(RecordBody::Change(Change {
            time: clock::now(),
            kind: ChangeKind::Change,
            generation: left.generation.unwrap_or(0),
            who: Actor::Weir,
            action: "proxy gone".to_owned(),
            done: false,
            detail: format!(
                "weir-proxy (pid {pid}) ended with {open} connections open: they are broken"
            ),
        }));
    }

    /// Writes down what a later weir-control must know, whenever it has changed.
    async fn remember(self) {
        let mut peers = self.peers.subscribe();
        let mut written = Memory::default();
        loop {
            let memory = peers.borrow_and_update().memory();
            if memory != written {
                let (file, to_write) = (Arc::clone(&self.memory), memory.clone());
                match blocking(move || to_write.write(&file)).await {
                    Ok(()) => written = memory,
                    Err(error) => tracing::warn!(
                        %error,
                        "connections that break while weir-control is away will not be counted"
                    ),
                }
                sleep(REMEMBER_EVERY).await;
            }
            // The sender lives as long as the link.
            if peers.changed().await.is_err() {
                return;
            }
        }
    }

    fn hear(&self, session: u64, message: FromProxy) {
        let change = |change: &dyn Fn(&mut Peer)| {
            self.peers.send_modify(|peers| {
                if let Some(peer) = peers.peer(session) {
                    peer.hear();
                    change(peer);
                }
            });
        };
        match message {
            FromProxy::Event(event) => {
                self.audit.append(RecordBody::Event(event));
            }
            FromProxy::SignIn(sign_in) => self.heard.tell(session, *sign_in),
            FromProxy::SignInsLost { count } => self.heard.miss(count),
            FromProxy::KeysWanted { service } => self.wanted.tell(service),
            FromProxy::Heartbeat(counts) => {
                if let Some(proxy) = self.peers.borrow().identity(session) {
                    self.totals().heard_counts(proxy, &counts);
                }
                change(&|peer| peer.counts = counts.clone());
            }
            FromProxy::Tally { rows } => {
                if let Some(proxy) = self.peers.borrow().identity(session) {
                    self.totals().heard_rows(proxy, rows);
                }
            }
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
            FromProxy::DirectoryTaken { epoch } => change(&|peer| {
                tracing::debug!(pid = peer.pid, epoch, "the proxy asks the directory");
                peer.directory = Some(epoch);
                peer.directory_refused = None;
            }),
            FromProxy::DirectoryRefused { epoch, why } => change(&|peer| {
                tracing::error!(pid = peer.pid, epoch, %why, "the proxy refuses the directory");
                peer.directory_refused = Some((epoch, why.clone()));
            }),
            FromProxy::Draining => {
                self.peers.send_modify(|peers| peers.drain(session));
            }
            FromProxy::Hello { .. } => {}
        }
    }

    /// Sends every generation that is offered, until a newer proxy has taken over, every directory, and what
    /// the books have taken in of its sign-ins.
    async fn send(self, session: u64, mut sender: Sender) {
        let mut offer = self.offer.subscribe();
        let mut directory = self.directory.subscribe();
        let mut peers = self.peers.subscribe();
        let mut taken = self.heard.taken();
        offer.mark_changed();
        directory.mark_changed();
        let mut drains = false;
        loop {
            if let Some(handover) = changed(&mut offer).flatten() {
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
            if let Some(offered) = changed(&mut directory)
                && let Err(error) = offered.send(&mut sender).await
            {
                tracing::warn!(session, %error, "a directory cannot be sent");
                return;
            }
            if let Some(up_to) = changed(&mut taken).and_then(|all| all.get(&session).copied())
                && let Err(error) = sender.send(&ToProxy::SignInsTaken { up_to }, &[]).await
            {
                tracing::debug!(session, %error, "the proxy is gone already");
                return;
            }
            tokio::select! {
                offered = offer.changed(), if !drains => match offered {
                    Ok(()) => offer.mark_changed(),
                    Err(_) => return,
                },
                // The sender lives as long as the link.
                _ = directory.changed() => directory.mark_changed(),
                _ = taken.changed() => taken.mark_changed(),
                () = until_replaced(&mut peers, session), if !drains => {
                    let mut replaced = false;
                    self.peers.send_modify(|peers| replaced = peers.retire(session));
                    if !replaced {
                        // The newer one has just ended: this one gets its generation once more.
                        offer.mark_changed();
                        continue;
                    }
                    tracing::info!(session, "a newer proxy has taken over: this one drains");
                    let drain = ToProxy::Drain { grace: DRAIN_GRACE };
                    if let Err(error) = sender.send(&drain, &[]).await {
                        tracing::debug!(session, %error, "the old proxy is gone already");
                        return;
                    }
                    // Until it is gone it may tell of sign-ins.
                    drains = true;
                }
            }
        }
    }
}

/// What is new behind a watch.
fn changed<T: Clone>(watched: &mut watch::Receiver<T>) -> Option<T> {
    let is_new = watched.has_changed().unwrap_or(false);
    is_new.then(|| watched.borrow_and_update().clone())
}

/// The current proxy's answer to generation `number`, or when to look again.
fn answered(peers: &Peers, number: u64, late: Instant) -> Result<Answer, Instant> {
    let now = Instant::now();
    let Some(peer) = peers.current() else {
        return Ok(Answer::Nobody);
    };
    match &peer.refused {
        Some((refused, why)) if *refused == number => return Ok(Answer::Refused(why.clone())),
        _ => {}
    }
    if peer.acknowledged == Some(number) {
        return Ok(Answer::Acknowledged);
    }
    if peers.state(now) != ProxyState::Alive {
        return Ok(Answer::Silent(peer.pid));
    }
    if now >= late {
        return Ok(Answer::Late(peer.pid));
    }
    // The timer is a millisecond coarse, and silence begins behind the limit.
    let silent = peer.heard + SILENT_AFTER + Duration::from_millis(1);
    Err(late.min(silent))
}

async fn until_replaced(peers: &mut watch::Receiver<Peers>, session: u64) {
    // The sender lives as long as any task of the link.
    let _ = peers.wait_for(|peers| peers.replaced(session)).await;
}

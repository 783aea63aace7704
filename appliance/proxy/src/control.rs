//! The link to weir-control: generations and directories come in, answers, events and heartbeats go out.
//!
//! While weir-control is away the proxy serves on with its last generation and tries again, with a
//! back-off. Nothing on the data path waits for this task.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};
use weir_link::notify::Notify;
use weir_link::{Channel, Frames, FromProxy, Generation, Receiver, Sender, ToProxy, VERSION};

use crate::Shared;
use crate::accept::Listeners;
use crate::directory::{Held, Unusable};
use crate::events::{TOGETHER, Waiting};
use crate::generation::Live;

/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// First and longest pause between two attempts to connect. The longest is added to every restart of
/// weir-control, and all connections wait for that; an attempt costs next to nothing.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// A weir-control that takes nothing for so long is taken for dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// After some have been sent, the next ones are gathered for so long: neither end wakes for each of them.
const GATHER: Duration = Duration::from_millis(5);
/// At the end, so long is left for the events that still wait.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The link to weir-control.
pub struct Link {
    shared: Arc<Shared>,
    events: Waiting,
    /// When the next ones may be sent: until then they are gathered.
    gathered: Instant,
    path: PathBuf,
    listeners: Listeners,
    beat: Interval,
    /// The socket, while weir-control is there.
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// When to connect again; never while the proxy drains.
    retry: Option<Instant>,
    /// The pause before the next attempt but one.
    pause: Duration,
    notify: Notify,
    /// Whether the service manager knows that this proxy works.
    told_ready: bool,
}

/// What happened next on the link.
enum Next {
    Retry,
    Message(ToProxy, Vec<OwnedFd>),
    Gone,
    Events(Frames),
    SignIn(FromProxy),
    KeysWanted(FromProxy),
    Beat,
}

impl Link {
    /// A link over the unix socket at `path`; connects when it is served.
    pub fn new(shared: Arc<Shared>, events: Waiting, path: PathBuf, notify: Notify) -> Self {
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            shared,
            events,
            gathered: Instant::now(),
            path,
            listeners: Listeners::default(),
            beat,
            sender: None,
            receiver: None,
            retry: Some(Instant::now()),
            pause: RETRY.0,
            notify,
            told_ready: false,
        }
    }

    /// Serves until weir-control says `Drain` or `stop` is ready, and accepts no more connections
    /// from then on. Gives the grace for what is open.
    pub async fn serve(&mut self, stop: impl Future<Output = Duration>) -> Duration {
        let mut stop = std::pin::pin!(stop);
        let grace = loop {
            let next = tokio::select! {
                grace = &mut stop => break grace,
                next = self.next() => next,
            };
            match next {
                Next::Message(ToProxy::Drain { grace }, _) => break grace,
                Next::Message(ToProxy::Generation(generation), descriptors) => {
                    self.pause = RETRY.0;
                    let answer = self.switch(*generation, descriptors).await;
                    self.send(&answer).await;
                }
                other => self.pass_on(other).await,
            }
        };
        self.retry = None;
        self.listeners.close();
        self.send(&FromProxy::Draining).await;
        grace
    }

    /// Goes on reporting until `finished` is ready.
    pub async fn report_until<T>(&mut self, finished: impl Future<Output = T>) -> T {
        let mut finished = std::pin::pin!(finished);
        loop {
            let next = tokio::select! {
                value = &mut finished => return value,
                next = self.next() => next,
            };
            self.pass_on(next).await;
        }
    }

    /// Sends the events that still wait and the last counts, as far as there is time.
    pub async fn flush(&mut self) {
        let rest = async {
            while let Some(events) = self.events.try_next() {
                self.pass_on(Next::Events(events)).await;
            }
            while self.sender.is_some()
                && let Some(message) = self.shared.sign_ins.try_next()
            {
                self.pass_on(Next::SignIn(message)).await;
            }
            self.pass_on(Next::Beat).await;
        };
        // What is left is lost with this process; weir-control sees that it has ended.
        let _ = timeout(FLUSH_TIMEOUT, rest).await;
    }

    /// Tries to connect, and sets when to try again if weir-control goes: at once, unless it went without
    /// sending a generation, or is not there.
    async fn connect(&mut self) {
        self.retry = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY.1);
        match self.greet().await {
            Ok((sender, receiver)) => {
                tracing::info!(path = %self.path.display(), "connected to weir-control");
                self.sender = Some(sender);
                self.receiver = Some(receiver);
                self.shared.sign_ins.tell_anew();
            }
            Err(error) => {
                tracing::debug!(path = %self.path.display(), %error, "weir-control is away");
            }
        }
    }

    async fn greet(&self) -> Result<(Sender, Receiver), weir_link::Error> {
        let (mut sender, receiver) = Channel::connect(&self.path).await?.split();
        let hello = FromProxy::Hello {
            version: VERSION,
            pid: std::process::id(),
        };
        sender.send(&hello, &[]).await?;
        Ok((sender, receiver))
    }

    /// Cancel safe.
    async fn next(&mut self) -> Next {
        let message = async {
            match &mut self.receiver {
                Some(receiver) => receiver.receive::<ToProxy>().await,
                None => std::future::pending().await,
            }
        };
        let retry = async {
            match self.retry {
                Some(at) if self.sender.is_none() => sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        let gathered = async {
            sleep_until(self.gathered).await;
            self.events.next().await
        };
        tokio::select! {
            () = retry => Next::Retry,
            message = message => match message {
                Ok(Some((message, descriptors))) => Next::Message(message, descriptors),
                Ok(None) => Next::Gone,
                Err(error) => {
                    tracing::warn!(%error, "the link to weir-control broke");
                    Next::Gone
                }
            },
            _ = self.beat.tick() => Next::Beat,
            // While weir-control is away, events wait in the queue.
            events = gathered, if self.sender.is_some() => Next::Events(events),
            message = self.shared.sign_ins.next(), if self.sender.is_some() => Next::SignIn(message),
            message = self.shared.keys_wanted.next(), if self.sender.is_some() => {
                Next::KeysWanted(message)
            }
        }
    }

    async fn pass_on(&mut self, next: Next) {
        match next {
            Next::Retry => self.connect().await,
            Next::Message(ToProxy::TurnedAway { why }, _) => {
                tracing::error!(why, "weir-control turns this proxy away");
            }
            Next::Gone => {
                tracing::warn!("weir-control is gone; serving on with the last generation");
                self.sender = None;
                self.receiver = None;
            }
            Next::Events(events) => {
                if events.len() < TOGETHER {
                    self.gathered = Instant::now() + GATHER;
                }
                if !self.send_together(&events).await {
                    self.shared
                        .counters
                        .events_lost
                        .add_many(events.len() as u64);
                }
                self.events.reuse(events);
            }
            Next::Message(ToProxy::SignInsTaken { up_to }, _) => {
                self.shared.sign_ins.taken(up_to);
            }
            // Whoever needs them asks again.
            Next::KeysWanted(message) => {
                self.send(&message).await;
            }
            Next::SignIn(message) => {
                if !self.send(&message).await {
                    self.shared.sign_ins.untold(&message);
                }
            }
            Next::Beat => self.pulse().await,
            // What is still open while the proxy drains is judged by it, too.
            Next::Message(
                ToProxy::Directory {
                    epoch,
                    length,
                    max_age,
                },
                descriptors,
            ) => {
                let take = move || Held::take(descriptors, epoch, length, max_age).map(Some);
                let answer = self.take_directory(epoch, take).await;
                self.send(&answer).await;
            }
            Next::Message(ToProxy::NoDirectory, _) => {
                let answer = self.take_directory(0, || Ok(None)).await;
                self.send(&answer).await;
            }
            // A generation or a second `Drain` while draining changes nothing any more.
            Next::Message(..) => {}
        }
    }

    /// Tells that the proxy goes on.
    async fn pulse(&mut self) {
        for service in self.shared.live.load().services() {
            service.upstream.sweep();
        }
        self.send(&FromProxy::Heartbeat(self.shared.counts())).await;
        let rows = self.shared.tally();
        self.send(&FromProxy::Tally { rows }).await;
    }

    /// Works where it may block. However long it takes, this is no silence.
    async fn work<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let mut working = tokio::task::spawn_blocking(work);
        let worked = loop {
            tokio::select! {
                worked = &mut working => break worked,
                _ = self.beat.tick() => self.pulse().await,
            }
        };
        worked.unwrap_or_else(|panicked| Err(panicked.to_string()))
    }

    /// Puts a directory in force, or none, or leaves the one before in force.
    async fn take_directory(
        &mut self,
        epoch: u64,
        take: impl FnOnce() -> Result<Option<Held>, Unusable> + Send + 'static,
    ) -> FromProxy {
        // Nobody else puts anything in force meanwhile.
        let before = self.shared.live.load_full();
        let taken = self.work(move || match take() {
            Ok(held) => Ok(before.with_directory(held.map(Arc::new))),
            Err(unusable) => Err(unusable.to_string()),
        });
        match taken.await {
            Ok(live) => {
                self.shared.live.store(Arc::new(live));
                tracing::debug!(epoch, "the directory is in force");
                FromProxy::DirectoryTaken { epoch }
            }
            Err(why) => {
                tracing::error!(epoch, why, "the directory is refused; the one before stays");
                FromProxy::DirectoryRefused { epoch, why }
            }
        }
    }

    /// Whether weir-control was there and took the message.
    async fn send(&mut self, message: &FromProxy) -> bool {
        let Some(sender) = &mut self.sender else {
            return false;
        };
        let sent = timeout(SEND_TIMEOUT, sender.send(message, &[])).await;
        self.is_sent(sent)
    }

    /// Whether weir-control was there and took the events.
    async fn send_together(&mut self, events: &Frames) -> bool {
        let Some(sender) = &mut self.sender else {
            return false;
        };
        let sent = timeout(SEND_TIMEOUT, sender.send_all(events)).await;
        self.is_sent(sent)
    }

    fn is_sent(&mut self, sent: Result<Result<(), weir_link::Error>, Elapsed>) -> bool {
        let error = match sent {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes no messages".to_owned(),
        };
        tracing::warn!(error, "the link to weir-control broke; serving on");
        self.sender = None;
        self.receiver = None;
        false
    }

    /// Compiles a generation and puts it in force, or leaves the one before in force.
    async fn switch(&mut self, generation: Generation, descriptors: Vec<OwnedFd>) -> FromProxy {
        let number = generation.number;
        let before = self.shared.live.load_full();
        // Lists can be large and rules many: no worker of the data path compiles them.
        let compiled = self.work(move || {
            Live::compile(generation, descriptors, &before).map_err(|refused| refused.to_string())
        });
        let prepared = compiled.await.and_then(|(live, listeners)| {
            let fresh = self.listeners.prepare(listeners);
            fresh
                .map(|fresh| (live, fresh))
                .map_err(|error| format!("a listening socket: {error}"))
        });
        match prepared {
            Ok((live, fresh)) => {
                self.shared.live.store(Arc::new(live));
                self.listeners.hold(&self.shared, fresh);
                tracing::info!(generation = number, "in force");
                if !self.told_ready {
                    self.told_ready = true;
                    self.notify.ready();
                }
                FromProxy::Ready { generation: number }
            }
            Err(why) => {
                tracing::error!(
                    generation = number,
                    why,
                    "refused; the one before stays in force"
                );
                FromProxy::Refused {
                    generation: number,
                    why,
                }
            }
        }
    }
}

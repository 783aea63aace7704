//! Keeps one process running: starts it, hears what it tells, kills it when it is silent for too long, and starts it
//! again when it fails.

use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncRead;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::notify::{Change, NotifySocket, Told};
use super::store::Store;
use super::{Log, Manager, Order, Ready, State};

/// How long a process may take to end when it is asked to; then it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How long a process whose watchdog barked may take to abort. One that is stopped never does.
const ABORT: Duration = Duration::from_millis(200);
/// How long is waited before a process that failed is started again, at first; doubled each time, up to the last.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// A process that was ready for so long has not failed at once: the waiting begins anew.
const STEADY: Duration = Duration::from_secs(1);
/// How often in a row a process may fail before it was ready.
const HOPELESS: u32 = 5;

/// What it takes to keep a process running.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) command: Command,
    pub(super) ready: Ready,
    pub(super) manager: Option<Manager>,
    pub(super) socket: Option<NotifySocket>,
    pub(super) store: Store,
    pub(super) log: Log,
    pub(super) say: watch::Sender<State>,
    pub(super) ordered: mpsc::UnboundedReceiver<Order>,
    pub(super) held: bool,
    /// The last one that ran.
    pub(super) pid: Option<u32>,
    pub(super) ends: mpsc::UnboundedSender<String>,
}

/// Why a process does not run any more.
enum End {
    /// It was asked to end.
    Stopped,
    /// It ended by itself, and was ready for so long before.
    Ended(ExitStatus, Option<Duration>),
}

impl Keeper {
    /// Until it is stopped, or fails for good.
    pub(super) async fn keep(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut back_off = BACK_OFF[0];
        let mut hopeless = 0;
        loop {
            self.store.prepare(self.command.as_std_mut());
            let child = match self.command.spawn() {
                Ok(child) => child,
                Err(error) => return self.give_up(&format!("cannot be started: {error}")),
            };
            let (status, ready_for) = match self.run(child, &mut stopped).await {
                End::Stopped => return,
                End::Ended(status, ready_for) => (status, ready_for),
            };
            self.say.send_modify(|state| {
                state.pid = None;
                state.ready = false;
            });
            hopeless = if ready_for.is_some() { 0 } else { hopeless + 1 };
            let first = self.say.borrow().starts == 1;
            let before = if ready_for.is_none() {
                "ended before it was ready"
            } else {
                "ended"
            };
            let what = format!("{before} ({status})");
            let restarts = self.manager.is_some() && !status.success();
            if !restarts || (first && ready_for.is_none()) || hopeless == HOPELESS {
                return self.give_up(&what);
            }
            if ready_for.is_some_and(|long| long >= STEADY) {
                back_off = BACK_OFF[0];
            }
            if !self.wait(back_off, &mut stopped).await {
                return;
            }
            back_off = (back_off * 2).min(BACK_OFF[1]);
        }
    }

    async fn run(&mut self, mut child: Child, stopped: &mut oneshot::Receiver<()>) -> End {
        self.pid = child.id();
        let (heard, mut words) = mpsc::unbounded_channel();
        let streams: [Option<Box<dyn AsyncRead + Unpin + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        let mut copies = Vec::new();
        for stream in streams.into_iter().flatten() {
            let wanted = match &self.ready {
                Ready::Words(words) => Some(words.clone()),
                _ => None,
            };
            copies.push(tokio::spawn(self.log.clone().copy(
                stream,
                wanted,
                heard.clone(),
            )));
        }
        self.say.send_modify(|state| {
            state.pid = self.pid;
            state.starts += 1;
            state.ready = self.ready == Ready::Started;
        });
        let mut ready_since = (self.ready == Ready::Started).then(Instant::now);
        let mut heard_at = None;
        loop {
            let barks = self.manager.zip(heard_at);
            let barks = barks.map(|(manager, heard_at): (_, Instant)| heard_at + manager.watchdog);
            tokio::select! {
                biased;
                status = child.wait() => {
                    // What it said last belongs to its story.
                    for copy in copies {
                        let _ = timeout(GRACE, copy).await;
                    }
                    if ready_since.is_none() && words.try_recv().is_ok() {
                        ready_since = Some(Instant::now());
                    }
                    return match status {
                        Ok(status) => End::Ended(status, ready_since.map(|since| since.elapsed())),
                        Err(_) => End::Stopped,
                    };
                }
                asked = &mut *stopped => {
                    // An error: the supervisor is gone; dropping the child kills it.
                    if asked.is_ok() {
                        end(&mut child).await;
                    }
                    return End::Stopped;
                }
                Some(()) = words.recv() => {
                    ready_since = ready_since.or_else(|| Some(Instant::now()));
                    self.say.send_modify(|state| state.ready = true);
                }
                Some(order) = self.ordered.recv() => match order {
                    Order::Signal(signal) => send(&child, signal),
                    Order::Hold(held) => self.held = held,
                },
                Ok(told) = told(self.socket.as_ref()) => {
                    if self.is_main(&told) && (told.ready || told.alive && heard_at.is_some()) {
                        heard_at = Some(Instant::now());
                    }
                    self.take(&told, &mut ready_since);
                }
                () = sleep_until(barks.unwrap_or_else(Instant::now)), if barks.is_some() => {
                    send(&child, Signal::SIGABRT);
                    if timeout(ABORT, child.wait()).await.is_err() {
                        send(&child, Signal::SIGKILL);
                    }
                    heard_at = None;
                }
            }
        }
    }

    /// Only the process itself is believed, not what it started (`NotifyAccess=main`).
    fn is_main(&self, told: &Told) -> bool {
        self.pid == u32::try_from(told.pid).ok()
    }

    /// Does what a process tells.
    fn take(&mut self, told: &Told, ready_since: &mut Option<Instant>) {
        if !self.is_main(told) {
            return;
        }
        if told.ready && self.ready == Ready::Told && ready_since.is_none() {
            *ready_since = Some(Instant::now());
            self.say.send_modify(|state| state.ready = true);
        }
        match told.store {
            Some(Change::Keep) => {
                for descriptor in &told.descriptors {
                    // What cannot be kept is closed, as what is too much.
                    let _ = self.store.keep(told.name.as_deref(), descriptor);
                }
            }
            Some(Change::Remove) => {
                self.store.remove(told.name.as_deref().unwrap_or_default());
            }
            None => return,
        }
        let names = self.store.names();
        self.say.send_modify(|state| state.stored = names);
    }

    /// Waits before the next start; false when there is none.
    async fn wait(&mut self, long: Duration, stopped: &mut oneshot::Receiver<()>) -> bool {
        let until = Instant::now() + long;
        loop {
            tokio::select! {
                _ = &mut *stopped => return false,
                Some(order) = self.ordered.recv() => {
                    if let Order::Hold(held) = order {
                        self.held = held;
                    }
                }
                // What a process told before it ended: descriptors to keep.
                Ok(told) = told(self.socket.as_ref()) => self.take(&told, &mut None),
                () = sleep_until(until), if !self.held => return true,
            }
        }
    }

    fn give_up(&self, what: &str) {
        let story = self.log.story(what);
        // Nobody hears it when the lab goes down at the same time.
        let _ = self.ends.send(story.clone());
        self.say.send_modify(|state| {
            state.pid = None;
            state.ready = false;
            state.over = Some(story);
        });
    }
}

async fn told(socket: Option<&NotifySocket>) -> std::io::Result<Told> {
    match socket {
        Some(socket) => socket.told().await,
        None => std::future::pending().await,
    }
}

/// Asks a process to end, and kills it when it does not.
async fn end(child: &mut Child) {
    send(child, Signal::SIGTERM);
    // One that is stopped would not hear it.
    send(child, Signal::SIGCONT);
    if timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It was not waited for: the number is still its own.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

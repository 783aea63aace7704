//! Starts the lab's processes, waits until they say that they are ready, keeps their logs, and stops them in the
//! reverse order. To those that ask for it it is what systemd is: a socket to tell it things on (sd_notify(3)), a store
//! for their descriptors, a watchdog, and a new start when they fail.

mod keeper;
mod notify;
mod store;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::keeper::Keeper;
use self::notify::NotifySocket;
use self::store::Store;
use crate::exec::clean;

/// How long a process may take to say that it is ready.
const READY: Duration = Duration::from_secs(30);
/// Lines of a log that are shown when its process ends unexpectedly.
const LAST_LINES: usize = 12;

/// The processes of a lab.
#[derive(Debug)]
pub struct Supervisor {
    logs: PathBuf,
    sockets: PathBuf,
    running: Vec<Running>,
    ended: mpsc::UnboundedReceiver<String>,
    ends: mpsc::UnboundedSender<String>,
}

/// A process that is to run.
#[derive(Debug)]
pub struct Service {
    /// Its name, and that of its log.
    pub name: String,
    /// How it is started; [`managed`] makes one for [`Manager`].
    pub command: Command,
    /// When it counts as ready.
    pub ready: Ready,
    /// What it is to the supervisor besides a process.
    pub manager: Option<Manager>,
}

/// How one knows that a process is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It runs.
    Started,
    /// It says these words.
    Words(String),
    /// It tells the supervisor `READY=1`.
    Told,
}

/// What systemd would be to a process: `NotifyAccess=main`, a descriptor store, `Restart=on-failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manager {
    /// How long it may be silent once it was ready (`WatchdogSec=`).
    pub watchdog: Duration,
}

/// A process that was started, seen from outside.
#[derive(Clone, Debug)]
pub struct Unit {
    state: watch::Receiver<State>,
    orders: mpsc::UnboundedSender<Order>,
}

/// How a process is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The process, while one runs.
    pub pid: Option<u32>,
    /// How often it was started.
    pub starts: u32,
    /// Whether the one that runs is ready.
    pub ready: bool,
    /// Names of the descriptors that are kept for it.
    pub stored: Vec<String>,
    /// Why it will not be started any more.
    over: Option<String>,
}

/// What a [`Unit`] is told to do.
#[derive(Debug)]
enum Order {
    Signal(Signal),
    Hold(bool),
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

/// The last lines that a process said.
type Tail = Arc<Mutex<VecDeque<String>>>;

/// Where a process's words go.
#[derive(Clone, Debug)]
struct Log {
    name: String,
    path: PathBuf,
    file: Arc<Mutex<File>>,
    tail: Tail,
}

/// A command for a process that has a [`Manager`]: it learns its own process id by the variables that systemd sets,
/// which nobody knows before the fork.
pub fn managed(program: impl AsRef<OsStr>) -> Command {
    const BECOME: &str = "if [ -n \"$LISTEN_FDS\" ]; then export LISTEN_PID=$$; fi; \
                          export WATCHDOG_PID=$$; exec \"$0\" \"$@\"";
    let mut command = clean("/bin/sh");
    command.arg("-c").arg(BECOME).arg(program);
    command
}

impl Supervisor {
    /// Logs go below `logs`, a file per process; sockets below `sockets`.
    pub fn new(logs: &Path, sockets: &Path) -> Result<Self> {
        std::fs::create_dir_all(logs)
            .with_context(|| format!("cannot make the directory {}", logs.display()))?;
        let (ends, ended) = mpsc::unbounded_channel();
        Ok(Self {
            logs: logs.to_owned(),
            sockets: sockets.to_owned(),
            running: Vec::new(),
            ended,
            ends,
        })
    }

    /// Starts a process and waits until it is ready. It is killed when the thread that calls this ends.
    pub async fn start(&mut self, service: Service) -> Result<Unit> {
        use std::os::unix::process::CommandExt;
        let Service {
            name,
            mut command,
            ready,
            manager,
        } = service;
        // A group of its own: Ctrl-C on the terminal is for us, and we stop the others in order.
        command.process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let store = Store::default();
        let mut socket = None;
        if let Some(manager) = manager {
            let bound = NotifySocket::bind(&self.sockets.join(&name))?;
            command.env("NOTIFY_SOCKET", bound.path());
            let microseconds = manager.watchdog.as_micros().to_string();
            command.env("WATCHDOG_USEC", microseconds);
            store.attach(&mut command);
            socket = Some(bound);
        }
        let log = Log::open(&name, &self.logs)?;
        let (say, state) = watch::channel(State::default());
        let (orders, ordered) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let keeper = Keeper {
            command,
            ready,
            manager,
            socket,
            store,
            log: log.clone(),
            say,
            ordered,
            held: false,
            pid: None,
            ends: self.ends.clone(),
        };
        let done = tokio::spawn(keeper.keep(stopped));
        self.running.push(Running { stop, done });
        let unit = Unit { state, orders };
        let is_settled = |state: &State| state.ready || state.over.is_some();
        match timeout(READY, unit.when(is_settled)).await {
            Ok(State { over: None, .. }) => Ok(unit),
            Ok(State {
                over: Some(over), ..
            }) => bail!("{over}"),
            Err(_) => bail!(
                "{}",
                log.story(&format!("was not ready within {} s", READY.as_secs()))
            ),
        }
    }

    /// Waits until a process ends although nobody asked it to, and is not started again; says which, and its last
    /// words.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.ended.recv().await {
            Some(story) => anyhow!("{story}"),
            // The sender lives in self.
            None => std::future::pending().await,
        }
    }

    /// Stops everything, the last started first.
    pub async fn stop(&mut self) {
        while let Some(running) = self.running.pop() {
            // An error means that it ended before.
            let _ = running.stop.send(());
            let _ = running.done.await;
        }
    }
}

impl Unit {
    /// How it is doing now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until it is doing so.
    pub async fn when(&self, mut is_so: impl FnMut(&State) -> bool) -> State {
        let mut state = self.state.clone();
        let found = state
            .wait_for(|state| is_so(state))
            .await
            .map(|found| found.clone());
        match found {
            Ok(state) => state,
            // The supervisor was stopped, and whoever waits with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // Nobody hears it when the supervisor was stopped.
        let _ = self.orders.send(Order::Signal(signal));
    }

    /// Whether it stays ended when it fails, until it is told otherwise.
    pub fn hold(&self, held: bool) {
        let _ = self.orders.send(Order::Hold(held));
    }
}

impl Log {
    fn open(name: &str, directory: &Path) -> Result<Self> {
        let path = directory.join(format!("{name}.log"));
        let file =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            name: name.to_owned(),
            path,
            file: Arc::new(Mutex::new(file)),
            tail: Tail::default(),
        })
    }

    /// Copies what a process says, until it says no more; each line that holds `words` is told to `heard`.
    async fn copy(
        self,
        stream: impl AsyncRead + Unpin,
        words: Option<String>,
        heard: mpsc::UnboundedSender<()>,
    ) {
        let mut lines = BufReader::new(stream).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = String::from_utf8_lossy(&line).into_owned();
            // A log that cannot be written must not stop the process whose log it is.
            let _ = writeln!(
                self.file.lock().expect("nobody panics with the log"),
                "{line}"
            );
            if words.as_ref().is_some_and(|words| line.contains(words)) {
                let _ = heard.send(());
            }
            let mut tail = self.tail.lock().expect("nobody panics with the tail");
            tail.push_back(line);
            if tail.len() > LAST_LINES {
                tail.pop_front();
            }
        }
    }

    fn story(&self, what: &str) -> String {
        let tail = self.tail.lock().expect("nobody panics with the tail");
        let mut text = format!("{}: {what}; its log is {}", self.name, self.path.display());
        for line in tail.iter() {
            text.push_str("\n    ");
            text.push_str(line);
        }
        text
    }
}

#[cfg(test)]
mod tests;

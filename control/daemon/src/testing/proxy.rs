//! A proxy that is played over the real link.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use weir_link::{
    Channel, Counted, Counts, Descriptor, Event, FromProxy, Generation, SignIn, ToProxy, VERSION,
    sealed,
};
use weir_tables::Lists;

/// A message that the proxy got.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "tests have few of them at a time"
)]
pub enum Received {
    /// A generation, with what was attached to it.
    Generation {
        /// The generation.
        generation: Box<Generation>,
        /// The listening sockets that came with it.
        listeners: Vec<(SocketAddr, OwnedFd)>,
        /// The lists that came with it.
        lists: Lists,
        /// The users that came with it, one a line.
        users: Option<String>,
        /// The countries that came with it.
        countries: Option<String>,
    },
    /// It is to finish what is open.
    Drain,
    /// Its hello was not accepted.
    TurnedAway(String),
    /// Its sign-ins up to this number are in the books.
    Taken(u64),
}

/// A directory that the proxy got.
#[derive(Debug)]
pub struct SentDirectory {
    /// Its number.
    pub epoch: u64,
    /// After how long without a sign it is unknown.
    pub max_age: Duration,
    /// The bytes of the snapshot.
    pub bytes: Vec<u8>,
}

/// Connections that a played proxy says it has open.
pub const OPEN: u64 = 3;

/// The variable that tells a test's process that it plays a proxy, at this socket.
const PLAYS: &str = "WEIR_TEST_PLAYS_PROXY";

/// A proxy that is played by a process of its own: the test's program, told to run one test alone.
#[derive(Debug)]
pub struct ProxyProcess(Child);

impl ProxyProcess {
    /// Begins every test that uses [`ProxyProcess::start`]: in the process that plays the proxy it
    /// does so until that is killed, elsewhere it does nothing.
    pub async fn play_if_told() {
        let Some(socket) = std::env::var_os(PLAYS) else {
            return;
        };
        let mut proxy = FakeProxy::connect(Path::new(&socket)).await;
        while proxy.next().await.is_some() {}
        // weir-control is gone, and with it the test.
        std::process::exit(0);
    }

    /// Starts the process; `test` is the full name of the test that asks.
    pub fn start(test: &str, socket: &Path) -> Self {
        let program = std::env::current_exe().expect("a running program has a path");
        let child = Command::new(program)
            .args(["--exact", test])
            .env(PLAYS, socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Self(child.expect("the program can be started again"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed());
        kill(pid, signal).expect("it is not waited for yet");
    }

    /// Stops it, and blocks until all of it stands still.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = Pid::from_raw(self.pid().cast_signed());
        let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED));
        assert!(
            matches!(stopped, Ok(WaitStatus::Stopped(..))),
            "{stopped:?}"
        );
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A proxy that sends heartbeats and accepts every generation, or refuses the next one.
#[derive(Debug)]
pub struct FakeProxy {
    received: mpsc::UnboundedReceiver<Received>,
    directories: mpsc::UnboundedReceiver<Option<SentDirectory>>,
    say: mpsc::UnboundedSender<FromProxy>,
    refuse: Arc<Mutex<Option<String>>>,
    hangs: watch::Sender<bool>,
    mute: Arc<AtomicBool>,
    counts: Arc<Mutex<Counts>>,
    tasks: [JoinHandle<()>; 2],
}

impl FakeProxy {
    /// Stops sending heartbeats and answers, as SIGSTOP would, until it is told to go on.
    pub fn hang(&self, hangs: bool) {
        self.hangs.send_replace(hangs);
    }

    /// Answers no generation from now on, and goes on giving signs of life.
    pub fn keep_silent_about_generations(&self) {
        self.mute.store(true, Ordering::Relaxed);
    }

    /// Connects and says hello.
    pub async fn connect(socket: &Path) -> Self {
        Self::connect_as(socket, VERSION).await
    }

    /// Connects and says hello with another version.
    pub async fn connect_as(socket: &Path, version: u32) -> Self {
        let channel = Channel::connect(socket)
            .await
            .expect("the proxy's socket accepts");
        let (mut sender, mut receiver) = channel.split();
        let (say, mut to_say) = mpsc::unbounded_channel();
        let (inbox, arrivals) = mpsc::unbounded_channel();
        let (shelf, directories) = mpsc::unbounded_channel();
        let refuse = Arc::new(Mutex::new(None::<String>));
        let hello = FromProxy::Hello {
            version,
            pid: std::process::id(),
        };
        say.send(hello).expect("the receiver is held here");
        let mute = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Mutex::new(Counts {
            accepted: 7,
            open: OPEN,
            ..Counts::default()
        }));
        let counted = Arc::clone(&counts);
        let hangs = watch::Sender::new(false);
        let mut goes_on = hangs.subscribe();
        let mut reads_on = hangs.subscribe();
        let speaking = tokio::spawn(async move {
            let mut heart = tokio::time::interval(Duration::from_millis(100));
            heart.set_missed_tick_behavior(MissedTickBehavior::Delay);
            heart.reset();
            loop {
                if goes_on.wait_for(|hangs| !hangs).await.is_err() {
                    return;
                }
                let message = tokio::select! {
                    message = to_say.recv() => match message {
                        Some(message) => message,
                        None => return,
                    },
                    _ = heart.tick() => {
                        let counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                        FromProxy::Heartbeat(counted.clone())
                    }
                };
                if sender.send(&message, &[]).await.is_err() {
                    return;
                }
            }
        });
        let (answer, refusing) = (say.clone(), Arc::clone(&refuse));
        let muted = Arc::clone(&mute);
        let hearing = tokio::spawn(async move {
            while let Ok(Some((message, descriptors))) = receiver.receive::<ToProxy>().await {
                if reads_on.wait_for(|hangs| !hangs).await.is_err() {
                    return;
                }
                let message = match message {
                    message @ (ToProxy::Directory { .. } | ToProxy::NoDirectory) => {
                        let sent = directory_in(&message, descriptors);
                        let epoch = sent.as_ref().map_or(0, |sent| sent.epoch);
                        let _ = answer.send(FromProxy::DirectoryTaken { epoch });
                        let _ = shelf.send(sent);
                        continue;
                    }
                    ToProxy::Drain { .. } => Received::Drain,
                    ToProxy::TurnedAway { why } => Received::TurnedAway(why),
                    ToProxy::SignInsTaken { up_to } => Received::Taken(up_to),
                    ToProxy::Generation(generation) => {
                        let number = generation.number;
                        let why = refusing
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .take();
                        if !muted.load(Ordering::Relaxed) {
                            let _ = answer.send(answer_to(number, why));
                        }
                        unpack(generation, descriptors)
                    }
                };
                if inbox.send(message).is_err() {
                    return;
                }
            }
        });
        Self {
            received: arrivals,
            directories,
            say,
            refuse,
            hangs,
            mute,
            counts,
            tasks: [speaking, hearing],
        }
    }

    /// The next message; `None` when weir-control has closed the connection.
    pub async fn next(&mut self) -> Option<Received> {
        self.received.recv().await
    }

    /// The next directory, or that there is none.
    pub async fn next_directory(&mut self) -> Option<SentDirectory> {
        let next = self.directories.recv().await;
        next.expect("weir-control is there, and tells of a directory")
    }

    /// The next generation, by its number and lists.
    pub async fn next_generation(&mut self) -> (u64, Lists) {
        match self.next().await {
            Some(Received::Generation {
                generation, lists, ..
            }) => (generation.number, lists),
            other => panic!("a generation was expected, not {other:?}"),
        }
    }

    /// The next generation will be refused.
    pub fn refuse_next(&self, why: &str) {
        *self.refuse.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }

    /// What its heartbeats say from now on.
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells what it counted by names.
    pub fn tally(&self, rows: Vec<(Counted, u64)>) {
        self.say
            .send(FromProxy::Tally { rows })
            .expect("the connection is open");
    }

    /// Takes no more connections, as SIGTERM would have it, and goes on giving signs of life.
    pub fn drain(&self) {
        self.say
            .send(FromProxy::Draining)
            .expect("the connection is open");
    }

    /// Tells of a sign-in.
    pub fn sign_in(&self, sign_in: SignIn) {
        self.say
            .send(FromProxy::SignIn(Box::new(sign_in)))
            .expect("the connection is open");
    }

    /// Tells of sign-ins that it could not tell of.
    pub fn lose_sign_ins(&self, count: u64) {
        self.say
            .send(FromProxy::SignInsLost { count })
            .expect("the connection is open");
    }

    /// Tells that it met a token of a service whose key it does not know.
    pub fn want_keys(&self, service: &str) {
        let service = service.to_owned();
        self.say
            .send(FromProxy::KeysWanted { service })
            .expect("the connection is open");
    }

    /// Tells of a decision.
    pub fn event(&self, event: Event) {
        self.say
            .send(FromProxy::Event(Box::new(event)))
            .expect("the connection is open");
    }
}

impl Drop for FakeProxy {
    /// The connection closes.
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn answer_to(generation: u64, why: Option<String>) -> FromProxy {
    match why {
        Some(why) => FromProxy::Refused { generation, why },
        None => FromProxy::Ready { generation },
    }
}

fn directory_in(message: &ToProxy, mut descriptors: Vec<OwnedFd>) -> Option<SentDirectory> {
    let ToProxy::Directory {
        epoch,
        length,
        max_age,
    } = *message
    else {
        return None;
    };
    let memory = descriptors.pop().expect("the memory is attached");
    assert!(descriptors.is_empty(), "and nothing else");
    Some(SentDirectory {
        epoch,
        max_age,
        bytes: sealed::read(memory, length).expect("the memory is sealed"),
    })
}

fn unpack(generation: Box<Generation>, descriptors: Vec<OwnedFd>) -> Received {
    assert_eq!(
        generation.descriptors.len(),
        descriptors.len(),
        "each descriptor is named"
    );
    let mut listeners = Vec::new();
    let mut lists = None;
    let mut users = None;
    let mut countries = None;
    for (what, descriptor) in generation.descriptors.iter().zip(descriptors) {
        match what {
            Descriptor::Listener { address, .. } => listeners.push((*address, descriptor)),
            Descriptor::Lists { length } => {
                let bytes = sealed::read(descriptor, *length).expect("the memory is sealed");
                lists = Some(Lists::from_bytes(&bytes).expect("the lists can be read"));
            }
            Descriptor::Countries { length, .. } => {
                let bytes = sealed::read(descriptor, *length).expect("the memory is sealed");
                countries = Some(String::from_utf8(bytes).expect("the countries are text"));
            }
            Descriptor::Users { length } => {
                let bytes = sealed::read(descriptor, *length).expect("the memory is sealed");
                users = Some(String::from_utf8(bytes).expect("the users are text"));
            }
        }
    }
    let lists = lists.expect("a generation brings the lists");
    Received::Generation {
        generation,
        listeners,
        lists,
        users,
        countries,
    }
}

//! Keeps the directory current: asks Graph for each part at its own pace, puts what it says into the store, and tells
//! the planes.
//!
//! In flow [`Settings`] and commands ([`Handle`]). Out come snapshots of the tenant, each with an epoch, and ahead of
//! them what somebody must act on at once ([`Revision`]): revocations do not wait for a drawing. How everything stands
//! is told on demand ([`Status`]).
//!
//! Nothing is read before the tenant has proved to be the one of the configuration. A round that fails changes nothing;
//! it is noted, and tried again after a while, as Graph asks for. What a tenant has no licence for, what its cloud does
//! not offer and what nobody consented to is said, and asked for again now and then; it is no outage. After a restart
//! the last picture is published at once, before anybody is asked.
//!
//! What the store and the closure do blocks, and runs beside; all decisions are made one at a time, here.

mod broken;
mod commands;
mod connection;
mod documents;
mod handle;
mod logs;
mod picture;
mod read;
mod roles;
mod rounds;
mod settings;
mod status;
mod task;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use self::broken::Broken;
use self::commands::Decision;
use self::connection::Connection;
pub use self::handle::{Came, CommandError, Handle, Synced};
use self::handle::{Command, Reply};
use self::picture::{DrawError, Drawn, Picture};
pub use self::picture::{Published, Revision};
use self::read::Ended;
use self::rounds::Waiter;
pub use self::settings::{Keep, Settings, cadence};
pub use self::status::{PartStatus, Status};
use self::task::Task;
use crate::clock::Clock;
use crate::graph::{Graph, Proof, ProofError};
use crate::guard::Guard;
use crate::health::Finding;
use crate::model::Part;
use crate::network::{Network, SetupError};
use crate::store::{MovedAside, Store, StoreError};
use crate::token::Tokens;

/// So many commands and revisions wait; more of the first wait outside, more of the second become one.
const WAITING: usize = 64;

/// Why the synchronisation does not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// What is kept cannot be drawn.
    #[error("what is kept of the tenant cannot be drawn: {0}")]
    Picture(String),
}

/// The synchronisation of a tenant.
pub struct Engine {
    settings: Config,
    store: Store,
    clock: Arc<dyn Clock>,
    tokens: Arc<Tokens>,
    graph: Arc<Graph>,
    /// The credential from before, and until when it is kept.
    former: Option<(Arc<Graph>, Duration)>,
    /// Why the credential that came in its place was left again.
    refused: Option<Finding>,
    guard: Arc<Guard>,
    connection: Connection,
    proofs_failed: u32,
    tasks: BTreeMap<Part, Task>,
    jobs: JoinSet<Job>,
    /// Away only while a change is taken up.
    picture: Option<Picture>,
    hidden_is_told: bool,
    is_drawing: bool,
    draw_at: Duration,
    prune_at: Duration,
    epoch: u64,
    trouble: Vec<Finding>,
    waiters: Vec<Waiter>,
    /// Decisions that wait until a round of the part has ended.
    decisions: BTreeMap<Part, Vec<Decision>>,
    /// Decisions that are in force, and not yet published.
    decided: Vec<(Part, Reply<Part>)>,
    backlog: Option<Revision>,
    commands: mpsc::Receiver<Command>,
    revisions: mpsc::Sender<Revision>,
    snapshots: watch::Sender<Option<Published>>,
}

/// What is heard of the synchronisation, and how to speak to it.
pub struct Opened {
    /// Runs it.
    pub engine: Engine,
    /// Speaks to it.
    pub handle: Handle,
    /// The picture of the tenant; from the start on the one that was kept.
    pub snapshots: watch::Receiver<Option<Published>>,
    /// What to act on at once.
    pub revisions: mpsc::Receiver<Revision>,
    /// What is kept, for whoever reviews it. The file stays in use until it is dropped, too.
    pub store: Store,
    /// What was wrong with the store that lay there before, if it was damaged.
    pub moved_aside: Option<MovedAside>,
}

/// What of the settings is looked at later.
struct Config {
    network: Network,
    full_every: Duration,
    keep: Keep,
    max_age: Duration,
}

/// What runs beside, when it has ended.
enum Job {
    Round(Arc<Graph>, Part, u64, Result<Ended, Broken>),
    Drawn(Result<Box<Drawn>, DrawError>),
    Proved(Arc<Graph>, Result<Proof, ProofError>),
    Tried(Arc<Graph>, Result<Proof, ProofError>, Reply<()>),
    Pruned(Result<(), StoreError>),
}

/// What the engine acts on.
enum Event {
    Job(Result<Job, JoinError>),
    Command(Option<Command>),
}

impl Engine {
    /// Opens the store, and takes up what is kept. Blocks; nobody is asked anything before [`Engine::run`].
    pub fn open(settings: Settings) -> Result<Opened, OpenError> {
        let clock = Arc::clone(&settings.clock);
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let tenant = settings.registration.tenant;
        let opened = Store::open(&settings.store, tenant)?;
        let store = opened.store;
        let tokens = Arc::new(Tokens::new(&settings.network, Arc::clone(&clock))?);
        let mut tasks = BTreeMap::new();
        for part in &settings.parts {
            let full = store.last_full(*part, now - settings.full_every)?;
            let ago = full.map(|at| Duration::try_from(now - at).unwrap_or_default());
            let cadence = settings.cadence(*part);
            let task = Task::new(*part, cadence, elapsed, settings.full_every, ago);
            tasks.insert(*part, task);
        }
        let is_disconnected = store.is_disconnected()?;
        let millis = now.unix_timestamp_nanos() / 1_000_000;
        let epoch = u64::try_from(millis)
            .unwrap_or_default()
            .max(settings.epoch + 1);
        let picture = Picture::of(&store, tenant, epoch, now, false)?;
        let (sender, commands) = mpsc::channel(WAITING);
        let (revisions, told) = mpsc::channel(WAITING);
        let (snapshots, published) = watch::channel(Some(picture.published()));
        let registration = Arc::new(settings.registration);
        let graph = Graph::new(
            registration,
            Arc::clone(&tokens),
            &settings.network,
            Arc::clone(&clock),
        )?;
        let mut engine = Self {
            settings: Config {
                network: settings.network,
                full_every: settings.full_every,
                keep: settings.keep,
                max_age: settings.max_age,
            },
            clock,
            tokens,
            graph: Arc::new(graph),
            former: None,
            refused: None,
            guard: Arc::new(settings.guard),
            connection: Connection::Disconnected,
            proofs_failed: 0,
            tasks,
            jobs: JoinSet::new(),
            picture: Some(picture),
            hidden_is_told: false,
            is_drawing: false,
            draw_at: elapsed,
            prune_at: elapsed,
            epoch,
            trouble: Vec::new(),
            waiters: Vec::new(),
            decisions: BTreeMap::new(),
            decided: Vec::new(),
            backlog: None,
            commands,
            revisions,
            snapshots,
            store: store.clone(),
        };
        if !is_disconnected {
            engine.connection = Connection::Proving { spreads: None };
        }
        Ok(Opened {
            engine,
            handle: Handle(sender),
            snapshots: published,
            revisions: told,
            store,
            moved_aside: opened.moved_aside,
        })
    }

    /// Runs until the last [`Handle`] is dropped. Dropping it instead stops it at once, and harms nothing.
    pub async fn run(mut self) {
        if !self.connection.is_disconnected() {
            let parts = self.store.parts().unwrap_or_default();
            self.prove(parts.values().all(|part| part.since.is_none()));
        }
        loop {
            self.begin_due();
            self.answer_waiters();
            let clock = Arc::clone(&self.clock);
            let wait = self.next_due().saturating_sub(clock.elapsed());
            let event = tokio::select! {
                biased;
                Ok(permit) = self.revisions.reserve(), if self.backlog.is_some() => {
                    if let Some(revision) = self.backlog.take() {
                        permit.send(revision);
                    }
                    continue;
                }
                Some(job) = self.jobs.join_next() => Event::Job(job),
                command = self.commands.recv() => Event::Command(command),
                () = clock.sleep(wait) => continue,
            };
            match event {
                Event::Command(None) => return,
                Event::Command(Some(command)) => self.command(command).await,
                Event::Job(Ok(job)) => self.job(job).await,
                Event::Job(Err(error)) => {
                    if let Ok(panic) = error.try_into_panic() {
                        resume_unwind(panic);
                    }
                }
            }
        }
    }

    async fn job(&mut self, job: Job) {
        match job {
            Job::Round(graph, part, run, ended) => self.round_ended(graph, part, run, ended).await,
            Job::Drawn(drawn) => self.drawn(drawn).await,
            Job::Proved(graph, proof) => self.proved(&graph, proof),
            Job::Tried(graph, proof, reply) => self.tried(graph, proof, reply),
            Job::Pruned(pruned) => {
                self.note(pruned.err().map(|error| Finding::of_store(&error, None)));
            }
        }
    }

    fn next_epoch(&mut self) -> u64 {
        let millis = self.clock.now().unix_timestamp_nanos() / 1_000_000;
        let now = u64::try_from(millis).unwrap_or_default();
        self.epoch = now.max(self.epoch + 1);
        self.epoch
    }

    fn picture(&self) -> &Picture {
        self.picture
            .as_ref()
            .expect("it is away only while a change is taken up")
    }

    fn picture_mut(&mut self) -> &mut Picture {
        self.picture
            .as_mut()
            .expect("it is away only while a change is taken up")
    }
}

impl From<DrawError> for OpenError {
    fn from(error: DrawError) -> Self {
        match error {
            DrawError::Store(error) => Self::Store(error),
            other => Self::Picture(other.to_string()),
        }
    }
}

/// Does what blocks beside.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime ends, and everything with it.
            Err(_) => std::future::pending().await,
        },
    }
}

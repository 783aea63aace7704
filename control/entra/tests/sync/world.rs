//! A tenant, and an engine that keeps a copy of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use weir_directory::{GroupFound, Snapshot, Who};
use weir_entra::clock::{Clock, Sleep};
use weir_entra::cloud::Cloud;
use weir_entra::credential::{Credential, Registration, Secret};
use weir_entra::guard::{Guard, Limits};
use weir_entra::health::Finding;
use weir_entra::model::{Id, Part};
use weir_entra::network::Network;
use weir_entra::store::{Store, StoreError};
use weir_entra::sync::{
    Came, Engine, Handle, OpenError, Opened, Published, Revision, Settings, Status,
};
use weir_lab_entra::Entra;
use weir_lab_entra::world::Quirks;
use weir_lab_entra::world::directory::Slot;
use weir_lab_entra::world::object::{Kind, Prop};
use weir_lab_entra::world::populate::{APP, SECRET, TENANT};

/// What a year is, for snapshots that are to be read whatever their age.
const YEAR: Duration = Duration::from_hours(365 * 24);
/// With nothing heard for so many looks, everybody waits for time to pass, where all that runs is seen to wait.
const QUIET: u32 = 3;
/// The same, where something that runs is not: it may wait behind another, or be at work.
const VERY_QUIET: u32 = 100;
const STORE: &str = "directory.redb";
const LOOK: Duration = Duration::from_millis(4);

/// A clock that stands still until a test lets it go, for the lab and the engine alike.
pub struct Turned {
    lab: Arc<Entra>,
    elapsed: Mutex<Duration>,
    /// How far the engine's own clock is wrong.
    pub wrong: Mutex<time::Duration>,
    sleepers: Mutex<BTreeMap<(Duration, u64), Arc<Notify>>>,
    count: Mutex<u64>,
}

impl std::fmt::Debug for Turned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Turned")
    }
}

impl Turned {
    fn turn(&self, to: Duration) {
        let mut elapsed = lock(&self.elapsed);
        let by = to.saturating_sub(*elapsed);
        *elapsed += by;
        let by = time::Duration::try_from(by).expect("short");
        self.lab.world().clock.advance(by);
        for (_, sleeper) in lock(&self.sleepers).range(..=(*elapsed, u64::MAX)) {
            sleeper.notify_one();
        }
    }

    fn next(&self) -> Option<Duration> {
        lock(&self.sleepers).keys().next().map(|(at, _)| *at)
    }

    /// How many wait for it.
    fn waiting(&self) -> usize {
        lock(&self.sleepers).len()
    }
}

impl Clock for Turned {
    fn now(&self) -> OffsetDateTime {
        self.lab.world().clock.now() + *lock(&self.wrong)
    }

    fn elapsed(&self) -> Duration {
        *lock(&self.elapsed)
    }

    fn chance(&self) -> f64 {
        0.5
    }

    fn sleep(&self, time: Duration) -> Sleep<'_> {
        let mut count = lock(&self.count);
        *count += 1;
        let sleeper = Sleeper {
            clock: self,
            key: (self.elapsed() + time, *count),
            woken: Arc::default(),
        };
        lock(&self.sleepers).insert(sleeper.key, Arc::clone(&sleeper.woken));
        if time.is_zero() {
            sleeper.woken.notify_one();
        }
        Box::pin(async move { sleeper.woken.notified().await })
    }
}

struct Sleeper<'a> {
    clock: &'a Turned,
    key: (Duration, u64),
    woken: Arc<Notify>,
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        lock(&self.clock.sleepers).remove(&self.key);
    }
}

/// A tenant, and an engine that keeps a copy of it.
pub struct World {
    pub lab: Arc<Entra>,
    pub clock: Arc<Turned>,
    pub handle: Handle,
    pub snapshots: watch::Receiver<Option<Published>>,
    pub revisions: mpsc::Receiver<Revision>,
    pub guard: Guard,
    folder: TempDir,
    running: JoinHandle<()>,
}

/// Of each user that is there: whether it may sign in, and all its groups.
pub type Truth = BTreeMap<Id, (Option<bool>, BTreeSet<Id>)>;

impl World {
    pub async fn start() -> Self {
        Self::with(Quirks::default(), Guard::default()).await
    }

    /// Without any limit to what a round may take.
    pub fn unguarded() -> Guard {
        Guard {
            limits: Limits::none(),
            ..Guard::default()
        }
    }

    pub async fn with(quirks: Quirks, guard: Guard) -> Self {
        Self::of(quirks, guard, |_| ()).await
    }

    /// A tenant that is changed before anybody looks.
    pub async fn of(quirks: Quirks, guard: Guard, change: impl FnOnce(&Entra)) -> Self {
        let lab = Arc::new(Entra::start().await);
        {
            let mut world = lab.world();
            world.quirks = quirks;
            let at = world.clock.now();
            world.clock.stop_at(at);
        }
        change(&lab);
        let clock = Arc::new(Turned {
            lab: Arc::clone(&lab),
            elapsed: Mutex::default(),
            wrong: Mutex::new(time::Duration::ZERO),
            sleepers: Mutex::default(),
            count: Mutex::default(),
        });
        let folder = tempfile::tempdir().expect("a folder");
        let opened = open(&lab, &clock, &guard, &folder).expect("a new store");
        let Opened {
            engine,
            handle,
            snapshots,
            revisions,
            ..
        } = opened;
        let running = tokio::spawn(engine.run());
        Self {
            lab,
            clock,
            handle,
            snapshots,
            revisions,
            guard,
            folder,
            running,
        }
    }

    /// Ends the engine wherever it is, and starts another on the same file.
    pub async fn restart(&mut self) {
        self.running.abort();
        let _ = (&mut self.running).await;
        let opened = loop {
            match open(&self.lab, &self.clock, &self.guard, &self.folder) {
                Ok(opened) => break opened,
                // What was being written is written to its end.
                Err(OpenError::Store(StoreError::InUse { .. })) => tokio::time::sleep(LOOK).await,
                Err(error) => panic!("{error}"),
            }
        };
        self.handle = opened.handle;
        self.snapshots = opened.snapshots;
        self.revisions = opened.revisions;
        self.running = tokio::spawn(opened.engine.run());
    }

    /// Does something, and lets time pass whenever everybody waits for it.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        self.beside(0, work).await
    }

    /// Lets time pass, as much as that.
    pub async fn pass(&self, time: Duration) {
        let clock = Arc::clone(&self.clock);
        let slept = clock.sleep(time);
        self.beside(1, slept).await;
    }

    /// The same as [`World::during`], where so many others wait for the clock.
    async fn beside<T>(&self, others: usize, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let (mut quiet, mut heard) = (0, 0);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(LOOK) => (),
            }
            let waiting = self.clock.waiting();
            let at_work = self.at_work().await;
            let seen = self.lab.seen().len();
            quiet = if seen == heard { quiet + 1 } else { 0 };
            heard = seen;
            // The engine itself waits, too.
            let all_wait = waiting > at_work + others;
            if quiet >= if all_wait { QUIET } else { VERY_QUIET }
                && let Some(next) = self.clock.next()
            {
                quiet = 0;
                self.clock.turn(next);
            }
        }
    }

    /// How many rounds run, or should and do not yet. Answered only when the engine itself is not at work.
    async fn at_work(&self) -> usize {
        let Ok(status) = self.handle.status().await else {
            return 0;
        };
        let parts = status.parts.values();
        parts
            .filter(|part| part.is_running || part.next_in.is_zero())
            .count()
    }

    /// Lets time pass of which the engine knows only by its clock: it was not there.
    pub fn skip(&self, time: time::Duration) {
        self.lab.world().clock.advance(time);
        *lock(&self.clock.elapsed) += Duration::try_from(time).expect("forward");
    }

    /// Reads all parts now.
    pub async fn sync_all(&self) {
        let synced = self.during(self.handle.sync(None, false)).await;
        for synced in synced.expect("it runs") {
            synced
                .outcome
                .unwrap_or_else(|finding| panic!("{:?}: {finding}", synced.part));
        }
    }

    /// Reads a part now.
    pub async fn sync(&self, part: Part) -> Result<Came, Box<Finding>> {
        self.read(part, false).await
    }

    /// Reads a part now and as a whole.
    pub async fn sync_full(&self, part: Part) -> Result<Came, Box<Finding>> {
        self.read(part, true).await
    }

    async fn read(&self, part: Part, full: bool) -> Result<Came, Box<Finding>> {
        let synced = self.during(self.handle.sync(Some(part), full)).await;
        let mut synced = synced.expect("it runs");
        assert_eq!(synced.len(), 1);
        synced.remove(0).outcome
    }

    /// Reads users and groups now.
    pub async fn sync_people(&self) {
        for part in [Part::Users, Part::Groups] {
            self.sync(part)
                .await
                .unwrap_or_else(|finding| panic!("{part:?}: {finding}"));
        }
    }

    pub async fn status(&self) -> Status {
        self.handle.status().await.expect("it runs")
    }

    /// What was last published.
    pub fn snapshot(&self) -> Snapshot<Arc<[u8]>> {
        let published = self.snapshots.borrow().clone().expect("from the start on");
        Snapshot::parse(published.bytes).expect("it is whole")
    }

    /// What was told of, together.
    pub fn told(&mut self) -> Vec<Revision> {
        let mut told = Vec::new();
        while let Ok(revision) = self.revisions.try_recv() {
            told.push(revision);
        }
        told
    }

    /// What the planes know.
    pub fn known(&self) -> Truth {
        let snapshot = self.snapshot();
        let now = snapshot.head().taken_at;
        let view = snapshot.at(now, YEAR);
        let ids: Vec<Id> = snapshot.users().map(|user| user.id()).collect();
        let users = ids.iter().map(|id| {
            let object_id = id.to_string();
            let who = Who {
                object_id: Some(&object_id),
                ..Who::default()
            };
            let user = view.find(&who).user().expect("it is in the list");
            let groups = user.groups().into_iter().flatten().collect();
            (*id, (user.enabled(), groups))
        });
        users.collect()
    }

    /// What is so.
    pub fn truth(&self) -> Truth {
        let world = self.lab.world();
        let directory = &world.tenants[0].directory;
        let view = directory.view(directory.sequence());
        let enabled = Kind::User
            .key("accountEnabled")
            .expect("a property of users");
        let live = |kind: Kind| {
            let slots = directory.of_kind(kind).iter().copied();
            slots
                .filter(|slot| view.is_live(*slot))
                .collect::<Vec<Slot>>()
        };
        let groups: HashSet<Slot> = live(Kind::Group).into_iter().collect();
        let mut truth = Truth::new();
        for user in live(Kind::User) {
            let mut found = BTreeSet::new();
            let mut todo = vec![user];
            while let Some(member) = todo.pop() {
                for group in directory
                    .groups_of(member)
                    .iter()
                    .filter(|group| groups.contains(group))
                {
                    if found.insert(*group) {
                        todo.push(*group);
                    }
                }
            }
            let enabled = match view.prop(user, enabled) {
                Some(Prop::Flag(flag)) => Some(*flag),
                _ => None,
            };
            let ids = found.into_iter().map(|slot| directory.object(slot).id);
            truth.insert(directory.object(user).id, (enabled, ids.collect()));
        }
        truth
    }

    /// Whether both are the same.
    pub fn assert_right(&self) {
        assert_eq!(self.known(), self.truth());
    }

    /// Id of a group by its name, as the planes find it.
    pub fn group(&self, name: &str) -> Option<Id> {
        let snapshot = self.snapshot();
        match snapshot.group(name) {
            GroupFound::One(group) => snapshot.group_id(group),
            _ => None,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// The application, with its secret.
pub fn secret(value: &str) -> Credential {
    Credential::Secret(Secret::new(value.as_bytes(), None).expect("a secret"))
}

fn open(
    lab: &Entra,
    clock: &Arc<Turned>,
    guard: &Guard,
    folder: &TempDir,
) -> Result<Opened, OpenError> {
    let mut network = Network::default();
    network.trust(lab.ca().as_bytes()).expect("an authority");
    let registration = Registration {
        cloud: Cloud::custom(lab.login(), lab.graph()).expect("origins"),
        tenant: TENANT,
        client: APP,
        credential: secret(SECRET),
    };
    let store = folder.path().join(STORE);
    Engine::open(Settings {
        guard: guard.clone(),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        ..Settings::new(registration, network, store)
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// Ends the engine, and opens what it kept.
    pub async fn into_store(mut self) -> Store {
        self.running.abort();
        let _ = (&mut self.running).await;
        loop {
            match Store::open(&self.folder.path().join(STORE), TENANT) {
                Ok(opened) => return opened.store,
                Err(StoreError::InUse { .. }) => tokio::time::sleep(LOOK).await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

//! The state machine that owns what is in force, and the only place that changes it.
//!
//! Every change goes the same way: a [`Candidate`] is read and checked, gets the next number and its
//! listeners, then the kernel plane switches, then the proxy plane, and when both have acknowledged it
//! is the generation in force. A plane that refuses sends both back. Changes wait for one another;
//! questions (status, explain, lists) never wait for a change.

mod change;
mod drain;
mod entra;
mod evidence;
mod feeds;
mod front;
mod grace;
mod grants;
mod guard;
mod health;
mod keys;
mod reload;
mod seen;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};
use weir_api::record::ChangeKind;
use weir_api::{Actor, Change, Changed, Outcome, RecordBody, ReloadStatus, Reloads};
use weir_link::notify::Notify;

use crate::Error;
use crate::audit::Audit;
use crate::clock;
use crate::descriptor_store::{DescriptorStore, Inherited};
use crate::first::First;
use crate::flows::Flows;
use crate::generation::{Candidate, Generation};
use crate::listeners::Listeners;
use crate::plane::Plane;
use crate::proxy_link::{Handover, Peers, ProxyLink};
use crate::service_ids::ServiceIds;
use crate::store::Numbers;
use crate::undo::{Journal, Undo};
pub(crate) use front::tables_to_begin_with;
use front::{Draining, Front, windows_of};
pub(crate) use health::Silent;
pub use seen::Capture;

/// What the brain works with.
#[derive(Debug)]
pub struct Parts {
    /// The configuration file.
    pub config: PathBuf,
    /// The kernel plane.
    pub plane: Plane,
    /// The proxy plane.
    pub link: ProxyLink,
    /// The audit store.
    pub audit: Arc<Audit>,
    /// The service manager.
    pub notify: Notify,
    /// What the service manager's descriptor store handed over.
    pub inherited: Inherited,
}

/// See the module.
#[derive(Debug)]
pub struct Brain {
    pub(crate) parts: Parts,
    pub(crate) started: OffsetDateTime,
    pub(crate) store: DescriptorStore,
    me: Weak<Self>,
    running: ArcSwap<Generation>,
    /// Told when `running` has changed.
    changed: tokio::sync::Notify,
    front: Front,
    grants: grants::Grants,
    keys: keys::KeyRing,
    feeds: feeds::Feeds,
    entra: entra::Entra,
    flows: Flows,
    pub(crate) metrics: crate::metrics::Metrics,
    /// Whoever captures has the one place.
    capturing: Arc<Semaphore>,
    changing: tokio::sync::Mutex<Changing>,
    /// What a change has left of reloads and how to go back.
    journal: watch::Sender<Journal>,
    noted: Mutex<Noted>,
}

/// What only a change may touch.
#[derive(Debug)]
struct Changing {
    numbers: Numbers,
    ids: ServiceIds,
    undo: Undo,
}

/// What status tells of changes.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) last: ReloadStatus,
    /// Of the configuration file alone; what waits and what was rolled back stands in the journal.
    pub(crate) reloads: Reloads,
    /// Why the generation before could not be put back.
    pub(crate) back_refused: Option<String>,
    /// Why the newest state of the list files is not in force.
    pub(crate) lists_refused: Option<String>,
    /// Why weir-control started with a copy instead of the configuration file, until a reload.
    pub(crate) config_refused: Option<String>,
    /// The generation that the copy in the state directory is of.
    pub(crate) copied: Option<u64>,
    /// Why the newest generation could not be copied.
    pub(crate) copy_refused: Option<String>,
    pub(crate) fail_mode: bool,
    pub(crate) fail_mode_entered: u64,
}

impl Brain {
    /// Puts what was read at the start in force.
    pub async fn start(mut parts: Parts, first: First) -> Result<Arc<Self>, Error> {
        let keys = keys::KeyRing::default();
        let candidate = keys.equip(first.candidate).await?;
        let file = candidate.config().appliance.state.join("generation");
        let numbers = blocking(move || Numbers::open(file, first.at_least)).await?;
        let ids = service_ids_of(&candidate);
        let state = &candidate.config().appliance.state;
        let undo = Undo::new(state, first.journal);
        let mut changing = Changing { numbers, ids, undo };
        let store = DescriptorStore::new(parts.notify.clone());
        let inherited = std::mem::take(&mut parts.inherited);
        let listeners = Listeners::at_start(
            &candidate.addresses(),
            inherited,
            &store,
            &parts.plane,
            &parts.link,
        )
        .await?;
        let ids = changing.service_ids(&parts.plane, &candidate, &[]).await?;
        let generation = Arc::new(Generation {
            number: changing.number().await?,
            candidate,
            listeners,
            ids,
        });
        let handover = handover(&generation).await?;
        let (plane, windows) = (
            parts.plane.clone(),
            windows_of(generation.candidate.config()),
        );
        let down = plane.run(|plane| plane.down()).await??;
        let silent = generation.candidate.silent(&generation.ids, &down);
        let front = blocking(move || Ok(Front::new(plane, windows, silent))).await?;
        front.switch(&generation).await?;
        let grants = grants::Grants::start(&parts.plane, &generation).await?;
        parts.link.offer(handover);
        let detail = format!("generation {} is in force", generation.number);
        let held = generation.candidate.held.words();
        let lists_refused = first.lists_refused.or(held);
        let brain = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            started: OffsetDateTime::now_utc(),
            noted: Mutex::new(Noted {
                last: ReloadStatus {
                    time: clock::now(),
                    action: "start".into(),
                    who: Actor::Weir.to_string(),
                    outcome: Outcome::Done,
                    detail: detail.clone(),
                },
                reloads: reload::at_start(first.config_refused.as_ref(), &first.begun),
                back_refused: first.begun.refused(),
                lists_refused: lists_refused.clone(),
                config_refused: first.config_refused.clone(),
                copied: None,
                copy_refused: None,
                fail_mode: false,
                fail_mode_entered: 0,
            }),
            running: ArcSwap::from(generation),
            changed: tokio::sync::Notify::new(),
            front,
            grants,
            keys,
            feeds: feeds::Feeds::default(),
            entra: entra::Entra::default(),
            flows: Flows::default(),
            metrics: crate::metrics::Metrics::default(),
            capturing: Arc::new(Semaphore::new(1)),
            store,
            journal: watch::Sender::new(changing.undo.journal().clone()),
            changing: tokio::sync::Mutex::new(changing),
            parts,
        });
        brain.note(Actor::Weir, "start", Ok(detail));
        brain.settle(first.begun).await;
        let refused = [first.config_refused, lists_refused];
        for why in refused.into_iter().flatten() {
            brain.note(Actor::Weir, "start", Err(why));
        }
        Ok(brain)
    }

    /// The generation in force.
    pub fn running(&self) -> Arc<Generation> {
        self.running.load_full()
    }

    /// The newest beginnings of flows.
    pub fn flows(&self) -> &Flows {
        &self.flows
    }

    /// The audit store.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.parts.audit
    }

    /// The connected proxies, and how they change.
    pub fn peers(&self) -> watch::Receiver<Peers> {
        self.parts.link.peers()
    }

    /// The drain windows that have not ended.
    pub(crate) fn draining(&self) -> Draining {
        *self.front.draining().borrow()
    }

    /// The servers that do not answer.
    pub(crate) fn silent(&self) -> Silent {
        self.front.silent()
    }

    /// The service manager.
    pub fn notify(&self) -> &Notify {
        &self.parts.notify
    }

    /// Takes Weir out of the kernel.
    pub async fn detach(&self) -> Result<(), Error> {
        Ok(self.parts.plane.detach().await?)
    }

    /// Makes a change to its end, also when whoever asked for it does not wait: half of one would leave
    /// the planes apart.
    async fn to_its_end<F>(&self, change: impl FnOnce(Arc<Self>) -> F) -> Result<Changed, Error>
    where
        F: Future<Output = Result<Changed, Error>> + Send + 'static,
    {
        let me = self.me.upgrade().expect("whoever asks holds it");
        let made = tokio::spawn(change(me)).await;
        made.unwrap_or_else(|ended| Err(Error::Request(format!("the change failed: {ended}"))))
    }

    fn noted_mut(&self, change: impl FnOnce(&mut Noted)) {
        // Every change leaves it whole.
        change(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn noted(&self) -> Noted {
        self.noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note_change(&self, who: Actor, action: &str, what: String, result: &Result<Changed, Error>) {
        let what = if what.is_empty() {
            what
        } else {
            format!("{what}; ")
        };
        let told = match result {
            Ok(Changed {
                generation,
                unchanged: true,
                ..
            }) => Ok(format!(
                "{what}nothing to change, generation {generation} stays in force"
            )),
            Ok(Changed { generation, .. }) => {
                Ok(format!("{what}generation {generation} is in force"))
            }
            Err(error) => Err(format!("{what}{error}")),
        };
        let (outcome, detail) = match &told {
            Ok(detail) => (Outcome::Done, detail.clone()),
            Err(detail) => (Outcome::Refused, detail.clone()),
        };
        let last = ReloadStatus {
            time: clock::now(),
            action: action.to_owned(),
            who: who.to_string(),
            outcome,
            detail,
        };
        // Nothing is wrong with the appliance when somebody asked for what cannot be.
        if !result.as_ref().is_err_and(Error::is_a_slip) {
            self.noted_mut(|noted| noted.last = last);
        }
        self.note(who, action, told);
    }

    fn note(&self, who: Actor, action: &str, told: Result<String, String>) {
        match &told {
            Ok(detail) => tracing::info!(%who, action, "{detail}"),
            Err(detail) => tracing::error!(%who, action, "refused: {detail}"),
        }
        let done = told.is_ok();
        self.parts.audit.append(RecordBody::Change(Change {
            time: clock::now(),
            kind: ChangeKind::Change,
            generation: self.running().number,
            who,
            action: action.to_owned(),
            done,
            detail: told.unwrap_or_else(|detail| detail),
        }));
    }
}

impl Changing {
    /// The next number.
    async fn number(&mut self) -> Result<u64, Error> {
        let mut numbers = self.numbers.clone();
        let (number, numbers) = blocking(move || Ok((numbers.take()?, numbers))).await?;
        self.numbers = numbers;
        Ok(number)
    }

    /// The numbers of a candidate's services. Where one was of another service, that one's counters are
    /// forgotten before anybody can take them for those of the new one.
    async fn service_ids(
        &mut self,
        plane: &Plane,
        candidate: &Candidate,
        in_force: &[(u16, &str)],
    ) -> Result<ServiceIds, Error> {
        let (ids, again) = self.ids.with(&candidate.service_names(), in_force);
        if !again.is_empty() {
            plane
                .run(move |plane| plane.forget_counters(&again))
                .await??;
        }
        let (new, before) = (ids.clone(), self.ids.clone());
        blocking(move || new.save(&before)).await?;
        self.ids = ids.clone();
        Ok(ids)
    }
}

/// The numbers of the services to begin with, for whoever only puts them into the kernel and ends. Blocks.
pub(crate) fn service_ids_to_begin_with(candidate: &Candidate) -> Result<ServiceIds, Error> {
    let before = service_ids_of(candidate);
    let (ids, _) = before.with(&candidate.service_names(), &[]);
    ids.save(&before)?;
    Ok(ids)
}

/// Those of an earlier process. Blocks.
fn service_ids_of(candidate: &Candidate) -> ServiceIds {
    let path = candidate.config().appliance.state.join("service-ids");
    ServiceIds::open(path, &candidate.service_names())
}

/// What the proxy gets; the lists may be long.
async fn handover(generation: &Arc<Generation>) -> Result<Arc<Handover>, Error> {
    let generation = Arc::clone(generation);
    blocking(move || Ok(Arc::new(generation.handover()?))).await
}

/// Does work that blocks, off the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(ended) => Err(Error::Request(format!("loading failed: {ended}"))),
    }
}

fn words(candidate: &Candidate) -> Vec<String> {
    candidate
        .warnings
        .diagnostics
        .iter()
        .map(|one| one.to_string().trim_end().to_owned())
        .collect()
}

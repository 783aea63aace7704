//! The state machine that owns what is in force, and the only place that changes it.
//!
//! Every change goes the same way: a [`Candidate`] is read and checked, gets the next number and its
//! listeners, then the kernel plane switches, then the proxy plane, and when both have acknowledged it
//! is the generation in force. A plane that refuses sends both back. Changes wait for one another;
//! questions (status, explain, lists) never wait for a change.

mod guard;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
pub use guard::FAIL_MODE_AFTER;
use time::OffsetDateTime;
use weir_api::record::ChangeKind;
use weir_api::{Actor, Change, Changed, Outcome, RecordBody, ReloadStatus};
use weir_config::Contents;
use weir_tables::edit::{self, Edit};

use crate::Error;
use crate::audit::Audit;
use crate::clock;
use crate::generation::{Candidate, Generation};
use crate::listeners::Listeners;
use crate::notify::Notify;
use crate::plane::Plane;
use crate::proxy_link::{Answer, Peers, ProxyLink};
use crate::store::{self, Numbers};

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
    /// How long the proxy's classes may wait for a proxy: [`FAIL_MODE_AFTER`].
    pub fail_mode_after: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Brain {
    pub(crate) parts: Parts,
    pub(crate) started: OffsetDateTime,
    running: ArcSwap<Generation>,
    changing: tokio::sync::Mutex<Changing>,
    noted: Mutex<Noted>,
}

/// What only a change may touch.
#[derive(Debug)]
struct Changing {
    numbers: Numbers,
    /// Whether the kernel hands the proxy's classes to the proxy.
    proxy_works: bool,
}

/// What status tells of changes.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) last: ReloadStatus,
    /// Why the newest state of the list files is not in force.
    pub(crate) lists_refused: Option<String>,
    pub(crate) fail_mode: bool,
    pub(crate) fail_mode_entered: u64,
}

impl Brain {
    /// Puts the configuration in force.
    pub async fn start(parts: Parts) -> Result<Arc<Self>, Error> {
        let path = parts.config.clone();
        let candidate = blocking(move || Candidate::read(&path)).await?;
        let mut numbers = Numbers::open(candidate.config().appliance.state.join("generation"))?;
        let addresses = candidate.addresses();
        let listeners = Listeners::at_start(&addresses, &parts.plane, &parts.link).await?;
        let generation = Generation {
            number: numbers.take()?,
            candidate,
            listeners,
        };
        let handover = Arc::new(generation.handover()?);
        to_kernel(&parts.plane, &generation, true).await?;
        parts.link.offer(handover);
        let detail = format!("generation {} is in force", generation.number);
        let brain = Arc::new(Self {
            started: OffsetDateTime::now_utc(),
            noted: Mutex::new(Noted {
                last: ReloadStatus {
                    time: clock::now(),
                    action: "start".into(),
                    who: Actor::Weir.to_string(),
                    outcome: Outcome::Done,
                    detail: detail.clone(),
                },
                lists_refused: None,
                fail_mode: false,
                fail_mode_entered: 0,
            }),
            running: ArcSwap::from_pointee(generation),
            changing: tokio::sync::Mutex::new(Changing {
                numbers,
                proxy_works: true,
            }),
            parts,
        });
        brain.note(Actor::Weir, "start", Ok(detail));
        Ok(brain)
    }

    /// The generation in force.
    pub fn running(&self) -> Arc<Generation> {
        self.running.load_full()
    }

    /// The audit store.
    pub fn audit(&self) -> &Arc<Audit> {
        &self.parts.audit
    }

    /// The connected proxies, and how they change.
    pub fn peers(&self) -> tokio::sync::watch::Receiver<Peers> {
        self.parts.link.peers()
    }

    /// The service manager.
    pub fn notify(&self) -> &Notify {
        &self.parts.notify
    }

    /// Loads the configuration and everything that it names anew. With `dry_run` nothing is published.
    pub async fn reload(&self, who: Actor, dry_run: bool) -> Result<Changed, Error> {
        let path = self.parts.config.clone();
        let running = self.running();
        if dry_run {
            let candidate = blocking(move || Candidate::read(&path)).await?;
            candidate.keeps_entries_of(&running.candidate)?;
            let mut warnings = needs_restart(&running.candidate, &candidate);
            warnings.extend(words(&candidate));
            return Ok(Changed {
                generation: running.number,
                warnings,
                unchanged: false,
                dry_run: true,
            });
        }
        let mut changing = self.changing.lock().await;
        self.parts.notify.reloading();
        let result = async {
            let candidate = blocking(move || Candidate::read(&path)).await?;
            let mut warnings = needs_restart(&running.candidate, &candidate);
            warnings.extend(words(&candidate));
            self.publish(&mut changing, candidate, warnings).await
        }
        .await;
        self.parts.notify.ready();
        self.note_change(who, "reload", String::new(), &result);
        result
    }

    /// Adds an entry to a list that stands in a file.
    pub async fn add_entry(
        &self,
        who: Actor,
        list: &str,
        prefix: &str,
        comment: Option<&str>,
    ) -> Result<Changed, Error> {
        let result = async {
            if comment.is_some_and(|comment| comment.chars().any(char::is_control)) {
                return Err(Error::Comment);
            }
            let prefix = weir_tables::parse_prefix(prefix)?.prefix;
            self.edit(list, |text| match edit::add(text, prefix, comment) {
                Edit::Changed(text) => Ok(Some(text)),
                Edit::Present { .. } | Edit::Absent { .. } => Ok(None),
            })
            .await
        }
        .await;
        self.note_change(who, "list add", format!("{list}: {prefix}"), &result);
        result
    }

    /// Removes an entry from a list that stands in a file.
    pub async fn remove_entry(
        &self,
        who: Actor,
        list: &str,
        prefix: &str,
    ) -> Result<Changed, Error> {
        let result = async {
            let wanted = weir_tables::parse_prefix(prefix)?.prefix;
            self.edit(list, |text| match edit::remove(text, wanted) {
                Edit::Changed(text) => Ok(Some(text)),
                Edit::Absent { covered_by } => Err(Error::NoEntry {
                    list: list.to_owned(),
                    prefix: wanted.to_string(),
                    covered_by: covered_by.map(|(wider, _)| wider.to_string()),
                }),
                Edit::Present { .. } => Ok(None),
            })
            .await
        }
        .await;
        self.note_change(who, "list remove", format!("{list}: {prefix}"), &result);
        result
    }

    /// Takes Weir out of the kernel.
    pub async fn detach(&self) -> Result<(), Error> {
        Ok(self.parts.plane.detach().await?)
    }

    pub(crate) fn noted(&self) -> Noted {
        self.noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A list file was changed by somebody else.
    async fn lists_changed(&self) {
        let mut changing = self.changing.lock().await;
        let running = self.running();
        let old = running.candidate.clone();
        let result = async {
            let candidate = blocking(move || old.with_new_lists()).await?;
            let warnings = words(&candidate);
            self.publish(&mut changing, candidate, warnings).await
        }
        .await;
        if !matches!(
            &result,
            Ok(Changed {
                unchanged: true,
                ..
            })
        ) {
            self.note_change(Actor::Weir, "list file", "changed on disk".into(), &result);
        }
        let refused = result.err().map(|error| error.to_string());
        self.noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lists_refused = refused;
    }

    /// Rewrites the file of a list and puts it in force, or puts the old text back.
    async fn edit(
        &self,
        list: &str,
        change: impl FnOnce(&str) -> Result<Option<String>, Error>,
    ) -> Result<Changed, Error> {
        let mut changing = self.changing.lock().await;
        let running = self.running();
        let file = match &running.candidate.list_source(list)?.contents {
            Contents::File(file) => file.clone(),
            Contents::Inline { line, .. } => {
                return Err(Error::InlineList {
                    name: list.to_owned(),
                    file: running.candidate.config().file.clone(),
                    line: *line,
                });
            }
        };
        let before = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
        let after = change(&before)?;
        if let Some(after) = &after {
            write(&file, after)?;
        }
        // Also when the file says it already: it may not be in force yet.
        let old = running.candidate.clone();
        let result = async {
            let candidate = blocking(move || old.with_new_lists()).await?;
            self.publish(&mut changing, candidate, Vec::new()).await
        }
        .await;
        // What somebody else wrote in the meantime is theirs, and stays.
        if result.is_err()
            && let Some(after) = after
            && std::fs::read_to_string(&file).is_ok_and(|now| now == after)
        {
            write(&file, &before)?;
        }
        result
    }

    /// Puts a candidate in force in both planes, or leaves both as they are.
    async fn publish(
        &self,
        changing: &mut Changing,
        candidate: Candidate,
        mut warnings: Vec<String>,
    ) -> Result<Changed, Error> {
        let running = self.running();
        candidate.keeps_entries_of(&running.candidate)?;
        let same = Arc::ptr_eq(&candidate.loaded, &running.candidate.loaded)
            && candidate.lists == running.candidate.lists;
        if same {
            // Only the files' stamps are new: kept, so that they are not looked at again.
            let (number, listeners) = (running.number, running.listeners.clone());
            self.put_in_force(Arc::new(Generation {
                number,
                candidate,
                listeners,
            }));
            return Ok(Changed {
                generation: number,
                warnings,
                unchanged: true,
                dry_run: false,
            });
        }
        let plane = &self.parts.plane;
        let listeners = running
            .listeners
            .with(&candidate.addresses(), plane)
            .await?;
        let number = changing.numbers.take()?;
        let generation = Arc::new(Generation {
            number,
            candidate,
            listeners,
        });
        let handover = Arc::new(generation.handover()?);
        let refused = match to_kernel(plane, &generation, changing.proxy_works).await {
            Err(error) => Some(error),
            Ok(()) => match self.parts.link.publish(handover).await {
                Answer::Acknowledged => None,
                Answer::Nobody => {
                    warnings.push(
                        "no proxy is alive; it gets this generation when it connects".to_owned(),
                    );
                    None
                }
                Answer::Refused(why) => Some(Error::ProxyRefused {
                    generation: number,
                    why,
                }),
                Answer::Late(pid) => Some(Error::ProxyLate {
                    generation: number,
                    pid,
                }),
            },
        };
        if let Some(refused) = refused {
            self.go_back(&running, changing.proxy_works).await;
            return Err(refused);
        }
        self.put_in_force(generation);
        Ok(Changed {
            generation: number,
            warnings,
            unchanged: false,
            dry_run: false,
        })
    }

    /// A generation always has the lists as their files were, so none of them is refused any more.
    fn put_in_force(&self, generation: Arc<Generation>) {
        self.running.store(generation);
        self.noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lists_refused = None;
    }

    /// Puts both planes back to what is in force.
    async fn go_back(&self, running: &Arc<Generation>, proxy_works: bool) {
        if let Err(error) = to_kernel(&self.parts.plane, running, proxy_works).await {
            tracing::error!(generation = running.number, %error, "the kernel plane does not go back");
        }
        match running.handover() {
            Ok(handover) => self.parts.link.offer(Arc::new(handover)),
            Err(error) => {
                tracing::error!(generation = running.number, %error, "the proxy plane does not go back");
            }
        }
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
        self.noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last = ReloadStatus {
            time: clock::now(),
            action: action.to_owned(),
            who: who.to_string(),
            outcome,
            detail,
        };
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

/// Tables first: a service that is new must find its sources classified.
async fn to_kernel(plane: &Plane, generation: &Generation, proxy_works: bool) -> Result<(), Error> {
    let compiled = Arc::clone(&generation.candidate.compiled);
    let services = generation.kernel_services(proxy_works);
    plane
        .run(move |plane| {
            plane.publish(&compiled.kernel_tables())?;
            plane.set_services(&services)
        })
        .await??;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(ended) => Err(Error::Request(format!("loading failed: {ended}"))),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    store::replace(file, text.as_bytes()).map_err(Error::file("write", file))
}

fn words(candidate: &Candidate) -> Vec<String> {
    candidate
        .warnings
        .diagnostics
        .iter()
        .map(|one| one.to_string().trim_end().to_owned())
        .collect()
}

/// Settings that are read once, at the start.
fn needs_restart(old: &Candidate, new: &Candidate) -> Vec<String> {
    let (old, new) = (old.config(), new.config());
    let mut warnings = Vec::new();
    let mut compare = |changed: bool, what: &str| {
        if changed {
            warnings.push(format!(
                "{what} changed: it takes effect when weir-control is restarted"
            ));
        }
    };
    compare(old.kernel != new.kernel, "[kernel]");
    compare(
        old.appliance.run != new.appliance.run,
        "`run` in [appliance]",
    );
    compare(
        old.appliance.state != new.appliance.state,
        "`state` in [appliance]",
    );
    compare(
        old.appliance.control_group != new.appliance.control_group,
        "`control_group` in [appliance]",
    );
    compare(
        old.appliance.proxy_user != new.appliance.proxy_user,
        "`proxy_user` in [appliance]",
    );
    warnings
}

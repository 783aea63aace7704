//! Changes of what is in force: edits of lists, list files that somebody else wrote, and the one way by
//! which a candidate goes into both planes or into neither.

use std::path::Path;
use std::sync::Arc;

use weir_api::{Actor, Changed};
use weir_config::Contents;
use weir_tables::edit::{self, Edit};

use super::{Brain, Changing, blocking, handover, words};
use crate::Error;
use crate::generation::{Candidate, Generation};
use crate::proxy_link::Answer;
use crate::store;
use crate::watch::stamps;

impl Brain {
    /// Adds an entry to a list that stands in a file.
    pub async fn add_entry(
        &self,
        who: Actor,
        list: &str,
        prefix: &str,
        comment: Option<&str>,
    ) -> Result<Changed, Error> {
        let (list, prefix) = (list.to_owned(), prefix.to_owned());
        let comment = comment.map(str::to_owned);
        let add = |brain: Arc<Self>| async move {
            let result = brain.add(&list, &prefix, comment.as_deref()).await;
            brain.note_change(who, "list add", format!("{list}: {prefix}"), &result);
            result
        };
        self.to_its_end(add).await
    }

    /// Removes an entry from a list that stands in a file.
    pub async fn remove_entry(
        &self,
        who: Actor,
        list: &str,
        prefix: &str,
    ) -> Result<Changed, Error> {
        let (list, prefix) = (list.to_owned(), prefix.to_owned());
        let remove = |brain: Arc<Self>| async move {
            let result = brain.remove(&list, &prefix).await;
            brain.note_change(who, "list remove", format!("{list}: {prefix}"), &result);
            result
        };
        self.to_its_end(remove).await
    }

    async fn add(&self, list: &str, prefix: &str, comment: Option<&str>) -> Result<Changed, Error> {
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

    async fn remove(&self, list: &str, prefix: &str) -> Result<Changed, Error> {
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

    /// A list file was changed by somebody else.
    pub(super) async fn lists_changed(&self) {
        let mut changing = self.changing.lock().await;
        let running = self.running();
        let in_force = &running.candidate.list_stamps;
        if stamps(in_force.keys().cloned()) == *in_force {
            // The change that was waited for has read them: long lists are not read twice.
            return;
        }
        let was_refused = self.noted().lists_refused.is_some();
        let old = running.candidate.clone();
        let result = async {
            let candidate = blocking(move || old.with_new_lists()).await?;
            let warnings = words(&candidate);
            self.publish(&mut changing, candidate, warnings).await
        }
        .await;
        // That nothing changed is news where it was refused before.
        let unchanged = result.as_ref().is_ok_and(|changed| changed.unchanged);
        if !unchanged || was_refused {
            self.note_change(Actor::Weir, "list file", "changed on disk".into(), &result);
        }
        if let Err(error) = result {
            let refused = Some(error.to_string());
            self.noted_mut(|noted| noted.lists_refused = refused);
        }
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
            Contents::Remote(remote) => {
                return Err(Error::RemoteList {
                    name: list.to_owned(),
                    place: remote.source.to_string(),
                });
            }
            Contents::Inline { line, .. } => {
                return Err(Error::InlineList {
                    name: list.to_owned(),
                    file: running.candidate.config().file.clone(),
                    line: *line,
                });
            }
        };
        if running.candidate.held.still().has(&file) {
            return Err(Error::RolledBack {
                list: list.to_owned(),
                file,
            });
        }
        let before = read(&file).await?;
        running.candidate.holds_entries(list, &file, &before)?;
        let after = change(&before)?;
        if let Some(after) = &after {
            write(&file, after).await?;
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
            && read(&file).await.is_ok_and(|now| now == after)
        {
            write(&file, &before).await?;
        }
        result
    }

    /// Puts a candidate in force in both planes, or leaves both as they are.
    pub(super) async fn publish(
        &self,
        changing: &mut Changing,
        candidate: Candidate,
        mut warnings: Vec<String>,
    ) -> Result<Changed, Error> {
        let running = self.running();
        let candidate = self.keys.equip(candidate).await?;
        candidate.keeps_entries_of(&running.candidate)?;
        let same = Arc::ptr_eq(&candidate.loaded, &running.candidate.loaded)
            && candidate.lists == running.candidate.lists
            && candidate.users_text() == running.candidate.users_text()
            && candidate.keys().eq(running.candidate.keys());
        if same {
            // Only the files' stamps are new: kept, so that they are not looked at again.
            let number = running.number;
            self.put_in_force(Arc::new(Generation {
                number,
                candidate,
                listeners: running.listeners.clone(),
                ids: running.ids.clone(),
            }));
            return Ok(Changed {
                generation: number,
                warnings,
                unchanged: true,
                ..Changed::default()
            });
        }
        let addresses = candidate.addresses();
        let result = self.offer(changing, &running, candidate).await;
        let in_force = match &result {
            Ok(_) => addresses,
            Err(_) => running.candidate.addresses(),
        };
        self.store.retain(&in_force).await;
        let (generation, warning) = result?;
        warnings.extend(warning);
        let number = generation.number;
        self.put_in_force(generation);
        Ok(Changed {
            generation: number,
            warnings,
            ..Changed::default()
        })
    }

    /// Offers a candidate to both planes, and sends both back when one refuses. Gives what is in force now,
    /// and what a person should know.
    async fn offer(
        &self,
        changing: &mut Changing,
        running: &Arc<Generation>,
        candidate: Candidate,
    ) -> Result<(Arc<Generation>, Option<String>), Error> {
        let listeners = running
            .listeners
            .with(&candidate.addresses(), &self.parts.plane, &self.store)
            .await?;
        let plane = &self.parts.plane;
        let in_force = running.numbered();
        let ids = changing.service_ids(plane, &candidate, &in_force).await?;
        let generation = Arc::new(Generation {
            number: changing.number().await?,
            candidate,
            listeners,
            ids,
        });
        let number = generation.number;
        let handover = handover(&generation).await?;
        let answer = match self.front.switch(&generation).await {
            Err(error) => Err(error),
            Ok(()) => match self.parts.link.publish(handover).await {
                Answer::Acknowledged => Ok(None),
                Answer::Nobody => Ok(Some(
                    "no proxy is alive; it gets this generation when it connects".to_owned(),
                )),
                Answer::Silent(pid) => Ok(Some(format!(
                    "the proxy (pid {pid}) is silent; it gets this generation when it goes on"
                ))),
                Answer::Refused(why) => Err(Error::ProxyRefused {
                    generation: number,
                    why,
                }),
                Answer::Late(pid) => Err(Error::ProxyLate {
                    generation: number,
                    pid,
                }),
            },
        };
        match answer {
            Ok(warning) => Ok((generation, warning)),
            Err(refused) => {
                self.go_back(running).await;
                Err(refused)
            }
        }
    }

    /// A generation always has the lists as their files were, so none of them is refused any more, but those
    /// that were rolled back.
    fn put_in_force(&self, generation: Arc<Generation>) {
        let refused = generation.candidate.held.words();
        self.running.store(generation);
        self.noted_mut(|noted| noted.lists_refused = refused);
        self.changed.notify_one();
    }

    /// Puts both planes back to what is in force.
    async fn go_back(&self, running: &Arc<Generation>) {
        if let Err(error) = self.front.switch(running).await {
            tracing::error!(generation = running.number, %error, "the kernel plane does not go back");
        }
        match handover(running).await {
            Ok(handover) => self.parts.link.offer(handover),
            Err(error) => {
                tracing::error!(generation = running.number, %error, "the proxy plane does not go back");
            }
        }
    }
}

async fn read(file: &Path) -> Result<String, Error> {
    let file = file.to_owned();
    blocking(move || std::fs::read_to_string(&file).map_err(Error::file("read", &file))).await
}

async fn write(file: &Path, text: &str) -> Result<(), Error> {
    let (file, text) = (file.to_owned(), text.to_owned());
    blocking(move || store::replace(&file, text.as_bytes()).map_err(Error::file("write", &file)))
        .await
}

//! Lists that are fetched, on their way into force: asked for when it is time, decided on, and written down.
//! From there the watch of list files takes them, as it takes every list.
//!
//! Each list is asked for by one at a time. No start and no change waits for a list: what was in force is read
//! from the disk, and stays whatever cannot be fetched.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use uuid::Uuid;
use weir_api::{Actor, ListSummary, RemoteList};
use weir_entra::model::Part;
use weir_feeds::{Feed, Fetched, Source, Taken, Unreadable};

use super::{Brain, blocking};
use crate::Error;
use crate::clock;
use crate::feeds::{self, Asked, FeedsError, Subscription, told};
use crate::locations;
use crate::tenant::kept::{self, NotKept};
use crate::watch;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    known: Mutex<BTreeMap<String, Subscription>>,
    /// Whoever changes what is written down holds it.
    step: tokio::sync::Mutex<()>,
    machine: OnceCell<Uuid>,
    /// When the tenant's named locations were last read.
    located: Mutex<Option<OffsetDateTime>>,
}

impl Feeds {
    fn all<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Subscription>) -> T) -> T {
        // Every change leaves them whole.
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn one<T>(
        &self,
        list: &str,
        look: impl FnOnce(&mut Subscription) -> T,
    ) -> Result<T, FeedsError> {
        self.all(|known| known.get_mut(list).map(look))
            .ok_or_else(|| FeedsError::Local(list.to_owned()))
    }
}

impl Brain {
    /// Asks for lists when it is time.
    pub(super) async fn guard_feeds(&self) {
        let mut tick = interval(watch::INTERVAL);
        let mut fetches = JoinSet::new();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(_) = fetches.join_next() => {}
            }
            self.follow_lists().await;
            let now = Instant::now();
            let due = self.feeds.all(|known| {
                let due = known.iter_mut().filter_map(|(list, one)| {
                    let due = one.begin_when_due(now);
                    due.then(|| list.clone())
                });
                due.collect::<Vec<_>>()
            });
            for list in due {
                let Some(me) = self.me.upgrade() else { return };
                fetches.spawn(async move {
                    // It is noted, and shown until it is over.
                    let _ = me.fetch_list(&list).await;
                });
            }
        }
    }

    /// Takes in which lists are fetched now, and how.
    async fn follow_lists(&self) {
        let running = self.running();
        let wanted = Asked::all(running.candidate.config());
        let now = Instant::now();
        let new = self.feeds.all(|known| {
            known.retain(|list, _| wanted.contains_key(list));
            for (list, one) in known.iter_mut() {
                one.ask(&wanted[list], now);
            }
            let new = wanted.into_iter();
            let new = new.filter(|(list, _)| !known.contains_key(list));
            new.collect::<Vec<_>>()
        });
        for (list, asked) in new {
            let text = running.candidate.list_text(&list);
            let open = move || Ok(Subscription::open(asked, &text, now));
            // Only a runtime that ends keeps it from being opened.
            if let Ok(opened) = blocking(open).await {
                self.feeds.all(|known| {
                    known.entry(list).or_insert(opened);
                });
            }
        }
    }

    /// Asks for a list, and brings what may be into force.
    async fn fetch_list(&self, list: &str) -> Result<(), FeedsError> {
        let (asked, turn) = self
            .feeds
            .one(list, |one| (Arc::clone(&one.asked), Arc::clone(&one.turn)))?;
        let _turn = turn.lock().await;
        let mark = self
            .feeds
            .one(list, |one| one.feed.mark().map(str::to_owned))?;
        let fetched = match &asked.remote.source {
            Source::Web(from) => match self.machine().await {
                Ok(machine) => asked.fetch(from, machine, mark.as_deref()).await,
                Err(error) => Err(Unreadable::Wrong(error.to_string())),
            },
            Source::NamedLocation {
                location,
                must_be_trusted,
            } => self.named_location(location, *must_be_trusted).await,
        };
        let taken = self.take_list(list, &asked, fetched).await;
        let done = taken.is_ok();
        self.feeds.one(list, |one| {
            // Another one that was asked for in the meantime is still due.
            if Arc::ptr_eq(&one.asked, &asked) {
                one.end(done, Instant::now());
            }
        })?;
        if taken? {
            self.lists_changed().await;
        }
        Ok(())
    }

    /// Takes in when the tenant's named locations were last read: where that is new, lists that are some of them are
    /// due.
    pub(super) fn locations_read(&self, at: Option<OffsetDateTime>) {
        // It is whole at every moment.
        let located = self.feeds.located.lock();
        let before = std::mem::replace(&mut *located.unwrap_or_else(PoisonError::into_inner), at);
        if at.is_some() && before != at {
            let now = Instant::now();
            self.feeds
                .all(|known| known.values_mut().for_each(|one| one.located(now)));
        }
    }

    /// What the tenant has under the name of a location, as it was last read.
    async fn named_location(
        &self,
        location: &str,
        must_be_trusted: bool,
    ) -> Result<Fetched, Unreadable> {
        let wrong = |why: &dyn Display| Unreadable::Wrong(why.to_string());
        let unread = NotKept::Unread(Part::Locations);
        let tenant = self.tenant().ok_or_else(|| wrong(&unread))?;
        let kept = blocking(move || {
            let (store, max_age) = (&tenant.store, tenant.config.max_age);
            Ok(kept::documents(
                store,
                Part::Locations,
                max_age,
                OffsetDateTime::now_utc(),
            ))
        });
        let kept = kept.await.map_err(|error| wrong(&error))?;
        let kept = kept.map_err(|why| wrong(&why))?;
        let all = locations::read(kept.values());
        let prefixes = all.and_then(|all| locations::prefixes(&all, location, must_be_trusted));
        Ok(Fetched::List {
            prefixes: prefixes.map_err(|why| wrong(&why))?,
            mark: None,
        })
    }

    /// Takes in what came, writes it down, and says whether there is something to be put in force.
    async fn take_list(
        &self,
        list: &str,
        asked: &Arc<Asked>,
        fetched: Result<Fetched, Unreadable>,
    ) -> Result<bool, FeedsError> {
        let _step = self.feeds.step.lock().await;
        let (before, current) = self
            .feeds
            .one(list, |one| (one.feed.clone(), Arc::clone(&one.asked)))?;
        if !Arc::ptr_eq(&current, asked) {
            // It is to be asked for elsewhere by now.
            return Ok(false);
        }
        let (mut feed, now) = (before.clone(), clock::now());
        let taken = match fetched {
            Ok(fetched) => feed
                .take(fetched, &asked.remote.limits, &now)
                .map_err(|refused| refused.to_string()),
            Err(why) => {
                feed.failed(&why, &now);
                Err(why.to_string())
            }
        };
        let text = match &taken {
            Ok(Taken::InForce(text, _)) => Some(text.clone()),
            // Somebody took it away.
            _ if matches!(asked.remote.kept.try_exists(), Ok(false)) => feed.text(),
            _ => None,
        };
        let put = text.is_some();
        if let Err(error) = self.keep_list(list, asked, feed.clone(), text).await {
            let why = error.to_string();
            self.feeds.one(list, |one| {
                one.feed.failed(&Unreadable::Wrong(why.clone()), &now);
            })?;
            self.note_failing(list, &before, &why);
            return Err(error);
        }
        self.note_taken_list(list, &before, &feed, &taken);
        match taken {
            Ok(_) => Ok(put),
            Err(why) => Err(FeedsError::NotFetched {
                list: list.to_owned(),
                why,
            }),
        }
    }

    /// Writes a list down, and takes that for what holds. Whoever calls it holds the step.
    async fn keep_list(
        &self,
        list: &str,
        asked: &Asked,
        feed: Feed,
        text: Option<String>,
    ) -> Result<(), FeedsError> {
        let (kept, about) = (asked.remote.kept.clone(), feed.about());
        let written = blocking(move || Ok(feeds::keep(&kept, text.as_deref(), &about))).await;
        written.map_err(|error| FeedsError::NotFetched {
            list: list.to_owned(),
            why: error.to_string(),
        })??;
        self.feeds.one(list, |one| one.feed = feed)
    }

    /// Tells of what is new.
    fn note_taken_list(
        &self,
        list: &str,
        before: &Feed,
        now: &Feed,
        taken: &Result<Taken, String>,
    ) {
        let digest = |feed: &Feed| feed.held().map(|held| held.digest.clone());
        let told = match taken {
            Err(why) => return self.note_failing(list, before, why),
            Ok(Taken::InForce(_, difference)) => {
                let mut words = format!("{list}: {} prefixes come", difference.added.len());
                if before.in_force().is_some() {
                    let _ = write!(words, ", {} go", difference.removed.len());
                } else {
                    words.push_str(": it was fetched for the first time");
                }
                Ok(words)
            }
            Ok(Taken::Held) if digest(before) != digest(now) => {
                let held = now.held().expect("it was just held");
                Err(format!(
                    "{list}: what came is held, and what was there stays in force: {}",
                    told(list, held)
                ))
            }
            Ok(_) => match before.failing() {
                Some(failing) => Ok(format!(
                    "{list}: can be fetched again; {} is over",
                    failing.why
                )),
                None => return,
            },
        };
        self.note(Actor::Weir, "list fetch", told);
    }

    fn note_failing(&self, list: &str, before: &Feed, why: &str) {
        if before.failing().is_none_or(|failing| failing.why != why) {
            self.note(Actor::Weir, "list fetch", Err(format!("{list}: {why}")));
        }
    }

    async fn machine(&self) -> Result<Uuid, Error> {
        let state = self.running().candidate.config().appliance.state.clone();
        let make = || blocking(move || Ok(feeds::machine(&state)?));
        self.feeds.machine.get_or_try_init(make).await.copied()
    }

    /// Asks for a list now.
    pub async fn refresh_list(&self, who: Actor, list: String) -> Result<ListSummary, Error> {
        self.running().candidate.list_source(&list)?;
        // A reload may have just been done.
        self.follow_lists().await;
        self.feeds.one(&list, |_| ())?;
        self.note(who, "list refresh", Ok(list.clone()));
        self.finish(move |brain| async move {
            brain.fetch_list(&list).await?;
            Ok(brain.list(&list)?.2)
        })
        .await
    }

    /// Puts in force what is held of a list, when its digest begins like this.
    pub async fn approve_list(
        &self,
        who: Actor,
        list: String,
        digest: String,
    ) -> Result<ListSummary, Error> {
        self.running().candidate.list_source(&list)?;
        self.follow_lists().await;
        self.finish(move |brain| async move {
            let approved = brain.approve_held(&list, &digest).await;
            let told = match &approved {
                Ok((digest, prefixes)) => Ok(format!("{list}: {digest}, {prefixes} prefixes")),
                Err(error) => Err(error.to_string()),
            };
            brain.note(who, "list approve", told);
            approved?;
            brain.lists_changed().await;
            Ok(brain.list(&list)?.2)
        })
        .await
    }

    async fn approve_held(&self, list: &str, digest: &str) -> Result<(String, usize), FeedsError> {
        let _step = self.feeds.step.lock().await;
        let (asked, mut feed, digest) = self.feeds.one(list, |one| {
            let digest = one.held(list, digest)?;
            Ok::<_, FeedsError>((Arc::clone(&one.asked), one.feed.clone(), digest))
        })??;
        let approved = feed.approve(&digest);
        let approved = approved.map_err(|_| FeedsError::NotHeld(list.to_owned()))?;
        self.keep_list(list, &asked, feed, Some(approved.text))
            .await?;
        Ok((digest, approved.prefixes))
    }

    /// How a list is fetched, if it is.
    pub(crate) fn fetched(&self, list: &str) -> Option<RemoteList> {
        let now = OffsetDateTime::now_utc();
        self.feeds.one(list, |one| one.shown(now)).ok()
    }

    /// What a person should know of lists that are fetched.
    pub(crate) fn feeds_warnings(&self) -> Vec<String> {
        self.feeds.all(|known| {
            let known = known.iter();
            known.flat_map(|(list, one)| one.warnings(list)).collect()
        })
    }
}

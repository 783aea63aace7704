//! The keys by which tokens are verified, on their way into a generation: read when it is time, decided on,
//! written down, and put in force.
//!
//! Readings of one service go one after another. What is decided is on the disk before a generation has it,
//! so that a restart begins with what was in force. No start and no change waits for a reading.

mod acts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use weir_api::{Actor, Changed};
use weir_claims::Keys;
use weir_claims::rollover::Rollover;

use super::{Brain, blocking};
use crate::Error;
use crate::clock;
use crate::generation::Candidate;
use crate::keys::fetch::{Asked, Read};
use crate::keys::{Book, KeysError, Saved, line};
use crate::watch;

/// Time until a generation that should have other keys is tried again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    books: Mutex<BTreeMap<String, Book>>,
    /// Whoever changes what is written down holds it.
    step: tokio::sync::Mutex<()>,
}

impl KeyRing {
    /// Gives a candidate the keys that are in force. Those of a service that is new are read from the disk.
    pub(super) async fn equip(&self, mut candidate: Candidate) -> Result<Candidate, Error> {
        let state = candidate.config().appliance.state.clone();
        self.open_books(&state, asked(&candidate)).await?;
        let keys = self.books(|books| {
            let books = books.iter();
            let keys = books.map(|(name, book)| (name.clone(), book.in_force().clone()));
            keys.collect::<BTreeMap<String, Keys>>()
        });
        candidate.put_keys(&keys);
        Ok(candidate)
    }

    /// Reads what the disk holds of services that are new here.
    async fn open_books(
        &self,
        state: &Path,
        services: impl IntoIterator<Item = (String, Arc<Asked>)>,
    ) -> Result<(), Error> {
        for (service, asked) in services {
            if self.books(|books| books.contains_key(&service)) {
                continue;
            }
            let book = read_book(state, &service, asked).await?;
            self.books(|books| {
                books.entry(service).or_insert(book);
            });
        }
        Ok(())
    }

    fn books<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Book>) -> T) -> T {
        // Every change leaves them whole.
        look(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn book<T>(&self, service: &str, look: impl FnOnce(&mut Book) -> T) -> Result<T, KeysError> {
        self.books(|books| books.get_mut(service).map(look))
            .ok_or_else(|| KeysError::NoTokens(service.to_owned()))
    }
}

impl Brain {
    /// Reads keys when it is time, and brings them into force.
    pub(super) async fn guard_keys(&self) {
        let mut tick = interval(watch::INTERVAL);
        let mut readings = JoinSet::new();
        let mut published = None;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                Some(_) = readings.join_next() => {}
            }
            self.follow_configuration().await;
            for service in self.keys_due().await {
                let Some(me) = self.me.upgrade() else { return };
                readings.spawn(async move {
                    // It is noted, and shown until it is over.
                    let _ = me.read_keys(&service).await;
                });
            }
            let again = published.is_none_or(|at: Instant| at.elapsed() > PUBLISH_AGAIN);
            if again && self.keys_are_behind() {
                published = Some(Instant::now());
                // It is noted.
                let _ = self.publish_keys().await;
            }
        }
    }

    /// Takes in which services have their tokens looked at, and where their keys are now. A book that was opened for
    /// a generation may have been closed before that was in force: it is opened again.
    async fn follow_configuration(&self) {
        let running = self.running();
        let now = Instant::now();
        let wanted: BTreeMap<_, _> = asked(&running.candidate).collect();
        let state = &running.candidate.config().appliance.state;
        let opened = self.keys.open_books(state, wanted.clone()).await;
        if let Err(error) = opened {
            // It is tried again with the next look.
            tracing::error!(%error, "what is known of keys cannot be read");
        }
        let gone = self.keys.books(|books| {
            for (service, asked) in &wanted {
                if let Some(book) = books.get_mut(service) {
                    book.ask(Arc::clone(asked), now);
                }
            }
            let gone = books.extract_if(.., |service, _| !wanted.contains_key(service));
            gone.collect::<Vec<_>>()
        });
        for (service, book) in gone {
            let file = book.file().display();
            self.note(
                Actor::Weir,
                "keys",
                Ok(format!(
                    "{service}: its tokens are not looked at any more; its keys stay in {file}, and hold \
                     again when they are"
                )),
            );
        }
    }

    /// The services whose keys are to be read now.
    async fn keys_due(&self) -> Vec<String> {
        let now = Instant::now();
        let wanted = self.parts.link.keys_wanted().take();
        let mut due = self.keys.books(|books| {
            for service in wanted {
                if let Some(book) = books.get_mut(&service) {
                    book.schedule.want(now);
                }
            }
            let due = books.iter().filter(|(_, book)| book.schedule.is_due(now));
            due.map(|(service, _)| service.clone()).collect::<Vec<_>>()
        });
        let files = self.keys.books(|books| {
            let books = books.iter();
            let asked = books.map(|(service, book)| (service.clone(), Arc::clone(book.asked())));
            let with_files = asked.filter(|(_, asked)| !asked.files().is_empty());
            with_files.collect::<Vec<_>>()
        });
        for (service, asked) in files {
            let Ok(stamps) = blocking(move || Ok(asked.stamps())).await else {
                continue;
            };
            let changed = self.keys.book(&service, |book| book.file_changed(stamps));
            if changed.unwrap_or(false) && !due.contains(&service) {
                due.push(service);
            }
        }
        // Begun here, so that the next look does not begin another.
        for service in &due {
            let _ = self.keys.book(service, |book| book.schedule.begin(now));
        }
        due
    }

    /// Reads the keys of a service where they are published, and takes them in.
    pub(super) async fn read_keys(&self, service: &str) -> Result<(), Error> {
        let begun = self.keys.book(service, |book| {
            (Arc::clone(book.asked()), book.in_force().clone())
        })?;
        let (asked, known) = begun;
        let of_files = Arc::clone(&asked);
        let stamps = blocking(move || Ok(of_files.stamps())).await?;
        self.keys
            .book(service, |book| book.begin(stamps, Instant::now()))?;
        let read = asked.read(&known).await;
        let (left_out, read) = match read {
            Ok(read) => (read.left_out.clone(), Ok(read)),
            Err(why) => (Vec::new(), Err(why)),
        };
        let taken = match read {
            Ok(Read { keys, failed, .. }) => match self.take_keys(service, keys).await {
                Ok(()) => failed.map_or(Ok(()), |why| Err(KeysError::NotRead(why))),
                Err(error) => Err(error),
            },
            Err(why) => Err(KeysError::NotRead(why)),
        };
        let why = taken.as_ref().err().map(ToString::to_string);
        let (time, now) = (clock::now(), Instant::now());
        let news = self
            .keys
            .book(service, |book| book.end(left_out, why, &time, now))?;
        if let Some(news) = news {
            let words = |told| format!("{service}: {told}");
            self.note(Actor::Weir, "keys", news.map(words).map_err(words));
        }
        taken.map_err(Error::Keys)
    }

    /// Decides on keys that a service publishes, and puts in force what may be.
    async fn take_keys(&self, service: &str, published: Keys) -> Result<(), KeysError> {
        let vouched = self.vouched(service).await;
        let step = self.keys.step.lock().await;
        let time = clock::now();
        let (file, held, by_tenant, decided) = self.keys.book(service, |book| {
            let saved = book.saved()?;
            let by_tenant = saved.would_hold(&published);
            let (next, decided) = saved.taking(published, &vouched, &time)?;
            let held = next.is_held_since(saved);
            Ok::<_, KeysError>((book.file().to_owned(), held, by_tenant, (next, decided)))
        })??;
        let (next, decided) = decided;
        self.keep_keys(service, &file, next).await?;
        drop(step);
        match decided {
            Rollover::Same => {
                // Whoever asked for this reading waits for what another one has decided.
                if self.keys_are_behind() {
                    self.publish_taken().await;
                }
                Ok(())
            }
            Rollover::Held(_) if held => Ok(()),
            Rollover::Held(change) => {
                let named: Vec<_> = change.to_name().iter().map(ToString::to_string).collect();
                let told = format!(
                    "{service}: all keys were replaced, so the new ones are held and the old ones stay in \
                     force: {}; compare them with the sign-in server's own (`weir keys`), then `weir keys \
                     approve {service} --fingerprint {}`",
                    line(&change),
                    named.join(" --fingerprint ")
                );
                self.note(Actor::Weir, "keys", Err(told));
                Ok(())
            }
            Rollover::First(change) => {
                let told = format!("{service}: its first keys: {}", line(&change));
                self.note(Actor::Weir, "keys", Ok(told));
                self.publish_taken().await;
                Ok(())
            }
            Rollover::Rolled(change) => {
                let why = if by_tenant {
                    "all keys were replaced, and the tenant's federation settings hold the new ones"
                } else {
                    "other keys"
                };
                let told = format!("{service}: {why}: {}", line(&change));
                self.note(Actor::Weir, "keys", Ok(told));
                self.publish_taken().await;
                Ok(())
            }
        }
    }

    /// Writes keys down, and takes them for what holds. Whoever calls it holds the step.
    async fn keep_keys(&self, service: &str, file: &Path, next: Saved) -> Result<(), KeysError> {
        let (path, text) = (file.to_owned(), next.clone());
        let written = blocking(move || Ok(text.write(&path))).await;
        written.map_err(|error| KeysError::NotRead(error.to_string()))??;
        self.keys.book(service, |book| book.hold(next))
    }

    /// Has the planes take keys that are written down. What refuses is noted, and tried again.
    async fn publish_taken(&self) {
        let _ = self.publish_keys().await;
    }

    /// A generation with the keys that are written down.
    async fn publish_keys(&self) -> Result<Changed, Error> {
        let publish = |brain: Arc<Self>| async move {
            let mut changing = brain.changing.lock().await;
            let candidate = brain.running().candidate.clone();
            let result = brain.publish(&mut changing, candidate, Vec::new()).await;
            if !matches!(&result, Ok(changed) if changed.unchanged) {
                brain.note_change(Actor::Weir, "keys", String::new(), &result);
            }
            result
        };
        self.to_its_end(publish).await
    }

    /// Whether the generation in force has other keys than are written down.
    fn keys_are_behind(&self) -> bool {
        let running = self.running();
        self.keys.books(|books| {
            let mut in_force = running.candidate.keys();
            in_force.any(|(service, keys)| {
                books
                    .get(service)
                    .is_some_and(|book| book.in_force() != keys)
            })
        })
    }
}

/// The services whose tokens are looked at, each with what is asked for its keys.
fn asked(candidate: &Candidate) -> impl Iterator<Item = (String, Arc<Asked>)> {
    let names = candidate.service_names().into_iter();
    names.filter_map(|name| Some((name.to_owned(), Arc::new(Asked::of(candidate, name)?))))
}

async fn read_book(state: &Path, service: &str, asked: Arc<Asked>) -> Result<Book, Error> {
    let (state, service, now) = (state.to_owned(), service.to_owned(), Instant::now());
    blocking(move || Ok(Book::open(&state, &service, asked, now))).await
}

//! One round of one part: pages of Graph in, an outcome of the store out.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::broken::Broken;
use super::settings::Keep;
use crate::clock::Clock;
use crate::decode::{Malformed, deleted, groups, users};
use crate::graph::{Ask, At, Call, Failure, Graph, Priority};
use crate::guard::Guard;
use crate::model::{Item, Next, Page, Part};
use crate::round::{Kind, Outcome, Round};
use crate::store::{Store, StoreError};

/// Most pages of an answer.
const MOST_PAGES: u32 = 200_000;
/// So often a round is begun before it is left for later.
const BEGINNINGS: u32 = 3;

/// What a round is read with.
pub(super) struct Reader {
    pub(super) graph: Arc<Graph>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) guard: Arc<Guard>,
    pub(super) keep: Keep,
    pub(super) priority: Priority,
}

/// A round that came to something.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// Whether all was read, and something was there.
    pub(super) is_full: bool,
    /// What was left out of it, and why.
    pub(super) without: Vec<Failure>,
}

/// Reads a page.
type Decode<T> = fn(&[u8]) -> Result<Page<T>, Malformed>;

/// How users or groups are asked for.
struct Objects<P> {
    part: Part,
    all: Ask,
    /// Those that can still be restored: a full round would not tell of all of them.
    deleted: Option<Ask>,
    decode: Decode<Item<P>>,
    take: fn(&mut Round, Vec<Item<P>>) -> Result<(), StoreError>,
}

/// An answer, page by page.
pub(super) struct Pages<'a, T> {
    reader: &'a Reader,
    ask: &'a Ask,
    decode: fn(&[u8]) -> Result<Page<T>, Malformed>,
    place: Place,
    count: u32,
}

/// Where an answer goes on.
enum Place {
    Start,
    Delta(String),
    Next(String),
    End(Option<String>),
}

impl Reader {
    /// Reads a part, in full or what changed; begins anew where the tenant or the store says so.
    pub(super) async fn round(&self, part: Part, full: bool) -> Result<Ended, Broken> {
        let mut full = full;
        let mut beginnings = 0;
        loop {
            beginnings += 1;
            let broken = match self.once(part, full).await {
                Ok(ended) => return Ok(ended),
                Err(broken) => broken,
            };
            match broken.begins_anew(full) {
                Some(in_full) if beginnings < BEGINNINGS => full = in_full,
                _ => return Err(broken),
            }
        }
    }

    async fn once(&self, part: Part, full: bool) -> Result<Ended, Broken> {
        match part {
            Part::Users => {
                let users = Objects {
                    part,
                    all: Ask::UserChanges,
                    deleted: Some(Ask::DeletedUsers),
                    decode: users::changes,
                    take: Round::users,
                };
                self.objects(full, users).await
            }
            Part::Groups => {
                let groups = Objects {
                    part,
                    all: Ask::GroupChanges,
                    deleted: self.may(&Ask::DeletedGroups).then_some(Ask::DeletedGroups),
                    decode: groups::changes,
                    take: Round::groups,
                };
                self.objects(full, groups).await
            }
            Part::SignIns => self.sign_ins().await,
            Part::Audits => self.audits().await,
            _ => self.polled(part).await,
        }
    }

    async fn objects<P>(&self, full: bool, objects: Objects<P>) -> Result<Ended, Broken> {
        let Objects { part, take, .. } = objects;
        let link = if full { None } else { self.store.link(part)? };
        let is_full = link.is_none();
        let kind = match &link {
            Some(link) => Kind::Delta { link: link.clone() },
            None => Kind::Full,
        };
        let mut round = self.store.begin(part, kind)?;
        // They come first, so that whoever is restored meanwhile is live in the end.
        if let Some(ask) = objects.deleted.as_ref().filter(|_| is_full) {
            let mut pages = self.pages(ask, None, deleted);
            while let Some(page) = pages.next().await? {
                let gone = page.into_iter().map(|gone| Item::Gone(gone.id));
                take(&mut round, gone.collect())?;
            }
        }
        let mut told = 0;
        let mut pages = self.pages(&objects.all, link, objects.decode);
        while let Some(page) = pages.next().await? {
            told += page.len();
            take(&mut round, page)?;
        }
        if is_full && told == 0 && part == Part::Users {
            return Err(Broken::Nobody);
        }
        let Place::End(link) = pages.place else {
            return Err(Broken::Endless);
        };
        Ok(Ended {
            outcome: self.finish(round, link).await?,
            is_full: is_full && told > 0,
            without: Vec::new(),
        })
    }

    /// Ends a round after its last page.
    pub(super) async fn finish(
        &self,
        round: Round,
        link: Option<String>,
    ) -> Result<Outcome, Broken> {
        let (guard, now) = (Arc::clone(&self.guard), self.clock.now());
        let finished = spawn_blocking(move || round.finish(link, &guard, now)).await;
        Ok(finished.map_err(|_| Broken::Stopped)??)
    }

    /// An answer, page by page, from its beginning or from a link to what changed.
    pub(super) fn pages<'a, T>(
        &'a self,
        ask: &'a Ask,
        link: Option<String>,
        decode: fn(&[u8]) -> Result<Page<T>, Malformed>,
    ) -> Pages<'a, T> {
        Pages {
            reader: self,
            ask,
            decode,
            place: link.map_or(Place::Start, Place::Delta),
            count: 0,
        }
    }

    /// All pages of an answer.
    pub(super) async fn all<T>(
        &self,
        ask: &Ask,
        decode: fn(&[u8]) -> Result<Page<T>, Malformed>,
    ) -> Result<Vec<T>, Broken> {
        let mut all = Vec::new();
        let mut pages = self.pages(ask, None, decode);
        while let Some(page) = pages.next().await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// An answer that has no pages.
    pub(super) async fn one<T>(
        &self,
        ask: &Ask,
        decode: fn(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, Broken> {
        let call = Call::start(ask).priority(self.priority);
        Ok(self.graph.get(&call, decode).await?.said)
    }

    /// Whether the token says that the application may ask this.
    fn may(&self, ask: &Ask) -> bool {
        let state = self.graph.tokens().state(self.graph.registration());
        let roles = state.said.map(|said| said.roles).unwrap_or_default();
        let suffices = ask.suffices();
        roles.iter().any(|role| suffices.contains(&role.as_str()))
    }
}

impl<T> Pages<'_, T> {
    /// What the next page holds; nothing after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<T>>, Broken> {
        let at = match &self.place {
            Place::Start => At::Start,
            Place::Delta(link) => At::Delta(link),
            Place::Next(link) => At::Next(link),
            Place::End(_) => return Ok(None),
        };
        let call = Call::at(self.ask, at).priority(self.reader.priority);
        let page = self.reader.graph.get(&call, self.decode).await?.said;
        self.count += 1;
        let is_again = |next: &str| matches!(&self.place, Place::Next(here) if here == next);
        self.place = match page.next {
            Next::More(next) if is_again(&next) || self.count >= MOST_PAGES => {
                return Err(Broken::Endless);
            }
            Next::More(next) => Place::Next(next),
            Next::Done(delta) => {
                // One that leads elsewhere makes what came with it doubtful, too.
                if let Some(link) = &delta {
                    self.reader.graph.check(self.ask, link)?;
                }
                Place::End(delta)
            }
        };
        Ok(Some(page.items))
    }
}

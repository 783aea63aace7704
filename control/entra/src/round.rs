//! A round of a part: pages come in, in any order and as often as they like, and one transaction comes out, or
//! nothing.
//!
//! Pages are staged in memory. The last that is told of an object's property counts, and members of a group are
//! gathered from all its pages. When the last page is there, [`Round::finish`] compares what was told with what
//! is kept, lets [`crate::guard`] judge what would be taken away, and commits data and link together, or keeps the
//! round for a person to approve, with what takes rights from few people applied at once. A round that is
//! dropped has changed nothing.
//!
//! A *full* round tells all there is: an object is what the round tells of it, and what it does not tell of is
//! gone for good. A *delta* round tells what changed. In both, what is soft-deleted keeps its properties and its
//! members, and is live again as soon as it is told of again. A membership may be told before its member is
//! known, and counts as soon as it is. Of a document part a full round is all its documents, and a delta round
//! adds documents, or takes them away by name.

mod effect;
mod staged;
mod urgent;

use std::collections::BTreeMap;
use std::fmt;

use time::OffsetDateTime;

use crate::guard::{Guard, judge};
use crate::model::{Changes, GroupPatch, Item, Part, UserPatch};
use crate::store::{CODE_HELD, Counts, Held, PartRow, Plan, Store, StoreError, What, Writer};
use effect::{Effect, examples, loss};
use staged::{Memberships, Objects};

/// A round takes so many objects or documents.
const MOST_OBJECTS: u64 = 4_000_000;
/// A round takes so many bytes of them.
const MOST_BYTES: u64 = 1 << 30;
/// A round takes so many memberships.
const MOST_EDGES: u64 = 24_000_000;

/// What a round tells.
#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    /// What changed since this link was given, as [`Store::link`] has it.
    Delta {
        /// The link.
        link: String,
    },
    /// All there is.
    Full,
}

impl fmt::Debug for Kind {
    /// Without the link, which is for the tenant alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta { .. } => "Delta",
            Self::Full => "Full",
        })
    }
}

/// A round that runs.
pub struct Round {
    store: Store,
    part: Part,
    is_full: bool,
    turn: u64,
    staged: Staged,
    /// What made the round unfit to be finished.
    spoilt: Option<(u64, &'static str)>,
}

enum Staged {
    Users(Objects<UserPatch>),
    Groups(Objects<GroupPatch>, Memberships),
    Documents(BTreeMap<String, Option<Vec<u8>>>, u64),
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What changed is in force.
    Committed(Changes),
    /// Nothing changed; the new link is kept.
    Unchanged,
    /// It waits for a person. The link is the old one still, so that the next round tells the same again.
    Held {
        /// What waits.
        held: Box<Held>,
        /// What takes rights from few people, and is in force.
        applied: Changes,
    },
}

impl Store {
    /// Begins a round of a part.
    pub fn begin(&self, part: Part, kind: Kind) -> Result<Round, StoreError> {
        let row = self.part_row(part)?;
        let is_full = match kind {
            Kind::Full => true,
            Kind::Delta { link } => match row.link {
                None => return Err(StoreError::NeedsFull { part }),
                Some(kept) if kept != link => return Err(StoreError::Overtaken { part }),
                Some(_) => false,
            },
        };
        let staged = match part {
            Part::Users => Staged::Users(Objects::default()),
            Part::Groups => Staged::Groups(Objects::default(), Memberships::default()),
            _ => Staged::Documents(BTreeMap::new(), 0),
        };
        Ok(Round {
            store: self.clone(),
            part,
            is_full,
            turn: row.turn,
            staged,
            spoilt: None,
        })
    }
}

impl Round {
    /// Of which part it is.
    pub const fn part(&self) -> Part {
        self.part
    }

    /// Takes a page of users.
    pub fn users(&mut self, page: Vec<Item<UserPatch>>) -> Result<(), StoreError> {
        let Staged::Users(objects) = &mut self.staged else {
            return Err(StoreError::Misplaced { part: self.part });
        };
        for item in page {
            objects.put(item);
        }
        self.check()
    }

    /// Takes a page of groups, with what it tells of their members.
    pub fn groups(&mut self, page: Vec<Item<GroupPatch>>) -> Result<(), StoreError> {
        let Staged::Groups(objects, memberships) = &mut self.staged else {
            return Err(StoreError::Misplaced { part: self.part });
        };
        for item in page {
            objects.put(memberships.take(item));
        }
        self.check()
    }

    /// Takes documents, by name.
    pub fn documents(&mut self, page: Vec<(String, Vec<u8>)>) -> Result<(), StoreError> {
        self.stage_documents(page.into_iter().map(|(id, document)| (id, Some(document))))
    }

    /// Takes documents away, by name.
    pub fn remove_documents(&mut self, ids: Vec<String>) -> Result<(), StoreError> {
        self.stage_documents(ids.into_iter().map(|id| (id, None)))
    }

    fn stage_documents(
        &mut self,
        page: impl Iterator<Item = (String, Option<Vec<u8>>)>,
    ) -> Result<(), StoreError> {
        let Staged::Documents(documents, bytes) = &mut self.staged else {
            return Err(StoreError::Misplaced { part: self.part });
        };
        for (id, document) in page {
            *bytes += (id.len() + document.as_ref().map_or(0, Vec::len)) as u64;
            documents.insert(id, document);
        }
        self.check()
    }

    /// Ends the round after its last page: `link` is where the next delta round goes on. Blocks while it
    /// compares and writes.
    pub fn finish(
        self,
        link: Option<String>,
        guard: &Guard,
        now: OffsetDateTime,
    ) -> Result<Outcome, StoreError> {
        let Self { part, is_full, .. } = self;
        self.believable()?;
        let mut writer = Writer::begin(&self.store, now)?;
        let mut row = writer.part(part)?;
        if row.turn != self.turn {
            return Err(StoreError::Overtaken { part });
        }
        let now = writer.journal.at();
        let effect = Effect::of(&writer, part, self.staged, is_full, now)?;
        row.last_attempt = Some(now);
        if row.since.is_some() {
            let loss = loss(&writer, &effect, guard)?;
            let reasons = judge(&guard.limits, &loss);
            if !reasons.is_empty() {
                let (urgent, waits) = urgent::split(&writer, effect, guard, &reasons, &loss)?;
                let held = Held {
                    digest: waits.digest(part),
                    part,
                    full: is_full,
                    since: now,
                    at: now,
                    reasons,
                    counts: Counts::of(&waits),
                    examples: examples(&writer, &waits)?,
                };
                commit(&mut writer, part, &urgent, is_full, true)?;
                let held = Box::new(writer.hold(held, link, &waits)?);
                row.failure = None;
                writer.put_part(part, &row)?;
                writer.commit()?;
                let applied = urgent.into_changes(part);
                return Ok(Outcome::Held { held, applied });
            }
        }
        succeed(&mut writer, part, &mut row, &effect.plan, is_full)?;
        row.turn += 1;
        row.link = link;
        writer.put_part(part, &row)?;
        writer.commit()?;
        Ok(if effect.plan.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Committed(effect.plan.into_changes(part))
        })
    }

    /// Keeps in mind when there is too much of it: a part of a round is none.
    fn check(&mut self) -> Result<(), StoreError> {
        let (objects, bytes, edges) = match &self.staged {
            Staged::Users(objects) => (objects.len(), objects.bytes(), 0),
            Staged::Groups(objects, memberships) => {
                (objects.len(), objects.bytes(), memberships.len())
            }
            Staged::Documents(documents, bytes) => (documents.len() as u64, *bytes, 0),
        };
        if objects > MOST_OBJECTS {
            self.spoilt = Some((MOST_OBJECTS, "objects"));
        } else if bytes > MOST_BYTES {
            self.spoilt = Some((MOST_BYTES, "bytes"));
        } else if edges > MOST_EDGES {
            self.spoilt = Some((MOST_EDGES, "memberships"));
        }
        self.believable()
    }

    fn believable(&self) -> Result<(), StoreError> {
        let part = self.part;
        match self.spoilt {
            Some((most, of)) => Err(StoreError::TooMuch { part, most, of }),
            None => Ok(()),
        }
    }
}

/// Puts a plan in force, with the evidence of it.
fn commit(
    writer: &mut Writer,
    part: Part,
    plan: &Plan,
    full: bool,
    has_before: bool,
) -> Result<(), StoreError> {
    if plan.is_empty() && has_before {
        return Ok(());
    }
    writer.apply(part, plan, has_before)?;
    let (digest, counts) = (plan.digest(part), Counts::of(plan));
    let what = if has_before {
        What::Committed {
            digest,
            counts,
            full,
            approved_by: None,
        }
    } else {
        What::Baseline { digest, counts }
    };
    writer.note(Some(part), what)
}

/// Puts a plan in force, and has the part current.
fn succeed(
    writer: &mut Writer,
    part: Part,
    row: &mut PartRow,
    plan: &Plan,
    full: bool,
) -> Result<(), StoreError> {
    let now = writer.journal.at();
    let held = writer.held(part)?.map(|(held, _)| held);
    let was_behind = held.is_some() || row.failure.is_some();
    writer.drop_held(held, None)?;
    commit(writer, part, plan, full, row.since.is_some())?;
    if was_behind {
        writer.recovered(part, row, CODE_HELD)?;
    }
    // A clock that was ahead does not hide what is known now.
    row.since = Some(row.since.map_or(now, |since| since.min(now)));
    row.last_success = Some(now);
    Ok(())
}

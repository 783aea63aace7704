//! What a round tells, in which order. It is the same for all pages of a round, so it is made once and kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::chance::Chance;
use crate::graph::query::{MEMBERS, Selected};
use crate::world::Quirks;
use crate::world::directory::{Directory, Sequence, Slot, View, What};
use crate::world::object::{Kind, Mask, State};

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Of which kind.
    pub kind: Kind,
    /// After which change; everything, if there is none.
    pub since: Option<Sequence>,
    /// Up to which change.
    pub seen: Sequence,
    /// Which properties.
    pub selected: Selected,
    /// Of these objects; of all, if none are named.
    pub ids: Vec<Uuid>,
}

/// The items of a round in their order.
#[derive(Debug, Default)]
pub struct Plan {
    /// The items; an object may be in several.
    pub pieces: Vec<Piece>,
    /// What the pieces of a later round point at.
    pub changes: Vec<Changed>,
}

/// An item of a page.
#[derive(Debug, Clone, Copy)]
pub enum Piece {
    /// An object as a whole, with some of its members.
    Whole {
        /// Which.
        slot: Slot,
        /// The first member.
        from: usize,
        /// The first member that is not told here.
        to: usize,
    },
    /// What changed of an object, with some of the edges that did.
    Change {
        /// Position among the changes.
        at: usize,
        /// The first edge.
        from: usize,
        /// The first edge that is not told here.
        to: usize,
    },
}

/// What changed of an object in a round.
#[derive(Debug)]
pub struct Changed {
    /// Which.
    pub slot: Slot,
    /// Properties.
    pub keys: Mask,
    /// Whether it came or came back: then all of it is told.
    pub whole: bool,
    /// Members, and whether each is one now.
    pub edges: Vec<(Slot, bool)>,
}

/// The plans of the rounds under way.
#[derive(Debug, Default)]
pub struct Plans(Vec<(Ask, Arc<Plan>)>);

/// Rounds that go on at the same time.
const KEPT: usize = 8;

impl Plans {
    /// The plan for what is asked.
    pub fn get(
        &mut self,
        directory: &Directory,
        ask: Ask,
        quirks: &Quirks,
        chance: Chance,
    ) -> Arc<Plan> {
        if let Some((_, plan)) = self.0.iter().find(|(known, _)| *known == ask) {
            return plan.clone();
        }
        let chance = chance
            .of(ask.seen as u64)
            .of(ask.since.map_or(u64::MAX, |since| since as u64))
            .of(ask.kind as u64);
        let plan = Arc::new(match ask.since {
            None => first(directory, &ask, quirks, chance),
            Some(since) => later(directory, since, &ask, quirks, chance),
        });
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push((ask, plan.clone()));
        plan
    }
}

fn first(directory: &Directory, ask: &Ask, quirks: &Quirks, chance: Chance) -> Plan {
    let view = directory.view(ask.seen);
    let mut plan = Plan::default();
    for &slot in directory.of_kind(ask.kind) {
        if !ask.means(directory, slot) {
            continue;
        }
        let told = match view.state(slot) {
            State::Live => true,
            State::Deleted(_) => chance
                .of_text("gone")
                .of(u64::from(slot))
                .happens(quirks.gone_at_first),
            State::Purged => false,
        };
        if told {
            let members = if ask.selected.shows(MEMBERS) {
                view.members(slot).len()
            } else {
                0
            };
            plan.pieces
                .extend(split(members, quirks.piece).map(|(from, to)| Piece::Whole {
                    slot,
                    from,
                    to,
                }));
        }
    }
    plan.disorder(quirks, chance);
    plan
}

fn later(
    directory: &Directory,
    since: Sequence,
    ask: &Ask,
    quirks: &Quirks,
    chance: Chance,
) -> Plan {
    let view = directory.view(ask.seen);
    let mut seen: BTreeMap<Slot, Seen> = BTreeMap::new();
    for entry in directory.changes(since, ask.seen) {
        let of_kind = directory.object(entry.slot).kind == ask.kind;
        if of_kind && ask.means(directory, entry.slot) {
            seen.entry(entry.slot).or_default().add(&entry.what);
        }
    }
    let mut plan = Plan::default();
    for (slot, seen) in seen {
        let restored = seen.restored;
        if let Some(changed) = seen.told(slot, view.state(slot), ask, quirks) {
            let mut changed = changed;
            if restored && changed.whole && ask.selected.shows(MEMBERS) {
                changed.edges = all_edges(directory, slot, &view);
            }
            let at = plan.changes.len();
            plan.pieces.extend(
                split(changed.edges.len(), quirks.piece).map(|(from, to)| Piece::Change {
                    at,
                    from,
                    to,
                }),
            );
            plan.changes.push(changed);
        }
    }
    plan.disorder(quirks, chance);
    plan
}

/// Every member of a group that came back, and everybody who ever left it: what happened in the round in which it was
/// deleted was never told.
fn all_edges(directory: &Directory, group: Slot, view: &View<'_>) -> Vec<(Slot, bool)> {
    let mut edges = BTreeMap::new();
    for entry in directory.changes(0, view.at) {
        if let What::Edge { member, .. } = entry.what
            && entry.slot == group
        {
            edges.insert(member, false);
        }
    }
    edges.extend(view.members(group).iter().map(|member| (*member, true)));
    edges.into_iter().collect()
}

impl Ask {
    fn means(&self, directory: &Directory, slot: Slot) -> bool {
        self.ids.is_empty() || self.ids.contains(&directory.object(slot).id)
    }
}

impl Plan {
    /// Some items come twice, and no order is kept.
    fn disorder(&mut self, quirks: &Quirks, chance: Chance) {
        let twice = chance.of_text("twice");
        let again: Vec<Piece> = self
            .pieces
            .iter()
            .enumerate()
            .filter(|(at, _)| twice.of(*at as u64).happens(quirks.duplicate))
            .map(|(_, piece)| *piece)
            .collect();
        self.pieces.extend(again);
        chance.of_text("order").shuffle(&mut self.pieces);
    }
}

/// What the log of a round says of an object.
#[derive(Default)]
struct Seen {
    keys: Mask,
    created: bool,
    restored: bool,
    silent: bool,
    edges: BTreeMap<Slot, bool>,
}

impl Seen {
    fn add(&mut self, what: &What) {
        match what {
            What::Created => self.created = true,
            What::Set { key, .. } => self.keys |= 1 << key,
            What::Edge { member, came } => {
                self.edges.insert(*member, *came);
            }
            What::State { before, silent } => {
                self.restored |= matches!(before, State::Deleted(_));
                self.silent |= silent;
            }
        }
    }

    /// What is told of it, if anything is.
    fn told(self, slot: Slot, state: State, ask: &Ask, quirks: &Quirks) -> Option<Changed> {
        let keys = self.keys & ask.selected.mask;
        let edges: Vec<(Slot, bool)> = if ask.selected.shows(MEMBERS) {
            self.edges.into_iter().collect()
        } else {
            Vec::new()
        };
        let whole = self.created || (self.restored && state == State::Live);
        let told = match state {
            State::Purged => !self.silent,
            State::Deleted(_) => true,
            State::Live => {
                let kept_quiet = quirks.hidden_restore && ask.selected.named;
                keys != 0 || !edges.is_empty() || self.created || (self.restored && !kept_quiet)
            }
        };
        told.then_some(Changed {
            slot,
            keys,
            whole,
            edges: if state == State::Live {
                edges
            } else {
                Vec::new()
            },
        })
    }
}

/// Pieces of at most `piece` of `all`; at least one.
fn split(all: usize, piece: usize) -> impl Iterator<Item = (usize, usize)> {
    let piece = piece.max(1);
    (0..all.div_ceil(piece).max(1)).map(move |at| (at * piece, ((at + 1) * piece).min(all)))
}

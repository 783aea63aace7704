//! The directory of a tenant: objects, edges, and the log of what changed, in one rising sequence.
//!
//! The log keeps what was before, so that a [`View`] shows the directory as it was at any earlier number: that is
//! what a replica that lags shows, and what a walk over many pages needs.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use time::OffsetDateTime;
use uuid::Uuid;

use super::object::{Key, Kind, Object, Prop, State};

/// Position of an object in the directory; never used again for another.
pub type Slot = u32;

/// Number of a change: how many there were when it had happened.
pub type Sequence = usize;

/// Objects, who is a member of what, and what changed.
#[derive(Debug, Default)]
pub struct Directory {
    objects: Vec<Object>,
    index: HashMap<Uuid, Slot>,
    kinds: [Vec<Slot>; 4],
    /// By group: its direct members, in the order of their slots.
    members: Vec<Vec<Slot>>,
    /// By member: the groups that it is a direct member of, in the order of their slots.
    groups: Vec<Vec<Slot>>,
    deleted: BTreeSet<(i64, Slot)>,
    log: Vec<Entry>,
}

/// A change.
#[derive(Debug, Clone)]
pub struct Entry {
    /// When.
    pub at: OffsetDateTime,
    /// Of what; for an edge the group.
    pub slot: Slot,
    /// What happened to it.
    pub what: What,
}

/// What happened to an object.
#[derive(Debug, Clone)]
pub enum What {
    /// It came.
    Created,
    /// A property was set or cleared.
    Set {
        /// Which.
        key: Key,
        /// What it was before.
        before: Option<Prop>,
    },
    /// A member came or went.
    Edge {
        /// Who.
        member: Slot,
        /// Whether it came.
        came: bool,
    },
    /// It was deleted, restored or purged.
    State {
        /// What it was before.
        before: State,
        /// A purge that nobody is told of.
        silent: bool,
    },
}

impl Directory {
    /// How many changes there were.
    pub fn sequence(&self) -> Sequence {
        self.log.len()
    }

    /// The changes after `since`, up to `to`.
    pub fn changes(&self, since: Sequence, to: Sequence) -> &[Entry] {
        &self.log[since.min(to)..to.min(self.log.len())]
    }

    /// Where the object of that id is; also when it is gone.
    pub fn slot(&self, id: Uuid) -> Option<Slot> {
        self.index.get(&id).copied()
    }

    /// The object there.
    pub fn object(&self, slot: Slot) -> &Object {
        &self.objects[slot as usize]
    }

    /// All objects of a kind that there ever were.
    pub fn of_kind(&self, kind: Kind) -> &[Slot] {
        &self.kinds[kind as usize]
    }

    /// The direct groups of an object, also such as are gone.
    pub fn groups_of(&self, member: Slot) -> &[Slot] {
        &self.groups[member as usize]
    }

    /// The direct members of a group, also such as are gone.
    pub fn members_of(&self, group: Slot) -> &[Slot] {
        &self.members[group as usize]
    }

    /// How many objects of a kind are there now.
    pub fn live(&self, kind: Kind) -> usize {
        let slots = self.of_kind(kind).iter();
        slots
            .filter(|slot| self.object(**slot).state == State::Live)
            .count()
    }

    /// The objects that were soft-deleted before that second, and not restored.
    pub fn deleted_before(&self, second: i64) -> impl Iterator<Item = Uuid> {
        let over = self.deleted.range(..(second, 0));
        over.map(|(_, slot)| self.object(*slot).id)
    }

    /// Puts an object in that was always there: no change tells of it.
    pub fn load(&mut self, object: Object) -> Slot {
        let slot = Slot::try_from(self.objects.len()).expect("fewer than four thousand million");
        self.index.insert(object.id, slot);
        self.kinds[object.kind as usize].push(slot);
        self.objects.push(object);
        self.members.push(Vec::new());
        self.groups.push(Vec::new());
        slot
    }

    /// Gives a group members that it always had; may be called once for each group.
    pub fn load_members(&mut self, group: Slot, mut members: Vec<Slot>) {
        members.sort_unstable();
        members.dedup();
        for member in &members {
            let groups = &mut self.groups[*member as usize];
            if let Err(at) = groups.binary_search(&group) {
                groups.insert(at, group);
            }
        }
        self.members[group as usize] = members;
    }

    /// Puts an object in.
    pub fn create(&mut self, object: Object, at: OffsetDateTime) -> Slot {
        let slot = self.load(object);
        self.note(at, slot, What::Created);
        slot
    }

    /// Sets or clears a property. Says whether that changed anything.
    pub fn set(&mut self, slot: Slot, key: Key, value: Prop, at: OffsetDateTime) -> bool {
        let object = &mut self.objects[slot as usize];
        if object.prop(key) == Some(&value) {
            return false;
        }
        let before = object.set(key, value);
        self.note(at, slot, What::Set { key, before });
        true
    }

    /// Makes `member` a member of `group`, or no member any more. Says whether that changed anything.
    pub fn edge(&mut self, group: Slot, member: Slot, came: bool, at: OffsetDateTime) -> bool {
        if !put(&mut self.members[group as usize], member, came) {
            return false;
        }
        put(&mut self.groups[member as usize], group, came);
        self.note(at, group, What::Edge { member, came });
        true
    }

    /// Deletes, restores or purges an object. Its edges stay: whether they count is a matter of its state.
    pub fn put_state(&mut self, slot: Slot, state: State, silent: bool, at: OffsetDateTime) {
        let before = std::mem::replace(&mut self.objects[slot as usize].state, state);
        if let State::Deleted(since) = before {
            self.deleted.remove(&(since, slot));
        }
        if let State::Deleted(since) = state {
            self.deleted.insert((since, slot));
        }
        self.note(at, slot, What::State { before, silent });
    }

    /// The directory as it was after the change of that number.
    pub fn view(&self, at: Sequence) -> View<'_> {
        let at = at.min(self.log.len());
        let mut later: HashMap<Slot, Vec<&What>> = HashMap::new();
        for entry in &self.log[at..] {
            later.entry(entry.slot).or_default().push(&entry.what);
        }
        View {
            directory: self,
            at,
            later,
        }
    }

    fn note(&mut self, at: OffsetDateTime, slot: Slot, what: What) {
        self.log.push(Entry { at, slot, what });
    }
}

/// The directory at one moment of its log.
#[derive(Debug)]
pub struct View<'a> {
    /// The directory as it is now.
    pub directory: &'a Directory,
    /// Number of the last change that is seen.
    pub at: Sequence,
    later: HashMap<Slot, Vec<&'a What>>,
}

impl<'a> View<'a> {
    /// The object, for what never changes of it: id and kind.
    pub fn object(&self, slot: Slot) -> &'a Object {
        self.directory.object(slot)
    }

    /// Whether the object is there. What came later is not.
    pub fn state(&self, slot: Slot) -> State {
        let mut state = self.object(slot).state;
        for what in self.later(slot).rev() {
            match what {
                What::Created => return State::Purged,
                What::State { before, .. } => state = *before,
                What::Set { .. } | What::Edge { .. } => {}
            }
        }
        state
    }

    /// Whether it is there and not deleted.
    pub fn is_live(&self, slot: Slot) -> bool {
        self.state(slot) == State::Live
    }

    /// A property; nothing when it was never set.
    pub fn prop(&self, slot: Slot, wanted: Key) -> Option<&'a Prop> {
        for what in self.later(slot) {
            if let What::Set { key, before } = what
                && *key == wanted
            {
                return before.as_ref();
            }
        }
        self.object(slot).prop(wanted)
    }

    /// The direct members of a group that were not purged, also such as are soft-deleted.
    pub fn members(&self, group: Slot) -> Cow<'a, [Slot]> {
        let mut members = Cow::Borrowed(self.directory.members_of(group));
        for what in self.later(group).rev() {
            if let What::Edge { member, came } = what {
                put(members.to_mut(), *member, !came);
            }
        }
        let purged = |slot: &Slot| self.state(*slot) == State::Purged;
        if members.iter().any(purged) {
            members.to_mut().retain(|slot| !purged(slot));
        }
        members
    }

    fn later(&self, slot: Slot) -> impl DoubleEndedIterator<Item = &'a What> + use<'a, '_> {
        self.later.get(&slot).into_iter().flatten().copied()
    }
}

/// Puts `slot` into a sorted list or takes it out; says whether that changed it.
fn put(list: &mut Vec<Slot>, slot: Slot, there: bool) -> bool {
    match (list.binary_search(&slot), there) {
        (Err(at), true) => list.insert(at, slot),
        (Ok(at), false) => {
            list.remove(at);
        }
        _ => return false,
    }
    true
}

//! What was told so far, in little memory.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::model::{Group, GroupPatch, Id, Item, MemberKind, Told, User, UserPatch};
use crate::store::{decode, encode, member_kind};

/// What is told of an object.
pub(super) trait Patch: Serialize + DeserializeOwned {
    /// What is kept of it.
    type Kept: Kept;

    /// Puts what was told later over this.
    fn merge(&mut self, later: Self);

    fn apply(self, kept: &mut Self::Kept);
}

/// What is kept of an object.
pub(super) trait Kept: DeserializeOwned + Clone + Default + PartialEq {
    fn gone(&self) -> Option<OffsetDateTime>;

    fn set_gone(&mut self, since: Option<OffsetDateTime>);
}

/// The objects that were told of.
pub(super) struct Objects<P> {
    staged: HashMap<Id, Object>,
    bytes: u64,
    patches: PhantomData<P>,
}

/// What was told of one.
#[derive(Clone, Default)]
pub(super) struct Object {
    /// How it was told of last.
    pub(super) fate: Fate,
    /// Whether it was purged on the way, so that nothing from before counts.
    pub(super) is_anew: bool,
    /// What was told of it, in bytes.
    patch: Option<Box<[u8]>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Fate {
    #[default]
    Live,
    Gone,
    Purged,
}

impl<P> Default for Objects<P> {
    fn default() -> Self {
        Self {
            staged: HashMap::new(),
            bytes: 0,
            patches: PhantomData,
        }
    }
}

impl<P: Patch> Objects<P> {
    pub(super) fn put(&mut self, item: Item<P>) {
        match item {
            Item::Live(id, patch) => {
                let object = self.staged.entry(id).or_default();
                let merged = match object.patch::<P>() {
                    None => patch,
                    Some(mut earlier) => {
                        earlier.merge(patch);
                        earlier
                    }
                };
                let patch = encode(&merged).into_boxed_slice();
                object.fate = Fate::Live;
                self.bytes += patch.len() as u64;
                self.bytes -= object
                    .patch
                    .replace(patch)
                    .map_or(0, |earlier| earlier.len() as u64);
            }
            Item::Gone(id) => self.staged.entry(id).or_default().fate = Fate::Gone,
            Item::Purged(id) => {
                let purged = Object {
                    fate: Fate::Purged,
                    is_anew: true,
                    patch: None,
                };
                let before = self
                    .staged
                    .insert(id, purged)
                    .and_then(|object| object.patch);
                self.bytes -= before.map_or(0, |patch| patch.len() as u64);
            }
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.staged.len() as u64
    }

    /// Bytes of what was told.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Object> {
        self.staged.get(id)
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        let mut ids: Vec<Id> = self.staged.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// What becomes of an object of which `former` is kept. Can be asked once: what was told is freed.
    pub(super) fn settle(
        &mut self,
        id: &Id,
        former: Option<&P::Kept>,
        is_full: bool,
        now: OffsetDateTime,
    ) -> Option<P::Kept> {
        let object = self.staged.get_mut(id)?;
        let patch: Option<P> = object.patch();
        object.patch = None;
        // What a full round tells of an object is all there is of it.
        let replaces = object.is_anew || (is_full && patch.is_some());
        let base = former.filter(|_| !replaces).cloned();
        let mut kept = match (object.fate, base, &patch) {
            (Fate::Purged, ..) | (Fate::Gone, None, None) => return None,
            (_, base, _) => base.unwrap_or_default(),
        };
        if let Some(patch) = patch {
            patch.apply(&mut kept);
        }
        kept.set_gone(match object.fate {
            Fate::Gone => former.and_then(Kept::gone).or(Some(now)),
            _ => None,
        });
        Some(kept)
    }
}

impl Object {
    fn patch<P: Patch>(&self) -> Option<P> {
        let bytes = self.patch.as_deref()?;
        Some(decode("what was staged", bytes).expect("it was encoded by this process"))
    }
}

/// Memberships that were told of: a log, in which the last word counts.
#[derive(Default)]
pub(super) struct Memberships {
    numbers: HashMap<Id, u32>,
    ids: Vec<Id>,
    log: Vec<Line>,
    /// Lines before this place count no more, by group.
    cuts: HashMap<u32, usize>,
    /// Length of the log when it was last tidied up.
    tidy: usize,
}

#[derive(Clone, Copy)]
struct Line {
    group: u32,
    member: u32,
    /// [`MemberKind`], or [`NO_MEMBER`].
    kind: u8,
}

const NO_MEMBER: u8 = u8::MAX;
/// The log is not tidied up before it has doubled, and has so many lines.
const TIDY: usize = 1 << 20;

impl Memberships {
    /// Takes the members out of an item.
    pub(super) fn take(&mut self, item: Item<GroupPatch>) -> Item<GroupPatch> {
        match item {
            Item::Live(id, mut patch) => {
                for edge in std::mem::take(&mut patch.members) {
                    let kind = if edge.is_member {
                        edge.kind as u8
                    } else {
                        NO_MEMBER
                    };
                    let (group, member) = (self.number(id), self.number(edge.member));
                    self.log.push(Line {
                        group,
                        member,
                        kind,
                    });
                }
                if self.log.len() > TIDY.max(2 * self.tidy) {
                    self.tidy_up();
                }
                Item::Live(id, patch)
            }
            Item::Purged(id) => {
                let group = self.number(id);
                self.cuts.insert(group, self.log.len());
                item
            }
            Item::Gone(_) => item,
        }
    }

    /// Lines in memory.
    pub(super) const fn len(&self) -> u64 {
        self.log.len() as u64
    }

    /// The last word on each, by group, then member.
    pub(super) fn into_sorted(mut self) -> impl Iterator<Item = ((Id, Id), Option<MemberKind>)> {
        self.number_in_order();
        self.tidy_up();
        let Self { ids, log, .. } = self;
        log.into_iter().map(move |line| {
            let key = (ids[line.group as usize], ids[line.member as usize]);
            let kind = (line.kind != NO_MEMBER)
                .then(|| member_kind(line.kind).expect("it was encoded by this process"));
            (key, kind)
        })
    }

    fn number(&mut self, id: Id) -> u32 {
        *self.numbers.entry(id).or_insert_with(|| {
            self.ids.push(id);
            u32::try_from(self.ids.len() - 1).expect("a round is refused long before")
        })
    }

    /// Has the numbers in the order of the ids.
    fn number_in_order(&mut self) {
        self.numbers = HashMap::new();
        let mut order: Vec<u32> = (0..).take(self.ids.len()).collect();
        order.sort_unstable_by_key(|number| self.ids[*number as usize]);
        let mut place = vec![0_u32; order.len()];
        for (new, old) in (0..).zip(&order) {
            place[*old as usize] = new;
        }
        for line in &mut self.log {
            line.group = place[line.group as usize];
            line.member = place[line.member as usize];
        }
        self.cuts = self
            .cuts
            .drain()
            .map(|(group, cut)| (place[group as usize], cut))
            .collect();
        self.ids.sort_unstable();
    }

    /// Leaves only the last word on each.
    fn tidy_up(&mut self) {
        let mut place = 0;
        let cuts = std::mem::take(&mut self.cuts);
        self.log.retain(|line| {
            place += 1;
            cuts.get(&line.group).is_none_or(|cut| place > *cut)
        });
        self.log.sort_by_key(|line| (line.group, line.member));
        // Of equal neighbours the first is kept, and takes what the later one says.
        self.log.dedup_by(|later, kept| {
            let is_same = (later.group, later.member) == (kept.group, kept.member);
            if is_same {
                kept.kind = later.kind;
            }
            is_same
        });
        self.tidy = self.log.len();
    }
}

impl Patch for UserPatch {
    type Kept = User;

    fn merge(&mut self, later: Self) {
        put(&mut self.enabled, later.enabled);
        self.texts.extend(later.texts);
        put(&mut self.addresses, later.addresses);
        put(&mut self.created, later.created);
        put(&mut self.sessions_valid_from, later.sessions_valid_from);
    }

    fn apply(self, kept: &mut User) {
        self.enabled.put(&mut kept.enabled);
        apply_texts(self.texts, &mut kept.texts);
        apply_set(self.addresses, &mut kept.addresses);
        self.created.put(&mut kept.created);
        self.sessions_valid_from.put(&mut kept.sessions_valid_from);
    }
}

impl Patch for GroupPatch {
    type Kept = Group;

    fn merge(&mut self, later: Self) {
        self.texts.extend(later.texts);
        put(&mut self.security, later.security);
        put(&mut self.mail_enabled, later.mail_enabled);
        put(&mut self.types, later.types);
        put(&mut self.role_assignable, later.role_assignable);
    }

    fn apply(self, kept: &mut Group) {
        apply_texts(self.texts, &mut kept.texts);
        self.security.put(&mut kept.security);
        self.mail_enabled.put(&mut kept.mail_enabled);
        apply_set(self.types, &mut kept.types);
        self.role_assignable.put(&mut kept.role_assignable);
    }
}

impl Kept for User {
    fn gone(&self) -> Option<OffsetDateTime> {
        self.gone
    }

    fn set_gone(&mut self, since: Option<OffsetDateTime>) {
        self.gone = since;
    }
}

impl Kept for Group {
    fn gone(&self) -> Option<OffsetDateTime> {
        self.gone
    }

    fn set_gone(&mut self, since: Option<OffsetDateTime>) {
        self.gone = since;
    }
}

fn put<T>(earlier: &mut Told<T>, later: Told<T>) {
    if !matches!(later, Told::Unsaid) {
        *earlier = later;
    }
}

fn apply_texts<K: Ord>(told: BTreeMap<K, Option<String>>, kept: &mut BTreeMap<K, String>) {
    for (text, value) in told {
        match value {
            Some(value) => kept.insert(text, value),
            None => kept.remove(&text),
        };
    }
}

fn apply_set<T: Default>(told: Told<T>, kept: &mut T) {
    match told {
        Told::Unsaid => (),
        Told::Null => *kept = T::default(),
        Told::Is(value) => *kept = value,
    }
}

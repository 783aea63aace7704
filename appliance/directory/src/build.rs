//! Writes a snapshot.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::attribute::Attribute;
use crate::fold::Index;
use crate::layout::{COMPLETE, Counts, Head, Layout, header};

/// Writes a snapshot: groups first, then users, each in the order of their ids; roles at any time.
///
/// Takes as much memory as the snapshot, and as its longest section once more at the end.
pub struct Builder {
    head: Head,
    group_ids: Vec<Uuid>,
    group_flags: Vec<u8>,
    group_names: Vec<u32>,
    user_ids: Vec<Uuid>,
    user_flags: Vec<u8>,
    user_sets: Vec<u32>,
    columns: [Vec<u32>; Attribute::ALL.len()],
    set_starts: Vec<u32>,
    sets: Vec<u32>,
    roles: BTreeMap<Uuid, u32>,
    held: Vec<(Uuid, Uuid, i64, i64)>,
    texts: Texts,
}

/// A group as it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewGroup<'a> {
    /// Object id.
    pub id: Uuid,
    /// The name that is shown.
    pub name: Option<&'a str>,
    /// Whether all of its members are known.
    pub complete: bool,
}

/// A user as it is to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewUser {
    /// Object id.
    pub id: Uuid,
    /// Whether it may sign in; `None` when nobody knows.
    pub enabled: Option<bool>,
    /// All groups that it is in, directly and through others.
    pub groups: Set,
}

/// A set of groups that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Set(u32);

/// Why a snapshot cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Something does not come in the order of its ids, or comes twice.
    #[error("{what} come out of order: this is a fault of Weir; report it")]
    OutOfOrder {
        /// Of what.
        what: &'static str,
    },
    /// A set names a group that is not there.
    #[error("a set of groups names one that is not there: this is a fault of Weir; report it")]
    NoSuchGroup,
    /// There is more than a snapshot has room for.
    #[error(
        "the directory has more {what} than a snapshot has room for: let fewer groups be nested, or leave groups out \
         of the synchronisation"
    )]
    TooLarge {
        /// Of what.
        what: &'static str,
    },
}

/// Most users and most groups.
const MOST: usize = 1 << 24;
/// Most groups in all sets together: 2 GB.
const MOST_MEMBERSHIPS: usize = 1 << 29;

impl Builder {
    /// Begins a snapshot.
    pub fn new(head: Head) -> Self {
        Self {
            head,
            group_ids: Vec::new(),
            group_flags: Vec::new(),
            group_names: Vec::new(),
            user_ids: Vec::new(),
            user_flags: Vec::new(),
            user_sets: Vec::new(),
            columns: Default::default(),
            set_starts: vec![0],
            sets: Vec::new(),
            roles: BTreeMap::new(),
            held: Vec::new(),
            texts: Texts::default(),
        }
    }

    /// Adds a group, and gives its number, from 0, for sets.
    pub fn group(&mut self, group: NewGroup<'_>) -> Result<u32, BuildError> {
        let number = next(&self.group_ids, group.id, "groups")?;
        self.group_ids.push(group.id);
        self.group_flags
            .push(if group.complete { COMPLETE } else { 0 });
        let name = self.texts.add(group.name.unwrap_or_default())?;
        self.group_names.push(name);
        Ok(number)
    }

    /// Adds a set of groups, by their numbers, each once and in order. Users may share it.
    pub fn set(&mut self, groups: &[u32]) -> Result<Set, BuildError> {
        if !groups.is_sorted_by(|a, b| a < b) {
            return Err(BuildError::OutOfOrder { what: "groups" });
        }
        let known = |group: &u32| (*group as usize) < self.group_ids.len();
        if !groups.last().is_none_or(known) {
            return Err(BuildError::NoSuchGroup);
        }
        let what = "memberships";
        if self.sets.len() + groups.len() > MOST_MEMBERSHIPS {
            return Err(BuildError::TooLarge { what });
        }
        self.sets.extend_from_slice(groups);
        let set = count(self.set_starts.len() - 1, what)?;
        self.set_starts.push(count(self.sets.len(), what)?);
        Ok(Set(set))
    }

    /// Adds a user with what is written of it. Of two texts of one meaning the last counts.
    pub fn user<'a>(
        &mut self,
        user: NewUser,
        texts: impl IntoIterator<Item = (Attribute, &'a str)>,
    ) -> Result<(), BuildError> {
        let number = next(&self.user_ids, user.id, "users")?;
        self.user_ids.push(user.id);
        self.user_flags.push(match user.enabled {
            None => 0,
            Some(false) => 1,
            Some(true) => 2,
        });
        self.user_sets.push(user.groups.0);
        for column in &mut self.columns {
            column.push(0);
        }
        let mut upn = ("", 0);
        for (attribute, text) in texts {
            let text_number = if attribute.repeats() {
                self.texts.add_once(text)?
            } else if attribute == Attribute::Mail && text == upn.0 {
                // A mail address is most often the principal name again.
                upn.1
            } else {
                self.texts.add(text)?
            };
            if attribute == Attribute::Upn {
                upn = (text, text_number);
            }
            self.columns[attribute as usize][number as usize] = text_number;
        }
        Ok(())
    }

    /// Names a role; those without a name are known by their ids.
    pub fn role(&mut self, role: Uuid, name: &str) -> Result<(), BuildError> {
        let name = self.texts.add(name)?;
        self.roles.insert(role, name);
        Ok(())
    }

    /// Says that somebody holds a role of the whole tenant, from when until when if that is limited. Whoever is no
    /// user of this snapshot is left out.
    pub fn holds(&mut self, user: Uuid, role: Uuid, from: Option<i64>, until: Option<i64>) {
        self.roles.entry(role).or_default();
        let until = until.unwrap_or(i64::MAX);
        self.held
            .push((user, role, from.unwrap_or(i64::MIN), until));
    }

    /// The bytes, as [`crate::Snapshot::parse`] reads them.
    pub fn finish(mut self) -> Result<Vec<u8>, BuildError> {
        let roles: Vec<Uuid> = self.roles.keys().copied().collect();
        let held = self.held(&roles)?;
        let names = self.names();
        let counts = Counts {
            users: count(self.user_ids.len(), "users")?,
            groups: count(self.group_ids.len(), "groups")?,
            roles: count(roles.len(), "roles")?,
            sets: count(self.set_starts.len() - 1, "memberships")?,
            memberships: count(self.sets.len(), "memberships")?,
            held: count(held.len(), "holders of roles")?,
            texts: count(self.texts.ends.len(), "texts")?,
            names: names
                .each_ref()
                .map(|names| u32::try_from(names.len()).unwrap_or(u32::MAX)),
            text_bytes: count(self.texts.bytes.len(), "texts")?,
        };
        let layout = Layout::of(counts).ok_or(BuildError::TooLarge { what: "bytes" })?;
        let mut bytes = Vec::with_capacity(layout.length());
        bytes.extend(header(&self.head, &layout));
        // Each is let go when it has been written, so that not everything lies in memory twice.
        put_ids(&mut bytes, self.user_ids);
        bytes.append(&mut self.user_flags);
        put(&mut bytes, self.user_sets);
        self.columns
            .into_iter()
            .for_each(|column| put(&mut bytes, column));
        put(&mut bytes, self.set_starts);
        put(&mut bytes, self.sets);
        put_ids(&mut bytes, self.group_ids);
        bytes.append(&mut self.group_flags);
        put(&mut bytes, self.group_names);
        put_ids(&mut bytes, roles);
        put(&mut bytes, self.roles.into_values());
        for (user, role, from, until) in held {
            put(&mut bytes, [user, role]);
            bytes.extend_from_slice(&from.to_le_bytes());
            bytes.extend_from_slice(&until.to_le_bytes());
        }
        for (number, bearer) in names.into_iter().flatten() {
            bytes.extend_from_slice(&number.to_le_bytes());
            put(&mut bytes, [bearer]);
        }
        put(&mut bytes, [0]);
        put(&mut bytes, self.texts.ends);
        bytes.append(&mut self.texts.bytes);
        Ok(bytes)
    }

    /// Who holds which role, by their numbers, in order.
    fn held(&mut self, roles: &[Uuid]) -> Result<Vec<(u32, u32, i64, i64)>, BuildError> {
        let mut held = Vec::with_capacity(self.held.len());
        for (user, role, from, until) in std::mem::take(&mut self.held) {
            let user = self.user_ids.binary_search(&user).ok();
            if let (Some(user), Ok(role)) = (user, roles.binary_search(&role)) {
                held.push((count(user, "users")?, count(role, "roles")?, from, until));
            }
        }
        held.sort_unstable();
        held.dedup();
        Ok(held)
    }

    /// The number of each name and who bears it, in order, by [`Index`].
    fn names(&self) -> [Vec<(u64, u32)>; 4] {
        Index::ALL.map(|index| {
            let column = match index {
                Index::Upn => &self.columns[Attribute::Upn as usize],
                Index::ImmutableId => &self.columns[Attribute::ImmutableId as usize],
                Index::Sid => &self.columns[Attribute::Sid as usize],
                Index::GroupName => &self.group_names,
            };
            let bearers = (0..).zip(column).filter(|(_, text)| **text != 0);
            let mut names: Vec<(u64, u32)> = bearers
                .map(|(bearer, text)| (index.number(self.texts.get(*text)), bearer))
                .collect();
            names.sort_unstable();
            names
        })
    }
}

/// All texts, one behind the other.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Texts that many users have, with their numbers.
    once: HashMap<Box<str>, u32>,
}

impl Texts {
    /// Adds a text, and gives its number; an empty one is none.
    fn add(&mut self, text: &str) -> Result<u32, BuildError> {
        if text.is_empty() {
            return Ok(0);
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(count(self.bytes.len(), "texts")?);
        count(self.ends.len(), "texts")
    }

    /// Adds a text if it is not there yet.
    fn add_once(&mut self, text: &str) -> Result<u32, BuildError> {
        if let Some(number) = self.once.get(text) {
            return Ok(*number);
        }
        let number = self.add(text)?;
        self.once.insert(text.into(), number);
        Ok(number)
    }

    fn get(&self, number: u32) -> &str {
        let end = self.ends[number as usize - 1] as usize;
        let start = number
            .checked_sub(2)
            .map_or(0, |before| self.ends[before as usize] as usize);
        std::str::from_utf8(&self.bytes[start..end]).expect("it was a text when it was added")
    }
}

/// The number of the next one, which must come behind all before.
fn next(ids: &[Uuid], id: Uuid, what: &'static str) -> Result<u32, BuildError> {
    if ids.last().is_some_and(|last| *last >= id) {
        return Err(BuildError::OutOfOrder { what });
    }
    if ids.len() >= MOST {
        return Err(BuildError::TooLarge { what });
    }
    count(ids.len(), what)
}

fn count(count: usize, what: &'static str) -> Result<u32, BuildError> {
    u32::try_from(count).map_err(|_| BuildError::TooLarge { what })
}

fn put(bytes: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_ids(bytes: &mut Vec<u8>, ids: Vec<Uuid>) {
    for id in ids {
        bytes.extend_from_slice(id.as_bytes());
    }
}

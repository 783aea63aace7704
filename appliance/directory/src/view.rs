//! What a snapshot may say now.

use uuid::Uuid;

use crate::attribute::Attribute;
use crate::find::{Found, Who};
use crate::fold::{Index, same};
use crate::layout::{ENABLED, HELD, Head, NUMBER, Part, Section};
use crate::snapshot::{Fields, GroupRef, Raw};

/// A snapshot at a time: parts that are too old by then are unknown.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) raw: Raw<'a>,
    pub(crate) now: i64,
    pub(crate) fresh: [bool; 3],
}

/// A user of a snapshot. Users that are gone are not in it.
#[derive(Clone, Copy)]
pub struct UserRef<'a> {
    pub(crate) view: View<'a>,
    pub(crate) index: u32,
}

impl<'a> View<'a> {
    /// Whether a part says anything.
    pub fn is_known(&self, part: Part) -> bool {
        self.fresh[part as usize]
    }

    /// What the snapshot is of.
    pub fn head(&self) -> &'a Head {
        self.raw.head
    }

    /// Whether there is a user with that user principal name, whatever its case, disabled ones included; `None` when
    /// nobody can say.
    pub fn knows(&self, upn: &str) -> Option<bool> {
        self.is_known(Part::Users)
            .then(|| self.raw.named(Index::Upn, upn).next().is_some())
    }

    /// The user who bears these names.
    pub fn find(&self, who: &Who<'_>) -> Found<'a> {
        crate::find::find(*self, who)
    }
}

impl<'a> UserRef<'a> {
    /// Object id.
    pub fn id(&self) -> Uuid {
        self.view.raw.id(Section::UserIds, self.index)
    }

    /// Whether it may sign in at all; `None` when the tenant does not say.
    pub fn enabled(&self) -> Option<bool> {
        let flags = self.view.raw.section(Section::UserFlags);
        match flags.get(self.index as usize).map(|flags| flags & ENABLED) {
            Some(1) => Some(false),
            Some(2) => Some(true),
            _ => None,
        }
    }

    /// Whether it is a guest; `None` when the tenant does not say, as with some old accounts.
    pub fn is_guest(&self) -> Option<bool> {
        let kind = self.attribute(Attribute::UserType)?;
        if same(kind, "guest") {
            Some(true)
        } else {
            same(kind, "member").then_some(false)
        }
    }

    /// What is written of it; `None` where nothing is.
    pub fn attribute(&self, attribute: Attribute) -> Option<&'a str> {
        self.view.raw.attribute(self.index, attribute)
    }

    /// Whether it is in a group, directly or through others. `None` when nobody can say: groups are too old, not all
    /// of the group's members can be read, or the group is of another snapshot.
    pub fn is_member(&self, group: GroupRef) -> Option<bool> {
        let raw = self.view.raw;
        let same = group.epoch == raw.head.epoch && group.index < raw.layout.counts.groups;
        if !same || !self.view.is_known(Part::Groups) {
            return None;
        }
        let groups = self.group_set();
        let found = groups.binary_search_by(|bytes| u32::from_le_bytes(*bytes).cmp(&group.index));
        if found.is_ok() {
            return Some(true);
        }
        raw.is_complete(group.index).then_some(false)
    }

    /// Ids of all groups that it is in, in order; `None` when groups are too old.
    pub fn groups(&self) -> Option<impl Iterator<Item = Uuid> + use<'a>> {
        let raw = self.view.raw;
        self.view.is_known(Part::Groups).then(|| {
            self.group_set()
                .iter()
                .map(move |bytes| raw.id(Section::GroupIds, u32::from_le_bytes(*bytes)))
        })
    }

    /// Its set of groups by number, and the numbers of the groups, in order: for whoever writes the snapshot anew.
    /// Users of one number are in the same groups.
    pub fn set(&self) -> (u32, impl Iterator<Item = u32> + use<'a>) {
        let number = self.view.raw.number(Section::UserSets, self.index);
        let groups = self.group_set().iter();
        (number, groups.map(|bytes| u32::from_le_bytes(*bytes)))
    }

    /// Whether it holds a role of the whole tenant now, itself or through a group; `None` when nobody can say:
    /// roles or groups are too old.
    pub fn has_role(&self, role: Uuid) -> Option<bool> {
        let now = self.view.now;
        let mut held = self.roles()?;
        Some(held.any(|held| held.role == role && held.from <= now && now < held.until))
    }

    /// Ids of the roles of the whole tenant that it holds now, in order; `None` when roles or groups are too old. One
    /// that it holds twice stands there twice.
    pub fn held_roles(&self) -> Option<impl Iterator<Item = Uuid> + use<'a>> {
        let now = self.view.now;
        let now_held = move |held: &Holding| held.from <= now && now < held.until;
        Some(self.roles()?.filter(now_held).map(|held| held.role))
    }

    fn group_set(&self) -> &'a [[u8; NUMBER]] {
        let raw = self.view.raw;
        raw.set(raw.number(Section::UserSets, self.index))
    }

    fn roles(&self) -> Option<impl Iterator<Item = Holding> + use<'a>> {
        // A role may be held through a group.
        if !self.view.is_known(Part::Roles) || !self.view.is_known(Part::Groups) {
            return None;
        }
        let (raw, user) = (self.view.raw, self.index);
        let records = raw.records::<HELD>(Section::Held);
        let holder = |record: &[u8; HELD]| Fields(record).number();
        let first = records.partition_point(|record| holder(record) < user);
        let own = records.get(first..).unwrap_or_default().iter();
        let own = own.take_while(move |record| holder(record) == user);
        Some(own.map(move |record| {
            let mut fields = Fields(&record[NUMBER..]);
            Holding {
                role: raw.id(Section::RoleIds, fields.number()),
                from: fields.time(),
                until: fields.time(),
            }
        }))
    }
}

/// A role, and from when until when it is held.
struct Holding {
    role: Uuid,
    from: i64,
    until: i64,
}

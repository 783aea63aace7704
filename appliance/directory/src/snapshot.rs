//! A block of bytes that was looked through once, and is read in place from then on.

use std::time::Duration;

use uuid::Uuid;

use crate::attribute::Attribute;
use crate::check;
use crate::fold::{Index, id, same};
use crate::layout::{COMPLETE, Counts, HEADER, Head, Layout, MAGIC, NEVER, Part, Section, VERSION};
use crate::layout::{ID, NAMED, NUMBER};
use crate::role::built_in;
use crate::view::{UserRef, View};

/// Why bytes are no snapshot. The sender and the receiver are of one build, so each of these means that the bytes
/// were damaged or come from another version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// They are something else.
    #[error("these bytes are no directory (they do not begin with `weir-dir`)")]
    Magic,
    /// They were written by another version.
    #[error(
        "this directory has layout version {found}, this program reads {VERSION}: run the same version of \
         weir-control and weir-proxy"
    )]
    Version {
        /// The version they name.
        found: u32,
    },
    /// They are not as long as they say.
    #[error("the directory has {actual} bytes where it announces {announced}")]
    Length {
        /// How many bytes there are.
        actual: u64,
        /// How many there are said to be.
        announced: u64,
    },
    /// They contradict themselves.
    #[error("the directory is damaged: {what}; it is written anew when weir-control starts")]
    Damaged {
        /// In which way.
        what: &'static str,
    },
}

/// An immutable picture of a tenant, in bytes that somebody holds: an `Arc<[u8]>`, or a mapping of sealed memory.
///
/// The bytes must not change while they are held. If they do all the same, answers are wrong, and nothing worse.
#[derive(Clone, Copy)]
pub struct Snapshot<B> {
    bytes: B,
    head: Head,
    layout: Layout,
}

/// A group of one snapshot; in another one it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRef {
    pub(crate) index: u32,
    pub(crate) epoch: u64,
}

impl GroupRef {
    /// Its number among the groups of its snapshot, in the order of their ids: as in [`UserRef::set`].
    pub fn number(self) -> u32 {
        self.index
    }
}

/// What a rule's words for a group mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupFound {
    /// This one.
    One(GroupRef),
    /// There is no such group.
    None,
    /// Several groups bear the name: two of them.
    Ambiguous([Uuid; 2]),
    /// Groups were never synced: nobody can say.
    Unknown,
}

impl<B: AsRef<[u8]>> Snapshot<B> {
    /// Looks at every number, order and bound once; reading needs no more checks. Takes time in proportion to the
    /// bytes, and no memory.
    pub fn parse(bytes: B) -> Result<Self, ParseError> {
        let (head, layout) = read_header(bytes.as_ref())?;
        let snapshot = Self {
            bytes,
            head,
            layout,
        };
        check::everything(snapshot.raw())?;
        Ok(snapshot)
    }

    /// What it is of.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// What it may say at `now` (seconds since 1970, UTC) when parts that were not seen for `max_age` are unknown.
    pub fn at(&self, now: i64, max_age: Duration) -> View<'_> {
        let fresh = self.head.checked.map(|checked| {
            // A time far in the future is no proof of freshness either: a clock was wrong.
            checked.is_some_and(|checked| now.abs_diff(checked) <= max_age.as_secs())
        });
        View {
            raw: self.raw(),
            now,
            fresh,
        }
    }

    /// Users, in the order of their ids, however old they are: for whoever lists them or writes them anew, not for a
    /// judgement.
    pub fn users(&self) -> impl Iterator<Item = UserRef<'_>> {
        let view = View {
            raw: self.raw(),
            now: self.head.taken_at,
            fresh: [true; 3],
        };
        (0..self.layout.counts.users).map(move |index| UserRef { view, index })
    }

    /// Groups, in the order of their ids: id, name, and whether all of its members are known.
    pub fn groups(&self) -> impl Iterator<Item = (Uuid, Option<&str>, bool)> {
        let raw = self.raw();
        (0..self.layout.counts.groups).map(move |index| {
            let name = raw.text_of(Section::GroupNames, index);
            (
                raw.id(Section::GroupIds, index),
                name,
                raw.is_complete(index),
            )
        })
    }

    /// The group that is named by its object id, or by its name whatever its case. For the compiler of rules: who is
    /// in it, and whether that is still known, is asked of a [`UserRef`].
    pub fn group(&self, words: &str) -> GroupFound {
        let raw = self.raw();
        if self.head.checked(Part::Groups).is_none() {
            return GroupFound::Unknown;
        }
        let found = |index| {
            GroupFound::One(GroupRef {
                index,
                epoch: self.head.epoch,
            })
        };
        if let Some(id) = id(words) {
            return raw
                .find_id(Section::GroupIds, id)
                .map_or(GroupFound::None, found);
        }
        let mut named = raw.named(Index::GroupName, words);
        match (named.next(), named.next()) {
            (None, _) => GroupFound::None,
            (Some(index), None) => found(index),
            (Some(one), Some(other)) => {
                GroupFound::Ambiguous([one, other].map(|index| raw.id(Section::GroupIds, index)))
            }
        }
    }

    /// The object id of a group of this snapshot.
    pub fn group_id(&self, group: GroupRef) -> Option<Uuid> {
        let known = group.epoch == self.head.epoch && group.index < self.layout.counts.groups;
        known.then(|| self.raw().id(Section::GroupIds, group.index))
    }

    /// Whether all members of a group of this snapshot are known: whoever is not among them is not in it.
    pub fn has_all_members(&self, group: GroupRef) -> bool {
        self.group_id(group).is_some() && self.raw().is_complete(group.index)
    }

    /// The role that is named by the id of its definition (of a built-in role its template's), or by its name
    /// whatever its case. `None` when no role is known by that name, or several are.
    pub fn role(&self, words: &str) -> Option<Uuid> {
        if let Some(role) = id(words).or_else(|| built_in(words)) {
            return Some(role);
        }
        let raw = self.raw();
        let mut named = (0..self.layout.counts.roles).filter(|index| {
            raw.text_of(Section::RoleNames, *index)
                .is_some_and(|name| same(name, words))
        });
        let first = named.next()?;
        named
            .next()
            .is_none()
            .then(|| raw.id(Section::RoleIds, first))
    }

    fn raw(&self) -> Raw<'_> {
        Raw {
            bytes: self.bytes.as_ref(),
            head: &self.head,
            layout: &self.layout,
        }
    }
}

/// What it is of and how much it holds; names of people do not belong in a log.
impl<B> std::fmt::Debug for Snapshot<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("head", &self.head)
            .field("counts", &self.layout.counts)
            .finish_non_exhaustive()
    }
}

/// The bytes, and where what lies. Whatever is asked outside of them is nothing: 0, the nil id, no text.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) head: &'a Head,
    pub(crate) layout: &'a Layout,
}

impl<'a> Raw<'a> {
    pub(crate) fn section(&self, section: Section) -> &'a [u8] {
        self.bytes
            .get(self.layout.range(section))
            .unwrap_or_default()
    }

    /// The records of a section.
    pub(crate) fn records<const N: usize>(&self, section: Section) -> &'a [[u8; N]] {
        self.section(section).as_chunks().0
    }

    pub(crate) fn number(&self, section: Section, index: u32) -> u32 {
        self.records(section)
            .get(index as usize)
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    pub(crate) fn id(&self, section: Section, index: u32) -> Uuid {
        self.records::<ID>(section)
            .get(index as usize)
            .map_or(Uuid::nil(), |bytes| Uuid::from_bytes(*bytes))
    }

    /// Where an id stands in a section of ids.
    pub(crate) fn find_id(&self, section: Section, id: Uuid) -> Option<u32> {
        let ids = self.records::<ID>(section);
        let near = guess(ids.len(), id.as_u64_pair().0);
        let index = first_from(ids, near, |other| other < id.as_bytes());
        let found = ids.get(index) == Some(id.as_bytes());
        found.then(|| u32::try_from(index).ok()).flatten()
    }

    /// The text with this number; there is none with the number 0.
    pub(crate) fn text(&self, number: u32) -> Option<&'a str> {
        let starts = self.records::<NUMBER>(Section::TextStarts);
        let end = number as usize;
        let at = |index: usize| {
            starts
                .get(index)
                .map(|bytes| u32::from_le_bytes(*bytes) as usize)
        };
        let range = at(end.checked_sub(1)?)?..at(end)?;
        std::str::from_utf8(self.section(Section::Texts).get(range)?).ok()
    }

    /// The text that the record of a section names.
    pub(crate) fn text_of(&self, section: Section, index: u32) -> Option<&'a str> {
        self.text(self.number(section, index))
    }

    /// An attribute of a user.
    pub(crate) fn attribute(&self, user: u32, attribute: Attribute) -> Option<&'a str> {
        let users = self.layout.counts.users;
        if user >= users {
            return None;
        }
        self.text_of(Section::Columns, users * attribute as u32 + user)
    }

    /// What the bearer of a name in an index is called in full.
    pub(crate) fn full_name(&self, index: Index, bearer: u32) -> Option<&'a str> {
        match index {
            Index::Upn => self.attribute(bearer, Attribute::Upn),
            Index::ImmutableId => self.attribute(bearer, Attribute::ImmutableId),
            Index::Sid => self.attribute(bearer, Attribute::Sid),
            Index::GroupName => self.text_of(Section::GroupNames, bearer),
        }
    }

    /// Everybody who bears a name.
    pub(crate) fn named<'n>(
        self,
        index: Index,
        name: &'n str,
    ) -> impl Iterator<Item = u32> + use<'a, 'n> {
        let records = self.records::<NAMED>(Section::Names(index));
        let number = index.number(name);
        let near = guess(records.len(), number);
        let first = first_from(records, near, |record| named(record).0 < number);
        records
            .get(first..)
            .unwrap_or_default()
            .iter()
            .map(named)
            .take_while(move |(other, _)| *other == number)
            .map(|(_, bearer)| bearer)
            .filter(move |bearer| {
                let full = self.full_name(index, *bearer);
                full.is_some_and(|full| index.same(full, name))
            })
    }

    /// The groups of a set, in order.
    pub(crate) fn set(&self, set: u32) -> &'a [[u8; NUMBER]] {
        let start = self.number(Section::SetStarts, set) as usize;
        let end = self.number(Section::SetStarts, set.saturating_add(1)) as usize;
        self.records(Section::Sets)
            .get(start..end)
            .unwrap_or_default()
    }

    /// Whether all members of a group are known.
    pub(crate) fn is_complete(&self, group: u32) -> bool {
        let flags = self.section(Section::GroupFlags).get(group as usize);
        flags.is_some_and(|flags| flags & COMPLETE != 0)
    }
}

/// Where a number stands among so many that are spread evenly over all there are.
fn guess(count: usize, number: u64) -> usize {
    let at = (count as u128 * u128::from(number)) >> u64::BITS;
    usize::try_from(at).unwrap_or(count)
}

/// The first of some sorted records that is not `before`, looked for with longer and longer steps from where it is
/// probably near: most of the memory between here and there is never touched.
fn first_from<T>(records: &[T], near: usize, before: impl Fn(&T) -> bool) -> usize {
    let (mut low, mut high) = (near, near);
    let mut step = 16;
    while let Some(record) = records.get(high)
        && before(record)
    {
        low = high;
        high = high.saturating_add(step);
        step *= 2;
    }
    let mut step = 16;
    while low > 0 && !records.get(low).is_some_and(&before) {
        high = low;
        low = low.saturating_sub(step);
        step *= 2;
    }
    let (low, high) = (low.min(records.len()), high.min(records.len()));
    low + records[low..high].partition_point(before)
}

/// The number of a name, and who bears it.
pub(crate) fn named(record: &[u8; NAMED]) -> (u64, u32) {
    let mut fields = Fields(record);
    (u64::from_le_bytes(fields.take()), fields.number())
}

/// Takes fields from the front of a record or of the header; behind its end there are zeros.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else {
            return [0; N];
        };
        self.0 = rest;
        *field
    }

    pub(crate) fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(crate) fn time(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }
}

fn read_header(bytes: &[u8]) -> Result<(Head, Layout), ParseError> {
    if !bytes.starts_with(MAGIC) {
        return Err(ParseError::Magic);
    }
    let mut fields = Fields(&bytes[MAGIC.len()..]);
    let found = fields.number();
    if found != VERSION {
        return Err(ParseError::Version { found });
    }
    let reserved = fields.number();
    let announced = u64::from_le_bytes(fields.take());
    let actual = bytes.len() as u64;
    if announced != actual || bytes.len() < HEADER {
        return Err(ParseError::Length { actual, announced });
    }
    let head = Head {
        tenant: Uuid::from_bytes(fields.take()),
        epoch: u64::from_le_bytes(fields.take()),
        taken_at: fields.time(),
        checked: std::array::from_fn(|_| Some(fields.time()).filter(|time| *time != NEVER)),
    };
    let mut next = || fields.number();
    let counts = Counts {
        users: next(),
        groups: next(),
        roles: next(),
        sets: next(),
        memberships: next(),
        held: next(),
        texts: next(),
        names: std::array::from_fn(|_| next()),
        text_bytes: next(),
    };
    // Columns are numbered with 32 bits.
    let columns = u64::from(counts.users) * Attribute::ALL.len() as u64;
    let layout = Layout::of(counts).filter(|layout| {
        reserved == 0 && layout.length() == bytes.len() && u32::try_from(columns).is_ok()
    });
    let what = "its sections are not as long as it is";
    let layout = layout.ok_or(ParseError::Damaged { what })?;
    Ok((head, layout))
}

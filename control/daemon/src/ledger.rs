//! Who was granted what, for how long, and who was seen where: the books behind the kernel's grants. Pure:
//! no I/O, no clock, no kernel.
//!
//! In: sign-ins with what a rule grants for them, acts of administrators, and the time. Out: for each
//! address that was touched what the kernel is to hold ([`Ledger::entry`]), for each principal how far its
//! grants open ([`Ledger::reach`]), and what to tell people.
//!
//! A grant opens the kernel's path only inside the prefixes that are declared for one person an address, and
//! only while nobody else was seen on the address within the look-back window. Whoever appears there as a
//! second ends it, and nobody gets a new one until the window has passed. What was forwarded under a grant
//! that ended by its time goes on for the drain window (its *rest*); what ended in another way is cut.
//!
//! How far the grants of a principal open is what a directory says of it ([`Reach`]), at each sign-in anew and
//! whenever it changes. Who loses by that loses at once; where nobody can say, nothing new opens, and what is
//! open closes as if its time had come.
//!
//! Everything is bounded. An address that there is no room to watch gets no kernel grant later either: nobody
//! would know who was seen on it meanwhile.

mod place;
mod said;
mod saved;
mod void;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_abi::{Class, ClassSet};
use weir_link::PrincipalId;

use place::Place;
pub use place::{Grant, Kernel};
pub use said::{Answers, Reach};
pub use saved::{Clocks, Saved};
use void::Void;
pub use watch::Watch;

/// Milliseconds since boot; before it, less than zero.
pub type Moment = i64;

/// A grant lasts no longer.
pub const LONGEST: Duration = Duration::from_hours(1);

/// One in so many places for principals is kept for those that are revoked without having earned anything.
const RESERVED: usize = 64;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Prefixes in which every address belongs to one person.
    pub single_user: Vec<IpNet>,
    /// For so long after somebody was seen on an address, nobody else is believed to be alone there.
    pub look_back: Duration,
    /// For so long forwarded flows go on after a grant has expired.
    pub drain: Duration,
    /// Addresses, and principals, at most.
    pub room: usize,
}

/// What is asked for a verified sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Class that the address is to have.
    pub class: Class,
    /// For how long.
    pub lasts: Duration,
    /// Whether the kernel is to go by it.
    pub kernel: bool,
    /// Whether the kernel sees this very address: nothing stands between.
    pub direct: bool,
    /// Whether the kernel itself has a connection of the service from there.
    pub connected: bool,
    /// The rule that grants it.
    pub rule: String,
    /// The service that was signed in at.
    pub service: String,
    /// How far a directory lets it open.
    pub reach: Reach,
    /// How long ago the sign-in was.
    pub ago: Duration,
}

/// Why nothing was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only these open anything.
    #[error("a grant gives the class managed or bypass, not {}", .0.name())]
    Class(Class),
    /// It lasts some seconds, up to an hour.
    #[error("a grant lasts between one second and one hour")]
    Duration,
    /// The principal was revoked, or its groups give it nothing.
    #[error("the principal may have nothing")]
    Principal,
    /// Its sessions are void from a moment on that is later than the sign-in.
    #[error("its sessions were revoked after it had signed in")]
    Void,
    /// All places are taken.
    #[error("there is no room for more grants")]
    Full,
}

/// Why a principal may have nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Who decided it.
    pub by: String,
    /// When; RFC 3339, UTC.
    pub time: String,
    /// Why.
    pub reason: String,
}

/// What the kernel is to hold for an address; times are moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index of the principal.
    pub principal: u32,
    /// Class until it expires.
    pub class: Class,
    /// Classes of late.
    pub held: ClassSet,
    /// End of the class.
    pub expires: Moment,
    /// End of the rest.
    pub rests: Moment,
    /// Whether flows were cut.
    pub cut: bool,
}

/// A principal that has something to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    index: u32,
    /// How far its grants open.
    class: Class,
    revoked: Option<Revocation>,
    /// Whether the directory ever knew the account.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    listed: bool,
    /// What the directory answered last to what rules ask of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    answers: Answers,
    /// Addresses that it has a grant or a rest at.
    #[serde(skip)]
    places: BTreeSet<IpAddr>,
}

impl Known {
    fn reach(&self) -> Class {
        if self.revoked.is_some() {
            Class::Unmanaged
        } else {
            self.class
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    principals: BTreeMap<PrincipalId, Known>,
    free: BTreeSet<u32>,
    places: BTreeMap<IpAddr, Place>,
    deadlines: BTreeSet<(Moment, IpAddr)>,
    watch: Watch,
    void: Void,
    touched: BTreeSet<IpAddr>,
    changed: BTreeSet<PrincipalId>,
    /// Where somebody lost what the kernel went by.
    cut: BTreeSet<IpAddr>,
}

impl Ledger {
    /// Nobody was granted anything, and nobody was seen; it is watched from now on.
    pub fn new(rules: Rules, now: Moment) -> Self {
        let room = u32::try_from(rules.room).expect("as many as the kernel has room for");
        let mut watch = Watch::default();
        watch.follow(&rules, now);
        Self {
            watch,
            void: Void::default(),
            rules,
            principals: BTreeMap::new(),
            free: (0..room).collect(),
            places: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            touched: BTreeSet::new(),
            changed: BTreeSet::new(),
            cut: BTreeSet::new(),
        }
    }

    /// Goes by other rules from now on. Grants in prefixes that belong to one person each no longer end as
    /// if their time had come.
    pub fn set_rules(&mut self, rules: Rules, now: Moment) {
        if rules == self.rules {
            return;
        }
        self.rules = Rules {
            room: self.rules.room,
            ..rules
        };
        self.watch.follow(&self.rules, now);
        let kernel = self.places.iter().filter(|(source, place)| {
            place.has_kernel_grant() && !is_single_user(&self.rules, **source)
        });
        for source in kernel.map(|(source, _)| *source).collect::<Vec<_>>() {
            self.change(source, now, |place, drain| {
                place.rest_of_grant(now, drain);
                place.keep_for_the_proxy(Kernel::NotSingleUser);
            });
        }
        let all: Vec<_> = self.places.keys().copied().collect();
        for source in all {
            self.change(source, now, |place, drain| place.shorten_rest(now + drain));
        }
    }

    /// Notes that somebody was seen on an address. Gives whose grant that ended.
    pub fn see(&mut self, who: PrincipalId, source: IpAddr, now: Moment) -> Option<Grant> {
        if !self.places.contains_key(&source) {
            if !is_single_user(&self.rules, source) {
                return None;
            }
            if !self.make_place(source, now) {
                return None;
            }
        }
        let look_back = millis(self.rules.look_back);
        let mut ended = None;
        self.change(source, now, |place, drain| {
            if place.see(who, now, look_back) {
                ended = place.end_for_strangers(who, now, drain);
            }
        });
        ended
    }

    /// Grants something to the address of a verified sign-in; it was noted by [`Ledger::see`] before.
    pub fn earn(
        &mut self,
        who: PrincipalId,
        source: IpAddr,
        asked: &Asked,
        now: Moment,
    ) -> Result<Grant, Refused> {
        if !matches!(asked.class, Class::Managed | Class::Bypass) {
            return Err(Refused::Class(asked.class));
        }
        if asked.lasts < Duration::from_secs(1) || asked.lasts > LONGEST {
            return Err(Refused::Duration);
        }
        self.set_reach(who, asked.reach, now);
        let known = self.principals.get(&who);
        if asked.reach.opens_nothing() || known.is_some_and(|known| known.revoked.is_some()) {
            return Err(Refused::Principal);
        }
        let earned = now - millis(asked.ago);
        if self.void.is_void(who, earned) {
            return Err(Refused::Void);
        }
        if (known.is_none() && self.free.len() <= self.rules.room / RESERVED)
            || (!self.places.contains_key(&source) && !self.make_place(source, now))
        {
            return Err(Refused::Full);
        }
        let known = self.know(who);
        if let Reach::UpTo(class) = asked.reach {
            known.class = class;
        }
        let kernel = self.kernel(source, asked, now);
        let mut grant = Grant {
            principal: who,
            class: asked.class,
            since: now,
            earned,
            until: now + millis(asked.lasts),
            kernel,
            rule: asked.rule.clone(),
            service: asked.service.clone(),
        };
        self.change(source, now, |place, drain| {
            place.renew(&mut grant, now, drain);
            place.grant = Some(grant.clone());
        });
        Ok(grant)
    }

    /// Whether the kernel goes by a grant for this address.
    fn kernel(&self, source: IpAddr, asked: &Asked, now: Moment) -> Kernel {
        let place = &self.places[&source];
        if !asked.kernel {
            Kernel::NotAsked
        } else if !asked.direct {
            Kernel::Indirect
        } else if !is_single_user(&self.rules, source) {
            Kernel::NotSingleUser
        } else if asked.reach == Reach::Unknown {
            Kernel::Unsure
        } else if !asked.connected {
            Kernel::Unconnected
        } else if now < place.shared_until {
            Kernel::Shared
        } else if self.watch.may_have_missed(place.since, now) {
            Kernel::Unwatched
        } else if self.watch.is_new(source, place.since, now) {
            Kernel::New
        } else {
            Kernel::Open
        }
    }

    /// Takes an address what it was granted, and cuts its flows. Gives what it was.
    pub fn take(&mut self, source: IpAddr, now: Moment) -> Option<Grant> {
        let place = self.places.get(&source)?;
        if place.has_flows() && is_single_user(&self.rules, source) {
            self.cut.insert(source);
        }
        let mut taken = None;
        self.change(source, now, |place, drain| taken = place.cut(now, drain));
        taken
    }

    /// Takes a principal everything that it was granted, and cuts its flows. Gives what it was, by address.
    pub fn take_all(&mut self, who: PrincipalId, now: Moment) -> Vec<(IpAddr, Grant)> {
        let Some(known) = self.principals.get(&who) else {
            return Vec::new();
        };
        let places: Vec<_> = known.places.iter().copied().collect();
        let taken = places
            .into_iter()
            .filter_map(|source| Some((source, self.take(source, now)?)));
        taken.collect()
    }

    /// As [`Ledger::take_all`]; and the principal is granted nothing more until it is restored.
    pub fn revoke(
        &mut self,
        who: PrincipalId,
        why: Revocation,
        now: Moment,
    ) -> Result<Vec<(IpAddr, Grant)>, Refused> {
        if !self.principals.contains_key(&who) && self.free.is_empty() {
            return Err(Refused::Full);
        }
        self.know(who).revoked = Some(why);
        self.changed.insert(who);
        Ok(self.take_all(who, now))
    }

    /// Lifts a revocation. Gives it.
    pub fn restore(&mut self, who: PrincipalId) -> Option<Revocation> {
        let lifted = self.principals.get_mut(&who)?.revoked.take()?;
        self.changed.insert(who);
        self.forget_if_idle(who);
        Some(lifted)
    }

    /// Some sign-in was not heard of: until the look-back window has passed, who is new on an address is not
    /// believed to be alone there.
    pub fn lose_sight(&mut self, now: Moment) {
        self.watch.lose_sight(now);
    }

    /// Ends what is over.
    pub fn look(&mut self, now: Moment) {
        while let Some((deadline, source)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.change(source, deadline, |place, drain| place.look(deadline, drain));
        }
        self.watch.look(now);
        self.void.look(now);
    }

    /// When something is over next.
    pub fn next(&self) -> Option<Moment> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// What the kernel is to hold for an address.
    pub fn entry(&self, source: IpAddr) -> Option<Entry> {
        let place = self.places.get(&source)?;
        let index = |who: &PrincipalId| self.principals.get(who).map_or(0, |known| known.index);
        place.entry(millis(self.rules.drain), index)
    }

    /// Index of a principal in the kernel, and how far its grants open.
    pub fn reach(&self, who: PrincipalId) -> Option<(u32, Class)> {
        let known = self.principals.get(&who)?;
        Some((known.index, known.reach()))
    }

    /// Principals that have a place in the kernel.
    pub fn principals(&self) -> usize {
        self.principals.len()
    }

    /// Addresses and principals that may have changed since the last call.
    pub fn touched(&mut self) -> (BTreeSet<IpAddr>, BTreeSet<PrincipalId>) {
        (
            std::mem::take(&mut self.touched),
            std::mem::take(&mut self.changed),
        )
    }

    /// Addresses, since the last call, where somebody lost what the kernel went by: they are of one person each,
    /// and all connections from there are to end. Where others may be on the address, theirs go on.
    pub fn cut(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.cut)
    }

    /// Every live grant.
    pub fn grants(&self) -> impl Iterator<Item = (IpAddr, &Grant)> {
        let places = self.places.iter();
        places.filter_map(|(source, place)| Some((*source, place.grant.as_ref()?)))
    }

    /// The live grant of an address.
    pub fn grant(&self, source: IpAddr) -> Option<&Grant> {
        self.places.get(&source)?.grant.as_ref()
    }

    /// Why a principal is granted nothing.
    pub fn revocation(&self, who: PrincipalId) -> Option<&Revocation> {
        self.principals.get(&who)?.revoked.as_ref()
    }

    /// Every principal that was revoked.
    pub fn revoked(&self) -> impl Iterator<Item = (PrincipalId, &Revocation)> {
        let principals = self.principals.iter();
        principals.filter_map(|(who, known)| Some((*who, known.revoked.as_ref()?)))
    }

    /// The addresses that the kernel holds something for.
    pub fn held(&self) -> impl Iterator<Item = IpAddr> {
        let held = self.places.iter().filter(|(_, place)| place.is_held());
        held.map(|(source, _)| *source)
    }

    /// Addresses that are watched, those with grants included.
    pub fn watched(&self) -> usize {
        self.places.len()
    }

    /// What is watched, and since when.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether flows are forwarded for an address, be it that its grant has expired.
    pub fn has_flows(&self, source: IpAddr) -> bool {
        self.places.get(&source).is_some_and(Place::has_flows)
    }

    /// Whether a principal has a grant, or flows of one that has expired.
    pub fn has_anything(&self, who: PrincipalId) -> bool {
        let known = self.principals.get(&who);
        known.is_some_and(|known| !known.places.is_empty())
    }

    /// Changes a place, and keeps in step whatever follows from it.
    fn change(&mut self, source: IpAddr, now: Moment, change: impl FnOnce(&mut Place, Moment)) {
        let drain = millis(self.rules.drain);
        let place = self.places.get_mut(&source).expect("a place that is there");
        let before = place.principals();
        self.deadlines.remove(&(place.deadline, source));
        change(place, drain);
        let after = place.principals();
        let look_back = millis(self.rules.look_back);
        match place.next(look_back, now) {
            Some(deadline) => {
                place.deadline = deadline;
                self.deadlines.insert((deadline, source));
            }
            None => {
                self.places.remove(&source);
            }
        }
        self.touched.insert(source);
        for who in after.into_iter().flatten() {
            if let Some(known) = self.principals.get_mut(&who) {
                known.places.insert(source);
            }
        }
        for who in before.into_iter().flatten() {
            if !after.contains(&Some(who)) {
                if let Some(known) = self.principals.get_mut(&who) {
                    known.places.remove(&source);
                }
                self.forget_if_idle(who);
            }
        }
    }

    fn make_place(&mut self, source: IpAddr, now: Moment) -> bool {
        if self.places.len() >= self.rules.room {
            self.watch.find_no_room(now);
            return false;
        }
        let place = Place::new(now);
        self.deadlines.insert((place.deadline, source));
        self.places.insert(source, place);
        true
    }

    /// The principal, which has an index from now on.
    fn know(&mut self, who: PrincipalId) -> &mut Known {
        let (free, changed) = (&mut self.free, &mut self.changed);
        self.principals.entry(who).or_insert_with(|| {
            changed.insert(who);
            Known {
                index: free.pop_first().expect("the caller looked"),
                class: Class::Managed,
                revoked: None,
                listed: false,
                answers: Answers::new(),
                places: BTreeSet::new(),
            }
        })
    }

    fn forget_if_idle(&mut self, who: PrincipalId) {
        // How far its grants open is said anew with its next sign-in.
        let idle = |known: &Known| known.places.is_empty() && known.revoked.is_none();
        if let Some(known) = self.principals.get(&who)
            && idle(known)
        {
            self.free.insert(known.index);
            self.principals.remove(&who);
        }
    }
}

fn is_single_user(rules: &Rules, source: IpAddr) -> bool {
    rules
        .single_user
        .iter()
        .any(|prefix| prefix.contains(&source))
}

/// Milliseconds of a duration.
fn millis(duration: Duration) -> Moment {
    Moment::try_from(duration.as_millis()).unwrap_or(Moment::MAX / 4)
}

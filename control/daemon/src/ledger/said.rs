//! What a directory says of principals: how far their grants open, since when their sign-ins count, and whether
//! what the rules asked for is still so.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_abi::Class;
use weir_link::PrincipalId;

use super::place::{Grant, Kernel};
use super::{Ledger, Moment, is_single_user, millis};

/// How far a directory lets the grants of a principal open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Up to this class; managed and bypass open something, the others nothing.
    UpTo(Class),
    /// Nobody can say: what is granted now is for the proxy alone.
    Unknown,
}

/// Whether it is so, by what was asked.
pub type Answers = BTreeMap<String, bool>;

impl Reach {
    /// Whether it is certain that nothing may be granted.
    pub const fn opens_nothing(self) -> bool {
        matches!(
            self,
            Self::UpTo(Class::Unmanaged | Class::Blocked | Class::Relay)
        )
    }
}

impl Ledger {
    /// Every principal that holds something, or was revoked.
    pub fn known(&self) -> impl Iterator<Item = PrincipalId> {
        self.principals.keys().copied()
    }

    /// Everybody who is alone on an address of one person, as far as anybody knows.
    pub fn seen(&self, now: Moment) -> BTreeSet<PrincipalId> {
        let alone = self.alone(now).map(|(_, who, _)| who);
        alone.collect()
    }

    /// Says how far the grants of a principal open from now on. What it may not have any more is cut, and ends
    /// where it may have nothing: that is given, by address. Of whom nothing is remembered, nothing is now.
    pub fn set_reach(
        &mut self,
        who: PrincipalId,
        reach: Reach,
        now: Moment,
    ) -> Vec<(IpAddr, Grant)> {
        let Some(known) = self.principals.get_mut(&who) else {
            return Vec::new();
        };
        let places = known.places.clone();
        let Reach::UpTo(class) = reach else {
            for source in places {
                self.change(source, now, |place, drain| {
                    let own = place.grant.as_ref().is_some_and(|one| one.principal == who);
                    if own && place.has_kernel_grant() {
                        place.rest_of_grant(now, drain);
                        place.keep_for_the_proxy(Kernel::Unsure);
                    }
                });
            }
            return Vec::new();
        };
        let before = std::mem::replace(&mut known.class, class);
        if before != class {
            self.changed.insert(who);
        }
        if reach.opens_nothing() {
            return self.take_all(who, now);
        }
        if before != class && class != Class::Managed {
            for source in places {
                let mut any = false;
                self.change(source, now, |place, drain| any = place.cut_rest(now, drain));
                if any && is_single_user(&self.rules, source) {
                    self.cut.insert(source);
                }
            }
        }
        Vec::new()
    }

    /// Sign-ins of a principal from before that moment count for nothing any more: what they earned ends, and is
    /// cut. It may earn anew. Gives what ended, by address.
    pub fn void(&mut self, who: PrincipalId, since: Moment, now: Moment) -> Vec<(IpAddr, Grant)> {
        // Another clock that is ahead makes nothing void that is still to come.
        let since = since.min(now);
        if since > now - millis(super::LONGEST) {
            self.void.put(who, since, self.rules.room);
        }
        self.take_where(who, now, |place| place.has_of(who, since))
    }

    /// Ends the connections, also those to the proxy, of whoever is named here, on the addresses that they are
    /// alone on and were seen on last before the moment that stands with them.
    pub fn cut_where_alone(&mut self, lost: &BTreeMap<PrincipalId, Moment>, now: Moment) {
        let cut = self
            .alone(now)
            .filter(|(_, who, at)| lost.get(who).is_some_and(|before| at < before));
        let cut: Vec<_> = cut.map(|(source, _, _)| source).collect();
        self.cut.extend(cut);
    }

    /// The directory knows the account. Whether it did so before.
    pub fn list(&mut self, who: PrincipalId) -> bool {
        let known = self.principals.get_mut(&who);
        known.is_some_and(|known| std::mem::replace(&mut known.listed, true))
    }

    /// Whether the directory ever knew the account, as long as something is remembered of it.
    pub fn is_listed(&self, who: PrincipalId) -> bool {
        self.principals.get(&who).is_some_and(|known| known.listed)
    }

    /// Takes in what a directory answers now to all that rules ask of a principal; where nobody can say, it is as
    /// it was. Gives what is otherwise than before, by what was asked.
    pub fn answer<'q>(
        &mut self,
        who: PrincipalId,
        answers: impl IntoIterator<Item = (&'q str, Option<bool>)>,
    ) -> BTreeSet<&'q str> {
        let mut changed = BTreeSet::new();
        let Some(known) = self.principals.get_mut(&who) else {
            return changed;
        };
        let mut before = std::mem::take(&mut known.answers);
        for (asked, now) in answers {
            let old = before.remove_entry(asked);
            let was = old.as_ref().map(|(_, was)| *was);
            if now.is_some() && was.is_some() && now != was {
                changed.insert(asked);
            }
            if let Some(answer) = now.or(was) {
                let name = old.map_or_else(|| asked.to_owned(), |(name, _)| name);
                known.answers.insert(name, answer);
            }
        }
        changed
    }

    /// Ends what a principal holds by grants that rested on something that is otherwise now, and cuts it. It may
    /// earn anew. Gives what ended, by address.
    pub fn take_resting(
        &mut self,
        who: PrincipalId,
        now: Moment,
        rested: impl Fn(&Grant) -> bool,
    ) -> Vec<(IpAddr, Grant)> {
        self.take_where(who, now, |place| place.rests_on(who, &rested))
    }

    fn take_where(
        &mut self,
        who: PrincipalId,
        now: Moment,
        takes: impl Fn(&super::Place) -> bool,
    ) -> Vec<(IpAddr, Grant)> {
        let known = self.principals.get(&who);
        let places = known.map(|known| known.places.clone()).unwrap_or_default();
        let mut ended = Vec::new();
        for source in places {
            if takes(&self.places[&source])
                && let Some(grant) = self.take(source, now)
            {
                ended.push((source, grant));
            }
        }
        ended
    }

    /// The addresses of one person each, with who is there and when they were seen last.
    fn alone(&self, now: Moment) -> impl Iterator<Item = (IpAddr, PrincipalId, Moment)> {
        let look_back = millis(self.rules.look_back);
        let places = self.places.iter();
        let places = places.filter(|(source, _)| is_single_user(&self.rules, **source));
        places.filter_map(move |(source, place)| {
            let (who, at) = place.alone(now, look_back)?;
            Some((*source, who, at))
        })
    }
}

//! One address: who was seen on it, what it is granted, and what goes on of the grants before.

use serde::{Deserialize, Serialize};
use weir_abi::{Class, ClassSet};
use weir_link::PrincipalId;

use super::{Entry, Moment};

/// A class that an address has for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who earned it.
    pub principal: PrincipalId,
    /// The class.
    pub class: Class,
    /// Since when, without a gap.
    pub since: Moment,
    /// Until when.
    pub until: Moment,
    /// When the sign-in was that earned it, the newest one.
    #[serde(default)]
    pub earned: Moment,
    /// Whether the kernel goes by it.
    pub kernel: Kernel,
    /// The rule that granted it.
    pub rule: String,
    /// The service that was signed in at.
    pub service: String,
}

/// Whether the kernel goes by a grant, or why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// It does.
    Open,
    /// The rule does not ask for it.
    NotAsked,
    /// The address is not declared to be of one person.
    NotSingleUser,
    /// Somebody else was seen on it.
    Shared,
    /// The kernel does not see this address: a relay or a balancer stands between.
    Indirect,
    /// Sign-ins may have been missed.
    Unwatched,
    /// It is watched for too short a time.
    New,
    /// The kernel has no connection from there.
    Unconnected,
    /// Nobody can say how far the groups of its principal let it open.
    Unsure,
}

impl Kernel {
    /// Why not, in words.
    pub const fn why_not(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::NotAsked => Some("the rule grants it for the proxy alone (no `kernel = true`)"),
            Self::NotSingleUser => Some("the address lies in no `single_user` prefix of [grants]"),
            Self::Shared => Some("somebody else was seen on the address within `look_back`"),
            Self::Indirect => {
                Some("the kernel does not see this address: a relay or balancer stands between")
            }
            Self::Unwatched => {
                Some("sign-ins on the address may have been missed within `look_back`")
            }
            Self::New => Some(
                "the address is watched for less than `look_back`: nobody knows who was on it before",
            ),
            Self::Unconnected => {
                Some("the kernel has no open connection of the service from there (any more)")
            }
            Self::Unsure => Some(
                "the directory could not say in which groups of [[entra.group]] its principal is",
            ),
        }
    }
}

/// What is kept of flows that were forwarded under an earlier grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rest {
    /// Whose they are; nobody's when they were cut.
    pub(super) principal: Option<PrincipalId>,
    /// Classes that they may have begun with, as bits.
    held: u8,
    /// Until when.
    pub(super) until: Moment,
    /// When the sign-in was that earned the last of the grants.
    #[serde(default)]
    pub(super) earned: Moment,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// Since when it is watched.
    pub(super) since: Moment,
    /// Who was seen last and when, and who else before that.
    pub(super) seen: [Option<(PrincipalId, Moment)>; 2],
    /// Until then it gets no kernel grant.
    pub(super) shared_until: Moment,
    pub(super) grant: Option<Grant>,
    pub(super) rest: Option<Rest>,
    /// When something is over next.
    #[serde(skip)]
    pub(super) deadline: Moment,
}

impl Place {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            since: now,
            seen: [None; 2],
            shared_until: now,
            grant: None,
            rest: None,
            deadline: now,
        }
    }

    /// Notes who was seen; whether somebody else was, too.
    pub(super) fn see(&mut self, who: PrincipalId, now: Moment, look_back: Moment) -> bool {
        let others = self.seen.iter().flatten();
        let seen = others
            .filter(|(other, _)| *other != who)
            .any(|(_, at)| now - at < look_back);
        let grant = self.grant.as_ref();
        let shared = seen
            || grant.is_some_and(|grant| grant.principal != who)
            || matches!(self.rest, Some(Rest { principal: Some(other), .. }) if other != who);
        let [last, before] = self.seen;
        let before = match last {
            Some((other, _)) if other != who => last,
            _ => before,
        };
        self.seen = [Some((who, now)), before];
        if shared {
            self.shared_until = now + look_back;
        }
        shared
    }

    /// The address is shared, and `who` is on it now: what the kernel goes by ends, and so does what others
    /// hold. Gives the grant that ended.
    pub(super) fn end_for_strangers(
        &mut self,
        who: PrincipalId,
        now: Moment,
        drain: Moment,
    ) -> Option<Grant> {
        let stays = |grant: &Grant| grant.principal == who && grant.kernel != Kernel::Open;
        let mine = self.grant.take_if(|grant| stays(grant));
        let ended = self.cut(now, drain);
        self.grant = mine;
        ended
    }

    /// Ends the grant and the rest at once. Gives the grant.
    pub(super) fn cut(&mut self, now: Moment, drain: Moment) -> Option<Grant> {
        self.cut_rest(now, drain);
        self.grant.take()
    }

    /// Cuts the flows that the kernel forwards; whether there may be any.
    pub(super) fn cut_rest(&mut self, now: Moment, drain: Moment) -> bool {
        let any = self.is_held();
        if any {
            self.rest = rest(None, ClassSet::EMPTY, now + drain, now, now);
        }
        any
    }

    /// A new grant takes the place of the one of now: one of the same kind goes on, and another's flows
    /// rest.
    pub(super) fn renew(&mut self, new: &mut Grant, now: Moment, drain: Moment) {
        let Some(old) = &self.grant else { return };
        let open = [old.kernel, new.kernel].map(|kernel| kernel == Kernel::Open);
        if old.principal == new.principal && old.class == new.class && open[0] == open[1] {
            new.since = old.since;
            new.until = new.until.max(old.until);
            new.earned = new.earned.max(old.earned);
        } else {
            self.rest_of_grant(now, drain);
        }
    }

    /// Lets the flows of the grant rest from now on, as if its time had come.
    pub(super) fn rest_of_grant(&mut self, now: Moment, drain: Moment) {
        let Some(grant) = self.grant.as_ref().filter(|one| one.kernel == Kernel::Open) else {
            return;
        };
        let (who, mut earned) = (grant.principal, grant.earned);
        let mut held = ClassSet::EMPTY.with(grant.class);
        let mut until = now + drain;
        if let Some(before) = self.rest.filter(|before| before.principal == Some(who)) {
            held = held.union(ClassSet::from_bits(before.held));
            until = until.max(before.until);
            earned = earned.max(before.earned);
        }
        self.rest = rest(Some(who), held, until, earned, now);
    }

    /// The rest is over at this moment at the latest.
    pub(super) fn shorten_rest(&mut self, until: Moment) {
        if let Some(rest) = &mut self.rest {
            rest.until = rest.until.min(until);
        }
    }

    /// The grant stays, but not for the kernel.
    pub(super) fn keep_for_the_proxy(&mut self, why: Kernel) {
        if let Some(grant) = &mut self.grant {
            grant.kernel = why;
        }
    }

    /// Ends what is over.
    pub(super) fn look(&mut self, now: Moment, drain: Moment) {
        self.rest.take_if(|rest| rest.until <= now);
        if let Some(until) = self.grant.as_ref().map(|grant| grant.until)
            && until <= now
        {
            self.rest_of_grant(until, drain);
            self.grant = None;
        }
    }

    /// When something is over next; nothing when the place holds nothing.
    pub(super) fn next(&self, look_back: Moment, now: Moment) -> Option<Moment> {
        let grant = self.grant.as_ref().map(|grant| grant.until);
        let rest = self.rest.map(|rest| rest.until);
        let held = [grant, rest].into_iter().flatten().min();
        held.or_else(|| {
            let seen = self.seen.iter().flatten().map(|(_, at)| at + look_back);
            let until = seen.max()?.max(self.shared_until);
            (until > now).then_some(until)
        })
    }

    /// Every moment that it knows.
    pub(super) fn moments(&self) -> impl Iterator<Item = Moment> {
        let grant = self
            .grant
            .iter()
            .flat_map(|grant| [grant.since, grant.until, grant.earned]);
        let rest = self.rest.iter().flat_map(|rest| [rest.until, rest.earned]);
        let seen = self.seen.iter().flatten().map(|(_, at)| *at);
        let own = [self.since, self.shared_until].into_iter();
        own.chain(seen).chain(grant).chain(rest)
    }

    /// Everything was so much earlier or later.
    pub(super) fn shift(&mut self, by: Moment) {
        self.since += by;
        self.shared_until += by;
        for (_, at) in self.seen.iter_mut().flatten() {
            *at += by;
        }
    }

    /// Who is on the address, as far as anybody knows, and was seen last when: nobody else was there for as long
    /// as it is remembered.
    pub(super) fn alone(&self, now: Moment, look_back: Moment) -> Option<(PrincipalId, Moment)> {
        let (who, at) = self.seen[0]?;
        let other = self.seen[1].is_some_and(|(_, at)| now - at < look_back);
        let lately = now - at < look_back;
        (lately && !other && now >= self.shared_until).then_some((who, at))
    }

    /// Whether something of a principal goes on that was earned before a moment.
    pub(super) fn has_of(&self, who: PrincipalId, before: Moment) -> bool {
        let grant = self.grant.as_ref();
        let grant = grant.is_some_and(|one| one.principal == who && one.earned < before);
        let rest = self.rest.as_ref();
        grant || rest.is_some_and(|one| one.principal == Some(who) && one.earned < before)
    }

    /// Whether something of a principal goes on that rests on an answer; what of earlier grants goes on may.
    pub(super) fn rests_on(&self, who: PrincipalId, does: impl Fn(&Grant) -> bool) -> bool {
        match &self.grant {
            Some(grant) if grant.principal == who => does(grant),
            _ => matches!(self.rest, Some(Rest { principal: Some(other), .. }) if other == who),
        }
    }

    /// Whether the kernel holds something.
    pub(super) fn is_held(&self) -> bool {
        self.rest.is_some() || self.has_kernel_grant()
    }

    /// Whether the kernel forwards flows of somebody.
    pub(super) fn has_flows(&self) -> bool {
        let rest = self.rest.and_then(|rest| rest.principal);
        rest.is_some() || self.has_kernel_grant()
    }

    pub(super) fn has_kernel_grant(&self) -> bool {
        let grant = self.grant.as_ref();
        grant.is_some_and(|grant| grant.kernel == Kernel::Open)
    }

    /// Who has a grant or a rest.
    pub(super) fn principals(&self) -> [Option<PrincipalId>; 2] {
        [
            self.grant.as_ref().map(|grant| grant.principal),
            self.rest.and_then(|rest| rest.principal),
        ]
    }

    /// What the kernel is to hold.
    pub(super) fn entry(
        &self,
        drain: Moment,
        index: impl Fn(&PrincipalId) -> u32,
    ) -> Option<Entry> {
        let grant = self.grant.as_ref().filter(|one| one.kernel == Kernel::Open);
        let whose = match (grant, &self.rest) {
            (Some(grant), _) => Some(grant.principal),
            (None, Some(rest)) => rest.principal,
            (None, None) => return None,
        };
        let rest = self.rest.filter(|rest| rest.principal == whose);
        let rests = grant.map_or(Moment::MIN, |grant| grant.until + drain);
        Some(Entry {
            principal: whose.as_ref().map_or(0, index),
            class: grant.map_or(Class::Unmanaged, |grant| grant.class),
            held: rest.map_or(ClassSet::EMPTY, |rest| ClassSet::from_bits(rest.held)),
            expires: grant.map_or(0, |grant| grant.until),
            rests: rests.max(self.rest.map_or(Moment::MIN, |rest| rest.until)),
            cut: self.rest.is_some_and(|rest| rest.principal.is_none()),
        })
    }
}

fn rest(
    principal: Option<PrincipalId>,
    held: ClassSet,
    until: Moment,
    earned: Moment,
    now: Moment,
) -> Option<Rest> {
    (until > now).then(|| Rest {
        principal,
        held: held.bits(),
        until,
        earned,
    })
}

//! The directory of Entra as rules ask it: the same answers for whoever serves and for whoever explains.
//!
//! In flow a [`View`] of a snapshot, and what the names in one policy's rules mean in it ([`Resolved`], worked out
//! once for each snapshot). Out comes, for somebody who is named by a token or a request, everything that the
//! policy may ask, in one go ([`Answers`]): the user is found once, and no name is looked up while a request waits.
//!
//! Unknown is not none: whoever cannot be found for certain, a group that nobody knows or that several are called,
//! and a part that is too old have no answer.

mod answers;
mod attribute;
mod heard;
mod names;
mod wanted;

use std::sync::Arc;

use uuid::Uuid;
use weir_directory::{GroupFound, Head, Part, Snapshot, UserRef, View, Who};

pub(crate) use answers::Several;
pub(crate) use answers::Value;
pub use answers::{Answers, Sought, Unclear};
use answers::{Unclears, bit};
pub use attribute::UserAttribute;
pub use heard::{Answered, Heard, Named, Word};
pub(crate) use heard::{By, Ear, Hearing};
pub use names::NameDoubts;
pub use wanted::Wanted;

use crate::{Directory, Policy, SignIn, Users};

/// What the names in a policy's rules mean in one snapshot.
#[derive(Clone, Debug)]
pub struct Resolved {
    wanted: Arc<Wanted>,
    tenant: Uuid,
    epoch: u64,
    /// Number of a group in the snapshot, and in the policy; in order.
    groups: Vec<(u32, u32)>,
    /// One bit for each of `groups`, so that most groups of a user are told apart by one look.
    filter: Box<[u64; FILTER / 64]>,
    unclear_groups: Arc<Unclears>,
    roles: Vec<(Uuid, u32)>,
    unclear_roles: Arc<Unclears>,
}

/// The directory for one decision: the users of a file and a snapshot of the tenant, one or both. It counts
/// nothing, so every sign-in seems to be within its rate.
#[derive(Clone, Copy, Default)]
pub struct Resident<'a> {
    users: Option<&'a Users>,
    tenant: Option<(View<'a>, &'a Resolved)>,
}

/// Bits of the filter.
const FILTER: usize = 1 << 14;

impl Policy {
    /// Works out what the names in the rules mean in a snapshot.
    pub fn resolve<B: AsRef<[u8]>>(&self, snapshot: &Snapshot<B>) -> Resolved {
        Resolved::new(&self.compiled.wanted, snapshot)
    }
}

impl Resolved {
    fn new<B: AsRef<[u8]>>(wanted: &Arc<Wanted>, snapshot: &Snapshot<B>) -> Self {
        let mut groups = Vec::new();
        let mut filter = Box::new([0; FILTER / 64]);
        let mut unclear_groups = Unclears::default();
        for (number, name) in (0..).zip(wanted.groups()) {
            let why = match snapshot.group(name) {
                GroupFound::One(group) => {
                    groups.push((group.number(), number));
                    let at = spread(group.number());
                    filter[at / 64] |= 1 << (at % 64);
                    (!snapshot.has_all_members(group)).then_some(Unclear::Hidden)
                }
                GroupFound::None => Some(Unclear::Unnamed),
                GroupFound::Ambiguous(_) => Some(Unclear::Ambiguous),
                GroupFound::Unknown => Some(Unclear::Unsynced),
            };
            unclear_groups.extend(why.map(|why| (number, why)));
        }
        groups.sort_unstable();
        let mut roles = Vec::new();
        let mut unclear_roles = Unclears::default();
        for (number, name) in (0..).zip(wanted.roles()) {
            match snapshot.role(name) {
                Some(role) => roles.push((role, number)),
                None => unclear_roles.extend([(number, Unclear::Unnamed)]),
            }
        }
        let Head { tenant, epoch, .. } = *snapshot.head();
        Self {
            wanted: Arc::clone(wanted),
            tenant,
            epoch,
            groups,
            filter,
            unclear_groups: Arc::new(unclear_groups),
            roles,
            unclear_roles: Arc::new(unclear_roles),
        }
    }

    fn is_of(&self, head: &Head) -> bool {
        (self.tenant, self.epoch) == (head.tenant, head.epoch)
    }

    /// Which of the policy's groups a user is in: its groups, of which few are in the filter, against the policy's.
    fn groups_of(&self, user: UserRef<'_>) -> Several {
        let mut yes = bit::none(self.wanted.groups().len());
        for group in user.set().1 {
            let at = spread(group);
            if self.filter[at / 64] & 1 << (at % 64) == 0 {
                continue;
            }
            let first = self.groups.partition_point(|(known, _)| *known < group);
            let same = self.groups[first..].iter();
            for (_, number) in same.take_while(|(known, _)| *known == group) {
                bit::set(&mut yes, *number);
            }
        }
        Several::new(yes, &self.unclear_groups)
    }

    /// Which of the policy's roles a user holds now; nothing when nobody can say.
    fn roles_of(&self, user: UserRef<'_>) -> Option<Several> {
        let mut yes = bit::none(self.wanted.roles().len());
        for role in user.held_roles()? {
            let same = self.roles.iter().filter(|(wanted, _)| *wanted == role);
            same.for_each(|(_, number)| bit::set(&mut yes, *number));
        }
        Some(Several::new(yes, &self.unclear_roles))
    }
}

impl<'a> Resident<'a> {
    /// `tenant` is a snapshot at the time of the decision, and what the policy's names mean in it.
    pub fn new(users: Option<&'a Users>, tenant: Option<(View<'a>, &'a Resolved)>) -> Self {
        Self { users, tenant }
    }
}

impl Directory for Resident<'_> {
    /// Whoever is known to one of the two is known; nobody else is unknown unless one of them says so.
    fn knows(&self, user: &str) -> Option<bool> {
        let by_file = self.users.map(|users| users.contains(user));
        let by_tenant = self.tenant.and_then(|(view, _)| view.knows(user));
        match (by_file, by_tenant) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (None, None) => None,
            _ => Some(false),
        }
    }

    fn admit(&self, sign_in: &SignIn<'_>) -> bool {
        self.would_admit(sign_in)
    }

    fn would_admit(&self, _: &SignIn<'_>) -> bool {
        true
    }

    fn look_up(&self, who: &Who<'_>, wanted: &Arc<Wanted>) -> Answers {
        let Some((view, resolved)) = self.tenant else {
            return Answers::default();
        };
        let mut answers = Answers::of(view.head());
        // Numbers of another policy, or in another snapshot, mean nothing.
        if !Arc::ptr_eq(&resolved.wanted, wanted) || !resolved.is_of(view.head()) {
            return answers;
        }
        let found = view.find(who);
        answers.user = Sought::of(found);
        let Some(user) = found.user() else {
            return answers;
        };
        answers.id = Some(user.id());
        if view.is_known(Part::Groups) && !wanted.groups().is_empty() {
            answers.groups = Some(resolved.groups_of(user));
        }
        if !wanted.roles().is_empty() {
            answers.roles = resolved.roles_of(user);
        }
        let attributes = wanted.attributes().iter();
        answers.attributes = attributes.map(|one| Value::of(*one, user)).collect();
        answers
    }
}

/// Where a group stands in the filter: neighbours apart.
fn spread(group: u32) -> usize {
    (group.wrapping_mul(0x9e37_79b1) >> 18) as usize
}

//! What the tenant says of those who hold grants, in the books.
//!
//! A revision is acted on at once, by what was told and the picture before; a picture makes good whatever was
//! not told, or was told to nobody. Whoever loses something loses the flows too: forwarded ones by the kernel's
//! own word, and the connections to the proxy on the addresses where nobody else was seen. Elsewhere the proxy
//! judges each request of them anew.
//!
//! Whom the tenant shut out is let in again when the tenant says so, and whom an administrator shut out is not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;
use weir_entra::closure::Moves;
use weir_entra::sync::Revision;
use weir_link::PrincipalId;

use super::{Account, Books, Deed, Witness, time};
use crate::brain::Brain;
use crate::generation::Generation;
use crate::ledger::{Grant, Moment, Reach, Revocation};
use crate::tenant::InForce;
use crate::witness::{self, Later};
use weir_directory::Part;

/// Who revokes what the tenant says.
const ENTRA: &str = "entra";
/// For so long after a start the picture that was kept may be on its way.
const ON_ITS_WAY: Duration = Duration::from_mins(1);

/// What the books have heard of the tenant.
#[derive(Debug)]
pub(super) struct Heard {
    later: Later,
    by: Option<By>,
    since: Instant,
    doubts: Vec<String>,
}

/// What it was heard by: the generation, and the picture with those of its parts that are not too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct By {
    generation: u64,
    picture: Option<(u64, [bool; 3])>,
}

/// What the rules that grant have asked.
struct Leans<'a>(BTreeMap<&'a str, Service<'a>>);

/// Those of a service: the first place at which something is asked, and those at which something is granted.
#[derive(Default)]
struct Service<'a> {
    asked: BTreeMap<String, usize>,
    grants: BTreeMap<&'a str, usize>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            later: Later::default(),
            by: None,
            since: Instant::now(),
            doubts: Vec::new(),
        }
    }
}

impl Heard {
    /// Whether something else is in force than what the books were told by.
    pub(super) fn is_behind(&self, running: &Generation, directory: Option<&InForce>) -> bool {
        let now = By::of(running, directory);
        let waits = self.by.is_none_or(|by| by.picture.is_none()) && now.picture.is_none();
        Some(now) != self.by && !(waits && self.since.elapsed() < ON_ITS_WAY)
    }

    /// The groups that limit and that nobody can tell, in words.
    pub(super) fn doubts(&self) -> impl Iterator<Item = String> {
        let doubts = self.doubts.iter();
        doubts.map(|doubt| {
            format!(
                "{doubt}: until somebody can say who is in it, no grant opens the kernel's path"
            )
        })
    }
}

impl By {
    fn of(running: &Generation, directory: Option<&InForce>) -> Self {
        let parts = [Part::Users, Part::Groups, Part::Roles];
        let picture = directory.map(|directory| {
            let view = directory.view();
            (directory.epoch, parts.map(|part| view.is_known(part)))
        });
        Self {
            generation: running.number,
            picture,
        }
    }
}

impl Brain {
    /// Acts on what the tenant told.
    pub(in crate::brain) async fn hear_revision(&self, revision: &Revision) {
        let (running, directory) = (self.running(), self.directory());
        let at = OffsetDateTime::now_utc();
        let mut told = Vec::new();
        let carried = self
            .step(|books, now| {
                let directory = directory.as_deref();
                books.revise(&running, directory, revision, at, now, &mut told);
            })
            .await;
        self.tell(told, &carried);
        if let Err(error) = carried {
            tracing::error!(%error, "what the tenant told is not carried out; it is tried again");
        }
    }

    /// Looks at everybody who holds something, by the picture in force.
    pub(in crate::brain) async fn hear_picture(&self, directory: Option<&InForce>) {
        let running = self.running();
        let mut told = Vec::new();
        let carried = self
            .step(|books, now| books.rebind(&running, directory, now, &mut told))
            .await;
        self.tell(told, &carried);
        if let Err(error) = carried {
            tracing::error!(%error, "what the tenant says is not carried out; it is tried again");
        }
    }
}

impl Books {
    /// Asks the tenant about principals.
    pub(super) fn by_witness<T>(
        &mut self,
        running: &Generation,
        directory: Option<&InForce>,
        ask: impl FnOnce(&mut Self, &Witness<'_>) -> T,
    ) -> T {
        let later = std::mem::take(&mut self.heard.later);
        let answer = {
            let config = running.candidate.config();
            let entra = config.entra.as_ref();
            let tenant = entra.map_or(Uuid::nil(), |entra| entra.tenant);
            let bound = entra.map_or(&[][..], |entra| &entra.groups);
            let policies = entra.map_or(&[][..], |_| &*running.candidate.policies);
            let leans = policies
                .iter()
                .flat_map(|policy| policy.leans().into_keys());
            let leans: BTreeSet<_> = leans.collect();
            let picture = directory.filter(|_| entra.is_some());
            let picture = picture.map(|one| (&one.snapshot, one.view()));
            let witness = Witness::new(tenant, bound, leans, picture, &later);
            ask(self, &witness)
        };
        self.heard.later = later;
        answer
    }

    /// Looks at everybody who holds something.
    pub(super) fn rebind(
        &mut self,
        running: &Generation,
        directory: Option<&InForce>,
        now: Moment,
        told: &mut Vec<Deed>,
    ) {
        match directory {
            Some(directory) => (self.heard.later).forget(directory.epoch),
            None => self.heard.later = Later::default(),
        }
        self.heard.doubts = self.by_witness(running, directory, |books, witness| {
            let leans = Leans::of(running);
            let known: Vec<_> = books.ledger.known().collect();
            let lost = known
                .into_iter()
                .filter(|who| books.consider(*who, witness, &leans, now, told));
            let lost: Vec<_> = lost.map(|who| (who, Moment::MAX)).collect();
            let lost = lost.into_iter().collect();
            books.ledger.cut_where_alone(&lost, now);
            witness.doubts()
        });
        self.heard.by = Some(By::of(running, directory));
    }

    /// Acts on a revision that was told at that time.
    fn revise(
        &mut self,
        running: &Generation,
        directory: Option<&InForce>,
        revision: &Revision,
        at: OffsetDateTime,
        now: Moment,
        told: &mut Vec<Deed>,
    ) {
        let Some(entra) = &running.candidate.config().entra else {
            return;
        };
        let applied = &revision.applied;
        let present: BTreeSet<_> = (self.ledger.known()).chain(self.ledger.seen(now)).collect();
        let principal = |user: &Uuid| PrincipalId::new(entra.tenant.as_u128(), user.as_u128());
        let is_here = |user: &&Uuid| present.contains(&principal(user));
        let moved: &[_] = match &applied.moves {
            Moves::Each(moves) => moves,
            Moves::Many => &[],
        };
        let named = (applied.disabled.iter())
            .chain(&applied.gone)
            .chain(&applied.back)
            .chain(moved.iter().map(|one| &one.user))
            .filter(is_here);
        let named: BTreeSet<_> = named.map(principal).collect();
        let before: BTreeMap<_, _> = self.by_witness(running, directory, |_, witness| {
            let reaches = named.iter().map(|who| (*who, witness.reach(*who).0));
            reaches.collect()
        });
        self.heard.later.add(revision);
        if let Some(directory) = directory {
            // The picture may have come first.
            self.heard.later.forget(directory.epoch);
        }

        let mut lost = BTreeMap::new();
        for (users, why) in [(&applied.disabled, DISABLED), (&applied.gone, GONE)] {
            for who in users.iter().filter(is_here).map(principal) {
                lost.insert(who, Moment::MAX);
                // Whoever is back meanwhile has lost what was there before, all the same.
                self.shut(who, why, now, told);
            }
        }
        self.by_witness(running, directory, |books, witness| {
            let leans = Leans::of(running);
            for who in named {
                let closes = rank(witness.reach(who).0) > rank(before[&who]);
                if books.consider(who, witness, &leans, now, told) || closes {
                    lost.insert(who, Moment::MAX);
                }
            }
        });
        for (user, since) in &revision.sessions {
            let who = principal(user);
            let ago = i64::try_from((at - *since).whole_milliseconds()).unwrap_or(Moment::MAX / 4);
            let since = now.saturating_sub(ago);
            let ended = self.ledger.void(who, since, now);
            if !ended.is_empty() {
                let why = "its sessions were revoked; it may sign in anew";
                self.withdrawn(who, why, &ended, told);
            }
            lost.entry(who).or_insert(since);
        }
        self.ledger.cut_where_alone(&lost, now);
    }

    /// Looks at one principal. Whether it lost something, and its connections are to end.
    fn consider(
        &mut self,
        who: PrincipalId,
        witness: &Witness<'_>,
        leans: &Leans<'_>,
        now: Moment,
        told: &mut Vec<Deed>,
    ) -> bool {
        let mut lost = match witness.account(who) {
            Account::Disabled => self.shut(who, DISABLED, now, told),
            Account::Gone => self.shut(who, GONE, now, told),
            Account::Absent if self.ledger.is_listed(who) => self.shut(who, GONE, now, told),
            Account::Live => {
                self.ledger.list(who);
                let why = self.ledger.revocation(who);
                if why.is_some_and(|why| why.by == ENTRA) {
                    self.ledger.restore(who);
                    let back = format!("{who}: the account may sign in again; it may earn anew");
                    told.push(("entra restore", Ok(back)));
                }
                false
            }
            Account::Absent | Account::Unknown => false,
        };
        let before = self.ledger.reach(who).map(|(_, class)| class);
        let (reach, because) = witness.reach(who);
        let ended = self.ledger.set_reach(who, reach, now);
        let after = self.ledger.reach(who).map(|(_, class)| class);
        if before != after || !ended.is_empty() {
            let why = match reach {
                Reach::UpTo(class) => format!("up to {}: {because}", class.name()),
                Reach::Unknown => format!("the kernel goes by none of its grants: {because}"),
            };
            lost |= reach != Reach::Unknown && rank(reach) > before.map_or(0, witness::rank);
            self.withdrawn(who, &why, &ended, told);
        }
        let changed = self.ledger.answer(who, witness.answers(who));
        if !changed.is_empty() {
            let rests = |grant: &Grant| leans.rests(grant, &changed);
            let ended = self.ledger.take_resting(who, now, rests);
            if !ended.is_empty() {
                let changed: Vec<_> = changed.iter().copied().collect();
                let why = format!(
                    "{} is otherwise now, which the rule went by; it may sign in anew",
                    changed.join(", ")
                );
                self.withdrawn(who, &why, &ended, told);
                lost = true;
            }
        }
        lost
    }

    /// Why the tenant lets nobody earn anything by this account.
    pub(super) fn is_shut(&self, witness: &Witness<'_>, who: PrincipalId) -> Option<&'static str> {
        match witness.account(who) {
            Account::Disabled => Some(DISABLED),
            Account::Gone => Some(GONE),
            Account::Absent if self.ledger.is_listed(who) => Some(GONE),
            Account::Live | Account::Absent | Account::Unknown => None,
        }
    }

    /// Remembers what a grant was earned by.
    pub(super) fn take_note(&mut self, witness: &Witness<'_>, who: PrincipalId) {
        if witness.account(who) == Account::Live {
            self.ledger.list(who);
        }
        self.ledger.answer(who, witness.answers(who));
    }

    /// Takes a principal everything that the books know of, until the tenant lets it in again. Whether it had not
    /// lost it before.
    fn shut(&mut self, who: PrincipalId, why: &str, now: Moment, told: &mut Vec<Deed>) -> bool {
        if self.ledger.reach(who).is_none() || self.ledger.revocation(who).is_some() {
            return false;
        }
        let revocation = Revocation {
            by: ENTRA.to_owned(),
            time: time(),
            reason: why.to_owned(),
        };
        match self.ledger.revoke(who, revocation, now) {
            Ok(ended) => self.withdrawn(who, why, &ended, told),
            Err(refused) => told.push(("entra revoke", Err(format!("{who}: {why}; {refused}")))),
        }
        true
    }

    fn withdrawn(
        &mut self,
        who: PrincipalId,
        why: &str,
        ended: &[(IpAddr, Grant)],
        told: &mut Vec<Deed>,
    ) {
        self.counts.withdrawn += ended.len() as u64;
        let told_of = format!("{who}: {why}; {} grants ended", ended.len());
        told.push(("entra revoke", Ok(told_of)));
    }
}

const DISABLED: &str = "the account is disabled";
const GONE: &str = "the account is gone";

impl<'a> Leans<'a> {
    fn of(running: &'a Generation) -> Self {
        let candidate = &running.candidate;
        let services = candidate.config().services.iter();
        let all = services
            .zip(candidate.policies.iter())
            .map(|(service, policy)| {
                let asked = policy.leans().into_iter();
                let asked = asked.map(|(lean, place)| (witness::asked(lean), place));
                let rules = policy.rule_names().enumerate();
                let grants = rules.filter(|(_, rule)| policy.granted_by(rule).is_some());
                let of = Service {
                    asked: asked.collect(),
                    grants: grants.map(|(place, rule)| (rule, place)).collect(),
                };
                (service.name.as_str(), of)
            });
        Self(all.collect())
    }

    /// Whether the rule of a grant, or one in front of it, asked one of these. Of a rule that is in force no more
    /// nobody can say.
    fn rests(&self, grant: &Grant, changed: &BTreeSet<&str>) -> bool {
        let Some(service) = self.0.get(grant.service.as_str()) else {
            return true;
        };
        let Some(place) = service.grants.get(grant.rule.as_str()) else {
            return true;
        };
        let first = |asked: &&str| service.asked.get(*asked);
        changed.iter().filter_map(first).any(|first| first <= place)
    }
}

/// How much it closes.
const fn rank(reach: Reach) -> u8 {
    match reach {
        Reach::UpTo(class) => witness::rank(class),
        Reach::Unknown => 0,
    }
}

//! Grants: from verified sign-ins, and from what administrators decide, to what the kernel holds.
//!
//! The books ([`crate::ledger`]) are changed in one place, step by step. What closes a way goes to the kernel
//! first and to the disk then; what opens one is on the disk before the kernel hears of it. So whatever dies
//! in between, nothing is open that the books do not know, and nobody who was shut out comes back with a
//! restart. A step that failed half way is tried again.

mod acts;
mod keeper;
mod said;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use weir_abi::{Class, MAX_GRANTS};
use weir_api::Actor;
use weir_api::grants::{Granted, GrantsStatus, Unwatched};
use weir_link::{GrantAsked, SignIn};

use super::Brain;
use crate::Error;
use crate::clock;
use crate::generation::Generation;
use crate::ledger::{Asked, Kernel, Ledger, Moment, Refused, Rules};
use crate::plane::Plane;
use crate::proxy_link::Told;
use crate::witness::{Account, Witness};
use keeper::Keeper;
use said::Heard;

/// Sign-ins that share a step.
const BATCH: usize = 256;
/// Time until a step that failed is tried again, and until other rules are noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Grants {
    books: Mutex<Books>,
    keeper: tokio::sync::Mutex<Keeper>,
}

/// What is known, and what was counted.
#[derive(Debug)]
struct Books {
    ledger: Ledger,
    counts: Counts,
    missed: u64,
    trouble: Option<String>,
    heard: Heard,
}

/// What was done about somebody: the action, and what is to be told of it.
type Deed = (&'static str, Result<String, String>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    earned: u64,
    refused: u64,
    strangers: u64,
    unconnected: u64,
    withdrawn: u64,
    unsure: u64,
}

impl Grants {
    /// Reads the books, and brings the kernel to what they say.
    pub(super) async fn start(plane: &Plane, generation: &Generation) -> Result<Self, Error> {
        let state = generation.candidate.config().appliance.state.clone();
        let rules = rules(generation);
        let (mut keeper, mut ledger) =
            super::blocking(move || Keeper::open(state.join("grants.json"), rules)).await?;
        ledger.look(keeper::now());
        keeper.begin(plane, &mut ledger).await?;
        Ok(Self {
            books: Mutex::new(Books {
                ledger,
                counts: Counts::default(),
                missed: 0,
                trouble: None,
                heard: Heard::default(),
            }),
            keeper: tokio::sync::Mutex::new(keeper),
        })
    }

    fn books<T>(&self, look: impl FnOnce(&mut Books) -> T) -> T {
        // Every change leaves them whole.
        look(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Brain {
    /// Takes in what the proxies tell, and ends what is over.
    pub(super) async fn guard_grants(&self) {
        let mut sign_ins = match self.parts.link.heard().listen() {
            Some(sign_ins) => sign_ins,
            None => mpsc::channel(1).1,
        };
        let mut tick = interval(LOOK_EVERY);
        let mut taken = BTreeMap::new();
        loop {
            let mut batch: Vec<Told> = Vec::new();
            let next = self.grants.books(|books| books.ledger.next());
            let ended = async {
                match next {
                    Some(next) => sleep(keeper::until(next)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = sign_ins.recv_many(&mut batch, BATCH), if !sign_ins.is_closed() => {}
                () = ended => {}
                _ = tick.tick() => if !self.is_behind().await { continue },
            }
            taken.extend(batch.iter().map(|told| (told.session, told.sign_in.number)));
            let batch: Vec<_> = batch.into_iter().map(|told| told.sign_in).collect();
            match self.take_in(&batch).await {
                Ok(()) if taken.is_empty() => {}
                // What failed before is carried out with this too.
                Ok(()) => self.parts.link.heard().take(std::mem::take(&mut taken)),
                Err(error) => {
                    tracing::error!(%error, "grants cannot be carried out; it is tried again");
                }
            }
        }
    }

    /// Whether something is to be done without anybody asking.
    async fn is_behind(&self) -> bool {
        let (running, directory) = (self.running(), self.directory());
        let rules = rules(&running);
        let missed = self.parts.link.heard().missed();
        let keeper = self.grants.keeper.lock().await;
        self.grants.books(|books| {
            books.missed != missed
                || books.heard.is_behind(&running, directory.as_deref())
                || keeper.is_behind(&rules, &books.ledger)
        })
    }

    async fn take_in(&self, batch: &[SignIn]) -> Result<(), Error> {
        let running = self.running();
        let missed = self.parts.link.heard().missed();
        let connected = self.connected(&running, batch).await;
        let directory = self.directory();
        let mut told = Vec::new();
        let carried = self.step(|books, now| {
            if books.missed != missed {
                books.missed = missed;
                books.ledger.lose_sight(now);
            }
            if books.heard.is_behind(&running, directory.as_deref()) {
                books.rebind(&running, directory.as_deref(), now, &mut told);
            }
            books.by_witness(&running, directory.as_deref(), |books, witness| {
                for (sign_in, connected) in batch.iter().zip(connected) {
                    books.sign_in(&running, witness, sign_in, connected, now, &mut told);
                }
            });
        });
        let carried = carried.await;
        self.tell(told, &carried);
        carried
    }

    fn tell(&self, told: Vec<Deed>, carried: &Result<(), Error>) {
        for (action, one) in told {
            let one = one.map(|told| match carried {
                Ok(()) => told,
                Err(error) => format!("{told}; that is not carried out yet: {error}"),
            });
            self.note(Actor::Weir, action, one);
        }
    }

    /// Which of the sign-ins that ask for the kernel came over a connection that there is. The proxies tell
    /// of them, and anybody may talk to a proxy; that somebody is at that address is the kernel's own word.
    async fn connected(&self, running: &Generation, batch: &[SignIn]) -> Vec<bool> {
        let asked = |one: &SignIn| is_direct(one) && one.grant.as_ref().is_some_and(|g| g.kernel);
        if !batch.iter().any(asked) {
            return vec![false; batch.len()];
        }
        let looks = batch.iter().map(|one| {
            let candidate = &running.candidate;
            asked(one).then(|| (candidate.addresses_of(&one.service), one.peer))
        });
        let looks: Vec<_> = looks.collect();
        let look = self.parts.plane.run(move |plane| {
            let look = |(near, far): (Vec<_>, _)| match plane.connected(&near, far) {
                Ok(connected) => connected,
                Err(error) => {
                    tracing::error!(%error, "a sign-in opens the kernel's path for nobody");
                    false
                }
            };
            let found = looks.into_iter().map(|one| one.is_some_and(look));
            found.collect()
        });
        look.await.unwrap_or_else(|_| vec![false; batch.len()])
    }

    /// What a person should know of grants.
    pub(crate) fn grants_warnings(&self) -> Vec<String> {
        self.grants.books(|books| {
            let trouble = books.trouble.as_ref().map(|why| {
                format!(
                    "grants and revocations cannot be carried out or written down: {why}; it is tried \
                     again each second"
                )
            });
            let blind = books.ledger.watch().blind_until().map(|until| {
                format!(
                    "sign-ins were missed or found no room, so that addresses get no grant for the kernel \
                     until {}",
                    keeper::text(until)
                )
            });
            let doubts = books.heard.doubts();
            trouble.into_iter().chain(blind).chain(doubts).collect()
        })
    }

    /// Numbers for status.
    pub(crate) fn grants_status(&self) -> GrantsStatus {
        let missed = self.parts.link.heard().missed();
        self.grants.books(|books| GrantsStatus {
            live: books.ledger.grants().count(),
            kernel: (books.ledger.grants())
                .filter(|(_, grant)| grant.kernel == Kernel::Open)
                .count(),
            held: books.ledger.held().count(),
            watched: books.ledger.watched(),
            room: MAX_GRANTS as usize,
            principals: books.ledger.principals(),
            revoked: books.ledger.revoked().count(),
            earned: books.counts.earned,
            refused: books.counts.refused,
            strangers: books.counts.strangers,
            unconnected: books.counts.unconnected,
            withdrawn: books.counts.withdrawn,
            unsure: books.counts.unsure,
            missed,
            unwatched: (books.ledger.watch().new_prefixes(keeper::now()))
                .map(|(prefix, until)| Unwatched {
                    prefix,
                    until: keeper::text(until),
                })
                .collect(),
            trouble: books.trouble.clone(),
        })
    }
}

impl Books {
    /// One verified sign-in.
    fn sign_in(
        &mut self,
        running: &Generation,
        witness: &Witness<'_>,
        sign_in: &SignIn,
        connected: bool,
        now: Moment,
        told: &mut Vec<Deed>,
    ) {
        let (who, source) = (sign_in.principal, sign_in.source.to_canonical());
        let services = &running.candidate.config().services;
        let Some(at) = services.iter().position(|one| one.name == sign_in.service) else {
            self.counts.refused += 1;
            let why = format!(
                "a sign-in of {who} is of no service that there is: both daemons must be of the same \
                 release"
            );
            told.push(("grant", Err(why)));
            return;
        };
        if let Some(ended) = self.ledger.see(who, source, now) {
            self.counts.strangers += 1;
            let ended = format!(
                "{} for {source}, earned by {}, ended: {who} was seen there (sign-in {})",
                ended.class.name(),
                ended.principal,
                sign_in.id
            );
            told.push(("grant", Ok(ended)));
        }
        let Some(wanted) = &sign_in.grant else { return };
        let for_whom = format!("for {source}, of {who} (sign-in {})", sign_in.id);
        let blocked = running.candidate.compiled.find(source).class == Class::Blocked;
        let written = !wanted.rule.contains(char::is_control);
        let asked = Asked {
            class: wanted.class,
            lasts: wanted.lasts().saturating_sub(sign_in.was_ago()),
            kernel: wanted.kernel,
            direct: is_direct(sign_in),
            connected,
            rule: wanted.rule.clone(),
            service: sign_in.service.clone(),
            reach: witness.reach(who).0,
            ago: sign_in.was_ago(),
        };
        let earned = if !written {
            Err("the name of its rule is none".to_owned())
        } else if asked.lasts.is_zero() {
            Err("it was over when weir-control heard of it".to_owned())
        } else if blocked {
            Err("a list blocks the address".to_owned())
        } else if let Err(why) = granted_by_rule(running, at, wanted) {
            Err(why.to_owned())
        } else if let Some(why) = self.is_shut(witness, who) {
            Err(why.to_owned())
        } else {
            let earned = self.ledger.earn(who, source, &asked, now);
            earned.map_err(|refused| match (refused, witness.reach(who)) {
                (Refused::Principal, (reach, because)) if reach.opens_nothing() => {
                    format!("{refused}: {because}")
                }
                _ => refused.to_string(),
            })
        };
        match earned {
            Ok(grant) => {
                self.take_note(witness, who);
                self.counts.unsure += u64::from(grant.kernel == Kernel::Unsure);
                self.counts.earned += 1;
                self.counts.unconnected += u64::from(grant.kernel == Kernel::Unconnected);
                let kernel = match grant.kernel.why_not() {
                    None => "the kernel goes by it".to_owned(),
                    Some(why) => format!("not in the kernel: {why}"),
                };
                let earned = format!(
                    "{} {for_whom}, until {}, by rule {}; {kernel}",
                    grant.class.name(),
                    keeper::text(grant.until),
                    grant.rule
                );
                told.push(("grant", Ok(earned)));
            }
            Err(why) => {
                self.counts.refused += 1;
                told.push(("grant", Err(format!("nothing {for_whom}: {why}"))));
            }
        }
    }
}

/// Whether a rule in force for this service grants what a proxy says that it does.
fn granted_by_rule(
    running: &Generation,
    service: usize,
    wanted: &GrantAsked,
) -> Result<(), &'static str> {
    let policy = &running.candidate.policies[service];
    match policy.granted_by(&wanted.rule) {
        None => Err("no rule in force by that name grants anything"),
        Some(grant)
            if grant.class == wanted.class
                && wanted.lasts() <= grant.lasts
                && (grant.kernel || !wanted.kernel) =>
        {
            Ok(())
        }
        Some(_) => Err("the rule in force by that name grants something else, or less"),
    }
}

/// Whether the kernel sees the very address that policy judged.
fn is_direct(sign_in: &SignIn) -> bool {
    sign_in.peer.ip().to_canonical() == sign_in.source.to_canonical()
}

/// A grant as people read it.
fn shown(address: std::net::IpAddr, grant: &crate::ledger::Grant) -> Granted {
    Granted {
        address,
        principal: grant.principal.to_string(),
        class: grant.class,
        since: keeper::text(grant.since),
        until: keeper::text(grant.until),
        kernel: grant.kernel == Kernel::Open,
        why_not: grant.kernel.why_not().map(str::to_owned),
        rule: grant.rule.clone(),
        service: grant.service.clone(),
        limit: None,
    }
}

/// What is configured.
fn rules(generation: &Generation) -> Rules {
    let config = generation.candidate.config();
    Rules {
        single_user: config.grants.single_user.clone(),
        look_back: config.grants.look_back,
        drain: config.kernel.drain_window,
        room: MAX_GRANTS as usize,
    }
}

/// Now, as it stands in the audit log.
fn time() -> String {
    clock::now()
}

//! Rules are rehearsed: judged again by what was recorded, decisions show what other rules would change.
//!
//! In flow policies that are not in force, and the facts of the audit log, with what the directory said then; out
//! comes what would change, in groups. Of what nobody asked then the directory of now is asked. Nothing is put in force and nothing is counted. Reading and judging happen where they may block,
//! a part of the log at a time, in bounded memory.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;
use weir_api::{Diff, DiffGroup, DiffRequest, DiffSide, Record, RecordBody};
use weir_link::Event;
use weir_policy::{Decision, Facts, Policy, PolicySpec, Ruling, Told};

use crate::Error;
use crate::audit::{Filter, Reader};
use crate::brain::Brain;
use crate::clock;
use crate::explain::Known;
use crate::generation::Generation;
use crate::tenant::InForce;

/// Lines that are read at a time.
const BATCH: usize = 512;
/// Decisions that are judged at most.
const MOST: u64 = 2_000_000;
/// Groups that are told at most.
const MOST_GROUPS: usize = 500;
/// Users and addresses that are told apart at most, in all groups together.
const MOST_TOLD_APART: usize = 1_000_000;
/// Users and addresses that are named in a group.
const NAMED: usize = 5;

impl Brain {
    /// Judges recorded decisions by other rules.
    pub async fn rehearse(
        &self,
        wanted: DiffRequest,
        readers: &Arc<Semaphore>,
    ) -> Result<Diff, Error> {
        let since = wanted.since.as_deref().map(time).transpose()?;
        let running = self.running();
        let known = |name: &String| {
            let new = wanted.policies.iter().any(|policy| policy.service == *name);
            new || running.candidate.service(Some(name)).is_some()
        };
        if let Some(name) = wanted.service.as_ref().filter(|name| !known(name)) {
            return Err(Error::NoService {
                wanted: format!("`{name}`"),
                known: running.service_names(),
            });
        }
        let filter = Filter {
            service: wanted.service,
            kind: Some("request".to_owned()),
            since,
            ..Filter::default()
        };
        let policies = wanted.policies;
        let in_force = self.directory();
        let new = move || Rehearsal::new(running, in_force.as_ref(), &policies);
        let mut rehearsal = blocking(new).await??;
        let read = |error| Error::file("read the audit log", self.audit().path())(error);
        let until = self.audit().newest();
        let mut reader = Reader::new(self.audit(), readers, filter);
        let mut seen = 0;
        if reader.is_since() {
            seen = reader.since().await.map_err(read)?;
        }
        while seen < until && !rehearsal.is_full() {
            let part = reader.after(seen, BATCH).await.map_err(read)?;
            seen = part.seen;
            if part.lines == 0 {
                continue;
            }
            let place = Arc::clone(readers).acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            rehearsal = blocking(move || {
                for line in part.text.lines() {
                    rehearsal.judge(line);
                }
                drop(place);
                rehearsal
            })
            .await?;
        }
        rehearsal.diff.looked.cut = seen < until;
        Ok(rehearsal.finish())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Request(format!("the rehearsal broke off: {error}")))
}

fn time(text: &str) -> Result<String, Error> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => Ok(clock::text(time)),
        Err(_) => Err(Error::Request(format!(
            "`{text}` for `since` is no time: write it as RFC 3339 says, 2026-01-01T08:00:00Z"
        ))),
    }
}

/// Judges one recorded decision after the other.
struct Rehearsal {
    running: Arc<Generation>,
    /// What each of the policies in force asks.
    old: Vec<Known>,
    new: BTreeMap<String, (Policy, Known)>,
    diff: Diff,
    groups: HashMap<(String, DiffSide, DiffSide), Group>,
    hasher: RandomState,
    /// Users and addresses that are told apart so far.
    apart: usize,
}

/// Decisions that change in the same way.
#[derive(Default)]
struct Group {
    decisions: u64,
    users: HashSet<u64>,
    sources: HashSet<u64>,
    more: bool,
    some_users: BTreeSet<String>,
    some_sources: BTreeSet<String>,
    clients: BTreeSet<String>,
    last_seen: String,
    example: String,
}

impl Rehearsal {
    fn new(
        running: Arc<Generation>,
        in_force: Option<&Arc<InForce>>,
        policies: &[PolicySpec],
    ) -> Result<Self, Error> {
        let candidate = &running.candidate;
        let known = |policy: &Policy| Known::new(candidate, in_force, policy);
        let mut new = BTreeMap::new();
        for spec in policies {
            let policy = Policy::compile(spec).map_err(|errors| {
                let words: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Error::Rules {
                    service: spec.service.clone(),
                    why: words.join("; "),
                }
            })?;
            let known = known(&policy);
            new.insert(spec.service.clone(), (policy, known));
        }
        let old = candidate.policies.iter().map(known).collect();
        let diff = Diff {
            generation: running.number,
            ..Diff::default()
        };
        Ok(Self {
            running,
            old,
            new,
            diff,
            groups: HashMap::new(),
            hasher: RandomState::new(),
            apart: 0,
        })
    }

    fn is_full(&self) -> bool {
        self.diff.judged >= MOST
    }

    fn judge(&mut self, line: &str) {
        let Ok(Record {
            seq,
            body: RecordBody::Event(event),
        }) = serde_json::from_str(line)
        else {
            return;
        };
        let looked = &mut self.diff.looked;
        if looked.since.is_none() {
            (looked.oldest, looked.since) = (seq, Some(event.time.clone()));
        }
        self.diff.until = Some(event.time.clone());
        let Some(facts) = event.facts.as_deref() else {
            self.diff.without_facts += 1;
            return;
        };
        let candidate = &self.running.candidate;
        let index = candidate.service(event.service.as_deref());
        let new = event.service.as_ref().and_then(|name| self.new.get(name));
        let (Some(index), Some((new, known))) = (index, new) else {
            self.diff.without_service += 1;
            return;
        };
        self.diff.judged += 1;
        let old = &candidate.policies[index];
        let before = old.decide(&old.as_judged(facts), &self.old[index].now());
        let after = new.decide(&new.as_judged(facts), &known.now());
        let (kind, rule, _) = before.told();
        if kind.name() != event.decision || **rule != *event.rule {
            self.diff.outdated += 1;
        }
        let (before, after) = (side(&before), side(&after));
        if before != after {
            self.diff.changed += 1;
            self.group(&event, facts, before, after);
        }
    }

    fn group(&mut self, event: &Event, facts: &Facts, before: DiffSide, after: DiffSide) {
        let service = event.service.clone().unwrap_or_default();
        let key = (service, before, after);
        if self.groups.len() >= MOST_GROUPS && !self.groups.contains_key(&key) {
            self.diff.ungrouped += 1;
            return;
        }
        let group = self.groups.entry(key).or_default();
        group.decisions += 1;
        group.clients.extend(event.client.clone());
        group.last_seen.clone_from(&event.time);
        group.example.clone_from(&event.id);
        let source = facts.source.effective.unwrap_or(facts.source.peer);
        let room = MOST_TOLD_APART.saturating_sub(self.apart);
        let source = (
            Some(source.to_string()),
            &mut group.sources,
            &mut group.some_sources,
        );
        let user = (user(facts), &mut group.users, &mut group.some_users);
        for (one, apart, named) in [source, user] {
            let Some(one) = one else { continue };
            let hash = self.hasher.hash_one(&one);
            if apart.contains(&hash) {
                continue;
            }
            if room < 2 {
                group.more = true;
                continue;
            }
            apart.insert(hash);
            self.apart += 1;
            if named.len() < NAMED {
                named.insert(one);
            }
        }
    }

    fn finish(mut self) -> Diff {
        let groups = self.groups.into_iter();
        self.diff.groups = groups
            .map(|((service, before, after), group)| DiffGroup {
                service,
                before,
                after,
                decisions: group.decisions,
                users: group.users.len() as u64,
                sources: group.sources.len() as u64,
                more: group.more,
                some_users: group.some_users.into_iter().collect(),
                some_sources: group.some_sources.into_iter().collect(),
                clients: group.clients.into_iter().collect(),
                last_seen: group.last_seen,
                example: group.example,
            })
            .collect();
        self.diff.groups.sort_by(|a, b| {
            let key = |it: &DiffGroup| (it.service.clone(), it.before.clone(), it.after.clone());
            b.decisions
                .cmp(&a.decisions)
                .then_with(|| key(a).cmp(&key(b)))
        });
        self.diff
    }
}

/// Who signs in, by the token or else by what was stated.
fn user(facts: &Facts) -> Option<String> {
    let by_token = match &facts.token {
        Told::Verified(told) => told.values.get("upn").and_then(|values| values.first()),
        _ => None,
    };
    let user = by_token.map(String::as_str).or_else(|| facts.user.text())?;
    Some(user.trim().to_lowercase())
}

fn side(ruling: &Ruling) -> DiffSide {
    let (kind, rule, _) = ruling.told();
    let (decision, otherwise) = match ruling {
        Ruling::Now(decision) => (Some(decision), None),
        Ruling::AtToken {
            step_up, otherwise, ..
        } => (step_up.as_ref(), Some(otherwise)),
    };
    DiffSide {
        decision: kind.name().to_owned(),
        rule: rule.to_string(),
        otherwise: otherwise.map(|it| format!("{} by {}", it.kind.name(), it.rule)),
        grant: decision.and_then(granted),
        target: decision
            .and_then(|decision| decision.target.as_ref())
            .map(ToString::to_string),
    }
}

fn granted(decision: &Decision) -> Option<String> {
    let grant = decision.grant.as_ref()?;
    let kernel = if grant.kernel {
        ", in the kernel too"
    } else {
        ""
    };
    let minutes = grant.lasts.as_secs().div_ceil(60);
    Some(format!("{} for {minutes}m{kernel}", grant.class.name()))
}

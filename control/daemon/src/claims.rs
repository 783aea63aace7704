//! What the newest verified token of a user told, and what the rules in force make of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use weir_api::{Looked, Record, RecordBody, RuleSaw, ShownClaim, ShownClaims};
use weir_link::Event;
use weir_policy::{Directory, Facts, Method, Policy, TokenFacts, Told};

use crate::Error;
use crate::audit::{Filter, Reader};
use crate::brain::Brain;
use crate::explain::{Known, looked};
use crate::generation::Generation;
use crate::tenant::InForce;

impl Brain {
    /// What was received of a user in a token, most recently.
    pub async fn claims(
        &self,
        user: String,
        service: Option<String>,
        readers: &Arc<Semaphore>,
    ) -> Result<ShownClaims, Error> {
        let running = self.running();
        if let Some(name) = &service
            && running.candidate.service(Some(name)).is_none()
        {
            return Err(Error::NoService {
                wanted: format!("`{name}`"),
                known: running.service_names(),
            });
        }
        let filter = Filter {
            service,
            told_of: Some(user.clone()),
            ..Filter::default()
        };
        let mut reader = Reader::new(self.audit(), readers, filter);
        let found = reader.newest().await;
        let (found, back) =
            found.map_err(|error| Error::file("read the audit log", self.audit().path())(error))?;
        if let Some(Record {
            seq,
            body: RecordBody::Event(event),
        }) = found
            && let Some(facts) = event.facts.as_deref()
            && let Told::Verified(told) = &facts.token
        {
            let in_force = self.directory();
            let heard = (facts, in_force.as_ref());
            return Ok(shown(&running, seq, &event, heard, told, back));
        }
        Err(Error::NoClaims {
            user,
            looked: looked(&back),
        })
    }
}

fn shown(
    running: &Generation,
    seq: u64,
    event: &Event,
    (facts, in_force): (&Facts, Option<&Arc<InForce>>),
    told: &TokenFacts,
    looked: Looked,
) -> ShownClaims {
    let candidate = &running.candidate;
    let mut claims = received(told);
    let mut note = None;
    match candidate.service(event.service.as_deref()) {
        None => note = Some("its service is not in the configuration any more".to_owned()),
        Some(index) => {
            let policy = &candidate.policies[index];
            let known = Known::new(candidate, in_force, policy);
            rules(policy, facts, &known.now(), &mut claims);
            let types = candidate.claim_types(&candidate.config().services[index].name);
            for claim in claims.values_mut() {
                claim.types = types(&claim.name);
            }
            if !policy.decides_at_token() {
                let why = "the service does not decide by what stands in tokens, so no rule sees any of it";
                note = Some(why.to_owned());
            }
        }
    }
    ShownClaims {
        generation: running.number,
        seq,
        id: event.id.clone(),
        time: event.time.clone(),
        service: event.service.clone(),
        source: event.effective_source.unwrap_or_else(|| event.peer.ip()),
        client: event.client.clone(),
        relying_party: event.relying_party.clone(),
        decision: event.decision.clone(),
        rule: event.rule.clone(),
        claims: claims.into_values().collect(),
        note,
        looked,
    }
}

/// All that the token told, by name.
fn received(told: &TokenFacts) -> BTreeMap<String, ShownClaim> {
    let mut claims = BTreeMap::new();
    for (name, values) in &told.values {
        entry(&mut claims, name).values.clone_from(values);
    }
    for name in &told.missing {
        entry(&mut claims, name).missing = true;
    }
    if !told.methods.is_empty() {
        let methods = told
            .methods
            .iter()
            .map(|method| Method::name(method).to_owned());
        entry(&mut claims, "method").values = methods.collect();
    }
    if let Some(then) = told.authenticated {
        entry(&mut claims, "authenticated").values = vec![crate::clock::text(then.into())];
    }
    claims
}

/// The rules that ask for each claim, and what they make of this sign-in.
fn rules(
    policy: &Policy,
    facts: &Facts,
    directory: &dyn Directory,
    claims: &mut BTreeMap<String, ShownClaim>,
) {
    let (_, tried) = policy.explain(&policy.as_judged(facts), directory);
    for (rule, names) in policy.asks() {
        let found = tried.iter().find(|tried| tried.rule == rule);
        let saw = RuleSaw {
            rule: rule.to_owned(),
            matched: found.is_some_and(|tried| tried.matched),
            waits: found.is_some_and(|tried| tried.waits),
            tried: found.is_some(),
            why: found.map_or_else(
                || "not tried: a rule before it decides".to_owned(),
                |tried| tried.why.clone(),
            ),
        };
        for name in names {
            entry(claims, name).rules.push(saw.clone());
        }
    }
}

fn entry<'c>(claims: &'c mut BTreeMap<String, ShownClaim>, name: &str) -> &'c mut ShownClaim {
    claims.entry(name.to_owned()).or_insert_with(|| ShownClaim {
        name: name.to_owned(),
        ..ShownClaim::default()
    })
}

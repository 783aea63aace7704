//! How the tenant stands, as people read it: `GET /v1/entra`, and what status says of it.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::timeout;
use weir_api::Actor;
use weir_api::entra::{Credential, Entra, EntraStatus, Finding, State};
use weir_entra::decode::organisation::Organisation;
use weir_entra::model::Part;
use weir_entra::sync::Status;

use super::super::{Brain, blocking};
use crate::tenant::credentials::Slot;
use crate::tenant::shown::{self, own};
use crate::tenant::{Tenant, TenantError};
use crate::{Error, clock};

/// How long somebody who asks waits for the engine; after that they see how it was.
const ASKED_WITHIN: Duration = Duration::from_secs(5);

impl Brain {
    /// The tenant, and how the synchronisation with it stands.
    pub async fn entra(&self) -> Result<Entra, Error> {
        let running = self.running();
        let config = running.candidate.config().entra.as_ref();
        let config = config.ok_or(TenantError::NotConfigured)?;
        if let Some(tenant) = self.tenant()
            && let Ok(Ok(status)) = timeout(ASKED_WITHIN, tenant.handle.status()).await
        {
            return Ok(self.shown(&tenant, &status).await);
        }
        let noted = self.entra.noted();
        let mut seen = noted.seen.unwrap_or_else(|| Entra {
            tenant: config.tenant.to_string(),
            application: config.application.to_string(),
            cloud: config.cloud.name().to_string(),
            ..Entra::default()
        });
        seen.findings.insert(
            0,
            match noted.not_begun {
                Some(why) => own(
                    State::NeedsAttention,
                    "not-begun",
                    "the synchronisation does not begin",
                    why,
                    "It is tried again by itself; what was last known stays in force until it is too old.",
                ),
                None => own(
                    State::Degraded,
                    "busy",
                    "the synchronisation does not answer yet",
                    "it begins, or takes in much at once".to_owned(),
                    "Ask again in some seconds; what follows is how it was.",
                ),
            },
        );
        Ok(worst(seen))
    }

    /// Keeps how it stands for status, and tells of what is new.
    pub(super) async fn remember_seen(&self, tenant: &Arc<Tenant>, status: &Status) {
        let locations = status.parts.get(&Part::Locations);
        self.locations_read(locations.and_then(|part| part.last_success));
        let seen = self.shown(tenant, status).await;
        let before = self.entra.note(|noted| noted.seen.replace(seen.clone()));
        let known = before.as_ref().map(all).unwrap_or_default();
        let now = all(&seen);
        let is_there = |one: &Finding, among: &[Finding]| {
            let is_it = |other: &Finding| other.reason == one.reason && other.part == one.part;
            among.iter().any(is_it)
        };
        for one in now.iter().filter(|one| !is_there(one, &known)) {
            self.note(Actor::Weir, "entra", Err(sentence(one)));
        }
        for one in known.iter().filter(|one| !is_there(one, &now)) {
            let words = format!("it is over: {}", about(one));
            self.note(Actor::Weir, "entra", Ok(words));
        }
    }

    /// The tenant as it was when its state was last noted, without asking.
    pub(crate) fn entra_noted(&self) -> Option<Entra> {
        self.entra.noted().seen
    }

    /// The tenant in a few words.
    pub(crate) fn entra_status(&self) -> Option<EntraStatus> {
        let running = self.running();
        let config = running.candidate.config().entra.as_ref()?;
        let noted = self.entra.noted();
        let begins = if noted.not_begun.is_some() {
            State::NeedsAttention
        } else {
            State::Degraded
        };
        let seen = noted.seen.filter(|_| noted.not_begun.is_none());
        let (users, groups) = self.counted();
        let age = seen.as_ref().and_then(|seen| {
            let wanted = [Part::Users.name(), Part::Groups.name()];
            let parts = seen.parts.iter();
            let parts = parts.filter(|part| wanted.contains(&part.part.as_str()));
            parts.map(|part| part.age_seconds).max().flatten()
        });
        Some(EntraStatus {
            tenant: seen
                .as_ref()
                .and_then(|seen| seen.name.clone())
                .unwrap_or_else(|| config.tenant.to_string()),
            state: seen.map_or(begins, |seen| seen.state),
            users,
            groups,
            age_seconds: age,
            epoch: self.directory().map(|in_force| in_force.epoch),
        })
    }

    /// What a person should know of the tenant.
    pub(crate) fn entra_warnings(&self) -> Vec<String> {
        if self.running().candidate.config().entra.is_none() {
            return Vec::new();
        }
        let noted = self.entra.noted();
        let mut warnings = Vec::new();
        if let Some(why) = noted.not_begun {
            warnings.push(format!("THE TENANT IS NOT SYNCHRONISED: {why}"));
        }
        warnings.extend(noted.moved_aside);
        let seen = noted.seen.iter().flat_map(all);
        warnings.extend(seen.map(|one| {
            let more = match (one.state, one.part.as_deref()) {
                (State::Held, _) => "; `weir entra` shows what would change",
                _ => "",
            };
            format!("entra: {}{more}", sentence(&one))
        }));
        warnings
    }

    pub(super) async fn shown(&self, tenant: &Arc<Tenant>, status: &Status) -> Entra {
        let (noted, now) = (self.entra.noted(), OffsetDateTime::now_utc());
        let config = &tenant.config;
        let (users, groups) = self.counted();
        let in_force = self.directory();
        let drawn = in_force.as_ref().and_then(|in_force| {
            OffsetDateTime::from_unix_timestamp(in_force.snapshot.head().taken_at).ok()
        });
        let peers = self.peers();
        let proxy_epoch = peers.borrow().current().and_then(|peer| peer.directory);
        let mut findings = shown::findings(&status.findings);
        findings.extend(self.own_findings());
        findings.extend(self.domain_findings(tenant).await);
        let store = tenant.store.clone();
        let name = blocking(move || {
            let kept = store
                .read()
                .and_then(|view| view.documents(Part::Organisation));
            let kept = kept.unwrap_or_default().into_values();
            let mut read =
                kept.filter_map(|bytes| serde_json::from_slice::<Organisation>(&bytes).ok());
            Ok(read.find_map(|one| one.display_name))
        });
        let parts = status.parts.iter();
        worst(Entra {
            tenant: config.tenant.to_string(),
            name: name.await.ok().flatten(),
            application: config.application.to_string(),
            cloud: config.cloud.name().to_string(),
            state: shown::state(status.state),
            epoch: in_force.map(|in_force| in_force.epoch),
            drawn: drawn.map(clock::text),
            users,
            groups,
            proxy_epoch,
            credential: Credential {
                kind: status.credential_kind.to_owned(),
                slot: noted.slot.name().to_owned(),
                has_other: Slot::Next.of(config).is_some(),
                ends: status.credential_ends.map(clock::text),
                ends_in_seconds: status
                    .credential_ends
                    .map(|ends| (ends - now).whole_seconds()),
                keeps_former: status.keeps_former_credential,
                trouble: noted.trouble,
            },
            missing: status
                .missing
                .iter()
                .map(|any| any.iter().map(|name| (*name).to_owned()).collect())
                .collect(),
            too_much: status.too_much.clone(),
            skew_seconds: status.skew.map(time::Duration::whole_seconds),
            findings,
            parts: parts
                .map(|(part, status)| shown::part(*part, status, now))
                .collect(),
            named: noted.named,
        })
    }

    /// What weir-control itself has to say.
    fn own_findings(&self) -> Vec<Finding> {
        let noted = self.entra.noted();
        let mut findings = Vec::new();
        if let Some(why) = noted.unusable {
            findings.push(own(
                State::NeedsAttention,
                "picture-unusable",
                "the newest picture is not in force",
                why,
                "The one before stays in force; the next one is put in force as soon as it can be.",
            ));
        }
        if let Some(why) = noted.trouble {
            findings.push(own(
                State::Degraded,
                "credential-not-taken",
                "a credential is not in use",
                why,
                "The present one stays in use; put the other one right, and it is tried again by itself.",
            ));
        }
        let in_trouble = noted.named.iter().filter_map(|one| {
            let words = format!("group `{}`: {}", one.group, one.trouble.as_ref()?);
            Some(own(
                State::NeedsAttention,
                "group-unknown",
                "a group of the configuration is not clear",
                words,
                "Nobody counts as a member of it, or as none, until it is put right and `weir reload` was run.",
            ))
        });
        findings.extend(in_trouble);
        let peers = self.peers();
        let peers = peers.borrow();
        if let Some((epoch, why)) = peers
            .current()
            .and_then(|peer| peer.directory_refused.clone())
        {
            findings.push(own(
                State::NeedsAttention,
                "proxy-refuses",
                "the proxy refuses the picture",
                format!("number {epoch}: {why}"),
                "It judges by the one before; install weir-proxy and weir-control of the same release.",
            ));
        }
        findings
    }

    /// Users and groups in the picture that is in force.
    fn counted(&self) -> (u64, u64) {
        self.directory().map_or((0, 0), |in_force| {
            let snapshot = &in_force.snapshot;
            (
                snapshot.users().count() as u64,
                snapshot.groups().count() as u64,
            )
        })
    }
}

/// Findings that are worth a warning: of the whole, then of the parts.
fn all(seen: &Entra) -> Vec<Finding> {
    let of_parts = seen.parts.iter().flat_map(|part| &part.findings);
    let all = seen.findings.iter().chain(of_parts);
    all.filter(|one| one.state >= State::Stale || one.reason.starts_with("credential"))
        .cloned()
        .collect()
}

fn about(one: &Finding) -> String {
    match &one.part {
        Some(part) => format!("{part}: {}", one.title),
        None => one.title.clone(),
    }
}

/// All of it on one line.
pub(super) fn sentence(one: &Finding) -> String {
    let mut text = about(one);
    if let Some(code) = &one.code {
        text = format!("{text} ({code})");
    }
    for more in [&one.words, &one.step] {
        if !more.is_empty() {
            text = format!("{}: {more}", text.trim_end_matches('.'));
        }
    }
    text
}

/// With the worst of what is to be known as its state.
fn worst(mut seen: Entra) -> Entra {
    let states = all(&seen).into_iter().map(|one| one.state);
    seen.state = states.fold(seen.state, State::max);
    seen
}

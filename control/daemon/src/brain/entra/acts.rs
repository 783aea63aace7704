//! What administrators do about the tenant.

use std::sync::{Arc, Weak};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use url::Url;
use weir_api::Actor;
use weir_api::entra::{Checked, Connected, Decided, Outcome, Proved, State, Synced};
use weir_entra::clock::System;
use weir_entra::consent::{Asked as AskedConsent, Consents};
use weir_entra::health::Finding;
use weir_entra::model::Part;
use weir_entra::store::{Digest, Held};

use super::super::{Brain, blocking};
use crate::Error;
use crate::tenant::credentials::Slot;
use crate::tenant::setup::Asked;
use crate::tenant::shown::{self, own};
use crate::tenant::{Tenant, TenantError};

/// How long whoever asks waits for a synchronisation that is about to begin.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);
/// How long whoever asks waits for parts to be read; the rounds go on.
const READ_WITHIN: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(50);
/// A digest is named by so many digits at least.
const ENOUGH: usize = 8;

impl Brain {
    /// Proves each credential by itself, and has every part read now.
    pub async fn check_entra(&self, who: Actor) -> Result<Checked, Error> {
        let asked = self.asked_tenant()?;
        let tenant = self.begun_tenant().await?;
        self.note(who, "entra check", Ok(asked.entra.tenant.to_string()));
        self.finish(move |brain| async move {
            let mut checked = Checked::default();
            let parts: Vec<Part> = asked.entra.parts.iter().copied().collect();
            for slot in Slot::ALL {
                if slot.of(&asked.entra).is_some() {
                    checked.credentials.push(prove(&asked, slot, &parts).await?);
                }
            }
            if brain.entra.noted().is_disconnected {
                checked.findings.push(own(
                    State::Disconnected,
                    "disconnected",
                    "it is disconnected",
                    "no part was read".to_owned(),
                    "`weir entra connect` begins to collect again.",
                ));
            } else if checked.credentials.iter().any(|one| one.has_token) {
                // Without a token every part would wait for one, and fail for the same reason.
                checked.parts = brain.read_parts(&tenant, None, false).await?;
            }
            let of_parts = checked.parts.iter().filter_map(|one| one.finding.as_ref());
            let of_credentials = checked.credentials.iter().flat_map(|one| &one.findings);
            let all = of_parts.chain(of_credentials).chain(&checked.findings);
            let held = checked.parts.iter().any(|one| one.outcome == Outcome::Held);
            let least = if held { State::Held } else { State::Healthy };
            checked.state = all.map(|one| one.state).fold(least, State::max);
            Ok(checked)
        })
        .await
    }

    /// Begins to collect where that was ended, and has an administrator of the tenant consent: gives a link, or takes
    /// what their browser brought back.
    pub async fn connect_entra(
        &self,
        who: Actor,
        callback: Option<String>,
    ) -> Result<Connected, Error> {
        let asked = self.asked_tenant()?;
        self.begun_tenant().await?;
        self.finish(move |brain: Arc<Self>| async move {
            let by = who.clone();
            let connected = brain.connect(&by, &asked, callback).await;
            let told = match &connected {
                Ok(done) => Ok(match (done.consented, done.begun) {
                    (true, _) => "an administrator of the tenant has consented".to_owned(),
                    (false, true) => "collection begins again".to_owned(),
                    (false, false) => "a link for consent was asked for".to_owned(),
                }),
                Err(error) => Err(error.to_string()),
            };
            brain.note(who, "entra connect", told);
            Ok(connected?)
        })
        .await
    }

    async fn connect(
        &self,
        who: &Actor,
        asked: &Asked,
        callback: Option<String>,
    ) -> Result<Connected, TenantError> {
        let _step = self.entra.step.lock().await;
        let mut done = Connected::default();
        let entra = &asked.entra;
        let consents = self
            .entra
            .consents
            .get_or_init(|| Consents::new(Arc::new(System::default())));
        let session = who.to_string();
        match (&entra.callback, callback) {
            (Some(own), Some(came)) => {
                let not_ours = || TenantError::NotCallback(came.chars().take(200).collect());
                let came = Url::parse(came.trim()).map_err(|_| not_ours())?;
                let is_ours = came.origin() == own.origin() && came.path() == own.path();
                let query = came.query().filter(|_| is_ours).ok_or_else(not_ours)?;
                let consented = consents.callback(&session, query)?;
                done.consented = true;
                if consented.names_another_tenant {
                    done.warnings.push(
                        "the answer names another tenant: the administrator may have signed in elsewhere; what counts \
                         is what `weir entra check` proves"
                            .to_owned(),
                    );
                }
            }
            (Some(callback), None) => {
                let asked = AskedConsent {
                    cloud: &entra.cloud,
                    tenant: entra.tenant,
                    client: entra.application,
                    callback,
                };
                done.link = Some(consents.link(&session, &asked)?.to_string());
            }
            (None, Some(_)) => return Err(TenantError::NoCallback),
            (None, None) => done.warnings.push(format!(
                "consent is granted in Entra's portal: App registrations, application {}, API permissions, \"Grant \
                 admin consent\"; with `callback` in [entra] there is a link for it here",
                entra.application
            )),
        }
        if self.entra.noted().is_disconnected {
            self.reopen().await?;
            self.opened_tenant()?.handle.connect().await?;
            self.entra.note(|noted| noted.is_disconnected = false);
            done.begun = true;
        } else if done.consented {
            // Whatever waits for the consent is tried at once; nobody waits for that here.
            let tenant = self.opened_tenant()?;
            tokio::spawn(async move { drop(tenant.handle.sync(None, false).await) });
        }
        Ok(done)
    }

    /// Has the synchronisation closed and opened anew, with the credential as it is now.
    pub(super) async fn reopen(&self) -> Result<(), TenantError> {
        // Whoever holds it holds its files.
        let before = self.tenant().map(|tenant| Arc::downgrade(&tenant));
        self.entra.note(|noted| noted.reopens = true);
        let until = Instant::now() + BEGINS_WITHIN;
        loop {
            let is_new = |now: Arc<Tenant>| {
                let before = before.as_ref().map(Weak::as_ptr);
                before != Some(Arc::as_ptr(&now))
            };
            if self.tenant().is_some_and(is_new) {
                return Ok(());
            }
            if until <= Instant::now() {
                return self.opened_tenant().map(drop);
            }
            sleep(LOOK).await;
        }
    }

    /// Reads a part, or all of them, now.
    pub async fn sync_entra(
        &self,
        who: Actor,
        part: Option<String>,
        full: bool,
    ) -> Result<Vec<Synced>, Error> {
        self.asked_tenant()?;
        let part = part.map(|name| part_named(&name)).transpose()?;
        let tenant = self.begun_tenant().await?;
        let what = part.map_or("all parts", Part::name);
        let how = if full { ", in full" } else { "" };
        self.note(who, "entra sync", Ok(format!("{what}{how}")));
        self.finish(move |brain| async move { Ok(brain.read_parts(&tenant, part, full).await?) })
            .await
    }

    async fn read_parts(
        &self,
        tenant: &Tenant,
        part: Option<Part>,
        full: bool,
    ) -> Result<Vec<Synced>, TenantError> {
        let read = timeout(READ_WITHIN, tenant.handle.sync(part, full)).await;
        if let Ok(read) = read {
            let mut read = read?;
            read.sort_by_key(|one| one.part);
            return Ok(read.iter().map(shown::synced).collect());
        }
        let parts = tenant.handle.status().await?.parts;
        let parts = parts
            .keys()
            .filter(|one| part.is_none_or(|part| part == **one));
        let goes_on = parts.map(|part| Synced {
            part: part.name().to_owned(),
            outcome: Outcome::Running,
            digest: None,
            finding: None,
        });
        Ok(goes_on.collect())
    }

    /// Puts in force what is held under a digest, or drops it.
    pub async fn decide_entra(
        &self,
        who: Actor,
        digest: String,
        approve: bool,
    ) -> Result<Decided, Error> {
        self.asked_tenant()?;
        let tenant = self.begun_tenant().await?;
        self.finish(move |brain: Arc<Self>| async move {
            let by = who.to_string();
            let decided = decide(&tenant, &digest, approve, &by).await;
            let action = if approve {
                "entra approve"
            } else {
                "entra discard"
            };
            let told = match &decided {
                Ok(held) => {
                    let whys: Vec<_> = held.reasons.iter().map(ToString::to_string).collect();
                    Ok(format!(
                        "{}: {} ({})",
                        held.part.name(),
                        held.digest,
                        whys.join("; ")
                    ))
                }
                Err(error) => Err(error.to_string()),
            };
            brain.note(who, action, told);
            let held = decided?;
            Ok(Decided {
                part: held.part.name().to_owned(),
                digest: held.digest.to_string(),
            })
        })
        .await
    }

    /// The tenant of the configuration.
    pub(in crate::brain) fn asked_tenant(&self) -> Result<Asked, TenantError> {
        Asked::of(self.running().candidate.config()).ok_or(TenantError::NotConfigured)
    }

    /// The tenant, once its synchronisation has begun: a reload may have just been done.
    pub(in crate::brain) async fn begun_tenant(&self) -> Result<Arc<Tenant>, TenantError> {
        let until = Instant::now() + BEGINS_WITHIN;
        loop {
            match self.opened_tenant() {
                Err(_) if Instant::now() < until && self.entra.noted().not_begun.is_none() => {
                    sleep(LOOK).await;
                }
                opened => return opened,
            }
        }
    }

    fn opened_tenant(&self) -> Result<Arc<Tenant>, TenantError> {
        self.tenant().ok_or_else(|| {
            let why = self.entra.noted().not_begun;
            TenantError::NotBegun(why.unwrap_or_else(|| "it is about to".to_owned()))
        })
    }
}

fn part_named(name: &str) -> Result<Part, TenantError> {
    let known = Part::ALL.into_iter().find(|part| part.name() == name);
    known.ok_or_else(|| TenantError::NoPart(name.chars().take(40).collect()))
}

/// A token proves little: one is handed out to an application that nobody consented to. So the tenant is asked who it
/// is, and the token what it may do.
async fn prove(asked: &Asked, slot: Slot, parts: &[Part]) -> Result<Proved, Error> {
    let mut proved = Proved {
        slot: slot.name().to_owned(),
        ..Proved::default()
    };
    let source = slot.of(&asked.entra).cloned();
    let source = source.expect("whoever calls it has looked");
    let setup = asked.clone();
    let graph = blocking(move || {
        let credential = source.load().map_err(|error| error.to_string());
        Ok(credential.and_then(|one| setup.graph(one).map_err(|error| error.to_string())))
    });
    let graph = match graph.await? {
        Ok(graph) => graph,
        Err(why) => {
            "credential".clone_into(&mut proved.kind);
            proved.findings.push(own(
                State::NeedsAttention,
                "credential-unusable",
                "the credential cannot be used",
                why,
                "Put the files of the credential right; they are looked at again by themselves.",
            ));
            return Ok(proved);
        }
    };
    let registration = graph.registration();
    proved.kind = registration.credential.kind().to_owned();
    let tried = graph.prove(parts, false).await;
    let now = OffsetDateTime::now_utc();
    let said = graph.tokens().state(registration).said;
    proved.has_token = said.is_some();
    let mut findings: Vec<Finding> = Vec::new();
    match tried {
        Ok(proof) => {
            let organisation = proof.organisation;
            let name = organisation.display_name;
            proved.tenant = Some(name.unwrap_or_else(|| organisation.id.to_string()));
        }
        Err(error) => findings.push(Finding::of_proof(&error, registration)),
    }
    if let Some(said) = said {
        findings.extend(Finding::of_claims(&said, registration, parts));
    }
    let skew = graph.tokens().skew();
    findings.extend(skew.and_then(|skew| Finding::of_skew(skew, registration)));
    findings.extend(Finding::of_expiry(registration, now));
    proved.findings = shown::findings(&findings);
    Ok(proved)
}

async fn decide(
    tenant: &Tenant,
    digest: &str,
    approve: bool,
    by: &str,
) -> Result<Held, TenantError> {
    let store = tenant.store.clone();
    let states = blocking(move || Ok(store.parts())).await;
    let states = states.map_err(|error| TenantError::NotBegun(error.to_string()))??;
    let wanted = digest.trim().to_ascii_lowercase();
    let held = states.into_values().filter_map(|state| state.held);
    let mut alike = held.filter(|held| held.digest.to_string().starts_with(&wanted));
    let not_held = || TenantError::NotHeld(digest.chars().take(64).collect());
    let held = alike.next().filter(|_| wanted.len() >= ENOUGH);
    let held = held
        .filter(|_| alike.next().is_none())
        .ok_or_else(not_held)?;
    let exact: Digest = held.digest;
    if approve {
        tenant.handle.approve(exact, by).await?;
    } else {
        tenant.handle.discard(exact, by).await?;
    }
    Ok(held)
}

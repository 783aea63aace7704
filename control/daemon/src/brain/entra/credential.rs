//! Which credential is signed in with, while the synchronisation runs.
//!
//! Another one is proved beside the one in use before it takes its place: one whose files were replaced, one that a
//! reload names, and `next_credential` when the first is refused or has expired. The one from before is kept for a day,
//! and gone back to should the new one be refused.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use weir_api::Actor;
use weir_config::CredentialSource;
use weir_entra::credential::Credential;
use weir_entra::health::{Finding, Reason};
use weir_entra::sync::Status;

use super::super::{Brain, blocking};
use super::session::{LOOK_EVERY, Session, Tried};
use crate::tenant::credentials::{self, Slot};
use crate::watch::Stamps;

/// Time until a credential that was refused is tried again.
const TRY_AGAIN: Duration = Duration::from_mins(10);
/// How long the engine may take to say how it stands.
const SAID_WITHIN: Duration = Duration::from_secs(2);

impl Brain {
    /// Takes in other files, and what came of a trial.
    pub(super) async fn follow_credential(&self, session: &mut Session) {
        if let Some(Ok(tried)) = session.trial.try_join_next() {
            self.tried(session, tried);
        }
        if !session.trial.is_empty() {
            return;
        }
        let stamps = credentials::stamps_of(&session.asked.entra);
        let is_due = session.try_again.is_some_and(|at| at <= Instant::now());
        let has_settled = session.watch.settled(stamps.clone(), &session.stamps);
        if !has_settled && !is_due && !session.is_renamed {
            return;
        }
        session.is_renamed = false;
        session.try_again = None;
        session.stamps = stamps;
        let entra = session.asked.entra.clone();
        let chosen = blocking(move || Ok(credentials::choose(&entra, OffsetDateTime::now_utc())));
        let Ok(chosen) = chosen.await else {
            return;
        };
        let slot = chosen.slot;
        if let Some(why) = &chosen.not_first {
            self.note_trouble(Slot::First, why);
        }
        let from = session.from(slot);
        if from.as_ref() == Some(&session.in_use) && !session.is_unusable() {
            // It is the one that is signed in with, whatever it was called before.
            self.entra.note(|noted| {
                noted.slot = slot;
                if chosen.not_first.is_none() {
                    noted.trouble = None;
                }
            });
        } else if let Credential::Unusable(why) = &chosen.credential {
            self.note_trouble(slot, &why.to_string());
        } else if self.entra.noted().is_disconnected || session.is_unusable() {
            // Nothing is asked of anybody who was disconnected; and there is nothing to go back to.
            self.entra.note(|noted| noted.reopens = true);
        } else {
            try_it(session, slot, chosen.credential);
        }
    }

    fn tried(&self, session: &mut Session, tried: Tried) {
        let slot = tried.slot;
        match tried.outcome {
            Ok(()) => {
                session.in_use = tried.from;
                session.former = Some(self.entra.noted().slot);
                self.entra.note(|noted| {
                    noted.slot = slot;
                    // What is wrong with the first one stays so.
                    if slot == Slot::First {
                        noted.trouble = None;
                    }
                });
                let words = format!("`{}` was proved, and is signed in with", slot.name());
                self.note(Actor::Weir, "entra credential", Ok(words));
            }
            Err(error) => {
                session.try_again = Some(Instant::now() + TRY_AGAIN);
                self.note_trouble(slot, &error.to_string());
            }
        }
    }

    fn note_trouble(&self, slot: Slot, why: &str) {
        let words = format!("`{}` is not signed in with: {why}", slot.name());
        if self.entra.noted().trouble.as_ref() != Some(&words) {
            self.note(Actor::Weir, "entra credential", Err(words.clone()));
        }
        self.entra.note(|noted| noted.trouble = Some(words));
    }

    /// Asks now and then how the synchronisation stands: a credential that is refused, or has expired, leaves its
    /// place to the other one.
    pub(super) async fn look(&self, session: &mut Session) {
        if session.look_at > Instant::now() {
            return;
        }
        session.look_at = Instant::now() + LOOK_EVERY;
        let Ok(Ok(status)) = timeout(SAID_WITHIN, session.tenant.handle.status()).await else {
            return;
        };
        session.kind = status.credential_kind;
        if let Some(former) = session.former.filter(|_| status.fell_back) {
            session.former = None;
            self.entra.note(|noted| noted.slot = former);
            let words =
                "the new credential was refused: the one from before is signed in with again";
            self.note(Actor::Weir, "entra credential", Err(words.to_owned()));
        }
        let other = self.entra.noted().slot.other();
        let is_tried = session.try_again.is_some() || !session.trial.is_empty() || status.fell_back;
        let source = other.of(&session.asked.entra).cloned();
        if let Some(source) = source.filter(|_| !is_tried && is_over(&status)) {
            let loaded = blocking(move || Ok(source.load())).await;
            match loaded {
                Ok(Ok(credential)) => try_it(session, other, credential),
                Ok(Err(error)) => {
                    session.try_again = Some(Instant::now() + TRY_AGAIN);
                    self.note_trouble(other, &error.to_string());
                }
                Err(_) => {}
            }
        }
        self.remember_seen(&session.tenant, &status).await;
    }
}

impl Session {
    /// Where a credential comes from, as it is now.
    fn from(&self, slot: Slot) -> Option<(CredentialSource, Stamps)> {
        let source = slot.of(&self.asked.entra)?;
        let stamps = credentials::stamps_of_one(source, &self.stamps);
        Some((source.clone(), stamps))
    }

    fn is_unusable(&self) -> bool {
        self.kind == "credential"
    }
}

fn try_it(session: &mut Session, slot: Slot, credential: Credential) {
    let Some(from) = session.from(slot) else {
        return;
    };
    let handle = session.tenant.handle.clone();
    session.trial.spawn(async move {
        Tried {
            slot,
            from,
            outcome: handle.credential(credential).await,
        }
    });
}

/// Whether the credential that is in use cannot be signed in with any more.
fn is_over(status: &Status) -> bool {
    let refused = |finding: &Finding| {
        matches!(
            finding.reason,
            Reason::CertificateNotRegistered
                | Reason::SecretWrong
                | Reason::SecretExpired
                | Reason::CredentialRefused
                | Reason::CredentialUnusable
        )
    };
    let now = OffsetDateTime::now_utc();
    let of_parts = status.parts.values().flat_map(|part| &part.findings);
    status.credential_ends.is_some_and(|ends| ends <= now)
        || status.findings.iter().chain(of_parts).any(refused)
}

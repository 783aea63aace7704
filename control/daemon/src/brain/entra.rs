//! The tenant on its way into force: its synchronisation runs while `[entra]` is configured. What must not wait goes
//! to the kernel plane at once, and every picture of the tenant to both planes.
//!
//! No start and no change waits for the tenant, and nothing that goes wrong there takes anything out of force: the
//! last picture stays until it is too old to be gone by. A reload is followed: another credential, and what rounds are
//! judged by, while the synchronisation runs; for everything else it is closed and opened anew.

mod acts;
mod credential;
mod kernel;
mod leave;
mod seen;
mod session;
mod trust;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::{Instant, timeout};
use weir_api::Actor;
use weir_api::entra::NamedGroup;
use weir_entra::consent::Consents;
use weir_entra::sync::Published;

use self::session::Session;
use super::{Brain, blocking};
use crate::Error;
use crate::tenant::credentials::Slot;
use crate::tenant::named;
use crate::tenant::setup::{Asked, Begun, NotBegun};
use crate::tenant::{InForce, Tenant};
use crate::watch;

/// Time until a synchronisation that did not begin is tried again, and until one is whose files are in use yet.
const AGAIN: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(500);
/// How long the engine may take to take in what rounds are judged by.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Entra {
    in_force: ArcSwapOption<InForce>,
    tenant: ArcSwapOption<Tenant>,
    noted: Mutex<Noted>,
    /// Whoever connects or disconnects holds it.
    step: tokio::sync::Mutex<()>,
    consents: OnceLock<Consents>,
}

/// What status tells, and what acts ask of the synchronisation.
#[derive(Clone, Debug, Default)]
struct Noted {
    /// Why it has not begun.
    not_begun: Option<String>,
    /// What was wrong with the store that lay there before.
    moved_aside: Option<String>,
    /// Why the newest picture is not in force.
    unusable: Option<String>,
    /// The credential that is in use.
    slot: Slot,
    /// Why another one, or the newer state of its files, is not.
    trouble: Option<String>,
    is_disconnected: bool,
    /// It is to be closed and opened anew.
    reopens: bool,
    /// What the tenant knows of the groups that the configuration names.
    named: Vec<NamedGroup>,
    /// How it was when it was last asked.
    seen: Option<weir_api::entra::Entra>,
}

impl Entra {
    fn noted(&self) -> Noted {
        self.note(|noted| noted.clone())
    }

    fn note<T>(&self, change: impl FnOnce(&mut Noted) -> T) -> T {
        // Every change leaves it whole.
        change(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Brain {
    /// The picture of the tenant that is in force; `None` when nothing is known of any.
    pub fn directory(&self) -> Option<Arc<InForce>> {
        self.entra.in_force.load_full()
    }

    /// The tenant, while its synchronisation runs.
    pub fn tenant(&self) -> Option<Arc<Tenant>> {
        self.entra.tenant.load_full()
    }

    /// Runs the synchronisation while there is a tenant.
    pub(super) async fn guard_entra(&self) {
        if Asked::of(self.running().candidate.config()).is_none() {
            // A proxy may have one yet, of an earlier weir-control.
            self.parts.link.offer_directory(None);
        }
        let mut tick = tokio::time::interval(watch::INTERVAL);
        let mut session = None;
        let mut again = Instant::now();
        loop {
            tick.tick().await;
            let asked = Asked::of(self.running().candidate.config());
            self.close_what_is_over(&mut session, asked.as_ref()).await;
            let Some(asked) = asked else { continue };
            if session.is_none() && again <= Instant::now() {
                match self.begin(asked.clone()).await {
                    Ok(begun) => session = Some(begun),
                    Err(wait) => again = Instant::now() + wait,
                }
            }
            if let Some(session) = &mut session {
                self.follow_tenant(session, asked).await;
            }
        }
    }

    async fn close_what_is_over(&self, open: &mut Option<Session>, asked: Option<&Asked>) {
        let Some(session) = open else { return };
        let ended = session.ended();
        let reopens = self.entra.note(|noted| std::mem::take(&mut noted.reopens));
        let goes_on = asked.is_some_and(|asked| session.asked.is_like(asked));
        if goes_on && ended.is_none() && !reopens {
            return;
        }
        let before = session.asked.entra.tenant;
        let session = open.take().expect("it is open");
        self.entra.tenant.store(None);
        session.close().await;
        if asked.is_none_or(|asked| asked.entra.tenant != before) {
            self.withdraw().await;
            self.entra.note(|noted| *noted = Noted::default());
            let words =
                format!("tenant {before} is not synchronised any more: what it said is unknown");
            self.note(Actor::Weir, "entra", Ok(words));
        }
        if let Some(why) = ended {
            self.note(
                Actor::Weir,
                "entra",
                Err(format!("the synchronisation ended: {why}; it begins again")),
            );
        }
    }

    /// Opens the synchronisation and has it run; else, the time until that is tried again.
    async fn begin(&self, asked: Asked) -> Result<Session, Duration> {
        let opening = asked.clone();
        let opened = blocking(move || Ok(opening.open())).await;
        let opened = opened.unwrap_or_else(|error| {
            Err(NotBegun {
                why: error.to_string(),
                is_in_use: false,
            })
        });
        let begun = match opened {
            Ok(begun) => begun,
            Err(NotBegun { why, is_in_use }) => {
                let is_new = self.entra.note(|noted| {
                    let is_new = noted.not_begun.as_ref() != Some(&why);
                    noted.not_begun = Some(why.clone());
                    is_new
                });
                // Whoever has its files yet is about to close them.
                if is_new && !is_in_use {
                    let words =
                        format!("the synchronisation with the tenant does not begin: {why}");
                    self.note(Actor::Weir, "entra", Err(words));
                }
                return Err(if is_in_use { SOON } else { AGAIN });
            }
        };
        let Some(me) = self.me.upgrade() else {
            return Err(AGAIN);
        };
        if let Some(moved) = &begun.opened.moved_aside {
            self.note(Actor::Weir, "entra", Err(moved.to_string()));
        }
        self.entra.note(|noted| {
            noted.not_begun = None;
            noted.slot = begun.slot;
            noted.trouble = begun.not_first.as_ref().map(|why| {
                let first = Slot::First.name();
                format!("`{first}` is not signed in with: {why}")
            });
            noted.is_disconnected = begun.is_disconnected;
            if let Some(moved) = &begun.opened.moved_aside {
                noted.moved_aside = Some(moved.to_string());
            }
        });
        let Begun {
            opened,
            slot,
            stamps,
            ..
        } = begun;
        let tenant = Arc::new(Tenant {
            handle: opened.handle.clone(),
            store: opened.store.clone(),
            config: asked.entra.clone(),
        });
        self.entra.tenant.store(Some(Arc::clone(&tenant)));
        Ok(Session::begin(me, asked, tenant, opened, slot, stamps))
    }

    /// Takes in what changed in the configuration, in the files that it names, and in the tenant.
    async fn follow_tenant(&self, session: &mut Session, asked: Asked) {
        if session.asked != asked {
            session.take(asked);
            self.entra.tenant.store(Some(Arc::clone(&session.tenant)));
        }
        self.follow_credential(session).await;
        self.follow_names(session).await;
        self.look(session).await;
    }

    /// Takes in which groups the configuration names, and which they are in the tenant.
    async fn follow_names(&self, session: &mut Session) {
        let Some(in_force) = self.directory() else {
            return;
        };
        let running = self.running();
        let now = (in_force.epoch, running.number);
        if session.named == Some(now) {
            return;
        }
        let (store, limits) = (session.tenant.store.clone(), session.asked.entra.limits);
        let picture = Arc::clone(&in_force);
        let is_reloaded = session
            .named
            .is_some_and(|(_, number)| number != running.number);
        let looked = blocking(move || {
            let named = named::named(running.candidate.config());
            let found = named::found(&named, &picture.snapshot);
            let guard = named::guard(limits, &named, &picture.snapshot, &store);
            Ok((found, guard))
        });
        let Ok((found, guard)) = looked.await else {
            return;
        };
        self.entra.note(|noted| noted.named = found);
        match guard {
            Ok(guard) if session.guard.as_ref() == Some(&guard) => {}
            Ok(guard) => {
                let taken = session.tenant.handle.guard(guard.clone());
                if !matches!(timeout(TAKEN_WITHIN, taken).await, Ok(Ok(()))) {
                    return;
                }
                session.guard = Some(guard);
            }
            Err(error) => {
                tracing::error!(%error, "the groups that are watched cannot be looked up");
                return;
            }
        }
        if is_reloaded {
            self.rebind(&in_force).await;
        }
        session.named = Some(now);
    }

    /// Puts a picture in force in both planes.
    async fn take_picture(&self, asked: &Asked, published: Published) {
        let (asked, max_age) = (asked.clone(), asked.entra.max_age);
        let taken = blocking(move || {
            let in_force = InForce::new(&published, max_age);
            if let Err(error) = asked.remember(published.epoch) {
                tracing::warn!(%error, "the number of the newest picture cannot be remembered");
            }
            Ok(in_force)
        });
        let in_force = match taken.await {
            Ok(Ok(in_force)) => in_force,
            Ok(Err(error)) => return self.note_unusable(error.to_string()),
            Err(error) => return self.note_unusable(error.to_string()),
        };
        self.entra.note(|noted| noted.unusable = None);
        if in_force.says_nothing() {
            return self.withdraw_for(&in_force).await;
        }
        let in_force = Arc::new(in_force);
        self.entra.in_force.store(Some(Arc::clone(&in_force)));
        self.parts
            .link
            .offer_directory(Some(Arc::new(in_force.handover())));
        self.rebind(&in_force).await;
    }

    fn note_unusable(&self, why: String) {
        let words = format!("the newest picture of the tenant is not in force: {why}");
        self.note(Actor::Weir, "entra", Err(words));
        self.entra.note(|noted| noted.unusable = Some(why));
    }

    /// Takes the picture that is in force out of both planes: what it said is unknown.
    async fn withdraw(&self) {
        let Some(in_force) = self.directory() else {
            self.parts.link.offer_directory(None);
            return;
        };
        let nothing = blocking(move || Ok(in_force.nothing()?));
        match nothing.await {
            Ok(nothing) => self.withdraw_for(&nothing).await,
            Err(error) => self.note_unusable(error.to_string()),
        }
    }

    /// The same, where there is a picture that says nothing.
    async fn withdraw_for(&self, nothing: &InForce) {
        self.entra.in_force.store(None);
        self.parts.link.offer_directory(None);
        self.rebind(nothing).await;
    }
}

impl From<crate::tenant::Unusable> for Error {
    fn from(error: crate::tenant::Unusable) -> Self {
        Self::Request(error.to_string())
    }
}

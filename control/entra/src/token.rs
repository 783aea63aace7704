//! Access tokens: one for each authority, tenant, application and resource, kept until four fifths of its life.
//!
//! However many ask at once, one request goes out and all take its answer, be it a token or not. After a failure the
//! endpoint is left alone for a while, since Entra locks out who asks the same again and again (AADSTS50196).

mod answer;
mod said;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, RequestBuilder};
use time::OffsetDateTime;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use self::answer::Issued;
pub(crate) use self::answer::code_in;
pub use self::answer::{By, Refusal};
pub use self::said::Said;
use crate::clock::Clock;
use crate::credential::{Credential, CredentialError, Registration};
use crate::model::Id;
use crate::network::{self, Network, NetworkError, SetupError};
use crate::retry::{back_off, date};

/// Longest answer of a token endpoint, in bytes.
const LONGEST: usize = 256 << 10;
/// How often one request is tried.
const TRIES: u32 = 4;
/// Longest wait between two tries, whatever is asked for: what takes longer is for the next round.
const PATIENCE: Duration = Duration::from_mins(1);
/// A token that Graph refuses is replaced so often, unless Graph took one in between.
const REPLACE_EVERY: Duration = Duration::from_mins(5);

/// The tokens of all registrations.
pub struct Tokens {
    https: Client,
    plain: Client,
    clock: Arc<dyn Clock>,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    skew: Skew,
}

/// An access token.
pub struct Token {
    value: Zeroizing<String>,
    said: Option<Said>,
    issued: Duration,
    renew: Duration,
    expires: Duration,
    taken: AtomicBool,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No answer.
    #[error("the token endpoint {0}")]
    Network(#[from] NetworkError),
    /// The credential cannot be used.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// It refuses.
    #[error("no token: {}", .0.words)]
    Refused(Box<Refusal>),
    /// An answer that is not Entra's.
    #[error("the token endpoint answers with status {status}, and not as Entra does")]
    Status {
        /// Which.
        status: u16,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// It cannot be used.
    #[error("the answer of the token endpoint cannot be used: {0}")]
    Malformed(String),
}

/// How things stand with the token of a registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenState {
    /// How long the present one can still be used.
    pub good_for: Option<Duration>,
    /// What the present one says of itself.
    pub said: Option<Said>,
    /// The last failure, when nothing came after it.
    pub failed: Option<TokenError>,
    /// Since when there are only failures.
    pub failing_since: Option<OffsetDateTime>,
    /// How many there were.
    pub failures: u32,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    authority: String,
    tenant: Id,
    client: Id,
    resource: String,
    /// Two credentials of an application stand side by side while one takes over from the other.
    credential: String,
}

#[derive(Default)]
struct Slot {
    flight: tokio::sync::Mutex<()>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<Arc<Token>>,
    /// How many requests have ended.
    ended: u64,
    /// How often all was forgotten.
    forgotten: u64,
    failed: Option<Failed>,
    replaced: Option<Duration>,
}

struct Failed {
    error: TokenError,
    since: OffsetDateTime,
    count: u32,
    again: Duration,
}

/// How far the clock here is behind that of Microsoft's servers, in milliseconds.
struct Skew(AtomicI64);

impl TokenError {
    /// Whether the same request may be answered a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network(error) => error.is_transient(),
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Status { status, .. } => matches!(status, 404 | 408 | 410 | 429 | 500..),
            Self::Malformed(_) => true,
            Self::Credential(_) => false,
        }
    }

    /// How long the endpoint asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Status { retry_after, .. } => *retry_after,
            Self::Network(_) | Self::Credential(_) | Self::Malformed(_) => None,
        }
    }
}

impl Tokens {
    /// None yet.
    pub fn new(network: &Network, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        Ok(Self {
            https: network.https()?,
            plain: network.plain()?,
            clock,
            slots: Mutex::default(),
            skew: Skew(AtomicI64::new(i64::MIN)),
        })
    }

    /// The token for Graph: a kept one, or a new one.
    pub async fn get(&self, registration: &Registration) -> Result<Arc<Token>, TokenError> {
        let slot = self.slot(registration);
        let before = {
            let held = slot.held();
            if let Some(token) = held.fresh(self.clock.elapsed()) {
                return Ok(token);
            }
            held.ended
        };
        let flight = slot.flight.lock().await;
        let forgotten = {
            let held = slot.held();
            let now = self.clock.elapsed();
            if let Some(token) = held.fresh(now) {
                return Ok(token);
            }
            if let Some(failed) = &held.failed {
                // Somebody asked in the meantime, or only just now.
                if held.ended != before || now < failed.again {
                    return held.usable(now).ok_or_else(|| failed.error.clone());
                }
            }
            held.forgotten
        };
        let outcome = self.request(registration).await;
        let mut held = slot.held();
        held.ended += 1;
        let now = self.clock.elapsed();
        let outcome = match outcome {
            Ok(issued) => {
                let token = Arc::new(Token::new(issued, now, self.clock.chance()));
                // One that was asked for before that is as old as what was forgotten.
                if held.forgotten == forgotten {
                    held.failed = None;
                    held.token = Some(Arc::clone(&token));
                }
                Ok(token)
            }
            Err(error) if held.forgotten != forgotten => Err(error),
            Err(error) => {
                held.fail(error.clone(), now, self.clock.now());
                // The old one is good for a fifth of its life yet.
                held.usable(now).ok_or(error)
            }
        };
        drop(flight);
        outcome
    }

    /// Graph refused a token. Whether another is worth a try: not when that was a new one already, which Graph has
    /// never taken; then the fault is elsewhere.
    pub fn reject(&self, registration: &Registration, token: &Arc<Token>) -> bool {
        let slot = self.slot(registration);
        let mut held = slot.held();
        let now = self.clock.elapsed();
        match &held.token {
            // Somebody else had it replaced.
            None => return true,
            Some(present) if !Arc::ptr_eq(present, token) => return true,
            Some(_) => (),
        }
        let recently = held.replaced.is_some_and(|at| now < at + REPLACE_EVERY);
        if recently && !token.taken.load(Ordering::Relaxed) {
            return false;
        }
        held.token = None;
        held.replaced = Some(now);
        true
    }

    /// Forgets the token and the failures of a registration, as after a consent: an old token keeps its old
    /// permissions.
    pub fn forget(&self, registration: &Registration) {
        let slot = self.slot(registration);
        let mut held = slot.held();
        *held = Held {
            ended: held.ended,
            forgotten: held.forgotten + 1,
            ..Held::default()
        };
    }

    /// How things stand, without asking anybody.
    pub fn state(&self, registration: &Registration) -> TokenState {
        let slot = self.slot(registration);
        let held = slot.held();
        let now = self.clock.elapsed();
        let token = held.usable(now);
        let failed = held.failed.as_ref();
        TokenState {
            good_for: token
                .as_ref()
                .map(|token| token.expires.saturating_sub(now)),
            said: token.and_then(|token| token.said.clone()),
            failed: failed.map(|failed| failed.error.clone()),
            failing_since: failed.map(|failed| failed.since),
            failures: failed.map_or(0, |failed| failed.count),
        }
    }

    /// How far the clock here is behind Microsoft's, by the last answer; negative when it is ahead. Nothing before
    /// the first answer.
    pub fn skew(&self) -> Option<time::Duration> {
        let skew = self.skew.0.load(Ordering::Relaxed);
        (skew != i64::MIN).then(|| time::Duration::milliseconds(skew))
    }

    /// Takes the time from an answer of Microsoft's.
    pub(crate) fn note_date(&self, headers: &HeaderMap) {
        if let Some(date) = date(headers) {
            let skew = (date - self.clock.now()).whole_milliseconds();
            let skew = i64::try_from(skew).unwrap_or(i64::MAX);
            self.skew.0.store(skew, Ordering::Relaxed);
        }
    }

    fn slot(&self, registration: &Registration) -> Arc<Slot> {
        let key = Key {
            authority: registration.cloud.login(),
            tenant: registration.tenant,
            client: registration.client,
            resource: registration.cloud.graph(),
            credential: registration.credential.fingerprint(),
        };
        let mut slots = self.slots.lock().expect("nobody panics while holding it");
        Arc::clone(slots.entry(key).or_default())
    }

    async fn request(&self, registration: &Registration) -> Result<Issued, TokenError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.once(registration).await {
                Ok(issued) => return Ok(issued),
                Err(error) => error,
            };
            let wait = error.retry_after();
            let wait = wait.unwrap_or_else(|| back_off(tries, self.clock.chance()));
            if !error.is_transient() || tries == TRIES || wait > PATIENCE {
                return Err(error);
            }
            self.clock.sleep(wait).await;
        }
    }

    async fn once(&self, registration: &Registration) -> Result<Issued, TokenError> {
        let Registration {
            cloud,
            tenant,
            client,
            credential,
        } = registration;
        let address = cloud.token_url(*tenant);
        match credential {
            Credential::Unusable(error) => Err(error.clone().into()),
            Credential::ManagedIdentity(identity) => {
                let url = identity.token_url(&cloud.graph());
                let request = self.plain.get(url).header("Metadata", "true");
                self.ask(request, By::Machine, &[]).await
            }
            Credential::Secret(secret) => {
                let proof = [("client_secret", secret.value())];
                let request = self.form(&address, *client, &cloud.scope(), &proof);
                self.ask(request, By::Entra, &[secret.value()]).await
            }
            Credential::Certificate(certificate) => {
                let now = self.clock.now();
                let assertion = certificate.assertion(*client, &address, now)?;
                let proof = [
                    (
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    ),
                    ("client_assertion", &*assertion),
                ];
                let request = self.form(&address, *client, &cloud.scope(), &proof);
                self.ask(request, By::Entra, &[&assertion]).await
            }
        }
    }

    /// Client credentials (RFC 6749, 4.4).
    fn form(
        &self,
        address: &str,
        client: Id,
        scope: &str,
        proof: &[(&str, &str)],
    ) -> RequestBuilder {
        let room = proof
            .iter()
            .map(|(_, value)| 3 * value.len())
            .sum::<usize>();
        let form = String::with_capacity(room + 1024);
        let form = Serializer::new(form)
            .append_pair("client_id", &client.to_string())
            .append_pair("scope", scope)
            .append_pair("grant_type", "client_credentials")
            .extend_pairs(proof)
            .finish();
        self.https
            .post(address)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("client-request-id", Id::new_v4().to_string())
            // Wiped when it is sent.
            .body(Bytes::from_owner(Zeroizing::new(form.into_bytes())))
    }

    async fn ask(
        &self,
        request: RequestBuilder,
        by: By,
        sent: &[&str],
    ) -> Result<Issued, TokenError> {
        let request = request.header(ACCEPT, "application/json");
        let answer = network::ask(request, LONGEST).await?;
        if by == By::Entra {
            self.note_date(&answer.headers);
        }
        answer::read(answer, by, sent, self.clock.now())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Slot {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nobody panics while holding it")
    }
}

impl Held {
    /// One that need not be renewed.
    fn fresh(&self, now: Duration) -> Option<Arc<Token>> {
        self.token.clone().filter(|token| now < token.renew)
    }

    fn usable(&self, now: Duration) -> Option<Arc<Token>> {
        self.token.clone().filter(|token| now < token.expires)
    }

    fn fail(&mut self, error: TokenError, now: Duration, at: OffsetDateTime) {
        let (since, count) = match &self.failed {
            Some(failed) => (failed.since, failed.count.saturating_add(1)),
            None => (at, 1),
        };
        let wait = error.retry_after().unwrap_or_default();
        let wait = wait.max(back_off(count, 1.0));
        self.failed = Some(Failed {
            error,
            since,
            count,
            again: now + wait,
        });
    }
}

impl Token {
    fn new(issued: Issued, now: Duration, chance: f64) -> Self {
        let Issued { value, life } = issued;
        // Not used to its last moment: the way to Graph takes time too.
        let margin = (life / 10).min(Duration::from_secs(30));
        Self {
            said: Said::of(&value),
            value,
            issued: now,
            renew: now + life.mul_f64(0.8 + 0.05 * chance),
            expires: now + life.saturating_sub(margin),
            taken: AtomicBool::new(false),
        }
    }

    /// What the token says of itself; unverified, to be shown.
    pub fn said(&self) -> Option<&Said> {
        self.said.as_ref()
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Graph took it.
    pub(crate) fn was_taken(&self) {
        self.taken.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("issued", &self.issued)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

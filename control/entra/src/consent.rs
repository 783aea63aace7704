//! Admin consent: the link that an administrator follows, and what comes back by it.
//!
//! Anybody can call the callback with anything. So its `state` must be one that was handed out to the same operator's
//! session, within ten minutes, and it is good once. Even then it proves nothing but that somebody pressed a button:
//! the `tenant` in it is never believed. What happened is proved by [`crate::graph::Graph::prove`], with a token and the
//! tenant's own word.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use url::form_urlencoded;

use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::model::Id;
use crate::token::code_in;
use crate::words;

/// How long a link is good.
pub const GOOD_FOR: Duration = Duration::from_mins(10);
/// Links that are waited for at a time.
const MOST: usize = 64;
/// Longest query of a callback, in bytes.
const LONGEST: usize = 8 << 10;

/// The links that were handed out.
pub struct Consents {
    clock: Arc<dyn Clock>,
    /// By the hash of the session: one for each.
    waiting: Mutex<HashMap<Hash, Waiting>>,
}

type Hash = [u8; 32];

struct Waiting {
    state: Hash,
    tenant: Id,
    until: Duration,
}

/// What the administrator is sent to, to consent.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Where.
    pub cloud: &'a Cloud,
    /// For which tenant.
    pub tenant: Id,
    /// To which application.
    pub client: Id,
    /// Where the answer is to come to: registered with the application, to the letter.
    pub callback: &'a Url,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consented {
    /// The answer names another tenant. Nobody vouches for that, but it may explain why the proof fails.
    pub names_another_tenant: bool,
}

/// Why a callback is refused, or what it refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// Too much at once.
    #[error("{MOST} consents are waited for already; wait for ten minutes, or finish one of them")]
    TooMany,
    /// No randomness.
    #[error("this machine gives no random numbers; a link cannot be made")]
    Random,
    /// Not one of ours, or not for this session, or used already.
    #[error(
        "this answer belongs to no consent that this session has asked for; ask for a new link"
    )]
    Unknown,
    /// It took too long.
    #[error("the link was good for ten minutes; ask for a new one")]
    Late,
    /// It cannot be read.
    #[error("the answer cannot be used: {0}; ask for a new link")]
    Malformed(&'static str),
    /// Entra says no.
    #[error("consent was not given: {error}: {words}")]
    Refused {
        /// `error`
        error: String,
        /// The AADSTS code.
        code: Option<u32>,
        /// What it says to people.
        words: String,
    },
}

impl Consents {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            waiting: Mutex::default(),
        }
    }

    /// The link for an operator's session. One that the session was given before is good no more.
    pub fn link(&self, session: &str, asked: &Asked<'_>) -> Result<Url, ConsentError> {
        let mut random = [0; 32];
        rand::fill(&mut random).map_err(|_| ConsentError::Random)?;
        let state = URL_SAFE_NO_PAD.encode(random);
        let now = self.clock.elapsed();
        let mut waiting = self.waiting.lock().expect("nobody panics while holding it");
        waiting.retain(|_, waiting| now < waiting.until);
        let session = hash(session);
        if waiting.len() >= MOST && !waiting.contains_key(&session) {
            return Err(ConsentError::TooMany);
        }
        let tenant = asked.tenant;
        let until = now + GOOD_FOR;
        let state_hash = hash(&state);
        waiting.insert(
            session,
            Waiting {
                state: state_hash,
                tenant,
                until,
            },
        );
        let url = format!("{}/{tenant}/v2.0/adminconsent", asked.cloud.login());
        let mut url = Url::parse(&url).expect("an origin and a path of plain letters");
        url.query_pairs_mut()
            .append_pair("client_id", &asked.client.to_string())
            .append_pair("scope", &asked.cloud.scope())
            .append_pair("redirect_uri", asked.callback.as_str())
            .append_pair("state", &state);
        Ok(url)
    }

    /// What came back to an operator's session: the query of the callback, as it is.
    pub fn callback(&self, session: &str, query: &str) -> Result<Consented, ConsentError> {
        if query.len() > LONGEST {
            return Err(ConsentError::Malformed("it is too long"));
        }
        let said = Said::read(query)?;
        let tenant = self.redeem(session, said.state.as_deref().unwrap_or_default())?;
        if let Some(error) = said.error {
            let description = said.description.unwrap_or_default();
            return Err(ConsentError::Refused {
                error: words::name(&error),
                code: code_in(&description),
                words: words::fit(&description, &[]),
            });
        }
        if !said
            .consent
            .is_some_and(|consent| consent.eq_ignore_ascii_case("true"))
        {
            return Err(ConsentError::Malformed("it says neither yes nor no"));
        }
        let named = said.tenant.and_then(|named| Id::try_parse(&named).ok());
        Ok(Consented {
            names_another_tenant: named.is_some_and(|named| named != tenant),
        })
    }

    /// Takes a state that is this session's; a wrong one takes nothing away.
    fn redeem(&self, session: &str, state: &str) -> Result<Id, ConsentError> {
        let mut waiting = self.waiting.lock().expect("nobody panics while holding it");
        let Entry::Occupied(entry) = waiting.entry(hash(session)) else {
            return Err(ConsentError::Unknown);
        };
        verify_slices_are_equal(&entry.get().state, &hash(state))
            .map_err(|_| ConsentError::Unknown)?;
        let Waiting { tenant, until, .. } = entry.remove();
        if self.clock.elapsed() >= until {
            return Err(ConsentError::Late);
        }
        Ok(tenant)
    }
}

impl fmt::Debug for Consents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consents").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Said {
    state: Option<String>,
    consent: Option<String>,
    tenant: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl Said {
    fn read(query: &str) -> Result<Self, ConsentError> {
        let mut said = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match &*name {
                "state" => &mut said.state,
                "admin_consent" => &mut said.consent,
                "tenant" => &mut said.tenant,
                "error" => &mut said.error,
                "error_description" => &mut said.description,
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(ConsentError::Malformed("it says the same thing twice"));
            }
        }
        Ok(said)
    }
}

fn hash(text: &str) -> Hash {
    let hash = digest(&SHA256, text.as_bytes());
    let bytes = hash.as_ref().try_into();
    bytes.expect("SHA-256 has 32 bytes")
}

//! By whose keys tokens are verified: what is known of each service, on the disk and from what it publishes.
//!
//! In: the documents that a service publishes its keys in ([`fetch`]), and what administrators approve. Out:
//! the keys that are in force, which every generation carries to the proxy. The decision what becomes of
//! other keys is [`weir_claims::rollover`]; here it is remembered. Keys are on the disk before they are in
//! force, and those that were the last good ones stay in force whatever cannot be read.

pub(crate) mod fetch;
mod saved;
pub(crate) mod schedule;
mod shown;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;
use weir_claims::rollover::{self, Change, NotNamed, Published, Rollover};
use weir_claims::{Certificate, Fingerprint, KeyError, Keys, Trust};

use crate::watch::{Stamps, Watch};
use fetch::Asked;
use saved::Held;
pub(crate) use saved::Saved;
use schedule::Schedule;

/// Why keys are not put in force.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The service has no `[service.tokens]`.
    #[error("tokens of service `{0}` are not looked at")]
    NoTokens(String),
    /// Nothing waits for an approval.
    #[error("no keys of service `{0}` are held")]
    NotHeld(String),
    /// Not a fingerprint.
    #[error("`{0}` is no fingerprint")]
    NoFingerprint(String),
    /// A fingerprint that nothing of what is held has.
    #[error("no key of service `{service}` that is held has the fingerprint {fingerprint}")]
    Other {
        /// The service.
        service: String,
        /// The fingerprint.
        fingerprint: Fingerprint,
    },
    /// The approval leaves out a key.
    #[error(transparent)]
    NotNamed(#[from] NotNamed),
    /// Keys that could not be used to verify anything.
    #[error("the keys cannot be used: {0}")]
    Unusable(#[from] KeyError),
    /// The keys that were known cannot be read.
    #[error("cannot use {}: {why}; it says which keys were approved, so it is not passed over", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// The keys cannot be written down.
    #[error("cannot write {}: {source}", file.display())]
    NotWritten {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing could be read where they are published.
    #[error("{0}")]
    NotRead(String),
}

impl KeysError {
    /// The status of an answer that says so.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoTokens(_) | Self::NotHeld(_) => StatusCode::NOT_FOUND,
            Self::NoFingerprint(_) | Self::Other { .. } | Self::NotNamed(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::NotRead(_) | Self::Unusable(_) => StatusCode::BAD_GATEWAY,
            Self::Broken { .. } | Self::NotWritten { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do about it, where the message does not say.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::NoTokens(_) => {
                "write `[service.tokens]` below the service and run `weir reload`".to_owned()
            }
            Self::NotHeld(_) | Self::Other { .. } | Self::NotNamed(_) => {
                "`weir keys` shows which keys are held".to_owned()
            }
            Self::NoFingerprint(_) => {
                "write SHA-256 of the certificate, 64 hexadecimal digits, as `weir keys --json` shows it"
                    .to_owned()
            }
            Self::Broken { .. } => "put a copy back; or remove the file and run `weir reload`: then what \
                                    the service publishes is trusted anew"
                .to_owned(),
            Self::Unusable(_) | Self::NotWritten { .. } | Self::NotRead(_) => {
                "the keys that are known stay in force; `weir keys` shows where they come from".to_owned()
            }
        }
    }
}

/// What is known of the keys of one service.
#[derive(Debug)]
pub(crate) struct Book {
    file: PathBuf,
    saved: Saved,
    /// Why the file cannot be used.
    broken: Option<String>,
    failing: Option<Failing>,
    /// What the last documents left out.
    left_out: Vec<String>,
    asked: Arc<Asked>,
    pub(crate) schedule: Schedule,
    watch: Watch,
    stamps: Stamps,
}

/// Keys that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failing {
    /// Since when.
    since: String,
    why: String,
}

impl Book {
    /// What the disk holds of a service; a file that is not there is that of a new one. Blocks.
    pub(crate) fn open(state: &Path, service: &str, asked: Arc<Asked>, now: Instant) -> Self {
        let file = state.join("keys").join(format!("{service}.json"));
        let (saved, broken) = match Saved::read(&file) {
            Ok(saved) => (saved, None),
            Err(why) => (Saved::default(), Some(why)),
        };
        Self {
            file,
            saved,
            broken,
            failing: None,
            left_out: Vec::new(),
            asked,
            schedule: Schedule::new(now),
            watch: Watch::default(),
            stamps: Stamps::new(),
        }
    }

    /// The keys in force; none before the first were read.
    pub(crate) fn in_force(&self) -> &Keys {
        &self.saved.in_force
    }

    /// Where the disk holds them.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// What it is on the disk.
    pub(crate) fn saved(&self) -> Result<&Saved, KeysError> {
        match &self.broken {
            None => Ok(&self.saved),
            Some(why) => Err(KeysError::Broken {
                file: self.file.clone(),
                why: why.clone(),
            }),
        }
    }

    /// Takes what was written to the disk for what holds.
    pub(crate) fn hold(&mut self, saved: Saved) {
        self.saved = saved;
    }

    /// What is asked for the keys.
    pub(crate) fn asked(&self) -> &Arc<Asked> {
        &self.asked
    }

    /// From now on something else is asked, at once.
    pub(crate) fn ask(&mut self, asked: Arc<Asked>, now: Instant) {
        if self.asked != asked {
            self.asked = asked;
            self.schedule = Schedule::new(now);
        }
    }

    /// Whether a file that keys are read from was changed.
    pub(crate) fn file_changed(&mut self, stamps: Stamps) -> bool {
        self.watch.settled(stamps, &self.stamps)
    }

    /// A reading begins, with its files in this state.
    pub(crate) fn begin(&mut self, stamps: Stamps, now: Instant) {
        self.stamps = stamps;
        self.schedule.begin(now);
    }

    /// A reading has ended. Gives what a person should hear, if that is new.
    pub(crate) fn end(
        &mut self,
        left_out: Vec<String>,
        failed: Option<String>,
        time: &str,
        now: Instant,
    ) -> Option<Result<String, String>> {
        let known = !self.in_force().is_empty();
        self.schedule.end(failed.is_none(), known, now);
        self.left_out = left_out;
        let before = self.failing.take();
        let Some(why) = failed else {
            return before.map(|before| Ok(format!("can be read again; {} is over", before.why)));
        };
        let told = before.as_ref().is_some_and(|before| before.why == why);
        self.failing = Some(Failing {
            since: before.map_or_else(|| time.to_owned(), |before| before.since),
            why: why.clone(),
        });
        (!told).then_some(Err(why))
    }
}

impl Saved {
    /// What is known when a service publishes these keys, and what was decided of them; `vouched` are the
    /// certificates that the tenant has for it.
    pub(crate) fn taking(
        &self,
        published: Keys,
        vouched: &[Certificate],
        time: &str,
    ) -> Result<(Self, Rollover), KeyError> {
        Trust::new(&published)?;
        let decided = rollover::decide(&self.in_force, &published, vouched);
        let mut next = Self {
            held: None,
            fetched: Some(time.to_owned()),
            ..self.clone()
        };
        match &decided {
            Rollover::Same => {}
            Rollover::First(_) | Rollover::Rolled(_) => next.in_force = published,
            Rollover::Held(_) => {
                let before = self.held.as_ref().filter(|held| held.keys == published);
                let since = before.map_or_else(|| time.to_owned(), |held| held.since.clone());
                next.held = Some(Held {
                    keys: published,
                    since,
                });
            }
        }
        Ok((next, decided))
    }

    /// Whether these keys would be held if the tenant did not vouch for them.
    pub(crate) fn would_hold(&self, published: &Keys) -> bool {
        let decided = rollover::decide(&self.in_force, published, &[]);
        matches!(decided, Rollover::Held(_))
    }

    /// What is known when somebody approves keys that are held.
    pub(crate) fn approving(
        &self,
        service: &str,
        named: &BTreeSet<Fingerprint>,
    ) -> Result<(Self, Change), KeysError> {
        let (held, change) = self
            .change()
            .ok_or_else(|| KeysError::NotHeld(service.to_owned()))?;
        let one_of = |named: &&Fingerprint| {
            let mut all = change.new.iter().chain(&change.gone).chain(&change.stays);
            all.any(|one| one.fingerprint() == **named)
        };
        if let Some(other) = named.iter().find(|named| !one_of(named)) {
            return Err(KeysError::Other {
                service: service.to_owned(),
                fingerprint: *other,
            });
        }
        change.approve(named)?;
        let next = Self {
            in_force: held.keys.clone(),
            held: None,
            fetched: self.fetched.clone(),
        };
        Ok((next, change))
    }

    /// Whether the same keys were held already.
    pub(crate) fn is_held_since(&self, before: &Self) -> bool {
        self.held.is_some() && self.held == before.held
    }

    /// What an approval would put in force, and how it differs.
    fn change(&self) -> Option<(&Held, Change)> {
        let held = self.held.as_ref()?;
        match rollover::decide(&self.in_force, &held.keys, &[]) {
            Rollover::Same => None,
            Rollover::First(change) | Rollover::Rolled(change) | Rollover::Held(change) => {
                Some((held, change))
            }
        }
    }
}

/// How keys differ, in one line.
pub(crate) fn line(change: &Change) -> String {
    let told = change.to_string();
    let lines: Vec<_> = told.lines().map(str::trim).collect();
    lines.join("; ")
}

/// The fingerprints that an approval names.
pub(crate) fn fingerprints(texts: &[String]) -> Result<BTreeSet<Fingerprint>, KeysError> {
    let read = |text: &String| text.trim().parse::<Fingerprint>();
    let texts = texts.iter();
    texts
        .map(|text| {
            read(text).map_err(|_| KeysError::NoFingerprint(text.chars().take(100).collect()))
        })
        .collect()
}

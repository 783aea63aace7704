//! Lists that are fetched: what is known of each, on the disk and from where it comes.
//!
//! In: where a list comes from, as the configuration says, and what is there. Out: the text to be put in force,
//! in the file that generations read it from; the watch of list files does the rest. What may be put in force
//! without a person is decided by [`weir_feeds::guard`]; here it is remembered: the text first, then what is known
//! of it, in a file beside.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use uuid::Uuid;
use weir_api::{HeldList, RemoteList};
use weir_config::{Config, Outbound, Remote};
use weir_feeds::{Feed, Fetched, Fetcher, Held, Source, Unreadable, Web};
use weir_https::{Client, Roots, Setup, Why};

use crate::brain::blocking;
use crate::keys::schedule::about;
use crate::{sockets, store};

/// How long a whole document may take.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// Most bytes of a document that says little.
const SHORT: usize = 1 << 20;
/// Bytes that a prefix may take in a document, with what is said of it.
const OF_A_PREFIX: usize = 128;
/// Longest file of authorities.
const LONGEST_CA: u64 = 1 << 20;
/// Time until one that failed is asked for again.
const AGAIN: Duration = Duration::from_mins(5);
/// The same while nothing of it was ever fetched.
const AGAIN_WHEN_EMPTY: Duration = Duration::from_secs(30);
/// Characters of a digest that are enough to tell what is meant.
const ENOUGH: usize = 8;

/// Why a list is not fetched, or not put in force.
#[derive(Debug, thiserror::Error)]
pub enum FeedsError {
    /// Its entries do not come from elsewhere.
    #[error("list `{0}` is not fetched: its entries stand on this machine")]
    Local(String),
    /// Nothing waits for an approval.
    #[error("nothing of list `{0}` is held")]
    NotHeld(String),
    /// Something else waits.
    #[error("what is held of list `{list}` is not {digest}")]
    Other {
        /// The list.
        list: String,
        /// What was asked for.
        digest: String,
    },
    /// It did not come, or cannot be used.
    #[error("list `{list}` cannot be fetched: {why}")]
    NotFetched {
        /// The list.
        list: String,
        /// Why.
        why: String,
    },
    /// It cannot be written down.
    #[error("cannot write {}: {source}", file.display())]
    NotWritten {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FeedsError {
    /// The status of an answer that says so.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Local(_) => StatusCode::CONFLICT,
            Self::NotHeld(_) => StatusCode::NOT_FOUND,
            Self::Other { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFetched { .. } => StatusCode::BAD_GATEWAY,
            Self::NotWritten { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Local(_) => "`weir lists` shows where the entries of each list come from",
            Self::NotHeld(_) => "`weir lists` shows what is held",
            Self::Other { .. } => {
                "`weir lists` shows what is held; write its digest, or the first eight characters of it"
            }
            Self::NotFetched { .. } => {
                "what is in force stays; `weir lists` shows where the list comes from, and since when it fails"
            }
            Self::NotWritten { .. } => {
                "what is in force stays; see that the disk has room and that weir-control may use it"
            }
        }
        .to_owned()
    }
}

/// What is asked for a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) remote: Remote,
    outbound: Outbound,
}

impl Asked {
    /// The lists of a configuration that are fetched.
    pub(crate) fn all(config: &Config) -> BTreeMap<String, Self> {
        let lists = config.lists.iter();
        let asked = lists.filter_map(|list| {
            let asked = Self {
                remote: list.contents.remote()?.clone(),
                outbound: config.outbound.clone(),
            };
            Some((list.name.clone(), asked))
        });
        asked.collect()
    }

    /// The list, unless it is still the one with this mark.
    pub(crate) async fn fetch(
        &self,
        from: &Web,
        machine: Uuid,
        mark: Option<&str>,
    ) -> Result<Fetched, Unreadable> {
        let asked = self.clone();
        let client = blocking(move || Ok(asked.client())).await;
        let client = client
            .map_err(|error| Unreadable::Wrong(error.to_string()))?
            .map_err(|why| Unreadable::Away(from.to_string(), why))?;
        let fetcher = Fetcher { client, machine };
        fetcher.fetch(from, mark).await
    }

    /// Blocks.
    fn client(&self) -> Result<Client, Why> {
        let ca = self.remote.ca.as_ref().or(self.outbound.ca.as_ref());
        let roots = match ca {
            None => Roots::of_system()?,
            Some(ca) => {
                let pem = weir_config::read_file(ca, LONGEST_CA);
                let pem = pem.and_then(|pem| String::from_utf8(pem).map_err(io::Error::other));
                let pem =
                    pem.map_err(|why| Why::Authorities(format!("{}: {why}", ca.display())))?;
                Roots::given(&pem)?
            }
        };
        Client::new(&Setup {
            roots,
            pinned: None,
            proxy: self.outbound.proxy.as_deref(),
            within: READ_WITHIN,
            longest: SHORT.max(self.remote.limits.prefixes.saturating_mul(OF_A_PREFIX)),
        })
    }
}

/// What is known of a list that is fetched.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) asked: Arc<Asked>,
    pub(crate) feed: Feed,
    /// Whoever asks for it holds it.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    next: Instant,
}

impl Subscription {
    /// With the entries that are in force, and what stands on the disk about them. Blocks.
    pub(crate) fn open(asked: Asked, in_force: &str, now: Instant) -> Self {
        let about = fs::read(about_file(&asked.remote.kept)).ok();
        let text = (!in_force.is_empty()).then_some(in_force);
        let mut feed = Feed::open(text, about.as_deref());
        feed.comes_from(&asked.remote.source, &asked.remote.limits);
        Self {
            asked: Arc::new(asked),
            feed,
            turn: Arc::default(),
            next: now,
        }
    }

    /// Takes in what the configuration says now; where that is new, it is asked for at once.
    pub(crate) fn ask(&mut self, asked: &Asked, now: Instant) {
        if *self.asked != *asked {
            self.feed
                .comes_from(&asked.remote.source, &asked.remote.limits);
            self.asked = Arc::new(asked.clone());
            self.next = now;
        }
    }

    /// The tenant's named locations were read: a list that is one of them is to be asked for now.
    pub(crate) fn located(&mut self, now: Instant) {
        if let Source::NamedLocation { .. } = self.asked.remote.source {
            self.next = now;
        }
    }

    /// Whether it is to be asked for now. If so, one begins; should that never end, another is due some time.
    pub(crate) fn begin_when_due(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        if due {
            self.next = now + AGAIN;
        }
        due
    }

    /// It was asked for.
    pub(crate) fn end(&mut self, done: bool, now: Instant) {
        let wait = match (done, self.feed.in_force()) {
            (true, _) => self.asked.remote.every,
            (false, Some(_)) => AGAIN,
            (false, None) => AGAIN_WHEN_EMPTY,
        };
        self.next = now + about(wait);
    }

    /// The digest of what is held, when it begins with this.
    pub(crate) fn held(&self, list: &str, digest: &str) -> Result<String, FeedsError> {
        let held = self.feed.held();
        let held = held.ok_or_else(|| FeedsError::NotHeld(list.to_owned()))?;
        let wanted = digest.to_ascii_lowercase();
        if wanted.len() < ENOUGH || !held.digest.starts_with(&wanted) {
            return Err(FeedsError::Other {
                list: list.to_owned(),
                digest: digest.chars().take(100).collect(),
            });
        }
        Ok(held.digest.clone())
    }

    /// As people read it.
    pub(crate) fn shown(&self, now: OffsetDateTime) -> RemoteList {
        let feed = &self.feed;
        let checked = feed.checked();
        let parsed = checked.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok());
        let seconds = parsed.map(|time| (now - time).whole_seconds());
        RemoteList {
            checked: checked.map(str::to_owned),
            checked_seconds: seconds.map(|seconds| u64::try_from(seconds).unwrap_or(0)),
            failing_since: feed.failing().map(|failing| failing.since.clone()),
            error: feed.failing().map(|failing| failing.why.clone()),
            held: feed.held().map(|held| HeldList {
                digest: held.digest.clone(),
                since: held.since.clone(),
                whys: held.whys.iter().map(ToString::to_string).collect(),
                added: held.added,
                removed: held.removed,
                some_added: held.some.added.clone(),
                some_removed: held.some.removed.clone(),
            }),
        }
    }

    /// What a person should look at, for status.
    pub(crate) fn warnings(&self, list: &str) -> Vec<String> {
        let feed = &self.feed;
        let failing = feed.failing().map(|failing| {
            let (since, why) = (&failing.since, &failing.why);
            match feed.checked() {
                _ if feed.in_force().is_none() => format!(
                    "LIST `{list}` IS EMPTY: it was never fetched, and that fails since {since}: {why}"
                ),
                Some(checked) => format!(
                    "list `{list}` cannot be fetched since {since}: {why}; what was there at {checked} stays \
                     in force, and `weir lists refresh {list}` tries again"
                ),
                None => format!(
                    "list `{list}` cannot be fetched since {since}: {why}; what is known stays in force, and \
                     `weir lists refresh {list}` tries again"
                ),
            }
        });
        let held = feed.held().map(|held| {
            format!(
                "A NEW STATE OF LIST `{list}` IS HELD since {}, and the old one stays in force: {}",
                held.since,
                told(list, held)
            )
        });
        failing.into_iter().chain(held).collect()
    }
}

/// What is held, and how it is approved.
pub(crate) fn told(list: &str, held: &Held) -> String {
    let whys: Vec<_> = held.whys.iter().map(ToString::to_string).collect();
    format!(
        "{} ({} prefixes come, {} go); when its source says so too, `weir lists approve {list} {}`",
        whys.join(", and "),
        held.added,
        held.removed,
        held.digest.get(..16).unwrap_or(&held.digest)
    )
}

/// Writes a list down: its text, where that is new, and then what is known of it. Blocks.
pub(crate) fn keep(kept: &Path, text: Option<&str>, about: &[u8]) -> Result<(), FeedsError> {
    let failed = |file: &Path, source| FeedsError::NotWritten {
        file: file.to_owned(),
        source,
    };
    let directory = kept.parent().expect("a file in the directory of lists");
    sockets::directory(directory, 0o750)
        .map_err(|error| failed(directory, io::Error::other(error)))?;
    if let Some(text) = text {
        store::replace(kept, text.as_bytes()).map_err(|error| failed(kept, error))?;
    }
    let beside = about_file(kept);
    store::replace(&beside, about).map_err(|error| failed(&beside, error))
}

/// The GUID of this machine, which Microsoft's service wants to know; made when there is none. Blocks.
pub(crate) fn machine(state: &Path) -> Result<Uuid, FeedsError> {
    let file = state.join("machine");
    let known = fs::read_to_string(&file).ok();
    if let Some(known) = known.and_then(|text| text.trim().parse().ok()) {
        return Ok(known);
    }
    let new = Uuid::new_v4();
    store::replace(&file, format!("{new}\n").as_bytes())
        .map_err(|source| FeedsError::NotWritten { file, source })?;
    Ok(new)
}

fn about_file(kept: &Path) -> PathBuf {
    kept.with_extension("json")
}

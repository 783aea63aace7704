//! What is known of a list that comes from elsewhere: the state in force, and one that waits for a person.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::guard::{self, Difference, Judged, Limits, Refused, Why};
use crate::read::{Fetched, Source, Unreadable};

/// Most differences that are shown.
const SHOWN: usize = 20;

/// See the module. The prefixes in force are kept as text of their own, which people can read; everything
/// else is in what [`Feed::about`] writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    in_force: Option<Vec<IpNet>>,
    about: About,
}

/// What is kept beside the prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    /// Of the text in force.
    #[serde(default)]
    digest: String,
    /// Of all that says where it comes from, and what it may do.
    #[serde(default)]
    source: String,
    /// To ask with the next time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    /// When it was asked for successfully the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checked: Option<String>,
    /// Since when asking fails, and why it did the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failing: Option<Failing>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
}

/// Asking fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when; RFC 3339.
    pub since: String,
    /// Why it did the last time.
    pub why: String,
}

/// A state that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What is approved: SHA-256 of its text.
    pub digest: String,
    /// Since when it waits; RFC 3339.
    pub since: String,
    /// Why.
    pub whys: Vec<Why>,
    /// How many prefixes come.
    pub added: usize,
    /// How many go.
    pub removed: usize,
    /// Some of both.
    pub some: Difference,
    prefixes: Vec<IpNet>,
    mark: Option<String>,
}

/// What became of what was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Nothing changed.
    Same,
    /// Put this text in force.
    InForce(String, Difference),
    /// It is held.
    Held,
}

/// Something that was held is put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// What to put in force.
    pub text: String,
    /// How many prefixes it has.
    pub prefixes: usize,
}

/// There is nothing to approve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// Nothing waits.
    #[error("nothing of this list is held")]
    Nothing,
    /// Something else waits by now.
    #[error("what is held is not what was looked at; look once more")]
    Other,
}

impl Feed {
    /// From what is kept: the text in force, and what stands beside it. Where the two are not of one time, as
    /// a crash may leave them, the text is right, and it is asked for anew.
    pub fn open(text: Option<&str>, about: Option<&[u8]>) -> Self {
        let in_force = text.map(|text| weir_tables::parse(text, "").prefixes);
        let mut about: About = about
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        if text.map(digest_of).as_ref() != Some(&about.digest) {
            about.mark = None;
            about.held = None;
        }
        Self { in_force, about }
    }

    /// Says where it comes from, and what it may do by itself. Where either is new, neither the mark nor what is
    /// held counts any more. What is in force stays, and what comes is compared with it.
    pub fn comes_from(&mut self, source: &Source, limits: &Limits) {
        let limits = serde_json::to_string(limits).expect("plain numbers");
        let source = digest_of(&format!("{} {limits}", source.whole()));
        if self.about.source != source {
            self.about = About {
                digest: std::mem::take(&mut self.about.digest),
                source,
                ..About::default()
            };
        }
    }

    /// The text in force; nothing was ever fetched when absent.
    pub fn text(&self) -> Option<String> {
        self.in_force.as_deref().map(text_of)
    }

    /// What to write beside the text.
    pub fn about(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.about).expect("plain data with strings for keys")
    }

    /// What to ask with: of what is held, else of what is in force.
    pub fn mark(&self) -> Option<&str> {
        let held = self.about.held.as_ref().map(|held| &held.mark);
        held.unwrap_or(&self.about.mark).as_deref()
    }

    /// What waits for a person.
    pub fn held(&self) -> Option<&Held> {
        self.about.held.as_ref()
    }

    /// Since when asking fails.
    pub fn failing(&self) -> Option<&Failing> {
        self.about.failing.as_ref()
    }

    /// When it was asked for successfully the last time; RFC 3339.
    pub fn checked(&self) -> Option<&str> {
        self.about.checked.as_deref()
    }

    /// The prefixes in force; nothing was ever fetched when absent.
    pub fn in_force(&self) -> Option<&[IpNet]> {
        self.in_force.as_deref()
    }

    /// Takes in what came; `now` in RFC 3339. A state that is refused changes nothing, and counts as a failure.
    pub fn take(&mut self, fetched: Fetched, limits: &Limits, now: &str) -> Result<Taken, Refused> {
        let (prefixes, mark) = match fetched {
            Fetched::List { prefixes, mark } => (prefixes, mark),
            Fetched::Same => {
                self.succeeded(now);
                return Ok(Taken::Same);
            }
        };
        if let Err(refused) = guard::admit(&prefixes, limits) {
            self.fails(&refused.to_string(), now);
            return Err(refused);
        }
        self.succeeded(now);
        match guard::judge(self.in_force.as_deref(), &prefixes, limits) {
            Judged::Same => {
                self.about.mark = mark;
                self.about.held = None;
                Ok(Taken::Same)
            }
            Judged::Fine(difference) => {
                let text = self.put(prefixes, mark);
                Ok(Taken::InForce(text, difference))
            }
            Judged::Held(difference, whys) => {
                let digest = digest_of(&text_of(&prefixes));
                let before = self.about.held.take();
                let since = before.filter(|before| before.digest == digest);
                let some = |all: &[IpNet]| all.iter().take(SHOWN).copied().collect();
                self.about.held = Some(Held {
                    digest,
                    since: since.map_or_else(|| now.to_owned(), |before| before.since),
                    whys,
                    added: difference.added.len(),
                    removed: difference.removed.len(),
                    some: Difference {
                        added: some(&difference.added),
                        removed: some(&difference.removed),
                    },
                    prefixes,
                    mark,
                });
                Ok(Taken::Held)
            }
        }
    }

    /// Takes in that nothing came. What is in force stays.
    pub fn failed(&mut self, why: &Unreadable, now: &str) {
        self.fails(&why.to_string(), now);
    }

    /// Puts in force what is held, when it is what was looked at.
    pub fn approve(&mut self, digest: &str) -> Result<Approved, NotHeld> {
        let held = self.about.held.take().ok_or(NotHeld::Nothing)?;
        if held.digest != digest {
            self.about.held = Some(held);
            return Err(NotHeld::Other);
        }
        let prefixes = held.prefixes.len();
        let text = self.put(held.prefixes, held.mark);
        Ok(Approved { text, prefixes })
    }

    fn put(&mut self, prefixes: Vec<IpNet>, mark: Option<String>) -> String {
        let text = text_of(&prefixes);
        self.about.digest = digest_of(&text);
        self.about.mark = mark;
        self.about.held = None;
        self.in_force = Some(prefixes);
        text
    }

    fn succeeded(&mut self, now: &str) {
        self.about.checked = Some(now.to_owned());
        self.about.failing = None;
    }

    fn fails(&mut self, why: &str, now: &str) {
        let since = self.about.failing.take();
        self.about.failing = Some(Failing {
            since: since.map_or_else(|| now.to_owned(), |failing| failing.since),
            why: why.to_owned(),
        });
    }
}

/// One prefix a line.
fn text_of(prefixes: &[IpNet]) -> String {
    prefixes.iter().fold(String::new(), |mut text, prefix| {
        writeln!(text, "{prefix}").expect("a string takes everything");
        text
    })
}

fn digest_of(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

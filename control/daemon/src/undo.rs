//! What `weir undo` goes back to, and the reload that waits to be confirmed, as they lie in the state
//! directory: so that neither a crash nor a reboot puts in force for good what nobody confirmed.
//!
//! In: the generation that a reload replaces, and what becomes of the reload. Out: a copy of that
//! generation ([`crate::last_good`]), and a journal that says which copy it is and what it is for. What is
//! about to be done is in the journal before it is done, so that a start finds one of two generations and
//! never a part of both. The copies have two places: the one that the journal names is never written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use weir_config::{Report, sha256};
use weir_dataplane::since_boot;

use crate::Error;
use crate::generation::{Candidate, Generation};
use crate::held::Held;
use crate::last_good::{Copy, LastGood};
use crate::watch::Stamp;
use crate::{clock, store};

/// Name of the journal in the state directory.
const JOURNAL: &str = "reload.json";
/// The directories of the two copies in it.
const PLACES: [&str; 2] = ["before-0", "before-1"];
/// The layout of the journal.
const VERSION: u32 = 1;

/// Files with the digests of what they hold; none of one that cannot be read.
type Digests = BTreeMap<PathBuf, Option<String>>;

/// What the journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    /// What can be gone back to.
    pub before: Option<Before>,
    /// The reload that waits to be confirmed.
    pub pending: Option<Pending>,
    /// What was rolled back, until something else is put in force.
    pub rolled_back: Option<Rolled>,
}

/// A generation that was in force before a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its number.
    pub generation: u64,
    /// Where its copy lies.
    place: usize,
    /// The list files of which the reload put other entries in force, each with the digest of what it held.
    replaced: Digests,
}

/// A reload that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The generation that it put in force.
    pub generation: u64,
    /// Digest of its configuration.
    pub digest: String,
    /// Who asked for it, in words.
    pub who: String,
    /// The boot in which it began: no other one goes on with it.
    boot_id: String,
    /// When it is over, in milliseconds since that boot.
    until_ms: u64,
}

/// What was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolled {
    /// When.
    pub time: String,
    /// Who did it, in words.
    pub who: String,
    /// Why.
    pub why: String,
    /// Digest of the configuration that is not to come back by itself.
    pub digest: String,
    /// The list files that were rolled back, each with the digest of what it held then.
    held: Digests,
}

/// Keeps the journal and the copies.
#[derive(Clone, Debug)]
pub struct Undo {
    state: PathBuf,
    copies: [LastGood; 2],
    journal: Journal,
    /// What is gone back to, without its lists: its certificates and keys are in no copy.
    in_memory: Option<Candidate>,
}

/// What a start does about the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// The configuration file is right.
    File,
    /// So it is, as long as it can be used: it waits to be confirmed.
    Unconfirmed,
    /// The generation before is put back, for this reason.
    Back(String),
    /// It was put back before, and stays.
    StaysBack,
}

impl Pending {
    /// A reload that is to be confirmed within a time from now on.
    pub fn new(
        within: Duration,
        who: String,
        generation: u64,
        digest: &str,
    ) -> Result<Self, Error> {
        let until = (since_boot() + within).as_millis();
        Ok(Self {
            generation,
            digest: digest.to_owned(),
            who,
            boot_id: clock::boot_id()?,
            until_ms: u64::try_from(until).expect("some million years"),
        })
    }

    /// Time until it is over; none when it is.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.until_ms).saturating_sub(since_boot())
    }
}

impl Journal {
    /// The journal in a state directory; an empty one where there is none. Blocks.
    pub fn read(state: &Path) -> Result<Self, Error> {
        let path = state.join(JOURNAL);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let invalid = |why: String| {
            let help = "it says which configuration nobody confirmed; remove it to start with the \
                        configuration file as it is";
            let source = io::Error::new(io::ErrorKind::InvalidData, format!("{why}; {help}"));
            Error::file("use", &path)(source)
        };
        let journal: Self = serde_json::from_slice(&text).map_err(|it| invalid(it.to_string()))?;
        let mut before = journal.before.iter();
        if journal.version != VERSION || before.any(|it| it.place >= PLACES.len()) {
            return Err(invalid("it is of another version".to_owned()));
        }
        Ok(journal)
    }

    /// The generation that can be gone back to.
    pub fn undo_to(&self) -> Option<u64> {
        let before = self.before.as_ref()?;
        self.rolled_back.is_none().then_some(before.generation)
    }

    /// The newest generation that it knows of.
    pub fn newest(&self) -> u64 {
        let before = self.before.as_ref().map_or(0, |it| it.generation);
        let pending = self.pending.as_ref().map_or(0, |it| it.generation);
        before.max(pending)
    }

    /// What a start does about it, where the configuration file holds `text`.
    pub fn at_start(&self, text: &Result<String, Report>) -> Result<AtStart, Error> {
        let holds = |digest: &str| {
            let text = text.as_ref();
            text.is_ok_and(|text| sha256(text.as_bytes()) == digest)
        };
        if let Some(pending) = &self.pending {
            let number = pending.generation;
            let back = |why: String| {
                Ok(AtStart::Back(format!(
                    "generation {number} was not confirmed: {why}"
                )))
            };
            if pending.boot_id != clock::boot_id()? {
                return back("the machine was started anew".to_owned());
            }
            if pending.left().is_zero() {
                return back("its time ended while weir-control did not run".to_owned());
            }
            if !holds(&pending.digest) {
                return back(
                    "weir-control was started anew, and the configuration file was changed since"
                        .to_owned(),
                );
            }
            return Ok(AtStart::Unconfirmed);
        }
        match &self.rolled_back {
            Some(rolled) if holds(&rolled.digest) => Ok(AtStart::StaysBack),
            _ => Ok(AtStart::File),
        }
    }

    /// The generation before, as it can be put in force: its configuration from the copy, with the lists as
    /// their files are now, but those that the reload replaced, which come from the copy too, and so do all
    /// of them where a file cannot be used. `in_memory` is the same configuration with its certificates, where
    /// weir-control still has it. Blocks.
    pub fn back(
        &self,
        state: &Path,
        config: &Path,
        in_memory: Option<&Candidate>,
    ) -> Result<Candidate, Error> {
        let before = self.before.as_ref().ok_or(Error::NothingToUndo)?;
        let copy = Copy::read_within(&state.join(PLACES[before.place]), config);
        let copy = copy.filter(|copy| copy.generation == before.generation);
        let copy = copy.ok_or_else(|| Error::NoCopy {
            generation: before.generation,
            directory: state.join(PLACES[before.place]),
        })?;
        let base = if let Some(candidate) = in_memory {
            candidate.clone()
        } else {
            let loaded = weir_config::load_text(config, &copy.text, SystemTime::now());
            let loaded = loaded.map_err(Error::Config)?;
            let texts = copy
                .texts()
                .map(|(path, text)| (path.to_owned(), text.to_owned()));
            Candidate::of(loaded, Stamp::of(config), &texts.collect())?
        };
        let held = |is_held: &dyn Fn(&Path) -> bool| {
            let held = Held::now(copy.texts().filter(|(path, _)| is_held(path)));
            let candidate = base.with_lists(held)?;
            candidate.keeps(&copy.entries, |file| copy.knows(file))?;
            Ok(candidate)
        };
        let rolled = self.rolled_back.as_ref();
        held(&|path| match rolled {
            Some(rolled) => is_still(&rolled.held, path),
            // What was confirmed, or never waited for that, may have been edited for weeks.
            None if self.pending.is_none() => is_still(&before.replaced, path),
            None => before.replaced.contains_key(path),
        })
        .or_else(|_: Error| held(&|_| true))
    }
}

/// The digests of what files hold. Blocks.
fn digests<'a>(files: impl Iterator<Item = &'a Path>) -> Digests {
    files
        .map(|path| (path.to_owned(), digest_of(path)))
        .collect()
}

/// Whether a file is among these, and holds the same as then. Blocks.
fn is_still(digests: &Digests, path: &Path) -> bool {
    let digest = digests.get(path);
    digest.is_some_and(|digest| *digest == digest_of(path))
}

fn digest_of(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|text| sha256(&text))
}

impl Undo {
    /// Goes on with what a start found in the state directory.
    pub fn new(state: &Path, journal: Journal) -> Self {
        Self {
            state: state.to_owned(),
            copies: PLACES.map(|place| LastGood::within(state.join(place))),
            journal,
            in_memory: None,
        }
    }

    /// What the journal says.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// `running` is about to be replaced by `candidate`: writes down how to go back. While a reload waits to
    /// be confirmed it is the generation before that one which is gone back to. Blocks.
    pub fn prepare(
        &mut self,
        running: &Generation,
        candidate: &Candidate,
        pending: Option<Pending>,
    ) -> Result<(), Error> {
        let replaced = digests(running.candidate.replaced_by(candidate));
        let before = match (&self.journal.before, &self.journal.pending) {
            (Some(before), Some(_)) => Before {
                replaced: before
                    .replaced
                    .clone()
                    .into_iter()
                    .chain(replaced)
                    .collect(),
                ..before.clone()
            },
            (before, _) => {
                let place = before.as_ref().map_or(0, |before| 1 - before.place);
                self.copies[place].save(running)?;
                self.in_memory = Some(running.candidate.without_lists());
                Before {
                    generation: running.number,
                    place,
                    replaced,
                }
            }
        };
        self.write(Journal {
            before: Some(before),
            pending,
            ..Journal::default()
        })
    }

    /// Nothing waits to be confirmed any more. Blocks.
    pub fn confirm(&mut self) -> Result<(), Error> {
        self.write(Journal {
            pending: None,
            ..self.journal.clone()
        })
    }

    /// Something else than what was rolled back is in force. Blocks.
    pub fn forget_rolled_back(&mut self) -> Result<(), Error> {
        self.write(Journal {
            rolled_back: None,
            ..self.journal.clone()
        })
    }

    /// What is to be put in force to go back. Blocks.
    pub fn back(&self, config: &Path) -> Result<Candidate, Error> {
        let in_memory = self.in_memory.as_ref();
        self.journal.back(&self.state, config, in_memory)
    }

    /// `back` takes the place of the configuration with this digest: writes down that it is not to come
    /// back by itself. Blocks.
    pub fn go_back(
        &mut self,
        who: String,
        why: String,
        digest: String,
        back: &Candidate,
    ) -> Result<(), Error> {
        self.write(Journal {
            before: self.journal.before.clone(),
            pending: None,
            rolled_back: Some(Rolled {
                time: clock::now(),
                who,
                why,
                digest,
                held: digests(back.held.files()),
            }),
            ..Journal::default()
        })
    }

    /// What was about to be done was refused: the journal is again what it was. Blocks.
    pub fn restore(&mut self, journal: Journal, in_memory: Option<Candidate>) -> Result<(), Error> {
        self.in_memory = in_memory;
        self.write(journal)
    }

    /// What is gone back to, as it is in memory.
    pub fn in_memory(&self) -> Option<Candidate> {
        self.in_memory.clone()
    }

    fn write(&mut self, journal: Journal) -> Result<(), Error> {
        let journal = Journal {
            version: VERSION,
            ..journal
        };
        let path = self.state.join(JOURNAL);
        let text = serde_json::to_vec_pretty(&journal).expect("its keys are strings");
        store::replace(&path, &text).map_err(Error::file("write", path))?;
        self.journal = journal;
        Ok(())
    }
}

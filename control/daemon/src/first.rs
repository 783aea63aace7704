//! What weir-control starts with: the files on the disk or, where they are broken, the copy of the last
//! good generation. A service manager restarts it in the night too, when nobody is there to correct a
//! file, and sign-in goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use weir_config::{Config, Loaded, Report};

use crate::Error;
use crate::generation::Candidate;
use crate::last_good::Copy;
use crate::undo::{AtStart, Journal};
use crate::watch::Stamp;

/// What weir-control starts with.
#[derive(Debug)]
pub struct First {
    /// To be put in force.
    pub candidate: Candidate,
    /// Why the configuration file is not in force, and its copy is.
    pub config_refused: Option<String>,
    /// Why some list files are not in force, and their copies are.
    pub lists_refused: Option<String>,
    /// Number of the newest generation that is known of.
    pub at_least: u64,
    /// What is known of reloads and how to go back.
    pub journal: Journal,
    /// What it is.
    pub begun: Begun,
}

/// What a start puts in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The configuration file, or what stands in for it.
    File,
    /// The configuration file, which waits to be confirmed.
    Unconfirmed,
    /// The generation before the last reload, which nobody confirmed: why.
    Back(String),
    /// The generation before the last reload, which was rolled back earlier.
    StaysBack,
    /// The configuration file, because the generation before cannot be used: why.
    Instead(String),
}

impl Begun {
    /// Why the generation before is not in force.
    pub fn refused(&self) -> Option<String> {
        match self {
            Self::Instead(why) => Some(why.clone()),
            _ => None,
        }
    }
}

impl First {
    /// Reads and checks the configuration at `path` and everything that it names, or stands in for what
    /// is broken. Without a copy, or when the copy cannot be used either, it says what is wrong with the
    /// files. What nobody confirmed, or was rolled back, is not put in force. Blocks.
    pub fn read(path: &Path) -> Result<Self, Error> {
        // Read once: what is checked is what is put in force.
        let stamp = Stamp::of(path);
        let text = weir_config::read_configuration(path);
        let state = weir_config::state_directory(path, text.as_deref().unwrap_or_default());
        let journal = Journal::read(&state)?;
        let newest = journal.newest();
        let before = |begun| Self::before(path, &state, &journal, begun);
        let mut first = match journal.at_start(&text)? {
            AtStart::File => Self::of_file(path, stamp, text)?,
            AtStart::Unconfirmed => {
                let why = match Self::of_file(path, stamp, text) {
                    Ok(mut first) => {
                        first.begun = Begun::Unconfirmed;
                        first.config_refused.clone().map_or(Ok(first), Err)
                    }
                    Err(error) => Err(error.to_string()),
                };
                why.or_else(|why| {
                    let why = format!("it was not confirmed, and cannot be used any more: {why}");
                    before(Begun::Back(why))
                })?
            }
            AtStart::Back(why) => before(Begun::Back(why))
                .or_else(|error| Self::instead(&error, path, stamp, text))?,
            AtStart::StaysBack => before(Begun::StaysBack)
                .or_else(|error| Self::instead(&error, path, stamp, text))?,
        };
        first.at_least = first.at_least.max(newest);
        first.journal = journal;
        Ok(first)
    }

    /// The generation before the last reload.
    fn before(path: &Path, state: &Path, journal: &Journal, begun: Begun) -> Result<Self, Error> {
        Ok(Self {
            candidate: journal.back(state, path, None)?,
            config_refused: None,
            lists_refused: None,
            at_least: Copy::read(state, path).map_or(0, |copy| copy.generation),
            journal: Journal::default(),
            begun,
        })
    }

    /// The generation before the last reload cannot be used: sign-in goes on with what there is.
    fn instead(
        error: &Error,
        path: &Path,
        stamp: Stamp,
        text: Result<String, Report>,
    ) -> Result<Self, Error> {
        let mut first = Self::of_file(path, stamp, text)?;
        first.begun = Begun::Instead(error.to_string());
        Ok(first)
    }

    /// What the files hold, or what stands in for what is broken.
    fn of_file(path: &Path, stamp: Stamp, text: Result<String, Report>) -> Result<Self, Error> {
        let copy = copy_for(path, &text);
        let loaded = text.and_then(|text| weir_config::load_text(path, &text, SystemTime::now()));
        let on_disk = loaded.clone().map_err(Error::Config).and_then(|loaded| {
            let candidate = Candidate::of(loaded, stamp, &BTreeMap::new())?;
            if let Some(copy) = &copy {
                candidate.keeps(&copy.entries, |file| copy.knows(file))?;
            }
            Ok(candidate)
        });
        match (on_disk, copy) {
            (Ok(candidate), copy) => Ok(Self {
                candidate,
                config_refused: None,
                lists_refused: None,
                at_least: copy.map_or(0, |copy| copy.generation),
                journal: Journal::default(),
                begun: Begun::File,
            }),
            (Err(error), Some(copy)) => {
                let config = loaded.ok();
                Self::stand_in(path, stamp, config, &error.to_string(), &copy).ok_or(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// What the copy can stand in for: the lists alone, when the configuration is good, else all.
    fn stand_in(
        path: &Path,
        stamp: Stamp,
        on_disk: Option<Loaded>,
        error: &str,
        copy: &Copy,
    ) -> Option<Self> {
        let first = |candidate, config_refused, lists_refused| Self {
            candidate,
            config_refused,
            lists_refused,
            at_least: copy.generation,
            journal: Journal::default(),
            begun: Begun::File,
        };
        if let Some(loaded) = on_disk {
            let in_place = copy.in_place(&loaded.config);
            if !in_place.is_empty()
                && let Ok(candidate) = Candidate::of(loaded, stamp, &in_place)
                && copy.is_whole(&candidate, &in_place)
            {
                return Some(first(candidate, None, Some(error.to_owned())));
            }
        }
        let loaded = weir_config::load_text(path, &copy.text, SystemTime::now()).ok()?;
        let in_place = copy.in_place(&loaded.config);
        let is_copied = copy.is_of(&loaded);
        let candidate = Candidate::of(loaded, stamp, &in_place).ok()?;
        if !is_copied || !copy.is_whole(&candidate, &in_place) {
            tracing::error!("the copy of the last good generation is damaged, and not used");
            return None;
        }
        let files: Vec<_> = in_place
            .keys()
            .map(|path| path.display().to_string())
            .collect();
        let lists = (!files.is_empty())
            .then(|| format!("broken when weir-control started: {}", files.join(", ")));
        let why = format!(
            "the copy of generation {}, made {}, is in force instead: {error}",
            copy.generation, copy.saved
        );
        Some(first(candidate, Some(why), lists))
    }
}

/// The configuration at `path`, or the copy of the last good one. Blocks.
pub fn configuration(path: &Path) -> Result<Config, Error> {
    let text = weir_config::read_configuration(path);
    let copy = copy_for(path, &text);
    let load = |text: &str| weir_config::load_text(path, text, SystemTime::now());
    text.and_then(|text| load(&text))
        .or_else(|report| match copy {
            Some(copy) => load(&copy.text).map_err(|_| report),
            None => Err(report),
        })
        .map(|loaded| loaded.config)
        .map_err(Error::Config)
}

/// The copy of the last good generation, where the file says that it is.
fn copy_for(path: &Path, text: &Result<String, Report>) -> Option<Copy> {
    let text = text.as_deref().unwrap_or_default();
    Copy::read(&weir_config::state_directory(path, text), path)
}

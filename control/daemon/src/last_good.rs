//! A copy of the generation in force, in the state directory: what weir-control starts with when the
//! files on the disk are broken.
//!
//! In: each generation that is put in force. Out: the text of its configuration, and the entries of its
//! lists and users as they were in force. Private keys, certificates and authorities are not copied: the
//! configuration names them by path. A copy counts for the configuration file that it was made of only.
//! Each file is written under a new name, the manifest that names them last, so that a crash leaves the
//! copy before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_config::{Config, Loaded};
use weir_policy::Users;
use weir_tables::Severity;

use crate::generation::{Candidate, Entries, Generation, USERS};
use crate::{clock, sockets, store};

/// Name of the directory in the state directory.
const DIRECTORY: &str = "last-good";
/// Name of the manifest in it.
const MANIFEST: &str = "manifest.json";

/// Writes copies.
#[derive(Clone, Debug)]
pub struct LastGood {
    directory: PathBuf,
    /// What was written last: each file with the hash of what is in it.
    written: Vec<(u64, File)>,
}

/// A copy that was read.
#[derive(Debug)]
pub struct Copy {
    /// Number of the generation.
    pub generation: u64,
    /// When it was made; RFC 3339.
    pub saved: String,
    /// The configuration.
    pub text: String,
    /// Name of the file that holds it: its digest, and an ending.
    name: String,
    /// How many entries the lists had.
    pub entries: Entries,
    /// The entries of the lists that stand in files, by the path of the file, and how many they are.
    texts: BTreeMap<PathBuf, (String, usize)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    /// The configuration file.
    config: PathBuf,
    /// Its copy.
    text: String,
    generation: u64,
    saved: String,
    files: Vec<File>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct File {
    /// Name of the list.
    list: String,
    /// Where its entries come from.
    path: PathBuf,
    entries: usize,
    /// Their copy.
    copy: String,
}

impl LastGood {
    /// Copies in this state directory.
    pub fn new(state: &Path) -> Self {
        Self::within(state.join(DIRECTORY))
    }

    /// Copies in a directory of their own.
    pub fn within(directory: PathBuf) -> Self {
        Self {
            directory,
            written: Vec::new(),
        }
    }

    /// Writes the generation; lists that are as they were are not written again. Blocks.
    pub fn save(&mut self, generation: &Generation) -> Result<(), crate::Error> {
        sockets::directory(&self.directory, 0o750)?;
        self.write(generation)
            .map_err(crate::Error::file("write the copy in", &self.directory))
    }

    fn write(&mut self, generation: &Generation) -> io::Result<()> {
        let candidate = &generation.candidate;
        let text = name_of(&candidate.loaded);
        let there = fs::read_to_string(self.directory.join(&text));
        if !there.is_ok_and(|there| there == candidate.loaded.text) {
            self.put(&text, &candidate.loaded.text)?;
        }
        let counts = candidate.entries();
        let mut files = Vec::new();
        for (index, (list, path)) in candidate.files().enumerate() {
            let hash = hash(generation, list);
            let same = |(before, file): &&(u64, File)| {
                *before == hash && file.list == list && file.path == path
            };
            let kept = self.written.iter().find(same);
            let copy = if let Some((_, kept)) = kept {
                kept.copy.clone()
            } else {
                let copy = format!("{index}-{}.list", generation.number);
                self.put(&copy, &entries(generation, list))?;
                copy
            };
            let file = File {
                list: list.to_owned(),
                path: path.to_owned(),
                entries: counts.get(list).copied().unwrap_or(0),
                copy,
            };
            files.push((hash, file));
        }
        let manifest = Manifest {
            config: candidate.config().file.clone(),
            text: text.clone(),
            generation: generation.number,
            saved: clock::now(),
            files: files.iter().map(|(_, file)| file.clone()).collect(),
        };
        let manifest = serde_json::to_string_pretty(&manifest)?;
        self.put(MANIFEST, &manifest)?;
        let named = files.iter().map(|(_, file)| file.copy.as_str());
        let named: BTreeSet<_> = named.chain([text.as_str(), MANIFEST]).collect();
        for entry in fs::read_dir(&self.directory)?.flatten() {
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| named.contains(name))
            {
                // One that stays is tried again with the next generation.
                let _ = fs::remove_file(entry.path());
            }
        }
        self.written = files;
        Ok(())
    }

    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        store::replace(&self.directory.join(name), text.as_bytes())
    }
}

/// Name of the copy of a configuration.
fn name_of(loaded: &Loaded) -> String {
    format!("{}.toml", loaded.digest)
}

/// Tells whether a list is as it was, without keeping what it was.
fn hash(generation: &Generation, list: &str) -> u64 {
    let candidate = &generation.candidate;
    let mut hasher = DefaultHasher::new();
    if list == USERS {
        candidate.users_text().hash(&mut hasher);
    } else {
        let lists = candidate.lists.iter();
        for one in lists.filter(|one| one.name == list) {
            one.prefixes.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// What is in force of a list, as its file could hold it.
fn entries(generation: &Generation, list: &str) -> String {
    let candidate = &generation.candidate;
    if list == USERS {
        return candidate.users_text().unwrap_or_default().to_owned();
    }
    candidate.list_text(list)
}

impl Copy {
    /// The copy of the configuration file `config` in a state directory, when there is one that can be
    /// read. Blocks.
    pub fn read(state: &Path, config: &Path) -> Option<Self> {
        Self::read_within(&state.join(DIRECTORY), config)
    }

    /// [`Self::read`], of the copy in a directory of its own. Blocks.
    pub fn read_within(directory: &Path, config: &Path) -> Option<Self> {
        let text = |name: &str| fs::read_to_string(directory.join(name));
        let read = || -> io::Result<Option<Self>> {
            let manifest: Manifest = serde_json::from_str(&text(MANIFEST)?)?;
            if manifest.config != config {
                return Ok(None);
            }
            let mut copy = Self {
                generation: manifest.generation,
                saved: manifest.saved,
                text: text(&manifest.text)?,
                name: manifest.text,
                entries: Entries::new(),
                texts: BTreeMap::new(),
            };
            for file in manifest.files {
                let entries = (text(&file.copy)?, file.entries);
                copy.texts.insert(file.path, entries);
                copy.entries.insert(file.list, file.entries);
            }
            Ok(Some(copy))
        };
        match read() {
            Ok(copy) => copy,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let directory = directory.display();
                tracing::warn!(%directory, %error, "the copy of the last good generation cannot be read");
                None
            }
        }
    }

    /// Its entries of the lists that stand in files, by the path of the file.
    pub fn texts(&self) -> impl Iterator<Item = (&Path, &str)> {
        let texts = self.texts.iter();
        texts.map(|(path, (text, _))| (path.as_path(), text.as_str()))
    }

    /// The copies of those list files of a configuration that cannot be used as they are. Blocks.
    pub fn in_place(&self, config: &Config) -> BTreeMap<PathBuf, String> {
        let lists = config.lists.iter();
        let lists = lists.filter_map(|list| Some((list.contents.file()?, list.name.as_str())));
        let users = config.directory.users.as_deref();
        lists
            .chain(users.map(|path| (path, USERS)))
            .filter(|(path, name)| self.is_broken(path, name))
            .filter_map(|(path, _)| Some((path.to_owned(), self.texts.get(path)?.0.clone())))
            .collect()
    }

    /// Whether it has the entries of this file.
    pub fn knows(&self, file: &Path) -> bool {
        self.texts.contains_key(file)
    }

    /// Whether a configuration is the one that was copied.
    pub fn is_of(&self, loaded: &Loaded) -> bool {
        name_of(loaded) == self.name
    }

    /// Whether a candidate has as many entries as were in force wherever the copy stands in: half a list
    /// must not take the place of a broken one.
    pub fn is_whole(&self, candidate: &Candidate, in_place: &BTreeMap<PathBuf, String>) -> bool {
        let now = candidate.entries();
        let mut stand_in = candidate
            .files()
            .filter(|(_, path)| in_place.contains_key(*path));
        stand_in.all(|(list, path)| {
            now.get(list).copied() == self.texts.get(path).map(|(_, entries)| *entries)
        })
    }

    fn is_broken(&self, path: &Path, list: &str) -> bool {
        let Ok(text) = fs::read_to_string(path) else {
            return true;
        };
        if text.trim().is_empty() {
            return self.entries.get(list).is_some_and(|entries| *entries > 0);
        }
        if list == USERS {
            return Users::parse(&text).is_err();
        }
        let parsed = weir_tables::parse(&text, &path.display().to_string());
        let mut problems = parsed.problems.iter();
        problems.any(|problem| problem.severity == Severity::Error)
    }
}

//! List files that were rolled back: what is in force of them is not what they hold, until they change.
//!
//! In: what was in force before, by file. Out: these texts in place of the files, as long as the files are
//! as they were when they were rolled back. It never writes a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::watch::Stamp;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Held(BTreeMap<PathBuf, One>);

#[derive(Clone, Debug)]
struct One {
    /// Entries, as the file could hold them.
    text: Arc<str>,
    /// The file that does not hold them.
    stamp: Stamp,
}

impl Held {
    /// These texts, in place of what the files hold now. Blocks.
    pub fn now<'a>(texts: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Self {
        let one = |(path, text): (&Path, &str)| {
            let stamp = Stamp::of(path);
            let text = text.into();
            (path.to_owned(), One { text, stamp })
        };
        Self(texts.into_iter().map(one).collect())
    }

    /// Those of them whose files have not changed. Blocks.
    pub fn still(&self) -> Self {
        let held = self.0.iter();
        let held = held.filter(|(path, one)| Stamp::of(path) == one.stamp);
        Self(
            held.map(|(path, one)| (path.clone(), one.clone()))
                .collect(),
        )
    }

    /// The texts, by path.
    pub fn texts(&self) -> BTreeMap<PathBuf, String> {
        let held = self.0.iter();
        held.map(|(path, one)| (path.clone(), one.text.to_string()))
            .collect()
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether a file is among them.
    pub fn has(&self, file: &Path) -> bool {
        self.0.contains_key(file)
    }

    /// What a person should know of it.
    pub fn words(&self) -> Option<String> {
        let files: Vec<_> = self
            .files()
            .map(|file| file.display().to_string())
            .collect();
        (!files.is_empty()).then(|| {
            format!(
                "rolled back, and what was before is in force until the file changes: {}",
                files.join(", ")
            )
        })
    }
}

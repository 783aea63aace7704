//! The numbers of services in the kernel: each name has one of its own.
//!
//! What was counted, and which server a flow has, lies in the pinned maps by these numbers; so they must not
//! change when services come, go or change places in the file. In: the names of the services that are
//! wanted. Out: a number for each, and which of them have counted for a service that is gone. A service
//! that is gone has its number back when it comes again, as long as no other one needs it.

use std::path::PathBuf;
use std::{fs, io};

use weir_abi::MAX_SERVICES;

use crate::{Error, store};

/// See the module. Every number stands in a file before the kernel gets it.
#[derive(Clone, Debug)]
pub struct ServiceIds {
    path: PathBuf,
    /// Who has each number; the empty name, which no service has, where that is not known.
    names: Vec<Option<String>>,
}

impl ServiceIds {
    /// Those in the file at `path`. Where there is none, as versions before had none, these names have
    /// their places as numbers; where it is damaged, any number may have been anybody's. Blocks.
    pub fn open(path: PathBuf, names: &[&str]) -> Self {
        let mut names = match read(&path) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                names.iter().map(|name| Some((*name).to_owned())).collect()
            }
            Err(error) => {
                let path = path.display();
                tracing::error!(%error, %path, "the numbers of the services cannot be read: what was \
                    counted of them is forgotten");
                vec![Some(String::new()); MAX_SERVICES]
            }
        };
        names.resize(MAX_SERVICES, None);
        Self { path, names }
    }

    /// Numbers for all of these names, and which of them were of another service before. Those `in_force`
    /// keep theirs while there are others.
    pub fn with(&self, wanted: &[&str], in_force: &[(u16, &str)]) -> (Self, Vec<u16>) {
        let mut ids = self.clone();
        // Also those that somebody was to have who never came in force.
        for (id, name) in in_force {
            ids.names[usize::from(*id)] = Some((*name).to_owned());
        }
        let mut again = Vec::new();
        for name in wanted {
            if ids.id(name).is_some() {
                continue;
            }
            let runs = |one: &str| in_force.iter().any(|(_, name)| *name == one);
            let place = ids
                .find(|_| false)
                .or_else(|| ids.find(|one| !wanted.contains(&one) && !runs(one)))
                .or_else(|| ids.find(|one| !wanted.contains(&one)))
                .expect("a configuration has no more services than there are numbers");
            if ids.names[place].replace((*name).to_owned()).is_some() {
                again.push(u16::try_from(place).expect("a small number"));
            }
        }
        (ids, again)
    }

    /// Writes them, unless they stand there as they were `before`. Blocks.
    pub fn save(&self, before: &Self) -> Result<(), Error> {
        if self.names == before.names && self.path.exists() {
            return Ok(());
        }
        let given = self.names.iter().rposition(Option::is_some);
        let text = serde_json::to_string_pretty(&self.names[..given.map_or(0, |last| last + 1)])
            .expect("names are text");
        store::replace(&self.path, text.as_bytes()).map_err(Error::file("write", &self.path))
    }

    /// The number of a service.
    pub fn id(&self, name: &str) -> Option<u16> {
        let has = |one: &Option<String>| one.as_deref() == Some(name);
        let place = self.names.iter().position(has)?;
        u16::try_from(place).ok()
    }

    /// Who has a number.
    pub fn name(&self, id: u16) -> Option<&str> {
        self.names.get(usize::from(id))?.as_deref()
    }

    /// The first number that nobody has, or such a one.
    fn find(&self, such: impl Fn(&str) -> bool) -> Option<usize> {
        let fits = |one: &Option<String>| one.as_deref().is_none_or(&such);
        self.names.iter().position(fits)
    }
}

fn read(path: &PathBuf) -> io::Result<Vec<Option<String>>> {
    let names: Vec<Option<String>> = serde_json::from_str(&fs::read_to_string(path)?)?;
    if names.len() > MAX_SERVICES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "there are more than the kernel programs have room for",
        ));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_when_there_is_no_other() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("service-ids");
        let many: Vec<String> = (0..63).map(|number| format!("s{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let ids = ServiceIds::open(path.clone(), &many);
        let (ids, again) = ids.with(&["last", "s1"], &[]);
        assert_eq!((ids.id("last"), again), (Some(63), vec![]));
        ids.save(&ids).expect("the directory can be written");

        let ids = ServiceIds::open(path, &[]);
        let in_force = [(0, "s0"), (1, "s1"), (63, "last")];
        let (other, again) = ids.with(&["new", "last"], &in_force);
        assert_eq!((other.id("new"), again), (Some(2), vec![2]));
        assert_eq!((other.id("s1"), other.id("s2")), (Some(1), None));

        // It never came in force: who was there before has it back.
        let (back, again) = other.with(&["s2"], &[(2, "s2")]);
        assert_eq!((back.id("s2"), again), (Some(2), vec![]));
        assert_eq!(back.id("new"), None);
    }

    #[test]
    fn what_is_not_known_is_nobodys() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("service-ids");
        for damaged in ["", "{}", "[7]", &format!("{:?}", [""; 65])] {
            fs::write(&path, damaged).expect("the directory can be written");
            let ids = ServiceIds::open(path.clone(), &["sts"]);
            assert_eq!(ids.id("sts"), None, "{damaged}");
            let (ids, again) = ids.with(&["sts"], &[]);
            assert_eq!((ids.id("sts"), again), (Some(0), vec![0]), "{damaged}");
        }
    }
}

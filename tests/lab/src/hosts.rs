//! Name resolution of the lab: a hosts file per family, laid over `/etc/hosts` in the private mount namespace of each
//! command (see [`crate::exec`]). There is no name server: a name that is not in the file does not resolve, at once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sources::Family;

/// Where the files are.
#[derive(Clone, Debug)]
pub struct Hosts {
    directory: PathBuf,
}

impl Hosts {
    /// The files below `directory`, written before or to be written by [`Hosts::write`].
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Writes the files from `text`, a hosts file with the names of both families.
    pub fn write(&self, text: &str) -> Result<()> {
        self.file("hosts", text)?;
        for family in Family::ALL {
            let lines: Vec<&str> = text.lines().filter(|line| is_of(line, family)).collect();
            let lines = lines.join("\n") + "\n";
            self.file(&format!("hosts.{}", u8::from(family)), &lines)?;
        }
        // Without a server named here the resolver asks the loopback of the namespace, where nobody listens.
        self.file(
            "resolv.conf",
            "# No name server: names of the lab are in /etc/hosts.\noptions attempts:1 timeout:1\n",
        )
    }

    /// What goes over `/etc/hosts`: the names of one family, or of both.
    pub fn path(&self, family: Option<Family>) -> PathBuf {
        match family {
            Some(family) => self.directory.join(format!("hosts.{}", u8::from(family))),
            None => self.directory.join("hosts"),
        }
    }

    /// What goes over `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> PathBuf {
        self.directory.join("resolv.conf")
    }

    fn file(&self, name: &str, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Whether a line of a hosts file names an address of `family`; `localhost` belongs to both.
fn is_of(line: &str, family: Family) -> bool {
    let mut words = line.split_whitespace();
    let v6 = words.next().is_some_and(|address| address.contains(':'));
    words.next() == Some("localhost") || v6 == (family == Family::V6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_sees_its_own_names_and_localhost() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let hosts = Hosts::at(directory.path());
        hosts
            .write("127.0.0.1 localhost\n::1 localhost\n192.0.2.10 sts\n2001:db8::10 sts\n")
            .expect("the directory is writable");
        let read = |family| fs::read_to_string(hosts.path(family)).expect("it was written");
        assert_eq!(
            read(Some(Family::V4)),
            "127.0.0.1 localhost\n::1 localhost\n192.0.2.10 sts\n"
        );
        assert_eq!(
            read(Some(Family::V6)),
            "127.0.0.1 localhost\n::1 localhost\n2001:db8::10 sts\n"
        );
        assert_eq!(read(None).lines().count(), 4);
    }
}

//! The credentials that `[entra]` names: which of the two is signed in with, and how their files are destroyed.
//!
//! Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;
use weir_config::{CredentialSource, Entra};
use weir_entra::credential::Credential;

use crate::watch::{Stamps, stamps};

/// Where the system puts credentials of services: read-only, and made anew at each start.
const SYSTEMD: &str = "/run/credentials";
/// So much is overwritten at a time.
const PIECE: usize = 64 << 10;

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slot {
    /// `[entra.credential]`
    #[default]
    First,
    /// `[entra.next_credential]`
    Next,
}

impl Slot {
    pub(crate) const ALL: [Self; 2] = [Self::First, Self::Next];

    /// As the configuration writes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::First => "credential",
            Self::Next => "next_credential",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::First => Self::Next,
            Self::Next => Self::First,
        }
    }

    /// Where it comes from, if there is one.
    pub(crate) fn of(self, config: &Entra) -> Option<&CredentialSource> {
        match self {
            Self::First => Some(&config.credential),
            Self::Next => config.next_credential.as_ref(),
        }
    }
}

/// The files of both.
pub(crate) fn files(config: &Entra) -> Vec<PathBuf> {
    let sources = Slot::ALL.into_iter().filter_map(|slot| slot.of(config));
    let mut all = Vec::new();
    for file in sources.flat_map(files_of) {
        if !all.contains(file) {
            all.push(file.clone());
        }
    }
    all
}

/// Those of one.
fn files_of(source: &CredentialSource) -> Vec<&PathBuf> {
    match source {
        CredentialSource::Certificate { certificate, key } => vec![key, certificate],
        CredentialSource::Secret { file, .. } => vec![file],
        CredentialSource::ManagedIdentity(_) => Vec::new(),
    }
}

/// Of these states, those of the files of one.
pub(crate) fn stamps_of_one(source: &CredentialSource, all: &Stamps) -> Stamps {
    let files = files_of(source).into_iter();
    files
        .filter_map(|file| Some((file.clone(), *all.get(file)?)))
        .collect()
}

/// The states of these files now.
pub(crate) fn stamps_of(config: &Entra) -> Stamps {
    stamps(files(config))
}

/// A credential to sign in with.
pub(crate) struct Chosen {
    pub(crate) slot: Slot,
    pub(crate) credential: Credential,
    /// Why the first one is not, where it is not.
    pub(crate) not_first: Option<String>,
}

/// The first credential that can be used and has not expired; failing that, what is wrong with the first.
pub(crate) fn choose(config: &Entra, now: OffsetDateTime) -> Chosen {
    let mut not_first = None;
    let mut expired = None;
    let mut wrong = None;
    for slot in Slot::ALL {
        let chosen = |credential, not_first| Chosen {
            slot,
            credential,
            not_first,
        };
        match slot.of(config).map(CredentialSource::load) {
            Some(Ok(credential)) if credential.expires().is_none_or(|ends| now < ends) => {
                return chosen(credential, not_first);
            }
            Some(Ok(credential)) => {
                not_first = not_first.or_else(|| Some("it has expired".to_owned()));
                expired = expired.or_else(|| Some(chosen(credential, None)));
            }
            Some(Err(error)) => {
                not_first = not_first.or_else(|| Some(error.to_string()));
                wrong = wrong.or_else(|| Some(chosen(Credential::Unusable(error), None)));
            }
            None => {}
        }
    }
    let first = expired.or(wrong);
    first.expect("the first one is always configured")
}

/// Overwrites a file and takes it away; whether it was there. A link goes with what it leads to.
pub(crate) fn destroy(path: &Path) -> Result<bool, String> {
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    overwrite(&target).map_err(|error| why(&target, &error))?;
    let mut gone = vec![&*target];
    if target != path {
        gone.push(path);
    }
    for name in gone {
        match fs::remove_file(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!(
                    "it was overwritten, and cannot be removed: {error}"
                ));
            }
            _ => {}
        }
    }
    // That the name is gone is on the disk when its directory is.
    let directory = target.parent().map(File::open);
    if let Some(Err(error)) = directory.map(|directory| directory?.sync_all()) {
        return Err(format!(
            "it was overwritten and removed, and the disk says: {error}"
        ));
    }
    Ok(true)
}

fn overwrite(target: &Path) -> io::Result<()> {
    // Whoever opens a pipe waits for its other end, unless he says that he does not.
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(target)?;
    let data = file.metadata()?;
    if !data.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut left = data.len();
    while left > 0 {
        let piece = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        file.write_all(&vec![0; piece])?;
        left -= piece as u64;
    }
    file.sync_all()
}

fn why(target: &Path, error: &io::Error) -> String {
    if target.starts_with(SYSTEMD) {
        return "systemd hands it to weir-control at each start: take it out of the unit \
                (`systemctl edit weir-control`), and remove what it comes from (/etc/credstore)"
            .to_owned();
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_destroyed_is_overwritten_and_gone_also_behind_a_link() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let [file, link, other] =
            ["secret", "link", "other"].map(|name| directory.path().join(name));
        fs::write(&file, "s".repeat(PIECE + 10)).expect("written");
        fs::hard_link(&file, &other).expect("linked");
        symlink(&file, &link).expect("linked");

        assert_eq!(destroy(&link), Ok(true));
        assert!(!file.exists() && fs::symlink_metadata(&link).is_err());
        let left = fs::read(&other).expect("another name of the same bytes");
        assert_eq!(left, vec![0; PIECE + 10]);
        assert_eq!(destroy(&link), Ok(false), "gone already");
        let said = destroy(directory.path()).expect_err("no file");
        assert!(!said.is_empty());
    }
}

//! The run directory and the unix sockets in it, and who may use them.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::UnixListener;

use crate::Error;

/// Makes a directory with this mode. One that is there already keeps its own, and is refused when
/// everybody may write into it: anybody could put a socket of theirs in the place of Weir's.
pub fn directory(path: &Path, mode: u32) -> Result<(), Error> {
    if let Ok(data) = fs::metadata(path)
        && data.is_dir()
    {
        return if data.permissions().mode() & 0o002 == 0 {
            Ok(())
        } else {
            Err(Error::OpenToAll {
                directory: path.to_owned(),
            })
        };
    }
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        // What the umask of whoever started the daemon has taken away.
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(Error::file("create", path))
}

/// Holds the run directory for this process, as long as the answer lives: a second weir-control would
/// take the sockets and the programs away from the first.
pub fn lock(run: &Path) -> Result<File, Error> {
    let directory = File::open(run).map_err(Error::file("open", run))?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(Error::Running {
            run: run.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(Error::file("lock", run)(error)),
    }
}

/// Listens on a unix socket with this mode, owner and group; one that is left over is replaced.
pub fn listen(
    path: &Path,
    mode: u32,
    owner: Option<Uid>,
    group: Option<Gid>,
) -> Result<UnixListener, Error> {
    // Bound under another name and then renamed, so that nobody can connect before the mode is set,
    // and a path that exists always accepts.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let _ = fs::remove_file(beside);
    let failed = |error| Error::file("listen on", path)(error);
    let socket = UnixListener::bind(beside).map_err(failed)?;
    // The mode first: what belongs to another user is not weir-control's to change.
    fs::set_permissions(beside, Permissions::from_mode(mode)).map_err(failed)?;
    if owner.is_some() || group.is_some() {
        chown(beside, owner.map(Uid::as_raw), group.map(Gid::as_raw)).map_err(failed)?;
    }
    fs::rename(beside, path).map_err(failed)?;
    Ok(socket)
}

/// The uid of a user by name or number.
pub fn user(name: &str) -> Result<Uid, Error> {
    if let Ok(number) = name.parse() {
        return Ok(Uid::from_raw(number));
    }
    let found = User::from_name(name).ok().flatten();
    found.map(|user| user.uid).ok_or(Error::NoAccount {
        kind: "user",
        key: "proxy_user",
        name: name.to_owned(),
    })
}

/// The gid of a group by name or number; `key` is where the configuration names it.
pub fn group(name: &str, key: &'static str) -> Result<Gid, Error> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(name).ok().flatten();
    found.map(|group| group.gid).ok_or(Error::NoAccount {
        kind: "group",
        key,
        name: name.to_owned(),
    })
}

//! What a process tells its supervisor: the datagrams of sd_notify(3), with the descriptors that come with them
//! (`SCM_RIGHTS`) and the process that sent them as the kernel tells it (`SCM_CREDENTIALS`).

use std::fs;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::cmsg_space;
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

/// The largest datagram that is read.
const LARGEST: usize = 4096;
/// The most descriptors that one datagram may carry; sd_pid_notify_with_fds(3) sends one in general.
const DESCRIPTORS: usize = 16;

/// A socket that one process may tell things on.
#[derive(Debug)]
pub struct NotifySocket {
    socket: UnixDatagram,
    path: PathBuf,
}

/// What a process told.
#[derive(Debug, Default)]
pub struct Told {
    /// Which process.
    pub pid: i32,
    /// `READY=1`.
    pub ready: bool,
    /// `WATCHDOG=1`.
    pub alive: bool,
    /// What is to be done with the store.
    pub store: Option<Change>,
    /// `FDNAME=`, of what is to be kept or removed.
    pub name: Option<String>,
    /// What came with it; closed with this value.
    pub descriptors: Vec<OwnedFd>,
}

/// What a process tells of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// `FDSTORE=1`: those that came with it are to be kept.
    Keep,
    /// `FDSTOREREMOVE=1`: those of its name are kept no more.
    Remove,
}

impl NotifySocket {
    /// Binds `path`, in place of what was there. Every user may send to it.
    pub fn bind(path: &Path) -> Result<Self> {
        let what = || format!("cannot make the socket {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(what)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(what);
            }
            _ => {}
        }
        let socket = UnixDatagram::bind(path).with_context(what)?;
        setsockopt(&socket, PassCred, &true).with_context(what)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).with_context(what)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next thing that is told, by whatever process.
    pub async fn told(&self) -> io::Result<Told> {
        self.socket
            .async_io(Interest::READABLE, || receive(&self.socket))
            .await
    }
}

fn receive(socket: &UnixDatagram) -> io::Result<Told> {
    let mut bytes = [0; LARGEST];
    let mut control = cmsg_space!([libc::c_int; DESCRIPTORS], UnixCredentials);
    let mut told = Told::default();
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags)?;
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::ScmRights(descriptors) => {
                // SAFETY: the kernel made them for us just now.
                let owned = descriptors
                    .into_iter()
                    .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) });
                told.descriptors.extend(owned);
            }
            ControlMessageOwned::ScmCredentials(credentials) => told.pid = credentials.pid(),
            _ => {}
        }
    }
    let length = message.bytes;
    for line in String::from_utf8_lossy(&bytes[..length]).lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => told.ready = true,
            Some(("WATCHDOG", "1")) => told.alive = true,
            Some(("FDSTORE", "1")) => told.store = Some(Change::Keep),
            Some(("FDSTOREREMOVE", "1")) => told.store = Some(Change::Remove),
            Some(("FDNAME", name)) => told.name = Some(name.to_owned()),
            // STATUS, STOPPING, RELOADING, FDPOLL and whatever else: nothing that a supervisor must act on.
            _ => {}
        }
    }
    Ok(told)
}

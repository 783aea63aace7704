//! A service manager: a notify socket, and a store of descriptors that outlive the daemon.

use std::collections::BTreeMap;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use tempfile::TempDir;
use tokio::io::Interest;
use weir_link::notify::Notify;

use crate::descriptor_store::Inherited;

/// Plays systemd, as far as sd_notify(3) goes.
#[derive(Debug)]
pub struct Manager {
    directory: TempDir,
    socket: tokio::net::UnixDatagram,
    store: BTreeMap<String, OwnedFd>,
}

impl Manager {
    /// Listens on a socket of its own.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let socket =
            UnixDatagram::bind(directory.path().join("notify")).expect("a socket can be bound");
        socket.set_nonblocking(true).expect("a socket can be set");
        Self {
            directory,
            socket: tokio::net::UnixDatagram::from_std(socket).expect("there is a runtime"),
            store: BTreeMap::new(),
        }
    }

    /// What a daemon of it is given; it wants a sign of life within each `watchdog`.
    pub fn notify(&self, watchdog: Option<Duration>) -> Notify {
        Notify::to(Some(self.directory.path().join("notify").into()), watchdog)
    }

    /// The next message, after it was done.
    pub async fn next(&mut self) -> String {
        let (text, descriptors) = self
            .socket
            .async_io(Interest::READABLE, || receive(&self.socket))
            .await
            .expect("a message");
        let value = |key: &str| {
            let lines = text.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            values.next().unwrap_or_default().to_owned()
        };
        if value("FDSTORE") == "1" {
            assert_eq!(descriptors.len(), 1, "one descriptor for one name");
            self.store
                .extend(descriptors.into_iter().map(|one| (value("FDNAME"), one)));
        } else if value("FDSTOREREMOVE") == "1" {
            self.store.remove(&value("FDNAME"));
        }
        text
    }

    /// Works until a message begins so.
    pub async fn until(&mut self, begins: &str) -> String {
        loop {
            let message = self.next().await;
            if message.starts_with(begins) {
                return message;
            }
        }
    }

    /// Names in the store.
    pub fn names(&self) -> Vec<&str> {
        self.store.keys().map(String::as_str).collect()
    }

    /// Puts something into the store.
    pub fn put(&mut self, name: &str, descriptor: OwnedFd) {
        self.store.insert(name.to_owned(), descriptor);
    }

    /// What the next process is handed; the store keeps its own.
    pub fn hand_over(&self) -> Inherited {
        let copies = self.store.iter().map(|(name, descriptor)| {
            let copy = descriptor.try_clone().expect("a descriptor can be copied");
            (name.clone(), copy)
        });
        Inherited(copies.collect())
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

fn receive(socket: &tokio::net::UnixDatagram) -> std::io::Result<(String, Vec<OwnedFd>)> {
    let mut bytes = [0; 1024];
    let mut control = nix::cmsg_space!([i32; 4]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<UnixAddr>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for us alone.
            let owned = numbers
                .iter()
                .map(|one| unsafe { OwnedFd::from_raw_fd(*one) });
            descriptors.extend(owned);
        }
    }
    let length = message.bytes;
    Ok((
        String::from_utf8_lossy(&bytes[..length]).into_owned(),
        descriptors,
    ))
}

//! Tells the service manager how a daemon is doing, and leaves descriptors with it: the sd_notify(3)
//! protocol, datagrams of `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names. Without that
//! variable nothing is sent.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use tokio::time::{MissedTickBehavior, interval};

/// A service manager that takes nothing for so long is not waited for.
const PATIENCE: TimeVal = TimeVal::new(1, 0);

/// The service manager, or nobody. Copies speak to the same.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    manager: Option<Arc<Manager>>,
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Manager {
    socket: OwnedFd,
    address: UnixAddr,
}

impl Notify {
    /// The service manager that `NOTIFY_SOCKET` in the environment names; it wants a sign of life as
    /// often as `WATCHDOG_USEC` says, when `WATCHDOG_PID` is this process or absent.
    pub fn from_env() -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let mine = std::env::var_os("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(std::process::id().into());
        let every = number("WATCHDOG_USEC").filter(|every| mine && *every > 0);
        Self::to(
            std::env::var_os("NOTIFY_SOCKET"),
            every.map(Duration::from_micros),
        )
    }

    /// The socket at this path, or in the abstract namespace when it begins with `@`; it wants a sign of
    /// life within each `watchdog`.
    pub fn to(name: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let manager = name.filter(|name| !name.is_empty()).and_then(|name| {
            match open(&name) {
                Ok(manager) => Some(Arc::new(manager)),
                Err(error) => {
                    tracing::warn!(socket = %name.display(), %error, "NOTIFY_SOCKET cannot be used");
                    None
                }
            }
        });
        Self { manager, watchdog }
    }

    /// Whether there is a service manager.
    pub fn is_heard(&self) -> bool {
        self.manager.is_some()
    }

    /// The longest that the service manager waits for [`Notify::alive`]; `None` when it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.is_heard())
    }

    /// The daemon does its work.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=in force");
    }

    /// A reload begins; [`Notify::ready`] ends it.
    pub fn reloading(&self) {
        // Type=notify-reload wants the time at which the reload began (systemd 253 and later).
        let now = monotonic_microseconds();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.say(&format!("STATUS={}", line.replace('\n', " ")));
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The sign of life that the watchdog waits for.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// Does `work`, and gives the sign of life as long as the task that does it is not stuck.
    pub async fn alive_during<T>(&self, work: impl Future<Output = T>) -> T {
        let Some(watchdog) = self.watchdog() else {
            return work.await;
        };
        let mut beat = interval(watchdog / 3);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = beat.tick() => self.alive(),
            }
        }
    }

    /// Leaves a copy of `descriptor` with the service manager, which hands it to the next process of
    /// this service under this name (`FDSTORE=1`). It is kept also when nobody reads from it. Blocks for
    /// a second at most.
    pub fn keep(&self, name: &str, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let message = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        self.send(&message, Some(descriptor), MsgFlags::empty())
    }

    /// Has the service manager close what [`Notify::keep`] left under this name. Blocks for a second at
    /// most.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        let message = format!("FDSTOREREMOVE=1\nFDNAME={name}");
        self.send(&message, None, MsgFlags::empty())
    }

    /// What must arrive; waits for room.
    fn tell(&self, message: &str) {
        if let Err(error) = self.send(message, None, MsgFlags::empty()) {
            tracing::warn!(%error, message, "the service manager does not listen");
        }
    }

    /// What is repeated; never waits.
    fn say(&self, message: &str) {
        if let Err(error) = self.send(message, None, MsgFlags::MSG_DONTWAIT) {
            tracing::debug!(%error, message, "the service manager does not listen");
        }
    }

    fn send(
        &self,
        message: &str,
        descriptor: Option<BorrowedFd<'_>>,
        flags: MsgFlags,
    ) -> io::Result<()> {
        let Some(manager) = &self.manager else {
            return Ok(());
        };
        let descriptors: Vec<_> = descriptor.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let attached = if descriptors.is_empty() {
            &[]
        } else {
            rights.as_slice()
        };
        sendmsg(
            manager.socket.as_raw_fd(),
            &[IoSlice::new(message.as_bytes())],
            attached,
            flags | MsgFlags::MSG_NOSIGNAL,
            Some(&manager.address),
        )?;
        Ok(())
    }
}

/// CLOCK_MONOTONIC, which `std` has but does not show as a number.
fn monotonic_microseconds() -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a timespec that may be written. The call fails for unknown clocks only.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

fn open(name: &OsString) -> io::Result<Manager> {
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => UnixAddr::new_abstract(rest)?,
        _ => UnixAddr::new(name.as_os_str())?,
    };
    let socket = OwnedFd::from(UnixDatagram::unbound()?);
    setsockopt(&socket, sockopt::SendTimeout, &PATIENCE)?;
    Ok(Manager { socket, address })
}

//! Tells the service manager how weir-control is doing: the sd_notify(3) protocol, one datagram of
//! `KEY=VALUE` lines to the socket that `NOTIFY_SOCKET` names. Without that variable nothing is sent.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, or nobody.
#[derive(Debug)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl Notify {
    /// The service manager that `NOTIFY_SOCKET` in the environment names.
    pub fn from_env() -> Self {
        Self::to(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// The socket at this path, or in the abstract namespace when it begins with `@`.
    pub fn to(name: Option<OsString>) -> Self {
        let to = name.filter(|name| !name.is_empty()).and_then(|name| {
            match open(&name) {
                Ok(to) => Some(to),
                Err(error) => {
                    tracing::warn!(socket = %name.display(), %error, "NOTIFY_SOCKET cannot be used");
                    None
                }
            }
        });
        Self { to }
    }

    /// Both planes are up.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=in force");
    }

    /// A reload begins; [`Notify::ready`] ends it.
    pub fn reloading(&self) {
        // Type=notify-reload wants the time at which the reload began (systemd 253 and later).
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={}",
            monotonic_microseconds()
        ));
    }

    /// One line for `systemctl status`.
    pub fn status(&self, line: &str) {
        self.send(&format!("STATUS={}", line.replace('\n', " ")));
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(message.as_bytes(), to)
        {
            tracing::debug!(%error, "the service manager does not listen");
        }
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

fn open(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_it_is_ready() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let notify = Notify::to(Some(path.into()));

        notify.ready();
        notify.reloading();

        let mut buffer = [0; 128];
        let length = manager.recv(&mut buffer).expect("a datagram");
        assert!(buffer[..length].starts_with(b"READY=1\n"));
        let length = manager.recv(&mut buffer).expect("a datagram");
        let reloading = String::from_utf8_lossy(&buffer[..length]).into_owned();
        assert!(
            reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{reloading}"
        );
    }

    #[test]
    fn nobody_to_tell_is_no_error() {
        Notify::to(None).ready();
    }
}

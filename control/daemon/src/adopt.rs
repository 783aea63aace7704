//! Takes listening sockets back from a proxy that outlived its weir-control.
//!
//! While the proxy listens on a service's address nobody else can, and a second socket beside it
//! (SO_REUSEPORT) would share its connections and lose the half that nobody accepts. So weir-control
//! copies the proxy's own descriptors: pidfd_getfd(2), Linux 5.6, allowed to whoever may trace the
//! process (CAP_SYS_PTRACE).

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};

use socket2::Socket;

use crate::process::Process;

/// Copies of the sockets that process `pid` listens on, as far as their addresses are `wanted`.
pub fn listeners(pid: u32, wanted: &[SocketAddr]) -> io::Result<Vec<(SocketAddr, OwnedFd)>> {
    let mut missing: BTreeSet<_> = wanted.iter().copied().collect();
    let process = Process::open(pid)?;
    let mut numbers: Vec<RawFd> = std::fs::read_dir(format!("/proc/{pid}/fd"))?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let what = std::fs::read_link(entry.path()).ok()?;
            what.to_str()?.starts_with("socket:").then_some(())?;
            entry.file_name().to_str()?.parse().ok()
        })
        .collect();
    // Listeners are older than connections.
    numbers.sort_unstable();
    let mut found = Vec::new();
    for number in numbers {
        if missing.is_empty() {
            break;
        }
        let socket = match process.descriptor(number) {
            Ok(socket) => Socket::from(socket),
            // Closed since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => continue,
            Err(error) => return Err(error),
        };
        let address = socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket());
        if let Some(address) = address
            && socket.is_listener().unwrap_or(false)
            && missing.remove(&address)
        {
            found.push((address, socket.into()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_a_process_is_copied_and_nothing_else() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let client = std::net::TcpStream::connect(address).expect("connected");
        let connection = listener.accept().expect("accepted");

        let found = listeners(std::process::id(), &[address]).expect("one's own process");

        drop((listener, other, connection));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, address);
        let kept = Socket::from(found.into_iter().next().expect("one").1);
        let again = std::net::TcpStream::connect(address).expect("the copy listens on");
        assert!(kept.accept().is_ok());
        drop((client, again));
    }
}

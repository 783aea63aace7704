//! Finds connections of this machine's stack, and ends them, by sock_diag(7).

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::netlink::Socket;

/// `NETLINK_SOCK_DIAG`.
const PROTOCOL: libc::c_int = 4;
/// `SOCK_DIAG_BY_FAMILY`
const LIST: u16 = 20;
/// `SOCK_DESTROY` (Linux 4.5, `CONFIG_INET_DIAG_DESTROY`).
const DESTROY: u16 = 21;
const TCP: libc::c_int = libc::IPPROTO_TCP;
/// Every state but `TIME_WAIT` (6), `CLOSE` (7) and `LISTEN` (10), as bits.
const STATES: u32 = 0x1ffe & !(1 << 6 | 1 << 7 | 1 << 10);
/// Those in which the far end has shown that it is there, and that have not ended: `ESTABLISHED`, `FIN_WAIT1`,
/// `FIN_WAIT2` and `CLOSE_WAIT`. Who only sends a SYN may have written any address into it.
const LIVE: [u8; 4] = [1, 4, 5, 8];
/// `struct inet_diag_sockid`: both ports, both addresses, interface, cookie.
const ID: usize = 48;

/// Ends the connections to these addresses whose other end is to go. Gives how many.
pub(crate) fn cut(local: &[SocketAddr], goes: &dyn Fn(IpAddr) -> bool) -> io::Result<usize> {
    let socket = Socket::open(PROTOCOL)?;
    let mut ports: BTreeMap<(Family, u16), BTreeSet<IpAddr>> = BTreeMap::new();
    for address in local {
        let family = Family::of(address.ip());
        let addresses = ports.entry((family, address.port())).or_default();
        addresses.insert(address.ip());
    }
    let mut ended = 0;
    let mut failed = None;
    for ((family, port), addresses) in ports {
        // The kernel goes by all its sockets for a list, and most of them stay: one list for all addresses,
        // and of it no more is held than what goes.
        let mut going = Vec::new();
        let mut wanted = [0; ID];
        wanted[0..2].copy_from_slice(&port.to_be_bytes());
        socket.list(LIST, &request(family, TCP, &wanted), |entry| {
            // `struct inet_diag_msg`: four bytes, then which socket.
            if let Some(id) = entry.get(4..).and_then(<[u8]>::first_chunk::<ID>)
                && addresses.contains(&family.address(&id[4..20]))
                && goes(family.address(&id[20..36]))
            {
                going.push(*id);
            }
        })?;
        for id in going {
            match socket.request(DESTROY, 0, &request(family, TCP, &id)) {
                Ok(()) => ended += 1,
                // It ended by itself.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                // The others go all the same.
                Err(error) => failed = Some(error),
            }
        }
    }
    failed.map_or(Ok(ended), Err)
}

/// Whether there is a live connection to one of these addresses whose other end is this one. The kernel looks
/// each one up, and goes through no list.
pub(crate) fn connected(local: &[SocketAddr], far: SocketAddr) -> io::Result<bool> {
    let far = SocketAddr::new(far.ip().to_canonical(), far.port());
    let family = Family::of(far.ip());
    let socket = Socket::open(PROTOCOL)?;
    for near in local {
        let near = SocketAddr::new(near.ip().to_canonical(), near.port());
        if Family::of(near.ip()) != family {
            continue;
        }
        match socket.ask(LIST, &request(family, TCP, &id(near, far))) {
            // Where there is none, the kernel tells of the listener.
            Ok(entry) => {
                let live = entry.get(1).is_some_and(|state| LIVE.contains(state));
                if live && entry.get(4..40) == Some(&id(near, far)[..36]) {
                    return Ok(true);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Which socket, whatever its cookie is (`INET_DIAG_NOCOOKIE`).
fn id(near: SocketAddr, far: SocketAddr) -> [u8; ID] {
    let mut id = [0; ID];
    for (end, (port, address)) in [(near, (0, 4)), (far, (2, 20))] {
        id[port..port + 2].copy_from_slice(&end.port().to_be_bytes());
        match end.ip() {
            IpAddr::V4(four) => id[address..address + 4].copy_from_slice(&four.octets()),
            IpAddr::V6(six) => id[address..address + 16].copy_from_slice(&six.octets()),
        }
    }
    id[40..].fill(0xff);
    id
}

/// `struct inet_diag_req_v2`
fn request(family: Family, protocol: libc::c_int, id: &[u8; ID]) -> Vec<u8> {
    let family = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    let mut body = vec![
        u8::try_from(family).expect("a small number"),
        u8::try_from(protocol).expect("a small number"),
        0,
        0,
    ];
    body.extend(STATES.to_ne_bytes());
    body.extend(id);
    body
}

/// Family of a list, and of the addresses in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// An address, from sixteen bytes.
    fn address(self, bytes: &[u8]) -> IpAddr {
        let bytes: [u8; 16] = bytes.try_into().expect("sixteen bytes");
        match self {
            Self::V4 => {
                let [a, b, c, d, ..] = bytes;
                IpAddr::from([a, b, c, d])
            }
            Self::V6 => IpAddr::from(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn only_a_live_connection_is_one() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(any).expect("loopback");
            let near = listener.local_addr().expect("bound");
            let mut client = TcpStream::connect(near).expect("it listens");
            let far = client.local_addr().expect("connected");
            let (mut server, _) = listener.accept().expect("it waits");
            let is = |near: SocketAddr, far: SocketAddr| connected(&[near], far).expect("told");
            assert!(is(near, far));
            let mapped = |end: SocketAddr| match end.ip() {
                IpAddr::V4(four) => SocketAddr::new(four.to_ipv6_mapped().into(), end.port()),
                IpAddr::V6(_) => end,
            };
            assert!(is(mapped(near), mapped(far)));
            let beside = |end: SocketAddr| SocketAddr::new(end.ip(), end.port() ^ 1);
            // The listener is no connection of whoever there is not.
            assert!(!is(near, beside(far)) && !is(beside(near), far));
            assert!(connected(&[beside(near), near], far).expect("told"));
            assert!(!connected(&[], far).expect("told"));

            // The client waits for the last word, and then both have ended.
            client
                .shutdown(std::net::Shutdown::Write)
                .expect("connected");
            assert_eq!(server.read(&mut [0]).expect("its end"), 0);
            assert!(is(near, far));
            drop(server);
            assert_eq!(client.read(&mut [0]).expect("its end"), 0);
            assert!(!is(near, far));
        }
    }

    #[test]
    fn a_list_that_cannot_be_had_is_not_an_empty_one() {
        let socket = Socket::open(PROTOCOL).expect("a socket");
        let list = |protocol| {
            let body = request(Family::V4, protocol, &[0; ID]);
            socket.list(LIST, &body, |_| {})
        };
        list(TCP).expect("connections");
        // No transport protocol: for experiments (RFC 3692).
        let error = list(253).expect_err("nobody knows its connections");
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }
}

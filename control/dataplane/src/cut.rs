//! Ends connections of this machine's stack, by sock_diag(7).

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::netlink::Socket;

/// `NETLINK_SOCK_DIAG`.
const PROTOCOL: libc::c_int = 4;
/// `SOCK_DIAG_BY_FAMILY`
const LIST: u16 = 20;
/// `SOCK_DESTROY` (Linux 4.5, `CONFIG_INET_DIAG_DESTROY`).
const DESTROY: u16 = 21;
/// Every state but `TIME_WAIT` (6), `CLOSE` (7) and `LISTEN` (10), as bits.
const STATES: u32 = 0x1ffe & !(1 << 6 | 1 << 7 | 1 << 10);
/// `struct inet_diag_sockid`: both ports, both addresses, interface, cookie.
const ID: usize = 48;

/// Ends the connections to these addresses whose other end is to go. Gives how many.
pub(crate) fn cut(local: &[SocketAddr], goes: &dyn Fn(IpAddr) -> bool) -> io::Result<usize> {
    let socket = Socket::open(PROTOCOL)?;
    let mut ended = 0;
    for address in local {
        let mut wanted = [0; ID];
        wanted[0..2].copy_from_slice(&address.port().to_be_bytes());
        for entry in socket.dump(LIST, &request(*address, &wanted))? {
            // `struct inet_diag_msg`: four bytes, then which socket.
            let Some(id) = entry.get(4..4 + ID) else {
                continue;
            };
            let id: [u8; ID] = id.try_into().expect("as long");
            if of(*address, &id[4..20]) != address.ip() || !goes(of(*address, &id[20..36])) {
                continue;
            }
            match socket.request(DESTROY, 0, &request(*address, &id)) {
                Ok(()) => ended += 1,
                // It ended by itself.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(ended)
}

/// `struct inet_diag_req_v2`
fn request(address: SocketAddr, id: &[u8; ID]) -> Vec<u8> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut body = vec![
        u8::try_from(family).expect("a small number"),
        u8::try_from(libc::IPPROTO_TCP).expect("a small number"),
        0,
        0,
    ];
    body.extend(STATES.to_ne_bytes());
    body.extend(id);
    body
}

/// An address of the family of `like`, from sixteen bytes.
fn of(like: SocketAddr, bytes: &[u8]) -> IpAddr {
    let bytes: [u8; 16] = bytes.try_into().expect("sixteen bytes");
    if like.is_ipv4() {
        let [a, b, c, d, ..] = bytes;
        IpAddr::from([a, b, c, d])
    } else {
        IpAddr::from(bytes)
    }
}

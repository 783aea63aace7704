//! Keeps the kernel's knowledge of neighbours fresh where XDP forwards. The network stack verifies a
//! neighbour when it sends to it; XDP sends past the stack, so that a neighbour which is not there any
//! more, or has another address, would stay known, and what is sent to it lost.

use std::io;

use crate::netlink::{Socket, attribute, find};

const NEW: u16 = 28;
const GET: u16 = 30;
/// `struct ndmsg`.
const HEADER: usize = 12;
/// `NDA_*`.
const ADDRESS: u16 = 1;
const INTERFACE: u16 = 8;
/// `NUD_STALE`: not heard of for a while, and not asked.
const STALE: u16 = 4;
/// `NTF_USE`: as if something was sent to it.
const USE: u8 = 1;
/// Neighbours that are asked at once, at most.
const AT_ONCE: usize = 256;

/// Makes the kernel ask the neighbours on an interface that it has not heard of for a while.
pub(crate) fn refresh(interface: u32) -> io::Result<()> {
    let socket = Socket::open(libc::NETLINK_ROUTE)?;
    let mut body = vec![0_u8; HEADER];
    attribute(&mut body, INTERFACE, &interface.to_ne_bytes());
    let mut neighbours = Vec::new();
    socket.list(GET, &body, |entry| neighbours.push(entry.to_vec()))?;
    let stale = neighbours.iter().filter_map(|answer| {
        let header = answer.get(..HEADER)?;
        let is_stale = u16::from_ne_bytes([header[8], header[9]]) & STALE != 0;
        let here = header[4..8] == interface.to_ne_bytes();
        let address = find(&answer[HEADER..], ADDRESS)?;
        (is_stale && here).then_some((header[0], address))
    });
    for (family, address) in stale.take(AT_ONCE) {
        let mut body = vec![family, 0, 0, 0];
        body.extend(interface.to_ne_bytes());
        body.extend([0, 0, USE, 0]);
        attribute(&mut body, ADDRESS, address);
        match socket.request(NEW, 0, &body) {
            // Gone since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            result => result?,
        }
    }
    Ok(())
}

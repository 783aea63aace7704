//! Brings marked packets to local sockets: a rule from the mark to a table, and in the table a route
//! that makes every address local. Written to rtnetlink(7) directly; for IPv4 and IPv6 alike, it is
//!
//! ```text
//! ip rule add fwmark MARK lookup TABLE priority 100
//! ip route add local default dev lo table TABLE
//! ```

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Before the rules that administrators usually write, after the table of local addresses.
const PRIORITY: u32 = 100;

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const REPLACE: u16 = 0x100;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

/// `FRA_*` and `RTA_*`.
const RULE_PRIORITY: u16 = 6;
const RULE_MARK: u16 = 10;
const RULE_TABLE: u16 = 15;
const RULE_MASK: u16 = 16;
const ROUTE_OUT: u16 = 4;
const ROUTE_TABLE: u16 = 15;

/// `FR_ACT_TO_TBL`, `RTN_LOCAL`, `RT_SCOPE_HOST`, `RTPROT_STATIC`.
const TO_TABLE: u8 = 1;
const LOCAL: u8 = 2;
const HOST: u8 = 254;
const STATIC: u8 = 4;

/// Families to write rules and routes for.
pub(crate) const FAMILIES: [u8; 2] = [2, 10];

/// Adds rule and route of one family, unless they are there.
pub(crate) fn add(family: u8, mark: u32, table: u32) -> io::Result<()> {
    let socket = Socket::open()?;
    match socket.request(NEW_RULE, CREATE | EXCLUSIVE, &rule(family, mark, table)) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    socket.request(NEW_ROUTE, CREATE | REPLACE, &route(family, table)?)
}

/// Puts back what somebody took away; tells whether anything was missing. What is there is not
/// touched: replacing a route makes the kernel look up every cached one again.
pub(crate) fn put_back(family: u8, mark: u32, table: u32) -> io::Result<bool> {
    let socket = Socket::open()?;
    let mut missing = false;
    for (kind, body) in [
        (NEW_RULE, rule(family, mark, table)),
        (NEW_ROUTE, route(family, table)?),
    ] {
        match socket.request(kind, CREATE | EXCLUSIVE, &body) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            result => {
                result?;
                missing = true;
            }
        }
    }
    Ok(missing)
}

/// Removes the rule of one family, and its route unless another rule still leads to the table; what is
/// not there is no error.
pub(crate) fn remove(family: u8, mark: u32, table: u32, keep_route: bool) -> io::Result<()> {
    let socket = Socket::open()?;
    let absent = [
        libc::ENOENT,
        libc::ESRCH,
        libc::EAFNOSUPPORT,
        libc::EOPNOTSUPP,
    ];
    for (kind, body) in [
        (DELETE_RULE, rule(family, mark, table)),
        (DELETE_ROUTE, route(family, table)?),
    ] {
        if kind == DELETE_ROUTE && keep_route {
            break;
        }
        match socket.request(kind, 0, &body) {
            Err(error)
                if error
                    .raw_os_error()
                    .is_some_and(|code| absent.contains(&code)) => {}
            result => result?,
        }
    }
    Ok(())
}

fn rule(family: u8, mark: u32, table: u32) -> Vec<u8> {
    // struct fib_rule_hdr; the table is in an attribute, which holds numbers beyond 255.
    let mut body = vec![family, 0, 0, 0, 0, 0, 0, TO_TABLE, 0, 0, 0, 0];
    attribute(&mut body, RULE_PRIORITY, PRIORITY);
    attribute(&mut body, RULE_MARK, mark);
    attribute(&mut body, RULE_MASK, u32::MAX);
    attribute(&mut body, RULE_TABLE, table);
    body
}

fn route(family: u8, table: u32) -> io::Result<Vec<u8>> {
    let loopback = crate::sys::interface("lo").ok_or_else(io::Error::last_os_error)?;
    // struct rtmsg.
    let mut body = vec![family, 0, 0, 0, 0, STATIC, HOST, LOCAL, 0, 0, 0, 0];
    attribute(&mut body, ROUTE_TABLE, table);
    attribute(&mut body, ROUTE_OUT, loopback);
    Ok(body)
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: u32) {
    body.extend(8_u16.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value.to_ne_bytes());
}

struct Socket(OwnedFd);

impl Socket {
    fn open() -> io::Result<Self> {
        // SAFETY: a plain system call.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends one message and waits for its acknowledgement.
    fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let length = size_of::<libc::nlmsghdr>() + body.len();
        let mut message = Vec::with_capacity(length);
        message.extend(
            u32::try_from(length)
                .expect("a short message")
                .to_ne_bytes(),
        );
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST | ACK).to_ne_bytes());
        message.extend([0_u8; 8]);
        message.extend(body);
        // SAFETY: all-zero is a valid address: the kernel.
        let mut kernel: libc::sockaddr_nl = unsafe { zeroed() };
        kernel.nl_family = 16; // AF_NETLINK
        let size = u32::try_from(size_of::<libc::sockaddr_nl>()).expect("a small structure");
        // SAFETY: pointers and lengths describe `message` and `kernel`.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
                (&raw const kernel).cast(),
                size,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut answer = [0_u8; 4096];
        // SAFETY: pointer and length describe `answer`.
        let received = unsafe {
            libc::recv(
                self.0.as_raw_fd(),
                answer.as_mut_ptr().cast(),
                answer.len(),
                0,
            )
        };
        if received < 0 {
            return Err(io::Error::last_os_error());
        }
        // struct nlmsghdr, then struct nlmsgerr, which begins with the negative error number.
        let code = answer[..usize::try_from(received).expect("not negative")]
            .get(16..20)
            .and_then(|bytes| bytes.try_into().ok())
            .map(i32::from_ne_bytes)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        if code == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(-code))
        }
    }
}

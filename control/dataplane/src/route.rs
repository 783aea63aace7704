//! Brings marked packets to local sockets: a rule from the mark to a table, and in the table a route
//! that makes every address local. Written to rtnetlink(7) directly; for IPv4 and IPv6 alike, it is
//!
//! ```text
//! ip rule add fwmark MARK lookup TABLE priority 100
//! ip route add local default dev lo table TABLE
//! ```

use std::io;

use crate::netlink::{Socket, attribute};

/// Before the rules that administrators usually write, after the table of local addresses.
const PRIORITY: u32 = 100;

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;

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
    let socket = Socket::open(libc::NETLINK_ROUTE)?;
    match socket.request(NEW_RULE, CREATE | EXCLUSIVE, &rule(family, mark, table)) {
        Err(error) if error.raw_os_error() != Some(libc::EEXIST) => return Err(error),
        _ => {}
    }
    socket.request(NEW_ROUTE, CREATE | REPLACE, &route(family, table)?)
}

/// Puts back what somebody took away; tells whether anything was missing. What is there is not
/// touched: replacing a route makes the kernel look up every cached one again.
pub(crate) fn put_back(family: u8, mark: u32, table: u32) -> io::Result<bool> {
    let socket = Socket::open(libc::NETLINK_ROUTE)?;
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
    let socket = Socket::open(libc::NETLINK_ROUTE)?;
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
    attribute(&mut body, RULE_PRIORITY, &PRIORITY.to_ne_bytes());
    attribute(&mut body, RULE_MARK, &mark.to_ne_bytes());
    attribute(&mut body, RULE_MASK, &u32::MAX.to_ne_bytes());
    attribute(&mut body, RULE_TABLE, &table.to_ne_bytes());
    body
}

fn route(family: u8, table: u32) -> io::Result<Vec<u8>> {
    let loopback = crate::sys::interface("lo").ok_or_else(io::Error::last_os_error)?;
    // struct rtmsg.
    let mut body = vec![family, 0, 0, 0, 0, STATIC, HOST, LOCAL, 0, 0, 0, 0];
    attribute(&mut body, ROUTE_TABLE, &table.to_ne_bytes());
    attribute(&mut body, ROUTE_OUT, &loopback.to_ne_bytes());
    Ok(body)
}

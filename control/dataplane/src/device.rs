//! What an interface is, and what XDP can do on it, as the kernel tells.

use std::io;

use crate::ethtool::{self, Driver};
use crate::netlink::{Socket, attribute, find, number};

const GET_LINK: u16 = 18;
/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `IFLA_*`.
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_XDP: u16 = 43;
/// `IFLA_XDP_*`: id of the program that runs in the driver.
const XDP_DRIVER_PROGRAM: u16 = 5;
const XDP_PROGRAM: u16 = 4;
const XDP_ATTACHED: u16 = 2;
/// `XDP_ATTACHED_DRV`, `XDP_ATTACHED_MULTI`.
const IN_DRIVER: u8 = 1;
const SEVERAL: u8 = 4;

/// Generic netlink: the controller, its question for a family, and the family that tells of XDP, since
/// Linux 6.3 (d3d854fd6a1d).
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const FAMILY: &[u8] = b"netdev\0";
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;

/// `NETDEV_XDP_ACT_*`: runs programs, takes `XDP_REDIRECT` from them; takes what others redirect to it.
const BASIC: u32 = 1;
const REDIRECT: u32 = 2;
const TARGET: u32 = 4;

/// An interface of this network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Its name.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u32,
    /// What its headers are: `ARPHRD_*`.
    pub(crate) hardware: u16,
    /// Its Ethernet address; zeros for what has another kind of address.
    pub(crate) address: [u8; 6],
    /// Id of the XDP program that runs in its driver.
    pub(crate) native: Option<u32>,
    /// Id of an XDP program that runs on it in whatever way.
    pub(crate) any_xdp: Option<u32>,
    /// What XDP can do on it; absent when the kernel does not tell.
    features: Option<u32>,
}

impl Device {
    /// Looks an interface up; nothing when there is none of this name.
    pub(crate) fn find(name: &str) -> io::Result<Option<Self>> {
        let mut body = vec![0_u8; LINK_HEADER];
        let mut terminated = name.as_bytes().to_vec();
        terminated.push(0);
        attribute(&mut body, LINK_NAME, &terminated);
        let answer = match Socket::open(libc::NETLINK_ROUTE)?.ask(GET_LINK, &body) {
            // ERANGE: longer than a name can be.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ERANGE)) => {
                return Ok(None);
            }
            answer => answer?,
        };
        let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let header = answer.get(..LINK_HEADER).ok_or_else(short)?;
        let attributes = &answer[LINK_HEADER..];
        let index = u32::from_ne_bytes(header[4..8].try_into().expect("four bytes"));
        let xdp = find(attributes, LINK_XDP).unwrap_or_default();
        let attached = find(xdp, XDP_ATTACHED).and_then(|value| value.first().copied());
        let native = match attached {
            Some(IN_DRIVER) => number(xdp, XDP_PROGRAM),
            Some(SEVERAL) => number(xdp, XDP_DRIVER_PROGRAM),
            _ => None,
        };
        Ok(Some(Self {
            name: name.to_owned(),
            index,
            hardware: u16::from_ne_bytes([header[2], header[3]]),
            address: find(attributes, LINK_ADDRESS)
                .and_then(|address| address.try_into().ok())
                .unwrap_or_default(),
            native,
            any_xdp: number(xdp, XDP_PROGRAM).or(native),
            features: features(index),
        }))
    }

    /// Whether its driver runs XDP programs that redirect; true when the kernel does not tell.
    pub(crate) fn runs_xdp(&self) -> bool {
        let needed = BASIC | REDIRECT;
        self.features.is_none_or(|has| has & needed == needed)
    }

    /// Whether it sends what XDP redirects to it; false when the kernel does not tell, because such
    /// frames would be lost.
    pub(crate) fn takes_redirected(&self) -> bool {
        self.features.is_some_and(|has| has & TARGET != 0)
    }

    /// What its driver says; nothing known when it says nothing.
    pub(crate) fn driver(&self) -> Driver {
        ethtool::driver(&self.name).unwrap_or_default()
    }
}

/// What XDP can do on an interface, if the kernel tells.
fn features(index: u32) -> Option<u32> {
    let socket = Socket::open(libc::NETLINK_GENERIC).ok()?;
    // struct genlmsghdr, and attributes.
    let mut body = vec![GET_FAMILY, 1, 0, 0];
    attribute(&mut body, FAMILY_NAME, FAMILY);
    let answer = socket.ask(CONTROLLER, &body).ok()?;
    let family = find(answer.get(4..)?, FAMILY_ID)?;
    let family = u16::from_ne_bytes(family.get(..2)?.try_into().ok()?);
    let mut body = vec![GET_DEVICE, 1, 0, 0];
    attribute(&mut body, DEVICE_INDEX, &index.to_ne_bytes());
    let answer = socket.ask(family, &body).ok()?;
    let features = find(answer.get(4..)?, DEVICE_XDP_FEATURES)?;
    let features = u64::from_ne_bytes(features.try_into().ok()?);
    u32::try_from(features & u64::from(u32::MAX)).ok()
}

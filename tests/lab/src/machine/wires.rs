//! The machine's wires: taps in the lab's namespaces, which qemu gets as descriptors, because it runs in one of them.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::netns::Part;
use crate::topology::{INSIDE, LAN, MANAGEMENT, OUTSIDE, WAN};

/// A network card of the machine's.
pub struct Wire {
    /// What it is called in the machine.
    pub name: &'static str,
    /// Its address on the wire, by which the machine knows it.
    pub mac: &'static str,
    at: Part,
    tap: &'static str,
}

/// All of them.
pub const ALL: [Wire; 3] = [
    Wire {
        name: MANAGEMENT,
        mac: "52:54:00:57:45:01",
        at: Part::Weir,
        tap: MANAGEMENT,
    },
    Wire {
        name: OUTSIDE,
        mac: "52:54:00:57:45:02",
        at: Part::Inet,
        tap: WAN,
    },
    Wire {
        name: INSIDE,
        mac: "52:54:00:57:45:03",
        at: Part::Idp,
        tap: LAN,
    },
];

/// Opens the other ends, in the order of [`ALL`].
pub fn open(lab: &Lab) -> Result<Vec<OwnedFd>> {
    ALL.iter()
        .map(|wire| {
            let device = wire.tap;
            lab.namespace(wire.at)
                .run(move || attach(device))?
                .with_context(|| format!("cannot open the tap {device}: is /dev/net/tun there?"))
        })
        .collect()
}

/// Becomes what sends and receives on a tap of this namespace.
fn attach(device: &str) -> io::Result<OwnedFd> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    // SAFETY: all of its fields are numbers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::c_short::try_from(libc::IFF_TAP | libc::IFF_NO_PI);
    request.ifr_ifru.ifru_flags = flags.expect("both are bits of a short");
    // SAFETY: TUNSETIFF takes an `ifreq`, which lives during the call.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file.into())
}

//! Links: what holds a program on an interface, at either hook, beyond the life of this process.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use weir_abi::Hook;

use crate::sys::{self, OBJ_GET_INFO_BY_FD, OBJ_PIN};

const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

/// `BPF_XDP`, `BPF_TCX_INGRESS`.
const AT_XDP: u32 = 37;
const AT_TCX: u32 = 46;
/// In the driver or not at all: `XDP_FLAGS_DRV_MODE`.
const NATIVE: u32 = 1 << 2;

/// A program on an interface.
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Puts a program on an interface, behind those that are there at tcx; at XDP there is room for one.
    /// The program leaves with the link unless that is pinned.
    pub(crate) fn new(hook: Hook, program: BorrowedFd<'_>, interface: u32) -> io::Result<Self> {
        let (attach_type, flags) = match hook {
            Hook::Tcx => (AT_TCX, 0),
            Hook::Xdp => (AT_XDP, NATIVE),
        };
        let mut attr = Create {
            program: sys::raw(program),
            interface,
            attach_type,
            flags,
        };
        Ok(Self(sys::owned(sys::bpf(LINK_CREATE, &mut attr)?)))
    }

    /// The link that is pinned here.
    pub(crate) fn pinned(path: &Path) -> io::Result<Self> {
        sys::pinned(path).map(Self)
    }

    /// The program and the interface, each by its number. The interface is 0 once it is gone.
    pub(crate) fn holds(&self) -> io::Result<(u32, u32)> {
        let mut info = Info::default();
        let mut attr = sys::ObjectInfo::new(self.0.as_raw_fd(), &mut info);
        sys::bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
        Ok((info.program, info.interface))
    }

    /// Swaps the program; packets meet the old one or the new one, never none.
    pub(crate) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let mut attr = Update {
            link: self.0.as_raw_fd().cast_unsigned(),
            program: sys::raw(program),
            ..Update::default()
        };
        sys::bpf(LINK_UPDATE, &mut attr).map(drop)
    }

    /// Keeps the link alive at a path in a bpffs.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        // A link that is gone may have left its name.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let name = sys::c_path(path)?;
        let mut attr = sys::Object::new(&name, self.0.as_raw_fd().cast_unsigned());
        sys::bpf(OBJ_PIN, &mut attr).map(drop)
    }
}

/// Takes the program of the pinned link off its interface, and removes the pin. Removing the pin would
/// take it off too, but a moment later: when the kernel gets to it.
pub(crate) fn take_off(path: &Path) -> io::Result<()> {
    if let Ok(link) = Link::pinned(path) {
        let mut attr = link.0.as_raw_fd().cast_unsigned();
        // Refused when the interface is gone, and the program with it.
        let _ = sys::bpf(LINK_DETACH, &mut attr);
    }
    fs::remove_file(path)
}

#[repr(C)]
struct Create {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Update {
    link: u32,
    program: u32,
    flags: u32,
    expected: u32,
}

/// `struct bpf_link_info`, for links at interfaces.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    program: u32,
    gap: u32,
    interface: u32,
    attach_type: u32,
}

//! As much of netlink(7) as this crate speaks: one message out; its acknowledgement, answer or list back.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `NLMSG_ERROR`: also an acknowledgement, of error number zero.
const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a list.
const DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bits of an attribute's kind that say how to read it (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const KIND_FLAGS: u16 = 0xc000;

/// A socket to one part of the kernel.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Opens a socket of a protocol: `NETLINK_*`.
    pub(crate) fn open(protocol: libc::c_int) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: a plain system call.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends one message and waits for its acknowledgement.
    pub(crate) fn request(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.exchange(kind, flags | ACK, body).map(drop)
    }

    /// Sends one question and waits for its answer: what follows the answer's header.
    pub(crate) fn ask(&self, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.exchange(kind, 0, body)
    }

    /// Asks for a list, and hands on what follows the header of each entry, as it comes.
    pub(crate) fn list(
        &self,
        kind: u16,
        body: &[u8],
        mut visit: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        self.send(kind, DUMP, body)?;
        loop {
            let messages = self.receive()?;
            let mut rest = messages.as_slice();
            while !rest.is_empty() {
                let (kind, body) = message(rest).ok_or(io::ErrorKind::UnexpectedEof)?;
                match kind {
                    // Also a list that ends early, or was never begun, ends so.
                    DONE | ERROR => return code(body),
                    _ => visit(body),
                }
                let length = (HEADER + body.len()).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }

    fn exchange(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        self.send(kind, flags, body)?;
        let answer = self.receive()?;
        let (kind, body) = message(&answer).ok_or(io::ErrorKind::UnexpectedEof)?;
        if kind == ERROR {
            code(body).map(|()| Vec::new())
        } else {
            Ok(body.to_vec())
        }
    }

    fn send(&self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        let length = HEADER + body.len();
        let mut message = Vec::with_capacity(length);
        message.extend(
            u32::try_from(length)
                .expect("a short message")
                .to_ne_bytes(),
        );
        message.extend(kind.to_ne_bytes());
        message.extend((flags | REQUEST).to_ne_bytes());
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
        Ok(())
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut answer = vec![0_u8; 32_768];
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
        answer.truncate(usize::try_from(received).expect("not negative"));
        Ok(answer)
    }
}

/// The kind of the first message in `bytes`, and what follows its header.
fn message(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((kind, bytes.get(HEADER..usize::try_from(length).ok()?)?))
}

/// What `struct nlmsgerr` says, or the end of a list: it begins with the negative error number, or zero.
fn code(body: &[u8]) -> io::Result<()> {
    let code = body
        .get(..4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes)
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(-code))
    }
}

/// Adds an attribute to a message.
pub(crate) fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("short values");
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// The value of an attribute, among those in `bytes`.
pub(crate) fn find(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & !KIND_FLAGS;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// A number among the attributes in `bytes`.
pub(crate) fn number(bytes: &[u8], wanted: u16) -> Option<u32> {
    let value = find(bytes, wanted)?;
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

//! Writes packets as pcapng (draft-ietf-opsawg-pcapng), which Wireshark and tcpdump read; what was decided
//! stands beside each packet as its comment. Pure: bytes out, no I/O.

use std::time::{SystemTime, UNIX_EPOCH};

/// Types of blocks and options (§4, §3.5).
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const TIME_RESOLUTION: u16 = 9;
const INTERFACE_DROPPED: u16 = 5;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;

/// A file that is being written.
#[derive(Debug, Default)]
pub struct Pcapng {
    interfaces: Vec<String>,
}

impl Pcapng {
    /// The beginning of a file by this application.
    pub fn header(application: &str) -> Vec<u8> {
        let mut body = Vec::new();
        // The byte order, version 1.0, and a section of unknown length.
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes());
        option(&mut body, USER_APPLICATION, application.as_bytes());
        end_of_options(&mut body);
        block(SECTION_HEADER, &body)
    }

    /// A packet of `length` bytes that came in at an interface, of which `frame` was kept, with a comment.
    pub fn packet(
        &mut self,
        interface: &str,
        snap: u32,
        time: SystemTime,
        length: u32,
        frame: &[u8],
        comment: &str,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let known = self.interfaces.iter().position(|name| name == interface);
        let number = known.unwrap_or_else(|| {
            bytes.extend(description(interface, snap));
            self.interfaces.push(interface.to_owned());
            self.interfaces.len() - 1
        });
        let mut body = Vec::with_capacity(64 + frame.len() + comment.len());
        body.extend(small(number).to_le_bytes());
        moment(&mut body, time);
        body.extend(small(frame.len()).to_le_bytes());
        body.extend(length.to_le_bytes());
        padded(&mut body, frame);
        option(&mut body, COMMENT, comment.as_bytes());
        end_of_options(&mut body);
        bytes.extend(block(ENHANCED_PACKET, &body));
        bytes
    }

    /// The end of the file: how many packets found no room on the way, told of the first interface.
    pub fn end(&self, time: SystemTime, lost: u64) -> Vec<u8> {
        if self.interfaces.is_empty() {
            return Vec::new();
        }
        let mut body = 0_u32.to_le_bytes().to_vec();
        moment(&mut body, time);
        option(&mut body, INTERFACE_DROPPED, &lost.to_le_bytes());
        end_of_options(&mut body);
        block(INTERFACE_STATISTICS, &body)
    }
}

fn description(name: &str, snap: u32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(ETHERNET.to_le_bytes());
    body.extend([0, 0]);
    body.extend(snap.to_le_bytes());
    option(&mut body, INTERFACE_NAME, name.as_bytes());
    // Nanoseconds: ten to the power of minus nine.
    option(&mut body, TIME_RESOLUTION, &[9]);
    end_of_options(&mut body);
    block(INTERFACE_DESCRIPTION, &body)
}

/// Nanoseconds since 1970, the upper half first.
fn moment(body: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    for half in [nanoseconds >> 32, nanoseconds & 0xffff_ffff] {
        body.extend(u32::try_from(half).unwrap_or(u32::MAX).to_le_bytes());
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = small(body.len() + 12).to_le_bytes();
    [&kind.to_le_bytes(), length.as_slice(), body, &length].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    let length = u16::try_from(value.len()).expect("cut to fit");
    body.extend(length.to_le_bytes());
    padded(body, value);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn padded(body: &mut Vec<u8>, value: &[u8]) {
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn small(length: usize) -> u32 {
    u32::try_from(length).expect("frames and comments are short")
}

//! What the programs tell of single packets: samples of beginning flows, and frames for a capture.
//!
//! Both go through ring buffers that never make a packet wait: what finds no room is lost, and counted.

use core::mem::{offset_of, size_of};

/// Bytes of a frame that a capture keeps at most: a whole frame of an ordinary Ethernet.
pub const SNAP: usize = 1536;
/// Bytes of the ring buffer for samples: some ten thousand.
pub const EVENTS_SIZE: u32 = 1 << 20;
/// Bytes of the ring buffer for captured frames: at least two thousand six hundred.
pub const CAPTURED_SIZE: u32 = 1 << 22;

/// Places in the array that is each CPU's own for telling.
pub mod telling {
    /// When the CPU may tell the next sample, in nanoseconds of the kernel's clock.
    pub const NEXT: u32 = 0;
    /// Samples that were lost: no room, or more than a CPU tells.
    pub const LOST_EVENTS: u32 = 1;
    /// Frames of a capture that were lost for want of room.
    pub const LOST_FRAMES: u32 = 2;
    /// How many places there are.
    pub const PLACES: u32 = 3;
}

/// One packet and what was decided; in a capture its first bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Nanoseconds since the machine was started, suspended or not.
    pub time: u64,
    /// Source address; IPv4 as IPv4-mapped IPv6.
    pub source: [u8; 16],
    /// Destination address, likewise.
    pub destination: [u8; 16],
    /// Bytes in the packet, from the Ethernet header on.
    pub length: u32,
    /// Index of the interface that it entered at.
    pub interface: u32,
    /// Bytes of it that follow.
    pub kept: u32,
    /// Service, or [`NO_SERVICE`](crate::NO_SERVICE).
    pub service: u16,
    /// Source and destination port; zero for what has none.
    pub ports: [u16; 2],
    /// Number of the class.
    pub class: u8,
    /// Number of the verdict.
    pub verdict: u8,
    /// Number of the reason.
    pub reason: u8,
    /// Number of the hook.
    pub hook: u8,
    /// Transport protocol.
    pub protocol: u8,
    /// Flags of TCP.
    pub flags: u8,
    /// 1 when it came from the side of the servers.
    pub inside: u8,
    /// 1 when the verdict was not carried out, because the service is only observed.
    pub observed: u8,
    /// For the programs: what wants it, [`Seen::EVENT`] and [`Seen::FRAME`].
    pub wanted: u8,
    /// Zero.
    pub reserved: [u8; 5],
}

impl Seen {
    /// Bit of [`Seen::wanted`]: it is a sample.
    pub const EVENT: u8 = 1;
    /// Bit of [`Seen::wanted`]: it goes into a capture.
    pub const FRAME: u8 = 2;
    /// Bytes of it.
    pub const SIZE: usize = size_of::<Self>();

    /// What lies in these bytes, and the bytes behind it; nothing when they are too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<{ Self::SIZE }>()?;
        let short = |at| u16::from_ne_bytes(at_offset(head, at));
        let word = |at| u32::from_ne_bytes(at_offset(head, at));
        let ports = offset_of!(Self, ports);
        let seen = Self {
            time: u64::from_ne_bytes(at_offset(head, offset_of!(Self, time))),
            source: at_offset(head, offset_of!(Self, source)),
            destination: at_offset(head, offset_of!(Self, destination)),
            length: word(offset_of!(Self, length)),
            interface: word(offset_of!(Self, interface)),
            kept: word(offset_of!(Self, kept)),
            service: short(offset_of!(Self, service)),
            ports: [short(ports), short(ports + 2)],
            class: head[offset_of!(Self, class)],
            verdict: head[offset_of!(Self, verdict)],
            reason: head[offset_of!(Self, reason)],
            hook: head[offset_of!(Self, hook)],
            protocol: head[offset_of!(Self, protocol)],
            flags: head[offset_of!(Self, flags)],
            inside: head[offset_of!(Self, inside)],
            observed: head[offset_of!(Self, observed)],
            wanted: head[offset_of!(Self, wanted)],
            reserved: [0; 5],
        };
        Some((seen, rest))
    }
}

/// The bytes of a member.
fn at_offset<const N: usize>(head: &[u8; Seen::SIZE], at: usize) -> [u8; N] {
    let mut member = [0; N];
    member.copy_from_slice(&head[at..at + N]);
    member
}

/// Which packets a capture takes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// When it ends by itself, in nanoseconds since the machine was started.
    pub until: u64,
    /// The client's address, where `mask` has a one; in the order of the packet's bytes.
    pub client: [u64; 2],
    /// Which bits of the address count.
    pub mask: [u64; 2],
    /// Number of the service, or [`Filter::ANY`]; above it one bit for each verdict, and
    /// [`Filter::PAYLOAD`].
    pub which: u64,
}

impl Filter {
    /// Every service.
    pub const ANY: u32 = u32::MAX;
    /// Bit of [`Filter::which`]: what follows the headers is captured, too.
    pub const PAYLOAD: u64 = 1 << 63;

    /// The words of an array entry.
    pub const fn words(&self) -> [u64; 6] {
        [
            self.until,
            self.client[0],
            self.client[1],
            self.mask[0],
            self.mask[1],
            self.which,
        ]
    }
}

const _: () = {
    assert!(Seen::SIZE == 72);
    assert!(size_of::<Filter>() == 48);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_programs_write_is_read_member_by_member() {
        // Each byte is the number of its place.
        let mut bytes = [0; Seen::SIZE + 3];
        for (byte, place) in bytes.iter_mut().zip(0..) {
            *byte = place;
        }
        let (seen, rest) = Seen::from_bytes(&bytes).expect("enough bytes");
        assert_eq!(rest, [72, 73, 74]);
        assert_eq!(seen.time, u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!((seen.source[0], seen.destination[0]), (8, 24));
        assert_eq!(seen.length, u32::from_ne_bytes([40, 41, 42, 43]));
        assert_eq!(seen.interface, u32::from_ne_bytes([44, 45, 46, 47]));
        assert_eq!(seen.kept, u32::from_ne_bytes([48, 49, 50, 51]));
        assert_eq!(seen.service, u16::from_ne_bytes([52, 53]));
        assert_eq!(seen.ports[1], u16::from_ne_bytes([56, 57]));
        assert_eq!(
            [seen.class, seen.verdict, seen.reason, seen.hook],
            [58, 59, 60, 61]
        );
        assert_eq!([seen.protocol, seen.flags, seen.inside], [62, 63, 64]);
        assert_eq!([seen.observed, seen.wanted], [65, 66]);
        assert_eq!(Seen::from_bytes(&bytes[..71]), None);
    }
}

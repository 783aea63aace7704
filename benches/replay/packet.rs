//! Where a frame has its addresses, ports and checksums.
//!
//! Read independently of the code that is measured, so that one can tell on the other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Protocol number of TCP.
pub const TCP: u8 = 6;
/// Protocol number of UDP.
pub const UDP: u8 = 17;
/// Protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Protocol number of ICMPv6.
pub const ICMPV6: u8 = 58;

/// Flags of TCP (RFC 9293 §3.1).
pub const SYN: u8 = 0x02;
/// See [`SYN`].
pub const ACK: u8 = 0x10;

/// Ethertypes of VLAN tags, also those that providers used before there was a standard.
const TAGS: [[u8; 2]; 4] = [[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00], [0x92, 0x00]];
/// Tags that are looked behind.
const MOST_TAGS: usize = 4;
/// Extension headers that are looked behind.
const MOST_EXTENSIONS: usize = 16;

/// Between whom a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Transport protocol, behind extension headers.
    pub protocol: u8,
    /// Source and destination port; nothing for what has none, and for later fragments.
    pub ports: Option<[u16; 2]>,
    /// Flags of TCP; zero for what has none.
    pub flags: u8,
}

/// Where an IP packet has what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Whether it is IPv6.
    pub six: bool,
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of what follows the IP headers.
    pub l4: usize,
    /// Transport protocol.
    pub protocol: u8,
    /// Where the packet ends by its own account; perhaps behind the last byte that is there.
    pub end: usize,
    /// Whether it is a fragment: the offset is not zero, or there are more.
    pub fragment: bool,
    /// Where a fragment belongs, in units of eight bytes; only at zero is there a transport header.
    pub offset: u16,
    /// Whether its checksum is over other addresses than its header has, because a routing header says where it
    /// goes.
    pub routed: bool,
}

/// Between whom the packet in a frame goes; nothing when it is no IP packet.
pub fn ends(frame: &[u8]) -> Option<Ends> {
    let layout = layout(frame)?;
    let [source, destination] = layout.addresses(frame)?;
    let has_ports = matches!(layout.protocol, TCP | UDP) && layout.offset == 0;
    let ports = frame.get(layout.l4..layout.l4 + 4).filter(|_| has_ports);
    let flags = frame.get(layout.l4 + 13);
    Some(Ends {
        source,
        destination,
        protocol: layout.protocol,
        ports: ports.map(|p| {
            [
                u16::from_be_bytes([p[0], p[1]]),
                u16::from_be_bytes([p[2], p[3]]),
            ]
        }),
        flags: flags
            .filter(|_| has_ports && layout.protocol == TCP)
            .copied()
            .unwrap_or_default(),
    })
}

/// Where the IP packet in a frame has what, behind VLAN tags.
pub fn layout(frame: &[u8]) -> Option<Layout> {
    let mut l3 = 14;
    for _ in 0..=MOST_TAGS {
        let kind: [u8; 2] = frame.get(l3 - 2..l3)?.try_into().ok()?;
        match kind {
            [0x08, 0x00] | [0x86, 0xdd] => return at(frame, l3, kind == [0x86, 0xdd]),
            _ if TAGS.contains(&kind) => l3 += 4,
            _ => return None,
        }
    }
    None
}

/// Where an IP packet that begins here has what.
pub fn at(bytes: &[u8], l3: usize, six: bool) -> Option<Layout> {
    if six {
        return at_v6(bytes, l3);
    }
    let header = bytes.get(l3..l3 + 20)?;
    let size = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || size < 20 {
        return None;
    }
    let place = u16::from_be_bytes([header[6], header[7]]);
    Some(Layout {
        six,
        l3,
        l4: l3 + size,
        protocol: header[9],
        end: l3 + usize::from(u16::from_be_bytes([header[2], header[3]])),
        fragment: place & 0x3fff != 0,
        offset: place & 0x1fff,
        routed: false,
    })
}

fn at_v6(bytes: &[u8], l3: usize) -> Option<Layout> {
    let header = bytes.get(l3..l3 + 40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let mut layout = Layout {
        six: true,
        l3,
        l4: l3 + 40,
        protocol: header[6],
        end: l3 + 40 + usize::from(u16::from_be_bytes([header[4], header[5]])),
        fragment: false,
        offset: 0,
        routed: false,
    };
    for _ in 0..MOST_EXTENSIONS {
        let Some(extension) = bytes.get(layout.l4..layout.l4 + 4) else {
            return Some(layout);
        };
        let units = usize::from(extension[1]);
        let size = match layout.protocol {
            0 | 43 | 60 => {
                layout.routed |= layout.protocol == 43 && extension[3] != 0;
                (units + 1) * 8
            }
            44 => {
                let place = u16::from_be_bytes([extension[2], extension[3]]);
                layout.fragment |= place & 0xfff9 != 0;
                layout.offset = layout.offset.max(place >> 3);
                8
            }
            51 => (units + 2) * 4,
            _ => return Some(layout),
        };
        layout.protocol = extension[0];
        layout.l4 += size;
        if layout.offset != 0 {
            return Some(layout);
        }
    }
    Some(layout)
}

impl Layout {
    /// Bytes of an address.
    pub fn width(&self) -> usize {
        if self.six { 16 } else { 4 }
    }

    /// Offset of the source address; the destination follows it.
    pub fn source(&self) -> usize {
        self.l3 + if self.six { 8 } else { 12 }
    }

    /// Source and destination.
    pub fn addresses(&self, bytes: &[u8]) -> Option<[IpAddr; 2]> {
        let (from, width) = (self.source(), self.width());
        let source = bytes.get(from..from + width)?;
        let destination = bytes.get(from + width..from + 2 * width)?;
        Some([source, destination].map(address))
    }

    /// Offset of the checksum of the transport header, if it has one.
    pub fn checksum(&self) -> Option<usize> {
        let offset = match self.protocol {
            TCP => 16,
            UDP => 6,
            ICMP if !self.six => 2,
            ICMPV6 if self.six => 2,
            _ => return None,
        };
        (self.offset == 0).then_some(self.l4 + offset)
    }

    /// The transport checksum made anew, of the bytes that are there; nothing when not all are, or when it is over
    /// something else. Where it stands it must be zero.
    pub fn transport_sum(&self, bytes: &[u8]) -> Option<u16> {
        if self.fragment || self.routed || self.end < self.l4 {
            return None;
        }
        let segment = bytes.get(self.l4..self.end)?;
        let mut sum = add(0, segment);
        if self.protocol != ICMP {
            let addresses = bytes.get(self.source()..self.source() + 2 * self.width())?;
            sum = add(sum, addresses);
            sum += u64::try_from(segment.len()).ok()? + u64::from(self.protocol);
        }
        Some(match !fold(sum) {
            // Zero says that there is none (RFC 768).
            0 if self.protocol == UDP => 0xffff,
            sum => sum,
        })
    }

    /// Whether the checksums of the packet are right; nothing when that cannot be said.
    pub fn is_right(&self, bytes: &[u8]) -> Option<bool> {
        let header = self.six || fold(add(0, bytes.get(self.l3..self.header_end())?)) == 0xffff;
        let Some(at) = self.checksum() else {
            return Some(header);
        };
        let said = bytes.get(at..at + 2)?;
        if self.protocol == UDP && !self.six && said == [0, 0] {
            return Some(header);
        }
        // What is right sums up to nothing with its own checksum.
        let rest = self.transport_sum(bytes)?;
        Some(header && matches!(rest, 0 | 0xffff))
    }

    /// Makes the checksums of the packet right, as far as all of it is there.
    pub fn mend(&self, bytes: &mut [u8]) {
        self.mend_header(bytes);
        let Some(at) = self.checksum() else { return };
        let Some(said) = bytes.get(at..at + 2) else {
            return;
        };
        if self.protocol == UDP && said == [0, 0] {
            return;
        }
        let before = [said[0], said[1]];
        bytes[at..at + 2].fill(0);
        let sum = self.transport_sum(bytes).map(u16::to_be_bytes);
        bytes[at..at + 2].copy_from_slice(&sum.unwrap_or(before));
    }

    /// Makes the checksum of an IPv4 header right.
    pub fn mend_header(&self, bytes: &mut [u8]) {
        let end = self.header_end();
        if self.six || bytes.len() < end {
            return;
        }
        bytes[self.l3 + 10..self.l3 + 12].fill(0);
        let sum = !fold(add(0, &bytes[self.l3..end]));
        bytes[self.l3 + 10..self.l3 + 12].copy_from_slice(&sum.to_be_bytes());
    }

    /// Where an IPv4 header ends.
    fn header_end(&self) -> usize {
        if self.six { self.l3 + 40 } else { self.l4 }
    }
}

/// Whether packets of single hosts come from there, or go there.
pub fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            !matches!(first, 0 | 127 | 224..) && !address.is_link_local()
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some())
        }
    }
}

/// An address from its bytes.
pub fn address(bytes: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(bytes) {
        Ok(four) => Ipv4Addr::from(four).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap_or_default()).into(),
    }
}

/// The bytes of an address.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The sum of 16-bit words and those of some bytes, not folded (RFC 1071).
pub fn add(sum: u64, bytes: &[u8]) -> u64 {
    bytes.chunks(2).fold(sum, |sum, pair| {
        sum + u64::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]))
    })
}

/// The sum with its carries added.
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

//! Every link layer that is read, made Ethernet.

/// The link types that are read, by the numbers that libpcap gives (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// `LINKTYPE_ETHERNET`
    Ethernet,
    /// `LINKTYPE_LINUX_SLL`: what `tcpdump -i any` wrote.
    Cooked,
    /// `LINKTYPE_LINUX_SLL2`: what it writes since libpcap 1.10.
    Cooked2,
    /// `LINKTYPE_RAW`, `LINKTYPE_IPV4`, `LINKTYPE_IPV6`, and what BSD calls `DLT_RAW`.
    Raw,
}

/// What stands for the hardware addresses that such a link does not tell.
const STATIONS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

impl Link {
    /// The link type with this number.
    pub(crate) fn of(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Ethernet),
            113 => Some(Self::Cooked),
            276 => Some(Self::Cooked2),
            12 | 14 | 228 | 229 => Some(Self::Raw),
            _ => None,
        }
    }

    /// The frame as Ethernet; nothing when it is too short to say what it is, or is none that a network card
    /// would have seen.
    pub(crate) fn ethernet(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Ethernet => (bytes.len() >= 14).then(|| bytes.to_vec()),
            // Packet type, hardware type, length and address, and the protocol at the end.
            Self::Cooked => framed(bytes.get(14..16)?, bytes.get(16..)?),
            // The protocol is at the beginning.
            Self::Cooked2 => framed(bytes.get(0..2)?, bytes.get(20..)?),
            Self::Raw => match bytes.first()? >> 4 {
                4 => framed(&[0x08, 0x00], bytes),
                6 => framed(&[0x86, 0xdd], bytes),
                _ => None,
            },
        }
    }

    /// Bytes that become the fourteen of an Ethernet header.
    pub(crate) fn header(self) -> u32 {
        match self {
            Self::Ethernet => 14,
            Self::Cooked => 16,
            Self::Cooked2 => 20,
            Self::Raw => 0,
        }
    }
}

fn framed(protocol: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    // Below this stand lengths, and numbers that Linux gives to what has no ethertype.
    (u16::from_be_bytes(protocol.try_into().ok()?) >= 0x0600)
        .then(|| [&STATIONS, protocol, payload].concat())
}

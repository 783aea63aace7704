//! Ethernet and VLAN tags.

use crate::Packet;

/// Ethertypes.
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const PROVIDER_VLAN: u16 = 0x88a8;

/// VLAN tags that are looked behind.
const TAGS: usize = 2;

/// What follows the Ethernet header.
#[derive(Clone, Copy)]
pub(crate) struct Link {
    /// Ethertype behind the tags.
    pub(crate) protocol: u16,
    /// Offset behind the tags.
    pub(crate) l3: u32,
    /// Whether there are tags.
    pub(crate) tagged: bool,
}

/// Reads Ethernet header and up to two VLAN tags (IEEE 802.1Q §9).
#[inline(always)]
pub(crate) fn link<P: Packet + ?Sized>(packet: &P) -> Option<Link> {
    let mut link = Link {
        protocol: u16::from_be_bytes(packet.read::<2>(12)?),
        l3: 14,
        tagged: packet.tagged(),
    };
    for _ in 0..TAGS {
        if link.protocol != VLAN && link.protocol != PROVIDER_VLAN {
            break;
        }
        let tag = packet.read::<4>(link.l3)?;
        link.protocol = u16::from_be_bytes([tag[2], tag[3]]);
        link.l3 += 4;
        link.tagged = true;
    }
    Some(link)
}

//! IPv4 and IPv6 headers, up to the transport header.

use weir_abi::mapped;

use crate::{Family, Headers, Packet};

/// Transport protocols.
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

/// Extension headers (RFC 8200 §4).
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// Extension headers that are looked behind; a packet with more is malformed.
const EXTENSIONS: usize = 8;

/// Where the transport header is, and how much of it this packet carries.
#[derive(Clone, Copy)]
pub(crate) struct Transport {
    /// Transport protocol.
    pub(crate) protocol: u8,
    /// Offset of the transport header (of the payload, in later fragments).
    pub(crate) l4: u32,
    /// Fragment of a larger packet.
    pub(crate) fragment: Option<Fragment>,
}

/// Place of a fragment.
#[derive(Clone, Copy)]
pub(crate) struct Fragment {
    /// Offset in units of eight bytes; zero is the first fragment.
    pub(crate) offset: u16,
}

/// The base header is cut short or contradicts itself.
pub(crate) struct Malformed;

/// Reads an IPv4 header (RFC 791 §3.1); the length is what the header says, not what is there.
#[inline(always)]
pub(crate) fn v4<P: Packet + ?Sized>(
    packet: &P,
    l3: u32,
) -> Result<(Headers, Transport), Malformed> {
    let Some(h) = packet.read::<12>(l3) else {
        return Err(Malformed);
    };
    let header = u32::from(h[0] & 0x0f) * 4;
    if h[0] >> 4 != 4 || header < 20 || packet.len() < l3 + 20 {
        return Err(Malformed);
    }
    let mut length = u32::from(u16::from_be_bytes([h[2], h[3]]));
    if length == 0 && packet.len() > 0xffff {
        // Coalesced beyond what the field can say: since Linux 6.3 zero stands for "all that is there".
        length = packet.len().wrapping_sub(l3);
    }
    let place = u16::from_be_bytes([h[6], h[7]]);
    let (offset, more) = (place & 0x1fff, place & 0x2000 != 0);
    let headers = Headers {
        family: Family::V4,
        l3,
        first: [h[0], h[1], h[2], h[3]],
        ttl: h[8],
        protocol: h[9],
        length,
        repeated: 0,
        l4: 0,
        ports: [0; 2],
        flags: 0,
    };
    let fragment = if offset != 0 || more {
        Some(Fragment { offset })
    } else {
        None
    };
    Ok((
        headers,
        Transport {
            protocol: h[9],
            l4: l3 + header,
            fragment,
        },
    ))
}

/// Reads an IPv6 base header (RFC 8200 §3). The transport is what the base header names next.
#[inline(always)]
pub(crate) fn v6<P: Packet + ?Sized>(
    packet: &P,
    l3: u32,
) -> Result<(Headers, Transport), Malformed> {
    let Some(h) = packet.read::<40>(l3) else {
        return Err(Malformed);
    };
    // An IPv4-mapped address never stands in an IPv6 header; believing one would let a forged packet
    // pass for an IPv4 service or source.
    if h[0] >> 4 != 6 || is_mapped(&h, 8) || is_mapped(&h, 24) {
        return Err(Malformed);
    }
    let mut length = 40 + u32::from(u16::from_be_bytes([h[4], h[5]]));
    if length == 40 && packet.len() > 0xffff {
        // Coalesced beyond what the field can say (RFC 2675; Linux 5.19).
        length = packet.len().wrapping_sub(l3);
    }
    let headers = Headers {
        family: Family::V6,
        l3,
        first: [h[0], h[1], h[2], h[3]],
        ttl: h[7],
        protocol: h[6],
        length,
        repeated: 0,
        l4: 0,
        ports: [0; 2],
        flags: 0,
    };
    Ok((
        headers,
        Transport {
            protocol: h[6],
            l4: l3 + 40,
            fragment: None,
        },
    ))
}

/// Walks the extension headers of an IPv6 packet (RFC 8200 §4), at most [`EXTENSIONS`] of them, up to
/// the transport header or to a fragment that does not carry it.
#[inline(always)]
pub(crate) fn extensions<P: Packet + ?Sized>(
    packet: &P,
    mut at: Transport,
) -> Result<Transport, Malformed> {
    for _ in 0..EXTENSIONS {
        let size = match at.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | AUTHENTICATION => {
                let Some([next, units]) = packet.read::<2>(at.l4) else {
                    return Err(Malformed);
                };
                let size = if at.protocol == AUTHENTICATION {
                    (u32::from(units) + 2) * 4 // RFC 4302 §2.2
                } else {
                    (u32::from(units) + 1) * 8
                };
                at.protocol = next;
                size
            }
            FRAGMENT => {
                let Some([next, _, high, low]) = packet.read::<4>(at.l4) else {
                    return Err(Malformed);
                };
                let place = u16::from_be_bytes([high, low]);
                at.protocol = next;
                // An atomic fragment (RFC 6946) is a whole packet.
                if place & 0xfff9 != 0 {
                    at.l4 += 8;
                    at.fragment = Some(Fragment { offset: place >> 3 });
                    if place >> 3 != 0 {
                        return Ok(at);
                    }
                    continue;
                }
                8
            }
            _ => return Ok(at),
        };
        at.l4 += size;
    }
    if is_extension(at.protocol) {
        return Err(Malformed);
    }
    Ok(at)
}

/// Whether this next header is an extension header that is looked behind.
#[inline(always)]
pub(crate) const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | AUTHENTICATION | FRAGMENT
    )
}

/// An address of the packet, IPv4 as IPv4-mapped IPv6.
#[inline(always)]
pub(crate) fn address<P: Packet + ?Sized>(
    packet: &P,
    family: Family,
    at: u32,
) -> Result<[u8; 16], Malformed> {
    match family {
        Family::V4 => match packet.read::<4>(at) {
            Some(address) => Ok(mapped(u32::from_be_bytes(address))),
            None => Err(Malformed),
        },
        Family::V6 => packet.read::<16>(at).ok_or(Malformed),
    }
}

/// Whether the address that stands here in a header is IPv4-mapped.
#[inline(always)]
fn is_mapped(header: &[u8; 40], at: usize) -> bool {
    let mut zeros = 0;
    for i in 0..10 {
        zeros |= header[at + i];
    }
    zeros == 0 && header[at + 10] == 0xff && header[at + 11] == 0xff
}

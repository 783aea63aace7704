//! What nearly all packets are: TCP right behind an IP header without options or extensions, right behind
//! an Ethernet header without tags. Everything in them has one place, which the compiler knows.

use crate::ip::{self, TCP, Transport};
use crate::parse::{IPV4, IPV6};
use crate::{Headers, Packet};

/// Where the IP header begins, behind Ethernet.
const L3: u32 = 14;
/// Where TCP begins behind IPv4, and behind IPv6.
const V4_L4: u32 = L3 + 20;
const V6_L4: u32 = L3 + 40;

/// A packet of which everything is read that is wanted without a call. Only for packets of which
/// [`v4`] or [`v6`] told that their headers can be.
pub(crate) struct Near<'a, P: ?Sized>(pub(crate) &'a P);

impl<P: Packet + ?Sized> Packet for Near<'_, P> {
    #[inline(always)]
    fn len(&self) -> u32 {
        self.0.len()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.0.peek(offset)
    }
}

/// The IPv4 header of a packet that is as nearly all are; nothing for any other.
#[inline(always)]
pub(crate) fn v4<P: Packet + ?Sized>(packet: &P) -> Option<(Headers, Transport)> {
    let head: [u8; V4_L4 as usize + 20] = packet.peek(0)?;
    if u16::from_be_bytes([head[12], head[13]]) != IPV4 || head[14] != 0x45 {
        return None;
    }
    let (headers, transport) = ip::v4(&Near(packet), L3).ok()?;
    if transport.protocol != TCP || transport.fragment.is_some() {
        return None;
    }
    Some((headers, segment(V4_L4)))
}

/// The IPv6 header of a packet that is as nearly all are; nothing for any other.
#[inline(always)]
pub(crate) fn v6<P: Packet + ?Sized>(packet: &P) -> Option<(Headers, Transport)> {
    let head: [u8; V6_L4 as usize + 20] = packet.peek(0)?;
    if u16::from_be_bytes([head[12], head[13]]) != IPV6 || head[20] != TCP {
        return None;
    }
    let (headers, _) = ip::v6(&Near(packet), L3).ok()?;
    Some((headers, segment(V6_L4)))
}

/// An IPv4 address that stands here in the packet: in nearly all of them, where a source or destination
/// does.
#[inline(always)]
pub fn address_v4<P: Packet + ?Sized>(packet: &P, at: u32) -> Option<[u8; 4]> {
    const SOURCE: u32 = L3 + 12;
    const DESTINATION: u32 = L3 + 16;
    let near = match at {
        SOURCE => packet.peek(SOURCE),
        DESTINATION => packet.peek(DESTINATION),
        _ => None,
    };
    match near {
        Some(address) => Some(address),
        None => packet.read(at),
    }
}

/// An IPv6 address, as [`address_v4`].
#[inline(always)]
pub fn address_v6<P: Packet + ?Sized>(packet: &P, at: u32) -> Option<[u8; 16]> {
    const SOURCE: u32 = L3 + 8;
    const DESTINATION: u32 = L3 + 24;
    let near = match at {
        SOURCE => packet.peek(SOURCE),
        DESTINATION => packet.peek(DESTINATION),
        _ => None,
    };
    match near {
        Some(address) => Some(address),
        None => packet.read(at),
    }
}

#[inline(always)]
const fn segment(l4: u32) -> Transport {
    Transport {
        protocol: TCP,
        l4,
        fragment: None,
    }
}

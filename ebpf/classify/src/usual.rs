//! What nearly all packets are: TCP right behind an IP header without options or extensions, right behind
//! an Ethernet header without tags. Everything in them has one place, which the compiler knows.

use weir_abi::Standing;

use crate::addresses::Quick;
use crate::class::{standing_v4_within, standing_v6};
use crate::flow::{Found, belongs, decide};
use crate::grants;
use crate::ip::{self, TCP, Transport};
use crate::parse::{IPV4, IPV6};
use crate::{Headers, NoSockets, Outcome, Packet, Side, Tables};

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

/// How far [`settle`] comes with a packet.
pub enum Settled {
    /// It is not as nearly all are: [`find_unusual`](crate::find_unusual) tells whose it is.
    Unusual,
    /// It is no service's: what [`find`](crate::find) finds nothing for.
    Foreign,
    /// Its client is in transition: [`judge`](crate::judge) decides.
    Found(Found),
    /// What [`judge`](crate::judge) would decide.
    Judged(Option<Outcome>, Found),
}

/// Finds out whose a packet is, and what is to be done with it, in one go where it takes the fewest steps:
/// for a packet that is as nearly all are, of a client whose standing is stable.
#[inline(always)]
pub fn settle<P: Packet + ?Sized>(packet: &P, side: Side, tables: &impl Tables) -> Settled {
    if let Some(base) = v4(packet) {
        let client = match side {
            Side::Outside => packet.peek(L3 + 12),
            Side::Inside => packet.peek(L3 + 16),
        };
        let Some(client) = client.map(u32::from_be_bytes) else {
            return Settled::Unusual;
        };
        // Most likely far from the processor, so it is asked for before all that does not need it.
        let block = tables.v4_block(client);
        let Some(found) = belongs(&Near(packet), side, base, packet.tagged(), &Quick(tables))
        else {
            return Settled::Foreign;
        };
        let listed = standing_v4_within(tables, block, client);
        return settled(packet, side, found, listed, tables);
    }
    if let Some(base) = v6(packet) {
        let client = match side {
            Side::Outside => packet.peek(L3 + 8),
            Side::Inside => packet.peek(L3 + 24),
        };
        let Some(client) = client else {
            return Settled::Unusual;
        };
        let Some(found) = belongs(&Near(packet), side, base, packet.tagged(), &Quick(tables))
        else {
            return Settled::Foreign;
        };
        let listed = standing_v6(tables, &client);
        return settled(packet, side, found, listed, tables);
    }
    Settled::Unusual
}

#[inline(always)]
fn settled<P: Packet + ?Sized>(
    packet: &P,
    side: Side,
    found: Found,
    listed: Standing,
    tables: &impl Tables,
) -> Settled {
    let granted = grants::of(
        &Near(packet),
        found.family(),
        found.client(),
        listed,
        tables,
    );
    if !granted.standing.is_stable() {
        return Settled::Found(found);
    }
    Settled::Judged(decide(side, &found, granted, &NoSockets), found)
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

//! Which service a packet belongs to, and what is to be done with it.

use weir_abi::{Address, Class, MAX_PORTS, NO_SERVICE, Port, Reason, Topology, Verdict};

use crate::addresses::{Addresses, Hashed, Quick};
use crate::class::{standing_v4, standing_v6};
use crate::grants::{self, Granted};
use crate::ip::{self, ICMP, ICMPV6, Malformed, TCP, Transport, UDP};
use crate::parse::{self, IPV4, IPV6};
use crate::usual::{self, Near, address_v4, address_v6};
use crate::{Ends, Family, Headers, Outcome, Packet, Segment, Side, Sockets, Tables, transition};

/// The port that HTTP/3 would use.
const QUIC: u16 = 443;
/// A TCP header without options (RFC 9293 §3.1).
const TCP_HEADER: u32 = 20;

/// What is to be done with a packet that arrived on this side; nothing when it is to stay untouched
/// and uncounted.
#[inline(always)]
pub fn classify<P: Packet + ?Sized>(
    packet: &P,
    side: Side,
    tables: &impl Tables,
    sockets: &impl Sockets,
) -> Option<Outcome> {
    let found = find(packet, side, tables)?;
    judge(packet, side, &found, tables, sockets)
}

/// The first half of [`classify`]: whose the packet is. The verifier walks the second half once for each way
/// through this one, unless they are functions of their own.
#[inline(always)]
pub fn find<P: Packet + ?Sized>(packet: &P, side: Side, tables: &impl Tables) -> Option<Found> {
    // What follows, with every offset known to the compiler: it takes a few loads then, and no calls.
    if let Some(base) = usual::v4(packet) {
        return belongs(&Near(packet), side, base, packet.tagged(), &Quick(tables));
    }
    if let Some(base) = usual::v6(packet) {
        return belongs(&Near(packet), side, base, packet.tagged(), &Quick(tables));
    }
    find_unusual(packet, side, tables)
}

/// As [`find`], for what [`settle`](crate::settle) says is unusual.
#[inline(always)]
pub fn find_unusual<P: Packet + ?Sized>(
    packet: &P,
    side: Side,
    tables: &impl Tables,
) -> Option<Found> {
    let link = parse::link(packet)?;
    let base = match link.protocol {
        IPV4 => ip::v4(packet, link.l3),
        IPV6 => ip::v6(packet, link.l3),
        _ => return None,
    };
    let Ok(base) = base else {
        return Some(unreadable(link.l3));
    };
    belongs(packet, side, base, link.tagged, &Hashed(tables))
}

#[inline(always)]
pub(crate) fn belongs<P: Packet + ?Sized>(
    packet: &P,
    side: Side,
    (mut headers, transport): (Headers, Transport),
    tagged: bool,
    addresses: &impl Addresses,
) -> Option<Found> {
    let whose = match side {
        Side::Outside => to_service(packet, &mut headers, transport, addresses)?,
        Side::Inside => from_service(packet, &mut headers, transport, addresses)?,
    };
    Some(Found {
        whose,
        tagged,
        headers,
    })
}

/// The second half of [`classify`]: what is to be done with a packet of which it is known whose it is.
#[inline(always)]
pub fn judge<P: Packet + ?Sized>(
    packet: &P,
    side: Side,
    found: &Found,
    tables: &impl Tables,
    sockets: &impl Sockets,
) -> Option<Outcome> {
    let Found { whose, headers, .. } = found;
    if whose.port.port == 0 {
        // A packet without a readable IP header: nobody's, left to the stack, which drops it.
        return Some(Outcome {
            service: NO_SERVICE,
            class: Class::Unmanaged,
            verdict: Verdict::Pass,
            reason: Reason::Malformed,
            observed: false,
            topology: Topology::Route,
            answers: false,
            client: 0,
            ports: None,
            headers: *headers,
        });
    }
    let listed = match headers.family {
        Family::V4 => {
            let client = u32::from_be_bytes(address_v4(packet, whose.client)?);
            standing_v4(tables, client)
        }
        Family::V6 => standing_v6(tables, &address_v6(packet, whose.client)?),
    };
    let granted = grants::of(packet, headers.family, whose.client, listed, tables);
    decide(side, found, granted, sockets)
}

/// What is to be done with a packet of a client of this standing.
#[inline(always)]
pub(crate) fn decide(
    side: Side,
    found: &Found,
    Granted { standing, cut }: Granted,
    sockets: &impl Sockets,
) -> Option<Outcome> {
    let Found {
        whose: found,
        tagged,
        headers,
    } = *found;
    let class = standing.class();
    let moves = !standing.is_stable();
    let forwards = moves && transition::forwards(&found.port, standing.held());
    let mut reason = found.reason;
    let mut verdict = match (side, reason) {
        (Side::Outside, Reason::Malformed | Reason::Udp443) => Verdict::Drop,
        // Malformed answers are left to the stack: they open nothing.
        (Side::Inside, Reason::Malformed) => Verdict::Pass,
        (Side::Outside, _) => found.port.verdict(class),
        // The way back of what the way in forwards. What the proxy answers does not come this way, so
        // everything else is left alone, except that a refused client gets nothing.
        (Side::Inside, _) => match found.port.verdict(class) {
            Verdict::Forward => Verdict::Forward,
            _ if forwards => {
                reason = Reason::Kept;
                Verdict::Forward
            }
            Verdict::Drop | Verdict::Reject => Verdict::Drop,
            // Of a flow that was cut: nobody has it any more.
            Verdict::Pass | Verdict::Proxy if cut => Verdict::Drop,
            Verdict::Pass | Verdict::Proxy => return None,
        },
    };
    // A flow keeps its verdict while its client is in transition. An error about a proxied connection is
    // for this machine's stack, whatever the client's class is.
    let asks = match (found.inner, reason) {
        (Some([service, client]), _) => Some([client, service]),
        (None, Reason::Class) if moves => Some(headers.ports),
        _ => None,
    };
    if let Some(ports) = asks
        && (forwards || !matches!(verdict, Verdict::Proxy))
    {
        let ends = Ends {
            family: headers.family,
            client: found.client,
            service: headers.destination(),
            ports,
        };
        let acknowledgement = if transition::acknowledges(headers.flags) {
            Some(Segment {
                l3: headers.l3,
                l4: headers.l4,
            })
        } else {
            None
        };
        let socket = sockets.find(&ends, acknowledgement);
        let kept = transition::outside(verdict, forwards, headers.flags, socket);
        if kept as u8 != verdict as u8 && matches!(reason, Reason::Class) {
            reason = Reason::Kept;
        }
        verdict = kept;
    }
    let topology = match side {
        Side::Outside => found.port.topology(),
        Side::Inside => Topology::Route,
    };
    if matches!(verdict, Verdict::Forward) {
        (verdict, reason) = on_the_way(&headers, tagged, topology, reason);
    }
    Some(Outcome {
        service: found.port.service,
        class,
        verdict,
        reason,
        observed: found.port.is_observed(),
        topology,
        answers: false,
        client: found.client,
        ports: match found.inner {
            Some([service, client]) => Some([client, service]),
            None if headers.l4 != 0 => Some(headers.ports),
            None => None,
        },
        headers,
    })
}

/// What becomes of a packet that is to be forwarded, and why.
#[inline(always)]
pub(crate) const fn on_the_way(
    headers: &Headers,
    tagged: bool,
    topology: Topology,
    reason: Reason,
) -> (Verdict, Reason) {
    let ttl = headers.ttl;
    let routed = matches!(topology, Topology::Route);
    match reason {
        // Fragments do not tell which server they are for.
        Reason::Fragment if !routed => (Verdict::Drop, reason),
        // The stack of this machine knows no way to the servers.
        _ if ttl <= 1 && !routed => (Verdict::Drop, Reason::Ttl),
        // What a router answers is left to the router; what belongs to a VLAN interface, to its program.
        _ if ttl <= 1 => (Verdict::Pass, Reason::Ttl),
        _ if tagged => (Verdict::Pass, Reason::Tagged),
        // Routers write their addresses into these, and the server sends them back (RFC 791 §3.1).
        _ if matches!(topology, Topology::Nat) && headers.has_options() => {
            (Verdict::Drop, Reason::Malformed)
        }
        _ => (Verdict::Forward, reason),
    }
}

/// Whose a packet is, before its class is known: what [`find`] hands to [`judge`].
#[derive(Clone, Copy, Debug)]
pub struct Found {
    whose: Whose,
    /// Whether the packet carries a VLAN tag.
    tagged: bool,
    headers: Headers,
}

impl Found {
    /// Family of the packet's addresses.
    #[inline(always)]
    pub(crate) const fn family(&self) -> Family {
        self.headers.family
    }

    /// Offset of the address whose class decides.
    #[inline(always)]
    pub(crate) const fn client(&self) -> u32 {
        self.whose.client
    }
}

#[derive(Clone, Copy, Debug)]
struct Whose {
    /// The port of the service; the first of its address where the packet does not tell. Number 0 when
    /// the packet has no IP header that could be read.
    port: Port,
    /// Offset of the address whose class decides.
    client: u32,
    /// Why, unless forwarding fails.
    reason: Reason,
    /// Ports of service and client in the packet that an ICMP error from outside is about.
    inner: Option<[u16; 2]>,
}

/// A packet from the Internet.
#[inline(always)]
fn to_service<P: Packet + ?Sized>(
    packet: &P,
    headers: &mut Headers,
    transport: Transport,
    addresses: &impl Addresses,
) -> Option<Whose> {
    let address = served(
        addresses,
        address_at(packet, headers.family, headers.destination())?,
    )?;
    let client = headers.source();
    let found = |port: Port, reason| {
        Some(Whose {
            port,
            client,
            reason,
            inner: None,
        })
    };
    let first = address.ports[0];
    let Ok(transport) = complete(packet, headers, transport) else {
        return found(first, Reason::Malformed);
    };
    headers.protocol = transport.protocol;
    match transport.protocol {
        TCP => {
            if let Some(fragment) = transport.fragment {
                // A first fragment too small for the header hides the port, and a second one at eight
                // bytes overwrites the flags (RFC 1858 §3, RFC 3128).
                if fragment.offset == 1
                    || (fragment.offset == 0 && payload(headers, transport) < TCP_HEADER)
                {
                    return found(first, Reason::Malformed);
                }
                if fragment.offset == 0 {
                    [headers.flags] = packet.read(transport.l4 + 13)?;
                }
                return found(first, Reason::Fragment);
            }
            let Ok(ports) = ports(packet, headers, transport) else {
                return found(first, Reason::Malformed);
            };
            let port = port_of(address, ports[1])?;
            headers.ports = ports;
            if tcp(packet, headers, transport) {
                found(port, Reason::Class)
            } else {
                found(port, Reason::Malformed)
            }
        }
        UDP => {
            if let Some(fragment) = transport.fragment
                && fragment.offset != 0
            {
                return None;
            }
            let Ok(ports) = ports(packet, headers, transport) else {
                return found(first, Reason::Malformed);
            };
            if ports[1] != QUIC {
                return None;
            }
            headers.ports = ports;
            found(port_of(address, QUIC).unwrap_or(first), Reason::Udp443)
        }
        ICMP | ICMPV6 => {
            let Ok(inner) = about(packet, headers, transport)? else {
                return found(first, Reason::Malformed);
            };
            // The error is about a packet that the service sent to a client.
            if !same(packet, headers.family, inner.source, headers.destination()) {
                return None;
            }
            let port = match inner.ports {
                Some(ports) => port_of(address, ports[0])?,
                None => first,
            };
            Some(Whose {
                port,
                client: inner.destination,
                reason: Reason::IcmpInner,
                inner: inner.ports,
            })
        }
        // A later fragment of a chain whose end only the first one carries: it goes where that goes.
        protocol if matches!(headers.family, Family::V6) && ip::is_extension(protocol) => {
            found(first, Reason::Fragment)
        }
        _ => None,
    }
}

/// A packet from the side of the federation servers: an answer of a service, or an error about a
/// client's packet to a service, whoever sends it.
#[inline(always)]
fn from_service<P: Packet + ?Sized>(
    packet: &P,
    headers: &mut Headers,
    transport: Transport,
    addresses: &impl Addresses,
) -> Option<Whose> {
    let client = headers.destination();
    let found = |port: Port, reason| {
        Some(Whose {
            port,
            client,
            reason,
            inner: None,
        })
    };
    let address = served(
        addresses,
        address_at(packet, headers.family, headers.source())?,
    );
    if address.is_none() && !is_icmp(transport.protocol) {
        return None;
    }
    let Ok(transport) = complete(packet, headers, transport) else {
        return found(address?.ports[0], Reason::Malformed);
    };
    headers.protocol = transport.protocol;
    if is_icmp(transport.protocol) {
        let Ok(inner) = about(packet, headers, transport)? else {
            return None;
        };
        if !same(packet, headers.family, inner.source, client) {
            return None;
        }
        let address = served(
            addresses,
            address_at(packet, headers.family, inner.destination)?,
        )?;
        let port = match inner.ports {
            Some(ports) => port_of(address, ports[1])?,
            None => address.ports[0],
        };
        return found(port, Reason::IcmpInner);
    }
    if transport.protocol != TCP {
        return None;
    }
    let address = address?;
    if transport.fragment.is_some() {
        return found(address.ports[0], Reason::Fragment);
    }
    let Ok(ports) = ports(packet, headers, transport) else {
        return found(address.ports[0], Reason::Malformed);
    };
    let port = port_of(address, ports[0])?;
    headers.ports = ports;
    if tcp(packet, headers, transport) {
        found(port, Reason::Answer)
    } else {
        found(port, Reason::Malformed)
    }
}

/// The packet that an ICMP error is about.
pub(crate) struct Inner {
    /// Offset of its source address.
    pub(crate) source: u32,
    /// Offset of its destination address.
    pub(crate) destination: u32,
    /// Absent in later fragments.
    pub(crate) ports: Option<[u16; 2]>,
}

/// The TCP packet that an ICMP error is about (RFC 792, RFC 4443 §2.4); nothing for everything that is
/// no error, or about no TCP packet.
#[inline(always)]
pub(crate) fn about<P: Packet + ?Sized>(
    packet: &P,
    headers: &Headers,
    transport: Transport,
) -> Option<Result<Inner, Malformed>> {
    if transport.fragment.is_some() {
        return None;
    }
    let Some([kind]) = packet.read::<1>(transport.l4) else {
        return Some(Err(Malformed));
    };
    let l3 = transport.l4 + 8;
    let inner = match (headers.family, transport.protocol, kind) {
        // Destination unreachable, time exceeded, parameter problem.
        (Family::V4, ICMP, 3 | 11 | 12) => ip::v4(packet, l3),
        // Destination unreachable, packet too big, time exceeded, parameter problem.
        (Family::V6, ICMPV6, 1..=4) => ip::v6(packet, l3),
        _ => return None,
    };
    let Ok((inner, at)) = inner else {
        return Some(Err(Malformed));
    };
    let at = match headers.family {
        Family::V4 => Ok(at),
        Family::V6 => ip::extensions(packet, at),
    };
    let Ok(at) = at else {
        return Some(Err(Malformed));
    };
    if at.protocol != TCP {
        return None;
    }
    let later = matches!(at.fragment, Some(fragment) if fragment.offset != 0);
    // What stands behind the end of the outer packet is padding of the frame, and quotes nothing.
    let quoted = at.l4 + if later { 0 } else { 4 };
    if quoted > headers.l3 + headers.length {
        return Some(Err(Malformed));
    }
    let ports = if later {
        None
    } else {
        let Some(bytes) = packet.read::<4>(at.l4) else {
            return Some(Err(Malformed));
        };
        Some(split(bytes))
    };
    Some(Ok(Inner {
        source: inner.source(),
        destination: inner.destination(),
        ports,
    }))
}

/// Checks that the packet is as long as it says, and finds the transport header.
#[inline(always)]
pub(crate) fn complete<P: Packet + ?Sized>(
    packet: &P,
    headers: &Headers,
    transport: Transport,
) -> Result<Transport, Malformed> {
    let transport = match headers.family {
        Family::V4 => transport,
        Family::V6 => ip::extensions(packet, transport)?,
    };
    let end = headers.l3 + headers.length;
    if end > packet.len() || transport.l4 > end {
        return Err(Malformed);
    }
    Ok(transport)
}

/// Source and destination port of TCP or UDP.
#[inline(always)]
pub(crate) fn ports<P: Packet + ?Sized>(
    packet: &P,
    headers: &Headers,
    transport: Transport,
) -> Result<[u16; 2], Malformed> {
    if payload(headers, transport) < 8 {
        return Err(Malformed);
    }
    match packet.read::<4>(transport.l4) {
        Some(bytes) => Ok(split(bytes)),
        None => Err(Malformed),
    }
}

/// Whether the TCP header is whole and lies in the packet; notes its flags, and how much each segment
/// repeats.
#[inline(always)]
pub(crate) fn tcp<P: Packet + ?Sized>(
    packet: &P,
    headers: &mut Headers,
    transport: Transport,
) -> bool {
    let Some([offset, flags]) = packet.read::<2>(transport.l4 + 12) else {
        return false;
    };
    headers.flags = flags;
    headers.l4 = transport.l4;
    let header = u32::from(offset >> 4) * 4;
    headers.repeated = transport.l4 - headers.l3 + header;
    header >= TCP_HEADER && header <= payload(headers, transport)
}

/// Bytes behind the IP headers.
#[inline(always)]
fn payload(headers: &Headers, transport: Transport) -> u32 {
    (headers.l3 + headers.length).saturating_sub(transport.l4)
}

#[inline(always)]
fn is_icmp(protocol: u8) -> bool {
    protocol == ICMP || protocol == ICMPV6
}

/// What is served at an address; nothing where servers only answer to it.
#[inline(always)]
fn served(addresses: &impl Addresses, address: [u8; 16]) -> Option<&Address> {
    let address = addresses.find(address)?;
    if address.ports[0].port == 0 {
        return None;
    }
    Some(address)
}

/// The port's entry at a service address.
#[inline(always)]
pub(crate) fn port_of(address: &Address, port: u16) -> Option<Port> {
    if port == 0 {
        return None;
    }
    for i in 0..MAX_PORTS {
        if address.ports[i].port == port {
            return Some(address.ports[i]);
        }
    }
    None
}

/// A packet without a readable IP header.
#[inline(always)]
fn unreadable(l3: u32) -> Found {
    Found {
        whose: Whose {
            port: Port::default(),
            client: 0,
            reason: Reason::Malformed,
            inner: None,
        },
        tagged: false,
        headers: Headers {
            family: Family::V4,
            l3,
            first: [0; 4],
            ttl: 0,
            protocol: 0,
            length: 0,
            repeated: 0,
            l4: 0,
            ports: [0; 2],
            flags: 0,
        },
    }
}

/// Whether two addresses in the packet are the same.
#[inline(always)]
pub(crate) fn same<P: Packet + ?Sized>(packet: &P, family: Family, one: u32, other: u32) -> bool {
    match family {
        Family::V4 => packet.read::<4>(one) == packet.read::<4>(other),
        Family::V6 => {
            // Word by word: comparing arrays would become a call that the kernel does not have.
            let mut same = true;
            for i in 0..4 {
                same &= packet.read::<4>(one + 4 * i).map(u32::from_ne_bytes)
                    == packet.read::<4>(other + 4 * i).map(u32::from_ne_bytes);
            }
            same
        }
    }
}

#[inline(always)]
pub(crate) fn address_at<P: Packet + ?Sized>(
    packet: &P,
    family: Family,
    at: u32,
) -> Option<[u8; 16]> {
    ip::address(packet, family, at).ok()
}

#[inline(always)]
fn split([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

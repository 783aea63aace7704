//! Answers of servers that see Weir instead of the client: whose they are, and what becomes of them.
//!
//! Such a packet comes to an address of this machine, on either side, so nothing but the connection that
//! is remembered tells it from what is for this machine itself: only that is taken. Then the client's class
//! decides, as it does for the packets of the client.

use weir_abi::{Flow, Port, Reason, Topology, Verdict};

use crate::class::{standing_v4, standing_v6};
use crate::flow::{about, address_at, complete, on_the_way, port_of, ports, same, tcp};
use crate::grants;
use crate::ip::{self, ICMP, ICMPV6, TCP};
use crate::parse::{self, IPV4, IPV6};
use crate::{Family, Headers, Outcome, Packet, Tables, Translations, transition};

/// A packet of a server, or an error about a packet to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    reason: Reason,
    tagged: bool,
    /// Offset of the other end of the connection.
    client: u32,
    headers: Headers,
}

/// What becomes of a packet that no service owns, and its connection as the client sends it; nothing when
/// it is of no connection that is known.
#[inline(always)]
pub fn answer<P: Packet + ?Sized>(
    packet: &P,
    tables: &impl Tables,
    translations: &impl Translations,
) -> Option<(Outcome, Flow)> {
    let mut answer = Flow::default();
    let found = find_answer(packet, tables, &mut answer)?;
    let flow = translations.client(&answer)?;
    Some((judge_answer(&found, &flow, tables)?, flow))
}

/// The first part of [`answer`]: whether the packet may be of a connection, and of which: how its server
/// sends it is written into `answer`.
#[inline(always)]
pub fn find_answer<P: Packet + ?Sized>(
    packet: &P,
    tables: &impl Tables,
    answer: &mut Flow,
) -> Option<Answer> {
    let link = parse::link(packet)?;
    let base = match link.protocol {
        IPV4 => ip::v4(packet, link.l3),
        IPV6 => ip::v6(packet, link.l3),
        _ => return None,
    };
    let (mut headers, transport) = base.ok()?;
    answer.service = address_at(packet, headers.family, headers.destination())?;
    if tables.address(&answer.service)?.nat.answers == 0 {
        return None;
    }
    let transport = complete(packet, &headers, transport).ok()?;
    headers.protocol = transport.protocol;
    let (reason, client, ports) = match transport.protocol {
        TCP => {
            let both = ports(packet, &headers, transport).ok()?;
            headers.ports = both;
            let reason = match transport.fragment {
                // It tells no ports, and is left to the stack, which waits for the rest in vain.
                Some(fragment) if fragment.offset != 0 => return None,
                Some(_) => Reason::Fragment,
                None if tcp(packet, &mut headers, transport) => Reason::Answer,
                None => return None,
            };
            (reason, headers.source(), both)
        }
        ICMP | ICMPV6 => {
            let inner = about(packet, &headers, transport)?.ok()?;
            if !same(packet, headers.family, inner.source, headers.destination()) {
                return None;
            }
            let [from, to] = inner.ports?;
            (Reason::IcmpInner, inner.destination, [to, from])
        }
        _ => return None,
    };
    answer.client = address_at(packet, headers.family, client)?;
    answer.ports = ports;
    Some(Answer {
        reason,
        tagged: link.tagged,
        client,
        headers,
    })
}

/// The last part of [`answer`]: what becomes of a packet of this connection, as its client sends it; nothing
/// when the service is not there any more.
#[inline(always)]
pub fn judge_answer(found: &Answer, flow: &Flow, tables: &impl Tables) -> Option<Outcome> {
    let Answer {
        mut reason,
        tagged,
        client,
        headers,
    } = *found;
    let port: Port = port_of(tables.address(&flow.service)?, flow.ports[1])?;
    if !matches!(port.topology(), Topology::Nat) {
        return None;
    }
    let standing = match headers.family {
        Family::V4 => {
            let [.., a, b, c, d] = flow.client;
            standing_v4(tables, u32::from_be_bytes([a, b, c, d]))
        }
        Family::V6 => standing_v6(tables, &flow.client),
    };
    let address = if tables.any() {
        Some(&flow.client)
    } else {
        None
    };
    let standing = grants::of_address(address, standing, tables).standing;
    let class = standing.class();
    let forwards = !standing.is_stable() && transition::forwards(&port, standing.held());
    let mut verdict = match port.verdict(class) {
        Verdict::Forward => Verdict::Forward,
        _ if forwards => {
            if matches!(reason, Reason::Answer) {
                reason = Reason::Kept;
            }
            Verdict::Forward
        }
        _ => Verdict::Drop,
    };
    if matches!(verdict, Verdict::Forward) {
        (verdict, reason) = on_the_way(&headers, tagged, Topology::Nat, reason);
    }
    Some(Outcome {
        service: port.service,
        class,
        verdict,
        reason,
        observed: port.is_observed(),
        topology: Topology::Nat,
        answers: true,
        client,
        ports: Some(flow.ports),
        headers,
    })
}

/// Where the packet that an ICMP error is about has its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Offset of the IP header.
    pub l3: u32,
    /// Offset of the ports.
    pub l4: u32,
    /// Whether the checksum of TCP is quoted too.
    pub summed: bool,
}

impl Outcome {
    /// Where the packet lies that the error is about.
    #[inline(always)]
    pub fn quoted<P: Packet + ?Sized>(&self, packet: &P) -> Option<Quoted> {
        let (l3, at) = match self.headers.family {
            Family::V4 => {
                let l3 = self.client - 16;
                (l3, ip::v4(packet, l3).ok()?.1)
            }
            Family::V6 => {
                let l3 = self.client - 24;
                let (_, at) = ip::v6(packet, l3).ok()?;
                (l3, ip::extensions(packet, at).ok()?)
            }
        };
        Some(Quoted {
            l3,
            l4: at.l4,
            summed: at.l4 + 18 <= self.headers.l3 + self.headers.length,
        })
    }
}

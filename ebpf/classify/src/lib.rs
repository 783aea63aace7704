//! From the bytes of a packet and the tables to a verdict.
//!
//! In: a [`Packet`], on which side of Weir it arrived, and the [`Tables`] of one generation. Out: an
//! [`Outcome`], or nothing when the packet is none of Weir's business and must stay untouched. The
//! same code runs in the kernel programs, in tests and in replay; it never allocates, panics, reads a
//! clock or counts, and every loop in it is bounded, so that the kernel's verifier accepts it.

#![no_std]
#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

mod addresses;
pub mod budget;
mod class;
mod flow;
mod grants;
mod ip;
mod nat;
mod parse;
mod transition;
mod usual;

pub use class::{standing_v4, standing_v6};
pub use flow::{Found, classify, find, find_unusual, judge};
pub use grants::{Granted, granted};
pub use nat::{Answer, Quoted, answer, find_answer, judge_answer};
pub use usual::{Settled, address_v4, address_v6, settle};
use weir_abi::{
    Address, Class, First, Flow, Grant, Principal, Reason, Root, Topology, V4Node, V6Node, Verdict,
};

/// The bytes of a packet, from its Ethernet header on.
pub trait Packet {
    /// Bytes in the packet.
    fn len(&self) -> u32;

    /// Whether the packet has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `N` bytes from `offset` on; nothing when the packet is shorter.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// The same where it takes no call, for an offset that the compiler knows; nothing also for bytes that
    /// [`read`](Self::read) would find.
    #[inline(always)]
    fn peek<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.read(offset)
    }

    /// Whether a VLAN tag was taken off the packet and travels beside it.
    fn tagged(&self) -> bool {
        false
    }
}

/// One generation of services and sources, and the grants of now.
pub trait Tables: Sources + Grants {
    /// What is served at an address (IPv4 as IPv4-mapped IPv6).
    fn address(&self, address: &[u8; 16]) -> Option<&Address>;

    /// The first addresses once more, where there are such: they are asked before [`address`](Self::address)
    /// is.
    fn first(&self) -> Option<&First> {
        None
    }
}

/// One generation of sources, laid out as [`weir_abi`] tells.
pub trait Sources {
    /// The byte for the /24 of an IPv4 address: a standing, or [`weir_abi::EXACT`].
    fn v4_block(&self, address: u32) -> u8;

    /// The root for the /16 of an IPv4 address.
    fn v4_root(&self, address: u32) -> Root;

    /// A node of the IPv4 ranges.
    fn v4_node(&self, index: u32) -> Option<&V4Node>;

    /// The IPv6 root in this slot.
    fn v6_root(&self, slot: u32) -> Root;

    /// A node of the IPv6 ranges.
    fn v6_node(&self, index: u32) -> Option<&V6Node>;
}

/// Who was granted a class. Without any of these there are no grants.
pub trait Grants {
    /// Whether there is any grant; without one, nothing else is asked.
    fn any(&self) -> bool {
        false
    }

    /// What an address (IPv4 as IPv4-mapped IPv6) was granted.
    fn grant(&self, _address: &[u8; 16]) -> Option<&Grant> {
        None
    }

    /// The principal with this index.
    fn principal(&self, _index: u32) -> Option<&Principal> {
        None
    }

    /// Nanoseconds since boot.
    fn now(&self) -> u64 {
        0
    }
}

/// The connections of topology `nat`.
pub trait Translations {
    /// The client's side of the connection that a server answers with this.
    fn client(&self, answer: &Flow) -> Option<Flow>;
}

/// The connections that end at this machine.
pub trait Sockets {
    /// What has these ends. A listener is asked about the cookie of this acknowledgement, if there is one.
    fn find(&self, ends: &Ends, acknowledgement: Option<Segment>) -> Socket;
}

/// What this machine has for two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// Nothing, or what only listens.
    None,
    /// A connection; also one that only begins.
    Live,
    /// A connection that is over, and still waits for stray packets (`TIME_WAIT`).
    Over,
    /// A listener, and a segment that brings back the cookie with which it answered a SYN.
    Cookie,
}

/// Where a TCP segment has its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset of the IP header.
    pub l3: u32,
    /// Offset of the TCP header.
    pub l4: u32,
}

/// Where a packet tells the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Family of the addresses.
    pub family: Family,
    /// Offset of the client's address.
    pub client: u32,
    /// Offset of the service's address.
    pub service: u32,
    /// Ports of client and service.
    pub ports: [u16; 2],
}

/// For who leaves to others what depends on connections, and for machines without any.
#[derive(Clone, Copy, Debug)]
pub struct NoSockets;

impl Sockets for NoSockets {
    #[inline(always)]
    fn find(&self, _: &Ends, _: Option<Segment>) -> Socket {
        Socket::None
    }
}

/// On which side of Weir a packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// From the Internet: perhaps to a service.
    Outside,
    /// From the federation servers: perhaps an answer of a service.
    Inside,
}

/// Family of the packet's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What is to be done with a packet, and what a shell needs to do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Service concerned, or [`weir_abi::NO_SERVICE`].
    pub service: u16,
    /// Class of the client: the source outside, the destination inside.
    pub class: Class,
    /// What is to be done.
    pub verdict: Verdict,
    /// And why.
    pub reason: Reason,
    /// Whether the service is only observed: nothing is done then, but counted as what would be.
    pub observed: bool,
    /// How what is forwarded gets to a server; what comes from one is routed.
    pub topology: Topology,
    /// Whether it comes from a server that sees Weir instead of the client.
    pub answers: bool,
    /// Offset of the client's address, perhaps in the packet that an ICMP error is about.
    pub client: u32,
    /// Ports of client and service, where the packet tells.
    pub ports: Option<[u16; 2]>,
    /// Headers of the packet.
    pub headers: Headers,
}

/// The headers of a packet, as far as forwarding needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Family of the addresses.
    pub family: Family,
    /// Offset of the IP header.
    pub l3: u32,
    /// First four bytes of the IP header: version, traffic class, flow label.
    pub first: [u8; 4],
    /// Time to live or hop limit.
    pub ttl: u8,
    /// Transport protocol, after extension headers.
    pub protocol: u8,
    /// Length of the IP packet, from the IP header on, as it says itself.
    pub length: u32,
    /// Bytes from the IP header to the payload of TCP, where known: what each segment of a coalesced
    /// packet repeats.
    pub repeated: u32,
    /// Offset of a TCP header that was read as a whole; zero for what has none.
    pub l4: u32,
    /// TCP source and destination port; zero for what has none.
    pub ports: [u16; 2],
    /// Flags of TCP (RFC 9293 §3.1); zero for what has none.
    pub flags: u8,
}

impl Outcome {
    /// Whether XDP may finish a packet with this outcome: it forwards (but for `nat`) and drops whole TCP segments, and
    /// drops QUIC. All else is left to tcx, which judges it again and counts it: what goes to the stack
    /// or the proxy, is answered, is a fragment or an error, is malformed, or only observed.
    #[inline(always)]
    pub const fn ends_at_xdp(&self, side: Side) -> bool {
        if self.observed {
            return false;
        }
        match self.verdict {
            Verdict::Forward => {
                !matches!(self.topology, Topology::Nat)
                    && matches!(self.reason, Reason::Class | Reason::Answer | Reason::Kept)
            }
            Verdict::Drop => {
                matches!(side, Side::Outside)
                    && matches!(self.reason, Reason::Class | Reason::Udp443)
            }
            Verdict::Pass | Verdict::Proxy | Verdict::Reject => false,
        }
    }
}

impl Outcome {
    /// Whether nothing is to be done with the packet but to count it, and to drop it. From inside it first
    /// has to be asked whether it is the proxy's.
    #[inline(always)]
    pub const fn is_dropped(&self, side: Side) -> bool {
        matches!(side, Side::Outside) && matches!(self.verdict, Verdict::Drop) && !self.observed
    }

    /// The flow that a packet from outside belongs to; nothing where the packet does not tell its ports.
    #[inline(always)]
    pub fn flow<P: Packet + ?Sized>(&self, packet: &P) -> Option<Flow> {
        let family = self.headers.family;
        Some(Flow {
            client: ip::address(packet, family, self.client).ok()?,
            service: ip::address(packet, family, self.headers.destination()).ok()?,
            ports: self.ports?,
        })
    }
}

impl Headers {
    /// Whether an IPv4 header is longer than its base.
    #[inline(always)]
    pub const fn has_options(&self) -> bool {
        matches!(self.family, Family::V4) && self.first[0] != 0x45
    }

    /// Offset of the source address.
    #[inline(always)]
    pub const fn source(&self) -> u32 {
        match self.family {
            Family::V4 => self.l3 + 12,
            Family::V6 => self.l3 + 8,
        }
    }

    /// Offset of the destination address.
    #[inline(always)]
    pub const fn destination(&self) -> u32 {
        match self.family {
            Family::V4 => self.l3 + 16,
            Family::V6 => self.l3 + 24,
        }
    }
}

/// A packet in memory.
impl Packet for [u8] {
    fn len(&self) -> u32 {
        u32::try_from(<[u8]>::len(self)).unwrap_or(u32::MAX)
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = usize::try_from(offset).ok()?;
        self.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}

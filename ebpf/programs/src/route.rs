//! The way on: what the routing table says, and the hop that the way costs.

use core::ffi::c_void;
use core::mem::{MaybeUninit, size_of};

pub use aya_ebpf::bindings::bpf_fib_lookup as Lookup;
use aya_ebpf::bindings::{
    BPF_FIB_LKUP_RET_FRAG_NEEDED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_NOT_FWDED,
    BPF_FIB_LKUP_RET_SUCCESS,
};
use aya_ebpf::helpers::generated::bpf_fib_lookup;
use weir_abi::{Flow, Server};
use weir_classify::{Family, Headers, Packet, address_v4, address_v6};

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Why a packet cannot be forwarded.
pub enum NoWay {
    /// Its destination is this machine.
    Local,
    /// It exceeds the MTU of the way, which is this.
    TooBig(u32),
    /// The next hop is no known neighbour; only where one was asked for.
    Neighbour,
    /// There is no route, or forwarding is switched off.
    None,
}

/// Asks the routing table for the way of a packet of `length` bytes that entered at this interface.
/// `flags` are those of the helper, `ctx` is the program's context. With a server, the way is that to it,
/// whatever the packet's destination.
#[inline(always)]
pub fn find<P: Packet>(
    ctx: *mut c_void,
    packet: &P,
    headers: &Headers,
    server: Option<&Server>,
    length: u32,
    interface: u32,
    flags: u32,
) -> Result<Lookup, NoWay> {
    // SAFETY: all-zero is a valid value of this structure of integers.
    let mut lookup: Lookup = unsafe { MaybeUninit::zeroed().assume_init() };
    match headers.family {
        Family::V4 => {
            lookup.family = AF_INET;
            lookup.__bindgen_anon_2.tos = headers.first[1];
            lookup.__bindgen_anon_3.ipv4_src = v4(packet, headers.source())?;
            lookup.__bindgen_anon_4.ipv4_dst = match server {
                Some(server) => last_word(&server.address),
                None => v4(packet, headers.destination())?,
            };
        }
        Family::V6 => {
            lookup.family = AF_INET6;
            lookup.__bindgen_anon_2.flowinfo =
                u32::from_ne_bytes(headers.first) & 0x0fff_ffff_u32.to_be();
            lookup.__bindgen_anon_3.ipv6_src = v6(packet, headers.source())?;
            lookup.__bindgen_anon_4.ipv6_dst = match server {
                Some(server) => words(&server.address),
                None => v6(packet, headers.destination())?,
            };
        }
    }
    ask(
        ctx,
        lookup,
        headers.protocol,
        headers.ports,
        length,
        interface,
        flags,
    )
}

/// Asks as [`find`], for a packet that goes on from and to other ends than it says.
#[inline(always)]
pub fn between(
    ctx: *mut c_void,
    headers: &Headers,
    ends: &Flow,
    length: u32,
    interface: u32,
    flags: u32,
) -> Result<Lookup, NoWay> {
    // SAFETY: all-zero is a valid value of this structure of integers.
    let mut lookup: Lookup = unsafe { MaybeUninit::zeroed().assume_init() };
    match headers.family {
        Family::V4 => {
            lookup.family = AF_INET;
            lookup.__bindgen_anon_2.tos = headers.first[1];
            lookup.__bindgen_anon_3.ipv4_src = last_word(&ends.client);
            lookup.__bindgen_anon_4.ipv4_dst = last_word(&ends.service);
        }
        Family::V6 => {
            lookup.family = AF_INET6;
            lookup.__bindgen_anon_2.flowinfo =
                u32::from_ne_bytes(headers.first) & 0x0fff_ffff_u32.to_be();
            lookup.__bindgen_anon_3.ipv6_src = words(&ends.client);
            lookup.__bindgen_anon_4.ipv6_dst = words(&ends.service);
        }
    }
    ask(
        ctx,
        lookup,
        headers.protocol,
        ends.ports,
        length,
        interface,
        flags,
    )
}

/// Asks with the addresses that are in the question.
#[inline(always)]
fn ask(
    ctx: *mut c_void,
    mut lookup: Lookup,
    protocol: u8,
    ports: [u16; 2],
    length: u32,
    interface: u32,
    flags: u32,
) -> Result<Lookup, NoWay> {
    lookup.l4_protocol = protocol;
    lookup.sport = ports[0].to_be();
    lookup.dport = ports[1].to_be();
    lookup.__bindgen_anon_1.tot_len = if length > 0xffff {
        0xffff
    } else {
        length as u16
    };
    lookup.ifindex = interface;
    // SAFETY: the context is valid for the life of the program; pointer and size describe `lookup`.
    let result = unsafe { bpf_fib_lookup(ctx, &raw mut lookup, size_of::<Lookup>() as i32, flags) };
    match u32::try_from(result) {
        Ok(BPF_FIB_LKUP_RET_SUCCESS) => Ok(lookup),
        Ok(BPF_FIB_LKUP_RET_NOT_FWDED) => Err(NoWay::Local),
        // SAFETY: the kernel left it there, in place of the length.
        Ok(BPF_FIB_LKUP_RET_FRAG_NEEDED) => Err(NoWay::TooBig(u32::from(unsafe {
            lookup.__bindgen_anon_1.mtu_result
        }))),
        Ok(BPF_FIB_LKUP_RET_NO_NEIGH) => Err(NoWay::Neighbour),
        _ => Err(NoWay::None),
    }
}

/// TTL, protocol and checksum of an IPv4 header, after one hop (RFC 1624).
#[inline(always)]
pub fn take_hop([ttl, protocol, high, low]: [u8; 4]) -> [u8; 4] {
    // Taking 0x0100 from the header adds it to the checksum.
    let sum = u32::from(u16::from_be_bytes([high, low])) + 0x0100;
    let sum = (sum & 0xffff) + (sum >> 16);
    [ttl.wrapping_sub(1), protocol, (sum >> 8) as u8, sum as u8]
}

/// An IPv4 address as it stands in the packet.
#[inline(always)]
fn v4<P: Packet>(packet: &P, at: u32) -> Result<u32, NoWay> {
    let address = address_v4(packet, at);
    address.map(u32::from_ne_bytes).ok_or(NoWay::None)
}

/// An IPv6 address as it stands in the packet.
#[inline(always)]
fn v6<P: Packet>(packet: &P, at: u32) -> Result<[u32; 4], NoWay> {
    match address_v6(packet, at) {
        Some(address) => Ok(words(&address)),
        None => Err(NoWay::None),
    }
}

/// An IPv6 address for the kernel.
#[inline(always)]
pub fn words(a: &[u8; 16]) -> [u32; 4] {
    [
        u32::from_ne_bytes([a[0], a[1], a[2], a[3]]),
        u32::from_ne_bytes([a[4], a[5], a[6], a[7]]),
        u32::from_ne_bytes([a[8], a[9], a[10], a[11]]),
        last_word(a),
    ]
}

/// An IPv4 address, which is mapped to IPv6, for the kernel.
#[inline(always)]
pub fn last_word(a: &[u8; 16]) -> u32 {
    u32::from_ne_bytes([a[12], a[13], a[14], a[15]])
}

/// Whether the way leads to the server itself, not to a router: only a neighbour takes a packet by its
/// hardware address.
#[inline(always)]
pub fn is_neighbour(lookup: &Lookup, headers: &Headers, server: &Server) -> bool {
    // SAFETY: the lookup left the address of the next hop, of the family it says, in the larger member of
    // the union; both members begin at the same place.
    let next = unsafe { lookup.__bindgen_anon_4.ipv6_dst };
    let address = words(&server.address);
    match headers.family {
        _ if lookup.family != family(headers) => false,
        Family::V4 => next[0] == address[3],
        Family::V6 => {
            // Word by word: comparing arrays would become a call that the kernel does not have.
            next[0] == address[0]
                && next[1] == address[1]
                && next[2] == address[2]
                && next[3] == address[3]
        }
    }
}

#[inline(always)]
fn family(headers: &Headers) -> u8 {
    match headers.family {
        Family::V4 => AF_INET,
        Family::V6 => AF_INET6,
    }
}

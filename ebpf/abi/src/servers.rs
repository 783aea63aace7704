//! The servers behind a service, how packets get to them, and which of them a new connection gets.
//!
//! A service of topology `dsr` or `nat` has servers, each in a slot that it keeps as long as it is
//! configured. For each family a *wheel* says which slot a new connection falls on; what began keeps its
//! server by an entry of its own, whatever becomes of the wheel.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of services and servers are small; `From` is not const"
)]
#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use core::mem::size_of;

use crate::MAX_SERVICES;

/// Servers at most behind one service, both families together.
pub const MAX_SERVERS: usize = 32;
/// Slots for servers, those of one service beside each other, see [`server_index`].
pub const SERVERS: u32 = (MAX_SERVICES * MAX_SERVERS) as u32;
/// Places on a wheel: a prime, more than a hundred for each server.
pub const PLACES: u32 = 4093;
/// Wheels, see [`wheel_index`].
pub const WHEELS: u32 = 2 * MAX_SERVICES as u32;
/// The slot of nobody, on a wheel that has no server.
pub const NO_SERVER: u8 = u8::MAX;
/// Connections of `dsr` whose server is remembered; the longest unused is forgotten first.
pub const MAX_FLOWS: u32 = 1 << 17;

/// A wheel: at each place the slot of a server of its service, or [`NO_SERVER`]. What is behind
/// [`PLACES`] is never read; it lets the verifier see that no index leaves the array.
pub type Wheel = [u8; 4096];
/// All places, as the verifier understands it.
pub const WHEEL_MASK: u32 = 4095;

/// How packets of a service get to its servers.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Topology {
    /// Weir is the router in front of the one server, which owns the service's address.
    #[default]
    Route = 0,
    /// Weir sends the packet to the hardware address of a server that has the service's address on its
    /// loopback; the server answers the client itself.
    Dsr = 1,
    /// Weir rewrites both ends of the connection: the server answers Weir, which answers the client.
    Nat = 2,
}

impl Topology {
    /// The topology with this number; what is none is [`Topology::Route`].
    #[inline(always)]
    pub const fn from_u8(number: u8) -> Self {
        match number {
            1 => Self::Dsr,
            2 => Self::Nat,
            _ => Self::Route,
        }
    }

    /// The word used in configuration, status and log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Dsr => "dsr",
            Self::Nat => "nat",
        }
    }
}

/// One server, in its slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// Its own address, IPv4 as IPv4-mapped IPv6.
    pub address: [u8; 16],
    /// [`Server::NONE`], [`Server::DOWN`] or [`Server::UP`].
    pub state: u32,
}

impl Server {
    /// Nobody is in the slot.
    pub const NONE: u32 = 0;
    /// Gets no new connections; what it has goes on.
    pub const DOWN: u32 = 1;
    /// Gets its share of new connections.
    pub const UP: u32 = 2;
}

/// A flow as the programs remember it, from the client's side: addresses (IPv4 as IPv4-mapped IPv6) and
/// ports of client and service.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Address of the client.
    pub client: [u8; 16],
    /// Address of the service.
    pub service: [u8; 16],
    /// Ports of client and service.
    pub ports: [u16; 2],
}

impl Flow {
    /// Whether it is this one.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let mut differs = self.ports[0] != other.ports[0] || self.ports[1] != other.ports[1];
        // Word by word: comparing arrays would become a call that the kernel does not have.
        let mut i = 0;
        while i < 16 {
            differs |= word(&self.client, i) != word(&other.client, i);
            differs |= word(&self.service, i) != word(&other.service, i);
            i += 4;
        }
        !differs
    }

    /// The place of this flow on every wheel.
    #[inline(always)]
    pub const fn place(&self) -> u32 {
        let mut hash = (self.ports[0] as u32) << 16 | self.ports[1] as u32;
        let mut i = 0;
        while i < 16 {
            hash = mix(hash, word(&self.client, i));
            hash = mix(hash, word(&self.service, i));
            i += 4;
        }
        hash ^= hash >> 16;
        hash = hash.wrapping_mul(0x85eb_ca6b);
        hash ^= hash >> 13;
        hash = hash.wrapping_mul(0xc2b2_ae35);
        (hash ^ hash >> 16) % PLACES
    }
}

/// Where a slot of a service lies among the servers.
#[inline(always)]
pub const fn server_index(service: u16, slot: u8) -> u32 {
    service as u32 * MAX_SERVERS as u32 + slot as u32
}

/// Which wheel a service has for a family.
#[inline(always)]
pub const fn wheel_index(service: u16, six: bool) -> u32 {
    2 * service as u32 + six as u32
}

/// One round of MurmurHash3 (32 bits).
#[inline(always)]
const fn mix(hash: u32, word: u32) -> u32 {
    let word = word.wrapping_mul(0xcc9e_2d51).rotate_left(15);
    let word = word.wrapping_mul(0x1b87_3593);
    (hash ^ word)
        .rotate_left(13)
        .wrapping_mul(5)
        .wrapping_add(0xe654_6b64)
}

#[inline(always)]
const fn word(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

const _: () = {
    assert!(size_of::<Server>() == 20 && size_of::<Flow>() == 36);
    assert!(PLACES <= WHEEL_MASK && WHEEL_MASK as usize + 1 == size_of::<Wheel>());
    assert!(MAX_SERVERS < NO_SERVER as usize);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapped;

    #[test]
    fn flows_spread_evenly_over_the_places() {
        let mut hits = [0_u32; 16];
        for client in 0..64 {
            for port in 0..1024 {
                let flow = Flow {
                    client: mapped(0xcb00_7100 + client),
                    service: mapped(0xc000_020a),
                    ports: [32768 + port, 443],
                };
                hits[(flow.place() * 16 / PLACES) as usize] += 1;
            }
        }
        // 4096 expected; the deviation of an even spread is 62.
        assert!(
            hits.iter().all(|hits| hits.abs_diff(4096) < 400),
            "{hits:?}"
        );
    }

    #[test]
    fn topologies_come_back_from_their_numbers() {
        for topology in [Topology::Route, Topology::Dsr, Topology::Nat] {
            assert_eq!(Topology::from_u8(topology as u8), topology);
        }
        assert_eq!(Topology::from_u8(3), Topology::Route);
    }
}

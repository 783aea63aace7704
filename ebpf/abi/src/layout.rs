//! What lies in each BPF map.
//!
//! Every value is plain old data without padding: user space writes it as bytes, the programs read
//! it in place. Numbers are in the machine's byte order, addresses in network order, except where
//! said. How sources are laid out is told in the module `sources`.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of classes, verdicts, reasons and services are small; `From` is not const"
)]
#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use core::mem::{offset_of, size_of};

use crate::{Class, Hook, Nat, Reason, Topology, Verdict};

/// Services at most; service ids lie below it.
pub const MAX_SERVICES: usize = 64;
/// Service addresses at most, over all services and both families.
pub const MAX_ADDRESSES: u32 = 1024;
/// Ports at most on one service address.
pub const MAX_PORTS: usize = 8;
/// The id that stands for "no service" in counters and outcomes.
pub const NO_SERVICE: u16 = u16::MAX;
/// Generations that have room beside each other in the maps.
pub const GENERATIONS: u32 = 2;
/// Interfaces at most on which XDP acts; on others it leaves every packet to tcx.
pub const MAX_STATIONS: usize = 16;
/// The lowest bit of the topology in the word of a port.
const TOPOLOGY: u32 = 4 * Class::COUNT as u32;
/// The bits of the topology.
const TOPOLOGIES: u32 = 0x0f;
/// Counters of one hook in the map of counters.
const COUNTERS_OF_HOOK: u32 =
    ((MAX_SERVICES + 1) * Class::COUNT * Verdict::COUNT * Reason::COUNT) as u32;
/// Counters in the map of counters, see [`counter_index`]: for each hook, and for what is only observed.
pub const COUNTERS: u32 = (Hook::COUNT as u32 + 1) * COUNTERS_OF_HOOK;

/// Names of the maps, in the object file and as files under the pin directory.
pub mod maps {
    /// One [`Config`](super::Config); array.
    pub const CONFIG: &str = "CONFIG";
    /// By generation, [`Address`](super::Address) by address (IPv4 as IPv4-mapped IPv6); hashes.
    pub const ADDRESSES: [&str; 2] = ["ADDRESSES_0", "ADDRESSES_1"];
    /// [`First`](crate::First) by generation; array.
    pub const FIRST: &str = "FIRST";
    /// Blocks of 256 bytes, index = generation * [`V4_BLOCKS`](crate::V4_BLOCKS) + the address' upper 16
    /// bits; array.
    pub const V4_BLOCKS: &str = "V4_BLOCKS";
    /// Blocks of 256 [`Root`](crate::Root), index = generation * [`V4_ROOT_BLOCKS`](crate::V4_ROOT_BLOCKS)
    /// + the address' upper 8 bits; array.
    pub const V4_ROOTS: &str = "V4_ROOTS";
    /// By generation, an array of [`V4Node`](crate::V4Node).
    pub const V4_NODES: &str = "V4_NODES";
    /// Blocks of 256 [`Root`](crate::Root), index = generation * [`V6_ROOT_BLOCKS`](crate::V6_ROOT_BLOCKS)
    /// + the upper bits of the address' [`v6_slot`](crate::v6_slot); array.
    pub const V6_ROOTS: &str = "V6_ROOTS";
    /// By generation, an array of [`V6Node`](crate::V6Node).
    pub const V6_NODES: &str = "V6_NODES";
    /// [`Count`](super::Count) by [`counter_index`](super::counter_index); per-CPU array.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`Server`](crate::Server), index = generation * [`SERVERS`](crate::SERVERS) +
    /// [`server_index`](crate::server_index); array.
    pub const SERVERS: &str = "SERVERS";
    /// [`Wheel`](crate::Wheel), index = generation * [`WHEELS`](crate::WHEELS) +
    /// [`wheel_index`](crate::wheel_index); array.
    pub const WHEELS: &str = "WHEELS";
    /// Place among the servers by [`Flow`](crate::Flow), of connections of `dsr`; LRU hash.
    pub const FLOWS: &str = "FLOWS";
    /// [`Translation`](crate::Translation) by [`Flow`](crate::Flow), of established connections of `nat`;
    /// LRU hash.
    pub const TRANSLATIONS: &str = "TRANSLATIONS";
    /// [`Flow`](crate::Flow) of the client by that of what the server sends, of the same; LRU hash.
    pub const ANSWERS: &str = "ANSWERS";
    /// As [`TRANSLATIONS`], of connections that only begin.
    pub const BEGUN: &str = "BEGUN";
    /// As [`ANSWERS`], of connections that only begin.
    pub const BEGUN_ANSWERS: &str = "BEGUN_ANSWERS";
    /// [`Principal`](crate::Principal) by its index; array.
    pub const PRINCIPALS: &str = "PRINCIPALS";
    /// [`Grant`](crate::Grant) by address (IPv4 as IPv4-mapped IPv6); hash.
    pub const GRANTS: &str = "GRANTS";
    /// [`Seen`](crate::Seen); ring buffer. Not pinned, as those below.
    pub const EVENTS: &str = "EVENTS";
    /// [`Seen`](crate::Seen), each with its frame; ring buffer.
    pub const CAPTURED: &str = "CAPTURED";
    /// One [`Filter`](crate::Filter); array.
    pub const CAPTURE: &str = "CAPTURE";
    /// Places of [`telling`](crate::telling); per-CPU array.
    pub const TELLING: &str = "TELLING";
}

/// What the programs read once for each packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// [`ABI_VERSION`](crate::ABI_VERSION) of whoever made the maps. Always first, in every version.
    pub abi: u32,
    /// Generations that packets are judged by: [`Config::SOURCES`] and [`Config::SERVICES`], each with
    /// the bit for generation 1, and [`Config::NAT`]. Publishing any of it is one store to this word.
    pub active: u32,
    /// Mark on packets for the proxy.
    pub mark: u32,
    /// Routing table for marked packets; for user space, which has to remove what it made.
    pub table: u32,
    /// Random number, made when the maps are made: a packet that carries it, in its control block at
    /// tcx or as metadata at XDP, comes from `weir explain`, and is not counted.
    pub probe: [u32; 2],
    /// Interfaces on which XDP acts; interface 0 ends the list.
    pub stations: [Station; MAX_STATIONS],
    /// How often one source may begin connections to the proxy.
    pub proxied: Budget,
    /// How often one source may begin connections that are forwarded.
    pub forwarded: Budget,
    /// One of so many beginnings of flows is told of; 0 is none.
    pub sample: u32,
    /// 1 while frames are captured.
    pub capture: u32,
    /// 1 while there is any grant: without one, none is looked for.
    pub grants: u32,
    /// 1 when servers of `nat` answer by the outside interfaces, because there are no others. Else what comes
    /// from outside is never taken for an answer: anybody may write a server's address into it.
    pub one_arm: u32,
}

impl Config {
    /// Bit of [`Config::active`]: the generation of the sources.
    pub const SOURCES: u32 = 1;
    /// Bit of [`Config::active`]: the generation of addresses, servers and wheels.
    pub const SERVICES: u32 = 2;
    /// Bit of [`Config::active`]: servers answer to addresses of this machine, see [`Nat`]. Without it no
    /// packet is taken for such an answer.
    pub const NAT: u32 = 4;
}

/// How often one source may begin connections: once in `interval`, and some at once.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Nanoseconds from one beginning to the next, in the long run; 0 sets no bound.
    pub interval: u64,
    /// Nanoseconds that a source may be ahead of that.
    pub burst: u64,
}

impl Budget {
    /// So many beginnings in a second, and so many at once; 0 in a second sets no bound.
    pub const fn new(per_second: u32, at_once: u32) -> Self {
        let interval = match per_second {
            0 => 0,
            per_second => 1_000_000_000 / per_second as u64,
        };
        Self {
            interval,
            burst: interval * at_once as u64,
        }
    }
}

/// An interface and its hardware address: what is sent to another address is only overheard.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Station {
    /// Index of the interface; 0 is none.
    pub interface: u32,
    /// First four bytes of its address, as they stand in a frame.
    pub first: u32,
    /// Last two bytes of it, as they stand in a frame.
    pub last: u32,
}

impl Station {
    /// An interface with its address.
    pub const fn new(interface: u32, address: [u8; 6]) -> Self {
        let [first, .., fifth, sixth] = address;
        Self {
            interface,
            first: u32::from_ne_bytes([first, address[1], address[2], address[3]]),
            last: u16::from_ne_bytes([fifth, sixth]) as u32,
        }
    }
}

/// Why XDP leaves a packet to tcx that it would have forwarded.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The hardware address of the next hop is not known; tcx asks for it.
    Neighbour = 1,
    /// The interface on the way takes no redirected frames.
    Egress = 2,
    /// No way, or a frame that XDP does not send on: tcx says more.
    Other = 3,
}

/// What the program at XDP tells a probe: metadata in front of the frame. The program at tcx writes the
/// same words into the control block.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// [`Config::probe`], from user space.
    pub probe: [u32; 2],
    /// Service, or [`NO_SERVICE`].
    pub service: u32,
    /// Number of the class. Where XDP wrote no service, but left a packet to tcx that it would have
    /// forwarded: why, as [`Left`].
    pub class: u32,
    /// Number of the verdict, and eight bits below it that of the reason; above them
    /// [`Reply::OBSERVED`].
    pub judgement: u32,
}

impl Reply {
    /// Bit of the judgement: the verdict is not carried out, because the service is only observed.
    pub const OBSERVED: u32 = 1 << 16;

    /// What was judged.
    #[inline(always)]
    pub const fn new(
        probe: [u32; 2],
        service: u16,
        class: Class,
        verdict: Verdict,
        reason: Reason,
    ) -> Self {
        Self {
            probe,
            service: service as u32,
            class: class as u32,
            judgement: (verdict as u32) << 8 | reason as u32,
        }
    }
}

/// Ports and services at one service address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// What listens here; port 0 ends the list.
    pub ports: [Port; MAX_PORTS],
    /// What its packets have to do with `nat`.
    pub nat: Nat,
}

/// One port of a service address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// TCP port; 0 is none.
    pub port: u16,
    /// Service that owns the port.
    pub service: u16,
    /// Four bits for each class, the first class lowest. Shifting needs no bounds, which the verifier
    /// would ask for when an array is indexed. Above them the topology, and as the highest bit
    /// [`Port::is_observed`].
    verdicts: u32,
}

/// Bit of a port that is only observed.
const OBSERVED: u32 = 1 << 31;

impl Port {
    /// A port of a service, with the verdict for each class.
    pub const fn new(port: u16, service: u16, verdicts: [Verdict; Class::COUNT]) -> Self {
        let mut packed = 0;
        let mut i = 0;
        while i < Class::COUNT {
            packed |= (verdicts[i] as u32) << (4 * i);
            i += 1;
        }
        Self {
            port,
            service,
            verdicts: packed,
        }
    }

    /// The same port, only observed or not.
    #[must_use]
    pub const fn observed(self, observed: bool) -> Self {
        let verdicts = if observed {
            self.verdicts | OBSERVED
        } else {
            self.verdicts & !OBSERVED
        };
        Self { verdicts, ..self }
    }

    /// Whether its packets are judged and counted, but go on untouched.
    #[inline(always)]
    pub const fn is_observed(&self) -> bool {
        self.verdicts & OBSERVED != 0
    }

    /// The same port of a service of this topology; a new one is of [`Topology::Route`].
    #[must_use]
    pub const fn with_topology(self, topology: Topology) -> Self {
        let others = self.verdicts & !(TOPOLOGIES << TOPOLOGY);
        Self {
            verdicts: others | (topology as u32) << TOPOLOGY,
            ..self
        }
    }

    /// How forwarded packets get to the servers.
    #[inline(always)]
    pub const fn topology(&self) -> Topology {
        Topology::from_u8((self.verdicts >> TOPOLOGY & TOPOLOGIES) as u8)
    }

    /// What is done with packets of this class.
    #[inline(always)]
    pub const fn verdict(&self, class: Class) -> Verdict {
        Verdict::from_u8(((self.verdicts >> (4 * class as u32)) & 0x0f) as u8)
    }
}

/// One counter.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

const _: () = {
    assert!(size_of::<Config>() == 264 && offset_of!(Config, abi) == 0);
    assert!(size_of::<Address>() == 88 && size_of::<Port>() == 8);
    assert!(size_of::<Station>() == 12 && size_of::<Reply>() == 20);
    assert!(size_of::<Count>() == 16);
};

/// Where a counter lies in the map of counters. A service that does not exist counts as none. What is only
/// `observed` is counted by itself, and always by tcx, which lets it go on.
#[inline(always)]
pub const fn counter_index(
    hook: Hook,
    observed: bool,
    service: u16,
    class: Class,
    verdict: Verdict,
    reason: Reason,
) -> u32 {
    let slot = if (service as usize) < MAX_SERVICES {
        service as u32
    } else {
        MAX_SERVICES as u32
    };
    let block = if observed {
        Hook::COUNT as u32
    } else {
        hook as u32
    };
    block * COUNTERS_OF_HOOK
        + ((slot * Class::COUNT as u32 + class as u32) * Verdict::COUNT as u32 + verdict as u32)
            * Reason::COUNT as u32
        + reason as u32
}

/// The counter at this index: hook, whether it is only observed, service (or [`NO_SERVICE`]), class,
/// verdict, reason; the inverse of [`counter_index`].
pub const fn counter_at(index: u32) -> Option<(Hook, bool, u16, Class, Verdict, Reason)> {
    if index >= COUNTERS {
        return None;
    }
    let block = (index / COUNTERS_OF_HOOK) as usize;
    let observed = block == Hook::COUNT;
    let hook = if observed {
        Hook::Tcx
    } else {
        Hook::ALL[block]
    };
    let index = index % COUNTERS_OF_HOOK;
    let reason = index % Reason::COUNT as u32;
    let rest = index / Reason::COUNT as u32;
    let verdict = rest % Verdict::COUNT as u32;
    let rest = rest / Verdict::COUNT as u32;
    let class = rest % Class::COUNT as u32;
    let slot = rest / Class::COUNT as u32;
    let service = if slot as usize == MAX_SERVICES {
        NO_SERVICE
    } else {
        slot as u16
    };
    Some((
        hook,
        observed,
        service,
        Class::from_u8(class as u8),
        Verdict::from_u8(verdict as u8),
        Reason::from_u8(reason as u8),
    ))
}

/// The address as the map of service addresses has it: IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
#[inline(always)]
pub const fn mapped(address: u32) -> [u8; 16] {
    let [a, b, c, d] = address.to_be_bytes();
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        let mut expected = 0;
        let services = (0..MAX_SERVICES as u16).chain([NO_SERVICE]);
        let blocks = [(Hook::Tcx, false), (Hook::Xdp, false), (Hook::Tcx, true)];
        for ((hook, observed), service) in blocks
            .into_iter()
            .flat_map(|block| services.clone().map(move |service| (block, service)))
        {
            for class in Class::ALL {
                for verdict in Verdict::ALL {
                    for reason in Reason::ALL {
                        let index = counter_index(hook, observed, service, class, verdict, reason);
                        assert_eq!(index, expected);
                        let back = counter_at(index);
                        assert_eq!(
                            back,
                            Some((hook, observed, service, class, verdict, reason))
                        );
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(expected, COUNTERS);
        assert_eq!(counter_at(COUNTERS), None);
    }

    #[test]
    fn numbers_and_names_are_inverse() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_u8(reason as u8), reason);
        }
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::from_u8(verdict as u8), verdict);
        }
        for class in Class::ALL {
            assert_eq!(Class::from_u8(class as u8), class);
        }
        assert_eq!(Verdict::from_u8(77), Verdict::Drop);
        assert_eq!(Class::from_u8(77), Class::Unmanaged);
        assert_eq!(Reason::from_u8(77), Reason::Other);
    }

    #[test]
    fn a_port_keeps_its_verdicts() {
        let verdicts = [
            Verdict::Proxy,
            Verdict::Forward,
            Verdict::Pass,
            Verdict::Drop,
            Verdict::Reject,
        ];
        let port = Port::new(443, 7, verdicts);
        for topology in [
            Topology::Route,
            Topology::Dsr,
            Topology::Nat,
            Topology::Route,
        ] {
            let port = port.with_topology(topology);
            assert_eq!(Class::ALL.map(|class| port.verdict(class)), verdicts);
            let observed = port.observed(true);
            assert_eq!(Class::ALL.map(|class| observed.verdict(class)), verdicts);
            assert!(observed.is_observed() && !port.is_observed());
            assert_eq!(observed.observed(false), port);
            assert_eq!(port.topology(), topology);
        }
    }

    #[test]
    fn service_addresses_of_ipv4_are_mapped() {
        assert_eq!(mapped(0xc000_0201)[10..], [0xff, 0xff, 192, 0, 2, 1]);
    }
}

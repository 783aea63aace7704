//! What lies in each BPF map.
//!
//! Every value is plain old data without padding: user space writes it as bytes, the programs read
//! it in place. Numbers are in the machine's byte order, addresses in network order, except where
//! said.

#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers of classes, verdicts, reasons and services are small; `From` is not const"
)]
#![expect(
    clippy::inline_always,
    reason = "calls cost, and hide bounds from the verifier"
)]

use core::mem::{offset_of, size_of};

use crate::{Class, Hook, Reason, Verdict};

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
/// Blocks of 256 classes, one for each /16, in one IPv4 generation.
pub const V4_BLOCKS: u32 = 1 << 16;
/// Bit in a byte of an IPv4 block: some address in this /24 has a class of its own in the exact table.
pub const EXACT: u8 = 0x80;
/// Bits of a byte of an IPv4 block that hold the number of the class.
pub const CLASS_BITS: u8 = 0x07;
/// Different IPv6 prefix lengths, /0 to /128.
pub const V6_LENGTHS: usize = 129;
/// Interfaces at most on which XDP acts; on others it leaves every packet to tcx.
pub const MAX_STATIONS: usize = 16;
/// Counters of one hook in the map of counters.
const COUNTERS_OF_HOOK: u32 =
    ((MAX_SERVICES + 1) * Class::COUNT * Verdict::COUNT * Reason::COUNT) as u32;
/// Counters in the map of counters, see [`counter_index`].
pub const COUNTERS: u32 = Hook::COUNT as u32 * COUNTERS_OF_HOOK;

/// Names of the maps, in the object file and as files under the pin directory.
pub mod maps {
    /// One [`Config`](super::Config); array.
    pub const CONFIG: &str = "CONFIG";
    /// [`Address`](super::Address) by address (IPv4 as IPv4-mapped IPv6); hash.
    pub const ADDRESSES: &str = "ADDRESSES";
    /// Blocks of 256 bytes, index = generation * 65536 + the address' upper 16 bits; array.
    pub const V4_BLOCKS: &str = "V4_BLOCKS";
    /// By generation, a hash of class by address (machine's byte order, 192.0.2.1 is 0xc0000201).
    pub const V4_EXACT: &str = "V4_EXACT";
    /// [`V6Lengths`](super::V6Lengths) by generation; array.
    pub const V6_LENGTHS: &str = "V6_LENGTHS";
    /// By generation, a hash of class by [`V6Key`](super::V6Key).
    pub const V6_PREFIXES: &str = "V6_PREFIXES";
    /// [`Count`](super::Count) by [`counter_index`](super::counter_index); per-CPU array.
    pub const COUNTERS: &str = "COUNTERS";
}

/// What the programs read once for each packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// [`ABI_VERSION`](crate::ABI_VERSION) of whoever made the maps. Always first, in every version.
    pub abi: u32,
    /// Generation that packets are classified by: 0 or 1. Publishing is one store to this word.
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
    /// Number of the verdict, and eight bits below it that of the reason.
    pub judgement: u32,
}

impl Reply {
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
    /// would ask for when an array is indexed.
    verdicts: u32,
}

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

    /// What is done with packets of this class.
    #[inline(always)]
    pub const fn verdict(&self, class: Class) -> Verdict {
        Verdict::from_u8(((self.verdicts >> (4 * class as u32)) & 0x0f) as u8)
    }
}

/// Key of an IPv6 table.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct V6Key {
    /// Length of the prefix in bits.
    pub length: u32,
    /// First to last 32 bits of the prefix, each in the machine's byte order; host bits are zero.
    pub words: [u32; 4],
}

/// Which prefix lengths occur in one IPv6 generation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct V6Lengths {
    /// How many of `masks` are valid.
    pub count: u32,
    /// One for each length that occurs, longest first: the length, and the words of its mask. An address
    /// masked with it is a key.
    pub masks: [V6Key; V6_LENGTHS],
}

impl V6Lengths {
    /// No lengths.
    pub const NONE: Self = Self {
        count: 0,
        masks: [V6Key {
            length: 0,
            words: [0; 4],
        }; V6_LENGTHS],
    };

    /// Exactly the lengths for which the slot of `present` is true.
    pub const fn new(present: &[bool; V6_LENGTHS]) -> Self {
        let mut lengths = Self::NONE;
        let mut length = V6_LENGTHS;
        while length > 0 {
            length -= 1;
            if present[length] {
                lengths.masks[lengths.count as usize] = v6_key(length as u8, [u32::MAX; 4]);
                lengths.count += 1;
            }
        }
        lengths
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
    assert!(size_of::<Config>() == 216 && offset_of!(Config, abi) == 0);
    assert!(size_of::<Address>() == 64 && size_of::<Port>() == 8);
    assert!(size_of::<V6Key>() == 20 && size_of::<V6Lengths>() == 2584);
    assert!(size_of::<Station>() == 12 && size_of::<Reply>() == 20);
    assert!(size_of::<Count>() == 16);
};

/// Where a counter lies in the map of counters. A service that does not exist counts as none.
#[inline(always)]
pub const fn counter_index(
    hook: Hook,
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
    hook as u32 * COUNTERS_OF_HOOK
        + ((slot * Class::COUNT as u32 + class as u32) * Verdict::COUNT as u32 + verdict as u32)
            * Reason::COUNT as u32
        + reason as u32
}

/// The counter at this index: hook, service (or [`NO_SERVICE`]), class, verdict, reason; the inverse of
/// [`counter_index`].
pub const fn counter_at(index: u32) -> Option<(Hook, u16, Class, Verdict, Reason)> {
    if index >= COUNTERS {
        return None;
    }
    let hook = Hook::ALL[(index / COUNTERS_OF_HOOK) as usize];
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

/// The prefix as key of the IPv6 table: host bits cut off.
#[inline(always)]
pub const fn v6_key(length: u8, words: [u32; 4]) -> V6Key {
    V6Key {
        length: length as u32,
        words: [
            words[0] & mask(length as u32, 0),
            words[1] & mask(length as u32, 32),
            words[2] & mask(length as u32, 64),
            words[3] & mask(length as u32, 96),
        ],
    }
}

/// Mask of the 32 bits that start at bit `from`, for a prefix of `length` bits.
#[inline(always)]
const fn mask(length: u32, from: u32) -> u32 {
    if length <= from {
        0
    } else if length >= from + 32 {
        u32::MAX
    } else {
        u32::MAX << (32 - (length - from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own() {
        let mut expected = 0;
        let services = (0..MAX_SERVICES as u16).chain([NO_SERVICE]);
        for (hook, service) in Hook::ALL
            .into_iter()
            .flat_map(|hook| services.clone().map(move |service| (hook, service)))
        {
            for class in Class::ALL {
                for verdict in Verdict::ALL {
                    for reason in Reason::ALL {
                        let index = counter_index(hook, service, class, verdict, reason);
                        assert_eq!(index, expected);
                        let back = counter_at(index);
                        assert_eq!(back, Some((hook, service, class, verdict, reason)));
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
        assert_eq!(Class::ALL.map(|class| port.verdict(class)), verdicts);
    }

    #[test]
    fn keys_cut_host_bits() {
        let words = [0x2001_0db8, 0xffff_ffff, 0x1234_5678, 0x9abc_def0];
        assert_eq!(v6_key(0, words).words, [0; 4]);
        assert_eq!(v6_key(32, words).words, [0x2001_0db8, 0, 0, 0]);
        assert_eq!(v6_key(49, words).words, [0x2001_0db8, 0xffff_8000, 0, 0]);
        assert_eq!(v6_key(127, words).words[3], 0x9abc_def0);
        assert_eq!(v6_key(128, words).words, words);
        assert_eq!(mapped(0xc000_0201)[10..], [0xff, 0xff, 192, 0, 2, 1]);
    }
}

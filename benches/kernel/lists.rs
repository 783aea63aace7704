//! Lists to look sources up in, and the sources; the same in every run.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use weir_abi::Class;
use weir_tables::{List, Lists, Origin, Scope};

/// How long the prefixes of a list are. They are disjoint: an interval set takes no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// IPv4 as in the Internet's routing table: 60 % /24, 10 % /23, 11 % /22, the rest shorter.
    Routes,
    /// IPv4 as in a blocklist: 75 % /32, 15 % /24, the rest between.
    Blocklist,
    /// IPv6: 48 % /48, eight prefixes in each /32 that has any.
    Six,
}

/// Classes of the lists' prefixes, so that neighbours cannot be taken together.
const CLASSES: [Class; 4] = [Class::Managed, Class::Bypass, Class::Blocked, Class::Relay];
/// First and last address of what is drawn from: IPv4 unicast.
const UNICAST: std::ops::Range<u32> = 0x0100_0000..0xe000_0000;

impl Mix {
    /// Its name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Routes => "IPv4",
            Self::Blocklist => "IPv4 blocklist",
            Self::Six => "IPv6",
        }
    }

    /// Its family's number.
    pub fn family(self) -> u8 {
        if self == Self::Six { 6 } else { 4 }
    }

    /// So many disjoint prefixes.
    pub fn prefixes(self, count: usize) -> Vec<IpNet> {
        let mut random = StdRng::seed_from_u64(5745 + count as u64);
        let mut prefixes = match self {
            Self::Routes => disjoint_v4(&mut random, count, &ROUTES),
            Self::Blocklist => disjoint_v4(&mut random, count, &BLOCKLIST),
            Self::Six => disjoint_v6(&mut random, count),
        };
        prefixes.shuffle(&mut random);
        prefixes
    }
}

/// Lengths with their weights in percent, shortest first.
const ROUTES: [(u8, u32); 9] = [
    (16, 2),
    (17, 1),
    (18, 2),
    (19, 4),
    (20, 5),
    (21, 5),
    (22, 11),
    (23, 10),
    (24, 60),
];
const BLOCKLIST: [(u8, u32); 6] = [(22, 2), (24, 15), (26, 2), (28, 3), (30, 3), (32, 75)];
const SIX: [(u8, u32); 8] = [
    (36, 5),
    (40, 10),
    (44, 12),
    (46, 8),
    (48, 48),
    (56, 6),
    (64, 9),
    (128, 2),
];

/// The lists of so many classes that hold the prefixes, one prefix after the other.
pub fn lists(prefixes: &[IpNet], classes: &[Class]) -> Vec<List> {
    (0..classes.len())
        .map(|at| List {
            name: format!("list {at}"),
            class: classes[at],
            scope: Scope::All,
            origin: Origin::Local,
            prefixes: prefixes
                .iter()
                .skip(at)
                .step_by(classes.len())
                .copied()
                .collect(),
        })
        .collect()
}

/// The lists with a mix of classes.
pub fn mixed(prefixes: &[IpNet]) -> Vec<List> {
    lists(prefixes, &CLASSES)
}

/// Sources that the prefixes hold.
pub fn inside(prefixes: &[IpNet], count: usize) -> Vec<IpAddr> {
    let mut random = StdRng::seed_from_u64(7);
    (0..count)
        .map(|_| {
            let at = random.random_range(0..prefixes.len());
            within(&mut random, prefixes[at])
        })
        .collect()
}

/// Sources that no prefix holds: IPv4 anywhere, IPv6 beside a prefix, where a miss is hardest to see.
pub fn outside(prefixes: &[IpNet], lists: &Lists, count: usize) -> Vec<IpAddr> {
    let mut random = StdRng::seed_from_u64(11);
    let mut sources = Vec::with_capacity(count);
    while sources.len() < count {
        let source: IpAddr = match prefixes[random.random_range(0..prefixes.len())] {
            IpNet::V4(_) => Ipv4Addr::from_bits(random.random_range(UNICAST)).into(),
            IpNet::V6(near) => {
                let network = near.addr().to_bits() >> 96 << 96;
                Ipv6Addr::from_bits(network | random.random::<u128>() >> 32).into()
            }
        };
        if lists.find(source).class == Class::Unmanaged {
            sources.push(source);
        }
    }
    sources
}

fn within(random: &mut StdRng, prefix: IpNet) -> IpAddr {
    match prefix {
        IpNet::V4(net) => {
            let host = random.random::<u32>() & !net.netmask().to_bits();
            Ipv4Addr::from_bits(net.network().to_bits() | host).into()
        }
        IpNet::V6(net) => {
            let host = random.random::<u128>() & !net.netmask().to_bits();
            Ipv6Addr::from_bits(net.network().to_bits() | host).into()
        }
    }
}

/// How many prefixes there are of each length.
fn shares(count: usize, weights: &[(u8, u32)]) -> Vec<(u8, usize)> {
    let mut shares: Vec<(u8, usize)> = weights
        .iter()
        .map(|(length, weight)| (*length, count * *weight as usize / 100))
        .collect();
    let rest = count - shares.iter().map(|(_, share)| share).sum::<usize>();
    let most = shares.iter_mut().max_by_key(|(_, share)| *share);
    most.expect("there are weights").1 += rest;
    shares
}

/// Shortest first: as long as there is room for the large ones, there is for all.
fn disjoint_v4(random: &mut StdRng, count: usize, weights: &[(u8, u32)]) -> Vec<IpNet> {
    // What is taken: whole /24, and /24 of which some part is taken.
    let mut whole = vec![false; 1 << 24];
    let mut parts = vec![false; 1 << 24];
    let mut taken: BTreeSet<(u32, u32)> = BTreeSet::new();
    let mut prefixes = Vec::with_capacity(count);
    for (length, share) in shares(count, weights) {
        let size = 1_u32 << (32 - length);
        let mut left = share;
        while left > 0 {
            let first = random.random_range(UNICAST) & !(size - 1);
            let last = first + (size - 1);
            let blocks = (first >> 8) as usize..=(last >> 8) as usize;
            if blocks.clone().any(|block| whole[block]) {
                continue;
            }
            if length <= 24 {
                if blocks.clone().any(|block| parts[block]) {
                    continue;
                }
                whole[blocks].fill(true);
            } else {
                // Of disjoint ranges, the last that begins before the end of this one decides.
                let before = taken.range(..=(last, u32::MAX)).next_back();
                if before.is_some_and(|(_, end)| *end >= first) {
                    continue;
                }
                taken.insert((first, last));
                parts[*blocks.start()] = true;
            }
            let net = Ipv4Net::new(Ipv4Addr::from_bits(first), length);
            prefixes.push(net.expect("the length fits").into());
            left -= 1;
        }
    }
    prefixes
}

/// Eight to a /32, each in a /36 of its own.
fn disjoint_v6(random: &mut StdRng, count: usize) -> Vec<IpNet> {
    const REGISTRIES: [u32; 5] = [
        0x2400_0000,
        0x2600_0000,
        0x2800_0000,
        0x2a00_0000,
        0x2c00_0000,
    ];
    let mut lengths: Vec<u8> = shares(count, &SIX)
        .into_iter()
        .flat_map(|(length, share)| std::iter::repeat_n(length, share))
        .collect();
    lengths.shuffle(random);
    let mut seen = BTreeSet::new();
    let mut prefixes = Vec::with_capacity(count);
    for eight in lengths.chunks(8) {
        let network = loop {
            let registry = REGISTRIES[random.random_range(0..REGISTRIES.len())];
            let network = registry | random.random_range(0..1 << 20);
            if seen.insert(network) {
                break network;
            }
        };
        let mut parts: Vec<u8> = (0..16).collect();
        parts.shuffle(random);
        for (length, part) in eight.iter().zip(parts) {
            let host = random.random::<u128>() >> 36;
            let address = u128::from(network) << 96 | u128::from(part) << 92 | host;
            let net = Ipv6Net::new(Ipv6Addr::from_bits(address), *length);
            prefixes.push(net.expect("the length fits").trunc().into());
        }
    }
    prefixes
}

//! Addresses of each class, drawn from the lists in force.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir_abi::Class;

use super::mapping::Shares;
use super::packet::is_unicast;
use super::{Lists, Services};

/// Draws that may fail before a class counts as full.
const TRIES: usize = 400;
/// What the benches' own interfaces have, besides the services: nobody else can be there.
const OURS: [&str; 4] = [
    "192.0.2.0/24",
    "203.0.113.0/30",
    "2001:db8:10::/64",
    "2001:db8:c::/126",
];

/// Where sources of each class are.
pub(crate) struct Places<'a> {
    lists: &'a Lists,
    services: &'a Services,
    prefixes: [[Vec<IpNet>; 2]; Class::COUNT],
    there: [[bool; 2]; Class::COUNT],
    ours: [IpNet; 4],
}

impl<'a> Places<'a> {
    pub(crate) fn of(lists: &'a Lists, services: &'a Services) -> Self {
        let prefixes = Class::ALL.map(|class| {
            [false, true].map(|six| {
                let of_class = lists.named().iter().filter(|list| list.class == class);
                of_class
                    .flat_map(|list| list.prefixes.iter().copied())
                    .filter(|prefix| prefix.addr().is_ipv6() == six)
                    .collect()
            })
        });
        let mut places = Self {
            lists,
            services,
            prefixes,
            there: [[false; 2]; Class::COUNT],
            ours: OURS.map(|prefix| prefix.parse().expect("a prefix")),
        };
        places.there = Class::ALL.map(|class| {
            [false, true].map(|six| {
                let mut random = StdRng::seed_from_u64(0);
                places.address(class, six, &mut random).is_some()
            })
        });
        places
    }

    /// Whether sources of a class can be found: not where its lists hold nothing that packets come from, or other
    /// lists have the last word on all of it.
    pub(crate) fn has(&self, class: Class, six: bool) -> bool {
        self.there[class as usize][usize::from(six)]
    }

    /// Says which classes have a share and no sources.
    pub(crate) fn note(&self, shares: &Shares) -> Vec<String> {
        let with_share = Class::ALL.into_iter().filter(|class| shares.of(*class) > 0);
        with_share
            .filter(|class| !self.has(*class, false) && !self.has(*class, true))
            .map(|class| {
                let name = class.name();
                format!("No list has sources of class {name}; its share went to the others.")
            })
            .collect()
    }

    /// An address of a class; nothing when none was found.
    pub(crate) fn address(&self, class: Class, six: bool, random: &mut StdRng) -> Option<IpAddr> {
        (0..TRIES).find_map(|_| {
            let prefix = self.prefix(class, six, random)?;
            Some(inside(prefix, random)).filter(|address| self.fits(*address, class))
        })
    }

    /// A /24 or /48 that lies in a prefix of a class; nothing when none was found.
    pub(crate) fn network(&self, class: Class, six: bool, random: &mut StdRng) -> Option<IpNet> {
        let length = network_length(six);
        (0..TRIES).find_map(|_| {
            let prefix = self.prefix(class, six, random)?;
            if prefix.prefix_len() > length {
                return None;
            }
            IpNet::new(inside(prefix, random), length)
                .ok()
                .map(|net| net.trunc())
        })
    }

    /// Whether a packet may come from this address, and it is of this class.
    pub(crate) fn fits(&self, address: IpAddr, class: Class) -> bool {
        self.may_send(address) && self.lists.class(address) == class
    }

    /// Whether a packet may come from this address.
    pub(crate) fn may_send(&self, address: IpAddr) -> bool {
        is_unicast(address)
            && !self.ours.iter().any(|ours| ours.contains(&address))
            && !self.services.own(address)
    }

    fn prefix(&self, class: Class, six: bool, random: &mut StdRng) -> Option<IpNet> {
        let prefixes = &self.prefixes[class as usize][usize::from(six)];
        if !prefixes.is_empty() {
            return Some(prefixes[random.random_range(0..prefixes.len())]);
        }
        let everywhere = if six { "2000::/3" } else { "0.0.0.0/0" };
        (class == Class::Unmanaged).then(|| everywhere.parse().expect("a prefix"))
    }
}

/// How long the prefix of a network is that stays together: what one organisation or household has.
pub(crate) fn network_length(six: bool) -> u8 {
    if six { 48 } else { 24 }
}

/// Any address of a prefix.
fn inside(prefix: IpNet, random: &mut StdRng) -> IpAddr {
    match prefix {
        IpNet::V4(net) => {
            let host = random.random::<u32>() & Ipv4Net::hostmask(&net).to_bits();
            Ipv4Addr::from_bits(net.network().to_bits() | host).into()
        }
        IpNet::V6(net) => {
            let host = random.random::<u128>() & Ipv6Net::hostmask(&net).to_bits();
            Ipv6Addr::from_bits(net.network().to_bits() | host).into()
        }
    }
}

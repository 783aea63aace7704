//! Other addresses for a capture, by a seed.
//!
//! Who accepted connections is a *server*, everybody else a *client*; who did both is both, each where it is that.
//! Servers become the services: the first by address the first address of its family that a service has, and so
//! on, round and round; the port where they listened becomes the first port of a service. Clients are taken by networks, a /24 of IPv4 or a /48 of IPv6. Each network
//! gets a class, by a keyed hash, in the stated shares, and a network of its own inside a prefix of that class
//! (for `unmanaged`, where no list is). Inside a network each bit of an address is flipped or not by a keyed hash
//! of the bits before it, as Crypto-PAn does: two clients share as many leading bits afterwards as before, and no
//! two become one. Where the lists of a class have only prefixes longer than a network, each client gets an
//! address of its own in them instead. It depends on the seed, the capture, the lists and services alone. It is
//! no protection: who knows the capture's hosts can tell them by what they do.
//!
//! What changes: addresses and ports of IP, TCP and UDP headers, and of those that ICMP errors repeat; and their
//! checksums, which are made right where the packet is whole, and kept as right or wrong as they were where it is
//! a fragment or cut. What does not: payloads, tunnels' inner packets, hardware addresses, ARP, multicast.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use weir_abi::Class;

use super::packet::{
    ACK, ICMP, ICMPV6, Layout, SYN, TCP, UDP, add, at, ends, fold, is_unicast, layout, octets,
};
use super::places::{Places, network_length};
use super::{Lists, PORT, Services, Traffic};

/// How much of something each class has, in any unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares([u32; Class::COUNT]);

/// Why shares or a mapping cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// Words that are no shares.
    #[error(
        "`{0}` is no share of a class: write managed=45,bypass=5,relay=10,unmanaged=35,blocked=5"
    )]
    NoShare(String),
    /// All shares are zero.
    #[error("at least one class needs a share")]
    Nothing,
    /// No list has what shares ask for.
    #[error(
        "no list has IPv{family} sources of the classes in --classes; give one with --list CLASS=FILE, or a \
         share to unmanaged"
    )]
    NoLists {
        /// 4 or 6.
        family: u8,
    },
    /// The lists of a class have too few addresses.
    #[error(
        "the lists of class {} have too few IPv{family} addresses for all clients; give it a smaller share in \
         --classes, or wider prefixes with --list {}=FILE", class.name(), class.name()
    )]
    Full {
        /// The class.
        class: Class,
        /// 4 or 6.
        family: u8,
    },
    /// No service has an address of a family.
    #[error(
        "the traffic has IPv{family}, and no service has an address of it; give one in the configuration"
    )]
    NoService {
        /// 4 or 6.
        family: u8,
    },
}

/// What was rewritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The seed.
    pub seed: u64,
    /// The shares of the classes that were asked for.
    pub shares: Shares,
    /// Addresses that accepted connections.
    pub servers: usize,
    /// Clients.
    pub clients: usize,
    /// Networks of clients.
    pub networks: usize,
    /// Clients that did not stay in their network, for lack of wide prefixes.
    pub scattered: usize,
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "addresses rewritten by seed {}: {} servers became the services, {} clients in {} networks were \
             spread over the classes ({})",
            self.seed, self.servers, self.clients, self.networks, self.shares
        )?;
        if self.scattered > 0 {
            write!(
                f,
                "; {} of them got single addresses, for lack of wide prefixes",
                self.scattered
            )?;
        }
        Ok(())
    }
}

impl Shares {
    /// The share of a class.
    pub fn of(&self, class: Class) -> u32 {
        self.0[class as usize]
    }

    /// Draws a class among those that there are; nothing when none of them has a share.
    pub(crate) fn draw(&self, random: &mut StdRng, there: impl Fn(Class) -> bool) -> Option<Class> {
        let weight = |class: Class| {
            if there(class) {
                u64::from(self.of(class))
            } else {
                0
            }
        };
        let sum: u64 = Class::ALL.into_iter().map(weight).sum();
        if sum == 0 {
            return None;
        }
        let mut at = random.random_range(0..sum);
        Class::ALL.into_iter().find(|class| {
            let weight = weight(*class);
            let hit = at < weight;
            at = at.saturating_sub(weight);
            hit
        })
    }
}

impl FromStr for Shares {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let mut shares = [0; Class::COUNT];
        for part in text.split(',') {
            let no_share = || MappingError::NoShare(part.to_owned());
            let (name, share) = part.split_once('=').ok_or_else(no_share)?;
            let known = Class::ALL
                .into_iter()
                .find(|class| class.name() == name.trim());
            let class = known.ok_or_else(no_share)?;
            shares[class as usize] = share.trim().parse().map_err(|_| no_share())?;
        }
        if shares == [0; Class::COUNT] {
            return Err(MappingError::Nothing);
        }
        Ok(Self(shares))
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_share = Class::ALL.into_iter().filter(|class| self.of(*class) > 0);
        let parts: Vec<String> = with_share
            .map(|class| format!("{}={}", class.name(), self.of(class)))
            .collect();
        f.write_str(&parts.join(","))
    }
}

impl Traffic {
    /// Rewrites addresses, see [`mapping`](self).
    pub fn map(
        &mut self,
        seed: u64,
        shares: &Shares,
        lists: &Lists,
        services: &Services,
    ) -> Result<(), MappingError> {
        let roles = Roles::of(self);
        let places = Places::of(lists, services);
        let mut table = Table {
            seed,
            servers: HashMap::new(),
            clients: HashMap::new(),
            listening: roles.listening,
            ports: services.iter().flat_map(|s| s.spec.ports.clone()).collect(),
        };
        table.place_servers(&roles.servers, services)?;
        let mut mapping = Mapping {
            seed,
            shares: *shares,
            servers: roles.servers.len(),
            clients: roles.clients.len(),
            networks: 0,
            scattered: 0,
        };
        table.place_clients(&roles.clients, &places, &mut mapping)?;
        let other = Other {
            address: &|address, end| table.address(address, end),
            port: &|address, port| table.port(address, port),
        };
        for frame in &mut self.frames {
            if let Some(before) = layout(&frame.bytes) {
                other.write(&mut frame.bytes, &before, true);
                before.mend(&mut frame.bytes);
            }
        }
        self.mapping = Some(mapping);
        self.notes.extend(places.note(shares));
        Ok(())
    }
}

/// Who accepts connections, and who does not.
struct Roles {
    servers: BTreeSet<IpAddr>,
    clients: BTreeSet<IpAddr>,
    listening: HashSet<(u8, IpAddr, u16)>,
}

impl Roles {
    fn of(traffic: &Traffic) -> Self {
        let mut listening = HashSet::new();
        // Who opens what, first; then flows of which the beginning is not there: the lower port listens.
        let all = || traffic.frames.iter().filter_map(|frame| ends(&frame.bytes));
        for ends in all().filter(|ends| ends.protocol == TCP) {
            let Some([from, to]) = ends.ports else {
                continue;
            };
            match ends.flags & (SYN | ACK) {
                SYN => listening.insert((TCP, ends.destination, to)),
                flags if flags == SYN | ACK => listening.insert((TCP, ends.source, from)),
                _ => continue,
            };
        }
        for ends in all() {
            let Some([from, to]) = ends.ports else {
                continue;
            };
            let both = [(ends.source, from), (ends.destination, to)]
                .map(|(address, port)| (ends.protocol, address, port));
            if !both.iter().any(|end| listening.contains(end)) {
                listening.insert(if from < to { both[0] } else { both[1] });
            }
        }
        let servers: BTreeSet<IpAddr> = listening
            .iter()
            .map(|(_, address, _)| *address)
            .filter(|address| is_unicast(*address))
            .collect();
        let mut clients = BTreeSet::new();
        for ends in all() {
            for (number, address) in [ends.source, ends.destination].into_iter().enumerate() {
                let listens = match ends.ports {
                    Some(ports) => listening.contains(&(ends.protocol, address, ports[number])),
                    None => servers.contains(&address),
                };
                if !listens && is_unicast(address) {
                    clients.insert(address);
                }
            }
        }
        Self {
            servers,
            clients,
            listening,
        }
    }
}

/// What becomes what.
struct Table {
    seed: u64,
    servers: HashMap<IpAddr, IpAddr>,
    clients: HashMap<IpAddr, IpAddr>,
    listening: HashSet<(u8, IpAddr, u16)>,
    ports: BTreeSet<u16>,
}

impl Table {
    fn place_servers(
        &mut self,
        servers: &BTreeSet<IpAddr>,
        services: &Services,
    ) -> Result<(), MappingError> {
        for six in [false, true] {
            let own: Vec<IpAddr> = services
                .addresses()
                .filter(|a| a.is_ipv6() == six)
                .collect();
            let family = if six { 6 } else { 4 };
            let of_family = servers.iter().filter(|address| address.is_ipv6() == six);
            for (server, own) in of_family.zip(own.iter().cycle().map(Some).chain([None])) {
                let own = own.ok_or(MappingError::NoService { family })?;
                self.servers.insert(*server, *own);
            }
        }
        Ok(())
    }

    fn place_clients(
        &mut self,
        clients: &BTreeSet<IpAddr>,
        places: &Places<'_>,
        mapping: &mut Mapping,
    ) -> Result<(), MappingError> {
        let mut networks: BTreeMap<IpNet, Vec<IpAddr>> = BTreeMap::new();
        for client in clients {
            let network = IpNet::new(*client, network_length(client.is_ipv6()));
            let network = network.expect("the length fits").trunc();
            networks.entry(network).or_default().push(*client);
        }
        mapping.networks = networks.len();
        let mut taken = HashSet::new();
        let mut given = HashSet::new();
        for (network, clients) in networks {
            let six = network.addr().is_ipv6();
            let family = if six { 6 } else { 4 };
            // Of the network alone, so that it has this class whoever else is in the capture.
            let mut random = StdRng::seed_from_u64(mix(self.seed ^ upper(network.addr())));
            let class = mapping
                .shares
                .draw(&mut random, |class| places.has(class, six));
            let class = class.ok_or(MappingError::NoLists { family })?;
            let moved = (0..100).find_map(|_| {
                let place = places.network(class, six, &mut random)?;
                let moved: Vec<IpAddr> = clients
                    .iter()
                    .map(|client| self.moved(*client, place))
                    .collect();
                let fits = moved
                    .iter()
                    .all(|address| places.fits(*address, class) && !given.contains(address));
                (fits && taken.insert(place)).then_some(moved)
            });
            let moved = if let Some(moved) = moved {
                moved
            } else {
                mapping.scattered += clients.len();
                let full = || MappingError::Full { class, family };
                let mut alone = Vec::with_capacity(clients.len());
                for _ in &clients {
                    let free = (0..100).find_map(|_| {
                        let address = places.address(class, six, &mut random)?;
                        let network = IpNet::new(address, network_length(six));
                        let network = network.expect("the length fits").trunc();
                        let is_free = !taken.contains(&network) && given.insert(address);
                        is_free.then_some(address)
                    });
                    alone.push(free.ok_or_else(full)?);
                }
                alone
            };
            given.extend(moved.iter().copied());
            self.clients.extend(clients.into_iter().zip(moved));
        }
        Ok(())
    }

    /// The client in another network: each bit behind its prefix is flipped or not, by those before it.
    fn moved(&self, client: IpAddr, place: IpNet) -> IpAddr {
        match (client, place) {
            (IpAddr::V4(client), IpNet::V4(place)) => {
                let host = self.flipped(client.to_bits().into(), 24..32, 32);
                let mask = place.hostmask().to_bits();
                let host = u32::try_from(host & u128::from(u32::MAX)).expect("masked") & mask;
                Ipv4Addr::from_bits(place.network().to_bits() | host).into()
            }
            (IpAddr::V6(client), IpNet::V6(place)) => {
                let host = self.flipped(client.to_bits(), 48..128, 128);
                Ipv6Addr::from_bits(place.network().to_bits() | host & place.hostmask().to_bits())
                    .into()
            }
            _ => unreachable!("a network is of its clients' family"),
        }
    }

    /// Bits of a number of so many, counted from the highest.
    fn flipped(&self, number: u128, bits: std::ops::Range<u32>, width: u32) -> u128 {
        bits.fold(number, |flipped, bit| {
            let before = number >> (width - bit);
            let low = u64::try_from(before & u128::from(u64::MAX)).expect("masked");
            let high = u64::try_from(before >> 64).expect("the upper half");
            let hash = mix(mix(mix(self.seed ^ u64::from(bit)) ^ low) ^ high);
            flipped ^ u128::from(hash & 1) << (width - 1 - bit)
        })
    }

    /// What an address becomes that stands at this port of a protocol, if at any.
    fn address(&self, address: IpAddr, end: Option<(u8, u16)>) -> Option<IpAddr> {
        let (server, client) = (self.servers.get(&address), self.clients.get(&address));
        let listens =
            end.is_none_or(|(protocol, port)| self.listening.contains(&(protocol, address, port)));
        let found = if listens {
            server.or(client)
        } else {
            client.or(server)
        };
        found.copied()
    }

    /// The port of a service, where somebody listened on another one.
    fn port(&self, address: IpAddr, port: u16) -> Option<u16> {
        let is_served = self.listening.contains(&(TCP, address, port));
        (is_served && !self.ports.contains(&port))
            .then(|| self.ports.first().copied().unwrap_or(PORT))
    }
}

/// Puts other addresses into the packet of a frame, and into what an ICMP error is about. Checksums stay as right
/// or wrong as they were.
pub fn replace(frame: &mut [u8], address: impl Fn(IpAddr) -> Option<IpAddr>) {
    if let Some(layout) = layout(frame) {
        let other = Other {
            address: &|said, _| address(said),
            port: &|_, _| None,
        };
        other.write(frame, &layout, true);
    }
}

/// What is written in place of addresses and TCP ports.
struct Other<'a> {
    address: &'a dyn Fn(IpAddr, Option<(u8, u16)>) -> Option<IpAddr>,
    port: &'a dyn Fn(IpAddr, u16) -> Option<u16>,
}

impl Other<'_> {
    fn write(&self, bytes: &mut [u8], layout: &Layout, outermost: bool) {
        let Some(both) = layout.addresses(bytes) else {
            return;
        };
        let header = summed(bytes, layout.source(), layout.source() + 2 * layout.width());
        let payload = summed(bytes, layout.l4, bytes.len());
        let about = matches!(
            (layout.six, layout.protocol, bytes.get(layout.l4)),
            (false, ICMP, Some(3 | 4 | 5 | 11 | 12)) | (true, ICMPV6, Some(1..=4))
        );
        if outermost
            && about
            && layout.offset == 0
            && let Some(inner) = at(bytes, layout.l4 + 8, layout.six)
        {
            self.write(bytes, &inner, false);
        }
        for (number, address) in both.into_iter().enumerate() {
            let place = layout.l4 + 2 * number;
            let has_port = matches!(layout.protocol, TCP | UDP) && layout.offset == 0;
            let port = bytes.get(place..place + 2).filter(|_| has_port);
            let port = port.map(|port| u16::from_be_bytes([port[0], port[1]]));
            let end = port.map(|port| (layout.protocol, port));
            if let Some(other) = (self.address)(address, end) {
                put(
                    bytes,
                    layout.source() + number * layout.width(),
                    &octets(other),
                );
            }
            if layout.protocol == TCP
                && let Some(port) = port.and_then(|port| (self.port)(address, port))
            {
                put(bytes, place, &port.to_be_bytes());
            }
        }
        let changed = summed(bytes, layout.source(), layout.source() + 2 * layout.width());
        if !layout.six {
            adjust(bytes, layout.l3 + 10, header, changed);
        }
        if let Some(at) = layout.checksum() {
            let is_none = layout.protocol == UDP && bytes.get(at..at + 2) == Some(&[0, 0]);
            let pseudo = if layout.protocol == ICMP {
                [0, 0]
            } else {
                [header, changed]
            };
            if !is_none {
                let after = summed(bytes, layout.l4, bytes.len());
                adjust(bytes, at, payload + pseudo[0], after + pseudo[1]);
            }
        }
    }
}

/// The sum of what is there of these bytes.
fn summed(bytes: &[u8], from: usize, to: usize) -> u64 {
    let to = to.min(bytes.len());
    bytes.get(from..to).map_or(0, |part| add(0, part))
}

/// Writes where there is room.
fn put(bytes: &mut [u8], at: usize, to: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + to.len()) {
        place.copy_from_slice(to);
    }
}

/// Changes a checksum by what its bytes changed (RFC 1624).
fn adjust(bytes: &mut [u8], at: usize, before: u64, after: u64) {
    if before == after {
        return;
    }
    let Some(said) = bytes.get(at..at + 2) else {
        return;
    };
    let said = u16::from_be_bytes([said[0], said[1]]);
    let sum = !fold(u64::from(!said) + u64::from(!fold(before)) + u64::from(fold(after)));
    put(bytes, at, &sum.to_be_bytes());
}

fn upper(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).expect("the upper half"),
    }
}

/// Spreads every bit over all of them (the last steps of SplitMix64).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

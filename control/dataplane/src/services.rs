//! Services as the programs look them up: by address, then by port.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use weir_abi::{
    Address, First, MAX_ADDRESSES, MAX_PORTS, MAX_SERVICES, Nat, Port, Topology, mapped,
};

use crate::error::Error;
use crate::nat;
use crate::pins::Maps;
use crate::servers;
use crate::steps::{Step, Watch};
use crate::types::ServiceSpec;

/// All services, checked.
#[derive(Debug)]
pub(crate) struct Services<'a> {
    services: &'a [ServiceSpec],
    entries: BTreeMap<[u8; 16], Address>,
}

impl<'a> Services<'a> {
    /// Checks what would be written.
    pub(crate) fn new(services: &'a [ServiceSpec]) -> Result<Self, Error> {
        servers::check(services)?;
        let entries = compile(services)?;
        Ok(Self { services, entries })
    }

    /// Whether servers answer to any address of this machine.
    pub(crate) fn translate(&self) -> bool {
        let mut entries = self.entries.values();
        entries.any(|address| address.nat.answers != 0)
    }

    /// Goes on to take answers at the addresses of the generation in force, the second if `second` says so,
    /// that are none of these any more: as long as a connection of `nat` that is not over has its answers
    /// there, and as far as there is room.
    pub(crate) fn keep_answers(&mut self, maps: &Maps, second: bool) -> Result<(), Error> {
        let failed = |e| Error::kernel("cannot read the services", e);
        if !self.translate() {
            return Ok(());
        }
        let answers = |address: Option<&Address>| address.is_some_and(|a| a.nat.answers != 0);
        let before = &maps.addresses[usize::from(second)];
        let mut left = Vec::new();
        for key in before.keys().map_err(failed)? {
            let had = before.get(&key).map_err(failed)?;
            if answers(had.as_ref()) && !answers(self.entries.get(&key)) {
                left.push(key);
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        let answered = nat::answered(maps)?;
        for key in left.iter().filter(|key| answered.contains(*key)) {
            if self.entries.contains_key(key) || self.entries.len() < MAX_ADDRESSES as usize {
                self.entries.entry(*key).or_default().nat.answers = 1;
            }
        }
        Ok(())
    }

    /// The first addresses, in the order of the services.
    fn first(&self) -> First {
        let services = self.services.iter();
        let addresses = services.flat_map(|service| service.addresses.iter());
        let mut keys: Vec<_> = addresses.map(|address| key(*address)).collect();
        // What two services share has one place.
        let mut seen = BTreeSet::new();
        keys.retain(|key| seen.insert(*key));
        First::of(
            keys.iter()
                .filter_map(|key| self.entries.get_key_value(key)),
        )
    }

    /// Writes the generation beside the one in force, which is the second if `second` says so.
    pub(crate) fn write(&self, maps: &Maps, second: bool, watch: Watch<'_>) -> Result<(), Error> {
        let failed = |e| Error::kernel("cannot write the services", e);
        let addresses = &maps.addresses[usize::from(!second)];
        let present = addresses.keys().map_err(failed)?;
        // Room first: the map may be full.
        for gone in present
            .iter()
            .filter(|key| !self.entries.contains_key(*key))
        {
            addresses.remove(gone).map_err(failed)?;
            watch(Step::Address);
        }
        for (key, address) in &self.entries {
            addresses.set(key, address).map_err(failed)?;
            watch(Step::Address);
        }
        maps.first
            .set(&u32::from(!second), &self.first())
            .map_err(failed)?;
        watch(Step::Address);
        servers::write(maps, self.services, second, watch)
    }
}

/// The entries for all services. An address and port that two services claim is an error, because a
/// packet tells no more than these two.
fn compile(services: &[ServiceSpec]) -> Result<BTreeMap<[u8; 16], Address>, Error> {
    let mut entries: BTreeMap<[u8; 16], Vec<(Port, &str)>> = BTreeMap::new();
    for service in services {
        if usize::from(service.id) >= MAX_SERVICES {
            return Err(Error::TooMany {
                what: "services".into(),
                given: usize::from(service.id) + 1,
                limit: MAX_SERVICES,
            });
        }
        for address in &service.addresses {
            let entry = entries.entry(key(*address)).or_default();
            for port in &service.ports {
                if let Some((_, first)) = entry.iter().find(|(other, _)| other.port == *port) {
                    if *first == service.name {
                        continue;
                    }
                    return Err(Error::Claimed {
                        first: (*first).to_owned(),
                        second: service.name.clone(),
                        address: *address,
                        port: *port,
                    });
                }
                entry.push((
                    Port::new(*port, service.id, service.verdicts)
                        .with_topology(service.topology)
                        .observed(service.observe),
                    &service.name,
                ));
            }
            if entry.len() > MAX_PORTS {
                return Err(Error::TooMany {
                    what: format!("ports on {address}"),
                    given: entry.len(),
                    limit: MAX_PORTS,
                });
            }
        }
    }
    let limit = MAX_ADDRESSES as usize;
    if entries.len() > limit {
        return Err(Error::TooMany {
            what: "service addresses".into(),
            given: entries.len(),
            limit,
        });
    }
    let entries = entries.into_iter().map(|(key, ports)| {
        let mut address = Address::default();
        for (slot, (port, _)) in address.ports.iter_mut().zip(ports) {
            *slot = port;
        }
        (key, address)
    });
    let mut entries = entries.collect();
    translate(services, &mut entries)?;
    Ok(entries)
}

/// Notes with which source the packets of each address of `nat` go on, and at which addresses the servers
/// answer. What comes to a port of a service there is taken for a client's, so none is given to `nat`.
fn translate(
    services: &[ServiceSpec],
    entries: &mut BTreeMap<[u8; 16], Address>,
) -> Result<(), Error> {
    let translated = services
        .iter()
        .filter(|service| service.topology == Topology::Nat);
    for service in translated {
        for address in &service.addresses {
            let source = source(service, *address);
            let ports = &service.nat.ports;
            let there = |other: &&ServiceSpec| {
                let mut addresses = other.addresses.iter();
                addresses.any(|address| key(*address) == key(source))
            };
            for other in services.iter().filter(there) {
                if let Some(port) = other.ports.iter().find(|port| ports.contains(port)) {
                    return Err(Error::NatPort {
                        service: other.name.clone(),
                        address: source,
                        port: *port,
                        ports: ports.clone(),
                    });
                }
            }
            let entry = entries.entry(key(*address)).or_default();
            entry.nat = Nat {
                source: key(source),
                first: *ports.start(),
                count: (ports.end().saturating_sub(*ports.start())).saturating_add(1),
                answers: entry.nat.answers,
            };
            entries.entry(key(source)).or_default().nat.answers = 1;
        }
    }
    Ok(())
}

/// The address that servers see instead of the clients of this one.
fn source(service: &ServiceSpec, address: IpAddr) -> IpAddr {
    let six = address.to_canonical().is_ipv6();
    let mut sources = service.nat.addresses.iter();
    let source = sources.find(|source| source.to_canonical().is_ipv6() == six);
    source.copied().unwrap_or(address)
}

/// The key of an address. IPv4-mapped IPv6 addresses stand for IPv4 (RFC 4291 §2.5.5.2).
pub(crate) fn key(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => mapped(address.to_bits()),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    }
}

#[cfg(test)]
mod tests {
    use weir_abi::{Class, Topology, Verdict};

    use super::*;
    use crate::types::NatSource;

    fn service(id: u16, name: &str, address: &str, ports: &[u16]) -> ServiceSpec {
        ServiceSpec {
            id,
            name: name.into(),
            addresses: vec![address.parse().expect("a literal address")],
            ports: ports.to_vec(),
            verdicts: [
                Verdict::Proxy,
                Verdict::Forward,
                Verdict::Proxy,
                Verdict::Drop,
                Verdict::Reject,
            ],
            topology: Topology::Route,
            servers: Vec::new(),
            observe: false,
            nat: NatSource::default(),
        }
    }

    #[test]
    fn two_services_share_an_address_by_port() {
        let entries = compile(&[
            service(3, "sts", "192.0.2.10", &[443, 49443]),
            service(4, "other", "::ffff:192.0.2.10", &[8443]),
        ])
        .expect("no conflict");
        let address = entries[&mapped(0xc000_020a)];
        assert_eq!(entries.len(), 1);
        assert_eq!(
            address.ports.map(|p| p.port),
            [443, 49443, 8443, 0, 0, 0, 0, 0]
        );
        assert_eq!(address.ports.map(|p| p.service)[..3], [3, 3, 4]);
        assert_eq!(address.ports[0].verdict(Class::Managed), Verdict::Forward);
        assert_eq!(address.ports[2].verdict(Class::Relay), Verdict::Reject);
    }

    #[test]
    fn a_port_has_one_owner() {
        let error = compile(&[
            service(0, "sts", "2001:db8::1", &[443]),
            service(1, "adfs", "2001:db8::1", &[443]),
        ])
        .expect_err("both own it");
        assert!(
            error
                .to_string()
                .starts_with("services sts and adfs both own 2001:db8::1 port 443")
        );
    }

    #[test]
    fn no_port_of_a_service_is_given_away_where_servers_answer() {
        let mut sts = service(0, "sts", "192.0.2.1", &[443]);
        sts.topology = Topology::Nat;
        let other = service(1, "other", "::ffff:192.0.2.1", &[8443]);
        let error = compile(&[other.clone(), sts.clone()]).expect_err("8443 is one of both");
        assert_eq!(
            error.to_string(),
            "port 8443 of service other is one of `nat_ports` (4096-32767), and servers answer to 192.0.2.1; \
             choose another range in [kernel]"
        );
        let mut own = sts.clone();
        own.ports.push(4096);
        compile(&[own]).expect_err("its own port");
        // Servers answer to another address.
        sts.nat.addresses = vec!["192.0.2.2".parse().expect("a literal address")];
        compile(&[other, sts]).expect("no conflict");
    }

    #[test]
    fn limits_are_named() {
        let ports: Vec<u16> = (1..=9).collect();
        let error = compile(&[service(0, "sts", "192.0.2.1", &ports)]).expect_err("nine ports");
        assert!(matches!(
            error,
            Error::TooMany {
                given: 9,
                limit: MAX_PORTS,
                ..
            }
        ));
        let error = compile(&[service(64, "sts", "192.0.2.1", &[443])]).expect_err("id 64");
        assert!(matches!(
            error,
            Error::TooMany {
                limit: MAX_SERVICES,
                ..
            }
        ));
    }
}

//! Servers as the programs look them up: each in a slot of its service, and the wheels that say which slot
//! a new connection falls on.
//!
//! A server keeps its slot for as long as it is configured, also over a restart: the slots are read back
//! from the map, where flows remember them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use weir_abi::{
    MAX_SERVERS, MAX_SERVICES, SERVERS, Server, Topology, WHEELS, server_index, wheel_index,
};

use crate::error::Error;
use crate::maglev;
use crate::pins::Maps;
use crate::services::key;
use crate::steps::{Step, Watch};
use crate::sys::Map;
use crate::types::ServiceSpec;

/// Checks what would be written.
pub(crate) fn check(services: &[ServiceSpec]) -> Result<(), Error> {
    for service in services {
        let given = wanted(service).len();
        if given > MAX_SERVERS {
            return Err(Error::TooMany {
                what: format!("servers of service {}", service.name),
                given,
                limit: MAX_SERVERS,
            });
        }
    }
    Ok(())
}

/// Writes the servers of all services and their wheels into the generation beside the one in force, which
/// is the second if `second` says so.
pub(crate) fn write(
    maps: &Maps,
    services: &[ServiceSpec],
    second: bool,
    watch: Watch<'_>,
) -> Result<(), Error> {
    let (now, next) = (u32::from(second), u32::from(!second));
    for id in 0..u16::try_from(MAX_SERVICES).expect("a small constant") {
        let service = services.iter().find(|service| service.id == id);
        let wanted = service.map(wanted).unwrap_or_default();
        let placed = place(maps, id, &wanted, now)?;
        for (slot, server) in (0_u32..).zip(&placed) {
            let index = next * SERVERS + server_index(id, 0) + slot;
            if maps.servers.get(&index).map_err(failed)?.as_ref() != Some(server) {
                maps.servers.set(&index, server).map_err(failed)?;
                watch(Step::Server);
            }
        }
        for six in [false, true] {
            let up: Vec<_> = (0..)
                .zip(&placed)
                .filter(|(_, server)| server.state == Server::UP && is_six(server) == six)
                .map(|(slot, server)| (slot, server.address))
                .collect();
            let index = next * WHEELS + wheel_index(id, six);
            let wheel = maglev::wheel(&up);
            if maps.wheels.get(&index).map_err(failed)?.as_ref() != Some(&wheel) {
                maps.wheels.set(&index, &wheel).map_err(failed)?;
                watch(Step::Wheel);
            }
        }
    }
    Ok(())
}

/// The servers that get no new connections, each with the number of its service.
pub(crate) fn down(maps: &Maps, second: bool) -> Result<Vec<(u16, IpAddr)>, Error> {
    let all = all(&maps.servers, u32::from(second) * SERVERS, SERVERS)?;
    Ok(all.into_iter().filter_map(is_down).collect())
}

/// A server in its slot, where it gets no new connections.
pub(crate) fn is_down((index, server): (u32, Server)) -> Option<(u16, IpAddr)> {
    let service = u16::try_from(index as usize / MAX_SERVERS).expect("few services");
    let address = Ipv6Addr::from(server.address).to_canonical();
    (server.state == Server::DOWN).then_some((service, address))
}

/// The servers that lie from `start` on, in at most so many slots.
pub(crate) fn all(
    map: &Map<u32, Server>,
    start: u32,
    slots: u32,
) -> Result<Vec<(u32, Server)>, Error> {
    let mut servers = Vec::new();
    for index in 0..SERVERS.min(slots) {
        let server = map
            .get(&(start + index))
            .map_err(|e| Error::kernel("cannot read the servers", e))?;
        let there = server.filter(|server| server.state != Server::NONE);
        servers.extend(there.map(|server| (index, server)));
    }
    Ok(servers)
}

/// The servers that a service is to have, by address.
fn wanted(service: &ServiceSpec) -> BTreeMap<[u8; 16], Server> {
    if service.topology == Topology::Route {
        return BTreeMap::new();
    }
    let servers = service.servers.iter().map(|server| {
        let address = key(server.address);
        let state = if server.up { Server::UP } else { Server::DOWN };
        (address, Server { address, state })
    });
    servers.collect()
}

/// The slots of a service, with each of its servers in that which it has in the generation in force, or in
/// a free one.
fn place(
    maps: &Maps,
    id: u16,
    wanted: &BTreeMap<[u8; 16], Server>,
    now: u32,
) -> Result<[Server; MAX_SERVERS], Error> {
    let mut placed = [Server::default(); MAX_SERVERS];
    let mut missing = wanted.clone();
    let mut free = Vec::new();
    for (slot, place) in placed.iter_mut().enumerate() {
        let index = now * SERVERS + server_index(id, 0) + u32::try_from(slot).expect("few slots");
        let before = maps.servers.get(&index).map_err(failed)?;
        let before = before.unwrap_or_default();
        match missing.remove(&before.address) {
            Some(server) if before.state != Server::NONE => *place = server,
            Some(server) => {
                missing.insert(server.address, server);
                free.push((before.state, slot));
            }
            None => free.push((before.state, slot)),
        }
    }
    // Slots that were empty before those that become so now: flows may still name these.
    free.sort_unstable();
    for (server, (_, slot)) in missing.into_values().zip(free) {
        placed[slot] = server;
    }
    Ok(placed)
}

fn is_six(server: &Server) -> bool {
    Ipv6Addr::from(server.address).to_ipv4_mapped().is_none()
}

fn failed(error: std::io::Error) -> Error {
    Error::kernel("cannot write the servers", error)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use weir_abi::{Class, Verdict};

    use super::*;
    use crate::types::{NatSource, ServerSpec};

    #[test]
    fn a_service_has_room_for_so_many_servers_each_counted_once() {
        let service = |topology, servers: u32| ServiceSpec {
            id: 0,
            name: "sts".into(),
            addresses: vec![],
            ports: vec![443],
            verdicts: [Verdict::Forward; Class::COUNT],
            observe: false,
            nat: NatSource::default(),
            topology,
            servers: (0..servers)
                .map(|number| ServerSpec {
                    address: Ipv4Addr::from_bits(0x0a00_0001 + number % 33).into(),
                    up: number != 33,
                })
                .collect(),
        };
        check(&[service(Topology::Dsr, 32)]).expect("room");
        let error = check(&[service(Topology::Dsr, 34)]).expect_err("33 servers");
        assert!(matches!(error, Error::TooMany { given: 33, .. }), "{error}");
        check(&[service(Topology::Route, 34)]).expect("they are not used");
    }
}

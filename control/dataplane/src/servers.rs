//! Servers as the programs look them up: each in a slot of its service, and the wheels that say which slot
//! a new connection falls on.
//!
//! A server keeps its slot for as long as it is configured, also over a restart: the slots are read back
//! from the map, where flows remember them.

use std::collections::BTreeMap;

use weir_abi::{MAX_SERVERS, MAX_SERVICES, Server, Topology, server_index, wheel_index};

use crate::error::Error;
use crate::maglev;
use crate::pins::Maps;
use crate::services::key;
use crate::types::ServiceSpec;

/// Slots that nobody is in any more, once the wheels say so.
#[derive(Debug)]
pub(crate) struct Vacated(Vec<u32>);

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

/// Writes the servers of all services, then their wheels. Until [`Vacated::clear`] nobody's slot is taken
/// away, so whatever wheel a packet meets, it finds the server that it names.
pub(crate) fn write(maps: &Maps, services: &[ServiceSpec]) -> Result<Vacated, Error> {
    let mut vacated = Vec::new();
    let mut wheels = Vec::new();
    for id in 0..u16::try_from(MAX_SERVICES).expect("a small constant") {
        let service = services.iter().find(|service| service.id == id);
        let wanted = service.map(wanted).unwrap_or_default();
        let placed = place(maps, id, &wanted, &mut vacated)?;
        for six in [false, true] {
            let up: Vec<_> = placed
                .iter()
                .filter(|(_, server)| server.state == Server::UP && is_six(server) == six)
                .map(|(slot, server)| (*slot, server.address))
                .collect();
            wheels.push((wheel_index(id, six), maglev::wheel(&up)));
        }
    }
    for (index, wheel) in wheels {
        if maps.wheels.get(&index).map_err(failed)?.as_ref() != Some(&wheel) {
            maps.wheels.set(&index, &wheel).map_err(failed)?;
        }
    }
    Ok(Vacated(vacated))
}

impl Vacated {
    /// Empties the slots.
    pub(crate) fn clear(self, maps: &Maps) -> Result<(), Error> {
        for index in self.0 {
            maps.servers
                .set(&index, &Server::default())
                .map_err(failed)?;
        }
        Ok(())
    }
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

/// Gives each server of a service its slot, and writes it there.
fn place(
    maps: &Maps,
    id: u16,
    wanted: &BTreeMap<[u8; 16], Server>,
    vacated: &mut Vec<u32>,
) -> Result<Vec<(u8, Server)>, Error> {
    let slots = 0..u8::try_from(MAX_SERVERS).expect("a small constant");
    let mut present = Vec::new();
    for slot in slots {
        let server = maps.servers.get(&server_index(id, slot)).map_err(failed)?;
        present.push((slot, server.unwrap_or_default()));
    }
    let stays =
        |server: &Server| server.state != Server::NONE && wanted.contains_key(&server.address);
    let mut placed = Vec::new();
    for (slot, server) in present.iter().filter(|(_, server)| stays(server)) {
        placed.push((*slot, wanted[&server.address], *server));
    }
    // Slots that were empty before those that become so now: flows may still name these.
    let mut free: Vec<_> = present
        .iter()
        .filter(|(_, server)| !stays(server))
        .collect();
    free.sort_by_key(|(slot, server)| (server.state, *slot));
    let mut free = free.into_iter();
    let new = wanted
        .values()
        .filter(|server| {
            placed
                .iter()
                .all(|(_, other, _)| other.address != server.address)
        })
        .copied()
        .collect::<Vec<_>>();
    for server in new {
        let (slot, before) = free.next().expect("as many slots as servers at most");
        placed.push((*slot, server, *before));
    }
    let empty = free.filter(|(_, server)| server.state != Server::NONE);
    vacated.extend(empty.map(|(slot, _)| server_index(id, *slot)));
    for (slot, server, before) in &placed {
        if server != before {
            maps.servers
                .set(&server_index(id, *slot), server)
                .map_err(failed)?;
        }
    }
    Ok(placed
        .into_iter()
        .map(|(slot, server, _)| (slot, server))
        .collect())
}

fn is_six(server: &Server) -> bool {
    std::net::Ipv6Addr::from(server.address)
        .to_ipv4_mapped()
        .is_none()
}

fn failed(error: std::io::Error) -> Error {
    Error::kernel("cannot write the servers", error)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use weir_abi::{Class, Verdict};

    use super::*;
    use crate::types::ServerSpec;

    #[test]
    fn a_service_has_room_for_so_many_servers_each_counted_once() {
        let service = |topology, servers: u32| ServiceSpec {
            id: 0,
            name: "sts".into(),
            addresses: vec![],
            ports: vec![443],
            verdicts: [Verdict::Forward; Class::COUNT],
            observe: false,
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

//! Services as the programs look them up: by address, then by port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use weir_abi::{Address, MAX_ADDRESSES, MAX_PORTS, MAX_SERVICES, Port, mapped};

use crate::error::Error;
use crate::types::ServiceSpec;

/// The entries for all services. An address and port that two services claim is an error, because a
/// packet tells no more than these two.
pub(crate) fn compile(services: &[ServiceSpec]) -> Result<BTreeMap<[u8; 16], Address>, Error> {
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
    Ok(entries.collect())
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

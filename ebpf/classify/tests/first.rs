//! A packet has the same outcome whether its service is found without hashing or not.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use proptest::sample::Index;
use weir_abi::{Address, Class, FIRST, First, Port, Verdict};
use weir_classify::{NoSockets, Outcome, Side, classify};
use weir_fixtures::frame::{Segment, frame, tagged};
use weir_fixtures::{Memory, source};

/// Addresses of one family that may be served: more than are found without hashing.
const MANY: u8 = 9;

const _: () = assert!(MANY as usize > FIRST + 1);

/// A port that is served, and one that is not.
const PORTS: [u16; 2] = [443, 8443];

#[test]
fn one_is_found_among_the_first_and_behind_them_and_what_is_not_served_is_not() {
    for six in [false, true] {
        for count in 0..=MANY {
            let tables = serving(&(0..count).map(|number| (six, number)).collect::<Vec<_>>());
            for number in 0..MANY {
                let found = ask(&tables, address(six, number), six).map(|o| o.service);
                let served = (number < count).then_some(u16::from(number));
                assert_eq!(found, served, "{count} addresses, {number}");
                assert_eq!(ask(&tables, address(!six, number), !six), None);
            }
        }
    }
}

#[test]
fn what_is_served_from_now_on_is_what_is_found() {
    for six in [false, true] {
        let mut tables = serving(&[(six, 0), (six, 1)]);
        tables.addresses.remove(&octets(address(six, 0)));
        let other = served(40, Verdict::Forward);
        tables.addresses.insert(octets(address(six, 1)), other);
        tables.arrange();
        assert_eq!(ask(&tables, address(six, 0), six), None);
        let found = ask(&tables, address(six, 1), six).expect("a service's packet");
        assert_eq!((found.service, found.verdict), (40, Verdict::Forward));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_first_ones_change_no_outcome(
        served in prop::collection::vec((any::<bool>(), 0..MANY), 0..20),
        asked in (any::<bool>(), 0..MANY),
        class in any::<Index>(),
        port in any::<Index>(),
        vlan in any::<bool>(),
        outside in any::<bool>(),
    ) {
        let tables = serving(&served);
        let hashed = Memory { first: First::default(), ..tables.clone() };
        let (six, number) = asked;
        let client = source(Class::ALL[class.index(Class::COUNT)], six);
        let (service, port) = (address(six, number), PORTS[port.index(2)]);
        let (side, packet) = if outside {
            (Side::Outside, Segment::new(50_000, port).between(client, service))
        } else {
            (Side::Inside, Segment::new(port, 50_000).between(service, client))
        };
        let frame = if vlan { tagged(&[0x8100], &packet) } else { frame(&packet) };
        let outcome = classify(frame.as_slice(), side, &tables, &NoSockets);
        prop_assert_eq!(outcome, classify(frame.as_slice(), side, &hashed, &NoSockets));
        // What is said of the service is what is written there.
        let written = tables.addresses.get(&octets(service));
        let written = written.filter(|written| written.ports[0].port == port);
        if let Some(outcome) = outcome {
            prop_assert_eq!(Some(outcome.service), written.map(|w| w.ports[0].service));
        } else {
            prop_assert!(!outside || written.is_none());
        }
    }
}

/// What becomes of a SYN to an address.
fn ask(tables: &Memory, address: IpAddr, six: bool) -> Option<Outcome> {
    let syn = Segment::new(50_000, PORTS[0]).between(source(Class::Managed, six), address);
    classify(frame(&syn).as_slice(), Side::Outside, tables, &NoSockets)
}

/// Tables with these addresses, each of a service with its number, in this order.
fn serving(given: &[(bool, u8)]) -> Memory {
    let entries: Vec<([u8; 16], Address)> = given
        .iter()
        .map(|(six, number)| {
            let address = served(u16::from(*number), Verdict::Drop);
            (octets(self::address(*six, *number)), address)
        })
        .collect();
    let addresses: BTreeMap<_, _> = entries.iter().copied().collect();
    Memory {
        first: First::of(entries.iter().map(|(key, address)| (key, address))),
        addresses,
        ..Memory::default()
    }
}

fn served(service: u16, verdict: Verdict) -> Address {
    let mut address = Address::default();
    address.ports[0] = Port::new(PORTS[0], service, [verdict; Class::COUNT]);
    address
}

/// Addresses that differ in a part each, and one of IPv6 that ends as one of IPv4 does.
fn address(six: bool, number: u8) -> IpAddr {
    let mut octets = [
        0x20, 1, 0xd, 0xb8, 0, 0x20, 0, 0, 0, 0, 0, 0, 192, 0, 2, 100,
    ];
    if six {
        octets[usize::from(number) + 4] ^= 0x40;
        Ipv6Addr::from(octets).into()
    } else {
        Ipv4Addr::new(192, 0, 2, 100 + number).into()
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    let six = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    six.octets()
}

//! Packets of a service whose server is chosen: which flow they belong to, and what cannot be forwarded.

use std::net::IpAddr;

use weir_abi::{Class, Flow, Reason, Topology, Verdict, mapped};
use weir_classify::{NoSockets, Outcome, Side, classify};
use weir_fixtures::frame::{ACK, Segment, frame, icmp, ip, v4};
use weir_fixtures::{Memory, STS_V4, STS_V6, source};

#[test]
fn an_error_belongs_to_the_flow_that_it_is_about() {
    for six in [false, true] {
        let (client, service) = (source(Class::Managed, six), sts(six));
        let flow = Flow {
            client: octets(client),
            service: octets(service),
            ports: [40000, 443],
        };
        let segment = Segment::new(40000, 443).flags(ACK).payload(100);
        let segment = frame(&segment.between(client, service));
        let answer = Segment::new(443, 40000).flags(ACK).between(service, client);
        let (protocol, kind) = if six { (58, 2) } else { (1, 3) };
        let router = source(Class::Unmanaged, six);
        let error = frame(&ip(router, service, protocol, &icmp(kind, &answer)));
        for packet in [segment, error] {
            let outcome = outside(&packet);
            assert_eq!(outcome.verdict, Verdict::Forward);
            assert_eq!(outcome.topology, Topology::Dsr);
            assert_eq!(outcome.flow(packet.as_slice()), Some(flow), "six={six}");
        }
    }
}

#[test]
fn what_the_stack_could_not_answer_is_dropped() {
    let IpAddr::V4(client) = source(Class::Managed, false) else {
        unreachable!("asked for IPv4")
    };
    let part = v4(client, STS_V4, 6, 0x2000 | 4, &[], &[7; 32]);
    let outcome = outside(&frame(&part));
    assert_eq!(
        (outcome.verdict, outcome.reason),
        (Verdict::Drop, Reason::Fragment)
    );
    for six in [false, true] {
        let mut last =
            frame(&Segment::new(40000, 443).between(source(Class::Managed, six), sts(six)));
        last[if six { 14 + 7 } else { 14 + 8 }] = 1;
        let outcome = outside(&last);
        assert_eq!(
            (outcome.verdict, outcome.reason),
            (Verdict::Drop, Reason::Ttl)
        );
    }
}

#[test]
fn what_comes_from_a_server_is_routed() {
    let answer = Segment::new(443, 40000).flags(ACK);
    let answer = answer.between(STS_V4.into(), source(Class::Managed, false));
    let tables = tables();
    let outcome = classify(frame(&answer).as_slice(), Side::Inside, &tables, &NoSockets);
    let outcome = outcome.expect("a service's packet");
    assert_eq!(
        (outcome.verdict, outcome.topology),
        (Verdict::Forward, Topology::Route)
    );
}

fn outside(packet: &[u8]) -> Outcome {
    classify(packet, Side::Outside, &tables(), &NoSockets).expect("a service's packet")
}

/// The tables of the fixtures, with every service's server chosen.
fn tables() -> Memory {
    let mut memory = Memory::default();
    for address in memory.addresses.values_mut() {
        address.ports = address.ports.map(|port| port.with_topology(Topology::Dsr));
    }
    memory.arrange();
    memory
}

fn sts(six: bool) -> IpAddr {
    if six { STS_V6.into() } else { STS_V4.into() }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => mapped(address.to_bits()),
        IpAddr::V6(address) => address.octets(),
    }
}

//! Answers of servers that see Weir instead of the client.

use std::collections::BTreeMap;
use std::net::IpAddr;

use weir_abi::{Class, Flow, Nat, Port, Reason, Topology, Verdict, mapped};
use weir_classify::{NoSockets, Outcome, Side, Translations, answer, classify};
use weir_fixtures::frame::{ACK, Segment, frame, icmp, ip, tagged, v4};
use weir_fixtures::{Memory, STS, STS_V4, STS_V6, STS_VERDICTS, source};

/// What servers see, beside the service's own address: no service at all.
const WEIR: [u8; 4] = [192, 0, 2, 1];
/// Weir's port towards the server, and the client's.
const PORTS: [u16; 2] = [5000, 40_000];

#[test]
fn the_class_of_the_client_decides() {
    for six in [false, true] {
        for class in Class::ALL {
            let world = World::new(class, six);
            let outcome = world.judge(&world.segment()).expect("an answer");
            let verdict = match class {
                Class::Managed => Verdict::Forward,
                _ => Verdict::Drop,
            };
            assert_eq!((outcome.verdict, outcome.class), (verdict, class));
            assert_eq!((outcome.service, outcome.reason), (STS, Reason::Answer));
            assert!(outcome.answers && !outcome.ends_at_xdp(Side::Inside));
        }
    }
}

#[test]
fn nothing_else_is_taken() {
    let world = World::new(Class::Managed, false);
    let (server, weir) = (world.server, IpAddr::from(WEIR));
    for (from, to) in [
        (Segment::new(443, PORTS[0] + 1), weir),
        (Segment::new(444, PORTS[0]), weir),
        (Segment::new(443, PORTS[0]), source(Class::Managed, false)),
        (Segment::new(443, PORTS[0]), [192, 0, 2, 11].into()),
    ] {
        let packet = frame(&from.flags(ACK).between(server, to));
        assert_eq!(world.judge(&packet), None);
    }
    let mut short = world.segment();
    short.truncate(14 + 30);
    assert_eq!(world.judge(&short), None);
    // Nor is what comes to an address that only servers answer to anybody's service.
    for side in [Side::Outside, Side::Inside] {
        for port in [443, PORTS[0]] {
            let packet = Segment::new(40_000, port).between(source(Class::Managed, false), weir);
            assert_eq!(
                classify(frame(&packet).as_slice(), side, &world.memory, &NoSockets),
                None
            );
        }
    }
}

#[test]
fn what_cannot_go_on_is_dropped() {
    let world = World::new(Class::Managed, false);
    let segment = world.segment();
    let IpAddr::V4(server) = world.server else {
        unreachable!("a server of IPv4")
    };
    let first = frame(&v4(server, WEIR.into(), 6, 0x2000, &[], &segment[34..]));
    let mut last = segment.clone();
    last[14 + 8] = 1;
    for (packet, verdict, reason) in [
        (first, Verdict::Drop, Reason::Fragment),
        (last, Verdict::Drop, Reason::Ttl),
        (
            tagged(&[0x8100], &segment[14..]),
            Verdict::Pass,
            Reason::Tagged,
        ),
    ] {
        let outcome = world.judge(&packet).expect("an answer");
        assert_eq!((outcome.verdict, outcome.reason), (verdict, reason));
    }
    let later = frame(&v4(server, WEIR.into(), 6, 0x0010, &[], &segment[34..]));
    assert_eq!(world.judge(&later), None, "it does not tell its ports");
}

#[test]
fn errors_about_packets_to_servers_find_their_client() {
    for six in [false, true] {
        let world = World::new(Class::Managed, six);
        let (kind, protocol) = if six { (2, 58) } else { (3, 1) };
        let about = Segment::new(PORTS[0], 443).between(world.weir, world.server);
        let error = |to| frame(&ip(world.server, to, protocol, &icmp(kind, &about)));
        let packet = error(world.weir);
        let outcome = world.judge(&packet).expect("an error");
        assert_eq!(outcome.verdict, Verdict::Forward);
        assert_eq!(outcome.reason, Reason::IcmpInner);
        let quoted = outcome.quoted(packet.as_slice()).expect("a packet");
        assert_eq!(packet[quoted.l3 as usize..][..about.len()], about);
        assert!(quoted.summed);
        assert_eq!(world.judge(&error(source(Class::Managed, six))), None);
    }
}

/// One connection of a client of a class.
struct World {
    memory: Memory,
    remembered: Remembered,
    server: IpAddr,
    weir: IpAddr,
}

/// The ends of a flow: two addresses, and their ports.
type Ends = ([u8; 16], [u8; 16], [u16; 2]);

struct Remembered(BTreeMap<Ends, Flow>);

impl Translations for Remembered {
    fn client(&self, answer: &Flow) -> Option<Flow> {
        let found = self.0.get(&(answer.client, answer.service, answer.ports));
        found.copied()
    }
}

impl World {
    fn new(class: Class, six: bool) -> Self {
        let (server, weir, service): (IpAddr, IpAddr, IpAddr) = if six {
            let server = [0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x101].into();
            (server, STS_V6.into(), STS_V6.into())
        } else {
            ([192, 0, 2, 101].into(), WEIR.into(), STS_V4.into())
        };
        let mut memory = Memory::default();
        let port = Port::new(443, STS, STS_VERDICTS).with_topology(Topology::Nat);
        memory.addresses.entry(key(service)).or_default().ports[0] = port;
        memory.addresses.entry(key(weir)).or_default().nat = Nat {
            answers: 1,
            ..Nat::default()
        };
        memory.arrange();
        let flow = Flow {
            client: key(source(class, six)),
            service: key(service),
            ports: [PORTS[1], 443],
        };
        let answer = (key(server), key(weir), [443, PORTS[0]]);
        Self {
            memory,
            remembered: Remembered([(answer, flow)].into()),
            server,
            weir,
        }
    }

    /// What the server answers.
    fn segment(&self) -> Vec<u8> {
        let segment = Segment::new(443, PORTS[0]).flags(ACK).payload(20);
        frame(&segment.between(self.server, self.weir))
    }

    fn judge(&self, packet: &[u8]) -> Option<Outcome> {
        Some(answer(packet, &self.memory, &self.remembered)?.0)
    }
}

fn key(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => mapped(address.to_bits()),
        IpAddr::V6(address) => address.octets(),
    }
}

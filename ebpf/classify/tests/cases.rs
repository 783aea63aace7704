//! Every crafted packet has the outcome that was written down for it.

use std::net::IpAddr;

use weir_abi::{Class, Reason, Verdict};
use weir_classify::{
    Ends, Family, NoSockets, Packet as _, Segment as Place, Side, Socket, Sockets, classify,
};
use weir_fixtures::frame::{Segment, frame, icmp, ip};
use weir_fixtures::stories::all;
use weir_fixtures::{Memory, STS_V4, STS_V6, STS_VERDICTS, source};

#[test]
fn every_case_has_its_outcome() {
    let tables = Memory::default();
    let mut wrong = Vec::new();
    for case in all() {
        let outcome = classify(case.frame.as_slice(), case.side, &tables, &NoSockets)
            .map(|o| (o.service, o.class, o.verdict, o.reason));
        if outcome != case.expected {
            wrong.push(format!(
                "{}: {outcome:?}, not {:?}",
                case.name, case.expected
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_prefix_of_a_packet_is_forwarded_or_panics() {
    // A packet cut anywhere is malformed or nobody's: it never gets the verdict of the whole one.
    let tables = Memory::default();
    for case in all().iter().filter(|case| !case.name.contains("padding")) {
        for end in 0..case.frame.len() {
            let outcome = classify(&case.frame[..end], case.side, &tables, &NoSockets);
            let verdict = outcome.map_or(Verdict::Pass, |outcome| outcome.verdict);
            assert_ne!(verdict, Verdict::Forward, "{} cut at {end}", case.name);
        }
    }
}

#[test]
fn an_error_about_a_connection_of_this_machine_is_for_its_stack() {
    let tables = Memory::default();
    for (six, kind, protocol) in [(false, 3, 1), (true, 2, 58)] {
        let service = if six {
            STS_V6.into()
        } else {
            IpAddr::from(STS_V4)
        };
        let router = source(Class::Relay, six);
        for class in Class::ALL {
            let client = source(class, six);
            let sent = Segment::new(443, 40000).between(service, client);
            let error = frame(&ip(router, service, protocol, &icmp(kind, &sent)));
            let verdict = |ports| {
                let sockets = One(&error, [client, service], ports);
                let outcome = classify(error.as_slice(), Side::Outside, &tables, &sockets);
                let outcome = outcome.expect("a service's packet");
                assert_eq!((outcome.class, outcome.reason), (class, Reason::IcmpInner));
                outcome.verdict
            };
            assert_eq!(verdict([40000, 443]), Verdict::Proxy, "{class:?}");
            assert_eq!(
                verdict([443, 40000]),
                STS_VERDICTS[class as usize],
                "{class:?}"
            );
        }
    }
}

/// A machine with one connection: the packet that asks for it, client and service, their ports.
struct One<'a>(&'a [u8], [IpAddr; 2], [u16; 2]);

impl Sockets for One<'_> {
    fn find(&self, ends: &Ends, _: Option<Place>) -> Socket {
        let told = [ends.client, ends.service].map(|at| address(self.0, ends.family, at));
        if (told, ends.ports) == (self.1, self.2) {
            Socket::Live
        } else {
            Socket::None
        }
    }
}

/// The address that stands there in the packet.
fn address(packet: &[u8], family: Family, at: u32) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from(packet.read::<4>(at).expect("a whole packet")),
        Family::V6 => IpAddr::from(packet.read::<16>(at).expect("a whole packet")),
    }
}

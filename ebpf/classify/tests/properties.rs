//! Packets made at random, judged by a model that knows how they were made and never parses.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_abi::{Class, Reason, Verdict};
use weir_classify::{NoSockets, Side, classify};
use weir_fixtures::frame::{ethernet, extension, icmp, ip, tcp, udp};
use weir_fixtures::{
    ADFS, ADFS_V4, ADFS_V6, ADFS_VERDICTS, Memory, STS, STS_V4, STS_V6, STS_VERDICTS,
};

proptest! {
    #![proptest_config(config(2048))]

    #[test]
    fn classify_agrees_with_the_model(made in made()) {
        let outcome = classify(made.frame().as_slice(), made.side, &Memory::default(), &NoSockets)
            .map(|o| (o.service, o.class, o.verdict, o.reason));
        prop_assert_eq!(outcome, made.expected());
    }

    #[test]
    fn bytes_at_random_are_never_forwarded(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for side in [Side::Outside, Side::Inside] {
            let outcome = classify(bytes.as_slice(), side, &Memory::default(), &NoSockets);
            prop_assert!(outcome.is_none_or(|o| o.verdict == Verdict::Pass));
        }
    }

    #[test]
    fn a_flipped_byte_opens_nothing(
        index in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        // Whatever is changed in a packet that is not forwarded: it is forwarded only if it carries a
        // managed address now.
        let cases = weir_fixtures::stories::all();
        let case = index.get(&cases);
        let mut frame = case.frame.clone();
        let at = at.index(frame.len());
        frame[at] = value;
        let outcome = classify(frame.as_slice(), case.side, &Memory::default(), &NoSockets);
        if outcome.is_some_and(|o| o.verdict == Verdict::Forward) {
            prop_assert_eq!(outcome.expect("some").class, Class::Managed);
            let managed: [&[u8]; 4] = [
                &weir_fixtures::v4(Class::Managed).octets(),
                &weir_fixtures::v6(Class::Managed).octets(),
                &[198, 51, 100],
                &[0x20, 0x01, 0x0d, 0xb8, 0, 0x0e],
            ];
            prop_assert!(managed.iter().any(|m| frame.windows(m.len()).any(|w| w == *m)));
        }
    }
}

/// Failures are printed with their input; nothing is written beside the sources.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// How a packet was made.
#[derive(Clone, Debug)]
struct Made {
    side: Side,
    six: bool,
    class: Class,
    /// STS, ADFS, or neither.
    service: Option<u16>,
    tags: usize,
    /// Words of IPv4 options, or IPv6 extension headers.
    extra: usize,
    ttl: u8,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Tcp(u16),
    Udp(u16),
    Echo,
    /// An error about a packet from or to this port of the service.
    Error(u16),
}

fn made() -> impl Strategy<Value = Made> {
    let port = prop_oneof![Just(443_u16), Just(49443), Just(22), Just(8443)];
    let what = prop_oneof![
        4 => port.clone().prop_map(What::Tcp),
        2 => port.clone().prop_map(What::Udp),
        1 => Just(What::Echo),
        2 => port.prop_map(What::Error),
    ];
    (
        prop_oneof![Just(Side::Outside), Just(Side::Inside)],
        any::<bool>(),
        prop::sample::select(&Class::ALL[..]),
        prop_oneof![Just(Some(STS)), Just(Some(ADFS)), Just(None)],
        prop_oneof![3 => Just(0_usize), 1 => 1..4_usize],
        0..=10_usize,
        prop_oneof![3 => Just(64_u8), 1 => 0..3_u8],
        what,
    )
        .prop_map(|(side, six, class, service, tags, extra, ttl, what)| Made {
            side,
            six,
            class,
            service,
            tags,
            extra,
            ttl,
            what,
        })
}

impl Made {
    fn client(&self) -> IpAddr {
        weir_fixtures::source(self.class, self.six)
    }

    fn service_address(&self) -> IpAddr {
        match (self.service, self.six) {
            (Some(STS), false) => STS_V4.into(),
            (Some(STS), true) => STS_V6.into(),
            (Some(_), false) => ADFS_V4.into(),
            (Some(_), true) => ADFS_V6.into(),
            (None, false) => [192, 0, 2, 99].into(),
            (None, true) => IpAddr::from([0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99]),
        }
    }

    fn frame(&self) -> Vec<u8> {
        let (client, service) = (self.client(), self.service_address());
        let (from, to) = match self.side {
            Side::Outside => (client, service),
            Side::Inside => (service, client),
        };
        let ports = |port| match self.side {
            Side::Outside => (40000, port),
            Side::Inside => (port, 40000),
        };
        let icmp_protocol = if self.six { 58 } else { 1 };
        let (protocol, payload) = match self.what {
            What::Tcp(port) => (6, tcp(ports(port).0, ports(port).1)),
            What::Udp(port) => (17, udp(ports(port).0, ports(port).1)),
            What::Echo => (icmp_protocol, icmp(if self.six { 128 } else { 8 }, &[0; 8])),
            What::Error(port) => {
                // About what went the other way.
                let about = ip(to, from, 6, &tcp(ports(port).1, ports(port).0));
                (icmp_protocol, icmp(if self.six { 2 } else { 3 }, &about))
            }
        };
        let mut packet = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                weir_fixtures::frame::v4(from, to, protocol, 0, &vec![1; 4 * self.extra], &payload)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let mut chain = Vec::new();
                for i in 0..self.extra {
                    let next = if i + 1 == self.extra { protocol } else { 60 };
                    chain.extend(extension(next, u8::try_from(i % 3).expect("small")));
                }
                let next = if self.extra == 0 { protocol } else { 60 };
                weir_fixtures::frame::v6(from, to, next, &[chain, payload].concat())
            }
            _ => unreachable!("one family"),
        };
        packet[if self.six { 7 } else { 8 }] = self.ttl;
        let ethertype = if self.six { 0x86dd } else { 0x0800_u16 };
        let mut inner = ethertype.to_be_bytes().to_vec();
        inner.extend(packet);
        for _ in 0..self.tags {
            inner = [vec![0x81, 0, 0, 5], inner].concat();
        }
        ethernet(u16::from_be_bytes([inner[0], inner[1]]), &inner[2..])
    }

    fn expected(&self) -> weir_fixtures::stories::Expected {
        if self.tags > 2 {
            return None;
        }
        let verdicts = match self.service {
            Some(STS) => STS_VERDICTS,
            Some(_) => ADFS_VERDICTS,
            None => return None,
        };
        let service = self.service.expect("seen above");
        let served = |port: u16| port == 443 || (service == STS && port == 49443);
        let by_class = verdicts[self.class as usize];
        // Nine extension headers are too many.
        if self.six && self.extra > 8 {
            let verdict = if self.side == Side::Outside {
                Verdict::Drop
            } else {
                Verdict::Pass
            };
            return Some((service, self.class, verdict, Reason::Malformed));
        }
        let reason = match (self.what, self.side) {
            (What::Tcp(port), Side::Outside) if served(port) => Reason::Class,
            (What::Tcp(port), Side::Inside) if served(port) => Reason::Answer,
            (What::Udp(443), Side::Outside) => {
                return Some((service, self.class, Verdict::Drop, Reason::Udp443));
            }
            (What::Error(port), _) if served(port) => Reason::IcmpInner,
            _ => return None,
        };
        let verdict = match (self.side, by_class) {
            (Side::Inside, Verdict::Proxy | Verdict::Pass) => return None,
            (Side::Inside, Verdict::Drop | Verdict::Reject) => Verdict::Drop,
            (_, verdict) => verdict,
        };
        Some(match verdict {
            Verdict::Forward if self.ttl <= 1 => (service, self.class, Verdict::Pass, Reason::Ttl),
            Verdict::Forward if self.tags > 0 => {
                (service, self.class, Verdict::Pass, Reason::Tagged)
            }
            verdict => (service, self.class, verdict, reason),
        })
    }
}

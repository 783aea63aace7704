//! Other addresses for a capture: no two become one, neighbours stay neighbours, checksums are right.

mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::Path;

use proptest::prelude::*;
use weir_abi::Class;
use weir_benches::replay::capture::{self, CaptureError};
use weir_benches::replay::generate;
use weir_benches::replay::mapping::{MappingError, Shares};
use weir_benches::replay::packet::{ACK, SYN, TCP, ends, layout, octets};
use weir_benches::replay::{Frame, Lists, PORT, SERVICE_V4, SERVICE_V6, Services, Traffic};
use weir_fixtures::frame::{checksum, frame as ethernet};

use traffic::{ip, list, lists, of, options, shares, syn};

#[test]
fn a_capture_is_mapped_onto_services_and_classes() {
    // As a capture of somebody else: the service is elsewhere and listens elsewhere.
    let elsewhere: [IpAddr; 2] = ["198.51.100.80".parse(), "2001:db8:77::80".parse()]
        .map(|address| address.expect("an address"));
    let there = Services::one(elsewhere.to_vec(), vec![8443]);
    let (lists, services) = (lists(), Services::usual());
    let mut traffic = generate::generate(&options(3), &lists, &there).expect("it is made");
    // Only what has checksums that could be right, and whose ends are either servers or clients.
    traffic.frames.retain(|frame| {
        let is_right = layout(&frame.bytes).and_then(|layout| layout.is_right(&frame.bytes));
        let is_plain = ends(&frame.bytes).is_some_and(|ends| {
            let [from, to] = ends.ports.unwrap_or_default();
            let asks = to == 8443 && elsewhere.contains(&ends.destination);
            let answers = from == 8443 && elsewhere.contains(&ends.source);
            asks || answers && ends.flags & (SYN | ACK) != SYN
        });
        is_plain && is_right == Some(true)
    });
    let before = traffic.clone();
    traffic
        .map(1, &shares(), &lists, &services)
        .expect("the lists have room");
    let mut again = before.clone();
    again
        .map(1, &shares(), &lists, &services)
        .expect("the lists have room");
    assert_eq!(traffic.frames, again.frames, "the seed decides");
    again = before.clone();
    again
        .map(2, &shares(), &lists, &services)
        .expect("the lists have room");
    assert_ne!(traffic.frames, again.frames);
    let mut became: BTreeMap<IpAddr, IpAddr> = BTreeMap::new();
    for (old, new) in before.frames.iter().zip(&traffic.frames) {
        assert_eq!(old.bytes.len(), new.bytes.len());
        let (from, to) = (ends(&old.bytes).expect("IP"), ends(&new.bytes).expect("IP"));
        for (one, other) in [(from.source, to.source), (from.destination, to.destination)] {
            assert_eq!(
                *became.entry(one).or_insert(other),
                other,
                "{one} is one address"
            );
        }
        assert_right(new);
        if let (TCP, Some([_, 8443])) = (from.protocol, from.ports) {
            assert_eq!(to.ports.map(|[_, port]| port), Some(PORT));
        }
    }
    let own: [IpAddr; 2] = [SERVICE_V4.into(), SERVICE_V6.into()];
    for (old, new) in elsewhere.iter().zip(own) {
        assert_eq!(became.remove(old), Some(new));
    }
    assert_bijection(&became, &lists);
    let mapping = traffic.mapping.expect("it was mapped");
    assert_eq!((mapping.clients, mapping.scattered), (became.len(), 0));
}

#[test]
fn who_serves_and_asks_is_a_server_where_it_serves() {
    let (lists, services) = (lists(), Services::usual());
    let mut traffic = of(vec![
        syn("198.51.100.7", "198.51.100.80"),
        syn("198.51.100.80", "198.51.100.81"),
    ]);
    traffic
        .map(1, &shares(), &lists, &services)
        .expect("the lists have room");
    let ends: Vec<_> = traffic
        .frames
        .iter()
        .filter_map(|frame| ends(&frame.bytes))
        .collect();
    assert_eq!(ends[0].destination, ip("192.0.2.10"));
    assert_eq!(ends[1].destination, ip("192.0.2.10"));
    assert_ne!(ends[1].source, ip("192.0.2.10"));
    assert_ne!(ends[1].source, ends[0].source);
}

#[test]
fn what_an_icmp_error_is_about_is_mapped_too() {
    let (lists, services) = (lists(), Services::usual());
    let about = &syn("198.51.100.7", "198.51.100.80")[14..42];
    let error = weir_fixtures::frame::icmp(3, about);
    let router = "198.51.99.1".parse().expect("an address");
    let back = "198.51.100.7".parse().expect("an address");
    let mut frames = vec![syn("198.51.100.7", "198.51.100.80")];
    let mut message = ethernet(&weir_fixtures::frame::ip(router, back, 1, &error));
    let whole = layout(&message).expect("IP");
    whole.mend(&mut message);
    frames.push(message);
    let mut traffic = of(frames);
    traffic
        .map(1, &shares(), &lists, &services)
        .expect("the lists have room");
    let client = ends(&traffic.frames[0].bytes).expect("IP").source;
    let message = &traffic.frames[1];
    assert_eq!(ends(&message.bytes).expect("IP").destination, client);
    assert_eq!(message.bytes[14 + 28 + 12..][..4], octets(client));
    assert_eq!(message.bytes[14 + 28 + 16..][..4], SERVICE_V4.octets());
    assert_eq!(
        checksum(&message.bytes[14 + 28..][..20]),
        0,
        "the inner header"
    );
    assert_right(message);
}

#[test]
fn clients_are_scattered_where_lists_have_single_addresses_and_refused_where_they_are_full() {
    let services = Services::usual();
    let narrow = Lists::compile(vec![list(
        Class::Managed,
        &["198.18.0.0/30", "198.18.7.7/32"],
    )]);
    let managed: Shares = "managed=1".parse().expect("shares");
    let clients = |count: u8| -> Traffic {
        of((1..=count)
            .map(|host| syn(&format!("203.0.113.{}", host + 8), "192.0.2.10"))
            .collect())
    };
    let mut some = clients(3);
    some.map(1, &managed, &narrow, &services)
        .expect("there is room for three");
    let sources = some.sources();
    assert_eq!(sources.len(), 3);
    assert!(
        sources
            .iter()
            .all(|source| narrow.class(*source) == Class::Managed)
    );
    assert_eq!(some.mapping.expect("it was mapped").scattered, 3);
    let full = clients(6)
        .map(1, &managed, &narrow, &services)
        .expect_err("there are five");
    let (class, family) = (Class::Managed, 4);
    assert_eq!(full, MappingError::Full { class, family });
}

#[test]
fn real_captures_keep_what_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps");
    if !root.is_dir() {
        let shown = root.display();
        let _ = writeln!(
            io::stderr(),
            "skipped: real_captures_keep_what_they_are: no captures in {shown}"
        );
        return;
    }
    let (lists, services) = (lists(), Services::usual());
    let mut seen = 0;
    for file in weir_fixtures::capture::files(&root) {
        let before = match capture::read(std::slice::from_ref(&file), usize::MAX) {
            Ok(traffic) => traffic,
            Err(CaptureError::Link { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let mut after = before.clone();
        after
            .map(9, &shares(), &lists, &services)
            .unwrap_or_else(|e| panic!("{file:?}: {e}"));
        for (old, new) in before.frames.iter().zip(&after.frames) {
            let (Some(one), Some(other)) = (layout(&old.bytes), layout(&new.bytes)) else {
                assert_eq!(old.bytes, new.bytes, "what is no IP packet stays");
                continue;
            };
            assert_eq!(one, other, "{file:?} frame {}", old.number);
            let [before, after] =
                [(one, old), (other, new)].map(|(layout, frame)| layout.is_right(&frame.bytes));
            assert!(
                before.is_none() && after.is_none() || after == Some(true),
                "{file:?} frame {}",
                old.number
            );
            seen += 1;
        }
    }
    assert!(seen > 3000, "{seen} packets");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn mapping_is_a_bijection_that_keeps_prefixes(
        seed in any::<u64>(),
        hosts in proptest::collection::btree_set((0_u8..3, 0_u8..4, any::<u8>()), 1..60),
        six in any::<bool>(),
    ) {
        let lists = lists();
        let client = |(a, b, c): (u8, u8, u8)| if six {
            format!("2001:db8:{a}:{b}::{c:x}")
        } else {
            format!("198.{}.{b}.{c}", 20 + a)
        };
        let server = if six { "2001:db8:99::1" } else { "198.51.100.80" };
        let before = of(hosts.iter().map(|host| syn(&client(*host), server)).collect());
        let mut after = before.clone();
        after.map(seed, &shares(), &lists, &Services::usual()).expect("the lists have room");
        let source = |frame: &Frame| ends(&frame.bytes).expect("IP").source;
        let pairs = before.frames.iter().zip(&after.frames);
        let became = pairs.map(|(old, new)| (source(old), source(new))).collect();
        assert_bijection(&became, &lists);
        for frame in &after.frames {
            assert_right(frame);
        }
    }
}

/// Checksums by the fixtures' own code: over the IPv4 header, and over a pseudo header and the segment.
fn assert_right(frame: &Frame) {
    let bytes = &frame.bytes;
    let whole = layout(bytes).expect("IP");
    if !whole.six {
        assert_eq!(
            checksum(&bytes[whole.l3..whole.l4]),
            0,
            "header of {}",
            frame.number
        );
    }
    if whole.checksum().is_none() || whole.fragment || whole.routed {
        return;
    }
    let segment = &bytes[whole.l4..whole.end];
    if whole.protocol == 17 && segment[6..8] == [0, 0] {
        return;
    }
    let mut summed = Vec::new();
    if whole.protocol != 1 {
        let [source, destination] = whole.addresses(bytes).expect("IP");
        summed.extend(octets(source));
        summed.extend(octets(destination));
        summed.extend([0, whole.protocol]);
        summed.extend(u16::try_from(segment.len()).expect("small").to_be_bytes());
    }
    summed.extend(segment);
    if !summed.len().is_multiple_of(2) {
        summed.push(0);
    }
    assert_eq!(checksum(&summed), 0, "segment of frame {}", frame.number);
}

/// No two became one, neighbours share as many bits as before and have one class, and nobody became a service.
fn assert_bijection(became: &BTreeMap<IpAddr, IpAddr>, lists: &Lists) {
    let after: BTreeSet<IpAddr> = became.values().copied().collect();
    assert_eq!(after.len(), became.len(), "no two became one");
    for (one, one_after) in became {
        for (two, two_after) in became {
            if one.is_ipv6() != two.is_ipv6() {
                continue;
            }
            let network = if one.is_ipv6() { 48 } else { 24 };
            let (before, after) = (common(*one, *two), common(*one_after, *two_after));
            if before >= network {
                assert_eq!(before, after, "{one} {two}");
                assert_eq!(
                    lists.class(*one_after),
                    lists.class(*two_after),
                    "{one} {two}"
                );
            } else {
                assert!(after < network, "{one} and {two} were no neighbours");
            }
        }
    }
}

/// Leading bits that two addresses share.
fn common(one: IpAddr, two: IpAddr) -> u32 {
    match (one, two) {
        (IpAddr::V4(one), IpAddr::V4(two)) => (one.to_bits() ^ two.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(two)) => (one.to_bits() ^ two.to_bits()).leading_zeros(),
        _ => 0,
    }
}

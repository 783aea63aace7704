//! What is sent at full speed, and the peers' rules for the same job.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use weir_abi::{Class, Verdict};
use weir_benches::live::{Counts, Crowd, Door, Offer, Range, plain, ranges};
use weir_benches::replay::generate::{Options, generate};
use weir_benches::replay::packet::ends;
use weir_benches::replay::{Lists, Services, Side};
use weir_tables::{List, Origin, Scope};

proptest! {
    /// Ranges say what the lists say, at every end of a prefix and beside it.
    #[test]
    fn ranges_are_the_lists(prefixes in prop::collection::vec((any::<u32>(), 4_u8..=32, 0_usize..4), 0..40)) {
        let lists = Lists::compile(prefixes.iter().map(|(address, length, class)| {
            // Few addresses, so that prefixes lie in each other.
            let net = IpNet::new(std::net::Ipv4Addr::from_bits(address & 0x0f0f_00ff).into(), *length).expect("it fits");
            list(Class::ALL[class + 1], vec![net.trunc()])
        }).collect());
        let ranges = ranges(&lists, false);
        let mut places: Vec<u32> = vec![0, u32::MAX];
        for list in lists.named() {
            for prefix in &list.prefixes {
                for end in [prefix.network(), prefix.broadcast()] {
                    let IpAddr::V4(end) = end else { unreachable!("IPv4 alone") };
                    places.extend([end.to_bits().wrapping_sub(1), end.to_bits(), end.to_bits().wrapping_add(1)]);
                }
            }
        }
        for place in places {
            let source = IpAddr::from(std::net::Ipv4Addr::from_bits(place));
            let of_range = ranges.iter().find(|range| range.first <= source && source <= range.last);
            prop_assert_eq!(of_range.map_or(Class::Unmanaged, |range| range.class), lists.class(source));
            let of_prefix = ranges.iter().find(|range| range.prefixes().iter().any(|prefix| prefix.contains(&source)));
            prop_assert_eq!(of_prefix, of_range);
        }
        prop_assert!(ranges.windows(2).all(|pair| pair[0].last < pair[1].first));
    }
}

#[test]
fn the_ends_of_the_address_space_are_ranges_too() {
    for (prefix, parts) in [
        ("0.0.0.0/0", 2),
        ("255.255.255.255/32", 1),
        ("::/0", 2),
        ("ffff::/16", 1),
    ] {
        let net: IpNet = prefix.parse().expect("a prefix");
        let lists = Lists::compile(vec![list(Class::Blocked, vec![net])]);
        let ranges = ranges(&lists, net.addr().is_ipv6());
        let expected = Range {
            first: net.network(),
            last: net.broadcast(),
            class: Class::Blocked,
        };
        assert_eq!(ranges, [expected]);
        assert_eq!(ranges[0].prefixes().len(), parts, "{prefix}");
    }
}

#[test]
fn each_frame_of_an_offer_is_of_the_crowd_that_was_asked_for() {
    let (lists, services) = (lists(), Services::usual());
    let options = Options {
        seed: 3,
        flows: 40,
        classes: "managed=40,unmanaged=40,blocked=20"
            .parse()
            .expect("shares"),
        ipv6: 30,
    };
    let traffic = generate(&options, &lists, &services).expect("the lists have all classes");
    let door = door(&lists);
    let (plain, left_out) = plain(traffic.of(Side::Outside), &door, &lists, &services);
    let outside = traffic.of(Side::Outside).count();
    let left: u64 = left_out.values().sum();
    assert_eq!(plain.len() + usize::try_from(left).expect("few"), outside);
    assert!(left > 0, "what is made has odd frames");
    for crowd in [Crowd::Itself, Crowd::Alike, Crowd::Managed, Crowd::Flood] {
        let offer = Offer::of(&plain, crowd, &door, (&lists, &services), 3_000)
            .expect("sources of all classes");
        assert!(offer.frames.len() >= 3_000 || crowd == Crowd::Itself);
        let mut counts = Counts::default();
        for frame in &offer.frames {
            let ends = ends(frame).expect("a TCP segment");
            let class = lists.class(ends.source);
            match class {
                Class::Managed => counts.forwarded += 1,
                Class::Blocked => counts.dropped += 1,
                _ => counts.proxied += 1,
            }
            assert!(crowd != Crowd::Managed || class == Class::Managed);
            assert!(services.own(ends.destination));
        }
        assert_eq!(counts, offer.expected, "{}", crowd.name());
        if crowd == Crowd::Flood {
            assert!(counts.dropped * 10 > counts.sum() * 7, "{counts:?}");
        }
    }
}

#[test]
fn a_mix_without_sources_is_none() {
    let (empty, services) = (Lists::compile(Vec::new()), Services::usual());
    let options = Options {
        seed: 3,
        flows: 5,
        classes: "unmanaged=1".parse().expect("shares"),
        ipv6: 0,
    };
    let traffic = generate(&options, &empty, &services).expect("unmanaged sources are everywhere");
    let door = door(&empty);
    let (plain, _) = plain(traffic.of(Side::Outside), &door, &empty, &services);
    let of = |crowd| Offer::of(&plain, crowd, &door, (&empty, &services), 100);
    assert!(of(Crowd::Managed).is_none());
    assert!(of(Crowd::Itself).is_some());
}

#[test]
fn the_peers_rules_name_each_class_once() {
    let lists = lists();
    let door = door(&lists);
    let nft = door.nft();
    assert!(nft.contains("10.0.0.0-10.0.0.255 : accept"), "{nft}");
    assert!(nft.contains("198.51.100.7 : goto gone"), "{nft}");
    assert!(
        nft.contains("tproxy ip to 127.0.0.1:8443 meta mark set 1 accept"),
        "{nft}"
    );
    assert!(
        !nft.contains("172.16.0.0"),
        "bypass is the proxy's, as is who is on no list: {nft}"
    );
    let ipset = door.ipset();
    assert!(ipset.contains("add forwarded4 10.0.0.0/24\n"), "{ipset}");
    assert!(ipset.contains("add dropped4 198.51.100.7/32\n"), "{ipset}");
    let rules = door.iptables(false).expect("the service has IPv4");
    let dropped = rules
        .find("dropped4 src -j DROP")
        .expect("a rule that drops");
    let proxied = rules.find("-j TPROXY").expect("a rule that proxies");
    assert!(dropped < proxied, "{rules}");
}

#[test]
fn counts_that_differ_are_told() {
    let expected = Counts {
        forwarded: 10,
        proxied: 5,
        dropped: 5,
    };
    let counted = Counts {
        forwarded: 9,
        proxied: 6,
        dropped: 5,
    };
    assert_eq!(expected.against(&expected), None);
    let said = counted.against(&expected).expect("they differ");
    assert_eq!(
        said,
        "9 forwarded where 10 were to be, 6 proxied where 5 were to be"
    );
    assert!((counted.apart(&expected) - 0.05).abs() < 1e-9);
}

fn door(lists: &Lists) -> Door {
    let services = Services::usual();
    let spec = &services.iter().next().expect("one service").spec;
    assert_eq!(spec.verdicts[Class::Bypass as usize], Verdict::Proxy);
    Door::new(
        spec.addresses.clone(),
        spec.ports.clone(),
        spec.verdicts,
        lists,
    )
}

fn lists() -> Lists {
    let prefixes = |all: &[&str]| {
        all.iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect()
    };
    Lists::compile(vec![
        list(Class::Managed, prefixes(&["10.0.0.0/24", "2400:1::/48"])),
        list(Class::Bypass, prefixes(&["172.16.0.0/24"])),
        list(
            Class::Blocked,
            prefixes(&["198.51.100.7/32", "100.64.0.0/16", "2400:2::/48"]),
        ),
    ])
}

fn list(class: Class, prefixes: Vec<IpNet>) -> List {
    List {
        name: class.name().to_owned(),
        class,
        scope: Scope::All,
        origin: Origin::Local,
        prefixes,
    }
}

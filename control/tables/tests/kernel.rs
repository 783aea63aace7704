//! The kernel's tables: against a naive reading of prefixes and of what sources held before, and how
//! large they grow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use weir_abi::{Class, ClassSet, Standing};
use weir_tables::{History, KernelTables, List, Lists, Origin, Scope};

proptest! {
    // Each case fills 20 MiB.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn every_source_has_its_class_and_what_it_held(
        now in entries(),
        before in prop::collection::vec(entries(), 0..4),
        random in prop::collection::vec(any::<u128>(), 32),
    ) {
        let history = before
            .iter()
            .map(|entries| History::of(&compile(entries)))
            .reduce(|one, other| one.and(&other))
            .unwrap_or_default();
        let kernel = KernelTables::compile(&compile(&now), &history);
        let around = now.iter().chain(before.iter().flatten()).flat_map(|(net, _)| around(*net));
        for source in around.chain(random.into_iter().flat_map(both_families)) {
            let held = before
                .iter()
                .fold(ClassSet::EMPTY, |held, entries| held.with(longest(entries, source)));
            let expected = Standing::new(longest(&now, source), held);
            prop_assert_eq!(kernel.standing(source), expected, "{}", source);
        }
        // Who reads the tables back knows as much.
        let all = history.and(&History::of(&compile(&now)));
        prop_assert_eq!(&History::read(&kernel), &all);
        prop_assert_eq!(History::in_force(&kernel), History::of(&compile(&now)));
        // And so does who reads it from a disk, or finds that it is damaged there.
        let bytes = all.to_bytes();
        prop_assert_eq!(History::from_bytes(&bytes), Some(all));
        prop_assert_eq!(History::from_bytes(&bytes[..bytes.len() - 1]), None);
        prop_assert_eq!(History::from_bytes(&[&bytes[..], &[0]].concat()), None);
    }
}

#[test]
fn prefixes_of_all_lengths_take_no_more_steps_than_others() {
    // Around one host a prefix of every length; the classes differ from one to the next.
    let host = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6);
    let class = |length: u8| Class::ALL[1 + usize::from(length) % 2];
    let all: Vec<(IpNet, Class)> = (0..=128)
        .map(|length| (six(host, length), class(length)))
        .collect();
    let kernel = KernelTables::compile(&compile(&all), &History::default());
    for flipped in 0..128_u8 {
        let other = Ipv6Addr::from_bits(host.to_bits() ^ 1 << (127 - flipped));
        assert_eq!(
            kernel.standing(other.into()).class(),
            class(flipped),
            "{other}"
        );
    }
    assert_eq!(kernel.standing(host.into()).class(), class(128));
}

#[test]
fn a_class_that_came_back_is_held_together_with_the_one_between() {
    let hq = |class| compile(&[(four(Ipv4Addr::new(203, 0, 113, 0), 25), class)]);
    let history = History::of(&hq(Class::Managed)).and(&History::of(&hq(Class::Blocked)));
    let kernel = KernelTables::compile(&hq(Class::Managed), &history);
    let inside = kernel.standing(Ipv4Addr::new(203, 0, 113, 9).into());
    assert_eq!(inside.class(), Class::Managed);
    assert!(!inside.is_stable());
    assert!(inside.held().contains(Class::Blocked));
    assert!(!inside.held().contains(Class::Unmanaged));
    let outside = kernel.standing(Ipv4Addr::new(203, 0, 113, 200).into());
    assert_eq!(outside, Standing::stable(Class::Unmanaged));
}

#[test]
fn what_a_list_held_is_forgotten_with_its_history() {
    let before = compile(&[(four(Ipv4Addr::new(10, 0, 0, 0), 8), Class::Managed)]);
    let now = Lists::default();
    let source = Ipv4Addr::new(10, 1, 2, 3).into();
    let during = KernelTables::compile(&now, &History::of(&before));
    assert!(!during.standing(source).is_stable());
    let after = KernelTables::compile(&now, &History::of(&now));
    assert_eq!(after.standing(source), Standing::stable(Class::Unmanaged));
    assert_eq!(after, KernelTables::compile(&now, &History::default()));
}

#[test]
fn a_list_that_ends_flows_leaves_nothing_in_transition() {
    let before = compile(&[(four(Ipv4Addr::new(10, 0, 0, 0), 8), Class::Managed)]);
    let now = compile(&[
        (four(Ipv4Addr::new(10, 1, 0, 0), 16), Class::Blocked),
        (four(Ipv4Addr::new(10, 2, 0, 0), 16), Class::Bypass),
    ]);
    let history = History::of(&before).without(&now, |list| list == Class::Blocked.name());
    let kernel = KernelTables::compile(&now, &history);
    let standing = |second| kernel.standing(Ipv4Addr::new(10, second, 0, 1).into());
    assert_eq!(standing(1), Standing::stable(Class::Blocked));
    for (second, class) in [(2, Class::Bypass), (3, Class::Unmanaged)] {
        assert_eq!(standing(second).class(), class);
        assert!(standing(second).held().contains(Class::Managed));
    }
    let told = kernel.transition();
    assert_eq!(told.v4_addresses, (1 << 24) - (1 << 16));
    assert_eq!(told.ranges, 3);
}

#[test]
fn tables_grow_as_their_documentation_says() {
    // Hosts side by side, with one between: each makes two ranges, and all share roots.
    let hosts = |count: u32| -> Vec<(IpNet, Class)> {
        (0..count)
            .map(|i| {
                (
                    four(Ipv4Addr::from_bits(0x0a00_0000 + 2 * i), 32),
                    Class::Managed,
                )
            })
            .collect()
    };
    let kernel = KernelTables::compile(&compile(&hosts(30_000)), &History::default());
    assert!(size_of_val(kernel.v4_nodes()) <= 30_000 * 10);
    assert_eq!(kernel.v6_nodes().len(), 1);
    let sixes: Vec<(IpNet, Class)> = (0..30_000_u128)
        .map(|i| {
            (
                six(Ipv6Addr::from_bits((0x2001_0db8 << 96) + (i << 81)), 48),
                Class::Managed,
            )
        })
        .collect();
    let kernel = KernelTables::compile(&compile(&sixes), &History::default());
    assert!(size_of_val(kernel.v6_nodes()) <= 30_000 * 40);
    // Alone below a root.
    let alone: Vec<(IpNet, Class)> = (0..512_u128)
        .map(|i| {
            (
                six(Ipv6Addr::from_bits((0x2a00 << 112) + (i << 105)), 128),
                Class::Managed,
            )
        })
        .collect();
    let kernel = KernelTables::compile(&compile(&alone), &History::default());
    assert_eq!(kernel.v6_nodes().len(), 1 + 512);
    // Neighbours of one class need no node at all.
    let halves = [0, 128].map(|low| (four(Ipv4Addr::new(192, 0, 2, low), 25), Class::Bypass));
    let kernel = KernelTables::compile(&compile(&halves), &History::default());
    assert_eq!(kernel.v4_nodes().len(), 1);
}

/// The class by the longest prefix; of equal ones the class that the default policy prefers.
fn longest(entries: &[(IpNet, Class)], source: IpAddr) -> Class {
    let rank = [Class::Managed, Class::Bypass, Class::Relay];
    entries
        .iter()
        .filter(|(net, _)| net.contains(&source))
        .min_by_key(|(net, class)| {
            let rank = rank.iter().position(|one| one == class);
            (std::cmp::Reverse(net.prefix_len()), rank)
        })
        .map_or(Class::Unmanaged, |(_, class)| *class)
}

fn compile(entries: &[(IpNet, Class)]) -> Lists {
    let lists = Class::ALL.map(|class| List {
        name: class.name().to_owned(),
        class,
        scope: Scope::All,
        // A local one would overrule longer prefixes, when it blocks.
        origin: Origin::Remote,
        prefixes: entries
            .iter()
            .filter(|(_, of)| *of == class)
            .map(|(net, _)| *net)
            .collect(),
    });
    Lists::compile(&lists)
}

fn four(address: Ipv4Addr, length: u8) -> IpNet {
    Ipv4Net::new(address, length)
        .expect("a length")
        .trunc()
        .into()
}

fn six(address: Ipv6Addr, length: u8) -> IpNet {
    Ipv6Net::new(address, length)
        .expect("a length")
        .trunc()
        .into()
}

/// Both ends of a prefix, and their neighbours.
fn around(net: IpNet) -> Vec<IpAddr> {
    match net {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .map(|bits| Ipv4Addr::from_bits(bits).into())
                .to_vec()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first.wrapping_sub(1), first, last, last.wrapping_add(1)]
                .into_iter()
                .flat_map(both_families)
                .filter(IpAddr::is_ipv6)
                .collect()
        }
    }
}

/// An address of each family; an IPv4-mapped one counts as IPv4.
fn both_families(bits: u128) -> Vec<IpAddr> {
    let four = Ipv4Addr::from_bits(u32::try_from(bits & 0xffff_ffff).expect("masked"));
    let six = IpAddr::from(Ipv6Addr::from_bits(bits));
    if six.to_canonical() == six {
        vec![four.into(), six]
    } else {
        vec![four.into()]
    }
}

/// Prefixes that nest, touch and repeat, around few places: the roots' edges, and the first and last of
/// all addresses.
fn entries() -> impl Strategy<Value = Vec<(IpNet, Class)>> {
    let near4 = prop::sample::select(vec![0, 0x0a00_ff80, 0x0a01_0000, 0xcb00_7100, u32::MAX]);
    let v4 = (near4, 0u32..600, 0u8..=32)
        .prop_map(|(near, off, length)| four(Ipv4Addr::from_bits(near.wrapping_add(off)), length));
    let near6 = prop::sample::select(vec![
        1u128 << 64,
        0x2000 << 112,
        (0x2000 << 112) - 1,
        (0x2001_0db8 << 96) + (0xffff << 64),
        (0x4000 << 112) - 1,
        0xfc00 << 112,
        u128::MAX,
    ]);
    let shifts = prop::sample::select(vec![0u32, 60, 64, 80, 104]);
    let v6 = (near6, 0u128..20, shifts, 0u8..=128).prop_map(|(near, off, shift, length)| {
        six(Ipv6Addr::from_bits(near.wrapping_add(off << shift)), length)
    });
    let net = prop_oneof![v4, v6].prop_filter("IPv4-mapped prefixes are IPv4", |net| match net {
        IpNet::V6(net) => net.network().to_ipv4_mapped().is_none(),
        IpNet::V4(_) => true,
    });
    let class = prop::sample::select(vec![
        Class::Managed,
        Class::Bypass,
        Class::Relay,
        Class::Unmanaged,
    ]);
    prop::collection::vec((net, class), 0..24).prop_map(|entries| {
        let mut entries = entries;
        // Of equal prefixes one stays, so that no rule but the length decides.
        entries.sort_by_key(|(net, _)| *net);
        entries.dedup_by_key(|(net, _)| *net);
        entries
    })
}

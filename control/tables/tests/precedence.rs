//! Which list decides a source: the compiled lists against a naive reading of the rule, for random
//! overlapping lists; and the kernel's tables against the compiled lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use weir_abi::{Class, Standing};
use weir_tables::{Found, History, KernelTables, List, Lists, Origin, Scope};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn the_rule_decides_every_source(lists in lists(), random in addresses()) {
        let compiled = Lists::compile(&lists);
        for source in boundaries(&lists).into_iter().chain(random) {
            prop_assert_eq!(compiled.find(source), by_the_rule(&lists, source), "{}", source);
        }
    }

    #[test]
    fn no_remote_list_opens_what_a_local_list_blocks(
        local in lists_of(Origin::Local),
        remote in lists_of(Origin::Remote),
    ) {
        let alone = Lists::compile(&local);
        let mut both = local;
        both.extend(remote);
        let together = Lists::compile(&both);
        for source in boundaries(&both) {
            if alone.find(source).class == Class::Blocked {
                prop_assert_eq!(together.find(source).class, Class::Blocked, "{}", source);
            }
        }
    }

    #[test]
    fn bytes_keep_every_answer(lists in lists()) {
        let compiled = Lists::compile(&lists);
        let read = Lists::from_bytes(&compiled.to_bytes()).expect("its own bytes");
        prop_assert_eq!(&read, &compiled);
    }
}

proptest! {
    // Each case fills 16 MiB.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn kernel_and_user_space_agree(lists in lists(), random in addresses()) {
        let compiled = Lists::compile(&lists);
        let kernel = KernelTables::compile(&compiled, &History::default());
        for source in boundaries(&lists).into_iter().chain(random) {
            let expected = Standing::stable(compiled.find(source).class);
            prop_assert_eq!(kernel.standing(source), expected, "{}", source);
        }
    }
}

#[test]
fn a_local_block_beats_longer_prefixes_of_anyone() {
    let lists = [
        list(
            "embargo",
            Class::Blocked,
            Origin::Local,
            &["203.0.113.0/24"],
        ),
        list("hq", Class::Managed, Origin::Local, &["203.0.113.7/32"]),
        list("vendor", Class::Bypass, Origin::Remote, &["203.0.113.8/32"]),
        list(
            "embargo-more",
            Class::Blocked,
            Origin::Local,
            &["203.0.113.64/26"],
        ),
    ];
    let compiled = Lists::compile(&lists);
    let found = |source: &str| compiled.find(source.parse().expect("an address"));
    for source in ["203.0.113.0", "203.0.113.7", "203.0.113.8", "203.0.113.255"] {
        assert_eq!(found(source).class, Class::Blocked, "{source}");
        assert_eq!(found(source).list, Some("embargo"), "{source}");
    }
    assert_eq!(found("203.0.113.65").list, Some("embargo-more"));
    assert_eq!(found("203.0.112.255").class, Class::Unmanaged);
    assert_eq!(found("203.0.114.0").class, Class::Unmanaged);
}

#[test]
fn a_remote_block_is_overruled_by_a_longer_prefix() {
    let lists = [
        list("feed", Class::Blocked, Origin::Remote, &["198.51.100.0/24"]),
        list(
            "partner",
            Class::Bypass,
            Origin::Local,
            &["198.51.100.16/28"],
        ),
    ];
    let compiled = Lists::compile(&lists);
    let partner = compiled.find("198.51.100.20".parse().expect("an address"));
    assert_eq!(
        (partner.class, partner.list),
        (Class::Bypass, Some("partner"))
    );
    assert_eq!(
        partner.prefix,
        Some("198.51.100.16/28".parse().expect("a prefix"))
    );
    let other = compiled.find("198.51.100.40".parse().expect("an address"));
    assert_eq!((other.class, other.list), (Class::Blocked, Some("feed")));
}

#[test]
fn the_ends_of_the_address_space_are_found() {
    let lists = [
        list(
            "low",
            Class::Managed,
            Origin::Local,
            &["0.0.0.0/32", "::/128"],
        ),
        list(
            "high",
            Class::Bypass,
            Origin::Local,
            &[
                "255.255.255.255/32",
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            ],
        ),
    ];
    let compiled = Lists::compile(&lists);
    let kernel = KernelTables::compile(&compiled, &History::default());
    for (source, class) in [
        ("0.0.0.0", Class::Managed),
        ("0.0.0.1", Class::Unmanaged),
        ("255.255.255.254", Class::Unmanaged),
        ("255.255.255.255", Class::Bypass),
        ("::", Class::Managed),
        ("::1", Class::Unmanaged),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", Class::Unmanaged),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Class::Bypass),
    ] {
        let source: IpAddr = source.parse().expect("an address");
        assert_eq!(compiled.find(source).class, class, "{source}");
        assert_eq!(kernel.standing(source).class(), class, "{source}");
    }
}

#[test]
fn everything_may_be_on_a_list() {
    let lists = [
        list(
            "everyone",
            Class::Bypass,
            Origin::Local,
            &["0.0.0.0/0", "::/0"],
        ),
        list(
            "but",
            Class::Blocked,
            Origin::Local,
            &["192.0.2.128/25", "2001:db8::/32"],
        ),
    ];
    let compiled = Lists::compile(&lists);
    let kernel = KernelTables::compile(&compiled, &History::default());
    for (source, class) in [
        ("0.0.0.0", Class::Bypass),
        ("192.0.2.127", Class::Bypass),
        ("192.0.2.128", Class::Blocked),
        ("192.0.3.0", Class::Bypass),
        ("255.255.255.255", Class::Bypass),
        ("2001:db7:ffff::", Class::Bypass),
        ("2001:db8::1", Class::Blocked),
    ] {
        let source: IpAddr = source.parse().expect("an address");
        assert_eq!(compiled.find(source).class, class, "{source}");
        assert_eq!(kernel.standing(source).class(), class, "{source}");
    }
}

#[test]
fn mapped_sources_and_prefixes_are_ipv4() {
    let lists = [list(
        "hq",
        Class::Managed,
        Origin::Local,
        &["::ffff:203.0.113.0/120"],
    )];
    let compiled = Lists::compile(&lists);
    for source in ["203.0.113.9", "::ffff:203.0.113.9"] {
        let found = compiled.find(source.parse().expect("an address"));
        assert_eq!(found.class, Class::Managed, "{source}");
        assert_eq!(
            found.prefix,
            Some("203.0.113.0/24".parse().expect("a prefix")),
            "{source}"
        );
    }
}

/// The rule of the default policy, read address by address.
fn by_the_rule(lists: &[List], source: IpAddr) -> Found<'_> {
    let rank = |class| match class {
        Class::Blocked => 0,
        Class::Managed => 1,
        Class::Bypass => 2,
        Class::Relay => 3,
        Class::Unmanaged => 4,
    };
    let holding: Vec<(usize, &List, IpNet)> = lists
        .iter()
        .enumerate()
        .flat_map(|(index, list)| {
            list.prefixes
                .iter()
                .map(move |prefix| (index, list, *prefix))
        })
        .filter(|(_, _, prefix)| prefix.contains(&source))
        .collect();
    let local_block = |list: &List| list.class == Class::Blocked && list.origin == Origin::Local;
    let blocked = holding.iter().any(|(_, list, _)| local_block(list));
    let winner = holding
        .into_iter()
        .filter(|(_, list, _)| !blocked || local_block(list))
        .min_by_key(|(index, list, prefix)| {
            (
                std::cmp::Reverse(prefix.prefix_len()),
                rank(list.class),
                list.origin == Origin::Remote,
                list.scope == Scope::Web,
                *index,
            )
        });
    match winner {
        Some((_, list, prefix)) => Found {
            class: list.class,
            scope: list.scope,
            list: Some(&list.name),
            prefix: Some(prefix.trunc()),
        },
        None => Found {
            class: Class::Unmanaged,
            scope: Scope::All,
            list: None,
            prefix: None,
        },
    }
}

/// The addresses at which answers change: both ends of every prefix, and their neighbours.
fn boundaries(lists: &[List]) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for prefix in lists.iter().flat_map(|list| &list.prefixes) {
        match (prefix.network(), prefix.broadcast()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                let around = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                addresses.extend(around.map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))));
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let (first, last) = (first.to_bits(), last.to_bits());
                let around = [first.wrapping_sub(1), first, last, last.wrapping_add(1)];
                addresses.extend(
                    around
                        .map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
                        .into_iter()
                        .filter(|address| address.to_canonical() == *address),
                );
            }
            _ => unreachable!("a prefix is of one family"),
        }
    }
    addresses
}

/// Addresses that are close together, so that prefixes nest and touch.
fn address_v4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        4 => (0u8..3, prop_oneof![Just(0u8), Just(127), Just(255)], any::<u8>())
            .prop_map(|(b, c, d)| Ipv4Addr::new(10, b, c, d)),
        1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
        1 => prop_oneof![Just(Ipv4Addr::UNSPECIFIED), Just(Ipv4Addr::BROADCAST)],
    ]
}

fn address_v6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        4 => (0u16..3, prop_oneof![Just(0u16), Just(0xffff)], 0u16..4)
            .prop_map(|(c, e, h)| Ipv6Addr::new(0x2001, 0xdb8, c, 0, e, 0, 0, h)),
        1 => (1u128 << 64..).prop_map(Ipv6Addr::from_bits),
        1 => Just(Ipv6Addr::from_bits(u128::MAX)),
    ]
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    let one = prop_oneof![
        address_v4().prop_map(IpAddr::V4),
        address_v6().prop_map(IpAddr::V6)
    ];
    prop::collection::vec(one, 32)
}

/// IPv6 prefixes are longer than 64 bits or disjoint from the IPv4-mapped ones, which are IPv4.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (address_v4(), prop_oneof![3 => 15u8..=32, 1 => 0u8..=32]);
    let v6 = (
        address_v6(),
        prop_oneof![3 => 30u8..=64, 2 => 64u8..=128, 1 => 4u8..=128],
    );
    prop_oneof![
        v4.prop_map(|(address, length)| IpNet::new(IpAddr::V4(address), length)),
        v6.prop_map(|(address, length)| IpNet::new(IpAddr::V6(address), length)),
    ]
    .prop_map(|net| net.expect("a length within the family").trunc())
}

fn lists() -> impl Strategy<Value = Vec<List>> {
    (lists_of(Origin::Local), lists_of(Origin::Remote)).prop_map(|(mut local, remote)| {
        local.extend(remote);
        local
    })
}

fn lists_of(origin: Origin) -> impl Strategy<Value = Vec<List>> {
    let classes = prop::sample::select(vec![
        Class::Managed,
        Class::Bypass,
        Class::Blocked,
        Class::Relay,
        Class::Unmanaged,
    ]);
    let scopes = prop::sample::select(Scope::ALL.to_vec());
    let one = (classes, scopes, prop::collection::vec(prefix(), 0..12));
    prop::collection::vec(one, 0..5).prop_map(move |lists| {
        let numbered = lists.into_iter().enumerate();
        numbered
            .map(|(number, (class, scope, prefixes))| List {
                name: format!("{}-{number}", origin.name()),
                class,
                scope,
                origin,
                prefixes,
            })
            .collect()
    })
}

fn list(name: &str, class: Class, origin: Origin, prefixes: &[&str]) -> List {
    List {
        name: name.to_owned(),
        class,
        scope: Scope::All,
        origin,
        prefixes: prefixes
            .iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect(),
    }
}

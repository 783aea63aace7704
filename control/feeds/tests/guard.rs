//! What may change by itself, against a model that counts every address.

use std::collections::BTreeSet;

use ipnet::{IpNet, Ipv4Net};
use proptest::prelude::*;
use weir_feeds::guard::{Family, Judged, Limits, Refused, Why, admit, judge};

fn nets(written: &[&str]) -> Vec<IpNet> {
    let net = |written: &&str| written.parse().expect("a prefix");
    written.iter().map(net).collect()
}

fn many(count: u32) -> Vec<IpNet> {
    let net = |n: u32| Ipv4Net::new((0xc633_0000 + n * 256).into(), 24).expect("24 bits");
    (0..count).map(|n| IpNet::V4(net(n))).collect()
}

#[test]
fn what_can_never_be_a_list_is_refused() {
    let limits = Limits::default();
    for (written, refused) in [
        (vec![], Refused::Empty),
        (
            nets(&["0.0.0.0/0"]),
            Refused::TooWide("0.0.0.0/0".parse().expect("a prefix"), 8),
        ),
        (
            nets(&["2000::/8"]),
            Refused::TooWide("2000::/8".parse().expect("a prefix"), 20),
        ),
        (
            nets(&["203.0.113.0/24", "127.0.0.1/32"]),
            Refused::NoClient("127.0.0.1/32".parse().expect("a prefix")),
        ),
        (
            nets(&["ff02::1/128"]),
            Refused::NoClient("ff02::1/128".parse().expect("a prefix")),
        ),
        (many(20_001), Refused::TooMany(20_001, 20_000)),
    ] {
        assert_eq!(admit(&written, &limits), Err(refused));
    }
    assert_eq!(
        admit(&nets(&["10.0.0.0/8", "2603:1000::/24"]), &limits),
        Ok(())
    );
}

#[test]
fn the_first_state_is_fine_and_the_same_is_the_same_in_any_order() {
    let (limits, list) = (Limits::default(), many(100));
    assert!(matches!(judge(None, &list, &limits), Judged::Fine(_)));
    let turned: Vec<_> = list.iter().rev().copied().collect();
    assert_eq!(judge(Some(&list), &turned, &limits), Judged::Same);
}

#[test]
fn much_that_goes_or_comes_is_held_and_a_little_is_not() {
    let (limits, list) = (Limits::default(), many(100));
    assert!(matches!(
        judge(Some(&list), &list[..70], &limits),
        Judged::Fine(_)
    ));
    let Judged::Held(difference, whys) = judge(Some(&list), &list[..69], &limits) else {
        panic!("31 % would go");
    };
    assert_eq!((difference.removed.len(), difference.added.len()), (31, 0));
    assert_eq!(
        whys,
        [Why::Lost {
            family: Family::V4,
            percent: 31
        }]
    );
    // One line that opens more than all the others together.
    let mut wide = list.clone();
    wide.extend(nets(&["20.0.0.0/8"]));
    let Judged::Held(_, whys) = judge(Some(&list), &wide, &limits) else {
        panic!("16 million addresses would come");
    };
    assert!(matches!(
        whys[..],
        [Why::Grown {
            family: Family::V4,
            ..
        }]
    ));
    // The first of the other family, from nothing: a little may come, much may not.
    let mut other = list.clone();
    other.extend(nets(&["2001:db8:1::/48"]));
    assert!(matches!(
        judge(Some(&list), &other, &limits),
        Judged::Fine(_)
    ));
    other.extend(nets(&["2603:1000::/24"]));
    assert!(matches!(
        judge(Some(&list), &other, &limits),
        Judged::Held(..)
    ));
}

#[test]
fn a_short_list_may_change_whole_and_the_same_space_written_otherwise_is_no_loss() {
    let limits = Limits::default();
    let (before, after) = (
        nets(&["203.0.113.0/29", "203.0.113.64/29"]),
        nets(&["198.51.100.0/29", "198.51.100.8/29"]),
    );
    assert!(matches!(
        judge(Some(&before), &after, &limits),
        Judged::Fine(_)
    ));
    let halves = nets(&["198.51.100.0/25", "198.51.100.128/25"]);
    let whole: Vec<_> = (0..16).flat_map(|_| nets(&["198.51.100.0/24"])).collect();
    assert!(matches!(
        judge(Some(&halves), &whole, &limits),
        Judged::Fine(_)
    ));
}

/// Prefixes of one /16, so that all addresses can be counted.
fn small() -> impl Strategy<Value = Vec<IpNet>> {
    let one = (0_u32..1 << 16, 20_u8..=32).prop_map(|(host, length)| {
        let net = Ipv4Net::new((0xc633_0000 | host).into(), length).expect("a length");
        IpNet::V4(net.trunc())
    });
    proptest::collection::vec(one, 1..12)
}

fn all(nets: &[IpNet]) -> BTreeSet<u32> {
    let addresses = nets.iter().flat_map(|net| match net {
        IpNet::V4(net) => net.network().to_bits()..=net.broadcast().to_bits(),
        IpNet::V6(_) => unreachable!("IPv4 alone"),
    });
    addresses.collect()
}

proptest! {
    #[test]
    fn shares_are_those_of_the_addresses(before in small(), after in small(), share in 0_u8..100, few in 0_usize..6) {
        let limits = Limits { share, few, ..Limits::default() };
        let (had, has) = (all(&before), all(&after));
        let lost = had.difference(&has).count();
        let gained = has.difference(&had).count();
        let texts = |nets: &[IpNet]| nets.iter().map(IpNet::to_string).collect::<BTreeSet<_>>();
        let gone = texts(&before).difference(&texts(&after)).count();
        let beyond = |part: usize| part * 100 > had.len() * usize::from(share);
        let held = (beyond(lost) && gone > few) || (beyond(gained) && gained > 4096);
        match judge(Some(&before), &after, &limits) {
            Judged::Same => prop_assert!(texts(&before) == texts(&after)),
            Judged::Fine(_) => prop_assert!(!held),
            Judged::Held(_, whys) => {
                prop_assert!(held);
                prop_assert!(!whys.is_empty());
            }
        }
    }
}

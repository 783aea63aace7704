//! What holds for all bytes that are taken for compiled lists.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_tables::Lists;

/// Bytes are refused, or they are lists: then every address is found in order, and the lists written
/// again are the same bytes.
pub fn check(input: &[u8]) {
    let Ok(lists) = Lists::from_bytes(input) else {
        return;
    };
    assert_eq!(lists.to_bytes(), input, "other bytes mean the same lists");
    assert_eq!(Lists::from_bytes(&lists.to_bytes()).as_ref(), Ok(&lists));
    let ends = [0, u128::MAX];
    // Where ranges begin and end, and beside it.
    let inside = input
        .windows(16)
        .map(|window| u128::from_le_bytes(window.try_into().expect("windows of sixteen bytes")));
    for bits in ends.into_iter().chain(inside.take(512)) {
        for near in [bits.wrapping_sub(1), bits, bits.wrapping_add(1)] {
            found(&lists, Ipv6Addr::from_bits(near).into());
            let [a, b, c, d, ..] = near.to_le_bytes();
            let v4 = Ipv4Addr::from_bits(u32::from_le_bytes([a, b, c, d]));
            found(&lists, v4.into());
            assert_eq!(
                lists.find(v4.to_ipv6_mapped().into()),
                lists.find(v4.into()),
                "a mapped address is another source"
            );
        }
    }
}

fn found(lists: &Lists, source: IpAddr) {
    let found = lists.find(source);
    assert_eq!(found.list.is_some(), found.prefix.is_some());
    if let Some(prefix) = found.prefix {
        assert!(
            prefix.contains(&source.to_canonical()),
            "{source} by {prefix}"
        );
    }
}

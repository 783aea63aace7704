//! Lists as ranges that do not overlap: what an interval set holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weir_abi::Class;

use crate::replay::Lists;

/// Sources of one class that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: IpAddr,
    /// The last one, of the same family.
    pub last: IpAddr,
    /// Their class; never unmanaged.
    pub class: Class,
}

/// All listed sources of a family, ascending; neighbours have different classes. Asks the lists what each stretch
/// between two ends of prefixes is, so it says what they say, whatever overlaps.
pub fn ranges(lists: &Lists, six: bool) -> Vec<Range> {
    let mut starts = Vec::new();
    for list in lists.named() {
        for prefix in list.prefixes.iter().map(folded) {
            let (first, last) = match prefix {
                IpNet::V4(net) if !six => (
                    u128::from(net.network().to_bits()),
                    u128::from(net.broadcast().to_bits()),
                ),
                IpNet::V6(net) if six => (net.network().to_bits(), net.broadcast().to_bits()),
                _ => continue,
            };
            starts.push(first);
            starts.extend(last.checked_add(1));
        }
    }
    starts.sort_unstable();
    starts.dedup();
    let end = if six { u128::MAX } else { u128::from(u32::MAX) };
    starts.retain(|start| *start <= end);
    let mut ranges: Vec<(u128, u128, Class)> = Vec::new();
    for (at, start) in starts.iter().enumerate() {
        let last = starts.get(at + 1).map_or(end, |next| next - 1);
        let class = lists.class(address(*start, six));
        match ranges.last_mut() {
            _ if class == Class::Unmanaged => {}
            Some(before) if before.2 == class && before.1 + 1 == *start => before.1 = last,
            _ => ranges.push((*start, last, class)),
        }
    }
    let ranges = ranges.into_iter();
    let named = ranges.map(|(first, last, class)| Range {
        first: address(first, six),
        last: address(last, six),
        class,
    });
    named.collect()
}

impl Range {
    /// The prefixes that make it up.
    pub fn prefixes(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                split(first.to_bits().into(), last.to_bits().into(), 32)
                    .map(|(first, length)| net_v4(first, length).into())
                    .collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => split(first.to_bits(), last.to_bits(), 128)
                .map(|(first, length)| net_v6(first, length).into())
                .collect(),
            _ => unreachable!("a range is of one family"),
        }
    }
}

/// The largest blocks that fit, one after the other; none is the whole space, which ipset does not take.
fn split(first: u128, last: u128, width: u8) -> impl Iterator<Item = (u128, u8)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let first = next?;
        let fits = |bits: u8| {
            let size = 1_u128 << bits;
            first & (size - 1) == 0 && first.checked_add(size - 1).is_some_and(|end| end <= last)
        };
        let bits = (0..width)
            .take_while(|bits| fits(*bits))
            .last()
            .unwrap_or_default();
        next = first.checked_add(1 << bits).filter(|next| *next <= last);
        Some((first, width - bits))
    })
}

/// IPv4-mapped prefixes count as IPv4.
fn folded(prefix: &IpNet) -> IpNet {
    match prefix {
        IpNet::V6(net) if net.prefix_len() >= 96 => match net.addr().to_ipv4_mapped() {
            Some(four) => net_v4(four.to_bits().into(), net.prefix_len() - 96).into(),
            None => *prefix,
        },
        _ => *prefix,
    }
}

fn address(number: u128, six: bool) -> IpAddr {
    if six {
        return Ipv6Addr::from_bits(number).into();
    }
    Ipv4Addr::from_bits(u32::try_from(number).expect("an address of IPv4")).into()
}

fn net_v4(first: u128, length: u8) -> Ipv4Net {
    let first = u32::try_from(first).expect("an address of IPv4");
    Ipv4Net::new(Ipv4Addr::from_bits(first), length).expect("the length fits")
}

fn net_v6(first: u128, length: u8) -> Ipv6Net {
    Ipv6Net::new(Ipv6Addr::from_bits(first), length).expect("the length fits")
}

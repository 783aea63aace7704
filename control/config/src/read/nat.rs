//! What `[kernel]` says about `topology = "nat"`.

use std::ops::RangeInclusive;

use super::values;
use crate::config::Nat;
use crate::reader::{Context, Table};

/// Below what Linux gives to its own connections, and above what services listen on.
pub(crate) const USUAL: RangeInclusive<u16> = 4096..=32767;

pub(super) fn read(context: &Context<'_>, table: &Table<'_>) -> Nat {
    let mut addresses = Vec::new();
    for item in table.strings("nat_address").unwrap_or_default() {
        let Some(address) = values::address(context, &item) else {
            continue;
        };
        let same = |other: &std::net::IpAddr| other.is_ipv6() == address.value.is_ipv6();
        if addresses.iter().any(same) {
            context.error(
                &address.span,
                "`nat_address` has two addresses of one family",
                "write at most one IPv4 and one IPv6 address of this machine",
            );
            continue;
        }
        addresses.push(address.value);
    }
    let ports = table.string("nat_ports").and_then(|written| {
        let ports = range(&written.value);
        if ports.is_none() {
            context.error(
                &written.span,
                format!("`{}` is no range of ports", written.value),
                "write the first and the last port, from 1024 on, such as `\"4096-32767\"`",
            );
        }
        ports
    });
    Nat {
        addresses,
        ports: ports.unwrap_or(USUAL),
    }
}

/// `FIRST-LAST`
fn range(written: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = written.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first >= 1024 && first <= last).then_some(first..=last)
}

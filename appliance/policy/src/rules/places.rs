//! Named locations, and sets of networks in which an address is found by bisection.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::truth::Truth;
use crate::{Country, Facts};

/// A set of networks: for each family the first and the last address of each, in order, without overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

/// A named location.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    pub(crate) name: Arc<str>,
    pub(crate) networks: Networks,
    pub(crate) countries: Vec<Country>,
}

impl Networks {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (all, address) = match address {
            IpAddr::V4(_) => (&self.v4, number(address)),
            IpAddr::V6(_) => (&self.v6, number(address)),
        };
        let behind = all.partition_point(|(first, _)| *first <= address);
        behind > 0 && all[behind - 1].1 >= address
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            let range = (number(network.network()), number(network.broadcast()));
            match network {
                IpNet::V4(_) => v4.push(range),
                IpNet::V6(_) => v6.push(range),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }
}

impl Location {
    pub(crate) fn truth(&self, facts: &Facts) -> Truth {
        let by_network = match facts.source.effective {
            Some(source) => Truth::of(self.networks.contains(source)),
            None => Truth::UNKNOWN,
        };
        if self.countries.is_empty() {
            by_network
        } else {
            by_network.or(is_in(&self.countries, facts))
        }
    }
}

/// Whether the effective source is in one of these countries.
pub(crate) fn is_in(countries: &[Country], facts: &Facts) -> Truth {
    match &facts.country {
        Some(country) => Truth::of(countries.contains(country)),
        None => Truth::UNKNOWN,
    }
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

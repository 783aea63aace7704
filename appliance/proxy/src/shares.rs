//! What each source may hold of the proxy, over all its connections: so that nobody takes what is there
//! for everyone, however many connections he opens.
//!
//! In: the address of a connection's client. Out: a [`Place`], or none when the source has as many as one
//! source may. Only sources with a connection are kept, so that memory is bounded by the connections.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use dashmap::DashMap;
use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::memory::Memory;

/// The sources that have connections.
#[derive(Debug)]
pub struct Shares {
    limits: Limits,
    /// Most connections of one source.
    most: usize,
    held: DashMap<IpAddr, Held>,
}

/// What one source may hold beside its connections.
#[derive(Debug)]
pub struct Share {
    /// Memory for its bodies.
    pub memory: Memory,
    /// One for each exchange that it may have with an upstream.
    pub exchanges: Arc<Semaphore>,
}

/// One of a source's connections, until it is dropped.
#[derive(Debug)]
pub struct Place {
    shares: Arc<Shares>,
    source: IpAddr,
    /// What the source holds, over all its connections.
    pub share: Arc<Share>,
}

/// A source has as many connections as one may have.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "its source has {most} connections already, the most that one may have; when this is a load balancer, \
     have it send PROXY protocol v2 and name it in `proxy_protocol_from`"
)]
pub struct Full {
    most: usize,
}

#[derive(Debug)]
struct Held {
    connections: usize,
    share: Arc<Share>,
}

impl Shares {
    /// Shares of a proxy that has at most `max_connections` at once: of these a source has a quarter, when
    /// that is less than `limits` give it.
    pub fn new(limits: Limits, max_connections: usize) -> Self {
        let quarter = (max_connections / 4).max(1);
        Self {
            limits,
            most: limits.connections_per_source.min(quarter),
            held: DashMap::new(),
        }
    }

    /// A place for one more connection from this address; `None` when there is none left.
    pub fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let source = source_of(client);
        let mut held = self.held.entry(source).or_insert_with(|| Held {
            connections: 0,
            share: Arc::new(Share {
                memory: Memory::of_source(&self.limits),
                exchanges: Arc::new(Semaphore::new(self.limits.exchanges_per_source)),
            }),
        });
        if held.connections == self.most {
            return None;
        }
        held.connections += 1;
        Some(Place {
            shares: Arc::clone(self),
            source,
            share: Arc::clone(&held.share),
        })
    }

    /// Why there is no place.
    pub fn full(&self) -> Full {
        Full { most: self.most }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shares.held.remove_if_mut(&self.source, |_, held| {
            held.connections -= 1;
            held.connections == 0
        });
    }
}

/// An IPv6 host has a /64 to itself, at least.
pub(crate) fn source_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an ip")
    }

    #[test]
    fn a_source_has_so_many_connections_and_is_forgotten_with_the_last() {
        let limits = Limits {
            connections_per_source: 2,
            ..Limits::default()
        };
        let shares = Arc::new(Shares::new(limits, 1000));
        let first = shares.enter(ip("2001:db8:0:1::1")).expect("the first");
        let second = shares.enter(ip("2001:db8:0:1::2")).expect("the second");
        assert!(Arc::ptr_eq(&first.share, &second.share));
        assert!(shares.enter(ip("2001:db8:0:1:ffff::")).is_none());
        assert!(shares.enter(ip("2001:db8:0:2::1")).is_some());
        assert!(shares.enter(ip("192.0.2.1")).is_some());
        drop(second);
        assert!(shares.enter(ip("2001:db8:0:1::3")).is_some());
        drop(first);
        assert!(shares.held.is_empty());
    }

    #[test]
    fn nobody_has_more_than_a_quarter_of_all_connections() {
        let shares = Arc::new(Shares::new(Limits::default(), 8));
        let [one, mapped] = [ip("192.0.2.1"), ip("::ffff:192.0.2.1")];
        let _places = [one, mapped].map(|address| shares.enter(address).expect("two of eight"));
        assert!(shares.enter(one).is_none());
    }
}

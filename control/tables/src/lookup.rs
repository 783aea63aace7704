//! Looking a source up in the compiled lists.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_abi::Class;

use crate::compile::{Decider, Lists, NOBODY, Ranges};
use crate::list::Scope;

/// What the lists say of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Its class; [`Class::Unmanaged`] when it is on no list.
    pub class: Class,
    /// Scope of the deciding list; [`Scope::All`] when the source is on no list.
    pub scope: Scope,
    /// Head of the deciding list.
    pub list: Option<&'a str>,
    /// The prefix on that list which decided.
    pub prefix: Option<IpNet>,
}

impl Lists {
    /// What the lists say of this source. An IPv4-mapped IPv6 address is looked up as IPv4.
    pub fn find(&self, source: IpAddr) -> Found<'_> {
        let prefix = match source.to_canonical() {
            IpAddr::V4(address) => self
                .v4
                .decider(address.to_bits())
                .map(|d| (d.list, IpNet::V4(d.prefix_v4()))),
            IpAddr::V6(address) => self
                .v6
                .decider(address.to_bits())
                .map(|d| (d.list, IpNet::V6(d.prefix_v6()))),
        };
        let Some((list, prefix)) = prefix else {
            return Found {
                class: Class::Unmanaged,
                scope: Scope::All,
                list: None,
                prefix: None,
            };
        };
        let head = &self.heads[list as usize];
        Found {
            class: head.class,
            scope: head.scope,
            list: Some(&head.name),
            prefix: Some(prefix),
        }
    }
}

impl<A: Copy + Ord> Ranges<A> {
    /// The prefix that decides this address, in O(log ranges).
    pub(crate) fn decider(&self, address: A) -> Option<&Decider<A>> {
        let after = self.starts.partition_point(|start| *start <= address);
        let owner = self.owners[after.checked_sub(1)?];
        (owner != NOBODY).then(|| &self.deciders[owner as usize])
    }
}

//! Checks of a service's topology and servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_abi::{MAX_SERVERS, Topology};

use crate::config::{Managed, ProxyDown};
use crate::read::DraftService;
use crate::reader::{At, Context};

/// Reports what cannot work, and what would do nothing.
pub(crate) fn check(context: &Context<'_>, services: &[DraftService]) {
    let addresses: BTreeSet<_> = services
        .iter()
        .flat_map(|service| &service.addresses)
        .map(|address| address.value)
        .collect();
    for service in services {
        let topology = service.topology.value;
        if topology == Topology::Route {
            if let Some(first) = service.servers.first() {
                context.error(
                    &first.span,
                    "`servers` of a service are for `topology = \"dsr\"`",
                    "with `topology = \"route\"` packets go to who owns the service's address. Remove \
                     `servers`, or write `topology = \"dsr\"`; the proxy's servers stand in \
                     `[service.upstream]`",
                );
            }
            continue;
        }
        if service.servers.is_empty() {
            context.error(
                &service.topology.span,
                "`topology = \"dsr\"` without servers",
                "name the servers, each by its own address beside the service's: `servers = \
                 [\"192.0.2.21\", \"192.0.2.22\"]`",
            );
            continue;
        }
        if let Some(beyond) = service.servers.get(MAX_SERVERS) {
            context.error(
                &beyond.span,
                format!(
                    "{} servers are too many: the kernel programs have room for {MAX_SERVERS}",
                    service.servers.len()
                ),
                "divide them between two services, each with addresses of its own",
            );
        }
        let mut lines = BTreeMap::new();
        for server in &service.servers {
            let line = context.place(&server.span).line;
            if let Some(first) = lines.insert(server.value, line) {
                context.error(
                    &server.span,
                    format!("server {} is named already, on line {first}", server.value),
                    "remove one of them",
                );
            }
            if addresses.contains(&server.value) {
                context.error(
                    &server.span,
                    format!("{} is the address of a service", server.value),
                    "write the server's own address: the service's is on the loopback of each server",
                );
            }
        }
        for address in &service.addresses {
            let reaches = |server: &At<IpAddr>| server.value.is_ipv6() == address.value.is_ipv6();
            if !service.servers.iter().any(reaches) {
                let family = if address.value.is_ipv6() {
                    "IPv6"
                } else {
                    "IPv4"
                };
                context.error(
                    &address.span,
                    format!("no server has an {family} address: nobody would get these packets"),
                    format!("add each server's own {family} address to `servers`"),
                );
            }
        }
        let forwards = |managed: Managed| {
            let down = service.proxy_down.as_ref().map(|down| down.value);
            managed == Managed::Forward || down == Some(ProxyDown::ForwardManaged)
        };
        if service
            .managed
            .as_ref()
            .is_some_and(|managed| !forwards(managed.value))
        {
            context.warning(
                &service.topology.span,
                "`topology` changes nothing here",
                "it is for packets that are forwarded in the kernel: `managed = \"forward\"`, or \
                 `proxy_down = \"forward-managed\"`",
            );
        }
    }
}

//! Checks of a service's topology and servers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use weir_abi::{MAX_SERVERS, Topology};

use crate::config::{Kernel, Managed, ProxyDown};
use crate::read::DraftService;
use crate::reader::{At, Context};

/// Reports what cannot work, and what would do nothing.
pub(crate) fn check(context: &Context<'_>, kernel: Option<&Kernel>, services: &[DraftService]) {
    let addresses: BTreeSet<_> = services
        .iter()
        .flat_map(|service| &service.addresses)
        .map(|address| address.value)
        .collect();
    for service in services {
        let topology = service.topology.value;
        if topology == Topology::Route {
            routed(context, kernel, service);
            continue;
        }
        if service.servers.is_empty() {
            context.error(
                &service.topology.span,
                format!("`topology = \"{}\"` without servers", topology.name()),
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
                    if topology == Topology::Dsr {
                        "write the server's own address: the service's is on the loopback of each server"
                    } else {
                        "write the server's own address: the service's is Weir's"
                    },
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
        } else if topology == Topology::Nat {
            translated(context, kernel, service, services);
        }
    }
}

/// What a service without servers of its own needs.
fn routed(context: &Context<'_>, kernel: Option<&Kernel>, service: &DraftService) {
    if kernel.is_some_and(|kernel| kernel.inside.is_empty())
        && let Some(managed) = &service.managed
        && managed.value == Managed::Forward
    {
        context.error(
            &managed.span,
            "no interface is `inside`, and the answers to forwarded packets have to come by one",
            "name it in `[kernel]`, or write `topology = \"nat\"` and `servers`, which takes one \
             interface",
        );
    }
    if let Some(first) = service.servers.first() {
        context.error(
            &first.span,
            "`servers` of a service are for `topology = \"dsr\"` and `\"nat\"`",
            "with `topology = \"route\"` packets go to who owns the service's address. Remove \
             `servers`, or write `topology = \"dsr\"` or `\"nat\"`; the proxy's servers stand in \
             `[service.upstream]`",
        );
    }
}

/// What `nat` costs, and what its ports meet.
fn translated(
    context: &Context<'_>,
    kernel: Option<&Kernel>,
    service: &DraftService,
    services: &[DraftService],
) {
    context.warning(
        &service.topology.span,
        "with `topology = \"nat\"` the servers see Weir instead of the clients",
        "all sign-ins from managed sources come from one address then: what a server does by address \
         (extranet lockout and banned addresses of AD FS, rate limits, its log) takes them for one client. \
         Where that matters, write `managed = \"proxy\"`, which tells the client's address in a header, or \
         `topology = \"dsr\"`, which leaves it in the packet",
    );
    let Some(kernel) = kernel else {
        return;
    };
    if kernel.inside.is_empty() {
        context.warning(
            &service.topology.span,
            "no interface is `inside`: answers of servers come by the same one as packets of clients",
            "who can send packets with a server's address can forge answers then. Let the border drop what \
             comes from outside with addresses of the servers or of this machine, or name an interface in \
             `inside`: then only what comes by that is taken for an answer",
        );
    }
    let nat = &kernel.nat;
    let ports = &nat.ports;
    // What comes to a port of a service is taken for a client's, at every address that servers answer to.
    let seen = |address: &At<IpAddr>| {
        nat.addresses.contains(&address.value)
            || service
                .addresses
                .iter()
                .any(|own| own.value == address.value)
    };
    let others = services
        .iter()
        .filter(|other| other.topology.value != Topology::Nat && other.addresses.iter().any(seen));
    let mut taken = others.flat_map(|other| &other.ports).chain(&service.ports);
    if let Some(port) = taken.find(|port| ports.contains(&port.value)) {
        context.error(
            &port.span,
            format!(
                "port {} of the service is one of `nat_ports` ({}-{})",
                port.value,
                ports.start(),
                ports.end()
            ),
            "choose another range in `[kernel]`",
        );
    }
    if let Some(own) = own_ports()
        && own.start() <= ports.end()
        && ports.start() <= own.end()
    {
        context.warning(
            &service.topology.span,
            format!(
                "`nat_ports` ({}-{}) meet the ports of this machine's own connections ({}-{})",
                ports.start(),
                ports.end(),
                own.start(),
                own.end()
            ),
            "connections of the proxy to the same servers may break: choose another range in `[kernel]`, or \
             set net.ipv4.ip_local_port_range",
        );
    }
}

/// The ports that this machine gives to its own connections.
fn own_ports() -> Option<RangeInclusive<u16>> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut words = text.split_whitespace();
    let mut port = || words.next()?.parse().ok();
    Some(port()?..=port()?)
}

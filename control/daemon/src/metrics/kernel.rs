//! The kernel plane: packets, tables and their room, interfaces, servers.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_abi::{
    MAX_ADDRESSES, MAX_BEGUN, MAX_GRANTS, MAX_NODES, MAX_PRINCIPALS, MAX_SERVERS, MAX_SERVICES,
    MAX_TRANSLATIONS,
};
use weir_api::{Counter, Status};

use super::families::Families;
use crate::generation::Generation;

pub(super) fn tell(families: &mut Families, status: &Status, counters: &[Counter]) {
    packets(families, counters);
    let detail = &status.kernel.detail;
    let lost = &detail["lost"];
    let mut ring = families.counter(
        "weir_kernel_ring_lost_total",
        "What found no room in a ring buffer, or was more than is told in a second.",
    );
    for name in ["flows", "frames"] {
        ring.add(&[("ring", name)], whole(&lost[name]));
    }
    for hook in &status.kernel.hooks {
        let mut interface = families.gauge(
            "weir_kernel_interface_info",
            "Hooks in use at an interface.",
        );
        let labels = [
            ("interface", hook.interface.as_str()),
            ("side", &hook.side),
            ("hook", &hook.hook),
        ];
        interface.set(&labels, true);
    }
    let maps = detail["maps"].as_array().map_or(&[][..], Vec::as_slice);
    for map in maps {
        let Some(name) = map["name"].as_str() else {
            continue;
        };
        let mut memory = families.gauge(
            "weir_kernel_map_memory_bytes",
            "Memory that the kernel holds for a map.",
        );
        memory.set(&[("map", name)], whole(&map["memory"]));
    }
    for service in &status.services {
        let name = ("service", service.name.as_str());
        let mut observed = families.gauge(
            "weir_service_observed",
            "Packets of a service are judged and counted only, and go on untouched (1).",
        );
        observed.set(&[name], service.observe);
        for server in &service.servers {
            let mut up = families.gauge("weir_upstream_up", super::proxy::UPSTREAM_UP);
            let address = server.address.to_string();
            let labels = [name, ("server", &address), ("plane", "kernel")];
            up.set(&labels, server.answers);
        }
    }
}

fn packets(families: &mut Families, counters: &[Counter]) {
    let families_of = [
        (
            "weir_kernel_packets_total",
            "Packets by what was done with them; observed=\"true\" would only have been.",
        ),
        (
            "weir_kernel_bytes_total",
            "Bytes by what was done with them; observed=\"true\" would only have been.",
        ),
    ];
    for (name, help) in families_of {
        let mut family = families.counter(name, help);
        for counter in counters {
            let observed = if counter.observed { "true" } else { "false" };
            let labels = [
                ("hook", counter.hook.name()),
                ("service", &counter.service),
                ("class", counter.class.name()),
                ("verdict", counter.verdict.name()),
                ("reason", &counter.reason),
                ("observed", observed),
            ];
            let is_packets = name == "weir_kernel_packets_total";
            let count = if is_packets {
                counter.packets
            } else {
                counter.bytes
            };
            family.add(&labels, count);
        }
    }
}

/// What is in the tables, and what fits; `nodes` are those of the IPv4 and of the IPv6 ranges.
pub(super) fn tell_tables(
    families: &mut Families,
    status: &Status,
    running: &Generation,
    nodes: [usize; 2],
) {
    let services = &running.candidate.config().services;
    let pairs: BTreeSet<_> = services
        .iter()
        .flat_map(|service| &service.addresses)
        .collect();
    let most = services.iter().map(|service| service.servers.len()).max();
    let nat = &status.kernel.detail["nat"];
    let tables = [
        ("services", services.len() as u64, MAX_SERVICES as u64),
        ("addresses", pairs.len() as u64, MAX_ADDRESSES.into()),
        ("servers", most.unwrap_or(0) as u64, MAX_SERVERS as u64),
        ("sources_v4", nodes[0] as u64, MAX_NODES.into()),
        ("sources_v6", nodes[1] as u64, MAX_NODES.into()),
        ("grants", status.grants.held as u64, MAX_GRANTS.into()),
        (
            "principals",
            status.grants.principals as u64,
            MAX_PRINCIPALS.into(),
        ),
        ("nat", whole(&nat["connections"]), MAX_TRANSLATIONS.into()),
        ("nat_begun", whole(&nat["begun"]), MAX_BEGUN.into()),
    ];
    let mut entries = families.gauge(
        "weir_table_entries",
        "Entries of a table of the kernel plane; of `servers`, those of the service with most.",
    );
    for (table, count, _) in tables {
        entries.set(&[("table", table)], count);
    }
    let mut capacity = families.gauge(
        "weir_table_capacity",
        "Entries that fit into a table of the kernel plane.",
    );
    for (table, _, room) in tables {
        capacity.set(&[("table", table)], room);
    }
    let mut transition = families.gauge(
        "weir_kernel_transition_ranges",
        "Ranges of sources whose class has changed, and whose flows keep their verdicts yet.",
    );
    transition.set(&[], status.kernel.transition.ranges);
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

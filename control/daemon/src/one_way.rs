//! Flows of which only one direction comes through Weir, as the kernel's counters show it. Pure.

use weir_abi::{Reason, Topology, Verdict};
use weir_dataplane::{Counter, ServiceSpec};

/// Packets in one direction from which on it is no accident that none came in the other one.
const ENOUGH: u64 = 100;

/// A sentence for each service whose flows are seen in one direction only, with what mends it.
pub(crate) fn warnings(services: &[ServiceSpec], counters: &[Counter]) -> Vec<String> {
    // Servers of `dsr` answer past Weir, as they should.
    let routed = services
        .iter()
        .filter(|service| service.topology == Topology::Route);
    routed
        .filter_map(|service| warning(service, counters))
        .collect()
}

fn warning(service: &ServiceSpec, counters: &[Counter]) -> Option<String> {
    let forwarded = |reasons: &[Reason]| -> u64 {
        counters
            .iter()
            .filter(|one| one.service == service.id && one.verdict == Verdict::Forward)
            .filter(|one| reasons.contains(&one.reason))
            .map(|one| one.packets)
            .sum()
    };
    let there = forwarded(&[Reason::Class, Reason::Kept]);
    let back = forwarded(&[Reason::Answer]);
    let name = &service.name;
    if there >= ENOUGH && back == 0 {
        Some(format!(
            "{there} packets were forwarded to service {name}, and no answer came by an interface of \
             `inside`: its servers answer by another way (make Weir their gateway to the clients), or do \
             not answer at all"
        ))
    } else if back >= ENOUGH && there == 0 {
        Some(format!(
            "service {name} answers clients that no interface of `outside` saw ask: their packets come \
             by another way, and nobody judges them; lead the service's addresses to Weir alone"
        ))
    } else {
        None
    }
}

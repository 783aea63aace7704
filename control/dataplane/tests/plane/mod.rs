//! An open plane in a bed, with the services and sources of the fixtures.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use weir_abi::{Class, Hook, Reason, Topology, Verdict};
use weir_classify::Side;
use weir_dataplane::{Counter, Dataplane, HookChoice, NatSource, ServiceSpec};

use crate::bed::{Bed, has_ethtool, ip_output, object_or_skip, within};
use weir_fixtures::{
    ADFS, ADFS_V4, ADFS_V6, ADFS_VERDICTS, Memory, STS, STS_V4, STS_V6, STS_VERDICTS, source,
};

/// For what must come.
pub const LONG: Duration = Duration::from_secs(5);
/// Shorter than the first retransmission of a SYN.
pub const SHORT: Duration = Duration::from_millis(300);

/// Tells a story with an open plane, in the router's namespace.
pub fn story(name: &str, tell: impl FnOnce(&Bed, &mut Dataplane) + Send) {
    story_of_processes(name, |bed| tell(bed, &mut open(bed)));
}

/// Tells a story that opens planes by itself, in the router's namespace.
pub fn story_of_processes(name: &str, tell: impl FnOnce(&Bed) + Send) {
    story_at(HookChoice::Tcx, name, tell);
}

/// Tells a story that must come out the same with and without XDP.
pub fn story_at_both_hooks(name: &str, tell: impl Fn(&Bed, &mut Dataplane) + Sync) {
    for hook in [HookChoice::Tcx, HookChoice::Xdp] {
        story_at(hook, name, |bed| tell(bed, &mut open(bed)));
    }
}

/// Tells a story that opens planes by itself, in the router's namespace, on a bed for these hooks.
pub fn story_at(hook: HookChoice, name: &str, tell: impl FnOnce(&Bed) + Send) {
    let Some(object) = object_or_skip(name) else {
        return;
    };
    if hook == HookChoice::Xdp && !has_ethtool() {
        let _ = writeln!(io::stderr(), "skipped: {name} at XDP: needs ethtool");
        return;
    }
    let bed = Bed::new(object, hook);
    within(&bed.router, || tell(&bed));
}

/// A plane with services and tables.
pub fn open(bed: &Bed) -> Dataplane {
    let mut plane = Dataplane::open(&bed.options).unwrap_or_else(|error| panic!("{error}"));
    plane.set_services(&services()).expect("two services");
    plane
        .publish(&Memory::default().sources)
        .expect("a small generation");
    plane
}

/// The services of the fixtures.
pub fn services() -> [ServiceSpec; 2] {
    [
        ServiceSpec {
            id: STS,
            name: "sts".into(),
            addresses: vec![STS_V4.into(), STS_V6.into()],
            ports: vec![443, 49443],
            verdicts: STS_VERDICTS,
            topology: Topology::Route,
            servers: Vec::new(),
            observe: false,
            nat: NatSource::default(),
        },
        ServiceSpec {
            id: ADFS,
            name: "adfs".into(),
            addresses: vec![ADFS_V4.into(), ADFS_V6.into()],
            ports: vec![443],
            verdicts: ADFS_VERDICTS,
            topology: Topology::Route,
            servers: Vec::new(),
            observe: false,
            nat: NatSource::default(),
        },
    ]
}

/// Makes the stations of managed clients and servers known to the router, without a packet: XDP leaves
/// what goes to unknown neighbours to tcx.
pub fn introduce(bed: &Bed) {
    let managed = [false, true].map(|six| source(Class::Managed, six).to_string());
    let servers = [IpAddr::from(STS_V4), STS_V6.into()].map(|address| address.to_string());
    for (namespace, device, near, addresses) in [
        (&bed.client, "c0", "out", managed),
        (&bed.server, "s0", "in", servers),
    ] {
        let told = ip_output(namespace, &["-br", "link", "show", "dev", device]);
        let station = told.split_whitespace().nth(2).expect("an Ethernet device");
        for address in addresses {
            let neighbour = ["neigh", "replace", &address, "lladdr", station, "dev", near];
            ip_output(&bed.router, &neighbour);
        }
    }
}

/// The hardware address of the router on a side.
pub fn station(bed: &Bed, side: Side) -> [u8; 6] {
    let device = if side == Side::Outside { "out" } else { "in" };
    let told = ip_output(&bed.router, &["-br", "link", "show", "dev", device]);
    let address = told.split_whitespace().nth(2).expect("an Ethernet device");
    let bytes = address
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal"));
    bytes.collect::<Vec<_>>().try_into().expect("six bytes")
}

/// A port of the service that forwards.
pub fn sts(six: bool, port: u16) -> SocketAddr {
    let address: IpAddr = if six { STS_V6.into() } else { STS_V4.into() };
    SocketAddr::new(address, port)
}

/// One counter of the service that forwards, of both hooks together; its hook means nothing.
pub fn find(counters: &[Counter], class: Class, verdict: Verdict, reason: Reason) -> Counter {
    let [mut sum, xdp] = Hook::ALL.map(|hook| find_at(hook, counters, class, verdict, reason));
    sum.packets += xdp.packets;
    sum.bytes += xdp.bytes;
    sum
}

/// One counter of the service that forwards; zero when it is not there.
pub fn find_at(
    hook: Hook,
    counters: &[Counter],
    class: Class,
    verdict: Verdict,
    reason: Reason,
) -> Counter {
    counters
        .iter()
        .filter(|c| c.hook == hook)
        .find(|c| (c.service, c.class, c.verdict, c.reason) == (STS, class, verdict, reason))
        .copied()
        .unwrap_or(Counter {
            service: STS,
            class,
            verdict,
            reason,
            hook,
            observed: false,
            packets: 0,
            bytes: 0,
        })
}

//! Packets that the kernel plane tells of.

use std::net::IpAddr;
use std::time::SystemTime;

use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Counter, Direction, SeenPacket};

use super::{Appliance, FakeProxy, Settings};

/// A SYN from an IPv4 or IPv6 address to the first service of [`super::CONFIG`], with this verdict; without
/// its frame.
pub fn packet(source: &str, verdict: Verdict) -> SeenPacket {
    let address = |text: &str| text.parse::<IpAddr>().expect("a literal address");
    SeenPacket {
        time: SystemTime::now(),
        source: address(source),
        destination: address("192.0.2.10"),
        ports: [50123, 443],
        protocol: 6,
        flags: 2,
        service: Some(0),
        class: Class::Managed,
        verdict,
        reason: Reason::Class,
        hook: Hook::Xdp,
        observed: false,
        direction: Direction::Outside,
        interface: "outside0".to_owned(),
        length: 66,
        frame: Vec::new(),
    }
}

/// An appliance whose service is only observed, with its proxy: three packets would have been dropped.
pub async fn observed() -> (Appliance, FakeProxy) {
    let appliance = Appliance::start_with(Settings {
        edits: vec![("[kernel]", "[kernel]\nobserve = true".to_owned())],
        ..Settings::default()
    })
    .await;
    let proxy = appliance.proxy().await;
    appliance.kernel.change(|kernel| {
        kernel.counters = vec![Counter {
            service: 0,
            class: Class::Blocked,
            verdict: Verdict::Drop,
            reason: Reason::Class,
            hook: Hook::Tcx,
            observed: true,
            packets: 3,
            bytes: 180,
        }];
    });
    (appliance, proxy)
}

//! A packet that the kernel plane tells of.

use std::net::IpAddr;
use std::time::SystemTime;

use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Direction, SeenPacket};

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

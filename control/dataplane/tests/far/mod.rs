//! Clients behind a router on whose way packets have to be smaller.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::IpAddr;

use weir_abi::Class;

use crate::bed::{Bed, must, set_mtu, within};

/// A namespace behind the client's, which becomes a router whose way there is narrow.
pub struct Far {
    pub namespace: String,
}

impl Far {
    pub fn new(bed: &Bed) -> Self {
        let (client, router) = (bed.client.as_str(), bed.router.as_str());
        let far = Self {
            namespace: bed.client.replace("client", "far"),
        };
        let name = far.namespace.as_str();
        must("ip", &["netns", "add", name]);
        let ip = |namespace: &str, words: &str| {
            must(
                "ip",
                &[
                    &["-n", namespace],
                    words.split(' ').collect::<Vec<_>>().as_slice(),
                ]
                .concat(),
            );
        };
        ip(
            client,
            &format!("link add narrow type veth peer name f0 netns {name}"),
        );
        for (namespace, device, host) in [(client, "narrow", 1), (name, "f0", 2)] {
            ip(
                namespace,
                &format!("addr add 10.99.0.{host}/30 dev {device}"),
            );
            ip(
                namespace,
                &format!("addr add fd99::{host}/64 dev {device} nodad"),
            );
            ip(namespace, &format!("link set {device} up"));
        }
        for class in [Class::Managed, Class::Unmanaged] {
            ip(
                name,
                &format!("addr add {}/32 dev f0", Self::address(class, false)),
            );
            ip(
                name,
                &format!("addr add {}/128 dev f0 nodad", Self::address(class, true)),
            );
        }
        ip(name, "route add default via 10.99.0.1");
        ip(name, "-6 route add default via fd99::1");
        ip(client, "route add 198.51.100.0/23 via 10.99.0.2");
        ip(client, "-6 route add 2001:db8:e::/47 via fd99::2");
        ip(router, "route add 198.51.100.0/23 via 203.0.113.10");
        ip(router, "-6 route add 2001:db8:e::/47 via 2001:db8:c::a");
        within(client, || {
            for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{setting}"), "1").expect("root may forward");
            }
        });
        set_mtu(client, "narrow", 1300);
        far
    }

    pub fn address(class: Class, six: bool) -> IpAddr {
        match (class, six) {
            (Class::Managed, false) => [198, 51, 100, 200].into(),
            (_, false) => [198, 51, 101, 200].into(),
            (Class::Managed, true) => [0x2001, 0xdb8, 0xe, 8, 0, 0, 0, 1].into(),
            (_, true) => [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1].into(),
        }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        must("ip", &["netns", "del", &self.namespace]);
    }
}

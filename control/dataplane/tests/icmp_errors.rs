//! ICMP errors reach who sent the packet that they are about: this machine's stack for what the proxy
//! sent, the server for what was forwarded. Without them connections hang where a way is narrow.

mod bed;
mod plane;

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};

use bed::{Bed, connect, listen, must, pour, set_mtu, within};
use plane::{LONG, find, introduce, story, story_at_both_hooks, sts};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::Direction;
use weir_fixtures::frame::{Segment, frame, icmp, ip};
use weir_fixtures::{Memory, source};

/// More than every buffer on the way.
const BULK: usize = 2_000_000;

#[test]
fn large_answers_cross_a_narrow_way() {
    story_at_both_hooks("large_answers_cross_a_narrow_way", |bed, plane| {
        let far = Far::new(bed);
        for six in [false, true] {
            pour(&bed.server, sts(six, 443), BULK, false);
            pour(&bed.router, sts(six, 443), BULK, true);
            for class in [Class::Unmanaged, Class::Managed] {
                let mut stream = within(&far.namespace, || {
                    connect(Far::address(class, six), sts(six, 443), LONG)
                })
                .expect("somebody listens");
                stream.set_read_timeout(Some(LONG)).expect("a timeout");
                let mut got = Vec::new();
                stream
                    .read_to_end(&mut got)
                    .expect("an answer that fits through");
                assert_eq!(got.len(), BULK, "{class:?} six={six}");
            }
        }
        let counters = plane.counters().expect("readable");
        for (class, verdict) in [
            (Class::Unmanaged, Verdict::Proxy),
            (Class::Managed, Verdict::Forward),
        ] {
            let errors = find(&counters, class, verdict, Reason::IcmpInner);
            assert!(errors.packets >= 2, "one of each family: {counters:?}");
        }
    });
}

#[test]
fn an_error_about_a_proxied_connection_is_not_forwarded() {
    story(
        "an_error_about_a_proxied_connection_is_not_forwarded",
        |bed, plane| {
            introduce(bed);
            for six in [false, true] {
                plane
                    .publish(&Memory::default().sources)
                    .expect("a small generation");
                let (from, to) = (source(Class::Unmanaged, six), sts(six, 443));
                let listener = listen(to, true);
                let stream =
                    within(&bed.client, || connect(from, to, LONG)).expect("the proxy listens");
                let (accepted, peer) = listener.accept().expect("a connection");
                let length = if six { 128 } else { 32 };
                let memory = Memory::with(&[(&format!("{from}/{length}"), Class::Managed)]);
                plane.publish(&memory.sources).expect("a small generation");
                let verdict = |port| {
                    let frame = too_big(six, to, SocketAddr::new(from, port));
                    let answer = plane
                        .test_run(Direction::Outside, Hook::Tcx, &frame)
                        .expect("a run");
                    let judged = answer.judged.expect("about a service's packet");
                    assert_eq!(
                        (judged.class, judged.reason),
                        (Class::Managed, Reason::IcmpInner)
                    );
                    (judged.verdict, answer.mark)
                };
                assert_eq!(
                    verdict(peer.port()),
                    (Verdict::Proxy, bed::MARK),
                    "six={six}"
                );
                // The listener is no connection.
                let other = if peer.port() == 1024 { 1025 } else { 1024 };
                assert_eq!(verdict(other), (Verdict::Forward, 0), "six={six}");
                drop((stream, accepted));
            }
        },
    );
}

/// A router's word that a packet of the service is too big.
fn too_big(six: bool, service: SocketAddr, client: SocketAddr) -> Vec<u8> {
    let sent = Segment::new(service.port(), client.port()).between(service.ip(), client.ip());
    let (protocol, kind) = if six { (58, 2) } else { (1, 3) };
    frame(&ip(
        source(Class::Managed, six),
        service.ip(),
        protocol,
        &icmp(kind, &sent),
    ))
}

/// A namespace behind the client's, which becomes a router whose way there is narrow.
struct Far {
    namespace: String,
}

impl Far {
    fn new(bed: &Bed) -> Self {
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

    fn address(class: Class, six: bool) -> IpAddr {
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

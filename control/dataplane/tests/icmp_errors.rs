//! ICMP errors reach who sent the packet that they are about: this machine's stack for what the proxy
//! sent, the server for what was forwarded. Without them connections hang where a way is narrow.

mod bed;
mod far;
mod plane;

use std::io::Read as _;
use std::net::SocketAddr;

use bed::{connect, listen, pour, within};
use far::Far;
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

//! The verdict `reject`: what the connections of a refused client meet.

mod bed;
mod plane;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use bed::{answer, ask, connect, offload, within};
use plane::{LONG, services, story};
use socket2::{Domain, Socket, Type};
use weir_abi::{Class, Reason, Verdict};
use weir_dataplane::Dataplane;
use weir_fixtures::{ADFS, ADFS_V4, ADFS_V6, source};

#[test]
fn a_refused_client_learns_it_at_once() {
    story("a_refused_client_learns_it_at_once", |bed, plane| {
        let refused = |six| {
            let error = ask(&bed.client, source(Class::Relay, six), adfs(six), 1, LONG)
                .expect_err("nobody listens to a relay");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "six={six}");
        };
        // Checksums left to the interface that receives; made by the client; made by the router, of what
        // was left to it.
        for (client, router) in [(true, true), (false, true), (true, false), (false, false)] {
            offload(&bed.client, "c0", client);
            offload(&bed.router, "out", router);
            for six in [false, true] {
                refused(six);
            }
        }
        let counters = plane.counters().expect("readable");
        let [one] = counters.as_slice() else {
            panic!("one counter: {counters:?}")
        };
        assert_eq!((one.service, one.class), (ADFS, Class::Relay));
        assert_eq!((one.verdict, one.reason), (Verdict::Reject, Reason::Class));
        assert_eq!(one.packets, 8, "no SYN had to be sent twice");
    });
}

#[test]
fn a_connection_that_is_refused_later_breaks_off() {
    story(
        "a_connection_that_is_refused_later_breaks_off",
        |bed, plane| {
            for six in [false, true] {
                answer(&bed.router, adfs(six), "proxy", true);
            }
            for (six, client) in [(false, true), (true, true), (false, false), (true, false)] {
                offload(&bed.client, "c0", client);
                plane.set_services(&services()).expect("two services");
                let from = source(Class::Unmanaged, six);
                let mut stream = within(&bed.client, || connect(from, adfs(six), LONG))
                    .expect("the proxy listens");
                let mut refusing = services();
                refusing[1].verdicts = [Verdict::Reject; Class::COUNT];
                plane.set_services(&refusing).expect("two services");
                // More than a segment, so that the interfaces coalesce.
                stream.write_all(&vec![7; 20_000]).expect("buffered");
                stream.set_read_timeout(Some(LONG)).expect("a timeout");
                let error = stream.read(&mut [0]).expect_err("a reset");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "six={six}");
            }
        },
    );
}

#[test]
fn resets_are_rationed() {
    story("resets_are_rationed", |bed, plane| {
        let from = source(Class::Relay, false);
        let dropped = |plane: &Dataplane| {
            let counters = plane.counters().expect("readable");
            let rate = counters.iter().find(|one| one.reason == Reason::Rate);
            assert!(rate.is_none_or(|one| one.verdict == Verdict::Drop && one.service == ADFS));
            rate.map_or(0, |one| one.packets)
        };
        for _ in 0..1000 {
            within(&bed.client, || {
                for _ in 0..200 {
                    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                    socket.bind(&SocketAddr::new(from, 0).into()).expect("free");
                    socket.set_nonblocking(true).expect("a socket");
                    let _ = socket.connect(&adfs(false).into());
                }
            });
            if dropped(plane) > 0 {
                break;
            }
        }
        assert!(
            dropped(plane) > 0,
            "200,000 connections at once are too many"
        );
        // Time brings new ones: a SYN that is sent again is answered.
        let error = ask(&bed.client, from, adfs(false), 1, LONG).expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

fn adfs(six: bool) -> SocketAddr {
    SocketAddr::new(address(six), 443)
}

fn address(six: bool) -> IpAddr {
    if six { ADFS_V6.into() } else { ADFS_V4.into() }
}

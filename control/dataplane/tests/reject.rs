//! The verdict `reject`: what a refused client gets, byte by byte, and what its connections meet.

mod bed;
#[path = "../../../ebpf/classify/tests/fixtures/mod.rs"]
mod fixtures;
mod plane;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use bed::{answer, ask, connect, offload, within};
use fixtures::frame::{self, checksum, ethernet, ip, tagged};
use fixtures::{ADFS, ADFS_V4, ADFS_V6, source};
use plane::{LONG, services, story};
use socket2::{Domain, Socket, Type};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Dataplane, Direction};

const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

#[test]
fn a_segment_is_answered_with_its_reset() {
    story("a_segment_is_answered_with_its_reset", |_, plane| {
        for six in [false, true] {
            // Sequence number, acknowledgement, flags, payload; and the first three of the reset.
            for (segment, reset) in [
                // RFC 9293 §3.10.7.1: without ACK, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>.
                ((1000, 0, SYN, 0), (0, 1001, RST | ACK)),
                ((u32::MAX, 0, SYN, 0), (0, 0, RST | ACK)),
                ((7, 99, SYN, 100), (0, 108, RST | ACK)),
                ((7, 0, 1, 3), (0, 11, RST | ACK)),
                // With ACK, <SEQ=SEG.ACK><CTL=RST>.
                ((1000, 0xdead_beef, ACK, 0), (0xdead_beef, 0, RST)),
                ((1000, 2000, SYN | ACK, 0), (2000, 0, RST)),
                ((1000, 2000, ACK | 8 | 1, 1400), (2000, 0, RST)),
            ] {
                for options in [0, 12] {
                    let packet = to_adfs(six, &tcp(segment, options));
                    let expected = frame::frame(&reset_packet(six, reset));
                    assert_answer(plane, &frame::frame(&packet), Some(&returned(expected)));
                    let expected = tagged(&[0x8100], &reset_packet(six, reset));
                    let in_vlan = tagged(&[0x8100], &packet);
                    assert_answer(plane, &in_vlan, Some(&returned(expected)));
                }
            }
            // Resets are not answered, nor is what has more headers than it needs.
            let reset = to_adfs(six, &tcp((1000, 0, RST, 0), 0));
            assert_answer(plane, &frame::frame(&reset), None);
            let long = longer_headers(six, &tcp((1000, 0, SYN, 0), 0));
            assert_answer(
                plane,
                &ethernet(if six { 0x86dd } else { 0x0800 }, &long),
                None,
            );
        }
        assert_eq!(
            plane.counters().expect("readable"),
            [],
            "probes count nothing"
        );
    });
}

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

/// Asserts what the program makes of a frame from a relay: this frame, sent back, or nothing.
fn assert_answer(plane: &Dataplane, frame: &[u8], expected: Option<&[u8]>) {
    let answer = plane
        .test_run(Direction::Outside, Hook::Tcx, frame)
        .expect("a run");
    let judged = answer.judged.expect("a service's packet");
    assert_eq!((judged.service, judged.class), (ADFS, Class::Relay));
    assert_eq!(
        (judged.verdict, judged.reason),
        (Verdict::Reject, Reason::Class)
    );
    assert_eq!(
        answer.action,
        if expected.is_some() { REDIRECT } else { SHOT }
    );
    assert_eq!(answer.packet, expected.unwrap_or(frame));
}

fn adfs(six: bool) -> SocketAddr {
    SocketAddr::new(address(six), 443)
}

fn address(six: bool) -> IpAddr {
    if six { ADFS_V6.into() } else { ADFS_V4.into() }
}

fn to_adfs(six: bool, segment: &[u8]) -> Vec<u8> {
    ip(source(Class::Relay, six), address(six), 6, segment)
}

/// IPv4 options, or an extension header of IPv6.
fn longer_headers(six: bool, segment: &[u8]) -> Vec<u8> {
    match (source(Class::Relay, six), address(six)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => frame::v4(from, to, 6, 0, &[1; 4], segment),
        (IpAddr::V6(from), IpAddr::V6(to)) => frame::v6(
            from,
            to,
            60,
            &[frame::extension(6, 0), segment.to_vec()].concat(),
        ),
        _ => unreachable!("one family"),
    }
}

/// A segment from port 40000 to 443: sequence number, acknowledgement, flags, bytes of payload.
fn tcp((sequence, acknowledged, flags, payload): (u32, u32, u8, usize), options: u8) -> Vec<u8> {
    let mut segment = [40_000_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([(5 + options / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 9]);
    segment.extend(vec![1; usize::from(options)]);
    segment.extend(vec![0x5a; payload]);
    segment
}

/// The whole IP packet of a reset from the service: no options, no payload, window zero, right
/// checksums.
fn reset_packet(six: bool, (sequence, acknowledged, flags): (u32, u32, u8)) -> Vec<u8> {
    let mut segment = [443_u16.to_be_bytes(), 40_000_u16.to_be_bytes()].concat();
    segment.extend(sequence.to_be_bytes());
    segment.extend(acknowledged.to_be_bytes());
    segment.extend([0x50, flags, 0, 0, 0, 0, 0, 0]);
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let addresses = [octets(address(six)), octets(source(Class::Relay, six))].concat();
    let pseudo = [addresses.clone(), vec![0, 6, 0, 20]].concat();
    let sum = checksum(&[pseudo, segment.clone()].concat());
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut header = if six {
        vec![0x60, 0, 0, 0, 0, 20, 6, 64]
    } else {
        // Whole, not to be fragmented, TTL 64.
        vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]
    };
    header.extend(addresses);
    if !six {
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    [header, segment].concat()
}

/// The frame from its receiver to its sender.
fn returned(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..12].rotate_left(6);
    frame
}

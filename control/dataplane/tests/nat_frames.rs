//! Single frames of connections of `nat`, byte by byte: handed to the programs as if from the wire. What is
//! expected is made by hand, checksums too.

mod bed;
mod farm;
mod plane;

use std::net::IpAddr;

use bed::Bed;
use farm::{Farm, own, translate, weir};
use plane::{find, story, sts};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Dataplane, Direction};
use weir_fixtures::frame::{
    ACK, FIN, PSH, RST, SYN, Segment, checksum, frame, icmp, ip, take_hop, v4,
};
use weir_fixtures::source;

/// `TC_ACT_SHOT` and `TC_ACT_REDIRECT`.
const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
/// The client's port.
const PORT: u16 = 40_000;

#[test]
fn segments_are_rewritten_in_both_directions() {
    story("segments_are_rewritten_in_both_directions", |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        for six in [false, true] {
            let ends = Ends::begin(plane, six);
            for (flags, payload, options) in [
                (ACK, 0, 12),
                (ACK | PSH, 1, 0),
                (ACK | PSH, 1001, 12),
                (ACK | FIN, 0, 0),
            ] {
                let there = |from: u16, to: u16| {
                    Segment::new(from, to)
                        .flags(flags)
                        .numbers(2, 101)
                        .options(options)
                        .payload(payload)
                };
                ends.goes(plane, &there(PORT, 443), &there(ends.port, 443));
                ends.comes(plane, &there(443, ends.port), &there(443, PORT));
            }
        }
    });
}

#[test]
fn errors_are_rewritten_in_both_directions() {
    story("errors_are_rewritten_in_both_directions", |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        for six in [false, true] {
            let ends = Ends::begin(plane, six);
            let router: IpAddr = if six {
                [0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x99].into()
            } else {
                [203, 0, 113, 99].into()
            };
            let inner: IpAddr = if six {
                [0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x99].into()
            } else {
                [192, 0, 2, 99].into()
            };
            let answer = Segment::new(443, PORT)
                .flags(ACK)
                .numbers(101, 2)
                .payload(40);
            let answered = Segment::new(443, ends.port)
                .flags(ACK)
                .numbers(101, 2)
                .payload(40);
            let asked = Segment::new(PORT, 443)
                .flags(ACK)
                .numbers(2, 101)
                .payload(40);
            let asks = Segment::new(ends.port, 443)
                .flags(ACK)
                .numbers(2, 101)
                .payload(40);
            // With all of the header, and with no more than the ports.
            for quoted in [60, 8] {
                let header = if six { 40 } else { 20 };
                let cut = |mut packet: Vec<u8>| {
                    packet.truncate(header + quoted);
                    packet
                };
                // The client's side says that an answer did not fit.
                let about = cut(answer.between(ends.service, ends.client));
                let told = cut(answered.between(ends.server, ends.weir));
                let said = frame(&error(router, ends.service, &about));
                let mut expected = frame(&error(ends.weir, ends.server, &told));
                take_hop(&mut expected);
                run(plane, Direction::Outside, &said, REDIRECT, Some(&expected));
                // The servers' side says that a packet did not fit.
                let about = cut(asks.between(ends.weir, ends.server));
                let told = cut(asked.between(ends.client, ends.service));
                let said = frame(&error(inner, ends.weir, &about));
                let mut expected = frame(&error(ends.service, ends.client, &told));
                take_hop(&mut expected);
                run(plane, Direction::Inside, &said, REDIRECT, Some(&expected));
            }
        }
        let counters = plane.counters().expect("readable");
        let errors = find(
            &counters,
            Class::Managed,
            Verdict::Forward,
            Reason::IcmpInner,
        );
        assert_eq!(errors.packets, 8, "{counters:?}");
    });
}

#[test]
fn what_belongs_to_no_connection_is_refused_and_counted() {
    story(
        "what_belongs_to_no_connection_is_refused_and_counted",
        |bed, plane| {
            let _farm = behind(bed);
            translate(plane, &[true]);
            let (client, service) = (source(Class::Managed, false), sts(false, 443).ip());
            let stray = Segment::new(PORT, 443).flags(ACK).numbers(7, 9);
            run(
                plane,
                Direction::Outside,
                &frame(&stray.between(client, service)),
                REDIRECT,
                None,
            );
            let stray = Segment::new(PORT, 443).flags(RST).numbers(7, 0);
            run(
                plane,
                Direction::Outside,
                &frame(&stray.between(client, service)),
                SHOT,
                None,
            );
            let ends = Ends::begin(plane, false);
            let go_on = Segment::new(PORT, 443).flags(ACK).numbers(2, 101);
            let mut last = frame(&go_on.between(client, service));
            last[14 + 8] = 1;
            last[24..26].fill(0);
            let sum = checksum(&last[14..34]);
            last[24..26].copy_from_slice(&sum.to_be_bytes());
            run(plane, Direction::Outside, &last, SHOT, None);
            // Of another port of the server, or to another one: this machine's own.
            for (from, to) in [(444, ends.port), (443, ends.port ^ 1)] {
                let answer = Segment::new(from, to)
                    .flags(ACK)
                    .between(ends.server, ends.weir);
                run(plane, Direction::Inside, &frame(&answer), u32::MAX, None);
            }
            let counters = plane.counters().expect("readable");
            for (verdict, reason) in [
                (Verdict::Reject, Reason::NoFlow),
                (Verdict::Drop, Reason::NoFlow),
                (Verdict::Drop, Reason::Ttl),
            ] {
                let one = find(&counters, Class::Managed, verdict, reason);
                assert_eq!(one.packets, 1, "{reason:?}: {counters:?}");
            }
        },
    );
}

#[test]
fn what_is_only_observed_goes_on_untouched_and_takes_no_port() {
    let name = "what_is_only_observed_goes_on_untouched_and_takes_no_port";
    story(name, |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        let connected = [false, true].map(|six| Ends::begin(plane, six));
        let mut services = farm::specs(&[true]);
        services[0].nat.addresses = [false, true].map(weir).into();
        services[0].observe = true;
        plane.set_services(&services).expect("two services");
        for ends in connected {
            let syn = Segment::new(PORT + 1, 443).between(ends.client, ends.service);
            let go_on = Segment::new(PORT, 443).flags(ACK).numbers(2, 101);
            let answer = Segment::new(443, ends.port).flags(ACK).numbers(101, 2);
            for (side, packet) in [
                (Direction::Outside, syn),
                (Direction::Outside, go_on.between(ends.client, ends.service)),
                (Direction::Inside, answer.between(ends.server, ends.weir)),
            ] {
                let sent = frame(&packet);
                run(plane, side, &sent, u32::MAX, Some(&sent));
            }
        }
        assert_eq!(plane.status().nat.expect("nat").begun, 0);
    });
}

#[test]
fn no_option_tells_what_is_behind_weir() {
    story("no_option_tells_what_is_behind_weir", |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        let ends = Ends::begin(plane, false);
        // Record route, with one place, and the end of options.
        let with_route = |from, to, segment: &Segment| {
            let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else {
                panic!("two of IPv4");
            };
            let packet = segment.between(from.into(), to.into());
            frame(&v4(
                from,
                to,
                6,
                0,
                &[7, 7, 4, 0, 0, 0, 0, 0],
                &packet[20..],
            ))
        };
        let syn = with_route(ends.client, ends.service, &Segment::new(PORT + 1, 443));
        run(plane, Direction::Outside, &syn, SHOT, None);
        let answer = Segment::new(443, ends.port).flags(ACK).numbers(101, 2);
        let answer = with_route(ends.server, ends.weir, &answer);
        run(plane, Direction::Inside, &answer, SHOT, None);
        assert_eq!(plane.status().nat.expect("nat").begun, 0);
        let counters = plane.counters().expect("readable");
        let dropped = find(&counters, Class::Managed, Verdict::Drop, Reason::Malformed);
        assert_eq!(dropped.packets, 2, "{counters:?}");
    });
}

#[test]
fn a_forged_reset_ends_no_connection() {
    story("a_forged_reset_ends_no_connection", |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        for (six, before) in [(false, 0), (true, 1)] {
            let resting = |plane: &mut Dataplane| plane.status().nat.expect("nat").resting;
            let ends = Ends::begin(plane, six);
            let segment = |from, to, flags, numbers: (u32, u32)| {
                Segment::new(from, to)
                    .flags(flags)
                    .numbers(numbers.0, numbers.1)
            };
            let goes = |plane: &Dataplane, flags, sequence| {
                let sent = segment(PORT, 443, flags, (sequence, 101));
                ends.goes(
                    plane,
                    &sent,
                    &segment(ends.port, 443, flags, (sequence, 101)),
                );
            };
            // The server takes none of these, and the connection is as it was.
            for sequence in [1, 2 + 0x1_0000, 1 << 31, u32::MAX] {
                goes(plane, RST, sequence);
                assert_eq!(resting(plane), before, "{sequence}");
            }
            // What the server has acknowledged is the measure.
            let acknowledged = 0x4000_0000;
            let answer = |from, to| segment(from, to, ACK, (101, acknowledged));
            ends.comes(plane, &answer(443, ends.port), &answer(443, PORT));
            goes(plane, RST, 2);
            assert_eq!(resting(plane), before);
            goes(plane, RST, acknowledged);
            assert_eq!(resting(plane), before + 1);
            // A server that goes on has not taken it.
            ends.comes(plane, &answer(443, ends.port), &answer(443, PORT));
            assert_eq!(resting(plane), before);
            goes(plane, RST, acknowledged + 9);
            assert_eq!(resting(plane), before + 1);
        }
    });
}

#[test]
fn a_forged_reset_of_a_server_ends_no_connection() {
    let name = "a_forged_reset_of_a_server_ends_no_connection";
    story(name, |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        for (six, before) in [(false, 0), (true, 1)] {
            let resting = |plane: &mut Dataplane| plane.status().nat.expect("nat").resting;
            let ends = Ends::begin(plane, six);
            let comes = |plane: &Dataplane, flags, numbers: (u32, u32)| {
                let sent = |to| {
                    Segment::new(443, to)
                        .flags(flags)
                        .numbers(numbers.0, numbers.1)
                };
                ends.comes(plane, &sent(ends.port), &sent(PORT));
            };
            // Its client takes none of these, whatever they acknowledge.
            for sequence in [0, 100, 101 + 0x1_0000, 1 << 31, u32::MAX] {
                comes(plane, RST, (sequence, 0));
                comes(plane, RST | ACK, (sequence, 2));
                assert_eq!(resting(plane), before, "{sequence}");
            }
            // What the client has acknowledged is the measure.
            let acknowledged = 0x4000_0000;
            let go_on = |from| Segment::new(from, 443).flags(ACK).numbers(2, acknowledged);
            ends.goes(plane, &go_on(PORT), &go_on(ends.port));
            comes(plane, RST, (101, 0));
            assert_eq!(resting(plane), before);
            comes(plane, RST, (acknowledged, 0));
            assert_eq!(resting(plane), before + 1);
            // Begun anew, the server's answer has no number of its own yet.
            let syn = |from| Segment::new(from, 443).numbers(9000, 0);
            ends.goes(plane, &syn(PORT), &syn(ends.port));
            assert_eq!(resting(plane), before);
            comes(plane, RST | ACK, (0, 8999));
            assert_eq!(resting(plane), before);
            comes(plane, RST | ACK, (0, 9001));
            assert_eq!(resting(plane), before + 1);
        }
    });
}

#[test]
fn a_forged_welcome_establishes_nothing() {
    story("a_forged_welcome_establishes_nothing", |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        for (six, before) in [(false, 0), (true, 1)] {
            let connections = |plane: &mut Dataplane| plane.status().nat.expect("nat").connections;
            let ends = Ends::ask(plane, six, PORT);
            for acknowledged in [0, 1, 1 << 31] {
                let forged = |to| {
                    Segment::new(443, to)
                        .flags(SYN | ACK)
                        .numbers(700, acknowledged)
                };
                ends.comes(plane, &forged(ends.port), &forged(PORT));
                let thanks = |from| Segment::new(from, 443).flags(ACK).numbers(2, 701);
                ends.goes(plane, &thanks(PORT), &thanks(ends.port));
                assert_eq!(connections(plane), before, "{acknowledged}");
            }
            ends.is_welcome(plane);
            assert_eq!(connections(plane), before + 1);
        }
    });
}

#[test]
fn servers_answer_only_from_inside() {
    story("servers_answer_only_from_inside", |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        for six in [false, true] {
            let ends = Ends::begin(plane, six);
            for flags in [ACK, RST, FIN | ACK, SYN | ACK] {
                let answer = Segment::new(443, ends.port).flags(flags).numbers(101, 2);
                let sent = frame(&answer.between(ends.server, ends.weir));
                run(plane, Direction::Outside, &sent, u32::MAX, Some(&sent));
            }
            let asks = Segment::new(ends.port, 443).flags(ACK).numbers(2, 101);
            let about = asks.between(ends.weir, ends.server);
            let sent = frame(&error(ends.server, ends.weir, &about));
            run(plane, Direction::Outside, &sent, u32::MAX, Some(&sent));
        }
        assert_eq!(plane.status().nat.expect("nat").resting, 0);
    });
}

#[test]
fn a_client_whose_answers_are_forgotten_begins_anew() {
    let name = "a_client_whose_answers_are_forgotten_begins_anew";
    story(name, |bed, plane| {
        let _farm = behind(bed);
        translate(plane, &[true]);
        Ends::ask(plane, false, PORT);
        let service = sts(false, 443).ip();
        for number in 0..40_000_u32 {
            let [_, _, host, _] = (number << 8).to_be_bytes();
            let from = IpAddr::from([198, 51, 100, host]);
            let port = 1024 + u16::try_from(number % 50_000).expect("a port");
            let syn = frame(&Segment::new(port, 443).between(from, service));
            plane
                .replay(Direction::Outside, Hook::Tcx, &syn)
                .expect("a run");
            // The client asks again and again, so that it is not forgotten; the server is silent.
            if number % 100 == 0 {
                Ends::ask(plane, false, PORT);
            }
        }
        Ends::ask(plane, false, PORT).is_welcome(plane);
    });
}

#[test]
fn a_flood_of_beginnings_makes_no_connection_forgotten() {
    story(
        "a_flood_of_beginnings_makes_no_connection_forgotten",
        |bed, plane| {
            let _farm = behind(bed);
            translate(plane, &[true]);
            let ends = Ends::begin(plane, false);
            let service = sts(false, 443).ip();
            for number in 0..40_000_u32 {
                let [_, _, host, _] = (number << 8).to_be_bytes();
                let from = IpAddr::from([198, 51, 100, host]);
                let port = 1024 + u16::try_from(number % 50_000).expect("a port");
                let syn = frame(&Segment::new(port, 443).between(from, service));
                plane
                    .replay(Direction::Outside, Hook::Tcx, &syn)
                    .expect("a run");
            }
            let usage = plane.status().nat.expect("a service of nat");
            assert_eq!(usage.connections, 1);
            assert!(usage.begun > 8000, "{usage:?}");
            let go_on = |from, to| {
                Segment::new(from, to)
                    .flags(ACK | PSH)
                    .numbers(2, 101)
                    .payload(9)
            };
            ends.goes(plane, &go_on(PORT, 443), &go_on(ends.port, 443));
            ends.comes(plane, &go_on(443, ends.port), &go_on(443, PORT));
        },
    );
}

/// An established connection.
struct Ends {
    client: IpAddr,
    service: IpAddr,
    weir: IpAddr,
    server: IpAddr,
    /// Weir's port towards the server.
    port: u16,
}

impl Ends {
    fn begin(plane: &Dataplane, six: bool) -> Self {
        let ends = Self::ask(plane, six, PORT);
        // The same again: it is the same connection.
        ends.goes(
            plane,
            &Segment::new(PORT, 443),
            &Segment::new(ends.port, 443),
        );
        ends.is_welcome(plane);
        ends
    }

    /// One whose client has only asked.
    fn ask(plane: &Dataplane, six: bool, port: u16) -> Self {
        let (client, service) = (source(Class::Managed, six), sts(six, 443).ip());
        let syn = frame(&Segment::new(port, 443).between(client, service));
        let answer = plane
            .replay(Direction::Outside, Hook::Tcx, &syn)
            .expect("a run");
        assert_eq!(answer.action, REDIRECT);
        let l4 = if six { 54 } else { 34 };
        let port = u16::from_be_bytes([answer.packet[l4], answer.packet[l4 + 1]]);
        assert!((4096..=32767).contains(&port));
        Self {
            client,
            service,
            weir: weir(six),
            server: own(0, six),
            port,
        }
    }

    /// The server answers, and the client acknowledges that.
    fn is_welcome(&self, plane: &Dataplane) {
        let welcome = |to| Segment::new(443, to).flags(SYN | ACK).numbers(100, 2);
        self.comes(plane, &welcome(self.port), &welcome(PORT));
        let thanks = |from| Segment::new(from, 443).flags(ACK).numbers(2, 101);
        self.goes(plane, &thanks(PORT), &thanks(self.port));
    }

    /// What the client sends, and what the server gets.
    fn goes(&self, plane: &Dataplane, sent: &Segment, got: &Segment) {
        let sent = frame(&sent.between(self.client, self.service));
        let mut got = frame(&got.between(self.weir, self.server));
        take_hop(&mut got);
        run(plane, Direction::Outside, &sent, REDIRECT, Some(&got));
    }

    /// What the server sends, and what the client gets.
    fn comes(&self, plane: &Dataplane, sent: &Segment, got: &Segment) {
        let sent = frame(&sent.between(self.server, self.weir));
        let mut got = frame(&got.between(self.service, self.client));
        take_hop(&mut got);
        run(plane, Direction::Inside, &sent, REDIRECT, Some(&got));
    }
}

/// Runs the program of a side on a frame from the wire, and compares what is left of it.
fn run(plane: &Dataplane, side: Direction, sent: &[u8], action: u32, got: Option<&[u8]>) {
    let answer = plane.replay(side, Hook::Tcx, sent).expect("a run");
    assert_eq!(answer.action, action, "{sent:02x?}");
    if let Some(got) = got {
        assert_eq!(answer.packet, got, "of {sent:02x?}");
    }
}

/// An ICMP error about a packet, with right checksums.
fn error(from: IpAddr, to: IpAddr, about: &[u8]) -> Vec<u8> {
    let six = from.is_ipv6();
    let (kind, protocol) = if six { (2, 58) } else { (3, 1) };
    let mut message = icmp(kind, about);
    let mut summed = Vec::new();
    if let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) {
        summed.extend(from.octets());
        summed.extend(to.octets());
        let length = u32::try_from(message.len()).expect("a small packet");
        summed.extend(length.to_be_bytes());
        summed.extend([0, 0, 0, 58]);
    }
    summed.extend(&message);
    let sum = checksum(&summed);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(from, to, protocol, &message)
}

/// One server, and a router whose interfaces have the address that the frames are for.
fn behind(bed: &Bed) -> Farm {
    for device in ["out", "in"] {
        farm::ip(
            &bed.router,
            &format!("link set {device} address 02:00:00:00:00:01"),
        );
    }
    Farm::new(bed, 1)
}

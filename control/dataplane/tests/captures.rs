//! Every packet of every capture at hand gets the same outcome from the host's code and from both
//! programs in the kernel: as it is, and as if it came from a source of each class to a service.

mod bed;
mod plane;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use plane::{introduce, open, services, story_at};
use weir_abi::{Address, Class, Hook, Port, Reason, Verdict};
use weir_classify::{NoSockets, Side, classify};
use weir_dataplane::{Dataplane, Direction, HookChoice, ServiceSpec};
use weir_fixtures::{ADFS, Memory, STS, capture, source};

/// Ports that packets in the captures go to, besides those that are rewritten.
const PORTS: [u16; 8] = [443, 80, 8080, 21, 22, 25, 53, 6000];
/// What a test run takes at tcx: one page, less what the kernel needs of it.
const LONGEST: usize = 3500;

type Judged = (u16, Class, Verdict, Reason);

#[test]
fn captures_are_judged_alike_by_host_and_kernel() {
    const NAME: &str = "captures_are_judged_alike_by_host_and_kernel";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/pcaps");
    if !root.is_dir() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: {NAME}: no captures in {}",
            root.display()
        );
        return;
    }
    story_at(HookChoice::Xdp, NAME, |bed| {
        let mut plane = open(bed);
        plane.set_services(&on_all_ports()).expect("two services");
        introduce(bed);
        let mut replay = Replay::new(&plane);
        for file in capture::files(&root) {
            let frames = capture::frames(&file);
            assert!(!frames.is_empty(), "{} holds packets", file.display());
            for (number, frame) in frames.iter().enumerate() {
                let packet = format!("{} packet {}", file.display(), number + 1);
                for side in [Side::Outside, Side::Inside] {
                    replay.compare(side, frame, &packet);
                    let six = ip_header(frame).is_some_and(|l3| frame[l3] >> 4 == 6);
                    for spec in on_all_ports() {
                        let service = octets(spec.addresses[usize::from(six)]);
                        for class in Class::ALL {
                            let client = octets(source(class, six));
                            let rewritten = between(frame, side, &client, &service);
                            replay.compare(side, &rewritten, &packet);
                        }
                    }
                }
            }
        }
        replay.finish();
    });
}

/// What was replayed so far.
struct Replay<'a> {
    plane: &'a Dataplane,
    memory: Memory,
    packets: u64,
    /// At each side: how many packets the host gave each outcome.
    seen: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    at_xdp: BTreeMap<(&'static str, &'static str), u64>,
    wrong: Vec<String>,
}

impl<'a> Replay<'a> {
    fn new(plane: &'a Dataplane) -> Self {
        let mut memory = Memory::default();
        for address in memory.addresses.values_mut() {
            let first = address.ports[0];
            let verdicts = Class::ALL.map(|class| first.verdict(class));
            *address = Address {
                ports: PORTS.map(|port| Port::new(port, first.service, verdicts)),
                ..Address::default()
            };
        }
        memory.arrange();
        Self {
            plane,
            memory,
            packets: 0,
            seen: BTreeMap::new(),
            at_xdp: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    fn compare(&mut self, side: Side, frame: &[u8], place: &str) {
        self.packets += 1;
        let host = classify(frame, side, &self.memory, &NoSockets)
            .map(|o| (o.service, o.class, o.verdict, o.reason));
        let (word, direction) = match side {
            Side::Outside => ("outside", Direction::Outside),
            Side::Inside => ("inside", Direction::Inside),
        };
        if let Some((_, _, verdict, reason)) = host {
            *self
                .seen
                .entry((word, verdict.name(), reason.name()))
                .or_default() += 1;
        }
        for hook in Hook::ALL {
            if !runs(hook, frame) {
                continue;
            }
            let answer = self.plane.test_run(direction, hook, frame).expect("a run");
            let kernel = answer
                .judged
                .map(|j| (j.service, j.class, j.verdict, j.reason));
            let alike = match hook {
                Hook::Tcx => {
                    kernel == host || kernel == host.and_then(|judged| too_big(judged, frame))
                }
                Hook::Xdp => kernel.is_none() || kernel == host,
            };
            if !alike {
                self.wrong.push(format!(
                    "{place} at {hook:?} {word}: {kernel:?}, not {host:?}"
                ));
            }
            if let (Hook::Xdp, Some((_, _, verdict, reason))) = (hook, kernel) {
                *self
                    .at_xdp
                    .entry((verdict.name(), reason.name()))
                    .or_default() += 1;
            }
        }
    }

    fn finish(self) {
        let _ = writeln!(
            std::io::stderr(),
            "{} packets; {:?}; ended at XDP {:?}",
            self.packets,
            self.seen,
            self.at_xdp
        );
        assert!(
            self.wrong.is_empty(),
            "{}",
            self.wrong[..self.wrong.len().min(20)].join("\n")
        );
        for branch in [
            ("outside", "forward", "class"),
            ("outside", "forward", "fragment"),
            ("outside", "forward", "icmp-inner"),
            ("outside", "proxy", "class"),
            ("outside", "proxy", "fragment"),
            ("outside", "proxy", "icmp-inner"),
            ("outside", "drop", "class"),
            ("outside", "drop", "fragment"),
            ("outside", "drop", "icmp-inner"),
            ("outside", "drop", "malformed"),
            ("outside", "drop", "udp-443"),
            ("outside", "reject", "class"),
            ("outside", "reject", "fragment"),
            ("outside", "pass", "tagged"),
            ("outside", "pass", "ttl"),
            ("inside", "forward", "answer"),
            ("inside", "forward", "fragment"),
            ("inside", "forward", "icmp-inner"),
            ("inside", "drop", "answer"),
            ("inside", "drop", "fragment"),
            ("inside", "drop", "icmp-inner"),
            ("inside", "pass", "malformed"),
            ("inside", "pass", "tagged"),
            ("inside", "pass", "ttl"),
        ] {
            assert!(
                self.seen.contains_key(&branch),
                "no {branch:?} in {:?}",
                self.seen
            );
        }
        for branch in [
            ("forward", "class"),
            ("forward", "answer"),
            ("drop", "class"),
            ("drop", "udp-443"),
        ] {
            assert!(
                self.at_xdp.contains_key(&branch),
                "no {branch:?} in {:?}",
                self.at_xdp
            );
        }
    }
}

/// Only the routing table knows what is too big for the way on.
fn too_big((service, class, verdict, _): Judged, frame: &[u8]) -> Option<Judged> {
    let large = frame.len() > 14 + 1500;
    (verdict == Verdict::Forward && large).then_some((
        service,
        class,
        Verdict::Pass,
        Reason::TooBig,
    ))
}

/// Whether the kernel can run the packet as a test.
fn runs(hook: Hook, frame: &[u8]) -> bool {
    let header = match frame.get(12..14) {
        Some([0x86, 0xdd]) => 40,
        _ => 20,
    };
    let least = if hook == Hook::Tcx { 14 + header } else { 14 };
    (least..=LONGEST).contains(&frame.len())
}

/// The services of the fixtures, on every port that is met.
fn on_all_ports() -> [ServiceSpec; 2] {
    let all = services().map(|service| ServiceSpec {
        ports: PORTS.to_vec(),
        ..service
    });
    assert_eq!([all[0].id, all[1].id], [STS, ADFS]);
    all
}

/// The frame with its ends replaced, also where an ICMP error repeats them, and between the service's port
/// and the client: TCP and UDP, and what an error is about, which becomes TCP. Where there is no IP packet
/// it stays as it is.
fn between(frame: &[u8], side: Side, client: &[u8], service: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let Some(l3) = ip_header(&frame) else {
        return frame;
    };
    let six = frame[l3] >> 4 == 6;
    let (at, width, header) = if six { (8, 16, 40) } else { (12, 4, 20) };
    let Some(ends) = frame.get(l3 + at..l3 + at + 2 * width).map(<[u8]>::to_vec) else {
        return frame;
    };
    let (source, destination) = match side {
        Side::Outside => (client, service),
        Side::Inside => (service, client),
    };
    let mut i = l3 + at;
    while i + width <= frame.len() {
        if frame[i..i + width] == ends[..width] {
            frame[i..i + width].copy_from_slice(source);
            i += width;
        } else if frame[i..i + width] == ends[width..] {
            frame[i..i + width].copy_from_slice(destination);
            i += width;
        } else {
            i += 1;
        }
    }
    let protocol = frame[l3 + if six { 6 } else { 9 }];
    let l4 = l3
        + if six {
            40
        } else {
            usize::from(frame[l3] & 0x0f) * 4
        };
    let ours = usize::from(side == Side::Outside) * 2;
    match protocol {
        6 | 17 => put(&mut frame, l4 + ours, &443_u16.to_be_bytes()),
        1 | 58 => {
            let inner = l4 + 8;
            let l4 = inner + header;
            // What went the other way than the error.
            put(
                &mut frame,
                inner + at,
                if side == Side::Outside {
                    service
                } else {
                    client
                },
            );
            put(
                &mut frame,
                inner + at + width,
                if side == Side::Outside {
                    client
                } else {
                    service
                },
            );
            put(&mut frame, inner + if six { 6 } else { 9 }, &[6]);
            put(&mut frame, l4 + 2 - ours, &443_u16.to_be_bytes());
        }
        _ => {}
    }
    frame
}

/// Overwrites bytes that are there.
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Where the IP header is, behind up to two tags.
fn ip_header(frame: &[u8]) -> Option<usize> {
    for l3 in [14, 18, 22] {
        match frame.get(l3 - 2..l3)? {
            [0x08, 0x00] | [0x86, 0xdd] if frame.len() > l3 + 40 => return Some(l3),
            [0x81, 0x00] | [0x88, 0xa8] => {}
            _ => return None,
        }
    }
    None
}

fn octets(address: std::net::IpAddr) -> Vec<u8> {
    match address {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    }
}

//! What the programs tell of single packets, and what they leave alone while they only observe.

mod bed;
mod plane;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, SystemTime};

use bed::{Bed, answer, ask, eventually, udp};
use plane::{LONG, SHORT, services, station, story, story_at_both_hooks, sts};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_classify::Side;
use weir_dataplane::{
    CaptureFilter, Counter, Dataplane, Direction, HookChoice, Probe, SeenPacket, ServiceSpec,
};
use weir_fixtures::stories::all;
use weir_fixtures::{STS, STS_V4, source};

/// The port of the service that this machine's own firewall lets through, too.
const OPEN: u16 = 8443;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

#[test]
fn the_beginning_of_each_flow_is_told() {
    story_at_both_hooks("the_beginning_of_each_flow_is_told", |bed, plane| {
        for six in [false, true] {
            answer(&bed.server, sts(six, 443), "server", false);
            answer(&bed.router, sts(six, 443), "proxy", true);
            for class in [Class::Managed, Class::Unmanaged] {
                ask(
                    &bed.client,
                    source(class, six),
                    sts(six, 443),
                    200_000,
                    LONG,
                )
                .expect("an answer");
            }
            ask(
                &bed.client,
                source(Class::Blocked, six),
                sts(six, 443),
                1,
                SHORT,
            )
            .expect_err("nobody answers");
            let quic = udp(&bed.client, SocketAddr::new(source(Class::Managed, six), 0));
            quic.send_to(b"initial", sts(six, 443)).expect("sent");
        }
        let mut told = Vec::new();
        let expected = |six| {
            [
                (Class::Managed, Verdict::Forward, Reason::Class),
                (Class::Unmanaged, Verdict::Proxy, Reason::Class),
                (Class::Blocked, Verdict::Drop, Reason::Class),
                (Class::Managed, Verdict::Drop, Reason::Udp443),
            ]
            .map(|(class, verdict, reason)| (source(class, six), class, verdict, reason))
        };
        let wanted: Vec<_> = [expected(false), expected(true)].concat();
        eventually("every beginning, once", || {
            told.extend(plane.flows());
            let mut found: Vec<_> = told
                .iter()
                .map(|p: &SeenPacket| (p.source, p.class, p.verdict, p.reason))
                .collect();
            // A SYN that is sent again begins the flow again.
            found.dedup();
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
        let last = told.last().expect("some were told");
        for packet in &told {
            let six = packet.source.is_ipv6();
            assert_eq!(packet.destination, sts(six, 443).ip());
            assert_eq!(packet.ports[1], 443);
            assert_eq!(packet.service, Some(STS));
            assert_eq!(packet.interface, "out");
            assert_eq!(packet.direction, Direction::Outside);
            assert!(!packet.observed && packet.frame.is_empty());
            assert!(packet.time <= last.time && packet.time <= SystemTime::now());
            let tcp = packet.reason == Reason::Class;
            assert_eq!(packet.protocol, if tcp { 6 } else { 17 });
            assert_eq!(packet.flags & (SYN | ACK), if tcp { SYN } else { 0 });
        }
        let early = |packet: &&SeenPacket| packet.hook == Hook::Xdp;
        let at_xdp: BTreeSet<Verdict> = told.iter().filter(early).map(|p| p.verdict).collect();
        let may = if bed.options.hook == HookChoice::Xdp {
            [Verdict::Forward, Verdict::Drop].into()
        } else {
            BTreeSet::new()
        };
        assert!(at_xdp.is_subset(&may), "{at_xdp:?}");
        assert_eq!(at_xdp.contains(&Verdict::Drop), !may.is_empty());
        assert_eq!(plane.lost().expect("readable").flows, 0);
    });
}

#[test]
fn what_is_too_much_to_tell_is_counted() {
    story_at_both_hooks("what_is_too_much_to_tell_is_counted", |bed, plane| {
        let quic = udp(
            &bed.client,
            SocketAddr::new(source(Class::Managed, false), 0),
        );
        let sent = 5000;
        for _ in 0..sent {
            quic.send_to(b"initial", sts(false, 443)).expect("sent");
        }
        let mut told = 0;
        eventually("all are told or lost", || {
            told += plane.flows().len() as u64;
            let lost = plane.lost().expect("readable").flows;
            match (told + lost == sent, lost > 0) {
                (true, true) => Ok(()),
                _ => Err(format!("{told} told and {lost} lost of {sent}")),
            }
        });
    });
}

#[test]
fn an_observed_service_is_counted_and_left_alone() {
    story_at_both_hooks(
        "an_observed_service_is_counted_and_left_alone",
        |bed, plane| {
            observe(plane, true);
            for six in [false, true] {
                answer(&bed.server, sts(six, OPEN), "server", false);
                for class in Class::ALL {
                    let from = source(class, six);
                    let got =
                        ask(&bed.client, from, sts(six, OPEN), 1000, LONG).expect("an answer");
                    assert_eq!(got, format!("server {from} 1000"), "whatever its class is");
                }
            }
            let probe = |plane: &Dataplane, class| {
                let probe = Probe {
                    source: source(class, false),
                    destination: STS_V4.into(),
                    port: OPEN,
                };
                let outcome = plane.probe(&probe).expect("a loaded program");
                (outcome.verdict, outcome.observed)
            };
            assert_eq!(probe(plane, Class::Blocked), (Verdict::Drop, true));
            let counters = plane.counters().expect("readable");
            assert!(counters.iter().all(|c| c.observed), "{counters:?}");
            for verdict in [Verdict::Drop, Verdict::Forward, Verdict::Proxy] {
                let would = |c: &Counter| c.verdict == verdict && c.reason == Reason::Class;
                let packets: u64 = counters
                    .iter()
                    .filter(|c| would(c))
                    .map(|c| c.packets)
                    .sum();
                // The SYN, the acknowledgement, what is sent, the end: of each family.
                assert!(packets >= 8, "{verdict:?}: {counters:?}");
            }
            let flows = plane.flows();
            assert!(flows.iter().all(|flow| flow.observed));
            assert!(flows.iter().any(|flow| flow.verdict == Verdict::Drop));

            observe(plane, false);
            let blocked = source(Class::Blocked, false);
            ask(&bed.client, blocked, sts(false, OPEN), 1, SHORT).expect_err("nobody answers");
            assert_eq!(probe(plane, Class::Blocked), (Verdict::Drop, false));
            let counters = plane.counters().expect("readable");
            assert!(
                counters
                    .iter()
                    .any(|c| !c.observed && c.verdict == Verdict::Drop)
            );
        },
    );
}

#[test]
fn a_capture_takes_what_it_is_asked_for() {
    story_at_both_hooks("a_capture_takes_what_it_is_asked_for", |bed, plane| {
        let managed = source(Class::Managed, false);
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        let talk = |bed: &Bed, from: IpAddr| {
            ask(&bed.client, from, sts(from.is_ipv6(), 443), 10, LONG).expect("an answer")
        };
        talk(bed, managed);
        assert_eq!(plane.captured(), [], "nobody asked");

        let wanted = CaptureFilter {
            source: Some((managed, 32)),
            service: Some(STS),
            verdicts: vec![Verdict::Forward],
            payload: true,
            within: Duration::from_mins(1),
        };
        plane.capture(Some(&wanted)).expect("a capture");
        talk(bed, managed);
        talk(bed, source(Class::Unmanaged, false));
        let mut frames = Vec::new();
        eventually("both directions of the flow", || {
            frames.extend(plane.captured());
            let ways: BTreeSet<bool> = frames
                .iter()
                .map(|f: &SeenPacket| f.direction == Direction::Inside)
                .collect();
            if ways.len() == 2 {
                Ok(())
            } else {
                Err(format!("{frames:?}"))
            }
        });
        for frame in &frames {
            let (client, service) = match frame.direction {
                Direction::Outside => (frame.source, frame.destination),
                Direction::Inside => (frame.destination, frame.source),
            };
            assert_eq!((client, service), (managed, IpAddr::from(STS_V4)));
            assert_eq!(frame.verdict, Verdict::Forward);
            assert_eq!(frame.frame.len(), frame.length.min(1536) as usize);
            // The whole frame as it came in: IPv4, and no hop taken off yet.
            assert_eq!(frame.frame[12..15], [0x08, 0x00, 0x45]);
            assert_eq!(frame.frame[22], 64);
        }

        let headers_only = CaptureFilter {
            payload: false,
            ..wanted.clone()
        };
        plane.capture(Some(&headers_only)).expect("a capture");
        talk(bed, managed);
        let mut cut = Vec::new();
        eventually("a segment with payload", || {
            cut.extend(plane.captured());
            let longer = |frame: &SeenPacket| frame.length as usize > frame.frame.len();
            let found = cut.iter().any(longer).then_some(());
            found.ok_or_else(|| format!("{cut:?}"))
        });
        for frame in &cut {
            let header = 14 + 20 + usize::from(frame.frame[14 + 20 + 12] >> 4) * 4;
            assert_eq!(frame.frame.len(), header, "what people sent is not kept");
        }

        plane.capture(None).expect("the end of it");
        talk(bed, managed);
        plane.captured();
        talk(bed, managed);
        assert_eq!(plane.captured(), [], "it has ended");
        let over = CaptureFilter {
            within: Duration::ZERO,
            ..wanted
        };
        plane.capture(Some(&over)).expect("a capture");
        talk(bed, managed);
        assert_eq!(plane.captured(), [], "it has ended by itself");
    });
}

#[test]
fn what_is_captured_of_fragments_is_their_ip_header() {
    const NAME: &str = "what_is_captured_of_fragments_is_their_ip_header";
    story(NAME, |bed, plane| {
        let here = station(bed, Side::Outside);
        let wanted = CaptureFilter {
            within: Duration::from_mins(1),
            ..CaptureFilter::default()
        };
        plane.capture(Some(&wanted)).expect("a capture");
        let mut families = BTreeSet::new();
        for mut case in all() {
            case.frame[..6].copy_from_slice(&here);
            let fragment = matches!(case.expected, Some((.., Reason::Fragment)));
            let header = match case.frame[12..14] {
                [0x08, 0x00] => 14 + 20,
                [0x86, 0xdd] => 14 + 40 + 8,
                _ => continue,
            };
            if !fragment || case.side == Side::Inside {
                continue;
            }
            plane
                .replay(Direction::Outside, Hook::Tcx, &case.frame)
                .expect("a run");
            let captured = plane.captured();
            assert_eq!(captured.len(), 1, "{}", case.name);
            assert_eq!(captured[0].frame, case.frame[..header], "{}", case.name);
            families.insert(header);
        }
        assert_eq!(families.len(), 2, "of both families");
    });
}

#[test]
fn stateful_rules_are_seen_and_the_rule_that_is_told_mends_them() {
    story(
        "stateful_rules_are_seen_and_the_rule_that_is_told_mends_them",
        |bed, plane| {
            let told = |plane: &Dataplane| {
                let warnings = plane.status().warnings;
                warnings.into_iter().find(|one| one.contains("netfilter"))
            };
            // Rules that take long to tell are told later.
            let comes = |plane: &Dataplane| {
                let mut warning = None;
                eventually("a stateful rule", || {
                    warning = told(plane);
                    warning.as_ref().map(drop).ok_or_else(String::new)
                });
                warning.expect("it came")
            };
            assert_eq!(told(plane), None);
            let rules = "table inet guard {
            chain forward {
                type filter hook forward priority 0; policy accept;
                ct state invalid drop
            }
        }";
            bed.nft(&bed.router, rules);
            look_again(plane);
            let warning = comes(plane);
            assert!(warning.contains("chain inet guard forward"), "{warning}");
            let (_, rest) = warning.split_once("`nft '").expect("a command");
            let (mend, _) = rest.split_once("'`").expect("its end");
            bed.nft(&bed.router, mend);
            look_again(plane);
            assert_eq!(told(plane), None);
            // Rules of the other family, and those of packets for this machine, are no matter.
            bed.nft(
                &bed.router,
                "flush ruleset
                table ip6 six {
                    chain forward {
                        type filter hook forward priority 0; policy accept;
                        ct state invalid drop
                    }
                }
                table inet own {
                    chain deeper { ct state invalid drop; }
                    chain deep { meta l4proto vmap { tcp : jump deeper }; }
                    chain input {
                        type filter hook input priority 0; policy accept;
                        jump deep
                    }
                }",
            );
            look_again(plane);
            let warning = comes(plane);
            assert!(warning.contains("chain ip6 six forward"), "{warning}");
            assert!(!warning.contains("192.0.2.10"), "{warning}");
            // What a chain leads to is met, too.
            bed.nft(
                &bed.router,
                "table inet own {
                chain forward {
                    type filter hook forward priority 0; policy accept;
                    goto deep
                }
            }",
            );
            look_again(plane);
            let warning = comes(plane);
            assert!(warning.contains("chain inet own deeper"), "{warning}");
            let (_, rest) = warning.split_once("`nft '").expect("a command");
            let (mend, _) = rest.split_once("'`").expect("its end");
            bed.nft(&bed.router, mend);
            look_again(plane);
            assert_eq!(told(plane), None);
            // A service that comes later is not exempt yet.
            let [sts, adfs] = services();
            let moved = ServiceSpec {
                addresses: vec![IpAddr::from([192, 0, 2, 77])],
                ..adfs
            };
            plane.set_services(&[sts, moved]).expect("two services");
            let warning = comes(plane);
            assert!(
                warning.contains("192.0.2.77") && !warning.contains("192.0.2.10 "),
                "{warning}"
            );
        },
    );
}

#[test]
fn rules_that_nft_does_not_tell_are_pointed_out() {
    const LEGACY: &str = "/usr/sbin/iptables-legacy";
    if !std::path::Path::new(LEGACY).exists() {
        let name = "rules_that_nft_does_not_tell_are_pointed_out";
        let _ = writeln!(io::stderr(), "skipped: {name}: needs iptables-legacy");
        return;
    }
    story(
        "rules_that_nft_does_not_tell_are_pointed_out",
        |_, plane| {
            let told = |plane: &Dataplane| {
                let warnings = plane.status().warnings;
                warnings.into_iter().find(|one| one.contains("legacy"))
            };
            assert_eq!(told(plane), None);
            let rule = "-A FORWARD -m conntrack --ctstate INVALID -j DROP";
            let added = Command::new(LEGACY).args(rule.split(' ')).status();
            assert!(added.expect("it runs").success());
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("bound");
            let _tracked = TcpStream::connect(address).expect("it listens");
            let warning = told(plane).expect("one");
            assert!(
                warning.contains("iptables-legacy has tables (filter)"),
                "{warning}"
            );
            assert!(warning.contains("iptables-nft-restore"), "{warning}");
        },
    );
}

#[test]
fn settings_that_hinder_are_told_with_what_mends_them() {
    story(
        "settings_that_hinder_are_told_with_what_mends_them",
        |_, plane| {
            let told = |plane: &Dataplane, what: &str| {
                plane.status().warnings.iter().any(|one| one.contains(what))
            };
            for (path, bad, good, what) in [
                ("ipv4/tcp_syncookies", "0", "1", "net.ipv4.tcp_syncookies=1"),
                (
                    "ipv4/conf/out/forwarding",
                    "0",
                    "1",
                    "net.ipv4.conf.out.forwarding=1",
                ),
                (
                    "ipv6/conf/in/forwarding",
                    "0",
                    "1",
                    "net.ipv6.conf.in.forwarding=1",
                ),
                ("ipv4/conf/all/src_valid_mark", "1", "0", "src_valid_mark=0"),
            ] {
                let path = format!("/proc/sys/net/{path}");
                fs::write(&path, bad).expect("root may");
                assert!(told(plane, what), "{what}");
                fs::write(&path, good).expect("root may");
                assert!(!told(plane, what), "{what}");
            }
            // The stack forwards IPv6 by what holds for all interfaces, which sets each of them too.
            let six = |interface, value| {
                let path = format!("/proc/sys/net/ipv6/conf/{interface}/forwarding");
                fs::write(path, value).expect("root may");
            };
            six("all", "0");
            for interface in ["out", "in"] {
                six(interface, "1");
            }
            assert!(told(plane, "net.ipv6.conf.all.forwarding=1"));
            six("all", "1");
            assert!(!told(plane, "net.ipv6.conf.all.forwarding=1"));
        },
    );
}

#[test]
fn the_proxy_is_not_reached_where_the_mark_counts_for_sources() {
    const NAME: &str = "the_proxy_is_not_reached_where_the_mark_counts_for_sources";
    story(NAME, |bed, plane| {
        answer(&bed.router, sts(false, 443), "proxy", true);
        let from = source(Class::Unmanaged, false);
        // Whether packets for the proxy get through is what status has to say.
        for (reverse_path, mark, local, gets_through) in [
            ("0", "0", "0", true),
            ("0", "1", "0", false),
            ("0", "1", "1", true),
            ("1", "0", "0", true),
            ("1", "1", "1", false),
            ("2", "1", "0", false),
            ("2", "1", "1", true),
        ] {
            for (name, value) in [
                ("rp_filter", reverse_path),
                ("src_valid_mark", mark),
                ("accept_local", local),
            ] {
                let path = format!("/proc/sys/net/ipv4/conf/out/{name}");
                fs::write(path, value).expect("root may");
            }
            let patience = if gets_through { LONG } else { SHORT };
            let got = ask(&bed.client, from, sts(false, 443), 1, patience);
            let setting = format!("{reverse_path}, {mark}, {local}");
            assert_eq!(got.is_ok(), gets_through, "{setting}");
            let warnings = plane.status().warnings;
            let told = warnings.iter().any(|one| one.contains("src_valid_mark"));
            assert_eq!(told, !gets_through, "{setting}: {warnings:?}");
        }
    });
}

/// What was seen of the rules is forgotten when services are set.
fn look_again(plane: &mut Dataplane) {
    plane.set_services(&services()).expect("two services");
}

/// Serves the port that the firewall lets through, and only observes it, or not.
fn observe(plane: &mut Dataplane, observe: bool) {
    let [sts, adfs] = services();
    let sts = ServiceSpec {
        ports: vec![OPEN],
        observe,
        ..sts
    };
    plane.set_services(&[sts, adfs]).expect("two services");
}

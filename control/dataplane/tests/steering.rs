//! Real connections through the loaded programs: who answers is what was decided.

mod bed;
mod plane;

use std::fmt::Write as _;
use std::net::SocketAddr;

use bed::{Bed, answer, ask, eventually, ip_output, mislead, set_mtu, udp};
use plane::{LONG, SHORT, find, services, story, story_at_both_hooks, sts};
use weir_abi::{Class, Hook, Reason, Verdict};
use weir_dataplane::{Counter, HookChoice, Probe};
use weir_fixtures::{Memory, STS, STS_V4, STS_VERDICTS, source};

#[test]
fn each_class_meets_who_it_should() {
    story_at_both_hooks("each_class_meets_who_it_should", |bed, plane| {
        for six in [false, true] {
            let sts = sts(six, 443);
            answer(&bed.server, sts, "server", false);
            answer(&bed.router, sts, "proxy", true);
            answer(&bed.server, self::sts(six, 8443), "server", false);
            for (class, word) in [
                (Class::Managed, "server"),
                (Class::Unmanaged, "proxy"),
                (Class::Bypass, "proxy"),
            ] {
                let from = source(class, six);
                let got = ask(&bed.client, from, sts, 200_000, LONG).expect("an answer");
                assert_eq!(got, format!("{word} {from} 200000"), "{class:?} six={six}");
            }
            let blocked = source(Class::Blocked, six);
            let error = ask(&bed.client, blocked, sts, 1, SHORT).expect_err("nobody answers");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            // Ports that are not Weir's follow the firewall, whatever the class.
            let got = ask(&bed.client, blocked, self::sts(six, 8443), 10, LONG).expect("an answer");
            assert_eq!(got, format!("server {blocked} 10"));
            let counters = plane.counters().expect("readable");
            let blocked = find(&counters, Class::Blocked, Verdict::Drop, Reason::Class);
            assert_eq!(blocked.packets, if six { 2 } else { 1 });
        }
    });
}

#[test]
fn counters_agree_with_what_was_sent() {
    story_at_both_hooks("counters_agree_with_what_was_sent", |bed, plane| {
        for six in [false, true] {
            let sts = sts(six, 443);
            answer(&bed.server, sts, "server", false);
            answer(&bed.router, sts, "proxy", true);
        }
        if bed.options.hook == HookChoice::Xdp {
            // Else the chains count what is cut into segments behind them, and in front of XDP.
            for (namespace, device) in [(&bed.client, "c0"), (&bed.server, "s0")] {
                ip_output(namespace, &["link", "set", device, "gso_max_segs", "1"]);
            }
        }
        // Outgoing chains of both ends count what Weir is about to see.
        let family = |six| if six { "ip6" } else { "ip" };
        let mut rules = String::from("table inet count {\n");
        for class in Class::ALL {
            let _ = writeln!(rules, "counter {} {{}}", class.name());
        }
        let chain = "chain output {\n type filter hook output priority 0;\n";
        let mut sent = rules.clone() + chain;
        let mut answered = rules + chain;
        for class in Class::ALL {
            for six in [false, true] {
                let (family, address) = (family(six), source(class, six));
                let _ = writeln!(
                    sent,
                    "{family} saddr {address} tcp dport 443 counter name {}",
                    class.name()
                );
                let _ = writeln!(
                    answered,
                    "{family} daddr {address} tcp sport 443 counter name {}",
                    class.name()
                );
            }
        }
        bed.nft(&bed.client, &(sent + "}\n}\n"));
        bed.nft(&bed.server, &(answered + "}\n}\n"));

        for (class, verdict) in [
            (Class::Managed, Verdict::Forward),
            (Class::Bypass, Verdict::Proxy),
            (Class::Blocked, Verdict::Drop),
        ] {
            for six in [false, true] {
                let patience = if class == Class::Blocked { SHORT } else { LONG };
                let got = ask(
                    &bed.client,
                    source(class, six),
                    sts(six, 443),
                    300_000,
                    patience,
                );
                assert_eq!(got.is_ok(), class != Class::Blocked);
            }
            // The last acknowledgement may still be under way.
            eventually("packets towards the service", || {
                let counter = find(
                    &plane.counters().expect("readable"),
                    class,
                    verdict,
                    Reason::Class,
                );
                same(counter, Bed::nft_counter(&bed.client, class.name()))
            });
            let answers = find(
                &plane.counters().expect("readable"),
                class,
                Verdict::Forward,
                Reason::Answer,
            );
            let expected = Bed::nft_counter(&bed.server, class.name());
            assert_eq!(same(answers, expected), Ok(()));
            assert_eq!(answers.packets > 0, class == Class::Managed);
        }
        let unknown: Vec<Counter> = plane
            .counters()
            .expect("readable")
            .into_iter()
            .filter(|c| !matches!(c.class, Class::Managed | Class::Bypass | Class::Blocked))
            .collect();
        assert_eq!(unknown, []);
    });
}

#[test]
fn quic_is_dropped_and_other_udp_is_not() {
    story_at_both_hooks("quic_is_dropped_and_other_udp_is_not", |bed, plane| {
        for six in [false, true] {
            let quic = udp(&bed.server, sts(six, 443));
            let other = udp(&bed.server, sts(six, 8443));
            let client = udp(&bed.client, SocketAddr::new(source(Class::Managed, six), 0));
            for _ in 0..3 {
                client.send_to(b"initial", sts(six, 443)).expect("sent");
            }
            client.send_to(b"other", sts(six, 8443)).expect("sent");
            let mut buffer = [0; 16];
            other.set_read_timeout(Some(LONG)).expect("a timeout");
            assert_eq!(other.recv(&mut buffer).expect("what was sent last"), 5);
            quic.set_nonblocking(true).expect("a socket");
            assert!(
                quic.recv(&mut buffer).is_err(),
                "what was sent before never arrives"
            );
        }
        let counters = plane.counters().expect("readable");
        let quic = find(&counters, Class::Managed, Verdict::Drop, Reason::Udp443);
        // Ethernet, IPv4 or IPv6, UDP, seven bytes.
        assert_eq!(
            (quic.packets, quic.bytes),
            (6, 3 * (14 + 20 + 8 + 7) + 3 * (14 + 40 + 8 + 7))
        );
        assert_eq!(counters.len(), 1, "nothing else was counted: {counters:?}");
    });
}

#[test]
fn frames_for_another_station_stay_untouched() {
    story_at_both_hooks("frames_for_another_station_stay_untouched", |bed, plane| {
        answer(&bed.server, sts(false, 443), "server", false);
        mislead(&bed.client, "203.0.113.1", "c0");
        for class in [Class::Managed, Class::Unmanaged, Class::Blocked] {
            let got = ask(&bed.client, source(class, false), sts(false, 443), 1, SHORT);
            assert!(got.is_err(), "the router only overhears it");
        }
        assert_eq!(plane.counters().expect("readable"), []);
    });
}

#[test]
fn path_mtu_discovery_works_through_it() {
    story_at_both_hooks("path_mtu_discovery_works_through_it", |bed, plane| {
        set_mtu(&bed.router, "in", 1400);
        for six in [false, true] {
            answer(&bed.server, sts(six, 443), "server", false);
            let from = source(Class::Managed, six);
            let got = ask(&bed.client, from, sts(six, 443), 200_000, LONG).expect("an answer");
            assert_eq!(got, format!("server {from} 200000"));
        }
        // The first large segments went to the stack, which told the client.
        let counters = plane.counters().expect("readable");
        let too_big = find(&counters, Class::Managed, Verdict::Pass, Reason::TooBig);
        assert!(too_big.packets >= 2, "{counters:?}");
    });
}

#[test]
fn publishing_changes_the_class() {
    story_at_both_hooks("publishing_changes_the_class", |bed, plane| {
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        let from = source(Class::Unmanaged, false);
        let get = || ask(&bed.client, from, sts(false, 443), 1, LONG).expect("an answer");
        assert_eq!(get(), format!("proxy {from} 1"));
        let memory = Memory::with(&[(&format!("{from}/32"), Class::Managed)]);
        let slots: Vec<u32> = (0..3)
            .map(|_| {
                plane
                    .publish(&memory.sources)
                    .expect("a small generation")
                    .slot
            })
            .collect();
        assert_eq!(slots, [0, 1, 0], "after the one of the beginning");
        assert_eq!(get(), format!("server {from} 1"));
        plane
            .publish(&Memory::default().sources)
            .expect("a small generation");
        assert_eq!(get(), format!("proxy {from} 1"));
        // A service that is gone is nobody's again; the firewall forwards nothing.
        plane.set_services(&services()[1..]).expect("one service");
        let error = ask(&bed.client, from, sts(false, 443), 1, SHORT).expect_err("nobody answers");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn probes_tell_and_count_nothing() {
    story("probes_tell_and_count_nothing", |_, plane| {
        for six in [false, true] {
            for class in Class::ALL {
                let probe = Probe {
                    source: source(class, six),
                    destination: sts(six, 443).ip(),
                    port: 443,
                };
                let outcome = plane.probe(&probe).expect("a loaded program");
                assert_eq!(outcome.service, Some(STS));
                assert_eq!(outcome.class, class);
                assert_eq!(outcome.verdict, STS_VERDICTS[class as usize]);
                assert_eq!((outcome.reason, outcome.hook), (Reason::Class, Hook::Tcx));
                let other = plane
                    .probe(&Probe { port: 22, ..probe })
                    .expect("a loaded program");
                assert_eq!((other.service, other.verdict), (None, Verdict::Pass));
            }
        }
        assert_eq!(plane.counters().expect("readable"), []);
        let mixed = Probe {
            source: source(Class::Managed, true),
            destination: STS_V4.into(),
            port: 443,
        };
        assert!(plane.probe(&mixed).is_err());
    });
}

/// Whether a counter of Weir agrees with one of nftables, which does not see the Ethernet header.
fn same(counter: Counter, (packets, bytes): (u64, u64)) -> Result<(), String> {
    let ours = (counter.packets, counter.bytes);
    let theirs = (packets, bytes + 14 * packets);
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{ours:?}, not {theirs:?}"))
    }
}

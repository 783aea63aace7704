//! Real connections through the loaded programs: who answers is what was decided.

mod bed;
#[path = "../../../ebpf/classify/tests/fixtures/mod.rs"]
mod fixtures;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::programs::tc::{SchedClassifier, TcAttachType};
use bed::{Bed, answer, ask, eventually, ip_output, object_or_skip, udp, within};
use fixtures::{
    ADFS, ADFS_V4, ADFS_V6, ADFS_VERDICTS, Memory, STS, STS_V4, STS_V6, STS_VERDICTS, source,
};
use weir_abi::{Class, Reason, Verdict};
use weir_classify::{Side, classify};
use weir_dataplane::{Answer, Counter, Dataplane, Direction, Error, Options, Probe, ServiceSpec};
use weir_tables::KernelTables;

const LONG: Duration = Duration::from_secs(5);
/// Shorter than the first retransmission of a SYN.
const SHORT: Duration = Duration::from_millis(300);

#[test]
fn each_class_meets_who_it_should() {
    story("each_class_meets_who_it_should", |bed, plane| {
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
    story("counters_agree_with_what_was_sent", |bed, plane| {
        for six in [false, true] {
            let sts = sts(six, 443);
            answer(&bed.server, sts, "server", false);
            answer(&bed.router, sts, "proxy", true);
        }
        // Outgoing chains of both ends count what Weir is about to see.
        let family = |six| if six { "ip6" } else { "ip" };
        let mut rules = String::from("table inet count {\n");
        for class in Class::ALL {
            rules += &format!("counter {} {{}}\n", class.name());
        }
        let chain = "chain output {\n type filter hook output priority 0;\n";
        let mut sent = rules.clone() + chain;
        let mut answered = rules + chain;
        for class in Class::ALL {
            for six in [false, true] {
                let (family, address) = (family(six), source(class, six));
                sent += &format!(
                    "{family} saddr {address} tcp dport 443 counter name {}\n",
                    class.name()
                );
                answered += &format!(
                    "{family} daddr {address} tcp sport 443 counter name {}\n",
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
                same(counter, bed.nft_counter(&bed.client, class.name()))
            });
            let answers = find(
                &plane.counters().expect("readable"),
                class,
                Verdict::Forward,
                Reason::Answer,
            );
            let expected = bed.nft_counter(&bed.server, class.name());
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
    story("quic_is_dropped_and_other_udp_is_not", |bed, plane| {
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
fn publishing_changes_the_class() {
    story("publishing_changes_the_class", |bed, plane| {
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        let from = source(Class::Unmanaged, false);
        let get = || ask(&bed.client, from, sts(false, 443), 1, LONG).expect("an answer");
        assert_eq!(get(), format!("proxy {from} 1"));
        let mut memory = Memory::default();
        let IpAddr::V4(address) = from else {
            unreachable!("an IPv4 source")
        };
        memory.exact.insert(address.to_bits(), Class::Managed as u8);
        let slots: Vec<u32> = (0..3)
            .map(|_| {
                plane
                    .publish(&tables(&memory))
                    .expect("a small generation")
                    .slot
            })
            .collect();
        assert_eq!(slots, [0, 1, 0], "after the one of the beginning");
        assert_eq!(get(), format!("server {from} 1"));
        plane
            .publish(&tables(&Memory::default()))
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
                assert_eq!((outcome.reason, outcome.hook), (Reason::Class, "tcx"));
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

#[test]
fn kernel_and_host_agree_on_every_packet() {
    story("kernel_and_host_agree_on_every_packet", |_, plane| {
        let memory = Memory::default();
        let mut wrong = Vec::new();
        for case in fixtures::cases::all() {
            let host = classify(case.frame.as_slice(), case.side, &memory);
            let host = host.map(|o| (o.service, o.class, o.verdict, o.reason));
            assert_eq!(host, case.expected, "{}", case.name);
            // From the wire such a frame can come; a test run the kernel refuses.
            let header = if case.frame[12..14] == [0x86, 0xdd] {
                40
            } else {
                20
            };
            if case.frame.len() < 14 + header {
                continue;
            }
            let direction = match case.side {
                Side::Outside => Direction::Outside,
                Side::Inside => Direction::Inside,
            };
            let answer = plane.test_run(direction, &case.frame).expect("a run");
            let judged = answer
                .judged
                .map(|j| (j.service, j.class, j.verdict, j.reason));
            if judged != case.expected {
                wrong.push(format!(
                    "{}: {judged:?}, not {:?}",
                    case.name, case.expected
                ));
            }
            wrong.extend(not_carried_out(&case.name, &case.frame, &answer));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(plane.counters().expect("readable"), []);
    });
}

/// What the program did with a packet, if that is not what its verdict means.
fn not_carried_out(name: &str, frame: &[u8], answer: &Answer) -> Option<String> {
    const OK: u32 = 0;
    const SHOT: u32 = 2;
    const REDIRECT: u32 = 7;
    const NEXT: u32 = u32::MAX;
    let (actions, mark): (&[u32], u32) = match answer.judged.map(|judged| judged.verdict) {
        None | Some(Verdict::Pass) => (&[NEXT, OK], 0),
        Some(Verdict::Forward) => (&[REDIRECT], 0),
        Some(Verdict::Proxy) => (&[OK], bed::MARK),
        Some(Verdict::Drop | Verdict::Reject) => (&[SHOT], 0),
    };
    if !actions.contains(&answer.action) || answer.mark != mark {
        return Some(format!(
            "{name}: action {} with mark {:#x}",
            answer.action as i32, answer.mark
        ));
    }
    let mut expected = frame.to_vec();
    if answer.action == REDIRECT {
        if frame[14] >> 4 == 6 {
            expected[14 + 7] -= 1;
        } else {
            expected[14 + 8] -= 1;
            expected[24..26].fill(0);
            let end = 14 + usize::from(frame[14] & 0x0f) * 4;
            let sum = fixtures::frame::checksum(&expected[14..end]);
            expected[24..26].copy_from_slice(&sum.to_be_bytes());
        }
    }
    (expected != answer.packet).then(|| format!("{name}: the packet was changed"))
}

#[test]
fn a_process_that_ends_leaves_it_running() {
    story_of_processes("a_process_that_ends_leaves_it_running", |bed| {
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        let get = |class| {
            let from = source(class, false);
            ask(&bed.client, from, sts(false, 443), 1, LONG).expect("an answer")
        };
        let before = {
            let plane = open(bed);
            assert!(!plane.status().adopted);
            get(Class::Managed);
            plane.counters().expect("readable")
        };
        assert!(get(Class::Managed).starts_with("server"));
        assert!(get(Class::Unmanaged).starts_with("proxy"));

        let plane = Dataplane::open(&bed.options).expect("pins of this version");
        let status = plane.status();
        assert!(status.adopted);
        assert_eq!(status.maps.len(), 7);
        assert_eq!(status.warnings, Vec::<String>::new());
        let names: Vec<&str> = status.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["out", "in"]);
        for interface in &status.interfaces {
            assert!(interface.pin.exists());
            assert_eq!(
                programs_on(&interface.name),
                [interface.program],
                "swapped, not added"
            );
        }
        // Services, tables and counters are those of before, and go on.
        assert!(get(Class::Managed).starts_with("server"));
        assert!(get(Class::Unmanaged).starts_with("proxy"));
        let after = plane.counters().expect("readable");
        let managed =
            |c: &[Counter]| find(c, Class::Managed, Verdict::Forward, Reason::Class).packets;
        assert!(
            managed(&after) >= managed(&before) + 8,
            "two more connections"
        );
    });
}

#[test]
fn an_upgrade_under_load_loses_no_connection() {
    story_of_processes("an_upgrade_under_load_loses_no_connection", |bed| {
        answer(&bed.server, sts(false, 443), "server", false);
        answer(&bed.router, sts(false, 443), "proxy", true);
        drop(open(bed));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let load = [Class::Managed, Class::Unmanaged].map(|class| {
                let stop = &stop;
                scope.spawn(move || {
                    let from = source(class, false);
                    let word = if class == Class::Managed {
                        "server"
                    } else {
                        "proxy"
                    };
                    let mut connections = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let got =
                            ask(&bed.client, from, sts(false, 443), 9, LONG).expect("an answer");
                        assert_eq!(got, format!("{word} {from} 9"));
                        connections += 1;
                    }
                    connections
                })
            });
            for _ in 0..5 {
                drop(Dataplane::open(&bed.options).expect("pins of this version"));
            }
            stop.store(true, Ordering::Relaxed);
            for thread in load {
                assert!(thread.join().expect("every connection was answered") > 0);
            }
        });
    });
}

#[test]
fn detaching_leaves_nothing() {
    story_of_processes("detaching_leaves_nothing", |bed| {
        let rules = || {
            let mut text = String::new();
            for family in ["-4", "-6"] {
                text += &ip_output(&bed.router, &[family, "rule"]);
                text += &ip_output(&bed.router, &[family, "route", "show", "table", "all"]);
            }
            text
        };
        let before = rules();
        let first = open(bed);
        let with = rules();
        assert_eq!(
            with.matches("fwmark 0x5745 lookup 5745").count(),
            2,
            "{with}"
        );
        assert_eq!(
            with.matches("local default dev lo table 5745").count(),
            2,
            "{with}"
        );
        drop(first);
        // Twice is once; another mark takes the place of the first.
        let again = Dataplane::open(&bed.options).expect("pins of this version");
        assert_eq!(rules(), with);
        drop(again);
        let options = Options {
            mark: 0x77,
            table: 300,
            ..bed.options.clone()
        };
        let other = Dataplane::open(&options).expect("pins of this version");
        assert_eq!(rules().matches("5745").count(), 0);
        assert_eq!(rules().matches("fwmark 0x77 lookup 300").count(), 2);
        other.detach().expect("removed");
        assert_eq!(rules(), before);
        assert!(programs_on("out").is_empty() && programs_on("in").is_empty());
        for part in ["maps", "links", "programs"] {
            assert!(!bed.options.pin_dir.join(part).exists());
        }
    });
}

#[test]
fn pins_of_another_version_are_refused() {
    story_of_processes("pins_of_another_version_are_refused", |bed| {
        drop(open(bed));
        let config = bed.options.pin_dir.join("maps/CONFIG");
        let file = config.to_str().expect("a plain path");
        let wrong =
            "update pinned FILE key 0 0 0 0 value 99 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
        let arguments = wrong
            .split(' ')
            .map(|word| if word == "FILE" { file } else { word });
        let changed = Command::new("bpftool").arg("map").args(arguments).status();
        if !changed.is_ok_and(|status| status.success()) {
            let _ = writeln!(
                std::io::stderr(),
                "skipped: pins_of_another_version_are_refused: needs bpftool"
            );
            return;
        }
        let error = Dataplane::open(&bed.options).expect_err("layout 99");
        assert!(matches!(&error, Error::Incompatible { path, .. } if *path == config));
        assert!(
            error
                .to_string()
                .contains("layout 99, this version has layout 1"),
            "{error}"
        );
        // One of the maps gone: the pins are no whole either.
        std::fs::remove_file(bed.options.pin_dir.join("maps/V6_LENGTHS")).expect("removed");
        assert!(Dataplane::open(&bed.options).is_err());
        weir_dataplane::detach_pinned(&bed.options.pin_dir, bed::MARK, bed::TABLE)
            .expect("removed");
        assert!(!open(bed).status().adopted);
    });
}

#[test]
fn mistakes_are_named() {
    story_of_processes("mistakes_are_named", |bed| {
        let open = |change: &dyn Fn(&mut Options)| {
            let mut options = bed.options.clone();
            change(&mut options);
            Dataplane::open(&options)
                .expect_err("a mistake")
                .to_string()
        };
        let error = open(&|options| options.outside = vec!["eth9".into()]);
        assert!(error.starts_with("there is no interface eth9"), "{error}");
        let error = open(&|options| options.inside = vec!["out".into()]);
        assert!(
            error.starts_with("interface out is listed twice"),
            "{error}"
        );
        let error = open(&|options| options.object = "/nowhere/weir-ebpf.o".into());
        assert!(
            error.starts_with("cannot read the kernel programs at /nowhere"),
            "{error}"
        );
        let error = open(&|options| options.object = std::env::current_exe().expect("this test"));
        assert!(
            error.contains("holds no kernel programs of this version"),
            "{error}"
        );
    });
}

#[test]
fn surroundings_are_warned_of() {
    story_of_processes("surroundings_are_warned_of", |bed| {
        for (setting, value) in [
            ("ipv4/conf/out/forwarding", "0"),
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv4/conf/out/src_valid_mark", "1"),
        ] {
            std::fs::write(format!("/proc/sys/net/{setting}"), value).expect("root may");
        }
        let plane = open(bed);
        let warnings = plane.status().warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("IPv4 forwarding is off on out"));
        assert!(warnings[1].contains("rp_filter and src_valid_mark are both set"));
        // What cannot be forwarded goes to the stack, counted as such.
        let error = ask(
            &bed.client,
            source(Class::Managed, false),
            sts(false, 443),
            1,
            SHORT,
        );
        assert!(error.is_err());
        let counters = plane.counters().expect("readable");
        assert_eq!(
            find(&counters, Class::Managed, Verdict::Pass, Reason::NoRoute).packets,
            1
        );
    });
}

#[test]
fn a_million_prefixes_are_published_at_once() {
    story("a_million_prefixes_are_published_at_once", |_, plane| {
        let mut tables = tables(&Memory::default());
        // 700,000 exact addresses, and 300,000 prefixes of IPv6; managed, every one.
        let managed = Class::Managed as u8;
        let (first4, first6) = (0x0a00_0000_u32, 0x2a00_u128 << 112);
        for i in 0..700_000_u32 {
            let address = first4 + i * 16;
            tables.v4_blocks[(address >> 8) as usize] = weir_abi::EXACT;
            tables.v4_exact.push((address, managed));
        }
        for i in 0..300_000_u128 {
            tables
                .v6
                .push((48, (first6 + (i << 80)).to_be_bytes(), managed));
        }
        let start = Instant::now();
        let published = plane.publish(&tables).expect("it fits");
        println!("published {published:?} in {:?}", start.elapsed());
        let class = |source: IpAddr| {
            let destination = sts(source.is_ipv6(), 443).ip();
            plane
                .probe(&Probe {
                    source,
                    destination,
                    port: 443,
                })
                .expect("a program")
                .class
        };
        for i in [0, 1, 499_999, 699_999] {
            assert_eq!(
                class(Ipv4Addr::from_bits(first4 + i * 16).into()),
                Class::Managed
            );
            assert_eq!(
                class(Ipv4Addr::from_bits(first4 + i * 16 + 1).into()),
                Class::Unmanaged
            );
        }
        for i in [0, 1, 299_999] {
            let network = first6 + (i << 80);
            assert_eq!(
                class(Ipv6Addr::from_bits(network + 77).into()),
                Class::Managed
            );
        }
        assert_eq!(
            class(Ipv6Addr::from_bits(first6 + (300_000 << 80)).into()),
            Class::Unmanaged
        );
    });
}

fn programs_on(interface: &str) -> Vec<u32> {
    let (_, programs) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress).expect("tcx");
    programs
        .iter()
        .map(aya::programs::ProgramInfo::id)
        .collect()
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

/// Tells a story with an open plane, in the router's namespace.
fn story(name: &str, tell: impl FnOnce(&Bed, &mut Dataplane) + Send) {
    story_of_processes(name, |bed| tell(bed, &mut open(bed)));
}

/// Tells a story that opens planes by itself, in the router's namespace.
fn story_of_processes(name: &str, tell: impl FnOnce(&Bed) + Send) {
    let Some(object) = object_or_skip(name) else {
        return;
    };
    let bed = Bed::new(object);
    within(&bed.router, || tell(&bed));
}

fn open(bed: &Bed) -> Dataplane {
    let mut plane = Dataplane::open(&bed.options).unwrap_or_else(|error| panic!("{error}"));
    plane.set_services(&services()).expect("two services");
    plane
        .publish(&tables(&Memory::default()))
        .expect("a small generation");
    plane
}

fn services() -> [ServiceSpec; 2] {
    [
        ServiceSpec {
            id: STS,
            name: "sts".into(),
            addresses: vec![STS_V4.into(), STS_V6.into()],
            ports: vec![443, 49443],
            verdicts: STS_VERDICTS,
        },
        ServiceSpec {
            id: ADFS,
            name: "adfs".into(),
            addresses: vec![ADFS_V4.into(), ADFS_V6.into()],
            ports: vec![443],
            verdicts: ADFS_VERDICTS,
        },
    ]
}

/// The fixtures' tables in the shape that is published.
fn tables(memory: &Memory) -> KernelTables {
    let mut v4_blocks = vec![0; 1 << 24];
    for (block, byte) in &memory.blocks {
        v4_blocks[*block as usize] = *byte;
    }
    let v6 = memory.prefixes.iter().map(|(key, class)| {
        let network = key
            .words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<u8>>();
        let length = u8::try_from(key.length).expect("at most 128");
        (length, network.try_into().expect("16 bytes"), *class)
    });
    KernelTables {
        v4_blocks,
        v4_exact: memory
            .exact
            .iter()
            .map(|(address, class)| (*address, *class))
            .collect(),
        v6: v6.collect(),
    }
}

fn sts(six: bool, port: u16) -> SocketAddr {
    let address: IpAddr = if six { STS_V6.into() } else { STS_V4.into() };
    SocketAddr::new(address, port)
}

fn find(counters: &[Counter], class: Class, verdict: Verdict, reason: Reason) -> Counter {
    counters
        .iter()
        .find(|c| (c.service, c.class, c.verdict, c.reason) == (STS, class, verdict, reason))
        .copied()
        .unwrap_or(Counter {
            service: STS,
            class,
            verdict,
            reason,
            packets: 0,
            bytes: 0,
        })
}
